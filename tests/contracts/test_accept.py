"""accept: the named aggregator takes its office and pays its bond.

when the project is neither CREATED nor VACANT
    it should refuse: WrongPhase, want VACANT
given CREATED or VACANT
    when the deadline has passed
        it should refuse: TooLate
    when the caller is not the named aggregator, or nobody is named
        it should refuse: WrongCaller
    when the value is not the bond
        it should refuse: WrongValue
    when it is the last second
        it should pass
    when all is right
        it should keep the bond, log Accepted, and open the round
        given VACANT: the same round again, by the exit window later
        given an announced end: it should end instead, and give everything back
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, KEY, WINDOW, Scene, phases_but, refused
from zkmarket.chain import NOBODY, Phase

pytestmark = pytest.mark.chain

BOND = 3 * ETHER


@pytest.fixture(params=[Phase.CREATED, Phase.VACANT], ids=["created", "vacant"])
def offered(scene: Scene, request: pytest.FixtureRequest) -> Scene:
    """The office is offered to the successor, at first or after a failure."""
    if request.param == Phase.CREATED:
        scene.create(aggregator=str(scene.successor))
    else:
        scene.reach(Phase.VACANT)
        scene.project.name_aggregator(scene.owner, scene.successor)
    return scene


@pytest.mark.parametrize("phase", phases_but(Phase.CREATED, Phase.VACANT))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=VACANT)"):
        scene.project.accept(scene.aggregator)


def test_the_last_second_counts(offered: Scene) -> None:
    offered.at(offered.deadline)
    offered.project.accept(offered.successor)
    assert offered.phase == Phase.OPEN


def test_the_second_after_does_not(offered: Scene) -> None:
    end = offered.deadline
    offered.at(end + 1)
    with refused(f"TooLate(have={end + 1}, want={end})"):
        offered.project.accept(offered.successor)


@pytest.mark.parametrize("who", ["owner", "aggregator", "stranger"])
def test_only_the_named_aggregator_accepts(offered: Scene, who: str) -> None:
    caller = getattr(offered, who)
    with refused(f"WrongCaller(have={caller}, want={offered.successor})"):
        offered.project.accept(caller)


def test_a_vacant_office_is_nobodys_until_somebody_is_named(scene: Scene) -> None:
    scene.reach(Phase.VACANT)
    with refused(f"WrongCaller(have={scene.aggregator}, want={NOBODY})"):
        scene.project.accept(scene.aggregator)


@pytest.mark.parametrize("value", [0, BOND - 1, BOND + 1])
def test_the_bond_is_paid_exactly(offered: Scene, value: int) -> None:
    with refused(f"WrongValue(have={value}, want={BOND})"):
        offered.project._send("accept", "accept", KEY, sender=offered.successor, value=value)


def test_the_first_aggregator_opens_the_project(scene: Scene) -> None:
    scene.create()
    before = scene.books()
    done = scene.project.accept(scene.aggregator, KEY)
    assert scene.moved(before) == {"bond": BOND, "balance": BOND}
    end = scene.chain.now + WINDOW
    said = {"aggregator": str(scene.aggregator), "bondWei": BOND, "encryptionKey": KEY}
    assert done.event("Accepted").arguments == said
    assert done.event("Opened").arguments == {"settled": 0, "voids": 0, "deadline": end}
    state = scene.project.state()
    assert (state.phase, state.deadline, state.round) == (Phase.OPEN, end, 0)
    assert state.aggregator == str(scene.aggregator)


def test_a_new_aggregator_opens_the_round_again_after_the_exit_window(scene: Scene) -> None:
    scene.reach(Phase.VACANT, windows=(WINDOW,) * 8 + (1000,))
    scene.project.name_aggregator(scene.owner, scene.successor)
    before = scene.books()
    done = scene.project.accept(scene.successor, KEY)
    assert scene.moved(before) == {"bond": BOND, "balance": BOND}
    end = scene.chain.now + 1000 + WINDOW
    said = {"aggregator": str(scene.successor), "bondWei": BOND, "encryptionKey": KEY}
    assert done.event("Accepted").arguments == said
    assert done.event("Opened").arguments == {"settled": 0, "voids": 1, "deadline": end}
    state = scene.project.state()
    assert (state.phase, state.deadline, state.settled) == (Phase.OPEN, end, 0)
    assert state.aggregator == str(scene.successor)


def test_an_announced_end_comes_before_a_new_round(scene: Scene) -> None:
    """The end was announced while a round was open, and the round failed."""
    scene.open()
    scene.start()
    scene.project.announce_end(scene.owner)
    scene.submit_all()
    scene.pass_deadline()
    scene.admit_all()
    scene.project.lock(scene.stranger)
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.successor)
    pool = scene.project.state().pool
    before = scene.books()
    done = scene.project.accept(scene.successor, KEY)
    assert scene.moved(before) == {
        "balance": BOND,
        "refund of successor": BOND,
        "pool": -pool,
        "credit of owner": pool,
    }
    assert done.event("Ended").arguments == {"settled": 0, "unspent": pool}
    assert scene.phase == Phase.ENDED
    with refused("WrongPhase(have=ENDED, want=OPEN)"):
        scene.project.start(scene.successor, KEY)
