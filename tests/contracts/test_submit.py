"""submit: a digest of an update's points, and a CID; no points, no proof, no ciphertext yet.

when the phase is not SUBMIT, so also once the last seat is taken
    it should refuse: WrongPhase, want SUBMIT
when the deadline has passed
    it should refuse: TooLate, or WrongPhase once enough have submitted
when it is the last second
    it should pass
when the caller is not a member, or was removed
    it should refuse: NotAMember
when its stake is not full
    it should refuse: StakeNotFull, until it is topped up
when it has submitted in this round
    it should refuse: AlreadySubmitted; in the next it should pass
when the CID is empty or longer than 96 bytes
    it should refuse: WrongCid
when all is right
    it should take a seat, keep one word of digest and CID, log Submitted, and move no money
    it should use the storage of earlier rounds again
given that it takes the last seat
    it should be ADMIT, with both deadlines as they were
"""

from __future__ import annotations

from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.world import CID, ETHER, PENALTY, WINDOW, Scene, phases_but, refused
from zkmarket.chain import Chain, Phase, Receipt
from zkmarket.market import Seat, submission_word

pytestmark = pytest.mark.chain

STAKE = ETHER
DIGEST = bytes(range(32))


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five members, a round that has just started."""
    return Scene.deploy(node).reach(Phase.SUBMIT)


def send(scene: Scene, trainer: Any, digest: bytes = DIGEST, cid: bytes = CID) -> Receipt:
    return scene.project._send("submit", "submit", digest, cid, sender=trainer)


# ---------------------------------------------------------------- when


@pytest.mark.parametrize("phase", phases_but(Phase.SUBMIT))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=SUBMIT)"):
        scene.submit(scene.trainers[0])


@pytest.mark.parametrize("before", [0, 2, 4])
def test_the_last_second_counts(scene: Scene, before: int) -> None:
    scene.submit_all(scene.trainers[:before])
    scene.at(scene.deadline)
    scene.submit(scene.trainers[before])
    assert len(scene.project.seats()) == before + 1


@pytest.mark.parametrize("before", [0, 2, 3])
def test_attack_submission_after_the_deadline(scene: Scene, before: int) -> None:
    """One second late: with too few seats taken the round can only become void, with enough it is closed."""
    scene.submit_all(scene.trainers[:before])
    end = scene.deadline
    scene.at(end + 1)
    late = f"TooLate(have={end + 1}, want={end})" if before < 3 else "WrongPhase(have=ADMIT, want=SUBMIT)"
    with refused(late):
        scene.submit(scene.trainers[before])
    assert len(scene.project.seats()) == before


# ---------------------------------------------------------------- who


def test_a_stranger_does_not_submit(scene: Scene) -> None:
    with refused(f"NotAMember(have={scene.stranger})"):
        scene.submit(scene.stranger)


def test_after_a_skipped_void_round_the_stake_must_be_filled_up(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.pass_exit()
    scene.start()
    trainer = scene.trainers[0]
    with refused(f"StakeNotFull(have={STAKE - PENALTY}, want={STAKE})"):
        scene.submit(trainer)
    scene.project.join(trainer)
    scene.submit(trainer)
    assert scene.project.account(trainer).last_round == 2


def test_who_skipped_two_void_rounds_is_no_member(scene: Scene) -> None:
    scene.open(voidLimit=9).void().void()
    scene.pass_exit()
    scene.start()
    with refused(f"NotAMember(have={scene.trainers[0]})"):
        scene.submit(scene.trainers[0])


def test_nobody_submits_twice_in_a_round(scene: Scene) -> None:
    trainer = scene.trainers[0]
    scene.submit(trainer)
    with refused(f"AlreadySubmitted(trainer={trainer}, round=1)"):
        scene.submit(trainer)


def test_a_new_round_takes_a_new_submission(scene: Scene) -> None:
    scene.submit(scene.trainers[0])
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.pass_exit()
    scene.start()
    done = scene.submit(scene.trainers[0])
    assert done.event("Submitted").arguments["round"] == 2


def test_all_seats_are_taken(scene: Scene) -> None:
    scene.open(maxTrainers=3)
    scene.start()
    scene.submit_all(scene.trainers[:3])
    with refused("WrongPhase(have=ADMIT, want=SUBMIT)"):
        scene.submit(scene.trainers[3])


# ---------------------------------------------------------------- what


@pytest.mark.parametrize("length", [0, 97, 10_000])
def test_a_cid_is_neither_empty_nor_long(scene: Scene, length: int) -> None:
    with refused(f"WrongCid(have={length}, most=96)"):
        send(scene, scene.trainers[0], cid=bytes(length))


@pytest.mark.parametrize("length", [1, 96])
def test_a_cid_has_from_1_to_96_bytes(scene: Scene, length: int) -> None:
    cid = b"c" * length
    send(scene, scene.trainers[0], cid=cid)
    assert scene.project.seats()[0].submission == keccak(DIGEST + keccak(cid))


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, DIGEST], ids=["zeros", "ones", "a number"])
def test_whatever_the_digest_is(scene: Scene, digest: bytes) -> None:
    """Nobody can tell what it is of before the update is delivered: without a receipt it costs p."""
    send(scene, scene.trainers[0], digest)
    assert scene.project.seats()[0].submission == submission_word(digest, CID)


def test_a_submission_takes_a_seat_and_no_money(scene: Scene) -> None:
    before = scene.books()
    for number, trainer in enumerate(scene.trainers):
        commitment = scene.commitment(trainer)
        cid = CID + bytes([number])
        done = scene.project.submit(trainer, commitment, cid)
        digest = commitment.digest()
        said = {"round": 1, "trainer": str(trainer), "seat": number, "digest": digest, "cid": cid}
        assert [(event.name, event.arguments) for event in done.events] == [("Submitted", said)]
        kept = Seat(str(trainer), False, submission_word(digest, cid))
        assert scene.project.seats()[number:] == [kept]
        assert scene.project.account(trainer).last_round == 1
        logged = scene.project.submissions(1)[number]
        assert (logged.trainer, logged.digest, logged.cid) == (str(trainer), digest, cid)
        assert logged.word == kept.submission
    assert scene.moved(before) == {}


def test_the_digest_names_sender_round_project_and_chain(scene: Scene) -> None:
    """What the engine submits: a word for each of them before the points."""
    trainer, other = scene.trainers[:2]
    commitment = scene.commitment(trainer)
    place = [scene.chain.id, int(scene.project.address, 16), 1, int(str(trainer), 16)]
    head = b"update".ljust(32, b"\0") + b"".join(word.to_bytes(32, "big") for word in place)
    points = b"".join(coordinate.to_bytes(32, "big") for point in commitment.points for coordinate in point)
    scene.submit(trainer)
    assert scene.project.submissions(1)[0].digest == keccak(head + points)
    assert scene.commitment(other).digest() != commitment.digest()


def test_storage_of_seats_serves_every_round(scene: Scene) -> None:
    """The second round's submissions cost the price of words that are there already; the engine's CID has 36 bytes."""
    first = [scene.submit(trainer).gas for trainer in scene.trainers]
    scene.pass_deadline()
    scene.admit_all()
    scene.project.lock(scene.stranger)
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.start()
    assert scene.project.seats() == []
    later = [scene.submit(trainer).gas for trainer in scene.trainers]
    assert [seat.trainer for seat in scene.project.seats()] == [str(trainer) for trainer in scene.trainers]
    assert (max(first) <= 110_000, max(later) <= 75_000) == (True, True), (first, later)


# ---------------------------------------------------------------- the last seat


def test_the_last_seat_closes_the_round_and_moves_no_deadline(scene: Scene) -> None:
    end = scene.deadline
    scene.submit_all(scene.trainers[:4])
    assert (scene.phase, scene.deadline) == (Phase.SUBMIT, end)
    scene.submit(scene.trainers[4])
    assert (scene.phase, scene.deadline) == (Phase.ADMIT, end + WINDOW)
    assert scene.project._call("deadline") == end


def test_attack_race_to_close(scene: Scene) -> None:
    """Enough trainers that hurry end nothing: only the last seat closes a round, and with it everybody has one."""
    scene.submit_all(scene.trainers[:3])  # minTrainers
    assert scene.phase == Phase.SUBMIT
    receipts = {who: scene.receipt(who) for who in scene.trainers[:3]}
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.project.admit(scene.aggregator, receipts)
    with refused("WrongPhase(have=SUBMIT, want=ADMIT)"):
        scene.project.lock(scene.aggregator)
    scene.at(scene.deadline).submit(scene.trainers[3])
    assert len(scene.project.seats()) == 4


# ---------------------------------------------------------------- attacks


def test_attack_griefing_by_a_full_list(scene: Scene) -> None:
    """Anybody may join, so many do; whoever submits takes a seat, and who finds none loses nothing."""
    scene.open(maxTrainers=3)
    crowd = list(scene.chain.accounts)[10:20]
    for idler in crowd:
        scene.project.join(idler)
    scene.start()
    scene.submit_all(scene.trainers[:3])
    unlucky = [*scene.trainers[3:], *crowd]
    for late in unlucky:
        with refused("WrongPhase(have=ADMIT, want=SUBMIT)"):
            scene.submit(late)
    scene.pass_deadline()
    scene.admit_all(scene.trainers[:3])
    scene.project.lock(scene.stranger)
    for member in unlucky:
        scene.project.leave(member)
        assert scene.project.account(member).refund_wei == STAKE


def test_attack_seats_hoarded(scene: Scene) -> None:
    """A seat is taken by submitting: members who joined first and do nothing keep nobody out, and pay if it is void."""
    scene.create(maxTrainers=3, voidLimit=9)
    scene.project.accept(scene.aggregator)
    hoarders = list(scene.chain.accounts)[10:16]
    for member in [*hoarders, *scene.trainers]:
        scene.project.join(member)
    scene.void(scene.trainers[:2]).void(scene.trainers[:2])
    for hoarder in hoarders:
        scene.refresh(hoarder)
        own = scene.project.account(hoarder)
        assert (own.stake_wei, own.refund_wei) == (0, STAKE - 2 * PENALTY)
    scene.project.join(scene.trainers[2])  # it skipped both, and starts afresh
    scene.to_prove(scene.trainers[:3])
    assert len(scene.project.seats()) == 3


def test_attack_the_announced_end_does_not_touch_the_open_round(scene: Scene) -> None:
    """The end front-runs submit: the round is submitted to, settled and paid, and only then the project ends."""
    scene.project.announce_end(scene.owner)
    assert (scene.phase, scene.project.state().ending) == (Phase.SUBMIT, True)
    scene.submit_all()
    scene.pass_deadline()
    scene.admit_all()
    scene.project.lock(scene.stranger)
    before = scene.books()
    scene.settle(scores=[1, 1, 1, 1, 1])
    pays = {f"credit of trainer {number}": ETHER // 5 for number in range(1, 6)}
    assert scene.moved(before) == pays
    assert scene.phase == Phase.SETTLED
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
