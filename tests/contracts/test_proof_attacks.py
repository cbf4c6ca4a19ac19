"""Attacks on what a settlement or a submission proves, by name, against real verifiers; each beside its honest twin.

Most are asked of the locked project without being mined: the project's answer, word for word. How the same attacks
fare against the engine's own verifier is in tests/attacks/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.attacks.forger import add_to, column_of, commit_column, forge_round
from tests.contracts.real import CID, ETHER, Real, RealProject, encode_call, made, params_of, real, remembered
from tests.contracts.world import ACCEPT_ALL, Scene
from zkmarket import backend, market
from zkmarket.aggregator import Submission, prove_round
from zkmarket.artifacts import Build
from zkmarket.auditor import verify_round
from zkmarket.commitment import Commitment, RoundId, prove_range, range_job
from zkmarket.errors import ProofRejected, TransactionReverted
from zkmarket.escrow import Verifier, settle_words, submit_words
from zkmarket.field import GENERATOR, INFINITY, P, Point, Q, from_ints, is_on_curve, multiply_add, to_hex
from zkmarket.inspection import inspect
from zkmarket.market import Chain
from zkmarket.round import RoundProof

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture

N, M = 3, 2
POINTS, Q_AT, FOLDS, MASK, SCORES, NU, GRAM, SETTLEMENT = range(8)
"""Members of `RoundProof` of Types.sol."""


@dataclass(frozen=True)
class Locked:
    """A project of three trainers and two chunks in PROVE, its honest proof, and what the contract is told of it."""

    project: RealProject
    submissions: tuple[Submission, ...]
    proof: RoundProof
    publication: bytes

    @property
    def words(self) -> tuple[Any, ...]:
        return settle_words(self.proof)

    def answer(self, **changed: Any) -> str:
        """To the honest calldata with some members of the proof changed: ``answer(i3=7)``."""
        words = list(self.words)
        for name, value in changed.items():
            words[int(name[1:])] = value
        return self.project.answer(self.project.settle_data_of(words, CID, self.publication))

    def answer_to(self, proof: RoundProof, cid: bytes = CID) -> str:
        """To another proof, which the aggregator has signed."""
        return self.project.answer(self.project.settle_data(proof, cid))


@pytest.fixture(scope="module")
def locked(node: Chain, real: Real) -> Locked:
    project = real.open(made(N, N, params_of(M)))
    submissions = tuple(project.to_prove())
    proof, _ = project.prove(submissions)
    return Locked(project, submissions, proof, project.publication(proof))


@pytest.fixture(scope="module")
def submitting(locked: Locked) -> RealProject:
    """A sister: the same owner, builds and verifiers, in SUBMIT."""
    project = locked.project.real.open(locked.project.builds, verifiers=locked.project.verifiers)
    project.start()
    return project


def with_word(words: Sequence[int], index: int, value: int) -> list[int]:
    return [value if at == index else word for at, word in enumerate(words)]


def moved(submission: Submission, **place: int) -> Submission:
    """The same points as if they were committed in another round, project or chain; without range proofs."""
    round_id = replace(submission.commitment.round_id, **place)
    return Submission(replace(submission.commitment, round_id=round_id, range_proofs=()), submission.opening)


def proven_again(build: Build, submission: Submission, round_id: RoundId) -> Submission:
    """The same opening, range-proven for another round (against the rules: salts are spent twice)."""
    old = submission.commitment
    chunks = list(range(build.manifest.chunks))
    proofs = tuple(p for _, p in prove_range(build, submission.opening, round_id, old.trainer, chunks))
    return Submission(Commitment(round_id, old.trainer, old.points, proofs), submission.opening)


def test_the_honest_twin(locked: Locked) -> None:
    assert locked.answer() == ""
    assert verify_round(locked.project.build, locked.proof)


# ---------------------------------------------------------------- another decision

REJECTED = "ProofRejected(settlement)"


@pytest.mark.parametrize("slot", range(N))
def test_forged_score(locked: Locked, slot: int) -> None:
    scores = locked.words[SCORES]
    wrong = {scores[slot] + 1, max(scores[slot], 1) - 1, 0, 2 * scores[slot], 2**64 - 1} - {scores[slot]}
    for score in wrong:
        assert locked.answer(i4=with_word(scores, slot, score)) == REJECTED
    for score in (2**64, scores[slot] + 2**64, scores[slot] + P):
        said = f"OutOfBounds(score, {score}, 0, {2**64 - 1})"
        assert locked.answer(i4=with_word(scores, slot, score)) == said


def test_forged_scores_of_the_same_sum(locked: Locked) -> None:
    first, second, *rest = locked.words[SCORES]
    assert locked.answer(i4=[second, first, *rest]) == REJECTED
    assert locked.answer(i4=[first - 1, second + 1, *rest]) == REJECTED


@pytest.mark.parametrize("bits", [b for b in range(8) if b != 0b111])
def test_forged_mask(locked: Locked, bits: int) -> None:
    assert locked.words[MASK] == 0b111
    assert locked.answer(i3=bits) == REJECTED


@pytest.mark.parametrize("bits", [0b1111, 0b111 + 2**N, 2**64 + 0b111, 2**255 + 0b111, 0b111 + P])
def test_forged_mask_beyond_the_slots(locked: Locked, bits: int) -> None:
    """A bit that no slot has would count as accepted."""
    assert locked.answer(i3=bits) == f"OutOfBounds(mask, {bits}, 0, {2**N - 1})"


def test_forged_nu(locked: Locked) -> None:
    """The median decides the next norm bound."""
    nu = locked.words[NU]
    for value in (0, nu - 1, nu + 1, 2 * nu, 2**64 - 1):
        assert locked.answer(i5=value) == REJECTED
    for value in (2**64, nu + 2**64, nu + P):
        assert locked.answer(i5=value) == f"OutOfBounds(nu, {value}, 0, {2**64 - 1})"


def test_forged_matrix(locked: Locked) -> None:
    """A valid settlement proof of a false matrix, committed before the challenges: the Gram argument refuses it.

    The forger solves the fold's claim X for the last claim, which would work if ρ did not depend on X.
    """
    build, beta = locked.project.build, locked.proof.beta
    change = add_to(1, 1, 1)
    for solve, want in ((None, "ProofRejected(gram)"), (0, "WrongProofPoint(gram, ")):  # y, or another ρ
        forged = forge_round(build, locked.submissions, change, beta, solve=solve)
        backend.verify(build.files("settlement"), forged.settlement)
        backend.verify(build.files("gram"), forged.gram.base)
        assert locked.answer_to(forged).startswith(want)
    honest = forge_round(build, locked.submissions, lambda matrix: None, beta, solve=None)
    assert locked.answer_to(honest) == ""


# ---------------------------------------------------------------- replay


@pytest.mark.parametrize(
    "place", [{"round": 2}, {"project": 0xABCDEF}, {"chain_id": 1}, {"chain_id": 1337}], ids=lambda p: next(iter(p))
)
def test_a_proof_for_another_place(locked: Locked, place: dict[str, int]) -> None:
    """Of the very same points, valid where it belongs; here its challenges are others."""
    foreign, _ = prove_round(
        locked.project.build, [moved(one, **place) for one in locked.submissions], locked.proof.beta
    )
    words, signed = settle_words(foreign), locked.project.publication(foreign)
    assert locked.project.answer(locked.project.settle_data_of(words, CID, signed)) == REJECTED
    for at in range(8):  # nor does any part of it fit into the honest one
        if words[at] != locked.words[at]:
            assert locked.answer(**{f"i{at}": words[at]}) != ""
    assert words[POINTS][: 4 * N] == locked.words[POINTS][: 4 * N]


def test_a_publication_for_another_place(locked: Locked) -> None:
    """The aggregator's signature of a sister project or of another round, with this project's own proof."""
    for place in ({"round": 2}, {"project": 0xABCDEF}, {"chain_id": 1}):
        elsewhere = replace(locked.proof, round_id=replace(locked.proof.round_id, **place))
        signed = locked.project.publication(elsewhere)
        assert locked.project.answer(locked.project.settle_data(locked.proof, CID, signed)).startswith("WrongSigner")
    for cid in (b"another place", b"\0" * 36, CID[:-1]):
        said = locked.project.answer(locked.project.settle_data(locked.proof, cid, locked.publication))
        assert said.startswith("WrongSigner")
    by_a_stranger = locked.project.publication(locked.proof, signer=locked.project.real.stranger)
    said = locked.project.answer(locked.project.settle_data(locked.proof, CID, by_a_stranger))
    stranger, aggregator = str(locked.project.real.stranger), str(locked.project.real.aggregator)
    assert said == f"WrongSigner({stranger.lower()}, {aggregator.lower()})"


def test_a_settlement_replayed_in_the_next_round(chain: Chain, real: Real) -> None:
    """With the same commitments registered again, so that only the round's number differs; and with fresh ones."""
    project = real.open(made(3, 3, params_of(1)), beta_min=params_of(1))
    submissions = project.to_prove()
    proof, _ = project.prove(submissions)
    data = project.settle_data(proof)
    project.settle(proof)
    assert project.answer(data) == "WrongPhase(5, 4)"  # at once: it is settled
    project.next()
    project.start()
    for trainer, one in zip(project.members, submissions, strict=True):
        key = "again", one.commitment
        again = remembered(key, lambda one=one: proven_again(project.build, one, project.round_id))
        project.project.submit(trainer, again.commitment, CID)
    project.pass_deadline()
    project.admit(project.members)
    project.project.lock(real.stranger)
    assert project.answer(data) == REJECTED


def test_a_settlement_replayed_in_a_sister_project(chain: Chain, real: Real) -> None:
    """A clone of the same terms, with the same commitments of the same trainers."""
    first = real.open(made(3, 3, params_of(1)))
    submissions = first.to_prove()
    proof, _ = first.prove(submissions)
    data = first.settle_data(proof)
    second = real.open(first.builds, verifiers=first.verifiers)
    assert second.project.address != first.project.address
    assert replace(second.offer, nonce=first.offer.nonce) == first.offer
    second.start()
    for trainer, one in zip(second.members, submissions, strict=True):
        key = "sister", one.commitment
        again = remembered(key, lambda one=one: proven_again(second.build, one, second.round_id))
        second.project.submit(trainer, again.commitment, CID)
    second.pass_deadline()
    second.admit(second.members)
    second.project.lock(real.stranger)
    assert second.answer(data) == REJECTED
    # the proof made for the sister is the same statement, and settles it
    twin = [Submission(replace(s.commitment, round_id=second.round_id), s.opening) for s in submissions]
    honest, _ = second.prove(twin)
    assert second.answer(second.settle_data(honest)) == ""


def test_a_proof_for_another_norm_bound(locked: Locked) -> None:
    """A smaller β refuses somebody, a larger one accepts somebody: the bound is the contract's."""
    for beta in (1, locked.proof.beta - 1, locked.proof.beta + 1):
        foreign, _ = prove_round(locked.project.build, locked.submissions, beta)
        words, signed = settle_words(foreign), locked.project.publication(foreign)
        assert locked.project.answer(locked.project.settle_data_of(words, CID, signed)) == REJECTED
        assert verify_round(locked.project.build, foreign).nu == locked.words[NU]  # where β is as it says


# ---------------------------------------------------------------- other updates


def slots(words: Sequence[int]) -> list[list[int]]:
    """Points by slot 1..N, the mask, and C_G."""
    width = 2 * M
    return [list(words[at : at + width]) for at in range(0, (N + 1) * width, width)] + [list(words[-2:])]


def flat(parts: Sequence[Sequence[int]]) -> list[int]:
    return [word for part in parts for word in part]


def test_swapped_commitments(locked: Locked) -> None:
    first, second, *rest = slots(locked.words[POINTS])
    assert locked.answer(i0=flat([second, first, *rest])).startswith("WrongPoints(1, ")
    crossed = flat([first[:2] + second[2:], second[:2] + first[2:], *rest])  # one chunk of each
    assert locked.answer(i0=crossed).startswith("WrongPoints(1, ")


def test_swapped_commitments_with_a_proof_for_them(locked: Locked) -> None:
    """Slots in another order than the seats: proven as such, the scores would go to each other's owner."""
    other = [locked.submissions[at] for at in (1, 0, 2)]
    foreign, _ = prove_round(locked.project.build, other, locked.proof.beta)
    assert locked.answer_to(foreign).startswith("WrongPoints(1, ")
    words = list(settle_words(foreign))
    words[POINTS] = [*locked.words[POINTS][: 2 * N * M], *words[POINTS][2 * N * M :]]  # with its own mask and C_G
    signed = locked.project.publication(foreign)
    assert locked.project.answer(locked.project.settle_data_of(words, CID, signed)) == REJECTED


def test_a_dropped_trainer(locked: Locked) -> None:
    parts, want = slots(locked.words[POINTS]), len(locked.words[POINTS])
    for gone in range(N):
        fewer = flat([part for at, part in enumerate(parts) if at != gone])
        assert locked.answer(i0=fewer) == f"WrongLength(points, {want - 2 * M}, {want})"
        assert locked.answer(i4=list(locked.words[SCORES][:-1])) == "WrongLength(scores, 2, 3)"
        doubled = flat([parts[(gone + 1) % N] if at == gone else part for at, part in enumerate(parts)])
        assert locked.answer(i0=doubled).startswith(f"WrongPoints({gone + 1}, ")


def test_a_dropped_chunk(locked: Locked) -> None:
    words = locked.words[POINTS]
    assert locked.answer(i0=words[2:]) == f"WrongLength(points, {len(words) - 2}, {len(words)})"
    assert locked.answer(i0=[*words, 1, 2]) == f"WrongLength(points, {len(words) + 2}, {len(words)})"
    assert locked.answer(i0=[]) == f"WrongLength(points, 0, {len(words)})"


def test_a_commitment_with_energy_moved_between_trainers(locked: Locked) -> None:
    """C_1 + T, C_2 − T for any T: the sum is unchanged, the registered points are not."""
    first, second, *rest = slots(locked.words[POINTS])
    plus = multiply_add([tuple(first[:2]), GENERATOR], [1, 5])
    minus = multiply_add([tuple(second[:2]), GENERATOR], [1, P - 5])
    said = locked.answer(i0=flat([[*plus, *first[2:]], [*minus, *second[2:]], *rest]))
    assert said.startswith("WrongPoints(1, ")


# ---------------------------------------------------------------- another encoding of the same


def test_field_elements_that_are_not_canonical(locked: Locked) -> None:
    q, folds = locked.words[Q_AT], locked.words[FOLDS]
    assert locked.answer(i1=q + P) == f"ScalarNotCanonical({q + P})"
    for at in range(len(folds)):
        assert locked.answer(i2=with_word(folds, at, folds[at] + P)) == f"ScalarNotCanonical({folds[at] + P})"
    for value in (P, 2**256 - 1):
        assert locked.answer(i1=value) == f"ScalarNotCanonical({value})"


def test_trailing_bytes(locked: Locked) -> None:
    for at, what in ((GRAM, "gram"), (SETTLEMENT, "settlement")):
        for more in (b"\0", b"\1", bytes(32), locked.words[at]):
            assert locked.answer(**{f"i{at}": locked.words[at] + more}) == f"ProofRejected({what})"
        assert locked.answer(**{f"i{at}": b""}) == f"WrongLength({what}, 0, 64)"
        assert locked.answer(**{f"i{at}": locked.words[at][:63]}) == f"WrongLength({what}, 63, 64)"
        assert locked.answer(**{f"i{at}": locked.words[at][:64]}) == f"ProofRejected({what})"


def test_folds_too_many_and_too_few(locked: Locked) -> None:
    folds = locked.words[FOLDS]
    for wrong in ([], folds[:1], [*folds, 0], [*folds, *folds]):
        assert locked.answer(i2=wrong) == f"WrongLength(folds, {len(wrong)}, 2)"


WRONG_POINTS: dict[str, Callable[[int, int], Point]] = {
    "infinity": lambda x, y: (0, 0),
    "off the curve": lambda x, y: (x, (y + 1) % Q),
    "x + q": lambda x, y: (x + Q, y),
    "y + q": lambda x, y: (x, y + Q),
    "all ones": lambda x, y: (2**256 - 1, 2**256 - 1),
}


@pytest.mark.parametrize("name", WRONG_POINTS)
def test_wrong_points_in_every_place_of_the_commitments(locked: Locked, name: str) -> None:
    """Slots are compared with what was registered, the mask and C_G are checked to be on the curve."""
    words = locked.words[POINTS]
    for at in range(0, len(words), 2):
        x, y = WRONG_POINTS[name](words[at], words[at + 1])
        said = locked.answer(i0=[*words[:at], x, y, *words[at + 2 :]])
        slot = at // (2 * M) + 1
        want = rf"WrongPoints\({slot}, .*\)" if slot <= N else rf"PointNotOnCurve\({x}, {y}\)"
        assert re.fullmatch(want, said), (at, said)


def words_at(data: bytes, start: int) -> Point:
    return int.from_bytes(data[start : start + 32], "big"), int.from_bytes(data[start + 32 : start + 64], "big")


@pytest.mark.parametrize("name", WRONG_POINTS)
@pytest.mark.parametrize("at, what", [(GRAM, "gram"), (SETTLEMENT, "settlement")])
def test_wrong_points_in_every_place_of_a_proof(locked: Locked, at: int, what: str, name: str) -> None:
    """Points stand first and the last two; between them, two by two, evaluations."""
    data = locked.words[at]
    ends = [len(data) - 128, len(data) - 64]
    pairs = {start: words_at(data, start) for start in [*range(0, ends[0] - 63, 64), *ends]}
    points = [start for start, pair in pairs.items() if pair != INFINITY and is_on_curve(pair)]
    assert points == [*range(0, points[-3] + 64, 64), *ends] and len(points) > 12
    for start, old in pairs.items():
        x, y = WRONG_POINTS[name](*old)
        if (x, y) == old:  # evaluations that are 0 in every proof of this circuit
            assert start not in points
            continue
        said = locked.answer(
            **{f"i{at}": data[:start] + x.to_bytes(32, "big") + y.to_bytes(32, "big") + data[start + 64 :]}
        )
        want = rf"WrongProofPoint\({what}, .*\)" if start == 0 else rf"ProofRejected\({what}\)"
        assert re.fullmatch(want, said), (start, said)


@pytest.mark.parametrize("name", WRONG_POINTS)
def test_wrong_points_submitted(submitting: RealProject, name: str) -> None:
    """Off-curve points registered would let nobody settle the round."""
    trainer = submitting.members[0]
    points, proofs = submit_words(submitting.submission(trainer).commitment)
    assert submitting.answer(encode_call(submitting.project, "submit", points, CID, proofs), trainer) == ""
    for at in (0, 2):
        x, y = WRONG_POINTS[name](points[at], points[at + 1])
        bad = x.to_bytes(32, "big") + y.to_bytes(32, "big")
        with_proof = [bad + data[64:] if index == at // 2 else data for index, data in enumerate(proofs)]
        for sent in (proofs, with_proof):  # and with a proof that says the same
            data = encode_call(submitting.project, "submit", [*points[:at], x, y, *points[at + 2 :]], CID, sent)
            assert submitting.answer(data, trainer) == f"PointNotOnCurve({x}, {y})"


# ---------------------------------------------------------------- another's submission


def test_copied_from_the_mempool(submitting: RealProject) -> None:
    """A commitment and its range proofs, seen before they are mined and sent by another trainer."""
    victim, thief = submitting.members[:2]
    data = submitting.submit_data(submitting.submission(victim).commitment)
    assert submitting.answer(data, thief) == "ProofRejected(range)"
    assert submitting.answer(data, victim) == ""
    assert submitting.answer(data, submitting.real.stranger).startswith("NotAMember")


@pytest.mark.parametrize("place", [{"round": 2}, {"project": 0xABCDEF}, {"chain_id": 1}], ids=lambda p: next(iter(p)))
def test_a_range_proof_for_another_place(submitting: RealProject, place: dict[str, int]) -> None:
    trainer = submitting.members[0]
    honest = submitting.submission(trainer)
    elsewhere = replace(submitting.round_id, **place)
    foreign = proven_again(submitting.build, honest, elsewhere)
    backend.verify(submitting.build.files("range"), foreign.commitment.range_proofs[0])
    assert submitting.answer(submitting.submit_data(foreign.commitment), trainer) == "ProofRejected(range)"
    for chunk in range(M):  # one of the two is enough
        mixed = list(honest.commitment.range_proofs)
        mixed[chunk] = foreign.commitment.range_proofs[chunk]
        commitment = replace(honest.commitment, range_proofs=tuple(mixed))
        assert submitting.answer(submitting.submit_data(commitment), trainer) == "ProofRejected(range)"
    assert submitting.answer(submitting.submit_data(honest.commitment), trainer) == ""


def test_a_range_proof_of_another_chunk(chain: Chain, real: Real) -> None:
    """Three chunks: the first two have the same circuit, so that only the tag tells them apart."""
    project = real.open(made(3, 3, params_of(3)))
    project.start()
    trainer = project.members[0]
    honest = project.submission(trainer).commitment

    def told(points: Sequence[int], proofs: Sequence[int]) -> str:
        changed = replace(
            honest,
            points=tuple(honest.points[at] for at in points),
            range_proofs=tuple(honest.range_proofs[at] for at in proofs),
        )
        return project.answer(project.submit_data(changed), trainer)

    assert told([0, 1, 2], [0, 1, 2]) == ""
    assert told([0, 1, 2], [1, 0, 2]).startswith("WrongProofPoint(range, ")
    assert told([1, 0, 2], [1, 0, 2]) == "ProofRejected(range)"
    assert told([0, 0, 2], [0, 0, 2]) == "ProofRejected(range)"  # the same chunk twice
    assert told([0, 2, 1], [0, 2, 1]) == "ProofRejected(range)"  # another circuit
    assert told([0, 1], [0, 1]) == "WrongLength(points, 4, 6)"
    assert told([0, 1, 2], [0, 1]) == "WrongLength(proofs, 2, 3)"
    assert told([0, 1, 2, 0], [0, 1, 2, 0]) == "WrongLength(points, 8, 6)"


def any_column(project: RealProject, trainer: Any, column: Sequence[int], circuit: str) -> Commitment:
    """A submission whose last chunk is any column, range-proven by any circuit with the right tag."""
    honest = project.submission(trainer)
    build, chunk = project.build, project.build.manifest.chunks - 1
    job = range_job(build, honest.opening, project.round_id, honest.commitment.trainer, chunk)
    job.files = build.files(circuit)
    job.inputs[0] = to_hex(from_ints(column))
    proof = backend.prove([job])[0]
    point = commit_column(build, "gram", column)
    old = honest.commitment
    return replace(old, points=(*old.points[:-1], point), range_proofs=(*old.range_proofs[:-1], proof))


def test_energy_in_the_padding(submitting: RealProject) -> None:
    """Values past D would carry score that never touches the model. Neither range circuit helps to hide them."""
    trainer, manifest = submitting.members[0], submitting.build.manifest
    honest = column_of(submitting.submission(trainer), 1, manifest.chunk)
    used = manifest.params - manifest.chunk
    assert honest[used : manifest.chunk] == [0] * (manifest.chunk - used) != []

    def told(column: Sequence[int], circuit: str) -> str:
        commitment = any_column(submitting, trainer, column, circuit)
        backend.verify(submitting.build.files(circuit), commitment.range_proofs[-1])
        return submitting.answer(submitting.submit_data(commitment), trainer)

    assert told(honest, "range-last") == ""
    for at, value in ((used, 1), (manifest.chunk - 1, P - 1)):
        padded = [value if index == at else old for index, old in enumerate(honest)]
        assert told(padded, "range-last") == "ProofRejected(range)"
        assert told(padded, "range") == "ProofRejected(range)"  # which has no word on the padding
    assert told(honest, "range") == "ProofRejected(range)"


# ---------------------------------------------------------------- another verifier


def codehash(build: Build, circuit: str) -> bytes:
    return keccak(market.compile_verifier(backend.verifier_source(build.files(circuit))).runtime)


def test_a_foreign_verifier_of_the_same_shape(chain: Chain, real: Real) -> None:
    """The owner pins the verifier of another rule, with as many instances: the contract cannot know, inspection can.

    Here it is that of D = 4,032 for D = 2,000: its digits are others, and so are its keys.
    """
    honest, foreign = made(3, 3, params_of(1)), made(3, 3, params_of(2))
    verifiers = real.market.deploy_verifiers(honest, real.owner)
    theirs = real.market.deploy_verifiers(foreign, real.owner)
    pinned = replace(verifiers, settlement=theirs.settlement)
    project = real.open(honest, verifiers=pinned)
    submissions = project.to_prove()
    proof, _ = project.prove(submissions)
    assert project.answer(project.settle_data(proof)) == REJECTED  # the honest one

    build = honest[3]
    forged = forge_round(Chimera(build.folder, build.manifest, foreign[3]), submissions, beta=proof.beta, solve=None)
    with pytest.raises(ProofRejected):
        verify_round(build, forged)
    assert project.answer(project.settle_data(forged)) == ""  # what the pinned circuit says is paid

    found = inspect(chain, project.project.address, honest)
    assert any("settlement" in reason for reason in found.wrong), found.wrong
    plan = project.project.plan(3)
    assert plan["settlement"]["codehash"] == codehash(foreign[3], "settlement") != codehash(build, "settlement")
    trustworthy = real.open(honest, verifiers=verifiers)
    assert not inspect(chain, trustworthy.project.address, honest).wrong


@dataclass(frozen=True)
class Chimera(Build):
    """A build with the settlement circuit of another one."""

    other: Build

    def files(self, name: str) -> backend.CircuitFiles:
        return self.other.files(name) if name == "settlement" else super().files(name)


def test_the_verifier_of_another_number_of_trainers(chain: Chain, real: Real) -> None:
    """Three trainers, settled with the plan of four or of five: wrong number of instances, whoever proves."""
    builds = made(3, 5, params_of(1))
    verifiers = real.market.deploy_verifiers(builds, real.owner)
    three = {3: builds[3]}
    for n in (4, 5):
        with chain.rolled_back():
            pinned = replace(verifiers, settlement={3: verifiers.settlement[n]})
            project = real.open(three, verifiers=pinned)
            submissions = project.to_prove()
            proof, _ = project.prove(submissions)
            assert project.answer(project.settle_data(proof)) == REJECTED
            found = inspect(chain, project.project.address, three)
            assert any("settlement" in reason for reason in found.wrong), found.wrong
    project = real.open(three, verifiers=replace(verifiers, settlement={3: verifiers.settlement[3]}))
    proof, _ = project.prove(project.to_prove())
    assert project.answer(project.settle_data(proof)) == ""


def test_code_exchanged_under_a_verifier_s_address(locked: Locked, submitting: RealProject) -> None:
    """As a metamorphic contract or an account that delegates would: the code is compared before every use."""
    chain, verifiers = locked.project.chain, locked.project.verifiers
    accepting = market.compile_verifier(ACCEPT_ALL).runtime

    def exchanged(verifier: Verifier, code: bytes, ask: Callable[[], str]) -> None:
        with chain.rolled_back():
            chain.web3.provider.make_request("anvil_setCode", [verifier.address, "0x" + code.hex()])
            have, want = keccak(code).hex(), verifier.codehash.hex()
            assert ask() == f"VerifierChanged({verifier.address.lower()}, 0x{have}, 0x{want})"
        assert ask() == ""

    trainer = submitting.members[0]
    data = submitting.submit_data(submitting.submission(trainer).commitment)
    for code in (accepting, bytes.fromhex("ef0100") + bytes.fromhex(str(verifiers.gram.address)[2:]), b"\0"):
        exchanged(verifiers.gram, code, locked.answer)
        exchanged(verifiers.settlement[3], code, locked.answer)
        exchanged(verifiers.range, code, lambda: submitting.answer(data, trainer))
        exchanged(verifiers.range_last, code, lambda: submitting.answer(data, trainer))


ANSWERS = {
    "true": ("mstore(0, 1) return(0, 32)", True),
    "false": ("mstore(0, 0) return(0, 32)", False),
    "two": ("mstore(0, 2) return(0, 32)", False),
    "all ones": ("mstore(0, not(0)) return(0, 32)", False),
    "true in the top byte": ("mstore(0, shl(248, 1)) return(0, 32)", False),
    "nothing": ("return(0, 0)", False),
    "31 bytes": ("mstore(0, 1) return(0, 31)", False),
    "33 bytes": ("mstore(0, 1) return(0, 33)", False),
    "64 bytes": ("mstore(0, 1) return(0, 64)", False),
    "true, reverted": ("mstore(0, 1) revert(0, 32)", False),
    "all gas": ("invalid()", False),
    "a storage write": ("sstore(0, 1) mstore(0, 1) return(0, 32)", False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_verifier_may_answer(scene: Scene, name: str) -> None:
    """Success is 32 bytes that say 1, in a call that may not write."""
    body, good = ANSWERS[name]
    source = f"""// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;
contract Answers {{
    function verifyProof(bytes calldata, uint256[] calldata) external returns (bool) {{ assembly {{ {body} }} }}
}}
"""
    compiled = market.compile_verifier(source)
    contract = scene.chain.deploy_verifier(compiled, scene.owner)
    scene.open(rangeLast=Verifier(contract.address, keccak(compiled.runtime)).words)
    scene.start()
    if good:
        assert scene.submit(scene.trainers[0]).event("Submitted")
        return
    with pytest.raises(TransactionReverted, match=r"ProofRejected\(proof=range\)"):
        scene.submit(scene.trainers[0])


# ---------------------------------------------------------------- crafted encodings


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def tails(head: bytes, body: bytes, dynamic: Sequence[int]) -> list[bytes]:
    """The tails of an encoding, in the order of its dynamic members; `dynamic` are their words in the head."""
    offsets = [int.from_bytes(head[32 * at : 32 * at + 32], "big") for at in dynamic]
    ends = [*offsets[1:], len(head) + len(body)]
    assert offsets == sorted(offsets) and offsets[0] == len(head)
    return [(head + body)[start:end] for start, end in zip(offsets, ends, strict=True)]


def encoded(head: bytes, dynamic: Sequence[int], placed: Sequence[tuple[int | None, bytes]]) -> bytes:
    """An encoding with its tails anywhere: `placed` in order, each of a member, or None for filling."""
    out, at = bytearray(head), len(head)
    for member, data in placed:
        if member is not None:
            word = dynamic[member]
            out[32 * word : 32 * word + 32] = number(at)
        at += len(data)
    return bytes(out) + b"".join(data for _, data in placed)


@dataclass(frozen=True)
class Crafted:
    """The arguments of a settlement in parts: of the call (proof, cid, publication), and of the proof's members."""

    selector: bytes
    members: list[bytes]
    proof_head: bytes
    cid: bytes
    publication: bytes

    PROOF = (POINTS, FOLDS, SCORES, GRAM, SETTLEMENT)

    @classmethod
    def of(cls, data: bytes) -> Crafted:
        head, body = data[4:100], data[100:]
        proof, cid, publication = tails(head, body, (0, 1, 2))
        members = tails(proof[:256], proof[256:], cls.PROOF)
        return cls(data[:4], members, proof[:256], cid, publication)

    def proof(self, placed: Sequence[tuple[int | None, bytes]] | None = None) -> bytes:
        placed = list(enumerate(self.members)) if placed is None else placed
        return encoded(self.proof_head, self.PROOF, placed)

    def call(self, placed: Sequence[tuple[int | None, bytes]]) -> bytes:
        return self.selector + encoded(bytes(96), (0, 1, 2), placed)

    def with_proof(self, proof: bytes) -> bytes:
        return self.call([(0, proof), (1, self.cid), (2, self.publication)])


def broken(tail: bytes, at: int = -1) -> bytes:
    """The same length, one byte of it another."""
    data = bytearray(tail)
    data[at] ^= 1
    return bytes(data)


def settle_variants(parts: Crafted) -> dict[str, tuple[bytes, bool]]:
    """Encodings of the same arguments, and of others that look alike; whether they are the same arguments."""
    p, c, s = (0, parts.proof()), (1, parts.cid), (2, parts.publication)
    points, folds, scores, gram, settlement = enumerate(parts.members)
    bad_gram, bad_settlement = broken(gram[1]), broken(settlement[1])
    inside, canonical = parts.with_proof, parts.call([p, c, s])
    return {
        "canonical": (canonical, True),
        "a gap behind the head": (parts.call([(None, b"\xff" * 32), p, c, s]), True),
        "not aligned": (parts.call([(None, b"\xff"), p, (None, b"\xee" * 5), c, s]), True),
        "in another order": (parts.call([s, c, p]), True),
        "a false copy first": (parts.call([(None, broken(p[1])), p, c, s]), True),
        "a false copy last": (parts.call([p, c, s, (None, broken(p[1]))]), True),
        "the false copy is meant": (parts.call([(None, p[1]), (0, broken(p[1])), c, s]), False),
        "the false copy last is meant": (parts.call([(None, p[1]), c, s, (0, broken(p[1]))]), False),
        "members in another order": (inside(parts.proof([settlement, gram, scores, folds, points])), True),
        "members not aligned": (inside(parts.proof([(None, b"\1"), points, folds, scores, gram, settlement])), True),
        # a verifier of its own would check the copy at the fixed place and hash the one at the offset
        "gram: a false copy in its place": (
            inside(parts.proof([points, folds, scores, (None, bad_gram), settlement, gram])),
            True,
        ),
        "gram: the true copy in its place": (
            inside(parts.proof([points, folds, scores, (None, gram[1]), settlement, (3, bad_gram)])),
            False,
        ),
        "settlement: a false copy in its place": (
            inside(parts.proof([points, folds, scores, gram, (None, bad_settlement), settlement])),
            True,
        ),
        "settlement: the true copy in its place": (
            inside(parts.proof([points, folds, scores, gram, (None, settlement[1]), (4, bad_settlement)])),
            False,
        ),
        "both proofs the gram proof": (
            inside(parts.proof([points, folds, scores, gram, (4, gram[1])])),
            False,
        ),
        "all offsets zero": (parts.selector + bytes(96) + canonical[100:], False),
        "an offset that wraps": (
            parts.selector + number(2**256 - 32) + canonical[36:],
            False,
        ),
        "an offset past the end": (parts.selector + number(2**20) + canonical[36:], False),
        "a proof offset that wraps": (
            inside(parts.proof()[: 32 * GRAM] + number(2**256 - 64) + parts.proof()[32 * GRAM + 32 :]),
            False,
        ),
        "the CID and the signature overlap": (canonical[:36] + canonical[68:100] + canonical[68:], False),
    }


def test_crafted_encodings_of_a_settlement(locked: Locked) -> None:
    """Either refused, or the same arguments: then the log and the state are those of the canonical one, to the bit."""
    project, chain = locked.project, locked.project.chain
    canonical = project.settle_data(locked.proof, CID, locked.publication)
    variants = settle_variants(Crafted.of(canonical))
    assert variants["canonical"] == (canonical, True)
    want = effect(chain, project, canonical)
    for name, (data, same) in variants.items():
        said = project.answer(data)
        assert (said == "") == same, (name, said)
        if same:
            assert effect(chain, project, data) == want, name
    dirty = bytearray(canonical)
    dirty[-31:] = b"\xff" * 31  # the padding of the signature
    assert effect(chain, project, bytes(dirty)) == want
    at = canonical.index(CID) + len(CID)
    assert canonical[at : at + 28] == bytes(28)
    assert effect(chain, project, canonical[:at] + b"\xff" * 28 + canonical[at + 28 :]) == want
    assert effect(chain, project, canonical + b"\xff" * 100) == want
    assert effect(chain, project, canonical[:-31]) == want


def effect(chain: Chain, project: RealProject, data: bytes) -> Any:
    """Everything that the transaction leaves behind; it is rolled back."""
    with chain.rolled_back():
        sent = {"from": str(project.real.stranger), "to": project.project.address, "data": "0x" + data.hex()}
        # the log holds the deadline: every variant is mined at the same second
        chain.web3.provider.make_request("evm_setNextBlockTimestamp", [chain.now + 10])
        answer = chain.web3.provider.make_request("eth_sendTransaction", [sent | {"gas": hex(10_000_000)}])
        receipt = chain.web3.eth.wait_for_transaction_receipt(answer["result"])
        assert receipt["status"] == 1
        logs = [(log["address"], list(log["topics"]), bytes(log["data"])) for log in receipt["logs"]]
        people = [project.real.owner, project.real.aggregator, *project.members]
        accounts = [project.project.account(who) for who in people]
        return logs, project.project.outcome(), project.project.state(), accounts


def test_crafted_encodings_of_a_submission(submitting: RealProject) -> None:
    trainer = submitting.members[0]
    data = submitting.submit_data(submitting.submission(trainer).commitment)
    head, body = data[4:100], data[100:]
    points, cid, proofs = enumerate(tails(head, body, (0, 1, 2)))
    first, second = tails(proofs[1][32:96], proofs[1][96:], (0, 1))

    def call(*placed: tuple[int | None, bytes]) -> bytes:
        return data[:4] + encoded(bytes(96), (0, 1, 2), placed)

    def with_proofs(*placed: tuple[int | None, bytes]) -> bytes:
        return call(points, cid, (2, proofs[1][:32] + encoded(bytes(64), (0, 1), placed)))

    variants = {
        "canonical": (call(points, cid, proofs), ""),
        "in another order": (call(proofs, (None, b"\xff" * 7), cid, points), ""),
        "a false copy first": (call((None, broken(points[1])), points, cid, proofs), ""),
        "proofs in another order": (with_proofs((1, second), (0, first)), ""),
        "proofs not aligned": (with_proofs((None, b"\1"), (0, first), (1, second)), ""),
        "a false copy in the proof's place": (with_proofs((None, broken(first)), (0, first), (1, second)), ""),
        "the false copy is meant": (
            with_proofs((0, broken(first)), (None, first), (1, second)),
            "ProofRejected(range)",
        ),
        "the true copy in its place": (
            with_proofs((None, first), (1, second), (0, broken(first))),
            "ProofRejected(range)",
        ),
    }
    assert variants["canonical"][0] == data
    for name, (crafted, want) in variants.items():
        assert submitting.answer(crafted, trainer) == want, name
    same = with_proofs((0, first), (None, b""))[: 4 + 96]  # cut off behind the head
    assert submitting.answer(same, trainer) != ""
    # both proofs the first one: they overlap, the tag and point of the second are missing
    overlapping = call(points, cid, (2, number(2) + number(64) + number(64) + first))
    assert submitting.answer(overlapping, trainer).startswith("WrongProofPoint(range, ")


def test_a_crafted_call_that_a_verifier_takes_is_refused_by_the_project(locked: Locked) -> None:
    """Asked directly, a generated verifier hashes the copy at the offset and checks the one at the fixed place.

    The project decodes, so that there is one copy, and encodes the call itself: whichever copy is false, it is either
    never read or the proof is refused.
    """
    project, proof = locked.project, locked.proof
    verifier = project.verifiers.gram.address
    data, instances = proof.gram.base.data, list(proof.gram.base.instances)
    tail = number(len(data)) + data
    numbers = number(len(instances)) + b"".join(map(number, instances))
    selector = keccak(b"verifyProof(bytes,uint256[])")[:4]

    def direct(at_its_place: bytes, hashed: bytes) -> bool:
        head = number(64 + len(tail) + len(numbers)) + number(64 + len(tail))
        crafted = selector + head + at_its_place + numbers + hashed
        call = {"to": verifier, "data": "0x" + crafted.hex(), "gas": hex(5_000_000)}
        said = project.chain.web3.provider.make_request("eth_call", [call, "latest"])
        return "error" not in said and int(said["result"], 16) == 1

    assert direct(tail, tail)
    parts = Crafted.of(project.settle_data(proof, CID, locked.publication))
    for at in (64 + 32, len(data) // 2 + 32, len(data) + 31):
        assert not direct(broken(tail, at), tail)
        points, folds, scores, gram, settlement = enumerate(parts.members)
        for first, second in ((gram[1], broken(gram[1], at)), (broken(gram[1], at), broken(gram[1], at))):
            crafted = parts.with_proof(parts.proof([points, folds, scores, (None, first), settlement, (3, second)]))
            assert project.answer(crafted) == "ProofRejected(gram)"


def test_nobody_may_settle_with_nothing(locked: Locked) -> None:
    """All zeros, all points at infinity, empty proofs: a verifier that is never asked would pay."""
    zeros = [0] * len(locked.words[POINTS])
    words = (zeros, 0, [0, 0], 0, [0, 0, 0], 0, b"", b"")
    assert locked.project.answer(locked.project.settle_data_of(words, CID, locked.publication)).startswith(
        "WrongPoints"
    )
    assert locked.answer(i6=bytes(len(locked.words[GRAM]))).startswith("WrongProofPoint(gram, ")
    assert locked.answer(i7=bytes(len(locked.words[SETTLEMENT]))).startswith("WrongProofPoint(settlement, ")
    assert locked.project.offer.reward == ETHER
