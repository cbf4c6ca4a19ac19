"""The owner's root update: offered by it between rounds, taken or not by the aggregator at the start.

offerRoot(points, proofs, cid)
├── when the phase is not OPEN: once a round is started nobody offers a root for it
│   └── it should revert with WrongPhase
├── when now > t0
│   └── it should revert with TooLate
├── when the caller is not the owner
│   └── it should revert with WrongCaller
├── when the project's plans use no root
│   └── it should revert with NoRootSlot
├── when the CID is empty or has more than 96 bytes
│   └── it should revert with WrongCid
├── when points or proofs are too few or too many, off the curve, or not each other's
│   └── it should revert as `submit` does
├── when a range proof is not one of the owner for the next round
│   └── it should revert with ProofRejected
└── otherwise, until t0, and again
    ├── it should ask for range proofs with the tag of (chain, project, next round, chunk, owner)
    ├── it should keep the hash for the next round, in place of an earlier one, log RootOffered and move no money
    └── it should hold for that round alone: a void or failed round, or another aggregator, needs a new one

start(encryptionKey, keyring, root)
├── when root is neither 0 nor what is offered for the round
│   └── it should revert with RootNotOffered
├── when it is 0
│   └── it should drop what is offered: the round has no root
└── when it is what is offered
    └── it should log it: the round is settled with it, and with nothing else
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.contracts.doubles import BAD_VERIFIERS, deploy_as_verifier, questions
from tests.contracts.world import CID, KEY, WINDOW, Scene, refused
from zkmarket.commitment import Commitment
from zkmarket.escrow import Phase, points_hash, submit_words
from zkmarket.market import Chain, Receipt
from zkmarket.transcript import chunk_tag

pytestmark = pytest.mark.chain

NONE = bytes(32)


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """OPEN, with five members, before the first round: a project whose plans use a root."""
    return dataclasses.replace(Scene.deploy(node), references=1).reach(Phase.OPEN)


def send(scene: Scene, root: Commitment, cid: bytes = CID) -> Receipt:
    return scene.project.offer_root(scene.owner, root, cid)


def start(scene: Scene, named: bytes) -> Receipt:
    return scene.project.start(scene.aggregator, KEY, root=named)


def not_offered(have: bytes, want: bytes) -> Any:
    return refused(f"RootNotOffered(have=0x{have.hex()}, want=0x{want.hex()})")


def succeed(scene: Scene) -> None:
    """The round fails, and the successor takes the office."""
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.aggregator = scene.successor


# ---------------------------------------------------------------- when and who


def test_attack_a_root_that_is_offered_after_updates_were_seen(scene: Scene) -> None:
    """Once a round is started there is no root for it, whatever the phase: an owner that collects updates through a
    trainer or the aggregator would point its root at one of them."""
    for phase in scene.walk():
        if phase != Phase.OPEN:
            with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
                send(scene, scene.root(1))


def test_until_the_round_is_to_be_started_to_the_second(scene: Scene) -> None:
    end = scene.deadline
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1).offer_root()
    scene.at(end).offer_root()
    assert scene.chain.now == end


@pytest.mark.parametrize("who", ["aggregator", "stranger", "successor", "trainer"])
def test_attack_a_root_by_anybody_but_the_owner(scene: Scene, who: str) -> None:
    caller = scene.trainers[0] if who == "trainer" else getattr(scene, who)
    with refused(f"WrongCaller(have={caller}, want={scene.owner})"):
        scene.offer_root(sender=caller)


@pytest.mark.parametrize("references", [0, 2])
def test_a_project_without_a_root_slot_takes_none(scene: Scene, references: int) -> None:
    scene.references = references
    scene.reach(Phase.OPEN)
    with refused(f"NoRootSlot(references={references})"):
        scene.offer_root()


@pytest.mark.parametrize("references", [1, 3])
def test_whatever_else_the_plans_use(scene: Scene, references: int) -> None:
    scene.references = references
    scene.reach(Phase.OPEN)
    scene.offer_root()
    assert scene.project.root(1) == points_hash(scene.root().points)


# ---------------------------------------------------------------- points and range proofs

Change = Callable[[list[int], list[bytes]], None]


def _(points: Callable[[list[int]], Any] | None = None, proofs: Callable[[list[bytes]], Any] | None = None) -> Change:
    def change(given: list[int], data: list[bytes]) -> None:
        if points:
            points(given)
        if proofs:
            proofs(data)

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "a chunk less": (_(lambda p: p.__delitem__(slice(2, 4))), "WrongLength(what=points, have=2, want=4)"),
    "a chunk more": (_(lambda p: p.extend([1, 2])), "WrongLength(what=points, have=6, want=4)"),
    "a proof less": (_(proofs=lambda d: d.pop()), "WrongLength(what=proofs, have=1, want=2)"),
    "infinity": (_(lambda p: p.__setitem__(slice(0, 2), [0, 0])), "PointNotOnCurve(x=0, y=0)"),
    "last chunk off the curve": (_(lambda p: p.__setitem__(slice(2, 4), [1, 3])), "PointNotOnCurve(x=1, y=3)"),
    "proof too short": (_(proofs=lambda d: d.__setitem__(1, bytes(63))), "WrongLength(what=range, have=63, want=64)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_points_and_proofs_are_checked_as_a_trainer_s(scene: Scene, case: str) -> None:
    change, reason = WRONG[case]
    root = scene.root()
    points, proofs = submit_words(root)
    change(points, proofs)
    with refused(reason):
        scene.project._send("offer root", "offerRoot", points, proofs, CID, sender=scene.owner)


@pytest.mark.parametrize("length", [0, 97])
def test_a_cid_has_one_byte_to_96(scene: Scene, length: int) -> None:
    with refused(f"WrongCid(have={length}, most=96)"):
        send(scene, scene.root(), bytes(length))


def test_a_range_proof_is_of_its_own_chunk(scene: Scene) -> None:
    root = scene.root()
    crossed = dataclasses.replace(root, range_proofs=root.range_proofs[::-1])
    (x, y), (other_x, other_y) = root.points
    with refused(f"WrongProofPoint(proof=range, haveX={other_x}, haveY={other_y}, wantX={x}, wantY={y})"):
        send(scene, crossed)


@pytest.mark.parametrize("which", ["range", "rangeLast"])
@pytest.mark.parametrize("answer", ["says false", "reverts"])
def test_a_proof_that_the_verifier_rejects(scene: Scene, which: str, answer: str) -> None:
    bad = deploy_as_verifier(scene.chain, BAD_VERIFIERS[answer])
    scene.reach(Phase.OPEN, **{which: bad.words})
    with refused("ProofRejected(proof=range)"):
        scene.offer_root()


def test_the_verifiers_are_asked_for_the_owner_s_tag_of_the_next_round(scene: Scene) -> None:
    """What binds a root to its owner, round, project and chain, and a chunk to its place."""
    scene.to_prove()
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    done = scene.offer_root()
    place = scene.chain.id, int(scene.project.address, 16), 2
    tags = [chunk_tag(*place, chunk, int(str(scene.owner), 16)) for chunk in range(2)]
    _gram, full, last, _settlement = scene.mocks
    assert [(to.lower(), instances) for to, instances in questions(scene.chain, done)] == [
        (full.address.lower(), (tags[0],)),
        (last.address.lower(), (tags[1], 0)),  # and nothing in the padding
    ]


# ---------------------------------------------------------------- what it is good for


def test_a_root_is_kept_logged_and_costs_nothing(scene: Scene) -> None:
    before, state = scene.books(), scene.project.state()
    done = scene.offer_root()
    root = scene.root()
    assert [event.name for event in done.events] == ["RootOffered"]
    said = {"round": 1, "points": [word for p in root.points for word in p], "cid": CID}
    assert done.event("RootOffered").arguments == said
    assert scene.moved(before) == {}
    assert scene.project.root(1) == points_hash(root.points)
    assert scene.project.root(0) == scene.project.root(2) == bytes(32)
    assert dataclasses.replace(scene.project.state(), now=0, block=0) == dataclasses.replace(state, now=0, block=0)
    assert scene.project.root_commitment(1) is None  # until it is taken
    assert scene.start().event("Started").arguments["root"] == points_hash(root.points)
    found = scene.project.root_commitment(1)
    tags = [proof.instances for proof in found.range_proofs]
    assert (found.points, found.trainer, found.round_id) == (root.points, root.trainer, root.round_id)
    assert [proof.data for proof in found.range_proofs] == [proof.data for proof in root.range_proofs]
    assert [len(instances) for instances in tags] == [1, 2]
    assert scene.project.root_commitment(2) is None


def settled_with(scene: Scene, root: Sequence[Any]) -> Receipt:
    """The locked round, settled by a proof of this root."""
    return scene.settle(references=[tuple(root)])


def absent(scene: Scene) -> tuple[Any, ...]:
    return (scene.values["blinding"],) * scene.values["chunks"]


def test_another_in_its_place_before_the_start(scene: Scene) -> None:
    """Nobody has committed an update yet; the aggregator names the one whose opening it has."""
    first, second = scene.root(1), scene.root(2)
    scene.offer_root(1)
    scene.offer_root(2)
    assert scene.project.root(1) == points_hash(second.points)
    scene.to_prove()
    assert scene.project.root_commitment(1).points == second.points
    have, want = points_hash(first.points).hex(), points_hash(second.points).hex()
    with refused(f"WrongPoints(slot=6, have=0x{have}, want=0x{want})"):
        settled_with(scene, first.points)
    settled_with(scene, second.points)


def voided(scene: Scene) -> None:
    scene.void()
    for trainer in scene.trainers:
        scene.project.join(trainer)  # stakes are full again


def failed(scene: Scene) -> None:
    scene.to_prove()
    succeed(scene)
    scene.chain.pass_time(WINDOW)


def settled(scene: Scene) -> None:
    scene.to_prove()
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)


@pytest.mark.parametrize("end", [voided, failed, settled])
def test_a_root_is_one_of_one_round(scene: Scene, end: Callable[[Scene], None]) -> None:
    """Attack: a root of an earlier round, or of a failed attempt, whose updates the owner may have seen since; and one
    that a former aggregator has the opening of, and its successor has not."""
    scene.offer_root()
    old = scene.root(round_number=1).points
    end(scene)
    assert (scene.phase, scene.round_id.round) == (Phase.OPEN, 1)
    assert scene.project.root(2) == bytes(32) and scene.project.root_commitment(2) is None
    scene.to_prove()
    have, want = points_hash(old).hex(), points_hash(absent(scene)).hex()
    with refused(f"WrongPoints(slot=6, have=0x{have}, want=0x{want})"):
        settled_with(scene, old)
    settled_with(scene, absent(scene))


def test_a_round_that_was_not_started_keeps_it(scene: Scene) -> None:
    """It has the same number still, the same aggregator, and nobody has seen an update."""
    scene.offer_root()
    scene.pass_deadline()
    scene.project.skip(scene.stranger)
    assert scene.project.root(1) == points_hash(scene.root().points)
    scene.to_prove()
    scene.settle()
    assert scene.phase == Phase.SETTLED


def test_no_root_outlives_the_aggregator_that_could_open_it(scene: Scene) -> None:
    """Attack: a new aggregator cannot settle with a root that it has not, and would lose its bond."""
    scene.offer_root()
    old = points_hash(scene.root().points)
    scene.to_prove()
    succeed(scene)
    assert (scene.phase, scene.project.state().aggregator) == (Phase.OPEN, str(scene.successor))
    assert scene.project.root(2) == NONE
    root = scene.root(2)
    send(scene, root)  # within the window in which trainers may leave, too
    scene.chain.pass_time(WINDOW)
    with not_offered(old, points_hash(root.points)):
        start(scene, old)
    assert start(scene, points_hash(root.points)).event("Started").arguments["round"] == 2


# ---------------------------------------------------------------- taken, or not


def test_attack_an_owner_that_serves_no_opening(scene: Scene) -> None:
    """It would take the aggregator's bond, for who has no opening cannot settle: so the aggregator names none, and the
    round is one without a root."""
    scene.offer_root()
    done = start(scene, NONE)
    assert done.event("Started").arguments["root"] == NONE
    assert scene.project.root(1) == NONE and scene.project.root_commitment(1) is None
    offered, scene.roots = scene.root(round_number=1).points, {}
    scene.submit_all()
    scene.pass_deadline()
    scene.admit_all()
    scene.project.lock(scene.stranger)
    have, want = points_hash(offered).hex(), points_hash(absent(scene)).hex()
    with refused(f"WrongPoints(slot=6, have=0x{have}, want=0x{want})"):
        settled_with(scene, offered)
    scene.settle()
    assert scene.phase == Phase.SETTLED


def test_attack_another_root_between_the_aggregator_s_look_and_its_start(scene: Scene) -> None:
    """An owner that serves one opening and slips in a root without: the start is refused, nothing has happened, and
    the aggregator looks again."""
    served, other = scene.root(1), scene.root(2)
    scene.offer_root(1)
    scene.offer_root(2)
    with not_offered(points_hash(served.points), points_hash(other.points)):
        start(scene, points_hash(served.points))
    assert (scene.phase, scene.round_id.round) == (Phase.OPEN, 0)
    start(scene, points_hash(other.points))
    assert scene.project.root_commitment(1).points == other.points


def test_a_root_that_comes_after_the_look_is_not_the_round_s(scene: Scene) -> None:
    """The aggregator found none, and has said so: what is offered meanwhile binds it to nothing."""
    scene.offer_root()
    start(scene, NONE)
    assert scene.project.root(1) == NONE


def test_what_is_not_offered_cannot_be_taken(scene: Scene) -> None:
    """Attack: an aggregator with a root of its own, or of an earlier round."""
    own = points_hash(scene.root(5).points)
    with not_offered(own, NONE):
        start(scene, own)
    scene.offer_root()
    old = points_hash(scene.root().points)
    scene.void()
    scene.pass_exit()
    with not_offered(old, NONE):
        start(scene, old)
    start(scene, NONE)


@pytest.mark.parametrize("references", [0, 2])
def test_where_the_plans_use_no_root_none_is_taken(scene: Scene, references: int) -> None:
    scene.references = references
    scene.reach(Phase.OPEN)
    named = points_hash(scene.root().points)
    with not_offered(named, NONE):
        start(scene, named)
    start(scene, NONE)


def test_an_owner_that_trains_may_submit_its_own_root(scene: Scene) -> None:
    """It knows the opening, so nothing could prevent it; with a root the owner decides what is good anyway."""
    scene.trainers = [scene.owner, *scene.trainers[:4]]
    scene.reach(Phase.OPEN)
    own = scene.commitment(scene.owner)
    root = dataclasses.replace(scene.root(), points=own.points, range_proofs=own.range_proofs)
    send(scene, root)
    scene.roots = {1: root.points}
    scene.to_prove()
    scene.settle()
    assert scene.phase == Phase.SETTLED
