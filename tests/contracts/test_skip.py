"""skip: the aggregator did not start a round in time.

when the project is not OPEN
    it should refuse: WrongPhase, want OPEN
when the deadline has not passed
    it should refuse: TooEarly
when it has, whoever calls
    it should count one void more, log NotStarted, and open again with a new deadline; nobody pays
    given an announced end: it should end
    given that it was the last void allowed: it should end, pool to the owner, bond to the aggregator
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, WINDOW, Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain

BOND, POOL = 3 * ETHER, 3 * (ETHER + ETHER // 5)
EVERYTHING = {"pool": -POOL, "credit of owner": POOL, "bond": -BOND, "refund of aggregator": BOND}


@pytest.mark.parametrize("phase", phases_but(Phase.OPEN))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
        scene.project.skip(scene.owner)


def test_the_aggregator_has_its_last_second(scene: Scene) -> None:
    scene.open()
    end = scene.deadline
    scene.at(end)
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.project.skip(scene.owner)


def test_anyone_skips_and_nobody_pays(scene: Scene) -> None:
    scene.open()
    before = scene.books()
    scene.at(scene.deadline + 1)
    done = scene.project.skip(scene.stranger)
    end = scene.chain.now + WINDOW
    assert scene.moved(before) == {}
    assert [event.name for event in done.events] == ["NotStarted", "Opened"]
    assert done.event("NotStarted").arguments == {"voids": 1}
    assert done.event("Opened").arguments == {"settled": 0, "voids": 1, "deadline": end}
    state = scene.project.state()
    assert (state.phase, state.voids, state.round, state.deadline) == (Phase.OPEN, 1, 0, end)
    for trainer in scene.trainers:
        assert [event.name for event in scene.project.leave(trainer).events] == ["Left"]


def test_the_void_limit_ends_the_project(scene: Scene) -> None:
    scene.open(voidLimit=2)
    scene.pass_deadline()
    scene.project.skip(scene.stranger)
    assert scene.phase == Phase.OPEN
    before = scene.books()
    scene.pass_deadline()
    done = scene.project.skip(scene.stranger)
    assert scene.moved(before) == EVERYTHING
    assert [event.name for event in done.events] == ["NotStarted", "Ended"]
    assert done.event("NotStarted").arguments == {"voids": 2}
    assert done.event("Ended").arguments == {"settled": 0, "unspent": POOL}
    assert scene.phase == Phase.ENDED


def test_an_announced_end_acts(scene: Scene) -> None:
    scene.open()
    scene.project.announce_end(scene.owner)
    before = scene.books()
    scene.pass_deadline()
    done = scene.project.skip(scene.stranger)
    assert scene.moved(before) == EVERYTHING
    assert [event.name for event in done.events] == ["NotStarted", "Ended"]
    assert scene.phase == Phase.ENDED
