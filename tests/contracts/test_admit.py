"""Receipts.

admit(trainer, receipt)
├── when the phase is not ADMIT
│   └── it should revert with WrongPhase
├── when now > t2
│   └── it should revert with TooLate
├── when the trainer did not submit in this round
│   └── it should revert with NoSuchSeat
├── when the trainer is admitted already
│   └── it should revert with AlreadyAdmitted
├── when the receipt is not 65 bytes, or has a high s, or names nobody
│   └── it should revert with WrongSigner: 0
├── when it is signed by another, or says another chain, project, aggregator, round, trainer, points or CID
│   └── it should revert with WrongSigner
└── otherwise, whoever sends it, until t2
    └── it should admit the trainer, log Admitted and move no money
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.world import CID, WINDOW, Scene, point, refused, wrong_signer
from zkmarket.escrow import NOBODY, Phase, points_hash, receipt_message
from zkmarket.market import Chain, sign

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
        "points": points_hash(scene.commitment(to).points),
        "cid": keccak(CID),
    }
    return sign(scene.chain, signer or scene.aggregator, receipt_message(**(words | other)))


def admitted(scene: Scene) -> list[bool]:
    return [seat["admitted"] for seat in scene.project.seats(scene.round_id.round)]


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.ADMIT:
            with refused(f"WrongPhase(have={phase.name}, want=ADMIT)"):
                scene.project.admit(scene.stranger, scene.trainers[0], b"")


def test_a_round_with_too_few_submissions_is_never_in_admission(scene: Scene) -> None:
    scene.reach(Phase.OPEN).to_admit(scene.trainers[:2])
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.project.admit(scene.stranger, scene.trainers[0], scene.receipt(scene.trainers[0]))


def test_admission_begins_a_second_after_the_submission_deadline(scene: Scene) -> None:
    scene.reach(Phase.OPEN).start()
    scene.submit_all()
    end, receipt = scene.project.state().deadline, scene.receipt(scene.trainers[0])
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.at(end).project.admit(scene.stranger, scene.trainers[0], receipt)
    scene.at(end + 1).project.admit(scene.stranger, scene.trainers[0], receipt)
    assert scene.chain.now == end + 1


def test_until_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    first, second = scene.trainers[:2]
    assert end == scene.project._call("deadline") + WINDOW
    scene.at(end).project.admit(scene.stranger, first, scene.receipt(first))
    assert scene.chain.now == end
    with refused(f"TooLate(have={end + 1}, want={end})"):
        scene.at(end + 1).project.admit(scene.stranger, second, scene.receipt(second))


def test_who_did_not_submit_has_no_seat(scene: Scene) -> None:
    with refused(f"NoSuchSeat(trainer={scene.stranger}, round=1)"):
        scene.project.admit(scene.stranger, scene.stranger, signed(scene, scene.stranger))


def test_once(scene: Scene) -> None:
    trainer = scene.trainers[2]
    scene.project.admit(scene.stranger, trainer, scene.receipt(trainer))
    with refused(f"AlreadyAdmitted(trainer={trainer}, round=1)"):
        scene.project.admit(scene.stranger, trainer, scene.receipt(trainer))


@pytest.mark.parametrize("sender", ["stranger", "owner", "aggregator"])
def test_anyone_sends_a_good_receipt(scene: Scene, sender: str) -> None:
    trainer, before = scene.trainers[3], scene.books()
    done = scene.project.admit(getattr(scene, sender), trainer, signed(scene, trainer))
    assert done.event("Admitted").arguments == {"round": 1, "trainer": str(trainer)}
    assert admitted(scene) == [False, False, False, True, False]
    assert scene.moved(before) == {}
    assert scene.phase == Phase.ADMIT


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_a_receipt_by_another_signer(scene: Scene, signer: str) -> None:
    other = getattr(scene, signer)
    with wrong_signer(scene.aggregator, have=other):
        scene.project.admit(other, scene.trainers[0], signed(scene, scene.trainers[0], other))


@pytest.mark.parametrize("word", ["chain_id", "project", "aggregator", "round_number", "trainer", "points", "cid"])
def test_a_receipt_with_one_wrong_word(scene: Scene, word: str) -> None:
    trainer, neighbour = scene.trainers[0], scene.trainers[1]
    wrong: dict[str, Any] = {
        "chain_id": 1,
        "project": scene.market.address,
        "aggregator": str(scene.successor),
        "round_number": 2,
        "trainer": str(neighbour),
        "points": points_hash([point(1), point(2)]),
        "cid": keccak(CID + b"\0"),
    }
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, trainer, signed(scene, trainer, **{word: wrong[word]}))
    scene.project.admit(scene.stranger, trainer, signed(scene, trainer))


def test_a_receipt_of_another_trainer(scene: Scene) -> None:
    first, second = scene.trainers[:2]
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, first, scene.receipt(second))


def test_a_receipt_of_another_clone(scene: Scene) -> None:
    receipt = scene.receipt(scene.trainers[0])
    clone = dataclasses.replace(scene).reach(Phase.ADMIT)
    assert clone.project.address != scene.project.address
    assert clone.round_id.round == scene.round_id.round
    with wrong_signer(clone.aggregator):
        clone.project.admit(clone.stranger, clone.trainers[0], receipt)


def test_a_receipt_of_the_round_before(scene: Scene) -> None:
    receipt = scene.receipt(scene.trainers[0])
    scene.admit_all()
    scene.project.lock(scene.stranger)
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_admit()  # the same points and CIDs
    with wrong_signer(scene.aggregator):
        scene.project.admit(scene.stranger, scene.trainers[0], receipt)


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
            scene.project.admit(scene.stranger, trainer, receipt)
    scene.project.admit(scene.stranger, trainer, signed(scene, trainer))


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
        scene.project.admit(scene.stranger, trainer, spoil(good))
    scene.project.admit(scene.stranger, trainer, good)
