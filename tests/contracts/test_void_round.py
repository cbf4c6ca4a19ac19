"""voidRound: too few submissions, decided by them alone.

when the phase is not SUBMIT, so also once enough have submitted
    it should refuse: WrongPhase, want SUBMIT
when the deadline has not passed
    it should refuse: TooEarly
when it has, whoever calls
    it should count one void more, log Voided, and open again; no money moves yet
    given that the exit window has not passed since
        it should let members leave, and refuse the start: TooEarly
    given members without a submission: their accounts should owe the penalty
    given the next start: it should have a round number and seats of its own
    given an announced end: it should end
    given that it was the last void allowed
        it should end: pool to the owner, bond to the aggregator, and skippers withdraw their stakes less the penalty
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, PENALTY, WINDOW, Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain

EXIT = 1000
WINDOWS = (WINDOW,) * 8 + (EXIT,)
STAKE, BOND, POOL = ETHER, 3 * ETHER, 3 * (ETHER + ETHER // 5)
EVERYTHING = {"pool": -POOL, "credit of owner": POOL, "bond": -BOND, "refund of aggregator": BOND}


@pytest.mark.parametrize("phase", phases_but(Phase.SUBMIT))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=SUBMIT)"):
        scene.project.void_round(scene.owner)


@pytest.mark.parametrize("submissions", [0, 2, 3])
def test_trainers_have_their_last_second(scene: Scene, submissions: int) -> None:
    scene.open()
    scene.start()
    scene.submit_all(scene.trainers[:submissions])
    end = scene.deadline
    scene.at(end)
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.project.void_round(scene.owner)


def test_a_round_with_just_enough_is_not_void(scene: Scene) -> None:
    scene.open()
    scene.start()
    scene.submit_all(scene.trainers[:3])
    scene.at(scene.deadline + 1)
    with refused("WrongPhase(have=ADMIT, want=SUBMIT)"):
        scene.project.void_round(scene.owner)


@pytest.mark.parametrize("submissions", [0, 1, 2])
def test_anyone_opens_again_what_too_few_submitted_to(scene: Scene, submissions: int) -> None:
    scene.open(windows=WINDOWS)
    scene.start()
    scene.submit_all(scene.trainers[:submissions])
    before = scene.books()
    scene.at(scene.deadline + 1)
    done = scene.project.void_round(scene.stranger)
    end = scene.chain.now + EXIT + WINDOW
    assert scene.moved(before) == {}
    assert [event.name for event in done.events] == ["Voided", "Opened"]
    assert done.event("Voided").arguments == {"round": 1, "submissions": submissions}
    assert done.event("Opened").arguments == {"settled": 0, "voids": 1, "deadline": end}
    state = scene.project.state()
    assert (state.phase, state.voids, state.round, state.deadline) == (Phase.OPEN, 1, 1, end)
    assert state.aggregator == str(scene.aggregator)


def test_who_submitted_pays_nothing_and_the_others_the_penalty(scene: Scene) -> None:
    scene.open()
    before = scene.books()
    scene.void(scene.trainers[:2])
    for trainer in scene.trainers:
        scene.refresh(trainer)
    moved = {f"stake of trainer {number}": -PENALTY for number in (3, 4, 5)}
    assert scene.moved(before) == moved | {"unburnt": 3 * PENALTY}


def test_who_joined_in_the_last_second_and_skipped_pays_too(scene: Scene) -> None:
    scene.open()
    scene.start()
    scene.at(scene.deadline)
    scene.project.join(scene.stranger)
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.refresh(scene.stranger)
    assert scene.project.account(scene.stranger).stake_wei == STAKE - PENALTY


def test_the_next_start_has_a_number_and_seats_of_its_own(scene: Scene) -> None:
    scene.open().void(scene.trainers[:2])
    scene.pass_exit()
    assert scene.start().event("Started").arguments["round"] == 2
    assert scene.project.seats() == []
    scene.submit(scene.trainers[0])
    assert [seat.trainer for seat in scene.project.seats()] == [str(scene.trainers[0])]
    assert [len(scene.project.submissions(number)) for number in (1, 2)] == [2, 1]


def test_attack_nobody_is_held_by_void_rounds_back_to_back(scene: Scene) -> None:
    """Attack: void and start in one block. Who did not submit would pay again, and could not leave."""
    scene.open(windows=WINDOWS)
    scene.start()
    scene.pass_deadline()
    scene.project.void_round(scene.aggregator)
    voided = scene.chain.now
    with refused(f"TooEarly(have={voided + EXIT - 1}, want={voided + EXIT})"):
        scene.at(voided + EXIT - 1).start()
    for trainer in scene.trainers:
        assert scene.project.leave(trainer).event("Left").arguments["refundWei"] == STAKE - PENALTY
    scene.project.join(scene.trainers[0])  # one may come back, too


@pytest.mark.parametrize("second", [0, WINDOW])
def test_after_the_exit_window_the_next_round_has_the_whole_window_to_start(scene: Scene, second: int) -> None:
    scene.open(windows=WINDOWS)
    scene.start()
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.at(scene.chain.now + EXIT + second)
    assert scene.start().event("Started").arguments["round"] == 2


def test_not_started_after_a_void_round_is_skipped_no_earlier(scene: Scene) -> None:
    scene.open(windows=WINDOWS, voidLimit=4).void()
    end = scene.chain.now + EXIT + WINDOW
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.skip(scene.stranger)
    scene.at(end + 1).project.skip(scene.stranger)
    assert scene.deadline == end + 1 + WINDOW  # who would leave had the time
    scene.start()


def test_the_void_limit_ends_the_project(scene: Scene) -> None:
    scene.open(voidLimit=2).void()
    scene.pass_exit()
    scene.start()
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.void_round(scene.stranger)
    assert scene.moved(before) == EVERYTHING
    assert [event.name for event in done.events] == ["Voided", "Ended"]
    assert done.event("Ended").arguments == {"settled": 0, "unspent": POOL}
    assert scene.phase == Phase.ENDED


def test_after_the_end_skippers_withdraw_the_stake_less_the_penalty(scene: Scene) -> None:
    scene.open(voidLimit=1).void(scene.trainers[:1])
    for trainer, left in zip(scene.trainers, [STAKE] + 4 * [STAKE - PENALTY], strict=True):
        before = scene.balance(trainer)
        scene.project.withdraw(trainer)
        assert scene.balance(trainer) == before + left
    scene.project.withdraw(scene.owner)
    scene.project.withdraw(scene.aggregator)
    assert scene.balance(scene.project.address) == 4 * PENALTY
    scene.project.burn(scene.stranger)
    assert scene.balance(scene.project.address) == 0


def test_an_announced_end_acts(scene: Scene) -> None:
    scene.open()
    scene.start()
    scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.void_round(scene.stranger)
    assert scene.moved(before) == EVERYTHING
    assert [event.name for event in done.events] == ["Voided", "Ended"]
    assert scene.phase == Phase.ENDED
