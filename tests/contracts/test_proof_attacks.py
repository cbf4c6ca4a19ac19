"""Attacks on what a settlement proves, by name, against real verifiers; each beside its honest twin.

Most are asked of the locked project without being mined: the project's answer, word for word. How the same attacks
fare against the engine's own verifier is in tests/attacks/; forgeries of the base proof are in test_forgeries.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_hash.auto import keccak
from eth_utils.abi import collapse_if_tuple

from tests.attacks.forger import add_to, forge_round
from tests.contracts.real import CID, ETHER, Real, RealProject, first_model, item_of, made, params_of, real
from tests.contracts.test_settle import BASE, DECISION, words_of
from tests.contracts.world import ACCEPT_ALL, Scene, refused_like
from zkmarket import backend
from zkmarket.build import Build
from zkmarket.chain import Chain, codec, compile_verifier
from zkmarket.crypto import GENERATOR, INFINITY, P, Point, Q, is_on_curve, multiply_add
from zkmarket.errors import ProofRejected
from zkmarket.market import Verifier, inspect, struct_words, submission_word
from zkmarket.round import Commitment, RoundProof, Submission, prove_round, verify_round

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture

N, M = 3, 2


@dataclass(frozen=True)
class Locked:
    """A project of three trainers and two chunks in PROVE, its honest proof, and what the contract is told of it."""

    project: RealProject
    submissions: tuple[Submission, ...]
    proof: RoundProof
    publication: bytes

    @property
    def words(self) -> dict[str, Any]:
        return words_of(self.proof, CID, first_model(self.project.build)[1])

    def answer(self, **changed: Any) -> str:
        """To the honest calldata with some parts changed: ``answer(nu=7)``."""
        return self.answer_to_words(self.words | changed, self.publication)

    def answer_to(self, proof: RoundProof, cid: bytes = CID) -> str:
        """To another proof, which the aggregator has signed."""
        publication = self.project.publication(proof, cid)
        return self.answer_to_words(words_of(proof, CID, first_model(self.project.build)[1]), publication, cid)

    def answer_to_words(self, words: dict[str, Any], publication: bytes, cid: bytes = CID) -> str:
        base, decision = tuple(words[name] for name in BASE), tuple(words[name] for name in DECISION)
        return self.project.answer(self.project.settle_data_of(base, decision, cid, publication))


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
    """The same points as if they were committed in another round, project or chain."""
    round_id = replace(submission.commitment.round_id, **place)
    return Submission(replace(submission.commitment, round_id=round_id), submission.opening)


def lock(project: RealProject, commitments: Sequence[Commitment], digests: Sequence[bytes] | None = None) -> None:
    """These submissions, all admitted: by an aggregator that looks at nothing."""
    digests = [one.digest() for one in commitments] if digests is None else digests
    for trainer, digest in zip(project.members, digests, strict=True):
        project.project._send("submit", "submit", digest, CID, sender=trainer)
    project.pass_deadline()
    project.admit(project.members)
    project.project.lock(project.real.stranger)


def test_the_honest_twin(locked: Locked) -> None:
    assert locked.answer() == ""
    assert verify_round(locked.project.build, locked.proof)


# ---------------------------------------------------------------- another decision

REJECTED = "ProofRejected(settlement)"
OTHER_COLUMNS = "WrongProofPoint(base, "
"""What a proof says to challenges that are not its own."""


@pytest.mark.parametrize("slot", range(N))
def test_forged_score(locked: Locked, slot: int) -> None:
    scores = locked.words["scores"]
    wrong = {scores[slot] + 1, max(scores[slot], 1) - 1, 0, 2 * scores[slot], 2**64 - 1} - {scores[slot]}
    for score in wrong:
        assert locked.answer(scores=with_word(scores, slot, score)) == REJECTED
    for score in (2**64, scores[slot] + 2**64, scores[slot] + P):
        said = f"OutOfBounds(score, {score}, 0, {2**64 - 1})"
        assert locked.answer(scores=with_word(scores, slot, score)) == said


def test_forged_scores_of_the_same_sum(locked: Locked) -> None:
    first, second, *rest = locked.words["scores"]
    assert locked.answer(scores=[second, first, *rest]) == REJECTED
    assert locked.answer(scores=[first - 1, second + 1, *rest]) == REJECTED


@pytest.mark.exhaustive("other entries", but=2)
@pytest.mark.parametrize("bits", [b for b in range(8) if b != 0b111])
def test_forged_mask(locked: Locked, bits: int) -> None:
    assert locked.words["mask"] == 0b111
    assert locked.answer(mask=bits) == REJECTED


@pytest.mark.parametrize("bits", [0b1111, 0b111 + 2**N, 2**64 + 0b111, 2**255 + 0b111, 0b111 + P])
def test_forged_mask_beyond_the_slots(locked: Locked, bits: int) -> None:
    """A bit that no slot has would count as accepted."""
    assert locked.answer(mask=bits) == f"OutOfBounds(mask, {bits}, 0, {2**N - 1})"


def test_forged_nu(locked: Locked) -> None:
    """The median decides the next norm bound."""
    nu = locked.words["nu"]
    for value in (0, nu - 1, nu + 1, 2 * nu, 2**64 - 1):
        assert locked.answer(nu=value) == REJECTED
    for value in (2**64, nu + 2**64, nu + P):
        assert locked.answer(nu=value) == f"OutOfBounds(nu, {value}, 0, {2**64 - 1})"


def test_forged_matrix(locked: Locked) -> None:
    """A valid settlement proof of a false matrix, committed before the challenges: the Gram argument refuses it.

    The forger solves the fold's claim X for the last claim, which would work if ρ did not depend on X.
    """
    build, beta = locked.project.build, locked.proof.beta
    change = add_to(1, 1, 1)
    for solve in (None, 0):
        forged = forge_round(build, locked.submissions, change, beta, solve=solve)
        backend.verify(build.files["settlement"], forged.settlement)
        backend.verify(build.files["base"], forged.base.proof)
        assert locked.answer_to(forged) == "ProofRejected(base)"
    honest = forge_round(build, locked.submissions, lambda matrix: None, beta, solve=None)
    assert locked.answer_to(honest) == ""


# ---------------------------------------------------------------- replay


@pytest.mark.exhaustive("another chain of the two", but=3)
@pytest.mark.parametrize(
    "place", [{"round": 2}, {"project": 0xABCDEF}, {"chain_id": 1}, {"chain_id": 1337}], ids=lambda p: next(iter(p))
)
def test_a_proof_for_another_place(locked: Locked, place: dict[str, int]) -> None:
    """Of the very same points, valid where it belongs; here its challenges are others."""
    foreign, _ = prove_round(
        locked.project.build, [moved(one, **place) for one in locked.submissions], locked.proof.beta
    )
    assert locked.answer_to(foreign).startswith(OTHER_COLUMNS)
    words = words_of(foreign, CID, first_model(locked.project.build)[1])
    for name in (*BASE, *DECISION):  # nor does any part of it fit into the honest one
        if words[name] != locked.words[name]:
            assert locked.answer(**{name: words[name]}) != ""
    assert words["points"][: 4 * N] == locked.words["points"][: 4 * N]


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
    assert project.answer(data) == "WrongPhase(6, 4)"  # at once: it is settled
    project.next()
    project.start()
    lock(project, [moved(one, round=2).commitment for one in submissions])
    assert project.answer(data).startswith(OTHER_COLUMNS)


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
    lock(second, [moved(one, project=second.round_id.project).commitment for one in submissions])
    assert second.answer(data).startswith(OTHER_COLUMNS)
    # the proof made for the sister is the same statement, and settles it
    twin = [Submission(replace(s.commitment, round_id=second.round_id), s.opening) for s in submissions]
    honest, _ = second.prove(twin)
    assert second.answer(second.settle_data(honest)) == ""


def test_a_proof_for_another_norm_bound(locked: Locked) -> None:
    """A smaller β refuses somebody, a larger one accepts somebody: the bound is the contract's."""
    for beta in (1, locked.proof.beta - 1, locked.proof.beta + 1):
        foreign, _ = prove_round(locked.project.build, locked.submissions, beta)
        assert locked.answer_to(foreign).startswith(OTHER_COLUMNS)
        assert verify_round(locked.project.build, foreign).nu == locked.words["nu"]  # where β is as it says


# ---------------------------------------------------------------- other updates


def slots(words: Sequence[int]) -> list[list[int]]:
    """Points by slot 1..N, and all others."""
    width = 2 * M
    return [list(words[at : at + width]) for at in range(0, N * width, width)] + [list(words[N * width :])]


def flat(parts: Sequence[Sequence[int]]) -> list[int]:
    return [word for part in parts for word in part]


def test_swapped_commitments(locked: Locked) -> None:
    first, second, *rest = slots(locked.words["points"])
    assert locked.answer(points=flat([second, first, *rest])).startswith("WrongPoints(1, ")
    crossed = flat([first[:2] + second[2:], second[:2] + first[2:], *rest])  # one chunk of each
    assert locked.answer(points=crossed).startswith("WrongPoints(1, ")


def test_swapped_commitments_with_a_proof_for_them(locked: Locked) -> None:
    """Slots in another order than the seats: proven as such, the scores would go to each other's owner."""
    other = [locked.submissions[at] for at in (1, 0, 2)]
    foreign, _ = prove_round(locked.project.build, other, locked.proof.beta)
    assert locked.answer_to(foreign).startswith("WrongPoints(1, ")
    words = words_of(foreign, CID, first_model(locked.project.build)[1])
    words["points"] = [
        *locked.words["points"][: 2 * N * M],
        *words["points"][2 * N * M :],
    ]  # with its own masks and C_G
    assert locked.answer_to_words(words, locked.project.publication(foreign)).startswith(OTHER_COLUMNS)


def test_an_update_that_was_made_later(locked: Locked) -> None:
    """Equivocation: the aggregator has a receipt of one update, and proves the round with another of the same trainer,
    made after it had seen the others."""
    values = sum(one.opening.values.astype(int) for one in locked.submissions[1:]) // 2
    later = locked.project.submission(locked.project.members[0], values)
    foreign, _ = prove_round(locked.project.build, [later, *locked.submissions[1:]], locked.proof.beta)
    want = submission_word(locked.submissions[0].commitment.digest(), CID).hex()
    have = submission_word(later.commitment.digest(), CID).hex()
    assert locked.answer_to(foreign) == f"WrongPoints(1, 0x{have}, 0x{want})"
    other_cid = [keccak(b"where the other one is"), *locked.words["cids"][1:]]
    assert locked.answer(cids=other_cid).startswith("WrongPoints(1, ")


def test_a_dropped_trainer(locked: Locked) -> None:
    parts, want = slots(locked.words["points"]), len(locked.words["points"])
    for gone in range(N):
        fewer = flat([part for at, part in enumerate(parts) if at != gone])
        assert locked.answer(points=fewer) == f"WrongLength(points, {want - 2 * M}, {want})"
        assert locked.answer(scores=list(locked.words["scores"][:-1])) == "WrongLength(scores, 2, 3)"
        doubled = flat([parts[(gone + 1) % N] if at == gone else part for at, part in enumerate(parts)])
        assert locked.answer(points=doubled).startswith(f"WrongPoints({gone + 1}, ")


def test_a_dropped_chunk(locked: Locked) -> None:
    words = locked.words["points"]
    assert locked.answer(points=words[2:]) == f"WrongLength(points, {len(words) - 2}, {len(words)})"
    assert locked.answer(points=[*words, 1, 2]) == f"WrongLength(points, {len(words) + 2}, {len(words)})"
    assert locked.answer(points=[]) == f"WrongLength(points, 0, {len(words)})"


def test_a_commitment_with_energy_moved_between_trainers(locked: Locked) -> None:
    """C_1 + T, C_2 − T for any T: the sum is unchanged, the registered points are not."""
    first, second, *rest = slots(locked.words["points"])
    plus = multiply_add([tuple(first[:2]), GENERATOR], [1, 5])
    minus = multiply_add([tuple(second[:2]), GENERATOR], [1, P - 5])
    said = locked.answer(points=flat([[*plus, *first[2:]], [*minus, *second[2:]], *rest]))
    assert said.startswith("WrongPoints(1, ")


# ---------------------------------------------------------------- another encoding of the same


def test_field_elements_that_are_not_canonical(locked: Locked) -> None:
    for name in ("q", "t0", "salt_square"):
        for value in (locked.words[name] + P, P, 2**256 - 1):
            assert locked.answer(**{name: value}) == f"ScalarNotCanonical({value})"
    for name in ("folds", "rounds"):
        words = locked.words[name]
        for at, word in enumerate(words):
            assert locked.answer(**{name: with_word(words, at, word + P)}) == f"ScalarNotCanonical({word + P})"


def test_trailing_bytes(locked: Locked) -> None:
    for name, what, least in (("proof", "base", 192), ("settlement", "settlement", 64)):
        data = locked.words[name]
        for more in (b"\0", b"\1", bytes(32), data):
            assert locked.answer(**{name: data + more}) == f"ProofRejected({what})"
        for length in (0, least - 1):
            assert locked.answer(**{name: data[:length]}) == f"WrongLength({what}, {length}, {least})"
        assert locked.answer(**{name: data[:least]}) == f"ProofRejected({what})"


def test_folds_rounds_and_rows_too_many_and_too_few(locked: Locked) -> None:
    for name, want in (("folds", 2), ("rounds", 8)):
        words = locked.words[name]
        assert len(words) == want
        for wrong in ([], words[:-1], [*words, 0], [*words, *words]):
            assert locked.answer(**{name: wrong}) == f"WrongLength({name}, {len(wrong)}, {want})"
    z = locked.words["z"]
    for wrong in (b"", z[:-14], z[:-1], z + b"\0", z + z[:14]):
        assert locked.answer(z=wrong) == f"WrongLength(z, {len(wrong)}, 7280)"


@pytest.mark.parametrize("row", [0, 1, 259, 518, 519])
def test_rows_at_and_beyond_both_edges(locked: Locked, row: int) -> None:
    """A row is in (−2^110, 2^110), sent with 2^110 more: at the edges it is absorbed, beyond them refused."""
    z, most = locked.words["z"], (1 << 111) - 1

    def told(value: int) -> str:
        return locked.answer(z=z[: 14 * row] + value.to_bytes(14, "big") + z[14 * row + 14 :])

    for value in (1, most):
        assert told(value).startswith(OTHER_COLUMNS)
    for value in (0, most + 1, 2**112 - 1):
        assert told(value) == f"OutOfBounds(z, {value}, 1, {most})"


WRONG_POINTS: dict[str, Callable[[int, int], Point]] = {
    "infinity": lambda x, y: (0, 0),
    "off the curve": lambda x, y: (x, (y + 1) % Q),
    "x + q": lambda x, y: (x + Q, y),
    "y + q": lambda x, y: (x, y + Q),
    "all ones": lambda x, y: (2**256 - 1, 2**256 - 1),
}


@pytest.mark.parametrize("name", WRONG_POINTS)
def test_wrong_points_in_every_place_of_the_commitments(locked: Locked, name: str) -> None:
    """All are checked to be on the curve before they are compared with anything."""
    words = locked.words["points"]
    for at in range(0, len(words), 2):
        x, y = WRONG_POINTS[name](words[at], words[at + 1])
        assert locked.answer(points=[*words[:at], x, y, *words[at + 2 :]]) == f"PointNotOnCurve({x}, {y})", at


def words_at(data: bytes, start: int) -> Point:
    return int.from_bytes(data[start : start + 32], "big"), int.from_bytes(data[start + 32 : start + 64], "big")


@pytest.mark.parametrize("name", WRONG_POINTS)
@pytest.mark.parametrize("part, what, committed", [("proof", "base", 3), ("settlement", "settlement", 1)])
def test_wrong_points_in_every_place_of_a_proof(
    locked: Locked, part: str, what: str, committed: int, name: str
) -> None:
    """Points stand first and the last two; between them, two by two, evaluations."""
    data = locked.words[part]
    ends = [len(data) - 128, len(data) - 64]
    pairs = {start: words_at(data, start) for start in [*range(0, ends[0] - 63, 64), *ends]}
    points = [start for start, pair in pairs.items() if pair != INFINITY and is_on_curve(pair)]
    assert points == [*range(0, points[-3] + 64, 64), *ends] and len(points) > 10
    for start, old in pairs.items():
        x, y = WRONG_POINTS[name](*old)
        if (x, y) == old:  # evaluations that are 0 in every proof of this circuit
            assert start not in points
            continue
        said = locked.answer(
            **{part: data[:start] + x.to_bytes(32, "big") + y.to_bytes(32, "big") + data[start + 64 :]}
        )
        if start >= 64 * committed:
            assert said == f"ProofRejected({what})", (start, said)
        elif part == "proof":
            assert said == f"PointNotOnCurve({x}, {y})", (start, said)
        else:
            assert said.startswith("WrongProofPoint(settlement, "), (start, said)


# ---------------------------------------------------------------- another's submission


@pytest.mark.exhaustive("other points that are none", but=1)
@pytest.mark.parametrize("name", WRONG_POINTS)
def test_points_off_the_curve_cannot_be_settled(locked: Locked, submitting: RealProject, name: str) -> None:
    """A digest may be of anything. With false receipts, too, such points cost the aggregator its bond: an honest one
    gives none."""
    place = submitting.round_id
    commitments = [replace(one.commitment, round_id=place) for one in locked.submissions]
    x, y = WRONG_POINTS[name](*commitments[1].points[0])
    data = b"".join(word.to_bytes(32, "big") for word in (x, y, *commitments[1].points[1]))
    head = [place.chain_id, place.project, place.round, commitments[1].trainer]
    bad = keccak(b"update".ljust(32, b"\0") + b"".join(word.to_bytes(32, "big") for word in head) + data)
    proof, _ = prove_round(submitting.build, [moved(s, project=place.project) for s in locked.submissions])
    with submitting.chain.rolled_back():
        lock(submitting, commitments, [commitments[0].digest(), bad, commitments[2].digest()])
        words = words_of(proof, CID, first_model(locked.project.build)[1])
        words["points"][2 * M : 2 * M + 2] = [x, y]
        base, decision = tuple(words[n] for n in BASE), tuple(words[n] for n in DECISION)
        said = submitting.answer(submitting.settle_data_of(base, decision, CID, bytes(65)))
    assert said == f"PointNotOnCurve({x}, {y})"


def settled_with(project: RealProject, submissions: Sequence[Submission], digests: Sequence[bytes]) -> str:
    """What a project says of a round whose trainers submitted these digests, proven with these updates."""
    with project.chain.rolled_back():
        lock(project, [], digests)
        proof, _ = project.prove(submissions)
        return project.answer(project.settle_data(proof))


def test_copied_from_the_mempool(submitting: RealProject) -> None:
    """A digest, seen before it is mined and sent by another trainer: it names who made it. An aggregator that gives the
    copy a receipt can prove nothing: not with the points as the thief's, nor has it another opening."""
    honest = [submitting.submission(trainer) for trainer in submitting.members]
    digests = [one.commitment.digest() for one in honest]
    assert settled_with(submitting, honest, digests) == ""
    copied = replace(honest[0].commitment, trainer=honest[1].commitment.trainer)
    stolen = [honest[0], Submission(copied, honest[0].opening), honest[2]]
    said = settled_with(submitting, stolen, [digests[0], digests[0], digests[2]])
    have, want = submission_word(copied.digest(), CID).hex(), submission_word(digests[0], CID).hex()
    assert said == f"WrongPoints(2, 0x{have}, 0x{want})"


@pytest.mark.parametrize("place", [{"round": 2}, {"project": 0xABCDEF}, {"chain_id": 1}], ids=lambda p: next(iter(p)))
def test_a_digest_for_another_place(submitting: RealProject, place: dict[str, int]) -> None:
    honest = [submitting.submission(trainer) for trainer in submitting.members]
    digests = [one.commitment.digest() for one in honest]
    elsewhere = moved(honest[2], **place).commitment.digest()
    said = settled_with(submitting, honest, [*digests[:2], elsewhere])
    have, want = submission_word(digests[2], CID).hex(), submission_word(elsewhere, CID).hex()
    assert said == f"WrongPoints(3, 0x{have}, 0x{want})"


def test_a_digest_of_a_root_update(submitting: RealProject) -> None:
    """The label tells an update from a root update of the same author."""
    honest = [submitting.submission(trainer) for trainer in submitting.members]
    digests = [one.commitment.digest() for one in honest]
    said = settled_with(submitting, honest, [honest[0].commitment.digest("root"), *digests[1:]])
    assert said.startswith("WrongPoints(1, ")


# ---------------------------------------------------------------- another verifier


def codehash(build: Build, circuit: str) -> bytes:
    return keccak(compile_verifier(backend.verifier_source(build.files[circuit])).runtime)


def test_a_foreign_verifier_of_the_same_shape(chain: Chain, real: Real) -> None:
    """The owner pins the verifier of another rule, with as many instances: the contract cannot know, inspection can.

    Here it is that of two chunks for one: its digits are others, and so are its keys.
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
    assert plan.settlement.codehash == codehash(foreign[3], "settlement") != codehash(build, "settlement")
    trustworthy = real.open(honest, verifiers=verifiers)
    assert not inspect(chain, trustworthy.project.address, honest).wrong


@dataclass(frozen=True)
class Chimera(Build):
    """A build with the settlement circuit of another one."""

    other: Build

    @functools.cached_property
    def files(self) -> Mapping[str, backend.CircuitFiles]:
        own = Build(self.folder, self.manifest).files
        return {**own, "settlement": self.other.files["settlement"]}


def test_the_verifier_of_another_number_of_trainers(chain: Chain, real: Real) -> None:
    """Three trainers, settled with the plan of four: wrong number of instances, whoever proves."""
    builds = made(3, 4, params_of(1))
    verifiers = real.market.deploy_verifiers(builds, real.owner)
    three = {3: builds[3]}
    with chain.rolled_back():
        pinned = replace(verifiers, settlement={3: verifiers.settlement[4]})
        project = real.open(three, verifiers=pinned)
        submissions = project.to_prove()
        proof, _ = project.prove(submissions)
        assert project.answer(project.settle_data(proof)) == REJECTED
        found = inspect(chain, project.project.address, three)
        assert any("settlement" in reason for reason in found.wrong), found.wrong
    project = real.open(three, verifiers=replace(verifiers, settlement={3: verifiers.settlement[3]}))
    proof, _ = project.prove(project.to_prove())
    assert project.answer(project.settle_data(proof)) == ""


def test_code_exchanged_under_a_verifier_s_address(locked: Locked) -> None:
    """As a metamorphic contract or an account that delegates would: the code is compared before every use."""
    chain, verifiers = locked.project.chain, locked.project.verifiers
    accepting = compile_verifier(ACCEPT_ALL).runtime

    def exchanged(verifier: Verifier, code: bytes, ask: Callable[[], str]) -> None:
        with chain.rolled_back():
            chain.web3.provider.make_request("anvil_setCode", [verifier.deployed, "0x" + code.hex()])
            have, want = keccak(code).hex(), verifier.codehash.hex()
            assert ask() == f"VerifierChanged({verifier.deployed.lower()}, 0x{have}, 0x{want})"
        assert ask() == ""

    for code in (accepting, bytes.fromhex("ef0100") + bytes.fromhex(str(verifiers.base.deployed)[2:]), b"\0"):
        exchanged(verifiers.base, code, locked.answer)
        exchanged(verifiers.settlement[3], code, locked.answer)


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


@pytest.mark.exhaustive("test_settle.py has every answer", but=4)
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
    compiled = compile_verifier(source)
    contract = scene.chain.deploy_verifier(compiled, scene.owner)
    scene.trainers = scene.trainers[:3]
    scene.open(base=struct_words(Verifier(contract.address, keccak(compiled.runtime)))).to_prove()
    if good:
        assert scene.settle().event("Settled")
        return
    with refused_like(r"ProofRejected\(proof=base\)"):
        scene.settle()


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


BASE_TAILS = (0, 1, 4, 5, 6, 8)
"""Words of the head of `BaseProof` that are offsets: of points, cids, z, folds, rounds, proof."""

DECISION_TAILS = (1, 3, 4)
"""Of `Decision`: of scores, theta, proof."""


@dataclass(frozen=True)
class Crafted:
    """The arguments of a settlement in parts: of the call (base, decision, cid, publication), and of both structs."""

    selector: bytes
    base_head: bytes
    base: list[bytes]
    decision_head: bytes
    decision: list[bytes]
    cid: bytes
    publication: bytes

    @classmethod
    def of(cls, data: bytes) -> Crafted:
        base, decision, cid, publication = tails(data[4:132], data[132:], (0, 1, 2, 3))
        members = tails(base[:288], base[288:], BASE_TAILS)
        others = tails(decision[:160], decision[160:], DECISION_TAILS)
        return cls(data[:4], base[:288], members, decision[:160], others, cid, publication)

    def with_base(self, placed: Sequence[tuple[int | None, bytes]] | None = None) -> bytes:
        return encoded(self.base_head, BASE_TAILS, list(enumerate(self.base)) if placed is None else placed)

    def with_decision(self, placed: Sequence[tuple[int | None, bytes]] | None = None) -> bytes:
        placed = list(enumerate(self.decision)) if placed is None else placed
        return encoded(self.decision_head, DECISION_TAILS, placed)

    def call(self, placed: Sequence[tuple[int | None, bytes]]) -> bytes:
        return self.selector + encoded(bytes(128), (0, 1, 2, 3), placed)

    def told(self, base: bytes | None = None, decision: bytes | None = None) -> bytes:
        first = self.with_base() if base is None else base
        second = self.with_decision() if decision is None else decision
        return self.call([(0, first), (1, second), (2, self.cid), (3, self.publication)])


def broken(tail: bytes, at: int = -1) -> bytes:
    """The same length, one byte of it another."""
    data = bytearray(tail)
    data[at] ^= 1
    return bytes(data)


def settle_variants(parts: Crafted) -> dict[str, tuple[bytes, bool]]:
    """Encodings of the same arguments, and of others that look alike; whether they are the same arguments."""
    b, d = (0, parts.with_base()), (1, parts.with_decision())
    c, s = (2, parts.cid), (3, parts.publication)
    *others, base_proof = enumerate(parts.base)
    points = others[0]
    scores, theta, settlement = enumerate(parts.decision)
    bad_base, bad_settlement = broken(base_proof[1]), broken(settlement[1])
    inside, canonical = parts.told, parts.call([b, d, c, s])
    in_base, in_decision = parts.with_base, parts.with_decision
    return {
        "canonical": (canonical, True),
        "a gap behind the head": (parts.call([(None, b"\xff" * 32), b, d, c, s]), True),
        "not aligned": (parts.call([(None, b"\xff"), b, (None, b"\xee" * 5), d, c, s]), True),
        "in another order": (parts.call([s, c, d, b]), True),
        "a false copy first": (parts.call([(None, broken(b[1])), b, d, c, s]), True),
        "a false copy last": (parts.call([b, d, c, s, (None, broken(b[1]))]), True),
        "the false copy is meant": (parts.call([(None, b[1]), (0, broken(b[1])), d, c, s]), False),
        "the false copy last is meant": (parts.call([(None, b[1]), d, c, s, (0, broken(b[1]))]), False),
        "members in another order": (
            inside(in_base([base_proof, *reversed(others)]), in_decision([settlement, theta, scores])),
            True,
        ),
        "members not aligned": (inside(in_base([(None, b"\1"), *others, base_proof])), True),
        "the CIDs are the points": (inside(in_base([points, (1, points[1]), *others[2:], base_proof])), False),
        "rounds and folds overlap": (inside(in_base([*others[:4], (4, others[3][1]), base_proof])), False),
        # a verifier of its own would check the copy at the fixed place and hash the one at the offset
        "base: a false copy in its place": (inside(in_base([*others, (None, bad_base), base_proof])), True),
        "base: the true copy in its place": (
            inside(in_base([*others, (None, base_proof[1]), (5, bad_base)])),
            False,
        ),
        "settlement: a false copy in its place": (
            inside(None, in_decision([scores, theta, (None, bad_settlement), settlement])),
            True,
        ),
        "settlement: the true copy in its place": (
            inside(None, in_decision([scores, theta, (None, settlement[1]), (2, bad_settlement)])),
            False,
        ),
        "both proofs the base proof": (inside(None, in_decision([scores, theta, (2, base_proof[1])])), False),
        "the model is the scores": (inside(None, in_decision([scores, (1, scores[1]), settlement])), False),
        "all offsets zero": (parts.selector + bytes(128) + canonical[132:], False),
        "an offset that wraps": (parts.selector + number(2**256 - 32) + canonical[36:], False),
        "an offset past the end": (parts.selector + number(2**20) + canonical[36:], False),
        "a proof offset that wraps": (
            inside(in_base()[: 32 * 8] + number(2**256 - 64) + in_base()[32 * 8 + 32 :]),
            False,
        ),
        "the CID and the signature overlap": (canonical[:68] + canonical[100:132] + canonical[100:], False),
    }


def test_crafted_encodings_of_a_settlement(locked: Locked) -> None:
    """Either refused, or the same arguments: then the log and the state are those of the canonical one, to the bit."""
    project, chain = locked.project, locked.project.chain
    canonical = project.settle_data(locked.proof, CID, locked.publication)
    variants = settle_variants(Crafted.of(canonical))
    assert variants["canonical"] == (canonical, True)
    want = effect(chain, project, canonical)
    types = [collapse_if_tuple(part) for part in item_of(project.project, "settle")["inputs"]]
    read = codec().decode(types, canonical[4:], strict=False)
    for name, (data, same) in variants.items():
        said = project.answer(data)
        assert (said == "") == same, (name, said)
        if same:
            assert effect(chain, project, data) == want, name
            assert codec().decode(types, data[4:], strict=False) == read, name  # as auditors read it
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


def test_a_crafted_call_that_a_verifier_takes_is_refused_by_the_project(locked: Locked) -> None:
    """Asked directly, a generated verifier hashes the copy at the offset and checks the one at the fixed place.

    The project decodes, so that there is one copy, and encodes the call itself: whichever copy is false, it is either
    never read or the proof is refused.
    """
    project, proof = locked.project, locked.proof
    verifier = project.verifiers.base.deployed
    data, instances = proof.base.proof.data, list(proof.base.proof.instances)
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
        *others, base_proof = enumerate(parts.base)
        for first, second in ((base_proof[1], broken(base_proof[1], at)), (broken(base_proof[1], at),) * 2):
            crafted = parts.told(parts.with_base([*others, (None, first), (5, second)]))
            assert re.fullmatch(r"ProofRejected\(base\)|PointNotOnCurve\(.*\)", project.answer(crafted))


def test_nobody_may_settle_with_nothing(locked: Locked) -> None:
    """All zeros, all points at infinity, empty proofs: a verifier that is never asked would pay."""
    words = locked.words
    nothing = {
        name: [0] * len(word) if isinstance(word, list) else bytes(len(word))
        for name, word in words.items()
        if not isinstance(word, int)
    }
    nothing |= {name: 0 for name, word in words.items() if isinstance(word, int)} | {"cids": [bytes(32)] * N}
    assert locked.answer_to_words(nothing, locked.publication) == "PointNotOnCurve(0, 0)"
    assert locked.answer(proof=nothing["proof"]) == "PointNotOnCurve(0, 0)"
    assert locked.answer(settlement=nothing["settlement"]).startswith("WrongProofPoint(settlement, ")
    assert locked.answer(z=nothing["z"]) == f"OutOfBounds(z, 0, 1, {2**111 - 1})"
    assert locked.project.offer.reward == ETHER
