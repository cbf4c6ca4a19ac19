"""The owner's root update: a digest between rounds, a receipt like an update's, else the round has none.

offerRoot(digest, cid), with coin
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
├── when it comes without p, or in another's place with any coin
│   └── it should revert with WrongValue
└── otherwise, until t0, and again
    ├── it should keep one word for the next round, in place of an earlier one, hold p, and log RootOffered: no points
    └── it should hold for that round alone: a void or failed round, or another aggregator, needs a new one

the deposit
├── given a round that was not started: it should stay, and so should the offer
├── given a void round, or the end of the project: it should be the owner's to withdraw
├── given a receipt: likewise, at once
└── given none, when the round is locked or its admission fails
    └── it should burn, and p of the bond; the slot is then B

admit, for trainer 0
├── when there is no offer for this round
│   └── it should revert with NoSuchSeat
├── when the receipt is not the aggregator's for this word, or is one for a trainer
│   └── it should revert with WrongSigner
└── otherwise, whoever sends it
    └── it should log RootAdmitted: the round is settled with this root, and with nothing else
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.contracts.world import CID, ETHER, PENALTY, WINDOW, Scene, refused, wrong_signer
from zkmarket.chain import NOBODY, Chain, Phase, Receipt
from zkmarket.crypto import Point
from zkmarket.market import Root, points_hash, submission_word
from zkmarket.round import Commitment

pytestmark = pytest.mark.chain

OWED = ETHER + ETHER // 5


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """OPEN, with five members, before the first round: a project whose plans use a root."""
    return dataclasses.replace(Scene.deploy(node), references=1).reach(Phase.OPEN)


def send(scene: Scene, value: int, digest: bytes = b"\1" * 32, cid: bytes = CID) -> Receipt:
    return scene.project._send("offer root", "offerRoot", digest, cid, sender=scene.owner, value=value)


def word(root: Commitment, cid: bytes = CID) -> bytes:
    return submission_word(root.digest("root"), cid)


def absent(scene: Scene) -> tuple[Point, ...]:
    return (scene.values["blinding"],) * scene.values["chunks"]


def locked(scene: Scene, *admitted: Any) -> Receipt:
    """All submit; these are admitted, None being the root; locked as soon as can be."""
    scene.to_admit()
    scene.admit(*admitted)
    if len(admitted) < 5 + bool(scene.project.root().offered):
        scene.pass_deadline()
    return scene.project.lock(scene.stranger)


def settled_with(scene: Scene, root: Sequence[Any]) -> Receipt:
    """The locked round, settled by a proof of this root."""
    return scene.settle(references=[tuple(root)])


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
                send(scene, PENALTY)


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
    assert scene.project.root() == Root(1, 0, word(scene.root()))


@pytest.mark.parametrize("length", [0, 97])
def test_a_cid_has_one_byte_to_96(scene: Scene, length: int) -> None:
    with refused(f"WrongCid(have={length}, most=96)"):
        send(scene, PENALTY, cid=bytes(length))


@pytest.mark.parametrize("value", [0, 1, PENALTY - 1, PENALTY + 1])
def test_it_comes_with_a_penalty_as_deposit(scene: Scene, value: int) -> None:
    with refused(f"WrongValue(have={value}, want={PENALTY})"):
        send(scene, value)
    send(scene, PENALTY)
    for more in (1, PENALTY):
        with refused(f"WrongValue(have={more}, want=0)"):
            send(scene, more)
    send(scene, 0)


# ---------------------------------------------------------------- an offer


def test_attack_the_answer_key_before_the_exam(scene: Scene) -> None:
    """One trainer without data that knows the root commits it, scaled to the norm bound, and takes most of the reward.
    Of a root nothing shows but a digest, and it is sealed to a key that opens nothing before submissions are closed
    unless the aggregator colludes: it alone cannot even tell whether its receipt is wanted."""
    before, state = scene.books(), scene.project.state()
    done, root = scene.offer_root(), scene.root()
    assert [(event.name, event.arguments) for event in done.events] == [
        ("RootOffered", {"round": 1, "digest": root.digest("root"), "cid": CID})
    ]
    assert scene.moved(before) == {"balance": PENALTY}
    assert scene.holdings() == scene.balance(scene.project.address)
    assert dataclasses.replace(scene.project.state(), now=0, block=0) == dataclasses.replace(state, now=0, block=0)
    offered = scene.project.offered_root(1)
    assert (offered.trainer, offered.digest, offered.cid) == (NOBODY, root.digest("root"), CID)
    assert scene.project.offered_root(2) is None
    scene.start()
    scene.submit_all(scene.trainers[:4])
    receipt = scene.receipt(None)
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.project.admit(scene.aggregator, {None: receipt})


def test_a_root_counts_with_a_receipt(scene: Scene) -> None:
    scene.offer_root()
    root = scene.root()
    scene.to_admit()
    before = scene.books()
    done = scene.project.admit(scene.stranger, {None: scene.receipt(None)})
    assert [(event.name, event.arguments) for event in done.events] == [("RootAdmitted", {"round": 1})]
    assert scene.moved(before) == {"refund of owner": PENALTY}
    assert scene.project.root() == Root(0, 1, word(root))
    assert scene.project.admit(scene.stranger, {None: b""}).events == ()  # passed over, as a trainer is
    scene.admit(*scene.trainers)
    scene.project.lock(scene.stranger)
    assert scene.holdings() == scene.balance(scene.project.address)
    settled_with(scene, root.points)
    found = scene.project.root_commitment(1)
    assert (found.points, found.trainer, found.round_id) == (root.points, root.trainer, root.round_id)


def test_another_in_its_place_before_the_start(scene: Scene) -> None:
    """Nobody has committed an update yet, and the aggregator opens what is on offer when submissions are closed."""
    first, second = scene.root(1), scene.root(2)
    scene.offer_root(1)
    scene.offer_root(2)
    assert scene.project.root().submission == word(second)
    assert scene.project.offered_root(1).digest == second.digest("root")
    old = scene.project.sign_receipt(scene.aggregator, None, word(first))
    scene.to_admit()
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.aggregator, {None: old})
    scene.admit_all()
    scene.project.lock(scene.stranger)
    with refused_points(scene, first, second):
        settled_with(scene, first.points)
    settled_with(scene, second.points)
    assert scene.project.root_commitment(1).points == second.points


def refused_points(scene: Scene, have: Commitment, want: Commitment) -> Any:
    """Of the root's slot, where both have the CID that was offered."""
    return refused(f"WrongPoints(slot=6, have=0x{word(have).hex()}, want=0x{word(want).hex()})")


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_a_receipt_is_the_aggregators(scene: Scene, signer: str) -> None:
    scene.offer_root()
    scene.to_admit()
    other = getattr(scene, signer)
    with wrong_signer(scene.aggregator):
        scene.project.admit(other, {None: scene.receipt(None, other)})


def test_a_receipt_for_a_root_is_for_no_trainer_and_the_reverse(scene: Scene) -> None:
    """Though the words were equal: an owner may train, and submit what it likes."""
    scene.trainers = [scene.owner, *scene.trainers[:4]]
    scene.reach(Phase.OPEN)
    digest = scene.commitment(scene.owner, scene.project.round_id(1)).digest()
    send(scene, PENALTY, digest)
    scene.to_admit()
    receipts = {
        who: scene.project.sign_receipt(scene.aggregator, who, submission_word(digest, CID))
        for who in (scene.owner, None)
    }
    for who, other in ((scene.owner, None), (None, scene.owner)):
        with wrong_signer(scene.aggregator):
            scene.project.admit(scene.aggregator, {who: receipts[other]})
    scene.project.admit(scene.aggregator, receipts)


def test_a_trainers_digest_is_no_roots(scene: Scene) -> None:
    """Attack: the owner offers an update that it has seen, or its own, under the label of updates. An aggregator that
    gives a receipt for it cannot settle."""
    own = scene.commitment(scene.owner, scene.project.round_id(1))
    send(scene, PENALTY, own.digest())
    scene.to_admit()
    scene.project.admit(
        scene.aggregator,
        {None: scene.project.sign_receipt(scene.aggregator, None, submission_word(own.digest(), CID))},
    )
    scene.admit(*scene.trainers)
    scene.project.lock(scene.stranger)
    scene.offered = {1: 0}
    have, want = word(own).hex(), submission_word(own.digest(), CID).hex()
    with refused(f"WrongPoints(slot=6, have=0x{have}, want=0x{want})"):
        settled_with(scene, own.points)


def test_an_owner_that_trains_may_submit_its_own_root(scene: Scene) -> None:
    """It knows the opening, so nothing could prevent it; with a root the owner decides what is good anyway."""
    scene.trainers = [scene.owner, *scene.trainers[:4]]
    scene.reach(Phase.OPEN)
    root = dataclasses.replace(scene.root(), points=scene.commitment(scene.owner).points)
    scene.project.offer_root(scene.owner, root, CID)
    scene.to_admit()
    scene.admit(*scene.trainers)
    scene.project.admit(scene.aggregator, {None: scene.project.sign_receipt(scene.aggregator, None, word(root))})
    scene.project.lock(scene.stranger)
    scene.offered = {1: 0}
    settled_with(scene, root.points)
    assert scene.project.root_commitment(1) == root


# ---------------------------------------------------------------- an offer without a receipt


@pytest.mark.parametrize("missing", [0, 2])
def test_a_root_without_a_receipt_costs_owner_and_aggregator(scene: Scene, missing: int) -> None:
    """Attack: an owner that serves no opening, or an aggregator that takes none. Nobody knows who lied: both pay, as
    for an update, and the round is one without a root."""
    scene.offer_root()
    scene.to_admit()
    scene.admit(*scene.trainers[missing:])
    end = scene.deadline
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.lock(scene.aggregator)
    before = scene.books()
    done = scene.at(end + 1).project.lock(scene.stranger)
    burnt = {f"stake of trainer {slot}": -PENALTY for slot in range(1, missing + 1)}
    both = (missing + 1) * PENALTY
    assert scene.moved(before) == burnt | {"bond": -both, "unburnt": 2 * both, "pool": -OWED}
    assert scene.holdings() == scene.balance(scene.project.address)
    said = [event.arguments for event in done.events if event.name == "Refused"]
    assert said[-1] == {"round": 1, "trainer": NOBODY, "burntWei": PENALTY}
    assert len(said) == missing + 1
    assert scene.project.root() == Root(0, 0, word(scene.root(0, 1)))
    with refused_words(scene, scene.root(0, 1).points, absent(scene), slot=6 - missing):
        settled_with(scene, scene.root(0, 1).points)
    scene.settle()
    assert scene.project.root_commitment(1) is None


def refused_words(scene: Scene, have: Sequence[Point], want: Sequence[Point], slot: int = 6) -> Any:
    """Of the root's slot, where the contract knows the points."""
    return refused(f"WrongPoints(slot={slot}, have=0x{points_hash(have).hex()}, want=0x{points_hash(want).hex()})")


def test_a_receipt_is_in_time_until_the_last_second(scene: Scene) -> None:
    scene.offer_root()
    scene.to_admit()
    scene.admit(*scene.trainers)
    end = scene.deadline
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1).admit(None)
    scene.at(end).admit(None)
    scene.project.lock(scene.stranger)
    settled_with(scene, scene.root(0, 1).points)


@pytest.mark.parametrize("root", [False, True], ids=["without a receipt", "with one"])
def test_where_the_admission_fails_too(scene: Scene, root: bool) -> None:
    scene.offer_root()
    scene.to_admit()
    before = scene.books()
    scene.admit(*scene.trainers[:2], *([None] if root else []))
    scene.pass_deadline()
    scene.project.fail_admission(scene.stranger)
    burnt = {f"stake of trainer {slot}": -PENALTY for slot in (3, 4, 5)}
    refusals = 3 if root else 4
    left = 3 * ETHER - refusals * PENALTY - ETHER
    expected = burnt | {"bond": -3 * ETHER, "refund of aggregator": left}
    expected["unburnt"] = 3 * PENALTY + refusals * PENALTY + ETHER + (0 if root else PENALTY)
    assert scene.moved(before) == expected | ({"refund of owner": PENALTY} if root else {})
    assert scene.holdings() == scene.balance(scene.project.address)


def test_the_least_bond_covers_it(scene: Scene) -> None:
    """Attack: refuse until the bond is worth less than the model, then keep it."""
    scene.reach(Phase.OPEN, bondWei=OWED + 3 * PENALTY)
    scene.offer_root()
    locked(scene, *scene.trainers[:3])
    assert scene.project.state().bond_wei == OWED


# ---------------------------------------------------------------- for one round


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
    assert (scene.project.root().offered, scene.project.offered_root(2)) == (0, None)
    scene.to_prove()
    with refused_words(scene, old, absent(scene)):
        settled_with(scene, old)
    settled_with(scene, absent(scene))


@pytest.mark.parametrize("end", [voided, failed, settled])
def test_no_receipt_brings_it_back(scene: Scene, end: Callable[[Scene], None]) -> None:
    scene.offer_root()
    old = word(scene.root())
    end(scene)
    scene.to_admit()
    receipt = scene.project.sign_receipt(scene.aggregator, None, old)
    with refused(f"NoSuchSeat(trainer={NOBODY}, round=2)"):
        scene.project.admit(scene.aggregator, {None: receipt})


def test_the_next_round_has_an_offer_of_its_own(scene: Scene) -> None:
    scene.offer_root(1)
    settled(scene)
    before = scene.books()
    scene.offer_root(2)
    assert scene.moved(before) == {"balance": PENALTY}
    assert scene.project.root() == Root(2, 1, word(scene.root(2)))
    scene.to_prove()
    settled_with(scene, scene.root(2, 2).points)


def test_no_root_outlives_the_aggregator_that_could_open_it(scene: Scene) -> None:
    """Attack: a new aggregator cannot settle with a root that it has not, and would lose its bond."""
    scene.offer_root()
    scene.to_prove()
    succeed(scene)
    assert (scene.phase, scene.project.state().aggregator) == (Phase.OPEN, str(scene.successor))
    assert scene.project.root().offered == 0
    scene.offer_root(2)  # within the window in which trainers may leave, too
    scene.chain.pass_time(WINDOW)
    scene.to_prove()
    settled_with(scene, scene.root(2, 2).points)


# ---------------------------------------------------------------- the deposit


def test_a_round_that_was_not_started_keeps_offer_and_deposit(scene: Scene) -> None:
    """It has the same number still, the same aggregator, and nobody has seen an update."""
    scene.offer_root()
    scene.pass_deadline()
    before = scene.books()
    scene.project.skip(scene.stranger)
    assert scene.moved(before) == {}
    assert scene.project.root().submission == word(scene.root())
    assert scene.holdings() == scene.balance(scene.project.address)
    scene.to_prove()
    settled_with(scene, scene.root(0, 1).points)


def test_after_a_void_round_the_deposit_is_the_owners(scene: Scene) -> None:
    """Nobody was asked whether it opens."""
    scene.offer_root()
    before = scene.books()
    scene.void()
    assert scene.moved(before) == {"refund of owner": PENALTY}
    assert scene.project.root().offered == 0
    assert scene.holdings() == scene.balance(scene.project.address)


@pytest.mark.parametrize("announced", [False, True], ids=["void limit", "announced end"])
def test_at_the_end_the_deposit_is_the_owners(scene: Scene, announced: bool) -> None:
    scene.reach(Phase.OPEN, voidLimit=2 if announced else 1)
    scene.offer_root()
    if announced:
        scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    scene.project.skip(scene.stranger)
    assert scene.phase == Phase.ENDED
    assert scene.project.account(scene.owner).refund_wei == PENALTY
    for who in (scene.owner, scene.aggregator, *scene.trainers):
        scene.project.withdraw(who)
    assert scene.balance(scene.project.address) == 0


def test_where_the_end_comes_with_the_void_round_it_is_given_back_once(scene: Scene) -> None:
    scene.reach(Phase.OPEN, voidLimit=1)
    scene.offer_root()
    scene.void()
    assert scene.phase == Phase.ENDED
    assert scene.project.account(scene.owner).refund_wei == PENALTY
    assert scene.holdings() == scene.balance(scene.project.address)
