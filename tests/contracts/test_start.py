"""start: the aggregator starts a round, with the key that updates are sealed to.

when the project is not OPEN
    it should refuse: WrongPhase, want OPEN
when the deadline has passed
    it should refuse: TooLate
given a new aggregator after a vacancy, or a void round (test_void_round.py)
    when the exit window has not passed
        it should refuse: TooEarly
    when it has, to the second
        it should pass
when the caller is not the aggregator
    it should refuse: WrongCaller
when the bond is not full
    it should refuse: BondNotFull, until it is topped up
when the keyring's CID is longer than 96 bytes
    it should refuse: WrongCid
when all is right
    it should count the round, log Started with key, norm bound and keyring, and move no money
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, KEY, PENALTY, WINDOW, Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain

EXIT = 1000


@pytest.fixture
def taken_over(scene: Scene) -> Scene:
    """A round failed, and the successor has just accepted."""
    scene.reach(Phase.VACANT, windows=(WINDOW,) * 8 + (EXIT,))
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    return scene


@pytest.mark.parametrize("phase", phases_but(Phase.OPEN))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
        scene.start()


def test_the_last_second_counts(scene: Scene) -> None:
    scene.open()
    scene.at(scene.deadline)
    scene.start()
    assert scene.phase == Phase.SUBMIT


def test_the_second_after_does_not(scene: Scene) -> None:
    scene.open()
    end = scene.deadline
    scene.at(end + 1)
    with refused(f"TooLate(have={end + 1}, want={end})"):
        scene.start()


def test_after_a_vacancy_trainers_have_the_exit_window_to_leave(taken_over: Scene) -> None:
    first = taken_over.chain.now + EXIT
    assert taken_over.deadline == first + WINDOW
    taken_over.project.leave(taken_over.trainers[0])
    taken_over.at(first - 1)
    with refused(f"TooEarly(have={first - 1}, want={first})"):
        taken_over.project.start(taken_over.successor, KEY)


def test_the_successor_starts_from_the_first_second_after_it(taken_over: Scene) -> None:
    taken_over.at(taken_over.chain.now + EXIT)
    done = taken_over.project.start(taken_over.successor, KEY)
    assert done.event("Started").arguments["round"] == 2  # no receipt or digest of the failed round fits
    assert taken_over.phase == Phase.SUBMIT


def test_the_first_aggregator_need_not_wait(scene: Scene) -> None:
    scene.create()
    scene.project.accept(scene.aggregator)
    scene.at(scene.chain.now + 1)
    scene.start()
    assert scene.phase == Phase.SUBMIT


@pytest.mark.parametrize("who", ["owner", "stranger", "successor"])
def test_only_the_aggregator_starts(scene: Scene, who: str) -> None:
    scene.open()
    caller = getattr(scene, who)
    with refused(f"WrongCaller(have={caller}, want={scene.aggregator})"):
        scene.project.start(caller, KEY)


def test_the_aggregator_that_lost_its_office_does_not_start(taken_over: Scene) -> None:
    taken_over.at(taken_over.chain.now + EXIT)
    with refused(f"WrongCaller(have={taken_over.aggregator}, want={taken_over.successor})"):
        taken_over.start()


def test_the_bond_must_be_full(scene: Scene) -> None:
    scene.open().to_admit()
    scene.admit_all(scene.trainers[:4])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    bond = 3 * ETHER
    with refused(f"BondNotFull(have={bond - PENALTY}, want={bond})"):
        scene.start()
    scene.project.top_up(scene.aggregator)
    scene.start()
    assert scene.phase == Phase.SUBMIT


@pytest.mark.parametrize("length", [0, 1, 96])
def test_the_keyring_is_logged_as_it_is(scene: Scene, length: int) -> None:
    scene.open()
    keyring = bytes(range(1, length + 1))
    done = scene.project.start(scene.aggregator, KEY, keyring)
    assert done.event("Started").arguments["keyring"] == keyring
    assert done.event("Started").arguments["encryptionKey"] == KEY


def test_a_longer_keyring_is_refused(scene: Scene) -> None:
    scene.open()
    with refused("WrongCid(have=97, most=96)"):
        scene.project.start(scene.aggregator, KEY, bytes(97))
    assert (scene.phase, scene.project.state().round) == (Phase.OPEN, 0)


def test_a_round_starts(scene: Scene) -> None:
    scene.open(windows=(WINDOW, WINDOW, 321, *(WINDOW,) * 6))
    before = scene.books()
    done = scene.start()
    assert scene.moved(before) == {}
    end = scene.chain.now + 321
    said = {"round": 1, "encryptionKey": KEY, "beta": scene.values["beta"], "deadline": end, "keyring": b""}
    assert [event.name for event in done.events] == ["Started"]
    assert done.event("Started").arguments == said
    state = scene.project.state()
    assert (state.phase, state.round, state.deadline, state.settled) == (Phase.SUBMIT, 1, end, 0)
    assert scene.project.seats() == []
