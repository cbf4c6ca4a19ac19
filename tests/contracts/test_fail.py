"""The aggregator does not settle.

fail()
├── when the phase is not PROVE
│   └── it should revert with WrongPhase
├── when now <= t3
│   └── it should revert with TooEarly
└── otherwise
    ├── it should share the bond among the admitted, equally, and burn what does not divide
    ├── it should give nothing to refused trainers, and what refusals left to the admitted
    ├── it should put R + F back into the pool
    ├── it should log Failed, Vacated, count a void, be VACANT until now + vacancy, without an aggregator
    ├── it should have the round repeated under a new number by the next aggregator
    └── given that it is one void too many, it should end the project and give the pool to the owner
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, PENALTY, WINDOW, Scene, refused
from zkmarket.chain import NOBODY, Chain, Phase

pytestmark = pytest.mark.chain

OWED = ETHER + ETHER // 5


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five are admitted and locked."""
    return Scene.deploy(node).reach(Phase.PROVE)


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.PROVE:
            with refused(f"WrongPhase(have={phase.name}, want=PROVE)"):
                scene.project.fail(scene.stranger)


def test_not_before_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.fail(scene.trainers[0])
    done = scene.at(end + 1).project.fail(scene.stranger)
    state = scene.project.state()
    assert scene.chain.now == end + 1
    assert (state.phase, state.deadline, state.aggregator) == (Phase.VACANT, end + 1 + WINDOW, NOBODY)
    assert (state.round, state.settled, state.voids) == (1, 0, 1)
    assert done.event("Vacated").arguments == {"deadline": end + 1 + WINDOW}


@pytest.mark.parametrize("bond", [3 * ETHER, 3 * ETHER + 1, 3 * ETHER + 4])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_bond_goes_to_the_admitted_to_the_wei(scene: Scene, n: int, bond: int) -> None:
    """Attack: take the updates and vanish. It costs the whole bond, and the trainers have it."""
    scene.open(bondWei=bond).to_prove(scene.trainers[:n])
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.fail(scene.stranger)
    share, rest = divmod(bond, n)
    expected = {f"refund of trainer {slot}": share for slot in range(1, n + 1)}
    expected |= {"bond": -bond, "pool": OWED} | ({"unburnt": rest} if rest else {})
    assert scene.moved(before) == expected
    assert scene.holdings() == scene.balance(scene.project.address)
    assert done.event("Failed").arguments == {"round": 1, "bondShareWei": share}


def test_refused_trainers_get_nothing_and_the_admitted_what_is_left(scene: Scene) -> None:
    scene.open().to_admit()
    scene.admit_all(scene.trainers[2:])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    scene.pass_deadline()
    before = scene.books()
    scene.project.fail(scene.stranger)
    share, rest = divmod(3 * ETHER - 2 * PENALTY, 3)
    expected = {f"refund of trainer {slot}": share for slot in (3, 4, 5)}
    assert scene.moved(before) == expected | {"bond": -3 * ETHER + 2 * PENALTY, "unburnt": rest, "pool": OWED}


def test_the_round_is_repeated_under_a_new_number_and_paid(scene: Scene) -> None:
    """Attack: withhold the settlement to spare the owner the reward. The repeated round pays it."""
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.aggregator = scene.successor
    scene.chain.pass_time(WINDOW)
    scene.to_settled()
    state = scene.project.state()
    assert (state.round, state.settled, state.pool) == (2, 1, 2 * OWED)
    credits = [scene.project.account(trainer).credit for trainer in scene.trainers]
    assert credits == scene.pays([1, 2, 3, 4, 5])[0]


def test_trainers_withdraw_their_shares_at_once_and_may_leave(scene: Scene) -> None:
    trainer = scene.trainers[0]
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.leave(trainer)
    before = scene.balance(trainer)
    scene.project.withdraw(trainer)
    assert scene.balance(trainer) == before + 3 * ETHER // 5 + ETHER


def test_one_void_too_many_ends_the_project(scene: Scene) -> None:
    scene.open(voidLimit=1).to_prove()
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.fail(scene.stranger)
    expected = {f"refund of trainer {slot}": 3 * ETHER // 5 for slot in range(1, 6)}
    assert scene.moved(before) == expected | {"bond": -3 * ETHER, "pool": -2 * OWED, "credit of owner": 3 * OWED}
    assert scene.phase == Phase.ENDED
    assert done.event("Ended").arguments == {"settled": 0, "unspent": 3 * OWED}
