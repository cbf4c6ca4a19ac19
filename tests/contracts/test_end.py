"""How an owner ends a project, and how it cannot.

end()
├── when the phase is not VACANT
│   └── it should revert with WrongPhase
├── when the caller is not the owner and now <= tV
│   └── it should revert with TooEarly
└── otherwise
    └── it should end the project: the pool to the owner, stakes free
announceEnd()
├── when the phase is CREATED, VACANT or ENDED
│   └── it should revert with WrongPhase
├── when the caller is not the owner
│   └── it should revert with WrongCaller
└── otherwise
    ├── it should log EndAnnounced and move no money
    ├── it should leave the open round alone: it is submitted, admitted, locked, settled and paid as ever
    └── it should end the project where the next round would open: next, skip, voidRound, accept
In every phase from submit to settled
└── nothing that the owner may do moves the reward
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.world import ETHER, KEY, PENALTY, Scene, refused
from zkmarket.chain import Chain, Phase
from zkmarket.errors import TransactionReverted

pytestmark = pytest.mark.chain

POOL = 3 * (ETHER + ETHER // 5)
BOND = 3 * ETHER


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A project with five members."""
    return Scene.deploy(node).reach(Phase.OPEN)


# ---------------------------------------------------------------- end


def test_end_is_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.VACANT:
            with refused(f"WrongPhase(have={phase.name}, want=VACANT)"):
                scene.project.end(scene.owner)


def test_anyone_else_ends_only_after_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.to_vacant().project.state().deadline
    for sender in (scene.stranger, scene.aggregator, scene.trainers[0]):
        with refused(f"TooEarly(have={end}, want={end + 1})"), scene.chain.rolled_back():
            scene.at(end).project.end(sender)
    scene.at(end + 1).project.end(scene.stranger)
    assert scene.chain.now == end + 1
    assert scene.phase == Phase.ENDED


@pytest.mark.parametrize("sooner", [5, 0, -5])
def test_the_owner_ends_a_vacancy_at_any_time(scene: Scene, sooner: int) -> None:
    end = scene.to_vacant().project.state().deadline
    before = scene.books()
    done = scene.at(end - sooner).project.end(scene.owner)
    assert scene.phase == Phase.ENDED
    assert scene.moved(before) == {"pool": -POOL, "credit of owner": POOL}
    assert done.event("Ended").arguments == {"settled": 0, "unspent": POOL}
    assert scene.holdings() == scene.balance(scene.project.address)


def test_a_candidate_that_was_named_gets_nothing_at_the_end(scene: Scene) -> None:
    scene.to_vacant().project.name_aggregator(scene.owner, scene.successor)
    before = scene.books()
    scene.project.end(scene.owner)
    assert scene.moved(before) == {"pool": -POOL, "credit of owner": POOL}


# ---------------------------------------------------------------- announceEnd


def test_announced_in_every_phase_of_a_round_and_in_no_other(scene: Scene) -> None:
    for phase in scene.walk():
        with scene.chain.rolled_back():
            if phase in (Phase.CREATED, Phase.VACANT, Phase.ENDED):
                with refused(f"WrongPhase(have={phase.name}, want=OPEN)"):
                    scene.project.announce_end(scene.owner)
                continue
            with refused(f"WrongCaller(have={scene.aggregator}, want={scene.owner})"):
                scene.project.announce_end(scene.aggregator)
            before, state = scene.books(), scene.project.state()
            done = scene.project.announce_end(scene.owner)
            assert [event.name for event in done.events] == ["EndAnnounced"]
            after = scene.project.state()
            assert (after.ending, after.phase, after.deadline) == (True, phase, state.deadline)
            assert scene.moved(before) == {}
            scene.project.announce_end(scene.owner)  # again, to no effect


def test_an_announced_end_leaves_the_open_round_alone(scene: Scene) -> None:
    """Attack: the end front-runs the start, or a submission, and the updates are not paid."""
    scene.project.announce_end(scene.owner)
    scene.to_settled()
    credits = [scene.project.account(trainer).credit for trainer in scene.trainers]
    assert credits == scene.pays([1, 2, 3, 4, 5])[0]
    assert scene.project.state().settled == 1


def test_announced_before_a_skip(scene: Scene) -> None:
    scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.skip(scene.stranger)
    assert scene.phase == Phase.ENDED
    expected = {"pool": -POOL, "credit of owner": POOL, "bond": -BOND, "refund of aggregator": BOND}
    assert scene.moved(before) == expected
    assert [event.name for event in done.events] == ["NotStarted", "Ended"]


def test_announced_before_a_void_round(scene: Scene) -> None:
    scene.project.announce_end(scene.owner)
    scene.start()
    scene.submit_all(scene.trainers[:2])
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    assert scene.phase == Phase.ENDED
    for trainer in scene.trainers:
        scene.project.withdraw(trainer)  # who did not submit pays for it all the same
    assert scene.project.state().unburnt_wei == 3 * PENALTY


def test_announced_before_a_failure_the_next_aggregator_gets_its_bond_back(scene: Scene) -> None:
    scene.to_prove()
    scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    assert scene.phase == Phase.VACANT
    scene.project.name_aggregator(scene.owner, scene.successor)
    before = scene.books()
    done = scene.project.accept(scene.successor)
    assert [event.name for event in done.events] == ["Accepted", "Ended"]
    expected = {"pool": -POOL, "credit of owner": POOL, "balance": BOND, "refund of successor": BOND}
    assert scene.moved(before) == expected


# ---------------------------------------------------------------- the owner evades payment

PATHS: dict[str, Callable[[Scene], Any]] = {
    "cancel": lambda scene: scene.project.cancel(scene.owner),
    "skip": lambda scene: scene.project.skip(scene.owner),
    "start": lambda scene: scene.project.start(scene.owner, KEY),
    "voidRound": lambda scene: scene.project.void_round(scene.owner),
    "lock": lambda scene: scene.project.lock(scene.owner),
    "failAdmission": lambda scene: scene.project.fail_admission(scene.owner),
    "fail": lambda scene: scene.project.fail(scene.owner),
    "next": lambda scene: scene.project.next(scene.owner),
    "nameAggregator": lambda scene: scene.project.name_aggregator(scene.owner, scene.owner),
    "accept": lambda scene: scene.project.accept(scene.owner),
    "end": lambda scene: scene.project.end(scene.owner),
    "announceEnd": lambda scene: scene.project.announce_end(scene.owner),
    "claim": lambda scene: scene.project.claim(scene.owner),
    "withdraw": lambda scene: scene.project.withdraw(scene.owner),
    "withdrawToken": lambda scene: scene.project.withdraw_token(scene.owner),
    "initialise": lambda scene: scene.project._send(
        "initialise", "initialise", tuple(scene.values.values()), [], [], sender=scene.owner
    ),
}


@pytest.mark.parametrize("step", ["start", "to_admit"], ids=["SUBMIT", "ADMIT"])
def test_nothing_that_an_owner_may_do_before_the_lock_touches_the_pool(scene: Scene, step: str) -> None:
    getattr(scene, step)()
    before = scene.books()
    assert attempts(scene) == {"announceEnd"}
    assert scene.moved(before) == {}


def test_nothing_that_an_owner_may_do_in_proving_evades_payment(scene: Scene) -> None:
    scene.to_prove()
    before = scene.books()
    done = attempts(scene)
    assert done == {"announceEnd"}
    assert scene.moved(before) == {}
    scene.settle(scores=[1, 1, 1, 1, 1])
    assert scene.moved(before) == {f"credit of trainer {slot}": ETHER // 5 for slot in range(1, 6)}


def test_nothing_that_an_owner_may_do_once_settled_takes_pay_or_fee_back(scene: Scene) -> None:
    scene.to_settled(scores=[1, 1, 1, 1, 1])
    before = scene.books()
    assert attempts(scene) == {"announceEnd", "claim"}
    assert scene.moved(before) == {}
    scene.chain.pass_time(scene.project.state().deadline + scene.values["windows"][6] + 1 - scene.chain.now)
    scene.project.next(scene.stranger)
    assert scene.project.account(scene.aggregator).credit == ETHER // 5
    paid = [scene.project.account(trainer).credit for trainer in scene.trainers]
    assert paid == [ETHER // 5] * 5


def attempts(scene: Scene) -> set[str]:
    """What of all that the owner tries is not refused."""
    done = set()
    for name, attempt in PATHS.items():
        try:
            attempt(scene)
            done.add(name)
        except TransactionReverted as error:
            assert error.reason, name
    return done
