"""join: become a trainer, or fill a stake up.

when the project is neither OPEN nor SUBMIT nor ADMIT
    it should refuse: WrongPhase, want SUBMIT
given SUBMIT, or ADMIT
    when the submission deadline has passed
        it should refuse: TooLate
    when it is the last second, also where the last seat is taken
        it should pass
given OPEN
    when the deadline of the phase has passed
        it should pass: that deadline is the aggregator's
given admission by the owner's list
    when the signature is not the owner's on this trainer, clone and chain, or is not the one form allowed
        it should refuse: WrongSigner
when the value is not what the stake lacks, after penalties for void rounds
    it should refuse: WrongValue
when all is right
    it should keep the stake and log Joined with what was paid and the key that aggregates are sealed to
    given a member with a full stake: it should take nothing, and log its new key
    given a key of any value: it should log it as it is
    given a key of another length: the wrapper should refuse before anything is sent
    given a member that skipped a void round: it should take the penalty, and the skip still counts
    given a member that was removed, or left: it should take a whole stake, and forget its skips
    given void rounds before it joined: it should owe nothing for them
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.test_admit import compact, high
from tests.contracts.world import ETHER, KEY, PENALTY, Scene, phases_but, refused, wrong_signer
from zkmarket.chain import NOBODY, Phase, sign
from zkmarket.errors import InputError
from zkmarket.market import membership_message

pytestmark = pytest.mark.chain

STAKE = ETHER


@pytest.fixture
def listed(scene: Scene) -> Scene:
    """OPEN and without members: trainers need the owner's signature."""
    scene.create(openAdmission=False)
    scene.project.accept(scene.aggregator)
    return scene


def pay_in(scene: Scene, who: Any, value: int) -> Any:
    return scene.project._send("join", "join", b"", KEY, sender=who, value=value)


def joined(who: Any, value: int, key: bytes = KEY) -> dict[str, Any]:
    """What Joined says."""
    return {"trainer": str(who), "stakeWei": value, "encryptionKey": key}


# ---------------------------------------------------------------- when


@pytest.mark.parametrize("phase", phases_but(Phase.OPEN, Phase.SUBMIT, Phase.ADMIT))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=SUBMIT)"):
        pay_in(scene, scene.stranger, STAKE)


def test_the_last_second_of_submission_counts(scene: Scene) -> None:
    scene.reach(Phase.SUBMIT)
    scene.at(scene.deadline)
    pay_in(scene, scene.stranger, STAKE)
    assert scene.project.account(scene.stranger).stake_wei == STAKE


def test_the_second_after_does_not(scene: Scene) -> None:
    scene.reach(Phase.SUBMIT)
    end = scene.deadline
    scene.at(end + 1)
    with refused(f"TooLate(have={end + 1}, want={end})"):
        pay_in(scene, scene.stranger, STAKE)


@pytest.mark.parametrize("submissions", [4, 5])
def test_admission_begins_with_it_or_with_the_last_seat(scene: Scene, submissions: int) -> None:
    """Whoever takes the last seat closes nothing but the submissions."""
    scene.reach(Phase.SUBMIT)
    end = scene.deadline
    scene.submit_all(scene.trainers[:submissions])
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1)
        pay_in(scene, scene.stranger, STAKE)
    scene.at(end)
    pay_in(scene, scene.stranger, STAKE)
    assert scene.project.account(scene.stranger).stake_wei == STAKE
    assert scene.phase == (Phase.ADMIT if submissions == 5 else Phase.SUBMIT)


def test_between_rounds_there_is_no_deadline(scene: Scene) -> None:
    scene.reach(Phase.OPEN)
    scene.pass_deadline()
    pay_in(scene, scene.stranger, STAKE)
    assert scene.project.account(scene.stranger).stake_wei == STAKE


# ---------------------------------------------------------------- the owner's list


def test_the_owners_signature_lets_in(listed: Scene) -> None:
    project, trainer = listed.project, listed.trainers[0]
    signature = project.sign_membership(listed.owner, trainer)
    project.join(trainer, signature)
    assert project.account(trainer).stake_wei == STAKE


def test_the_signature_serves_again_after_leaving(listed: Scene) -> None:
    trainer = listed.trainers[0]
    signature = listed.project.sign_membership(listed.owner, trainer)
    listed.project.join(trainer, signature)
    listed.project.leave(trainer)
    listed.project.join(trainer, signature)
    assert listed.project.account(trainer).stake_wei == STAKE


@pytest.mark.parametrize("who", ["aggregator", "stranger"])
def test_nobody_else_lists_trainers(listed: Scene, who: str) -> None:
    signer, trainer = getattr(listed, who), listed.trainers[0]
    with wrong_signer(listed.owner, signer):
        listed.project.join(trainer, listed.project.sign_membership(signer, trainer))


def test_a_trainer_does_not_list_itself(listed: Scene) -> None:
    trainer = listed.trainers[0]
    with wrong_signer(listed.owner, trainer):
        listed.project.join(trainer, listed.project.sign_membership(trainer, trainer))


def test_another_trainers_signature_is_worthless(listed: Scene) -> None:
    trainer, other = listed.trainers[:2]
    signature = listed.project.sign_membership(listed.owner, other)
    with wrong_signer(listed.owner):
        listed.project.join(trainer, signature)


def test_another_projects_signature_is_worthless(listed: Scene) -> None:
    first, trainer = listed.project, listed.trainers[0]
    listed.create(openAdmission=False)
    signature = listed.project.sign_membership(listed.owner, trainer)
    with wrong_signer(listed.owner):
        first.join(trainer, signature)


def test_another_chains_signature_is_worthless(listed: Scene) -> None:
    project, trainer = listed.project, listed.trainers[0]
    signature = sign(listed.chain, listed.owner, membership_message(1, project.address, str(trainer)))
    with wrong_signer(listed.owner):
        project.join(trainer, signature)


@pytest.mark.parametrize(
    "changed",
    [high, compact, lambda _: b"", lambda one: one + b"\0", lambda one: one[:64] + b"\0", lambda _: bytes(65)],
    ids=["high s", "compact", "empty", "66 bytes", "v = 0", "zeros"],
)
def test_a_signature_has_one_form(listed: Scene, changed: Any) -> None:
    trainer = listed.trainers[0]
    signature = listed.project.sign_membership(listed.owner, trainer)
    with wrong_signer(listed.owner, NOBODY):
        listed.project.join(trainer, changed(signature))


# ---------------------------------------------------------------- the stake


@pytest.mark.parametrize("value", [0, STAKE - 1, STAKE + 1])
def test_the_stake_is_paid_exactly(scene: Scene, value: int) -> None:
    scene.open()
    with refused(f"WrongValue(have={value}, want={STAKE})"):
        pay_in(scene, scene.stranger, value)


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.SUBMIT], ids=["OPEN", "SUBMIT"])
def test_a_trainer_joins(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    before = scene.books()
    done = pay_in(scene, scene.stranger, STAKE)
    assert scene.moved(before) == {"stake of stranger": STAKE, "balance": STAKE}
    assert [event.name for event in done.events] == ["Joined"]
    assert done.event("Joined").arguments == joined(scene.stranger, STAKE)
    assert scene.phase == phase


def test_a_full_stake_takes_nothing(scene: Scene) -> None:
    scene.open()
    with refused("WrongValue(have=1, want=0)"):
        pay_in(scene, scene.trainers[0], 1)
    before = scene.books()
    done = scene.project.join(scene.trainers[0])
    assert scene.moved(before) == {}
    assert done.event("Joined").arguments == joined(scene.trainers[0], 0, bytes(32))


def keys_of(scene: Scene, who: Any) -> list[bytes]:
    """All keys that a trainer has named, from the log alone."""
    named = [event.arguments for event in scene.project.events() if event.name == "Joined"]
    return [said["encryptionKey"] for said in named if said["trainer"] == str(who)]


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.SUBMIT], ids=["OPEN", "SUBMIT"])
def test_a_member_changes_its_key_for_nothing(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    trainer, key = scene.trainers[0], b"\x55" * 32
    before, own = scene.books(), scene.project.account(trainer)
    done = scene.project.join(trainer, encryption_key=key)
    assert [event.name for event in done.events] == ["Joined"]
    assert done.event("Joined").arguments == joined(trainer, 0, key)
    assert (scene.moved(before), scene.project.account(trainer)) == ({}, own)
    assert keys_of(scene, trainer) == [bytes(32), key]
    assert keys_of(scene, scene.trainers[1]) == [bytes(32)]


def test_on_a_list_a_changed_key_needs_the_signature_again(listed: Scene) -> None:
    project, trainer = listed.project, listed.trainers[0]
    signature = project.sign_membership(listed.owner, trainer)
    project.join(trainer, signature, KEY)
    with wrong_signer(listed.owner, NOBODY):
        project.join(trainer, encryption_key=bytes(32))
    project.join(trainer, signature, b"\x55" * 32)
    assert keys_of(listed, trainer) == [KEY, b"\x55" * 32]


def test_a_key_is_not_changed_where_nobody_joins(scene: Scene) -> None:
    scene.reach(Phase.PROVE)
    with refused("WrongPhase(have=PROVE, want=SUBMIT)"):
        scene.project.join(scene.trainers[0], encryption_key=KEY)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"\1" + bytes(31)], ids=["zeros", "ones", "low order"])
def test_a_bad_key_hurts_its_owner_only(scene: Scene, key: bytes) -> None:
    scene.open()
    done = scene.project.join(scene.stranger, encryption_key=key)
    assert done.event("Joined").arguments == joined(scene.stranger, STAKE, key)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_not_sent(scene: Scene, length: int) -> None:
    scene.open()
    with pytest.raises(InputError, match=f"an encryption key has 32 bytes: got {length}$"):
        scene.project.join(scene.stranger, encryption_key=bytes(length))
    with pytest.raises(InputError, match=f"an encryption key has 32 bytes: got {length}$"):
        scene.project.start(scene.aggregator, bytes(length))
    assert (keys_of(scene, scene.stranger), scene.phase) == ([], Phase.OPEN)


def test_after_a_void_round_the_penalty_is_topped_up(scene: Scene) -> None:
    scene.open().void()
    trainer = scene.trainers[0]
    with refused(f"WrongValue(have=0, want={PENALTY})"):
        pay_in(scene, trainer, 0)
    before = scene.books()
    done = pay_in(scene, trainer, PENALTY)
    assert scene.moved(before) == {"unburnt": PENALTY, "balance": PENALTY}
    assert [event.name for event in done.events] == ["Skipped", "Joined"]
    assert done.event("Joined").arguments == joined(trainer, PENALTY)
    own = scene.project.account(trainer)
    assert (own.stake_wei, own.skipped, own.voids_seen) == (STAKE, 1, 1)


def test_topping_up_does_not_forgive_a_skip(scene: Scene) -> None:
    scene.open().void()
    trainer = scene.trainers[0]
    scene.project.join(trainer)
    scene.void()
    scene.refresh(trainer)
    own = scene.project.account(trainer)
    assert (own.stake_wei, own.refund_wei) == (0, STAKE - PENALTY)


def test_after_removal_a_whole_stake_buys_a_fresh_start(scene: Scene) -> None:
    scene.open(voidLimit=9).void().void()
    trainer = scene.trainers[0]
    with refused(f"WrongValue(have={2 * PENALTY}, want={STAKE})"):
        pay_in(scene, trainer, 2 * PENALTY)
    before = scene.books()
    done = pay_in(scene, trainer, STAKE)
    back = STAKE - 2 * PENALTY
    assert scene.moved(before) == {"unburnt": 2 * PENALTY, "refund of trainer 1": back, "balance": STAKE}
    assert [event.name for event in done.events] == ["Skipped", "Skipped", "Joined"]
    own = scene.project.account(trainer)
    assert (own.stake_wei, own.skipped, own.voids_seen) == (STAKE, 0, 2)


def test_who_left_joins_again_with_a_whole_stake(scene: Scene) -> None:
    scene.open(voidLimit=9).void()
    trainer = scene.trainers[0]
    scene.project.leave(trainer)
    before = scene.books()
    done = pay_in(scene, trainer, STAKE)
    assert scene.moved(before) == {"stake of trainer 1": STAKE, "balance": STAKE}
    assert [event.name for event in done.events] == ["Joined"]
    own = scene.project.account(trainer)
    assert (own.stake_wei, own.skipped, own.voids_seen) == (STAKE, 0, 1)


def test_void_rounds_before_it_joined_are_not_its_own(scene: Scene) -> None:
    scene.open(voidLimit=9).void().void()
    pay_in(scene, scene.stranger, STAKE)
    assert scene.refresh(scene.stranger).events == ()
    own = scene.project.account(scene.stranger)
    assert (own.stake_wei, own.skipped, own.voids_seen) == (STAKE, 0, 2)
