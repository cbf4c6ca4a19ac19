"""Freezing the admitted set.

lock()
├── when the phase is not ADMIT
│   └── it should revert with WrongPhase
├── given that some submissions are not admitted, or a root update on offer (test_offer_root.py)
│   ├── when now <= t2, also where the last seat was taken before t1
│   │   └── it should revert with TooEarly
│   ├── when fewer than minTrainers are admitted
│   │   └── it should revert with NotEnoughSubmissions
│   └── otherwise, for each refused submission
│       ├── it should burn p of its stake and p of the bond, and log Refused
│       ├── it should take its seat and keep the others in order
│       ├── it should let its trainer leave at once, and submit in the next round once its stake is full
│       └── given that p is the whole stake, it should end the membership
└── in any case
    ├── it should owe R + F, out of the pool
    ├── it should log Locked with the trainers in the order of slots
    └── it should be PROVE until now + prove
"""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, PENALTY, WINDOW, Scene, refused
from zkmarket.chain import Chain, Phase

pytestmark = pytest.mark.chain

OWED = ETHER + ETHER // 5


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five have submitted and wait for admission."""
    return Scene.deploy(node).reach(Phase.ADMIT)


def seated(scene: Scene) -> list[str]:
    return [seat.trainer for seat in scene.project.seats()]


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.ADMIT:
            with refused(f"WrongPhase(have={phase.name}, want=ADMIT)"):
                scene.project.lock(scene.stranger)


@pytest.mark.parametrize("late", [False, True])
def test_all_admitted_lock_at_once_and_also_late(scene: Scene, late: bool) -> None:
    scene.admit_all()
    before, end = scene.books(), scene.project.state().deadline
    second = end + 1 if late else scene.chain.now + 5
    done = scene.at(second).project.lock(scene.stranger)
    assert scene.moved(before) == {"pool": -OWED}
    assert scene.holdings() == scene.balance(scene.project.address)
    locked = done.event("Locked").arguments
    assert locked == {"round": 1, "trainers": [str(who) for who in scene.trainers], "deadline": second + WINDOW}
    state = scene.project.state()
    assert (state.phase, state.deadline, state.voids) == (Phase.PROVE, second + WINDOW, 0)
    assert [event.name for event in done.events] == ["Locked"]


def test_some_missing_not_before_the_deadline_to_the_second(scene: Scene) -> None:
    scene.admit_all(scene.trainers[:4])
    end = scene.project.state().deadline
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.lock(scene.aggregator)
    scene.at(end + 1).project.lock(scene.stranger)
    assert scene.chain.now == end + 1
    assert scene.phase == Phase.PROVE


@pytest.mark.parametrize("admitted", [0, 1, 2])
def test_too_few_admitted(scene: Scene, admitted: int) -> None:
    scene.admit_all(scene.trainers[:admitted])
    scene.pass_deadline()
    with refused(f"NotEnoughSubmissions(have={admitted}, want=3)"):
        scene.project.lock(scene.stranger)


@pytest.mark.parametrize("missing", [[1], [3], [5], [1, 2], [2, 4], [4, 5]], ids=str)
def test_refused_submissions_burn_on_both_sides_and_lose_their_seats(scene: Scene, missing: list[int]) -> None:
    kept = [trainer for slot, trainer in enumerate(scene.trainers, start=1) if slot not in missing]
    scene.admit_all(kept)
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.lock(scene.stranger)
    burnt = {f"stake of trainer {slot}": -PENALTY for slot in missing}
    both = len(missing) * PENALTY
    assert scene.moved(before) == burnt | {"bond": -both, "unburnt": 2 * both, "pool": -OWED}
    assert scene.holdings() == scene.balance(scene.project.address)
    assert seated(scene) == done.event("Locked").arguments["trainers"] == [str(who) for who in kept]
    assert [event.arguments for event in done.events if event.name == "Refused"] == [
        {"round": 1, "trainer": str(scene.trainers[slot - 1]), "burntWei": PENALTY} for slot in missing
    ]


def test_a_refused_trainer_may_leave_and_the_admitted_may_not(scene: Scene) -> None:
    scene.admit_all(scene.trainers[1:])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    out, stays = scene.trainers[:2]
    assert scene.project.leave(out).event("Left").arguments["refundWei"] == ETHER - PENALTY
    with refused(f"LiveSubmission(trainer={stays}, round=1)"):
        scene.project.leave(stays)


def test_a_refused_trainer_fills_its_stake_up_and_submits_in_the_next_round(scene: Scene) -> None:
    trainer = scene.trainers[0]
    scene.admit_all(scene.trainers[1:])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.project.top_up(scene.aggregator)
    scene.start()
    with refused(f"StakeNotFull(have={ETHER - PENALTY}, want={ETHER})"):
        scene.submit(trainer)
    scene.project.join(trainer)
    scene.submit(trainer)
    assert seated(scene) == [str(trainer)]


def test_a_penalty_of_the_whole_stake_ends_the_membership(scene: Scene) -> None:
    scene.open(penaltyWei=ETHER, bondWei=4 * ETHER).to_admit()
    scene.admit_all(scene.trainers[:4])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    assert scene.project.state().bond_wei == 3 * ETHER
    with refused(f"NotAMember(have={scene.trainers[4]})"):
        scene.project.leave(scene.trainers[4])


def test_after_every_refusal_that_still_locks_the_bond_covers_reward_and_fee(scene: Scene) -> None:
    """Attack: refuse until the bond is worth less than the model, then keep it. The least bond still covers R + F."""
    scene.open(bondWei=OWED + 2 * PENALTY).to_admit()
    scene.admit_all(scene.trainers[:3])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    assert scene.project.state().bond_wei == OWED


def test_attack_refuse_and_lock(scene: Scene) -> None:
    """All seats are taken early: an aggregator that refuses one cannot freeze the set before its time is over."""
    scene.open()
    scene.start()
    scene.submit_all()
    end = scene.project._call("deadline") + WINDOW
    scene.admit_all(scene.trainers[1:])
    with refused(f"TooEarly(have={scene.chain.now + 1}, want={end + 1})"):
        scene.at(scene.chain.now + 1).project.lock(scene.aggregator)
    scene.pass_deadline()  # of submissions: nothing has changed
    with refused(f"TooEarly(have={end}, want={end + 1})"), scene.chain.rolled_back():
        scene.at(end).project.lock(scene.aggregator)
    scene.at(end).admit(scene.trainers[0])  # in its last second
    scene.project.lock(scene.stranger)
    assert seated(scene) == [str(who) for who in scene.trainers]
