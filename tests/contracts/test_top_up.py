"""topUp: the aggregator fills its bond up after a burn.

when the project is CREATED, VACANT or ENDED
    it should refuse: WrongPhase, want OPEN
when the caller is not the aggregator
    it should refuse: WrongCaller
when the value is not what is missing
    it should refuse: WrongValue
when it is
    it should fill the bond up and log Accepted with the whole bond
    given that nothing is missing: it should take nothing, in any phase from OPEN to SETTLED
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, PENALTY, Scene, phases_but, refused
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain

BOND = 3 * ETHER
NO_OFFICE = (Phase.CREATED, Phase.VACANT, Phase.ENDED)


@pytest.fixture
def burnt(scene: Scene) -> Scene:
    """PROVE, and two submissions were refused: the bond lacks two penalties."""
    scene.open().to_admit()
    scene.admit_all(scene.trainers[:3])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    return scene


@pytest.mark.parametrize("phase", NO_OFFICE, ids=[phase.name for phase in NO_OFFICE])
def test_there_is_no_bond_to_fill_up(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
        scene.project.top_up(scene.aggregator)


@pytest.mark.parametrize("phase", phases_but(*NO_OFFICE))
def test_a_full_bond_takes_nothing(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    before = scene.books()
    done = scene.project.top_up(scene.aggregator)
    assert scene.moved(before) == {}
    assert done.event("ToppedUp").arguments == {"aggregator": str(scene.aggregator), "bondWei": BOND}
    with refused("WrongValue(have=1, want=0)"):
        scene.project._send("top up", "topUp", sender=scene.aggregator, value=1)


@pytest.mark.parametrize("who", ["owner", "stranger"])
def test_only_the_aggregator_tops_up(burnt: Scene, who: str) -> None:
    caller = getattr(burnt, who)
    with refused(f"WrongCaller(have={caller}, want={burnt.aggregator})"):
        burnt.project.top_up(caller)


@pytest.mark.parametrize("value", [0, 2 * PENALTY - 1, 2 * PENALTY + 1, BOND])
def test_what_is_missing_is_paid_exactly(burnt: Scene, value: int) -> None:
    with refused(f"WrongValue(have={value}, want={2 * PENALTY})"):
        burnt.project._send("top up", "topUp", sender=burnt.aggregator, value=value)


def test_the_bond_is_full_again(burnt: Scene) -> None:
    before = burnt.books()
    done = burnt.project.top_up(burnt.aggregator)
    assert burnt.moved(before) == {"bond": 2 * PENALTY, "balance": 2 * PENALTY}
    assert [event.name for event in done.events] == ["ToppedUp"]
    assert done.event("ToppedUp").arguments == {"aggregator": str(burnt.aggregator), "bondWei": BOND}
    assert burnt.phase == Phase.PROVE
