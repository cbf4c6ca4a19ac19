"""cancel: nobody accepted in time, the pool goes back to the owner.

when the project is not CREATED
    it should refuse: WrongPhase, want CREATED
when the deadline has not passed
    it should refuse: TooEarly
when it has, whoever calls
    it should end the project, credit the pool to the owner, log Ended
    and nobody accepts any more
"""

from __future__ import annotations

import pytest

from tests.contracts.world import Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain


@pytest.mark.parametrize("phase", phases_but(Phase.CREATED))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=CREATED)"):
        scene.project.cancel(scene.owner)


def test_the_aggregator_has_its_last_second(scene: Scene) -> None:
    scene.create()
    end = scene.deadline
    scene.at(end)
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.project.cancel(scene.owner)


@pytest.mark.parametrize("who", ["owner", "aggregator", "stranger"])
def test_anyone_gives_the_pool_back_to_the_owner(scene: Scene, who: str) -> None:
    scene.create()
    pool = scene.project.state().pool
    before = scene.books()
    scene.at(scene.deadline + 1)
    done = scene.project.cancel(getattr(scene, who))
    assert scene.moved(before) == {"pool": -pool, "credit of owner": pool}
    assert [event.name for event in done.events] == ["Ended"]
    assert done.event("Ended").arguments == {"settled": 0, "unspent": pool}
    assert scene.phase == Phase.ENDED


def test_the_owner_withdraws_the_pool_and_nobody_accepts(scene: Scene) -> None:
    wealth = scene.balance(scene.owner)
    scene.create()
    scene.pass_deadline()
    scene.project.cancel(scene.stranger)
    with refused("WrongPhase(have=ENDED, want=VACANT)"):
        scene.project.accept(scene.aggregator)
    scene.project.withdraw(scene.owner)
    assert (scene.balance(scene.owner), scene.balance(scene.project.address)) == (wealth, 0)
