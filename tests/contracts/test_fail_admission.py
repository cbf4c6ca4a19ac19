"""Too few receipts.

failAdmission()
├── when the phase is not ADMIT
│   └── it should revert with WrongPhase
├── when now <= t2
│   └── it should revert with TooEarly
├── when minTrainers or more are admitted
│   └── it should revert with EnoughSubmissions
└── otherwise
    ├── it should burn p of every refused stake and p of the bond for each, and nothing of the admitted
    ├── it should burn of the bond that is left: min(bond, R); with a token's reward min(bond, half of the full bond)
    ├── it should give the aggregator the rest of its bond, and log AdmissionFailed, Vacated
    ├── it should leave the pool alone, count a void, be VACANT until now + vacancy, without an aggregator
    ├── it should let everybody leave
    └── given that it is one void too many, it should end the project and give the pool to the owner
"""

from __future__ import annotations

import pytest

from tests.contracts.doubles import reward_token
from tests.contracts.world import ETHER, PENALTY, WINDOW, Scene, refused
from zkmarket.chain import NOBODY, Chain, Phase

pytestmark = pytest.mark.chain

POOL = 3 * (ETHER + ETHER // 5)


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five have submitted and wait for admission."""
    return Scene.deploy(node).reach(Phase.ADMIT)


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.ADMIT:
            with refused(f"WrongPhase(have={phase.name}, want=ADMIT)"):
                scene.project.fail_admission(scene.stranger)


def test_not_before_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.fail_admission(scene.stranger)
    scene.at(end + 1).project.fail_admission(scene.stranger)
    assert scene.chain.now == end + 1
    state = scene.project.state()
    assert (state.phase, state.deadline, state.aggregator) == (Phase.VACANT, end + 1 + WINDOW, NOBODY)


@pytest.mark.parametrize("admitted", [3, 5])
def test_refused_where_enough_are_admitted(scene: Scene, admitted: int) -> None:
    scene.admit_all(scene.trainers[:admitted])
    scene.pass_deadline()
    with refused(f"EnoughSubmissions(have={admitted}, want=3)"):
        scene.project.fail_admission(scene.stranger)


MONEY = {
    # tenths of a coin: bond, penalty, admitted → burnt of the bond beyond the refusals, left of it. R = 10
    "nobody admitted": (40, 4, 0, 10, 10),
    "two admitted": (40, 4, 2, 10, 18),
    "just R left": (40, 10, 2, 10, 0),
    "less than R left": (32, 10, 2, 2, 0),
    "refusals take it all": (32, 10, 0, 0, 0),
}


@pytest.mark.parametrize("case", MONEY)
def test_both_sides_pay_to_nobody(scene: Scene, case: str) -> None:
    """Attack: refuse everybody after decrypting. It costs p a submission and min(bond, R), and pays nobody."""
    bond, penalty, admitted, slashed, left = MONEY[case]
    tenth = ETHER // 10
    scene.open(bondWei=bond * tenth, penaltyWei=penalty * tenth).to_admit()
    scene.admit_all(scene.trainers[:admitted])
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.fail_admission(scene.stranger)
    out = range(admitted + 1, 6)
    expected = {f"stake of trainer {slot}": -penalty * tenth for slot in out} | {"bond": -bond * tenth}
    expected["unburnt"] = (len(out) * penalty + bond - left) * tenth
    if left:
        expected["refund of aggregator"] = left * tenth
    assert scene.moved(before) == expected
    assert scene.holdings() == scene.balance(scene.project.address)
    failed = {"round": 1, "admitted": admitted, "burntWei": slashed * tenth}
    assert done.event("AdmissionFailed").arguments == failed
    assert done.event("Vacated").arguments == {"deadline": scene.chain.now + WINDOW}
    assert sum(event.name == "Refused" for event in done.events) == len(out)
    assert scene.project.state().voids == 1


@pytest.mark.parametrize("admitted, slashed, left", [(1, 15, 11), (0, 15, 10)])
def test_with_a_tokens_reward_half_of_the_bond_burns(scene: Scene, admitted: int, slashed: int, left: int) -> None:
    """A token's reward cannot be compared with the bond. An odd wei stays with the aggregator."""
    scene.open(token=reward_token(scene).address, bondWei=3 * ETHER + 1, penaltyWei=ETHER // 10).to_admit()
    scene.admit_all(scene.trainers[:admitted])
    scene.pass_deadline()
    done = scene.project.fail_admission(scene.stranger)
    assert done.event("AdmissionFailed").arguments["burntWei"] == slashed * ETHER // 10
    assert scene.project.account(scene.aggregator).refund_wei == left * ETHER // 10 + 1
    assert scene.project.state().pool == POOL


def test_everybody_may_leave_at_once(scene: Scene) -> None:
    scene.admit_all(scene.trainers[:2])
    scene.pass_deadline()
    scene.project.fail_admission(scene.stranger)
    left = [scene.project.leave(trainer).event("Left").arguments["refundWei"] for trainer in scene.trainers]
    assert left == [ETHER, ETHER, *[ETHER - PENALTY] * 3]


def test_one_void_too_many_ends_the_project(scene: Scene) -> None:
    scene.open(voidLimit=1, bondWei=4 * ETHER).to_admit()
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.fail_admission(scene.stranger)
    assert scene.phase == Phase.ENDED
    assert done.event("Ended").arguments == {"settled": 0, "unspent": POOL}
    moved = scene.moved(before)
    assert (moved["pool"], moved["credit of owner"]) == (-POOL, POOL)
    assert moved["refund of aggregator"] == 4 * ETHER - 5 * PENALTY - ETHER
    assert [event.name for event in done.events][-2:] == ["AdmissionFailed", "Ended"]


def test_an_aggregator_that_has_peeked_cannot_void_the_round(scene: Scene) -> None:
    """Attack: void after decrypting. Void is decided by submissions alone, before anybody sends an update."""
    end = scene.project.state().deadline
    for second in (end, end + 1):
        with refused("WrongPhase(have=ADMIT, want=SUBMIT)"):
            scene.at(second).project.void_round(scene.aggregator)
    before = scene.books()
    scene.project.fail_admission(scene.aggregator)
    assert scene.moved(before)["bond"] == -3 * ETHER  # the office is lost too
    assert scene.project.account(scene.aggregator).refund_wei == 3 * ETHER - 5 * PENALTY - ETHER
