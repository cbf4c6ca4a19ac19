"""Receipts.

admit(trainers, receipts)
├── when the phase is not ADMIT
│   └── it should revert with WrongPhase
├── when now > t2
│   └── it should revert with TooLate
├── when there are not as many receipts as trainers
│   └── it should revert with WrongLength
├── when a trainer did not submit in this round, or no root update is on offer
│   └── it should revert with NoSuchSeat
├── when a receipt is not 65 bytes, or has a high s, or names nobody
│   └── it should revert with WrongSigner: 0
├── when one is signed by another, or says another chain, project, aggregator, round, trainer, digest or CID
│   └── it should revert with WrongSigner
├── given a trainer that is admitted already
│   └── it should be passed over, whatever its receipt is
└── otherwise, whoever sends them, until t2
    └── it should admit the trainers, log Admitted and move no money; the root update: test_offer_root.py
given that the last seat was taken before t1
└── it should be the same from that moment until the same t2
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.contracts.world import CID, WINDOW, Scene, refused, wrong_signer
from zkmarket.chain import NOBODY, Chain, Phase, sign
from zkmarket.market import receipt_message, submission_word

pytestmark = pytest.mark.chain

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five have submitted and wait for admission."""
    return Scene.deploy(node).reach(Phase.ADMIT)


def signed(scene: Scene, to: Any, signer: Any = None, **other: Any) -> bytes:
    """A receipt for the trainer that is good but for these words."""
    words = {
        "chain_id": scene.chain.id,
        "project": scene.project.address,
        "aggregator": str(scene.aggregator),
        "round_number": scene.round_id.round,
        "trainer": str(to),
        "submission": submission_word(scene.commitment(to).digest(), CID),
    }
    return sign(scene.chain, signer or scene.aggregator, receipt_message(**(words | other)))


def admitted(scene: Scene) -> list[bool]:
    return [seat.admitted for seat in scene.project.seats()]


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.ADMIT:
            with refused(f"WrongPhase(have={phase.name}, want=ADMIT)"):
                scene.project.admit(scene.stranger, {scene.trainers[0]: b""})


def test_a_round_with_too_few_submissions_is_never_in_admission(scene: Scene) -> None:
    scene.reach(Phase.OPEN).to_admit(scene.trainers[:2])
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.project.admit(scene.stranger, {scene.trainers[0]: scene.receipt(scene.trainers[0])})


def test_admission_begins_a_second_after_the_submission_deadline(scene: Scene) -> None:
    scene.reach(Phase.OPEN).start()
    scene.submit_all(scene.trainers[:4])
    end, receipt = scene.project.state().deadline, scene.receipt(scene.trainers[0])
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.at(end).project.admit(scene.stranger, {scene.trainers[0]: receipt})
    scene.at(end + 1).project.admit(scene.stranger, {scene.trainers[0]: receipt})
    assert scene.chain.now == end + 1


def test_until_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    first, second = scene.trainers[:2]
    assert end == scene.project._call("deadline") + WINDOW
    scene.at(end).project.admit(scene.stranger, {first: scene.receipt(first)})
    assert scene.chain.now == end
    with refused(f"TooLate(have={end + 1}, want={end})"):
        scene.at(end + 1).project.admit(scene.stranger, {second: scene.receipt(second)})


def test_who_did_not_submit_has_no_seat(scene: Scene) -> None:
    with refused(f"NoSuchSeat(trainer={scene.stranger}, round=1)"):
        scene.project.admit(scene.stranger, {scene.stranger: signed(scene, scene.stranger)})


def test_who_is_admitted_already_is_passed_over(scene: Scene) -> None:
    """Attack: one receipt sent ahead of many, or a bad one beside it, stops nobody: near the deadline that would cost
    all of them their penalty."""
    first, second = scene.trainers[1:3]
    scene.project.admit(scene.stranger, {first: scene.receipt(first)})
    done = scene.project.admit(scene.aggregator, {first: b"", second: scene.receipt(second)})
    assert [event.arguments["trainer"] for event in done.events] == [str(second)]
    assert admitted(scene) == [False, True, True, False, False]
    assert scene.project.admit(scene.stranger, {first: b""}).events == ()


def test_many_in_one_transaction(scene: Scene) -> None:
    receipts = {trainer: scene.receipt(trainer) for trainer in reversed(scene.trainers)}
    done = scene.project.admit(scene.stranger, receipts)
    assert [event.arguments["trainer"] for event in done.events] == [str(who) for who in reversed(scene.trainers)]
    assert admitted(scene) == [True] * 5
    assert scene.project.admit(scene.stranger, {}).events == ()


def test_all_or_none_of_them(scene: Scene) -> None:
    """A wrong receipt is its sender's fault: nothing of the transaction stays."""
    first, second = scene.trainers[:2]
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, {first: scene.receipt(first), second: scene.receipt(first)})
    assert admitted(scene) == [False] * 5


@pytest.mark.parametrize("receipts", [0, 1, 3])
def test_as_many_receipts_as_trainers(scene: Scene, receipts: int) -> None:
    given = [scene.receipt(trainer) for trainer in scene.trainers[:receipts]]
    with refused(f"WrongLength(what=receipts, have={receipts}, want=2)"):
        scene.project._send("admit", "admit", [str(who) for who in scene.trainers[:2]], given, sender=scene.stranger)


def test_where_no_root_update_is_on_offer_none_is_admitted(scene: Scene) -> None:
    receipt = scene.project.sign_receipt(scene.aggregator, None, bytes(32))
    with refused(f"NoSuchSeat(trainer={NOBODY}, round=1)"):
        scene.project.admit(scene.stranger, {None: receipt})


@pytest.mark.parametrize("sender", ["stranger", "owner", "aggregator"])
def test_anyone_sends_a_good_receipt(scene: Scene, sender: str) -> None:
    trainer, before = scene.trainers[3], scene.books()
    done = scene.project.admit(getattr(scene, sender), {trainer: signed(scene, trainer)})
    assert done.event("Admitted").arguments == {"round": 1, "trainer": str(trainer)}
    assert admitted(scene) == [False, False, False, True, False]
    assert scene.moved(before) == {}
    assert scene.phase == Phase.ADMIT


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_a_receipt_by_another_signer(scene: Scene, signer: str) -> None:
    other = getattr(scene, signer)
    with wrong_signer(scene.aggregator, have=other):
        scene.project.admit(other, {scene.trainers[0]: signed(scene, scene.trainers[0], other)})


@pytest.mark.parametrize("word", ["chain_id", "project", "aggregator", "round_number", "trainer", "digest", "cid"])
def test_a_receipt_with_one_wrong_word(scene: Scene, word: str) -> None:
    trainer, neighbour = scene.trainers[0], scene.trainers[1]
    digest = scene.commitment(trainer).digest()
    wrong: dict[str, Any] = {
        "chain_id": {"chain_id": 1},
        "project": {"project": scene.market.address},
        "aggregator": {"aggregator": str(scene.successor)},
        "round_number": {"round_number": 2},
        "trainer": {"trainer": str(neighbour)},
        "digest": {"submission": submission_word(scene.commitment(neighbour).digest(), CID)},
        "cid": {"submission": submission_word(digest, CID + b"\0")},
    }
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, {trainer: signed(scene, trainer, **wrong[word])})
    scene.project.admit(scene.stranger, {trainer: signed(scene, trainer)})


def test_a_receipt_of_another_trainer(scene: Scene) -> None:
    first, second = scene.trainers[:2]
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, {first: scene.receipt(second)})


def test_a_receipt_of_another_clone(scene: Scene) -> None:
    receipt = scene.receipt(scene.trainers[0])
    clone = dataclasses.replace(scene).reach(Phase.ADMIT)
    assert clone.project.address != scene.project.address
    assert clone.round_id.round == scene.round_id.round
    with wrong_signer(clone.aggregator):
        clone.project.admit(clone.stranger, {clone.trainers[0]: receipt})


def test_a_receipt_of_the_round_before(scene: Scene) -> None:
    receipt = scene.receipt(scene.trainers[0])
    scene.admit_all()
    scene.project.lock(scene.stranger)
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_admit()  # the same points and CIDs
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, {scene.trainers[0]: receipt})


def test_receipts_of_a_failed_attempt_and_of_the_aggregator_that_failed(scene: Scene) -> None:
    """A puppet in the vacant office gains nothing from what its predecessor signs."""
    trainer, before = scene.trainers[0], scene.receipt(scene.trainers[0])
    scene.admit_all()
    scene.project.lock(scene.stranger)
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    predecessor = scene.aggregator
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.chain.pass_time(WINDOW)
    scene.aggregator = scene.successor
    scene.to_admit()
    assert scene.round_id.round == 2
    late = signed(scene, trainer, predecessor)
    own = signed(scene, trainer, predecessor, aggregator=str(predecessor))
    for receipt in (before, late, own):
        with wrong_signer(scene.aggregator):
            scene.project.admit(scene.stranger, {trainer: receipt})
    scene.project.admit(scene.stranger, {trainer: signed(scene, trainer)})


def high(signature: bytes) -> bytes:
    """The other signature of the same key on the same message."""
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def compact(signature: bytes) -> bytes:
    """EIP-2098: a second encoding of the same signature."""
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


@pytest.mark.parametrize(
    "spoil",
    [
        high,
        compact,
        lambda s: b"",
        lambda s: s[:-1],
        lambda s: s + b"\0",
        lambda s: bytes(65),
        lambda s: s[:64] + b"\0",
    ],
    ids=["high s", "64 bytes", "empty", "too short", "too long", "zeros", "v = 0"],
)
def test_a_signature_has_one_form(scene: Scene, spoil: Any) -> None:
    trainer = scene.trainers[0]
    good = scene.receipt(trainer)
    with wrong_signer(scene.aggregator, have=NOBODY):
        scene.project.admit(scene.stranger, {trainer: spoil(good)})
    scene.project.admit(scene.stranger, {trainer: good})


# ---------------------------------------------------------------- before the submission deadline


@pytest.fixture
def full(scene: Scene) -> Scene:
    """All seats are taken at once."""
    scene.reach(Phase.OPEN).start()
    scene.submit_all()
    return scene


def test_a_full_round_is_admitted_and_locked_at_once(full: Scene) -> None:
    end = full.project._call("deadline")
    full.admit_all()
    full.project.lock(full.stranger)
    assert (full.phase, full.chain.now < end) == (Phase.PROVE, True)
    full.settle()


def test_attack_close_before_delivery(full: Scene) -> None:
    """Whoever takes the last seat ends the submissions, not anybody's time to deliver: a trainer that looks at the
    chain only when the submission deadline has passed has all of the admission before it."""
    first, late = full.trainers[0], full.trainers[3]
    start = full.project._call("deadline")
    assert full.deadline == start + WINDOW
    full.project.admit(full.aggregator, {first: full.receipt(first)})
    for early in (full.project.lock, full.project.fail_admission):
        with refused(f"TooEarly(have={start + 1}, want={start + WINDOW + 1})"), full.chain.rolled_back():
            full.at(start + 1)
            early(full.aggregator)
    full.at(start + WINDOW).project.admit(full.stranger, {late: full.receipt(late)})
    assert admitted(full) == [True, False, False, True, False]


def test_attack_peek_by_reorg(scene: Scene) -> None:
    """An aggregator that is sent updates when the last seat is taken, and then has that block undone, could give the
    seat to an update made of the others. Nothing on chain moves when the seat is taken: the round is open as before,
    until the same deadlines, and what was signed for the others fits. So trainers wait for the last seat's
    confirmations and lose no time by it (the roles do)."""
    scene.reach(Phase.OPEN).start()
    scene.submit_all(scene.trainers[:4])
    before = dataclasses.replace(scene.project.state(), now=0, block=0)
    with scene.chain.rolled_back():
        scene.submit(scene.trainers[4])
        receipts = {trainer: scene.receipt(trainer) for trainer in scene.trainers[:4]}
        scene.project.admit(scene.aggregator, receipts)
        assert (scene.phase, scene.deadline) == (Phase.ADMIT, before.deadline + WINDOW)
    assert dataclasses.replace(scene.project.state(), now=0, block=0) == before
    assert admitted(scene) == [False] * 4
    scene.project.join(scene.stranger)
    scene.submit(scene.stranger)  # whoever it is now
    assert scene.deadline == before.deadline + WINDOW
    scene.project.admit(scene.aggregator, receipts)
    with refused(f"TooEarly(have={scene.chain.now + 1}, want={scene.deadline + 1})"):
        scene.at(scene.chain.now + 1).project.lock(scene.aggregator)
