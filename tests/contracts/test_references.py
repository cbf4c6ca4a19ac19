"""What a settlement is told of vectors that no trainer has submitted, and how wide its scores are.

settle(base, decision, cid, publication), of a project whose plans have references
├── when there are points for more or fewer references than the plans have
│   └── it should revert with WrongLength
├── given a root slot
│   ├── it should hold the root update of this round, with its CID: WrongPoints
│   └── given none was admitted: B in every chunk, and no CID
├── given a last slot, behind the root's
│   ├── it should hold the aggregate of the round that was settled last, failed and void ones in between: WrongPoints
│   └── given none: the first round, one withheld, one that counted as not served when it was closed: B in every chunk
├── it should draw a challenge for each, and hand the verifier q, r_0..r_{N+R}, β, mask, scores, ν
└── given a shift
    ├── when a score is 2^(64 + shift) as proven: it should revert with OutOfBounds
    └── it should verify the score as proven, and pay, keep and log it without its lowest bits
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.contracts.doubles import questions
from tests.contracts.world import CID, ETHER, WINDOW, Scene, point, refused, refused_like
from zkmarket.build import masked_chunks
from zkmarket.chain import Chain, Phase, Receipt
from zkmarket.crypto import Point
from zkmarket.market import base_words, decision_words, points_hash, submission_word
from zkmarket.round import RoundProof, halves

pytestmark = pytest.mark.chain

Slots = list[tuple[Point, ...]]
ROOT, LAST = 0, 1
"""Of the references of a project that has both."""


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Both references and a shift. The second round, with a root and an aggregate of the first, is locked."""
    scene = dataclasses.replace(Scene.deploy(node), references=3, shift=4).reach(Phase.OPEN, rounds=5)
    scene.to_prove()
    scene.settle()
    go_on(scene)
    scene.offer_root()
    return scene.to_prove()


def go_on(scene: Scene) -> None:
    """Closed, and the next round is open."""
    scene.pass_deadline()
    scene.project.next(scene.stranger)


def send(scene: Scene, proof: RoundProof, slots: Slots, cids: int = 6) -> Receipt:
    """Settle with these references, whatever the proof says."""
    words = base_words(proof, [CID] * cids, slots), decision_words(proof, scene.theta()), CID, scene.publication(proof)
    return scene.project._send("settle", "settle", *words, sender=scene.stranger)


def words_hash(scene: Scene, at: int, points: Sequence[Point], round_number: int = 2) -> str:
    """What the contract compares of a reference: with the digest that was offered, or with points that it knows."""
    if at == ROOT:
        return submission_word(
            dataclasses.replace(scene.root(0, round_number), points=tuple(points)).digest("root"), CID
        ).hex()
    return points_hash(points).hex()


def absent(scene: Scene) -> tuple[Point, ...]:
    return (scene.values["blinding"],) * scene.values["chunks"]


def aggregate(scene: Scene, round_number: int, mask: Sequence[int] = (1, 1, 1, 1, 1)) -> tuple[Point, ...]:
    """What the log of a round says."""
    (settled,) = scene.project._of_round("Settled", round_number)
    words = settled.arguments["settlement"]["aggregate"]
    return tuple(zip(words[::2], words[1::2], strict=True))


# ---------------------------------------------------------------- points


def test_the_round_is_settled_with_its_own_references(scene: Scene) -> None:
    points = scene.reference_points()
    assert points == [scene.root(round_number=2).points, aggregate(scene, 1)]
    assert len({*points, absent(scene)}) == 3
    scene.settle()
    assert scene.phase == Phase.SETTLED


def other_aggregate(scene: Scene) -> tuple[Point, ...]:
    """Points of the right curve and number that nobody has proven anything of."""
    return (point(4000), point(4001))


FALSE: dict[str, tuple[int, Callable[[Scene, Slots], Any]]] = {
    "another root": (ROOT, lambda s, slots: [s.root(1).points, slots[LAST]]),
    "the root is said not to be there": (ROOT, lambda s, slots: [absent(s), slots[LAST]]),
    "a trainer's update as the root": (ROOT, lambda s, slots: [s.commitment(s.trainers[0]).points, slots[LAST]]),
    "the root's chunks swapped": (ROOT, lambda s, slots: [slots[ROOT][::-1], slots[LAST]]),
    "root and last swapped": (ROOT, lambda s, slots: slots[::-1]),
    "another last aggregate": (LAST, lambda s, slots: [slots[ROOT], other_aggregate(s)]),
    "the last aggregate is said not to be there": (LAST, lambda s, slots: [slots[ROOT], absent(s)]),
    "the root as the last aggregate": (LAST, lambda s, slots: [slots[ROOT], slots[ROOT]]),
}


@pytest.mark.parametrize("case", FALSE)
def test_attack_references_of_the_prover_s_choice(scene: Scene, case: str) -> None:
    """A novelty against nothing, or against some other vector, pays for a resent aggregate; a root of the aggregator's
    choice accepts what it likes. The proof fits what it claims: only the contract knows better."""
    at, change = FALSE[case]
    right = scene.reference_points()
    wrong = change(scene, right)
    have, want = words_hash(scene, at, wrong[at]), words_hash(scene, at, right[at])
    with refused(f"WrongPoints(slot={6 + at}, have=0x{have}, want=0x{want})"):
        scene.settle(references=wrong)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_references_as_the_plans_have(scene: Scene, count: int) -> None:
    """Of two chunks each, beside five trainers', slot 0's two, P_0..P_5, and C_G."""
    proof, slots = scene.proof(), (scene.reference_points() * 2)[:count]
    with refused(f"WrongLength(what=points, have={2 * (2 * (5 + count) + 9)}, want=46)"):
        send(scene, proof, slots)


def test_infinity_is_no_reference(scene: Scene) -> None:
    proof, right = scene.proof(), scene.reference_points()
    with refused("PointNotOnCurve(x=0, y=0)"):
        send(scene, proof, [right[ROOT], ((0, 0), (0, 0))])


@pytest.mark.parametrize("cids", [5, 7])
def test_a_root_update_has_a_cid_behind_the_trainers(scene: Scene, cids: int) -> None:
    with refused(f"WrongLength(what=cids, have={cids}, want=6)"):
        send(scene, scene.proof(), scene.reference_points(), cids)


def test_no_cid_of_a_root_update_that_there_is_not(scene: Scene) -> None:
    scene.reach(Phase.PROVE)
    proof = scene.proof()
    with refused("WrongLength(what=cids, have=6, want=5)"):
        send(scene, proof, scene.reference_points())
    send(scene, proof, scene.reference_points(), 5)


@pytest.mark.parametrize("references, want", [(0, 36), (1, 42), (2, 40)])
def test_projects_with_fewer(scene: Scene, references: int, want: int) -> None:
    """The one slot of (2) is the last aggregate's, and (1) does not look at it."""
    scene.references, scene.shift = references, 0
    scene.reach(Phase.OPEN)
    scene.to_prove()
    scene.settle()
    go_on(scene)
    if references == 1:
        scene.offer_root()
    scene.to_prove()
    right = scene.reference_points()
    assert len(right) == (references != 0)
    proof = scene.proof()
    with refused(f"WrongLength(what=points, have={want + 4}, want={want})"):
        send(scene, proof, [*right, absent(scene)])
    at = ROOT if references == 1 else LAST
    for wrong in [[absent(scene)]] * len(right):
        have, known = words_hash(scene, at, wrong[0]), words_hash(scene, at, right[0])
        with refused(f"WrongPoints(slot=6, have=0x{have}, want=0x{known})"):
            scene.settle(references=wrong)
    scene.settle()


def test_in_the_first_round_nothing_is_there_yet(scene: Scene) -> None:
    scene.reach(Phase.PROVE)
    nothing = absent(scene)
    assert scene.reference_points() == [nothing, nothing]
    for at in (ROOT, LAST):
        wrong = [nothing, nothing]
        wrong[at] = scene.root(round_number=1).points
        have, want = points_hash(wrong[at]).hex(), points_hash(nothing).hex()
        with refused(f"WrongPoints(slot={6 + at}, have=0x{have}, want=0x{want})"):
            scene.settle(references=wrong)
    scene.settle()


# ---------------------------------------------------------------- which aggregate is the last one


def last_of(scene: Scene) -> tuple[Point, ...]:
    """Of the round that comes next: the contract takes nothing else."""
    scene.to_prove()
    last = scene.reference_points()[LAST]
    scene.settle()
    return last


def test_withheld_is_none(scene: Scene) -> None:
    scene.settle(cid=b"", mask=[1, 1, 0, 0, 0])
    go_on(scene)
    assert scene.project.last_aggregate(3) == ()
    assert last_of(scene) == absent(scene)


def test_not_served_is_none(scene: Scene) -> None:
    """The round is skipped in the model too, so that an update like it is new to the model."""
    scene.settle()
    assert scene.project.outcome().aggregate == points_hash(aggregate(scene, 2))
    scene.project.claim(scene.owner)
    scene.chain.pass_time(2 * WINDOW + 1)
    done = scene.project.next(scene.stranger)
    assert done.event("Closed").arguments["skipped"] is True
    assert scene.project.outcome().aggregate == bytes(32)
    assert last_of(scene) == absent(scene)


def test_a_claim_that_was_taken_back_changes_nothing(scene: Scene) -> None:
    scene.settle()
    scene.project.claim(scene.owner)
    scene.project.unclaim(scene.owner)
    go_on(scene)
    assert scene.project.outcome().aggregate == points_hash(aggregate(scene, 2))
    assert last_of(scene) == aggregate(scene, 2)


def test_a_claim_after_the_round_was_closed_is_too_late(scene: Scene) -> None:
    scene.settle()
    go_on(scene)
    with refused("WrongPhase(have=OPEN, want=SETTLED)"):
        scene.project.claim(scene.owner)
    assert last_of(scene) == aggregate(scene, 2)


def test_failed_and_void_rounds_in_between_leave_it(scene: Scene) -> None:
    """Round 2 fails, round 3 is void: round 4 is compared with the aggregate of round 1."""
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.aggregator)
    scene.project.accept(scene.aggregator)
    scene.chain.pass_time(WINDOW)
    scene.void()
    for trainer in scene.trainers:
        scene.project.join(trainer)
    assert last_of(scene) == aggregate(scene, 1)
    assert scene.round_id.round == 4


def test_only_the_accepted_are_in_it(scene: Scene) -> None:
    scene.settle(mask=[1, 0, 1, 1, 0])
    go_on(scene)
    assert last_of(scene) == aggregate(scene, 2) != aggregate(scene, 1)


# ---------------------------------------------------------------- challenges and instances


def test_the_verifiers_are_asked_for_every_slot(scene: Scene) -> None:
    """A challenge for each slot, the references' behind the trainers', and the transcript has absorbed them all."""
    mask, scores = [1, 0, 1, 1, 1], [1 << 67, 0, 3, 4, 5]
    proof = scene.proof(mask, scores, nu=77, q=9)
    transcript = proof.transcript(scene.manifest(5))
    r = transcript.slot_challenges(8)
    asked = questions(scene.chain, scene.settle(proof))
    base, settlement = (mock.deployed.lower() for mock in scene.mocks)
    assert [to.lower() for to, _ in asked] == [base, settlement]
    assert asked[1][1] == (9, *r, proof.beta, *mask, *scores, 77)  # as proven, not as kept
    assert (len(asked[0][1]), len(asked[1][1])) == (4 + 2 * 10, 3 * 5 + 4 + 2)


@pytest.mark.parametrize("chunks, params", [(1, 880), (3, 2500)])
def test_with_other_numbers_of_chunks(scene: Scene, chunks: int, params: int) -> None:
    changes: dict[str, Any] = {"chunks": chunks, "params": params, "betaMin": params}
    scene.reach(Phase.OPEN, **changes)
    scene.to_prove()
    scene.settle()
    go_on(scene)
    scene.offer_root()
    scene.to_prove()
    proof = scene.proof()
    assert len(proof.base.claims) == len(halves(chunks))
    shape = scene.shape(5)
    masks = len(masked_chunks(chunks)) + len(shape.mask_positions)
    assert len(base_words(proof, [], scene.reference_points())[0]) == 2 * (chunks * 7 + masks + 1)
    scene.settle(proof)


# ---------------------------------------------------------------- scores wider than 64 bits

LIMIT = 1 << 68


@pytest.mark.parametrize("slot", [0, 4])
@pytest.mark.parametrize("score", [LIMIT, LIMIT + 1, 1 << 255])
def test_a_score_beyond_its_width_is_refused(scene: Scene, slot: int, score: int) -> None:
    scores = [1] * 5
    scores[slot] = score
    with refused(f"OutOfBounds(what=score, have={score}, least=0, most={LIMIT - 1})"):
        scene.settle(scores=scores)


def test_nu_is_no_wider(scene: Scene) -> None:
    with refused(f"OutOfBounds(what=nu, have={1 << 64}, least=0, most={(1 << 64) - 1})"):
        scene.settle(nu=1 << 64)


@pytest.mark.parametrize(
    "scores", [[LIMIT - 1] * 5, [LIMIT - 1, 0, 1, 16, 31], [15, 16, 17, 32, 0]], ids=["most", "edges", "small"]
)
def test_scores_are_paid_kept_and_logged_without_their_lowest_bits(scene: Scene, scores: list[int]) -> None:
    before = scene.books()
    done = scene.settle(scores=scores)
    kept = [score >> 4 for score in scores]
    pay, dust = scene.pays(kept)
    settled = done.event("Settled").arguments["settlement"]
    assert (settled["scores"], settled["pay"]) == (kept, pay)
    packed = [sum(score << 64 * i for i, score in enumerate(kept[:4])), kept[4]]
    assert scene.project.outcome().scores == tuple(packed)
    expected = {f"credit of trainer {slot}": amount for slot, amount in enumerate(pay, start=1)}
    expected["credit of owner"] = dust
    assert scene.moved(before) == {name: amount for name, amount in expected.items() if amount}


def test_scores_that_are_all_dropped_bits_are_shared_equally(scene: Scene) -> None:
    """As all zeros are: the reward never goes back to the owner."""
    before = scene.books()
    scene.settle(scores=[15, 14, 0, 1, 2])
    assert scene.moved(before) == {f"credit of trainer {slot}": ETHER // 5 for slot in range(1, 6)}


@pytest.mark.parametrize("shift", [0, 64])
def test_the_least_and_the_greatest_shift(scene: Scene, shift: int) -> None:
    scene.references, scene.shift = 2, shift
    scene.reach(Phase.PROVE)
    limit = 1 << 64 + shift
    with refused(f"OutOfBounds(what=score, have={limit}, least=0, most={limit - 1})"):
        scene.settle(scores=[1, 1, 1, 1, limit])
    done = scene.settle(scores=[limit - 1, 1 << shift, 0, 0, 0])
    assert done.event("Settled").arguments["settlement"]["scores"] == [(1 << 64) - 1, 1, 0, 0, 0]


def test_each_number_of_trainers_has_its_own_shift(scene: Scene) -> None:
    terms = scene.terms()
    plans = [plan for n, shift in enumerate((7, 8, 9)) for plan in scene.plans(terms, shift=shift)[n : n + 1]]
    scene.open(plans=plans)
    scene.to_prove(scene.trainers[:4])
    done = scene.settle(scores=[1 << 71, 256, 255, 0])
    assert done.event("Settled").arguments["settlement"]["scores"] == [1 << 63, 1, 0, 0]


def test_replayed_with_the_references_of_another_round(scene: Scene) -> None:
    """The transcript has absorbed them: a proof that fits other points fits no challenge of these."""
    right = scene.reference_points()
    proof = scene.proof(references=[absent(scene), right[LAST]])
    with refused_like(r"WrongProofPoint\(proof=base, .*"):
        send(scene, proof, right)
