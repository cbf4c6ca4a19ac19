"""Closing a settled round.

next()
├── when the phase is not SETTLED
│   └── it should revert with WrongPhase
├── given no claim that holds: when now <= t4
│   └── it should revert with TooEarly
├── given a claim that holds: when now <= t5 = t4 + lock
│   └── it should revert with TooEarly
└── otherwise
    ├── it should credit F to the aggregator
    ├── it should log Closed, skipped where the aggregate is claimed unavailable or was withheld, and the model's hash
    ├── what becomes of the model: test_move_model.py
    ├── given rounds to come: it should be OPEN until now + start
    ├── given the last round: it should end the project and refund the bond
    └── given an announced end: it should end the project, refund the bond and give the rest of the pool to the owner
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, WINDOW, Scene, refused
from zkmarket.chain import Chain, Phase

pytestmark = pytest.mark.chain

FEE = ETHER // 5
BOND = 3 * ETHER


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A round of five is settled."""
    return Scene.deploy(node).reach(Phase.SETTLED)


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.SETTLED:
            with refused(f"WrongPhase(have={phase.name}, want=SETTLED)"):
                scene.project.next(scene.stranger)


def test_not_before_the_deadline_to_the_second(scene: Scene) -> None:
    end, before = scene.project.state().deadline, scene.books()
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.next(scene.aggregator)
    done = scene.at(end + 1).project.next(scene.stranger)
    state = scene.project.state()
    assert scene.chain.now == end + 1
    assert (state.phase, state.deadline, state.aggregator) == (Phase.OPEN, end + 1 + WINDOW, str(scene.aggregator))
    assert scene.moved(before) == {"credit of aggregator": FEE}
    assert scene.holdings() == scene.balance(scene.project.address)
    assert done.event("Closed").arguments == {"round": 1, "skipped": False, "theta": scene.project.outcome().theta}
    assert done.event("Opened").arguments == {"settled": 1, "voids": 0, "deadline": end + 1 + WINDOW}


@pytest.mark.parametrize("by", ["owner", "quorum"])
def test_a_claim_holds_the_fee_and_the_bond_to_the_second(scene: Scene, by: str) -> None:
    """Attack: settle, take the fee and serve no aggregate. It waits for the fee and the bond, and the round is void
    in the model."""
    lock = 7777
    scene.reach(Phase.SETTLED, windows=(*(WINDOW,) * 6, lock, WINDOW, WINDOW))
    for sender in [scene.owner] if by == "owner" else scene.trainers[:3]:
        scene.project.claim(sender)
    end, before = scene.project.state().deadline, scene.books()
    for second in (end + 1, end + lock):
        with refused(f"TooEarly(have={second}, want={end + lock + 1})"):
            scene.at(second).project.next(scene.aggregator)
    done = scene.at(end + lock + 1).project.next(scene.stranger)
    assert done.event("Closed").arguments == {"round": 1, "skipped": True, "theta": scene.values["theta"]}
    assert scene.moved(before) == {"credit of aggregator": FEE}


def test_too_few_claims_delay_nothing(scene: Scene) -> None:
    for trainer in scene.trainers[:2]:
        scene.project.claim(trainer)
    end = scene.project.state().deadline
    assert not scene.at(end + 1).project.next(scene.stranger).event("Closed").arguments["skipped"]


def test_a_claim_taken_back_delays_nothing(scene: Scene) -> None:
    end = scene.project.state().deadline
    scene.project.claim(scene.owner)
    scene.at(end + 5).project.unclaim(scene.owner)
    assert not scene.at(end + 6).project.next(scene.stranger).event("Closed").arguments["skipped"]


def test_a_withheld_aggregate_is_skipped(scene: Scene) -> None:
    scene.reach(Phase.PROVE)
    scene.settle(mask=[1, 1, 0, 0, 0], cid=b"")
    scene.pass_deadline()
    before = scene.books()
    closed = scene.project.next(scene.stranger).event("Closed").arguments
    assert closed == {"round": 1, "skipped": True, "theta": scene.values["theta"]}
    assert scene.moved(before) == {"credit of aggregator": FEE}


def test_without_a_fee(scene: Scene) -> None:
    scene.reach(Phase.SETTLED, fee=0)
    scene.pass_deadline()
    before = scene.books()
    scene.project.next(scene.stranger)
    assert scene.moved(before) == {}


def test_after_the_last_round_the_project_ends(scene: Scene) -> None:
    scene.reach(Phase.SETTLED, rounds=1, rates=[1])
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
    assert scene.moved(before) == {"credit of aggregator": FEE, "bond": -BOND, "refund of aggregator": BOND}
    assert [event.name for event in done.events] == ["Closed", "Ended"]
    assert done.event("Ended").arguments == {"settled": 1, "unspent": 0}


def test_after_an_announced_end_the_rest_is_the_owners(scene: Scene) -> None:
    scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    before, rest = scene.books(), 2 * (ETHER + FEE)
    done = scene.project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
    assert scene.moved(before) == {
        "credit of aggregator": FEE,
        "bond": -BOND,
        "refund of aggregator": BOND,
        "pool": -rest,
        "credit of owner": rest,
    }
    assert done.event("Ended").arguments == {"settled": 1, "unspent": rest}
