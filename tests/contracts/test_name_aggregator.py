"""A vacant office.

nameAggregator(candidate)
├── when the phase is not VACANT
│   └── it should revert with WrongPhase
├── when now > tV
│   └── it should revert with TooLate
├── when the caller is not the owner
│   └── it should revert with WrongCaller
└── otherwise, until tV
    ├── it should let the candidate accept, and nobody named before
    ├── it should log Named, move no money and not prolong the vacancy
    └── what a puppet gains: trainers may leave before it may start
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, WINDOW, Scene, refused
from zkmarket.chain import NOBODY, Chain, Phase

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A round was locked and not settled."""
    return Scene.deploy(node).reach(Phase.VACANT)


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.VACANT:
            with refused(f"WrongPhase(have={phase.name}, want=VACANT)"):
                scene.project.name_aggregator(scene.owner, scene.successor)


def test_until_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    scene.at(end).project.name_aggregator(scene.owner, scene.successor)
    assert scene.chain.now == end
    with refused(f"TooLate(have={end + 1}, want={end})"):
        scene.at(end + 1).project.name_aggregator(scene.owner, scene.stranger)


@pytest.mark.parametrize("who", ["stranger", "aggregator", "successor", "trainer"])
def test_the_owner_alone(scene: Scene, who: str) -> None:
    sender = scene.trainers[0] if who == "trainer" else getattr(scene, who)
    with refused(f"WrongCaller(have={sender}, want={scene.owner})"):
        scene.project.name_aggregator(sender, scene.successor)


def test_names_and_moves_nothing(scene: Scene) -> None:
    before, state = scene.books(), scene.project.state()
    assert state.aggregator == NOBODY
    done = scene.project.name_aggregator(scene.owner, scene.successor)
    assert done.event("Named").arguments == {"aggregator": str(scene.successor)}
    after = scene.project.state()
    assert after.aggregator == str(scene.successor)
    assert (after.phase, after.deadline) == (Phase.VACANT, state.deadline)
    assert scene.moved(before) == {}


def test_the_last_one_named_may_accept_and_nobody_else(scene: Scene) -> None:
    scene.project.name_aggregator(scene.owner, scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.successor)
    with refused(f"WrongCaller(have={scene.stranger}, want={scene.successor})"):
        scene.project.accept(scene.stranger)
    scene.project.accept(scene.successor)
    assert scene.phase == Phase.OPEN


def test_the_one_that_failed_may_be_named_again_and_pays_a_new_bond(scene: Scene) -> None:
    scene.project.name_aggregator(scene.owner, scene.aggregator)
    before = scene.books()
    scene.project.accept(scene.aggregator)
    assert scene.moved(before) == {"bond": 3 * ETHER, "balance": 3 * ETHER}


def test_nobody_can_be_named_and_then_nobody_accepts(scene: Scene) -> None:
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.name_aggregator(scene.owner, NOBODY)
    with refused(f"WrongCaller(have={scene.successor}, want={NOBODY})"):
        scene.project.accept(scene.successor)


def test_trainers_leave_before_a_puppet_may_start(scene: Scene) -> None:
    """Attack: let a round fail, and have a puppet read the updates of the repeated one."""
    scene.project.name_aggregator(scene.owner, scene.successor)
    done = scene.project.accept(scene.successor)
    first = done.event("Opened").arguments["deadline"] - WINDOW
    assert first == scene.chain.now + WINDOW  # the exit window
    with refused(f"TooEarly(have={first - 1}, want={first})"):
        scene.at(first - 1).project.start(scene.successor, bytes(32))
    left = [scene.project.leave(trainer).event("Left").arguments["refundWei"] for trainer in scene.trainers[:4]]
    assert left == [ETHER] * 4
    scene.at(first + 60).project.start(scene.successor, bytes(32))
    with refused(f"NotAMember(have={scene.trainers[0]})"):
        scene.submit(scene.trainers[0])
