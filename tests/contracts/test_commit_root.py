"""The owner's root update.

commitRoot(points, proofs, receipt)
├── when the phase is not OPEN: once a round is started nobody commits a root for it
│   └── it should revert with WrongPhase
├── when now > t0
│   └── it should revert with TooLate
├── when the caller is not the owner
│   └── it should revert with WrongCaller
├── when the project's plans use no root
│   └── it should revert with NoRootSlot
├── when points or proofs are too few or too many, off the curve, or not each other's
│   └── it should revert as `submit` does
├── when a range proof is not one of the owner for the next round
│   └── it should revert with ProofRejected
├── when the receipt is not one of the aggregator, for these points and the next round, in its one form
│   └── it should revert with WrongSigner
└── otherwise, until t0, and again
    ├── it should ask for range proofs with the tag of (chain, project, next round, chunk, owner)
    ├── it should keep the hash for the next round, in place of an earlier one, log RootCommitted and move no money
    └── it should hold for that round alone: a void or failed round, or another aggregator, needs a new one
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.doubles import BAD_VERIFIERS, deploy_as_verifier, questions
from tests.contracts.test_admit import compact, high
from tests.contracts.world import CID, WINDOW, Scene, refused, wrong_signer
from zkmarket.commitment import Commitment
from zkmarket.escrow import NOBODY, Phase, points_hash, receipt_message, root_receipt_message, submit_words
from zkmarket.market import Chain, Receipt, sign
from zkmarket.transcript import chunk_tag

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """OPEN, with five members, before the first round: a project whose plans use a root."""
    return dataclasses.replace(Scene.deploy(node), references=1).reach(Phase.OPEN)


def send(scene: Scene, root: Commitment, receipt: bytes, sender: Any = None) -> Receipt:
    return scene.project.commit_root(sender or scene.owner, root, receipt)


def signed(scene: Scene, root: Commitment, signer: Any = None, **other: Any) -> bytes:
    """A receipt for the root that is good but for these words."""
    words = {
        "chain_id": scene.chain.id,
        "project": scene.project.address,
        "aggregator": str(scene.aggregator),
        "round_number": root.round_id.round,
        "points": points_hash(root.points),
    }
    return sign(scene.chain, signer or scene.aggregator, root_receipt_message(**(words | other)))


def succeed(scene: Scene) -> None:
    """The round fails, and the successor takes the office."""
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.aggregator = scene.successor


# ---------------------------------------------------------------- when and who


def test_attack_a_root_that_is_committed_after_updates_were_seen(scene: Scene) -> None:
    """Once a round is started there is no root for it, whatever the phase: an owner that collects updates through a
    trainer or the aggregator would point its root at one of them."""
    receipts = {number: scene.root_receipt(scene.root(number)) for number in range(3)}
    for phase in scene.walk():
        if phase != Phase.OPEN:
            with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
                send(scene, scene.root(1), receipts[1])


def test_until_the_round_is_to_be_started_to_the_second(scene: Scene) -> None:
    end = scene.deadline
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1).commit_root()
    scene.at(end).commit_root()
    assert scene.chain.now == end


@pytest.mark.parametrize("who", ["aggregator", "stranger", "successor", "trainer"])
def test_attack_a_root_by_anybody_but_the_owner(scene: Scene, who: str) -> None:
    caller = scene.trainers[0] if who == "trainer" else getattr(scene, who)
    with refused(f"WrongCaller(have={caller}, want={scene.owner})"):
        scene.commit_root(sender=caller)


@pytest.mark.parametrize("references", [0, 2])
def test_a_project_without_a_root_slot_takes_none(scene: Scene, references: int) -> None:
    scene.references = references
    scene.reach(Phase.OPEN)
    with refused(f"NoRootSlot(references={references})"):
        scene.commit_root()


@pytest.mark.parametrize("references", [1, 3])
def test_whatever_else_the_plans_use(scene: Scene, references: int) -> None:
    scene.references = references
    scene.reach(Phase.OPEN)
    scene.commit_root()
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
    receipt = signed(scene, root, points=keccak(b"".join(word.to_bytes(32, "big") for word in points)))
    with refused(reason):
        scene.project._send("commit root", "commitRoot", points, proofs, receipt, sender=scene.owner)


def test_a_range_proof_is_of_its_own_chunk(scene: Scene) -> None:
    root = scene.root()
    crossed = dataclasses.replace(root, range_proofs=root.range_proofs[::-1])
    (x, y), (other_x, other_y) = root.points
    with refused(f"WrongProofPoint(proof=range, haveX={other_x}, haveY={other_y}, wantX={x}, wantY={y})"):
        send(scene, crossed, scene.root_receipt(root))


@pytest.mark.parametrize("which", ["range", "rangeLast"])
@pytest.mark.parametrize("answer", ["says false", "reverts"])
def test_a_proof_that_the_verifier_rejects(scene: Scene, which: str, answer: str) -> None:
    bad = deploy_as_verifier(scene.chain, BAD_VERIFIERS[answer])
    scene.reach(Phase.OPEN, **{which: bad.words})
    with refused("ProofRejected(proof=range)"):
        scene.commit_root()


def test_the_verifiers_are_asked_for_the_owner_s_tag_of_the_next_round(scene: Scene) -> None:
    """What binds a root to its owner, round, project and chain, and a chunk to its place."""
    scene.to_prove()
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    done = scene.commit_root()
    place = scene.chain.id, int(scene.project.address, 16), 2
    tags = [chunk_tag(*place, chunk, int(str(scene.owner), 16)) for chunk in range(2)]
    _gram, full, last, _settlement = scene.mocks
    assert [(to.lower(), instances) for to, instances in questions(scene.chain, done)] == [
        (full.address.lower(), (tags[0],)),
        (last.address.lower(), (tags[1], 0)),  # and nothing in the padding
    ]


# ---------------------------------------------------------------- the receipt


@pytest.mark.parametrize("word", ["chain_id", "project", "aggregator", "round_number", "points"])
def test_a_receipt_with_one_wrong_word(scene: Scene, word: str) -> None:
    root = scene.root()
    wrong: dict[str, Any] = {
        "chain_id": 1,
        "project": scene.market.address,
        "aggregator": str(scene.successor),
        "round_number": 0,
        "points": points_hash(scene.root(1).points),
    }
    for value in (wrong[word], 2) if word == "round_number" else (wrong[word],):
        with wrong_signer(scene.aggregator):
            send(scene, root, signed(scene, root, **{word: value}))
    send(scene, root, signed(scene, root))


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_attack_the_owner_s_own_receipt(scene: Scene, signer: str) -> None:
    """An owner that serves nothing would take the aggregator's bond, for who has no opening cannot settle."""
    root, who = scene.root(), getattr(scene, signer)
    with wrong_signer(scene.aggregator, have=who):
        send(scene, root, signed(scene, root, who))


@pytest.mark.parametrize(
    "spoil", [high, compact, lambda _: b"", lambda _: bytes(65)], ids=["high s", "64 bytes", "empty", "zeros"]
)
def test_a_receipt_has_one_form(scene: Scene, spoil: Any) -> None:
    root = scene.root()
    with wrong_signer(scene.aggregator, have=NOBODY):
        send(scene, root, spoil(scene.root_receipt(root)))


def test_receipts_of_updates_and_of_roots_are_of_two_kinds(scene: Scene) -> None:
    """Attack: the owner trains too, and shows the receipt of one as that of the other."""
    root, owner = scene.root(), str(scene.owner)
    place = scene.chain.id, scene.project.address, str(scene.aggregator)
    update = receipt_message(*place, 1, owner, points_hash(root.points), keccak(CID))
    with wrong_signer(scene.aggregator):
        send(scene, root, sign(scene.chain, scene.aggregator, update))
    of_root = scene.root_receipt(scene.root())
    scene.to_admit()
    trainer = scene.trainers[0]
    same = root_receipt_message(*place, 1, points_hash(scene.commitment(trainer).points))
    for receipt in (of_root, sign(scene.chain, scene.aggregator, same)):
        with wrong_signer(scene.aggregator):
            scene.project.admit(scene.stranger, trainer, receipt)


def test_attack_a_receipt_replayed_for_the_next_round(scene: Scene) -> None:
    root = scene.root()
    receipt = scene.root_receipt(root)
    send(scene, root, receipt)
    scene.void()
    with wrong_signer(scene.aggregator):
        send(scene, scene.root(), receipt)


def test_attack_a_receipt_replayed_in_another_clone(scene: Scene) -> None:
    receipt = scene.root_receipt(scene.root())
    clone = dataclasses.replace(scene).reach(Phase.OPEN)
    assert (clone.round_id.round, clone.project.address != scene.project.address) == (0, True)
    with wrong_signer(clone.aggregator):
        send(clone, clone.root(), receipt)


# ---------------------------------------------------------------- what it is good for


def test_a_root_is_kept_logged_and_costs_nothing(scene: Scene) -> None:
    before, state = scene.books(), scene.project.state()
    done = scene.commit_root()
    root = scene.root()
    assert [event.name for event in done.events] == ["RootCommitted"]
    assert done.event("RootCommitted").arguments == {"round": 1, "points": [word for p in root.points for word in p]}
    assert scene.moved(before) == {}
    assert scene.project.root(1) == points_hash(root.points)
    assert scene.project.root(0) == scene.project.root(2) == bytes(32)
    assert dataclasses.replace(scene.project.state(), now=0, block=0) == dataclasses.replace(state, now=0, block=0)
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
    """Nobody has committed an update yet; the aggregator has the openings of both."""
    first, second = scene.root(1), scene.root(2)
    scene.commit_root(1)
    scene.commit_root(2)
    assert scene.project.root(1) == points_hash(second.points)
    assert scene.project.root_commitment(1).points == second.points
    scene.to_prove()
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
    scene.commit_root()
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
    scene.commit_root()
    scene.pass_deadline()
    scene.project.skip(scene.stranger)
    assert scene.project.root(1) == points_hash(scene.root().points)
    scene.to_prove()
    scene.settle()
    assert scene.phase == Phase.SETTLED


def test_the_root_does_not_outlive_the_aggregator_that_receipted_it(scene: Scene) -> None:
    """Attack: a new aggregator cannot settle with a root that it has not, and would lose its bond. Neither what its
    predecessor signed for the next round counts, in its own name or in that of its successor."""
    predecessor = scene.aggregator
    scene.commit_root()
    scene.to_prove()
    root = scene.root(round_number=2)
    early = [signed(scene, root), signed(scene, root, aggregator=str(scene.successor))]
    succeed(scene)
    assert (scene.phase, scene.project.state().aggregator) == (Phase.OPEN, str(scene.successor))
    assert scene.project.root(2) == bytes(32)
    for receipt in early:
        with wrong_signer(scene.successor):
            send(scene, root, receipt)
    with wrong_signer(scene.successor, have=predecessor):
        send(scene, root, signed(scene, root, predecessor, aggregator=str(scene.successor)))
    send(scene, root, signed(scene, root))  # within the window in which trainers may leave, too
    assert scene.project.root(2) == points_hash(root.points)


def test_an_owner_that_trains_may_submit_its_own_root(scene: Scene) -> None:
    """It knows the opening, so nothing could prevent it; with a root the owner decides what is good anyway."""
    scene.trainers = [scene.owner, *scene.trainers[:4]]
    scene.reach(Phase.OPEN)
    own = scene.commitment(scene.owner)
    root = dataclasses.replace(scene.root(), points=own.points, range_proofs=own.range_proofs)
    send(scene, root, scene.root_receipt(root))
    scene.roots = {1: root.points}
    scene.to_prove()
    scene.settle()
    assert scene.phase == Phase.SETTLED
