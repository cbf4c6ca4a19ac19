"""Rounds with real proofs, settled on anvil: what is paid and published, and what an auditor finds on the chain."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import honest_updates
from tests.contracts.real import CHUNK, CID, THETA_BITS, Real, RealProject, compared, made, params_of, real
from zkmarket.chain import Chain, Phase
from zkmarket.crypto import Q
from zkmarket.errors import OpeningMismatch, ProofRejected
from zkmarket.market import Plan, point_words, points_hash
from zkmarket.round import Aggregate, Decision, RoundProof, Submission, moved, open_aggregate, verify_round
from zkmarket.rules import next_beta, weight

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture

BASE, DECISION = 0, 1
"""Of `settle_words`."""


def settle_and_check(
    project: RealProject,
    submissions: Sequence[Submission],
    root: Submission | None = None,
    last: Aggregate | None = None,
    in_two: bool = False,
) -> tuple[RoundProof, Aggregate | None, Decision]:
    """Prove and settle the locked round, and compare all that the chain says with the engine's decision."""
    proof, aggregate = project.prove(submissions, root, last)
    build = project.builds[len(submissions)]
    before = project.project.state()
    cid = CID if aggregate else b""
    done = (project.settle_in_two if in_two else project.settle)(proof, cid)
    settled = done.event("Settled").arguments

    audited = project.project.round_proof(build.manifest, before.round)
    assert audited == proof
    assert project.project.commitments(before.round) == list(proof.commitments)
    known = project.project.references(build.manifest, before.round)
    decision = verify_round(build, audited, expected=project.project.round_id(before.round), references=known)

    # what was decided, and where it is kept
    result, outcome, after = settled["settlement"], project.project.outcome(), project.project.state()
    bits = sum(bit << slot for slot, bit in enumerate(decision.mask))
    assert [int(trainer, 16) for trainer in result["trainers"]] == list(decision.trainers)
    assert (result["mask"], tuple(result["scores"])) == (bits, decision.scores)
    assert outcome.mask == bits
    packed = [
        sum(s << 64 * i for i, s in enumerate(decision.scores[at : at + 4])) for at in range(0, len(decision.scores), 4)
    ]
    assert list(outcome.scores) == packed
    offer = project.offer
    want = next_beta(before.beta, decision.nu, offer.kappa, offer.beta_min, offer.beta_max)
    assert result["beta"] == outcome.beta == after.beta == want
    assert result["rate"] == outcome.rate == offer.rates[min(before.settled, len(offer.rates) - 1)]
    assert after.phase == Phase.SETTLED and after.settled == before.settled + 1

    # money
    pay, dust = decision.shares(offer.reward)
    assert list(result["pay"]) == pay and sum(pay) + dust == offer.reward

    # the aggregate
    assert list(result["aggregate"]) == point_words(decision.aggregate)
    assert result["cid"] == cid
    if aggregate:
        assert outcome.aggregate == points_hash(decision.aggregate)
        open_aggregate(build, decision, aggregate)
        assert points_hash(project.model.points(build)) == before.theta == after.theta
        w = weight(result["rate"], sum(decision.mask), THETA_BITS)
        project.model = moved(project.model, aggregate, w)  # by the engine: Com(Θ + w·Agg), salts and all
        assert points_hash(project.model.points(build)) == result["theta"] == outcome.theta
        assert np.array_equal(
            aggregate.values,
            sum(s.opening.values for s, bit in zip(submissions, decision.mask, strict=True) if bit),
        )
        wrong = replace(aggregate, values=aggregate.values + (np.arange(len(aggregate.values)) == 0))
        with pytest.raises(OpeningMismatch):
            open_aggregate(build, decision, wrong)
    return proof, aggregate, decision


@pytest.mark.parametrize(
    "n, params",
    [
        pytest.param(3, params_of(1), marks=pytest.mark.exhaustive("test_proof_attacks.py has one chunk")),
        pytest.param(3, params_of(2), marks=pytest.mark.exhaustive("three chunks have two in them")),
        (3, params_of(3)),  # not a power of two: the last fold's partner is missing
        pytest.param(3, CHUNK, marks=pytest.mark.exhaustive("tests/round: C divides D, no padding")),
        pytest.param(8, params_of(1), marks=pytest.mark.exhaustive("a size; f > 0 is in tests/attacks")),
        pytest.param(16, params_of(1), marks=pytest.mark.exhaustive("a size")),
    ],
    ids=["N3-m1", "N3-m2", "N3-m3", "N3-exact", "N8-m1", "N16-m1"],
)
def test_a_round(chain: Chain, real: Real, n: int, params: int) -> None:
    builds = made(n, n, params)
    project = real.open(builds)
    _, _, decision = settle_and_check(project, project.to_prove())
    assert sum(decision.mask) >= 3 and any(decision.scores)
    if n > 3:  # f > 0: the outlier is out
        assert decision.mask[-1] == 0 == decision.scores[-1]
    pay, dust = decision.shares(project.offer.reward)
    for trainer, amount in zip(project.members, pay, strict=True):
        assert project.project.account(trainer).credit == amount
    assert project.project.account(real.owner).credit == dust


def test_the_plan_is_that_of_the_admitted(chain: Chain, real: Real) -> None:
    """Three to five trainers: five submit, four are admitted, and the verifier and rule for four decide."""
    builds = made(3, 5, params_of(1))
    project = real.open(builds)
    used = {n: project.project.plan(n).settlement.deployed for n in (3, 4, 5)}
    assert len(set(used.values())) == 3
    left_out = project.members[1]
    admitted = [trainer for trainer in project.members if trainer != left_out]
    submissions = project.to_prove(admitted=admitted)
    refused = project.project.events()[-2]
    assert (refused.name, refused.arguments["trainer"]) == ("Refused", str(left_out))
    _, _, decision = settle_and_check(project, submissions)
    assert [f"0x{trainer:040x}" for trainer in decision.trainers] == [str(t).lower() for t in admitted]
    assert project.project.account(left_out).stake_wei == project.offer.stake_wei - project.offer.penalty_wei


@pytest.mark.exhaustive("test_rounds_that_are_compared_with_a_root_and_with_the_last_aggregate")
def test_two_rounds(chain: Chain, real: Real) -> None:
    """The second has another bound and other updates, and is settled in two transactions; both stay verifiable from
    the chain."""
    project = real.open(made(3, 3, params_of(1)))
    first_beta = project.project.state().beta
    first, _, decided = settle_and_check(project, project.to_prove())
    project.next()
    second_beta = project.project.state().beta
    assert second_beta not in (first_beta, first_beta // 2, 2 * first_beta)
    second, _, again = settle_and_check(project, project.to_prove(), in_two=True)
    assert (first.beta, second.beta) == (first_beta, second_beta)
    assert project.project.round_proof(project.build.manifest, 1) == first
    for trainer, one, two in zip(project.members, decided.shares(10**18)[0], again.shares(10**18)[0], strict=True):
        assert project.project.account(trainer).credit == one + two


@pytest.mark.exhaustive("test_settle.py, without proofs")
def test_a_withheld_round(chain: Chain, real: Real) -> None:
    """One of three is too long: two are accepted and paid, and no aggregate is published, for it would reveal them."""
    project = real.open(made(3, 3, params_of(1)))
    long = honest_updates(3, params_of(1), seed=9)[0] * 6
    assert int((long.astype(object) ** 2).sum()) > project.offer.beta
    project.start()
    submissions = []
    for trainer, values in zip(project.members, [*project.updates()[:2], long], strict=True):
        submissions.append(project.submission(trainer, values))
        project.project.submit(trainer, submissions[-1].commitment, CID)
    project.pass_deadline()
    project.admit(project.members)
    project.project.lock(real.stranger)
    _, aggregate, decision = settle_and_check(project, submissions)
    assert aggregate is None and decision.aggregate == () and decision.mask == (1, 1, 0)
    outcome = project.project.outcome()
    assert outcome.aggregate == bytes(32)
    project.next()
    assert project.project.events()[-2].arguments == {"round": 1, "skipped": True, "theta": project.offer.theta}


@pytest.mark.exhaustive("tests/attacks/test_replay.py: another manifest")
def test_an_auditor_who_rebuilt_something_else_refuses_it(chain: Chain, real: Real) -> None:
    """`round_proof` leaves nothing out: with one thing of the chain changed the round does not verify."""
    project = real.open(made(3, 3, params_of(2)))
    proof, _ = project.prove(project.to_prove())
    project.settle(proof)
    audited = project.project.round_proof(project.build.manifest, 1)
    assert verify_round(project.build, audited)
    base, data = audited.base, audited.base.proof.data
    for wrong in (
        replace(audited, beta=audited.beta + 1),
        replace(audited, commitments=audited.commitments[::-1]),
        replace(audited, mask_points=audited.mask_points[::-1]),
        replace(audited, projection_points=audited.projection_points[::-1]),
        replace(audited, base=replace(base, t0=base.t0 + 1)),
        replace(audited, base=replace(base, z=base.z[14:] + base.z[:14])),
        replace(audited, base=replace(base, rounds=base.rounds[::-1])),
        replace(audited, base=replace(base, proof=replace(base.proof, data=data[:-1] + bytes([data[-1] ^ 1])))),
    ):
        with pytest.raises(ProofRejected):
            verify_round(project.build, wrong)


# ---------------------------------------------------------------- a root update and the last aggregate


def test_rounds_that_are_compared_with_a_root_and_with_the_last_aggregate(chain: Chain, real: Real) -> None:
    """The first round has no aggregate before it, the second one has; the third would need another root.

    In the second a trainer resends what was aggregated: the root approves of it, and it is worth next to nothing.
    """
    builds = compared()
    project = real.open(builds)
    manifest, stranger = project.build.manifest, real.stranger
    plan = project.project.plan(4)
    assert plan == Plan(plan.settlement, manifest.digest(), f=0, m=4, references=3, shift=manifest.score_shift)
    first, second = (honest_updates(6, manifest.params, seed=seed)[:5] for seed in (1, 2))
    root = project.root(first[4])

    assert project.answer(project.root_data(root.commitment), stranger).startswith("WrongCaller(")
    project.offer_root(root)

    outlier = -first[4]
    submissions = round_of(project, [*first[:3], outlier])
    refuse_other_roots(project, submissions, root)
    _, last, decision = settle_and_check(project, submissions, root)
    assert project.project.root_commitment(1) == root.commitment
    assert decision.mask == (1, 1, 1, 0) and min(decision.scores[:3]) > 0 == decision.scores[3]
    project.next()

    assert last is not None
    updates = [(a + b) // 2 for a, b in zip(first, second, strict=True)]
    root = project.root(updates[4])
    project.offer_root(root)
    submissions = round_of(project, [last.values // 3, *updates[1:4]])
    refuse_other_words(project, submissions, root, last)
    _, _, decision = settle_and_check(project, submissions, root, last)
    assert decision.mask == (1, 1, 1, 1)
    assert decision.scores[0] * 100 < min(decision.scores[1:])


@pytest.mark.exhaustive("test_references.py, without proofs")
def test_a_round_without_the_root_that_was_offered(chain: Chain, real: Real) -> None:
    """No receipt came for it: the round is settled with none, and the proof with it is of no use."""
    project = real.open(compared())
    updates = honest_updates(5, project.build.manifest.params)
    root = project.root(updates[4])
    project.offer_root(root)
    submissions = round_of(project, updates[:4], admit_root=False)
    proof, _ = project.prove(submissions, root)
    assert project.answer(project.settle_data(proof)).startswith("WrongPoints(5, ")
    settle_and_check(project, submissions)
    assert project.project.root_commitment(1) is None


def refuse_other_roots(project: RealProject, submissions: Sequence[Submission], root: Submission) -> None:
    """A round with a root is settled with that one: with none, or another of the owner's, it is refused."""
    other = project.submission(project.real.owner, root.opening.values + 1, project.round_id)
    for wrong in (None, other):
        proof, _ = project.prove(submissions, wrong)
        assert project.answer(project.settle_data(proof)).startswith("WrongPoints(5, ")


def round_of(project: RealProject, updates: Sequence[np.ndarray], admit_root: bool = True) -> list[Submission]:
    """A round of these updates with the root that is on offer, locked."""
    project.start()
    submissions = [project.submission(who, values) for who, values in zip(project.members, updates, strict=True)]
    for who, one in zip(project.members, submissions, strict=True):
        project.project.submit(who, one.commitment, CID)
    project.pass_deadline()
    project.admit([*project.members, *([None] if admit_root else [])])
    if not admit_root:
        project.pass_deadline()
    project.project.lock(project.real.stranger)
    return submissions


def refuse_other_words(
    project: RealProject, submissions: Sequence[Submission], root: Submission, last: Aggregate
) -> None:
    """Everything that a settlement with references says beside its proofs, changed: refused, with its reason."""
    proof, _ = project.prove(submissions, root, last)
    publication = project.publication(proof)
    honest = project.settle_words(proof)
    assert project.answer(project.settle_data_of(*honest, CID, publication)) == ""

    def told(struct: int, at: int, word: int | None, change: Callable[[int], int]) -> str:
        words = copy.deepcopy([list(part) for part in honest])
        if word is None:
            words[struct][at] = change(words[struct][at])
        else:
            words[struct][at][word] = change(words[struct][at][word])
        return project.answer(project.settle_data_of(*words, CID, publication))

    (points, cids, q), (mask, scores, nu) = range(3), range(3)
    for word in (9, 11):  # root, last: y of one chunk each; another y is of no point
        assert told(BASE, points, word, lambda y: Q - y).startswith(f"WrongPoints({5 + (word - 8) // 2}, ")
    for word in range(8, 12):
        assert told(BASE, points, word, lambda value: value ^ 1).startswith("PointNotOnCurve(")
    assert told(BASE, cids, 4, lambda _: bytes(32)).startswith("WrongPoints(5, ")  # of the root update
    for slot in range(4):
        for other in (lambda score: score ^ 1, lambda score: score + (1 << 20)):  # a bit that is dropped, and one not
            assert told(DECISION, scores, slot, other) == "ProofRejected(settlement)"
        assert told(DECISION, mask, None, lambda bits, slot=slot: bits ^ 1 << slot) == "ProofRejected(settlement)"
    assert told(DECISION, nu, None, lambda value: value + 1) == "ProofRejected(settlement)"
    assert told(BASE, q, None, lambda value: value ^ 1).startswith("WrongProofPoint(base, ")
