"""The aggregate is not served.

claim()
├── when the phase is not SETTLED
│   └── it should revert with WrongPhase
├── when now > t4
│   └── it should revert with TooLate
├── when the aggregate is withheld
│   └── it should revert with NothingToServe
├── when the caller is neither the owner nor admitted
│   └── it should revert with NoSuchSeat
├── when the caller has claimed in this round, taken back or not
│   └── it should revert with AlreadyClaimed
└── otherwise, until t4
    ├── it should log Claimed and move no money
    └── the fee and the bond are held by the owner's claim, or by more than half of the admitted
unclaim()
├── when the phase is not SETTLED
│   └── it should revert with WrongPhase
├── when the caller is neither the owner nor admitted
│   └── it should revert with NoSuchSeat
├── when the caller has no claim
│   └── it should revert with NotClaimed
└── otherwise, also after t4
    └── it should log Unclaimed and lift the caller's claim alone

What a claim delays is in test_next.py.
"""

from __future__ import annotations

import pytest

from tests.contracts.world import Scene, refused
from zkmarket.chain import Chain, Phase

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A round of five is settled."""
    return Scene.deploy(node).reach(Phase.SETTLED)


def claimed(scene: Scene) -> bool:
    return scene.project.state().claimed


def test_refused_in_other_phases(scene: Scene) -> None:
    for phase in scene.walk():
        if phase != Phase.SETTLED:
            for send in (scene.project.claim, scene.project.unclaim):
                with refused(f"WrongPhase(have={phase.name}, want=SETTLED)"):
                    send(scene.owner)


def test_until_the_deadline_to_the_second(scene: Scene) -> None:
    end = scene.project.state().deadline
    scene.at(end).project.claim(scene.owner)
    assert scene.chain.now == end
    with refused(f"TooLate(have={end + 1}, want={end})"):
        scene.at(end + 1).project.claim(scene.trainers[0])


@pytest.mark.parametrize("who", ["stranger", "aggregator", "successor"])
def test_only_the_owner_and_the_admitted(scene: Scene, who: str) -> None:
    sender = getattr(scene, who)
    for send in (scene.project.claim, scene.project.unclaim):
        with refused(f"NoSuchSeat(trainer={sender}, round=1)"):
            send(sender)


def test_a_refused_trainer_has_no_say(scene: Scene) -> None:
    scene.open().to_admit()
    scene.admit_all(scene.trainers[1:])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    scene.settle()
    with refused(f"NoSuchSeat(trainer={scene.trainers[0]}, round=1)"):
        scene.project.claim(scene.trainers[0])


def test_the_owners_claim_holds_at_once_and_moves_nothing(scene: Scene) -> None:
    before = scene.books()
    done = scene.project.claim(scene.owner)
    assert done.event("Claimed").arguments == {"round": 1, "who": str(scene.owner), "held": True}
    assert claimed(scene)
    done = scene.project.unclaim(scene.owner)
    assert done.event("Unclaimed").arguments == {"round": 1, "who": str(scene.owner), "held": False}
    assert not claimed(scene)
    assert scene.moved(before) == {}


@pytest.mark.parametrize("n, quorum", [(3, 2), (4, 3), (5, 3)])
def test_a_quorum_is_more_than_half_of_the_admitted(scene: Scene, n: int, quorum: int) -> None:
    """Exactly half of four is not enough."""
    if n < 5:
        scene.open().to_settled(scene.trainers[:n])
    before = scene.books()
    held = [scene.project.claim(trainer).event("Claimed").arguments["held"] for trainer in scene.trainers[:n]]
    assert held == [count >= quorum for count in range(1, n + 1)]
    lifted = [scene.project.unclaim(trainer).event("Unclaimed").arguments["held"] for trainer in scene.trainers[:n]]
    assert lifted == [n - count >= quorum for count in range(1, n + 1)]
    assert not claimed(scene)
    assert scene.moved(before) == {}


@pytest.mark.parametrize("who", ["owner", "trainer"])
def test_once_a_round_taken_back_or_not(scene: Scene, who: str) -> None:
    sender = scene.owner if who == "owner" else scene.trainers[4]
    scene.project.claim(sender)
    with refused(f"AlreadyClaimed(who={sender})"):
        scene.project.claim(sender)
    scene.project.unclaim(sender)
    with refused(f"AlreadyClaimed(who={sender})"):
        scene.project.claim(sender)


@pytest.mark.parametrize("who", ["owner", "trainer"])
def test_only_a_claim_can_be_taken_back_and_once(scene: Scene, who: str) -> None:
    sender, other = (scene.owner, scene.trainers[0]) if who == "owner" else (scene.trainers[0], scene.owner)
    scene.project.claim(other)
    with refused(f"NotClaimed(who={sender})"):
        scene.project.unclaim(sender)
    scene.project.claim(sender)
    scene.project.unclaim(sender)
    with refused(f"NotClaimed(who={sender})"):
        scene.project.unclaim(sender)


def test_the_owner_and_the_trainers_count_apart(scene: Scene) -> None:
    for sender in (scene.owner, *scene.trainers[:3]):
        scene.project.claim(sender)
    scene.project.unclaim(scene.owner)
    assert claimed(scene)
    scene.project.unclaim(scene.trainers[0])
    assert not claimed(scene)


def test_an_owner_that_trains_claims_as_the_owner(scene: Scene) -> None:
    scene.trainers = [scene.owner, *scene.trainers[:2]]
    scene.open().to_settled()
    scene.project.claim(scene.owner)
    with refused(f"AlreadyClaimed(who={scene.owner})"):
        scene.project.claim(scene.owner)
    scene.project.unclaim(scene.owner)
    assert not claimed(scene)


def test_taken_back_after_the_deadline(scene: Scene) -> None:
    scene.project.claim(scene.owner)
    scene.pass_deadline()
    scene.project.unclaim(scene.owner)
    assert not claimed(scene)


def withheld(scene: Scene) -> None:
    """Two of five are accepted: their sum is not published."""
    scene.open().to_prove()
    scene.settle(cid=b"", mask=[1, 1, 0, 0, 0])


def test_attack_fee_and_bond_are_held_for_an_aggregate_that_is_withheld(scene: Scene) -> None:
    """There is nothing to serve: neither the owner nor any quorum holds anything, and the fee is paid in time."""
    withheld(scene)
    for sender in (scene.owner, *scene.trainers, scene.stranger):
        with refused("NothingToServe(round=1)"):
            scene.project.claim(sender)
    with refused(f"NotClaimed(who={scene.owner})"):
        scene.project.unclaim(scene.owner)
    assert not claimed(scene)
    before = scene.books()
    end = scene.deadline
    done = scene.at(end + 1).project.next(scene.stranger)
    assert scene.moved(before) == {"credit of aggregator": scene.values["fee"]}
    assert done.event("Closed").arguments == {"round": 1, "skipped": True, "theta": scene.values["theta"]}


def test_the_round_after_a_withheld_one_can_be_claimed(scene: Scene) -> None:
    withheld(scene)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_settled()
    assert scene.project.claim(scene.owner).event("Claimed").arguments["held"] is True


def test_a_round_after_one_that_was_closed_as_not_served_can_be_claimed(scene: Scene) -> None:
    """The last outcome's aggregate is 0 then, until this round's is there."""
    scene.project.claim(scene.owner)
    to_the_second_round(scene)
    scene.to_settled()
    assert scene.project.claim(scene.owner).event("Claimed").arguments["held"] is True


def to_the_second_round(scene: Scene) -> None:
    scene.chain.pass_time(scene.project.state().deadline + scene.values["windows"][6] + 1 - scene.chain.now)
    scene.project.next(scene.stranger)


def test_claims_do_not_leak_into_the_next_round(scene: Scene) -> None:
    for sender in (scene.owner, *scene.trainers):
        scene.project.claim(sender)
    to_the_second_round(scene)
    scene.to_settled()
    assert not claimed(scene)
    with refused(f"NotClaimed(who={scene.owner})"):
        scene.project.unclaim(scene.owner)
    assert scene.project.claim(scene.trainers[0]).event("Claimed").arguments == {
        "round": 2,
        "who": str(scene.trainers[0]),
        "held": False,
    }
    assert scene.project.claim(scene.owner).event("Claimed").arguments["held"]


def test_a_lone_claim_does_not_become_a_quorum_of_the_next_rounds_seats(scene: Scene) -> None:
    scene.project.claim(scene.trainers[0])
    assert not claimed(scene)
    to_the_second_round(scene)
    assert not claimed(scene)
    scene.start()  # the round has no seats yet, and nobody has claimed anything about it
    assert not claimed(scene)
