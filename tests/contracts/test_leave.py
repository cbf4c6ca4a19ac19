"""leaveProject: stop being a trainer. refresh: bring an account up to date.

leaveProject
    when the caller is not a member
        it should refuse: NotAMember
    given SUBMIT, also past its deadline while the round may yet be void, also before it where all seats are taken
        it should refuse: LiveSubmission, whether the caller has submitted or not
    given ADMIT or PROVE
        when the caller's submission is undecided or admitted
            it should refuse: LiveSubmission
        when the caller has not submitted, or its submission was refused
            it should pass
    given any other phase
        it should pass
    when it passes
        it should turn what is left of the stake into a refund, log Left, and forget the member
        given void rounds that the caller skipped: it should burn their penalties first

refresh
    given no void round since, or not a member
        it should do nothing
    given one void round
        when the trainer submitted in it
            it should do nothing
        when it did not
            it should burn the penalty and log Skipped
    given two that it skipped
        it should burn twice, and remove the trainer: the rest is its refund
    given a third: it should cost nothing more
    given a stake below two penalties
        it should burn what there is
    when it is called again
        it should do nothing
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, PENALTY, Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain

STAKE = ETHER
UNDECIDED = (Phase.SUBMIT, Phase.ADMIT, Phase.PROVE)
LEFT = {"stake of trainer 1": -STAKE, "refund of trainer 1": STAKE}


# ---------------------------------------------------------------- leaveProject


@pytest.mark.parametrize("phase", list(Phase), ids=[phase.name for phase in Phase])
def test_a_stranger_has_nothing_to_leave(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"NotAMember(have={scene.stranger})"):
        scene.project.leave(scene.stranger)


def test_nobody_leaves_twice(scene: Scene) -> None:
    scene.open()
    trainer = scene.trainers[0]
    scene.project.leave(trainer)
    with refused(f"NotAMember(have={trainer})"):
        scene.project.leave(trainer)


@pytest.mark.parametrize("phase", phases_but(Phase.CREATED, *UNDECIDED))
def test_a_member_leaves_with_its_whole_stake(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    before = scene.books()
    done = scene.project.leave(scene.trainers[0])
    assert scene.moved(before) == LEFT
    assert [event.name for event in done.events] == ["Left"]
    assert done.event("Left").arguments == {"trainer": str(scene.trainers[0]), "refundWei": STAKE}
    assert scene.phase == phase


@pytest.mark.parametrize("phase", UNDECIDED, ids=[phase.name for phase in UNDECIDED])
def test_an_undecided_submission_keeps_its_trainer(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    if phase == Phase.SUBMIT:
        scene.submit(scene.trainers[0])
    with refused(f"LiveSubmission(trainer={scene.trainers[0]}, round=1)"):
        scene.project.leave(scene.trainers[0])


@pytest.mark.parametrize("phase", [Phase.ADMIT, Phase.PROVE], ids=["ADMIT", "PROVE"])
def test_who_did_not_submit_leaves_once_the_round_is_not_void(scene: Scene, phase: Phase) -> None:
    others = scene.trainers[1:]
    scene.open()
    scene.to_admit(others) if phase == Phase.ADMIT else scene.to_prove(others)
    before = scene.books()
    scene.project.leave(scene.trainers[0])
    assert scene.moved(before) == LEFT
    assert scene.phase == phase


def test_who_was_refused_leaves_with_the_rest(scene: Scene) -> None:
    scene.open().to_admit()
    scene.admit_all(scene.trainers[1:])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    before = scene.books()
    scene.project.leave(scene.trainers[0])
    rest = STAKE - PENALTY
    assert scene.moved(before) == {"stake of trainer 1": -rest, "refund of trainer 1": rest}


def test_the_last_second_of_submission_still_holds(scene: Scene) -> None:
    """Enough have submitted, but another might have: the phase is SUBMIT until the second after."""
    scene.open()
    scene.start()
    scene.submit_all(scene.trainers[1:])
    end = scene.deadline
    scene.at(end)
    with refused(f"LiveSubmission(trainer={scene.trainers[0]}, round=1)"):
        scene.project.leave(scene.trainers[0])
    scene.at(end + 1)
    scene.project.leave(scene.trainers[0])


def test_the_last_seat_lets_nobody_leave_early(scene: Scene) -> None:
    scene.open(maxTrainers=4)
    scene.start()
    end = scene.deadline
    scene.submit_all(scene.trainers[1:])
    assert scene.phase == Phase.ADMIT
    for trainer in scene.trainers[:2]:
        with refused(f"LiveSubmission(trainer={trainer}, round=1)"), scene.chain.rolled_back():
            scene.at(end).project.leave(trainer)
    scene.at(end + 1).project.leave(scene.trainers[0])


def test_attack_leaving_does_not_dodge_the_penalty_of_a_void_round(scene: Scene) -> None:
    """Neither before the deadline, nor between the deadline and its being declared void, nor after."""
    scene.open()
    trainer = scene.trainers[0]
    scene.start()
    scene.submit_all(scene.trainers[1:3])
    with refused(f"LiveSubmission(trainer={trainer}, round=1)"):
        scene.project.leave(trainer)
    scene.pass_deadline()
    with refused(f"LiveSubmission(trainer={trainer}, round=1)"):
        scene.project.leave(trainer)
    scene.project.void_round(scene.stranger)
    before = scene.books()
    done = scene.project.leave(trainer)
    rest = STAKE - PENALTY
    assert scene.moved(before) == {"stake of trainer 1": -STAKE, "refund of trainer 1": rest, "unburnt": PENALTY}
    assert [event.name for event in done.events] == ["Skipped", "Left"]
    assert done.event("Left").arguments == {"trainer": str(trainer), "refundWei": rest}


def test_who_submitted_in_a_void_round_leaves_for_nothing(scene: Scene) -> None:
    scene.open()
    scene.void(scene.trainers[:2])
    before = scene.books()
    scene.project.leave(scene.trainers[0])
    assert scene.moved(before) == LEFT


def test_leaving_after_two_skipped_rounds_pays_for_both(scene: Scene) -> None:
    scene.open().void().void()
    before = scene.books()
    done = scene.project.leave(scene.trainers[0])
    rest = STAKE - 2 * PENALTY
    moved = {"stake of trainer 1": -STAKE, "refund of trainer 1": rest, "unburnt": 2 * PENALTY}
    assert scene.moved(before) == moved
    assert [event.name for event in done.events] == ["Skipped", "Skipped", "Left"]
    assert done.event("Left").arguments == {"trainer": str(scene.trainers[0]), "refundWei": rest}


def test_the_refund_is_withdrawn_once(scene: Scene) -> None:
    trainer = scene.trainers[0]
    wealth = scene.balance(trainer)
    scene.open()
    scene.project.leave(trainer)
    scene.project.withdraw(trainer)
    assert scene.balance(trainer) == wealth
    with refused(f"NothingToWithdraw(who={trainer})"):
        scene.project.withdraw(trainer)


# ---------------------------------------------------------------- refresh


@pytest.mark.parametrize("who", ["stranger", "member"])
def test_there_is_nothing_to_account_for(scene: Scene, who: str) -> None:
    scene.open()
    if who == "stranger":
        scene.void()
    before = scene.books()
    assert scene.refresh(scene.stranger if who == "stranger" else scene.trainers[0]).events == ()
    assert scene.moved(before) == {}


def test_anyone_takes_the_penalty_of_a_void_round_once(scene: Scene) -> None:
    scene.open().void()
    trainer = scene.trainers[0]
    before = scene.books()
    done = scene.refresh(trainer)
    assert scene.moved(before) == {"stake of trainer 1": -PENALTY, "unburnt": PENALTY}
    said = {"trainer": str(trainer), "round": 1, "burntWei": PENALTY, "removed": False}
    assert [event.arguments for event in done.events] == [said]
    assert scene.refresh(trainer).events == ()
    own = scene.project.account(trainer)
    assert (own.skipped, own.voids_seen, own.stake_wei) == (1, 1, STAKE - PENALTY)


def test_who_submitted_in_the_void_round_pays_nothing(scene: Scene) -> None:
    scene.open().void(scene.trainers[:1])
    before = scene.books()
    assert scene.refresh(scene.trainers[0]).events == ()
    assert scene.moved(before) == {}
    own = scene.project.account(scene.trainers[0])
    assert (own.skipped, own.voids_seen, own.last_round) == (0, 1, 1)


@pytest.mark.parametrize("often", [False, True], ids=["at once", "one by one"])
def test_two_skipped_rounds_remove(scene: Scene, often: bool) -> None:
    scene.open()
    trainer = scene.trainers[0]
    before = scene.books()
    scene.void()
    if often:
        scene.refresh(trainer)
    scene.void()
    done = scene.refresh(trainer)
    moved = {"stake of trainer 1": -STAKE, "refund of trainer 1": STAKE - 2 * PENALTY, "unburnt": 2 * PENALTY}
    assert scene.moved(before) == moved
    said = {"trainer": str(trainer), "round": 2, "burntWei": PENALTY, "removed": True}
    assert done.events[-1].arguments == said
    assert len(done.events) == (1 if often else 2)
    scene.pass_exit()
    scene.start()
    with refused(f"NotAMember(have={trainer})"):
        scene.submit(trainer)


def test_a_submission_between_two_skipped_rounds_does_not_save(scene: Scene) -> None:
    """Void rounds 1, 2, 3: skipped, submitted (the stake topped up), skipped."""
    scene.open(voidLimit=9).void()
    trainer = scene.trainers[0]
    scene.project.join(trainer)
    scene.void([trainer])
    assert scene.refresh(trainer).events == ()
    scene.void()
    done = scene.refresh(trainer)
    said = {"trainer": str(trainer), "round": 3, "burntWei": PENALTY, "removed": True}
    assert [event.arguments for event in done.events] == [said]


def test_void_rounds_after_removal_cost_nothing(scene: Scene) -> None:
    scene.open(voidLimit=9).void().void().void()
    before = scene.books()
    done = scene.refresh(scene.trainers[0])
    assert [event.arguments["round"] for event in done.events] == [1, 2]
    moved = {"stake of trainer 1": -STAKE, "refund of trainer 1": STAKE - 2 * PENALTY, "unburnt": 2 * PENALTY}
    assert scene.moved(before) == moved


@pytest.mark.parametrize("stake", [PENALTY, 2 * PENALTY - 1, 2 * PENALTY])
def test_no_more_is_burnt_than_there_is(scene: Scene, stake: int) -> None:
    scene.open(stakeWei=stake).void().void()
    trainer = scene.trainers[0]
    before = scene.books()
    scene.refresh(trainer)
    assert scene.moved(before) == {"stake of trainer 1": -stake, "unburnt": stake}
    with refused(f"NotAMember(have={trainer})"):
        scene.project.leave(trainer)


def test_rounds_that_failed_otherwise_cost_members_nothing(scene: Scene) -> None:
    """Not started, or not settled: neither is a void round."""
    scene.open()
    scene.pass_deadline()
    scene.project.skip(scene.stranger)
    scene.to_vacant(scene.trainers[1:])
    assert scene.project.state().voids == 2
    before = scene.books()
    assert scene.refresh(scene.trainers[0]).events == ()
    assert scene.moved(before) == {}
