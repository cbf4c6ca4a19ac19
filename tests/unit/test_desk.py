"""Roles against aggregators, trainers, stores and chains that mean them ill: no step of theirs stops or harms them."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.unit.past import (
    AGGREGATOR,
    BUILD,
    ETHER,
    MANIFEST,
    ME,
    OTHER,
    OWNER,
    PROJECT,
    PROSPECTUS,
    STEP,
    TERMS,
    TRAINERS,
    Blocks,
    Past,
    aggregate_of,
    commits,
    last,
    points_of,
    state_of,
)
from zkmarket import backend
from zkmarket.chain import Phase, wallet
from zkmarket.cli import main
from zkmarket.documents import write_json
from zkmarket.errors import (
    BackendError,
    InputError,
    OpeningMismatch,
    ProofRejected,
    SealError,
    StoreError,
    TransactionReverted,
)
from zkmarket.files import load_npz
from zkmarket.market import (
    Inspection,
    SealingKey,
    Seat,
    State,
    decode_aggregate,
    sealing,
    submission_word,
    theta_digest,
    unseal,
)
from zkmarket.roles import (
    HAND_OVER_AGAIN,
    UNAVAILABLE,
    Admission,
    Awaited,
    Desk,
    Settings,
    admission,
    aggregator,
    auditor,
    desk,
    loop,
    owner,
    trainer,
    update,
    withdraw,
)
from zkmarket.round import (
    COMMITMENT_FILE,
    NO_REFERENCES,
    SALTS_FILE,
    VALUES_FILE,
    Aggregate,
    Commitment,
    Decision,
    Opening,
    open_with_fresh_salts,
)
from zkmarket.round import commit_update as engine_commit
from zkmarket.storage import MAX_BLOB, cid_from_bytes, cid_of, cid_to_bytes
from zkmarket.updates.quantise import quantise

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["commits"]  # the fixture

EARLY, LATE = 959, 960
"""In the first and in the second half of the time to submit, 910 to 1010."""

SEED = b"\x5e" * 32
LOW_ORDER = bytes(32)
"""A public key to which nothing can be sealed."""

NOT_FIELD_ELEMENTS = Aggregate(aggregate_of(1).values, np.full_like(aggregate_of(1).salts, 255))
BAD_AGGREGATES = {
    "another": (aggregate_of(9), OpeningMismatch, "does not open the commitment"),
    "no field elements": (NOT_FIELD_ELEMENTS, InputError, "not a field element"),
}


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def at(past: Past, tmp_path: Path) -> Desk:
    return desk_of(past, tmp_path)


def desk_of(past: Past, folder: Path, account: bool = True, **settings: Any) -> Desk:
    """A desk at which everything is there already."""
    wallet: Any = SimpleNamespace(address=ME, sent_block=0) if account else None
    made = Desk(Settings(folder, {"project": PROJECT, **settings}), past.chain, wallet, said := Said(), poll=0.0)
    parts = {"project": past, "store": past.store, "terms": TERMS, "prospectus": PROSPECTUS, "builds": {3: BUILD}}
    vars(made).update(parts, said=said)
    return made


class Said(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def heard(desk: Desk, text: str) -> bool:
    return any(text in one for one in desk.progress)  # type: ignore[attr-defined]


def opening(seed: int = 1) -> Opening:
    return open_with_fresh_salts(np.arange(MANIFEST.params, dtype=np.int32) % 97 * seed, MANIFEST)


def commitment_of(sent: Opening, who: str = ME, number: int = 1) -> Commitment:
    return Commitment(Past().round_id(number), int(who, 16), points_of(sent))


def seal_update(sent: Opening, key: bytes) -> bytes:
    return sealing.seal_update(sent, points_of(sent), key)


# ---------------------------------------------------------------- readers of an envelope


def test_thousands_of_accounts_push_no_active_trainer_out(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: more members than an envelope has room for, who joined first and have never submitted."""
    monkeypatch.setattr(sealing, "MAX_READERS", 5)
    sybils = [SealingKey.fresh() for _ in range(6)]
    honest = {who: SealingKey.fresh() for who in TRAINERS}
    members = {f"0x{number:040x}": key for number, key in enumerate(sybils)} | honest
    for who, key in members.items():
        past.log("Joined", trainer=who, stakeWei=ETHER, encryptionKey=key.public)
    for who in TRAINERS:
        past.log("Submitted", round=1, trainer=who, digest=bytes(32), cid=b"")
    log = at.history.log()
    readers = aggregator.Aggregator(at).readers(log)
    assert set(readers) == {OWNER.public, at.sealing_key.public, *(key.public for key in members.values())}
    blob, key = sealing.seal(b"the sum", readers)
    for reader in (OWNER, at.sealing_key, *honest.values()):
        assert sealing.content_key(blob, reader) == key
    for reader in sybils:
        with pytest.raises(SealError, match="made for others"):
            sealing.content_key(blob, reader)


def test_who_has_left_is_no_reader(past: Past, at: Desk) -> None:
    """Not even one that submitted to the last round."""
    key = SealingKey.fresh().public
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=key)
    past.log("Submitted", round=1, trainer=ME, digest=bytes(32), cid=b"")
    roles = aggregator.Aggregator(at)
    assert key in roles.readers(at.history.log())
    past.log("Left", trainer=ME, refundWei=ETHER)
    assert key not in roles.readers(at.history.log())


# ---------------------------------------------------------------- an earlier aggregator's envelope


@pytest.mark.parametrize("bad", BAD_AGGREGATES)
def test_a_bad_envelope_of_an_earlier_aggregator_does_not_stop_the_next(
    bad: str, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: serve another aggregate than the proven one, and fail; whoever takes office next cannot settle."""
    past.started(1)
    past.settled(1, at.sealing_key, OWNER, served=BAD_AGGREGATES[bad][0])
    past.started(2)
    proven = Decision((1, 2, 3), (1, 1, 1), (1, 1, 1), 5, points_of(aggregate_of(2)))
    monkeypatch.setattr(aggregator, "verify_round", lambda build, proof: proven)
    role = aggregator.Aggregator(at)
    monkeypatch.setattr(role, "proven", lambda *_: ("the proof", aggregate_of(2)))
    past.taken = [Seat(who, False, bytes(32)) for who in TRAINERS]

    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    name, proof, cid, publication = past.sent[-1]
    assert (name, proof, publication) == ("settle", "the proof", b"signed")
    blob = past.store.blobs[next(one for one in past.store.blobs if cid_to_bytes(one) == cid)]
    served = decode_aggregate(unseal(blob, sealing.content_key(blob, OWNER)), MANIFEST)
    assert served.theta == bytes(32) and np.array_equal(served.aggregate.values, aggregate_of(2).values)
    assert heard(at, "the model is not known here")


def test_an_aggregator_that_can_open_all_says_what_the_model_is(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The honest twin."""
    past.started(1)
    past.settled(1, at.sealing_key)
    past.started(2)
    proven = Decision((1, 2, 3), (1, 1, 1), (1, 1, 1), 5, points_of(aggregate_of(2)))
    monkeypatch.setattr(aggregator, "verify_round", lambda build, proof, references: proven)
    state, proof = state_of(Phase.PROVE, round=2, settled=1), SimpleNamespace(references=None)
    role = aggregator.Aggregator(at)
    role.catch_up(at.history.log(), 2)
    past.store.blobs.clear()
    said = role.theta_after(at.history.log(), BUILD, state, proof, aggregate_of(2))  # type: ignore[arg-type]
    first = aggregate_of(1).values * STEP / 3
    assert said == theta_digest(first + aggregate_of(2).values * STEP / 3)


@pytest.mark.parametrize("bad", BAD_AGGREGATES)
def test_a_bad_envelope_is_unavailable_to_those_who_read_it(bad: str, past: Past, at: Desk) -> None:
    served, kind, reason = BAD_AGGREGATES[bad]
    past.started(1)
    past.settled(1, at.sealing_key, served=served, closed=False)
    log = at.history.log()
    with pytest.raises(kind, match=reason) as caught:
        at.history.aggregate(last(log.settled()), log)
    assert isinstance(caught.value, UNAVAILABLE)
    early = at.receive(state_of(Phase.SETTLED, now=900), log, may_claim=True, verified=set())
    assert reason in early and not past.sent
    at.receive(state_of(Phase.SETTLED, now=1000), log, may_claim=True, verified=set())
    assert past.sent == [("claim",)]
    past.log("Closed", round=1, skipped=False)
    past.started(2)
    early = state_of(Phase.SUBMIT, round=2, now=EARLY)
    said = trainer.Trainer(at, learn=lambda lesson: lesson.theta).submit(early)
    assert said and said.startswith("round 2: nothing is submitted yet, ") and reason in said
    assert past.sent == [("claim",)]


# ---------------------------------------------------------------- openings on an aggregator's disk


def seat(past: Past, key: SealingKey, sent: Opening, who: str = OTHER) -> Awaited:
    """A submission in the log and on its seat, sealed and stored; what waits for a receipt."""
    cid = cid_to_bytes(past.store.put(seal_update(sent, key.public)))
    return seated(past, commitment_of(sent, who).digest(), cid, who)


def seated(past: Past, digest: bytes, cid: bytes, who: str = OTHER) -> Awaited:
    past.log("Submitted", round=1, trainer=who, digest=digest, cid=cid)
    word = submission_word(digest, cid)
    past.taken.append(Seat(who, False, word))
    return Awaited(1, who, word)


def test_a_stale_opening_of_another_commitment_on_the_seat_is_not_used(past: Past, at: Desk) -> None:
    """Attack: submit, be fetched, and have a reorganisation put another commitment on the seat."""
    role, key = Admission(at), SealingKey.fresh()
    first, second = opening(1), opening(2)
    taken = seat(past, key, first)
    got = role.opening_of(at.history.log(), key, taken)
    assert np.array_equal(got.opening.values, first.values)
    past.logged.clear()
    taken = seat(past, key, second)
    past.chain.hashes[:] = Blocks(len(past.chain.hashes), fork=1).hashes
    got = role.opening_of(at.history.log(), key, taken)
    assert np.array_equal(got.opening.values, second.values) and got.commitment.points == points_of(second)


@pytest.mark.parametrize("file", [COMMITMENT_FILE, VALUES_FILE, SALTS_FILE])
@pytest.mark.parametrize("damage", ["another's", "empty", "cut", "noise", "gone"])
def test_a_damaged_opening_is_fetched_again_and_no_trainers_fault(
    damage: str, file: str, past: Past, at: Desk, tmp_path: Path
) -> None:
    role, key, sent = Admission(at), SealingKey.fresh(), opening(1)
    taken = seat(past, key, sent)
    log = at.history.log()
    role.opening_of(log, key, taken)
    past.store.asked.clear()
    role.opening_of(log, key, taken)
    assert not past.store.asked, "what is on disk and right is not fetched again"
    (place,) = (at.round_folder(1) / "openings").iterdir()
    data = (place / file).read_bytes()
    if damage == "another's":
        opening(2).save(tmp_path)
        write_json(tmp_path / COMMITMENT_FILE, commitment_of(opening(2), OTHER).to_json())
        (tmp_path / file).replace(place / file)
    elif damage == "gone":
        (place / file).unlink()
    else:
        (place / file).write_bytes({"empty": b"", "cut": data[: len(data) // 2], "noise": b"\x00" * len(data)}[damage])
    got = role.opening_of(log, key, taken)
    assert np.array_equal(got.opening.values, sent.values) and len(past.store.asked) == 1
    assert not role.refusals(1)


# ---------------------------------------------------------------- what gets no receipt


def admitting(past: Past, at: Desk, key: SealingKey) -> tuple[Admission, str]:
    """One look of an aggregator in ADMIT."""
    role = Admission(at)
    return role, role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)


def receipted(past: Past) -> list[list[str | None]]:
    """For whom receipts were sent, a list a transaction."""
    return [list(call[1]) for call in past.sent if call[0] == "admit"]


def test_attack_a_copied_digest_and_cid_get_no_receipt(past: Past, at: Desk) -> None:
    """The digest names its sender: a copy is the digest of nothing that the thief can show."""
    key, sent = SealingKey.fresh(), opening()
    honest = seat(past, key, sent, OTHER)
    copied = at.history.log().submitted(1)[OTHER]
    thief = seated(past, copied.digest, copied.cid, TRAINERS[2])
    assert thief.word == honest.word
    role, said = admitting(past, at, key)
    assert receipted(past) == [[OTHER]] and "1 are refused" in said
    assert role.refusals(1) == {
        TRAINERS[2]: "OpeningMismatch: its points are others than those whose digest was submitted"
    }


def wild(key: SealingKey) -> tuple[Opening, bytes]:
    """An opening with a value beyond the range, whose points are its own."""
    sent = opening()
    values = np.array(sent.values, np.int32)
    values[5] = MANIFEST.bound
    made = Opening(values, sent.salts)
    return made, sealing.seal_update(made, points_of(made), key.public)


def salty(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    sent.salts[0, 1] = sent.salts[0, 0]
    return sent, seal_update(sent, key.public)


def other_points(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    return sent, sealing.seal_update(sent, points_of(opening()), key.public)


def other_values(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    return sent, sealing.seal_update(opening(2), points_of(sent), key.public)


def other_key(key: SealingKey) -> tuple[Opening, bytes]:
    return (sent := opening()), seal_update(sent, SealingKey.fresh().public)


UNPROVABLE: dict[str, tuple[Callable[[SealingKey], tuple[Opening, bytes]], str]] = {
    "a value out of range": (wild, "DomainError: an update's values lie in "),
    "a salt twice": (salty, "SaltReuse: "),
    "points of another digest": (other_points, "OpeningMismatch: its points are others "),
    "values that the points do not commit to": (other_values, "OpeningMismatch: "),
    "sealed to another": (other_key, "SealError: "),
    "noise": (lambda key: (opening(), b"noise"), "SealError: a sealed update has "),
}


@pytest.mark.parametrize("kind", UNPROVABLE)
def test_attack_an_update_with_which_the_round_could_not_be_proven_gets_no_receipt(
    kind: str, past: Past, at: Desk
) -> None:
    """One such update in the set would cost the aggregator its bond. It is refused once, the others are admitted."""
    make, reason = UNPROVABLE[kind]
    key = SealingKey.fresh()
    seat(past, key, opening(3), TRAINERS[2])
    sent, blob = make(key)
    seated(past, commitment_of(sent, OTHER).digest(), cid_to_bytes(past.store.put(blob)))
    role, _ = admitting(past, at, key)
    assert receipted(past) == [[TRAINERS[2]]]
    assert list(role.refusals(1)) == [OTHER] and role.refusals(1)[OTHER].startswith(reason)
    past.store.asked.clear()
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert cid_of(blob) not in past.store.asked, "what can never become right is fetched once"


def test_receipts_share_a_transaction(past: Past, at: Desk) -> None:
    at.poll = 10.0
    key = SealingKey.fresh()
    for seed, who in enumerate(TRAINERS, start=1):
        seat(past, key, opening(seed), who)
    admitting(past, at, key)
    (names,) = receipted(past)
    assert set(names) == set(TRAINERS)


def test_a_receipt_waits_for_others_but_not_long(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: one seat whose update never comes must not keep the others from their receipts."""
    clock = 1000.0
    monkeypatch.setattr(admission, "time", SimpleNamespace(monotonic=lambda: clock))
    at.poll = 1.0
    key = SealingKey.fresh()
    seat(past, key, opening(1), OTHER)
    late = seat(past, key, opening(2), TRAINERS[2])
    blobs = dict(past.store.blobs)
    past.store.blobs.pop(cid_from_bytes(at.history.log().submitted(1)[TRAINERS[2]].cid))
    role, said = admitting(past, at, key)
    assert not receipted(past) and "1 sealed updates are not in the store yet" in said and "1 receipts wait" in said
    clock += admission.GATHER + 1
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert receipted(past) == [[OTHER]]
    past.taken[0] = replace(past.taken[0], admitted=True)
    past.store.blobs.update(blobs)
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert receipted(past) == [[OTHER], [late.trainer]]


def test_no_receipt_waits_when_the_deadline_is_near(past: Past, at: Desk) -> None:
    at.poll = 3600.0
    key = SealingKey.fresh()
    seat(past, key, opening(1), OTHER)
    seated(past, bytes(32), cid_to_bytes(cid_of(b"never")), TRAINERS[2])
    Admission(at).admit(state_of(Phase.ADMIT, now=1010), at.history.log(), key)
    assert receipted(past) == [[OTHER]]


# ---------------------------------------------------------------- a round that starts with a useless key


def kept(folder: Path, made: Opening, who: int, round_id: Any) -> Commitment:
    """What `commit_update` leaves in a folder."""
    found = Commitment(round_id, who, points_of(made))
    made.save(folder)
    write_json(folder / COMMITMENT_FILE, found.to_json())
    return found


@pytest.fixture
def committing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`commit_update` of another update."""

    def commit(build: Any, update: Any, folder: Path, trainer: int, round_id: Any, **_: object) -> Any:
        return SimpleNamespace(commitment=kept(folder, opening(3), trainer, round_id))

    monkeypatch.setattr(update, "commit_update", commit)


@pytest.mark.parametrize("key", [LOW_ORDER, b"\x01" + bytes(31)], ids=["zeros", "one"])
@pytest.mark.usefixtures("committing")
def test_a_key_to_which_nothing_can_be_sealed_keeps_nobody_from_submitting(key: bytes, past: Past, at: Desk) -> None:
    """Attack: start a round with a key of low order; who does not submit pays for the void round."""
    with pytest.raises(SealError):
        seal_update(opening(), key)
    past.started(1, key=key)
    said = trainer.Trainer(at, learn=lambda lesson: lesson.theta).submit(state_of(Phase.SUBMIT))
    assert said and said.startswith("round 1: submitted")
    (name, commitment, cid), (file,) = past.sent[-1], at.round_folder(1).glob("update-*.sealed")
    assert (name, commitment.trainer, cid) == ("submit", int(ME, 16), cid_to_bytes(cid_of(file.read_bytes())))
    assert len(file.read_bytes()) == sealing.sealed_update_size(MANIFEST)


# ---------------------------------------------------------------- a trainer that cannot know the model


@pytest.fixture
def excluded(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The first round's aggregate was served to all but ME; round 2 is open. What is committed is noted."""
    committed: list[np.ndarray] = []

    def commit(build: Any, update: Any, folder: Path, trainer: int, round_id: Any, **_: object) -> Any:
        committed.append(quantise(update, MANIFEST.fixed_point, 1000).values)
        made = open_with_fresh_salts(committed[-1], MANIFEST)
        return SimpleNamespace(commitment=kept(folder, made, trainer, round_id))

    monkeypatch.setattr(update, "commit_update", commit)
    monkeypatch.setattr(Desk, "manifest", MANIFEST)
    past.started(1)
    past.settled(1, OWNER, AGGREGATOR)
    past.started(2)
    return committed


def test_attack_the_aggregate_served_to_all_but_one_costs_that_one_no_place(
    past: Past, at: Desk, excluded: list[np.ndarray]
) -> None:
    """It has nothing to train from. Half of the time it waits for the aggregate; then it submits a zero update, so
    that it does not pay for void rounds. What it cannot know it says, on stderr and in its status."""
    role = trainer.Trainer(at, learn=lambda lesson: pytest.fail("there is nothing to train from"))
    said = role.submit(state_of(Phase.SUBMIT, round=2, now=EARLY))
    assert said and said.startswith(
        "round 2: nothing is submitted yet, a zero update is, when half of the time is gone: "
    )
    assert not past.sent and not excluded
    late = state_of(Phase.SUBMIT, round=2, now=LATE)
    assert str(role.submit(late)).startswith("round 2: submitted")
    (update,), (name, commitment, cid) = excluded, past.sent[-1]
    assert not update.any() and update.shape == (MANIFEST.params,)
    (sealed,) = at.round_folder(2).glob("update-*.sealed")
    assert (name, commitment.round_id.round, cid) == ("submit", 2, cid_to_bytes(cid_of(sealed.read_bytes())))
    assert heard(at, "round 2: WARNING: a zero update is submitted")
    assert list(trainer._zero_updates(at)) == [2] and "without you" in trainer._zero_updates(at)[2]


def test_who_gets_the_aggregate_in_time_trains(past: Past, at: Desk, excluded: list[np.ndarray]) -> None:
    """The honest twin: a store that is slow, and an aggregate that comes in the first half."""
    served = dict(past.store.blobs)
    past.logged.clear()
    past.chain.hashes[:] = Blocks(1, fork=1).hashes
    past.started(1)
    past.settled(1, at.sealing_key)
    past.started(2)
    mine = {cid: blob for cid, blob in past.store.blobs.items() if cid not in served}
    past.store.blobs.clear()
    role = trainer.Trainer(at, learn=lambda lesson: np.full(MANIFEST.params, 2.0**-4))
    assert "nothing is submitted yet" in str(role.submit(state_of(Phase.SUBMIT, round=2, now=EARLY)))
    past.store.blobs.update(mine)
    assert str(role.submit(state_of(Phase.SUBMIT, round=2, now=LATE))).startswith("round 2: submitted")
    assert excluded[0].any() and trainer._zero_updates(at) == {}


def test_a_trainer_that_fails_by_itself_sends_no_zero(past: Past, at: Desk) -> None:
    """A zero stands for a model that nobody can know, not for a program that returns nonsense."""
    past.started(1)
    role = trainer.Trainer(at, learn=lambda lesson: np.zeros(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "commit_update", engine_commit)
        said = role.submit(state_of(Phase.SUBMIT, now=LATE))
    assert said and said.startswith("round 1: nothing is submitted: the update has shape (3,)") and not past.sent


@pytest.mark.parametrize("how", ["cid", "file", "file of later"])
def test_the_owners_keyring_gives_who_was_left_out_the_model_back(
    how: str, past: Past, at: Desk, excluded: list[np.ndarray], tmp_path: Path
) -> None:
    """The owner seals the content keys that it has to all who are trainers now; an outsider opens nothing with it."""
    outsider = SealingKey.fresh()
    past.log("Accepted", aggregator=OTHER, encryptionKey=AGGREGATOR.public)
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=at.sealing_key.public)
    theirs = desk_of(past, tmp_path / "owner")
    vars(theirs)["sealing_key"] = OWNER
    role = owner.Owner(theirs)
    handed = str(theirs.folder / owner.KEYRING_FILE)
    state = state_of(Phase.SUBMIT, round=2)
    if how == "file of later":
        at.folder.mkdir(exist_ok=True)
        Path(handed).parent.mkdir(parents=True)
        Path(handed).write_bytes(sealing.seal(sealing.encode_keyring({}), [at.sealing_key.public])[0])
        at.history.import_keyring(handed)
    role.write()
    role.seal_keyring(state, theirs.history.log())
    cid = cid_of(Path(handed).read_bytes())
    assert cid in past.store.blobs and heard(theirs, f"zkmarket trainer run --keyring {cid}")
    if how != "file of later":
        at.history.import_keyring(cid if how == "cid" else handed)
    learner = trainer.Trainer(at, learn=lambda lesson: np.full(MANIFEST.params, 2.0**-4))
    assert str(learner.submit(state_of(Phase.SUBMIT, round=2, now=EARLY))).startswith("round 2: submitted")
    assert excluded[0].any()
    with pytest.raises(SealError, match="not sealed to this key"):
        past.history(tmp_path / "outsider", outsider).import_keyring(handed)


def test_the_owners_keyring_is_sealed_again_for_who_joins_and_not_otherwise(past: Past, at: Desk) -> None:
    past.log("Accepted", aggregator=OTHER, encryptionKey=AGGREGATOR.public)
    past.log("Joined", trainer=OTHER, stakeWei=ETHER, encryptionKey=SealingKey.fresh().public)
    role, state = owner.Owner(at), state_of(Phase.OPEN)
    role.seal_keyring(state, at.history.log())
    assert not past.store.blobs, "of no round there is no key"
    past.started(1)
    past.settled(1, at.sealing_key)
    role.write()
    for _ in range(2):
        role.seal_keyring(state, at.history.log())
        assert len(past.store.blobs) == 2  # the aggregate, and one keyring
    mine = SealingKey.fresh()
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=mine.public)
    role.seal_keyring(state, at.history.log())
    assert len(past.store.blobs) == 3
    keys = sealing.decode_keyring(
        unseal(blob := (at.folder / owner.KEYRING_FILE).read_bytes(), sealing.content_key(blob, mine))
    )
    assert keys == at.history.keys()
    past.log("Left", trainer=ME, refundWei=ETHER)
    role.seal_keyring(state, at.history.log())
    with pytest.raises(SealError):
        sealing.content_key((at.folder / owner.KEYRING_FILE).read_bytes(), mine)


@pytest.mark.parametrize("what", ["nothing", "Qm", "0x12"])
def test_what_is_neither_file_nor_cid_is_no_keyring(what: str, at: Desk) -> None:
    with pytest.raises(InputError, match=f"no keyring: '{what}' is neither a file nor a CID"):
        at.history.import_keyring(what)


def test_a_keyring_that_no_store_has_yet_is_asked_for_again(past: Past, at: Desk) -> None:
    past.started(1)
    key = past.settled(1, OWNER)
    blob = sealing.seal(sealing.encode_keyring({1: key}), [at.sealing_key.public])[0]
    at.history.import_keyring(cid_of(blob))
    assert heard(at, "the keyring cannot be had yet: no blob")
    log = at.history.log()
    with pytest.raises(SealError, match="sealed before you joined, or without you"):
        at.history.aggregate(last(log.settled()), log)
    past.store.put(blob)
    at.history.aggregate(last(log.settled()), log)


# ---------------------------------------------------------------- handing over


def test_the_update_of_the_seat_is_put_again_until_it_is_admitted(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a reorganisation changes the round's key after the update was sealed; or the store loses what it had."""
    clock = 1000.0
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: clock))
    sent, folder = opening(), at.round_folder(1)
    digest = kept(folder, sent, int(ME, 16), past.round_id(1)).digest()
    blobs = []
    for number in range(3):
        blobs.append(seal_update(sent, SealingKey.fresh().public))
        (folder / f"update-{number}.sealed").write_bytes(blobs[-1])
    words = [submission_word(digest, cid_to_bytes(cid_of(blob))) for blob in blobs]
    mine = Seat(ME, False, words[1])
    past.taken = [Seat(OTHER, False, words[0]), mine]
    role = trainer.Trainer(at, learn=lambda lesson: lesson.theta)
    for _ in range(2):
        assert "waiting for the aggregator's receipt" in role.hand_over(state_of(Phase.ADMIT))
        assert past.store.blobs == {cid_of(blobs[1]): blobs[1]}
        past.store.blobs.clear()
        clock += HAND_OVER_AGAIN + 1
    past.taken[1] = replace(mine, admitted=True)
    assert "admitted" in role.hand_over(state_of(Phase.ADMIT)) and not past.store.blobs


def seated_with_blob(past: Past, at: Desk) -> bytes:
    """ME has a seat; the sealed update that it is to hand over."""
    sent, folder = opening(), at.round_folder(1)
    blob = seal_update(sent, SealingKey.fresh().public)
    digest = kept(folder, sent, int(ME, 16), past.round_id(1)).digest()
    (folder / "update-0.sealed").write_bytes(blob)
    past.taken = [Seat(ME, False, submission_word(digest, cid_to_bytes(cid_of(blob))))]
    return blob


# ---------------------------------------------------------------- a round whose last seat is taken early


@pytest.mark.parametrize("depth", [0, 3])
def test_attack_peek_by_reorg(depth: int, past: Past, tmp_path: Path) -> None:
    """Attack: take the last seat, see what the others hand over, and have a reorganisation give the seat to another
    update. So nothing is handed over before the last submission has as many blocks on it as the trainer wants."""
    made = desk_of(past, tmp_path, confirmations=str(depth))
    for _ in range(10):
        past.chain.mine()
    blob = seated_with_blob(past, made)
    full = past.chain.mine()  # the last seat is taken in this block

    def state(depth: int) -> State:
        block = past.chain.tip()[0] - depth
        return state_of(Phase.ADMIT if block >= full else Phase.SUBMIT, now=900, block=block)

    past.state = state  # type: ignore[attr-defined]
    past.own = replace(past.own, last_round=1)
    role = trainer.Trainer(made, learn=lambda lesson: lesson.theta)
    seen: list[int] = []

    def step(state: State) -> str | None:
        said = role.step(state)
        if past.store.blobs:
            return None
        seen.append(past.chain.tip()[0])
        past.chain.mine()
        return said

    made.run(step)
    assert past.store.blobs == {cid_of(blob): blob}
    assert seen == list(range(full, full + depth)) and past.chain.tip()[0] == full + depth


class Refusing:
    """A store in front of another: what is put fails in some way, until it is told to work."""

    def __init__(self, inner: Any, how: str):
        self.inner, self.how, self.works = inner, how, threading.Event()

    def put(self, data: bytes) -> str:
        if not self.works.is_set():
            if self.how == "hangs":
                assert self.works.wait(30)
            elif self.how == "breaks":
                raise RuntimeError("a bug of a store")
            else:
                raise StoreError("500 full")
        return self.inner.put(data)

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        return self.inner.get(cid, limit)

    def recovers(self, past: Past, cid: bytes) -> None:
        """It works again, and the blob is in it before long."""
        assert cid_from_bytes(cid) not in past.store.blobs
        self.works.set()
        end = time.monotonic() + 30
        while cid_from_bytes(cid) not in past.store.blobs:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture(params=["refuses", "hangs", "breaks"])
def full(request: pytest.FixtureRequest, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    """The desk's store takes nothing."""
    monkeypatch.setattr(desk, "FIRST_PUT", 0.2)
    store = Refusing(past.store, request.param)
    vars(at)["store"] = store
    yield store
    store.works.set()


def test_a_store_that_fails_does_not_end_a_trainer_whose_penalty_runs(past: Past, at: Desk, full: Refusing) -> None:
    """Attack: a store that refuses for an hour. What was not put is put as soon as it can be."""
    blob = seated_with_blob(past, at)
    role = trainer.Trainer(at, learn=lambda lesson: lesson.theta)
    assert "waiting for the aggregator's receipt" in role.hand_over(state_of(Phase.ADMIT))
    full.recovers(past, cid_to_bytes(cid_of(blob)))


def test_an_update_that_can_earn_nothing_any_more_is_put_nowhere(past: Past, at: Desk) -> None:
    """The time to admit is over: who saw the update now would have it for nothing."""
    full = Refusing(past.store, "refuses")
    vars(at)["store"] = full
    role = trainer.Trainer(at, learn=lambda lesson: lesson.theta)
    at.put(b"an update", state_of(Phase.ADMIT))
    assert at.delivery.waiting() == [cid_of(b"an update")]
    role.step(state_of(Phase.PROVE))
    assert at.delivery.waiting() == []


@pytest.mark.parametrize("root", ["none", "admitted", "missing"])
def test_a_round_is_locked_early_when_everything_that_was_offered_is_admitted(root: str, past: Past, at: Desk) -> None:
    """The root update, too: without its receipt it costs both a penalty, and the contract refuses an early lock."""
    past.taken = [Seat(who, True, bytes(32)) for who in TRAINERS]
    if root != "none":
        past.log("RootOffered", round=1, digest=bytes(32), cid=b"Qm")
    if root == "admitted":
        past.log("RootAdmitted", round=1)
    called = aggregator.Aggregator(at).close(state_of(Phase.ADMIT, now=950))
    assert (called, past.sent) == ((None, []) if root == "missing" else ("lock", [("lock",)]))


# ---------------------------------------------------------------- a settlement that one transaction does not hold


@pytest.mark.parametrize("before", ["nothing", "another's", "its own"])
def test_a_settlement_in_two_transactions_goes_on_where_it_was_killed(
    before: str, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base proof that the chain has is not sent again; one with another seed is none of this settlement."""
    role = settling(past, at, monkeypatch)
    monkeypatch.setattr(aggregator, "fits_one", lambda shape: False)
    past.proven = {"nothing": set(), "another's": {bytes(32)}, "its own": {SEED}}[before]
    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    names = [call[0] for call in past.sent if call[0] != "sign_publication"]
    assert names == ["settle_proven"] if before == "its own" else ["prove_base", "settle_proven"]


def test_a_last_aggregate_that_cannot_be_worked_with_keeps_the_office_untaken(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a predecessor that leaves an aggregate with which no round could be proven; the bond would be lost."""
    monkeypatch.setattr(Desk, "inspected", lambda self: None)
    monkeypatch.setattr(Desk, "manifest", SimpleNamespace(references=("last",)))
    past.started(1)
    past.settled(1, at.sealing_key)
    role = aggregator.Aggregator(at)
    checked: list[Aggregate] = []

    def refuse(manifest: Any, last: Aggregate) -> None:
        checked.append(last)
        raise InputError("the last aggregate is longer than the sum of 3 updates can be")

    with monkeypatch.context() as patch:
        patch.setattr(aggregator, "check_last", refuse)
        assert "the office is not taken: round 2 cannot be started" in role.accept(state_of(Phase.VACANT))
    assert np.array_equal(checked[0].values, aggregate_of(1).values) and not past.sent
    monkeypatch.setattr(aggregator, "check_last", lambda manifest, last: None)
    assert role.accept(state_of(Phase.VACANT)) == "accepted" and past.sent == [("accept", at.sealing_key.public)]


# ---------------------------------------------------------------- a store that takes nothing from an aggregator


def test_attack_a_store_that_takes_nothing_costs_no_bond(
    past: Past, at: Desk, full: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settlement is sent in time, with the CID of what is on disk; the putting goes on after it."""
    role = settling(past, at, monkeypatch)
    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    name, _, cid, _ = past.sent[-1]
    assert name == "settle" and not past.store.asked, "it does not wait for what a store should give either"
    blob = (at.round_folder(2) / aggregator.SEALED_FILE).read_bytes()
    assert cid == cid_to_bytes(cid_of(blob)) and at.delivery.waiting() == [cid_of(blob)]
    full.recovers(past, cid)
    assert past.store.blobs[cid_of(blob)] == blob


def test_attack_a_store_that_takes_nothing_and_a_process_that_is_killed(
    past: Past, at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the settlement was sent, the blob was on disk: the next process puts it, without a look at the round."""
    vars(at)["store"] = Refusing(past.store, "refuses")
    role = settling(past, at, monkeypatch)

    def killed(*_: object) -> None:
        assert at.delivery.waiting(), "it is on disk before the transaction is sent"
        raise KeyboardInterrupt

    monkeypatch.setattr(past, "settle", killed, raising=False)
    with pytest.raises(KeyboardInterrupt):
        role.settle(state_of(Phase.PROVE, round=2, settled=1))
    (cid,) = at.delivery.waiting()
    assert cid not in past.store.blobs
    again = desk_of(past, tmp_path)
    past.state = lambda depth: state_of(Phase.SETTLED, round=2)  # type: ignore[attr-defined]
    looks = iter(range(100_000))
    again.run(lambda state: None if not again.delivery.waiting() or next(looks, None) is None else "waiting")
    assert cid in past.store.blobs and again.delivery.waiting() == []


def test_attack_a_store_that_takes_no_keyring_keeps_no_round_from_starting(
    past: Past, at: Desk, full: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.started(1)
    past.settled(1, at.sealing_key)
    for who in TRAINERS:
        past.log("Joined", trainer=who, stakeWei=ETHER, encryptionKey=SealingKey.fresh().public)
    assert aggregator.Aggregator(at).start(state_of(Phase.OPEN, now=920)) == "started"
    name, _, keyring = past.sent[-1]
    assert name == "start"
    full.recovers(past, keyring)


def test_an_aggregate_that_the_store_has_lost_is_put_again_when_somebody_claims(past: Past, at: Desk) -> None:
    role, state = aggregator.Aggregator(at), state_of(Phase.SETTLED, aggregator=ME)
    blob = b"sealed"
    at.round_folder(1).mkdir(parents=True)
    (at.round_folder(1) / aggregator.SEALED_FILE).write_bytes(blob)
    role.step(state)
    assert not past.store.blobs
    past.log("Claimed", round=1, who=OTHER, held=False)
    role.step(state)
    assert past.store.blobs == {cid_of(blob): blob}


def settling(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> aggregator.Aggregator:
    """An aggregator whose second round is proven."""
    past.started(1)
    past.settled(1, at.sealing_key)
    past.started(2)
    proven = Decision((1, 2, 3), (1, 1, 1), (1, 1, 1), 5, points_of(aggregate_of(2)))
    monkeypatch.setattr(aggregator, "verify_round", lambda *_, **__: proven)
    monkeypatch.setattr(aggregator, "last_seed", lambda *_: SEED)
    role = aggregator.Aggregator(at)
    proof = SimpleNamespace(references=NO_REFERENCES)
    monkeypatch.setattr(role, "proven", lambda *_: (proof, aggregate_of(2)))
    past.taken = [Seat(who, False, bytes(32)) for who in TRAINERS]
    return role


# ---------------------------------------------------------------- claims


def test_a_machine_that_fails_claims_nothing(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim costs the aggregator; it is made for what is not served, not for want of memory here."""
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    log, state = at.history.log(), state_of(Phase.SETTLED)

    def fails(*_: object) -> None:
        raise BackendError("no memory")

    with monkeypatch.context() as patch, pytest.raises(BackendError):
        patch.setattr(backend, "commit", fails)
        at.receive(state, log, may_claim=True, verified=set())
    assert not past.sent
    assert "opens its commitment" in at.receive(state, log, may_claim=True, verified=set())


def test_what_is_not_served_is_claimed_by_who_had_a_seat_and_unclaimed(past: Past, at: Desk) -> None:
    """The honest twin."""
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    served, state = dict(past.store.blobs), state_of(Phase.SETTLED)
    past.store.blobs.clear()
    at.receive(state, at.history.log(), may_claim=False, verified=set())
    assert not past.sent
    at.receive(state, at.history.log(), may_claim=True, verified=set())
    assert past.sent == [("claim",)]
    past.log("Claimed", round=1, who=ME, held=True)
    past.store.blobs.update(served)
    at.receive(state, at.history.log(), may_claim=True, verified=set())
    assert past.sent == [("claim",), ("unclaim",)]


# ---------------------------------------------------------------- the owner's model


def three_rounds(past: Past, at: Desk) -> str:
    """The CID of the second's envelope."""
    for number in (1, 2, 3):
        past.started(number)
        past.settled(number, at.sealing_key)
    return last(one for one in at.history.log().settled() if one.round == 2).cid or ""


def test_one_round_that_cannot_be_opened_leaves_the_owner_the_model_before_it(past: Past, at: Desk) -> None:
    """Attack: serve one round's aggregate to nobody, so that the owner never gets any model."""
    lost = three_rounds(past, at)
    kept = past.store.blobs.pop(lost)
    role = owner.Owner(at)
    found = role.write()
    first = aggregate_of(1).values * STEP / 3
    assert (found["rounds"], found["theta"]) == (1, theta_digest(first).hex())
    assert found["missing"] == f"round 2: no blob {lost}"
    assert np.array_equal(
        load_npz(at.folder / "model.npz", "model", {"weight": 4 * MANIFEST.params})["weight"], first.astype(np.float32)
    )
    past.store.blobs[lost] = kept
    found = role.write()
    assert (found["rounds"], found["missing"]) == (3, None)


def test_a_keyring_has_all_rounds_but_those_that_cannot_be_opened(past: Past, at: Desk) -> None:
    past.store.blobs.pop(three_rounds(past, at))
    keys = owner.keyring(at)
    assert set(keys) == {"1", "3"} and heard(at, "round 2 is not in the keyring: no blob")


# ---------------------------------------------------------------- rounds that nobody has verified


def test_a_trainer_verifies_every_round_before_it_trains_from_it(past: Past, at: Desk) -> None:
    """A trainer that comes late, or was away, has seen no round being settled."""
    three_rounds(past, at)
    role = trainer.Trainer(at, learn=lambda lesson: lesson.theta)
    role.lesson(at.history.log(), 3)
    assert past.verified == [1, 2]
    role.lesson(at.history.log(), 4)
    assert past.verified == [1, 2, 3]


def test_a_round_that_does_not_verify_is_not_trained_from(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_rounds(past, at)

    def rejected(*_: object) -> None:
        raise ProofRejected("round 2: wrong")

    monkeypatch.setattr(past, "round_proof", rejected)
    learnt: list[Any] = []
    past.started(4)
    with pytest.raises(ProofRejected):
        trainer.Trainer(at, learn=learnt.append).submit(state_of(Phase.SUBMIT, round=4))  # type: ignore[arg-type]
    assert not learnt and not past.sent


# ---------------------------------------------------------------- confirmations


@pytest.mark.parametrize("depth, account", [(3, True), (0, True), (3, False)])
def test_no_step_is_taken_before_the_own_transaction_is_deep_enough(
    depth: int, account: bool, past: Past, tmp_path: Path
) -> None:
    """A state from before a transaction shows nothing of it: what was done would be done, and paid, twice."""
    made = desk_of(past, tmp_path, account=account, confirmations=str(depth))
    for _ in range(10):
        past.chain.mine()
    asked: list[int] = []

    def state(depth: int) -> State:
        past.chain.mine()  # a block a look
        asked.append(block := past.chain.tip()[0] - depth)
        return state_of(Phase.OPEN, block=block)

    steps: list[int] = []
    sent_in: list[int] = []

    def step(state: State) -> str | None:
        steps.append(state.block)
        if not sent_in and account:
            sent_in.append(past.chain.mine())
            made.wallet.sent_block = sent_in[0]
        return None if len(steps) == 3 else "waiting"

    past.state = state  # type: ignore[attr-defined]
    made.run(step)
    assert steps[0] == asked[0] and len(steps) == 3
    if account:
        assert min(steps[1:]) >= sent_in[0]
    if depth and account:
        assert [block for block in asked if block < sent_in[0]] == [asked[0], *range(asked[0] + 2, sent_in[0])]
        assert heard(made, "waiting for 3 blocks on top of the last transaction")
    else:
        assert steps == asked


def lagging(past: Past, made: Desk, depth: int) -> None:
    """The chain is looked at `depth` blocks deep; it gets a block every third look."""
    looks = itertools.count()

    def state(depth: int) -> State:
        if next(looks) % 3 == 2:
            past.chain.mine()
        return state_of(Phase.ADMIT, block=past.chain.tip()[0] - depth)

    assert made.depth == depth
    past.state = state  # type: ignore[attr-defined]


REFUSED = TransactionReverted("lock was reverted: WrongPhase(have=PROVE, want=ADMIT)", "WrongPhase(…)")


@pytest.mark.parametrize("depth", [2, 10, 40])
def test_attack_a_lock_of_somebody_elses_ends_no_process(depth: int, past: Past, tmp_path: Path) -> None:
    """A state of many blocks ago does not show it: the same refusal comes until it does, many times."""
    made = desk_of(past, tmp_path, confirmations=str(depth))
    for _ in range(2 * depth):
        past.chain.mine()
    lagging(past, made, depth)
    theirs, refusals = past.chain.mine(), 0

    def step(state: State) -> str | None:
        nonlocal refusals
        if state.block >= theirs:
            return None
        refusals += 1
        assert refusals < 4 * depth
        raise REFUSED

    made.run(step)
    assert refusals > depth and (depth < 10 or refusals > loop.REFUSALS)


@pytest.mark.parametrize("depth", [0, 10])
def test_a_refusal_that_no_block_explains_ends_the_program(depth: int, past: Past, tmp_path: Path) -> None:
    """The honest twin: five of them, by states that have what was the latest block at the first."""
    made = desk_of(past, tmp_path, confirmations=str(depth))
    for _ in range(2 * depth):
        past.chain.mine()
    first, blocks = past.chain.tip()[0], []
    lagging(past, made, depth)

    def step(state: State) -> str | None:
        blocks.append(state.block)
        raise REFUSED

    with pytest.raises(TransactionReverted, match="lock was reverted: WrongPhase"):
        made.run(step)
    assert len([block for block in blocks if block >= first]) == loop.REFUSALS
    assert heard(made, "WrongPhase(have=PROVE, want=ADMIT); looking again")


@pytest.mark.parametrize("really", [True, False])
def test_an_aggregator_that_was_named_lately_waits_for_the_state_that_shows_it(
    really: bool, past: Past, tmp_path: Path
) -> None:
    """A state of ten blocks ago has the old one in office; that is no reason to end."""
    made = desk_of(past, tmp_path, confirmations="10")
    past.state = lambda depth=0: state_of(Phase.VACANT, aggregator=ME if really and not depth else OTHER)  # type: ignore[attr-defined]
    role, old = aggregator.Aggregator(made), state_of(Phase.VACANT, aggregator=OTHER)
    if really:
        assert role.step(old) == "named as the aggregator; waiting for 10 blocks on top of that"
    else:
        with pytest.raises(InputError, match=f"the aggregator of .* is {OTHER}, not {ME}"):
            role.step(old)


def test_updates_that_no_store_has_hold_no_other_up(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: many seats whose updates never come, each of which takes as long as a store may hang."""
    key, sent = SealingKey.fresh(), opening()
    *lost, honest = [seat(past, key, sent, f"0x{number:040x}") for number in range(1, 21)]
    mine = at.history.log().submitted(1)[str(honest.trainer)].cid
    gone = threading.Event()

    def get(cid: str, limit: int = MAX_BLOB) -> bytes:
        if cid_to_bytes(cid) != mine:
            assert gone.wait(30)
            raise StoreError("never")
        return past.store.blobs[cid]

    monkeypatch.setattr(past.store, "get", get)
    given = []

    def admit(sender: Any, receipts: Any) -> None:
        given.append(list(receipts))
        gone.set()  # before any of the others has ended

    monkeypatch.setattr(past, "admit", admit, raising=False)
    _, said = admitting(past, at, key)
    assert "19 sealed updates are not in the store yet" in said
    assert given == [[honest.trainer]] and len(lost) == 19


def test_refusals_that_are_mined_end_the_program_too(past: Past, tmp_path: Path) -> None:
    """Each costs gas, and has another hash; what is waited for in between is no success."""
    made = desk_of(past, tmp_path, confirmations="3")
    for _ in range(10):
        past.chain.mine()
    lagging(past, made, 3)
    tries = itertools.count()

    def step(state: State) -> str | None:
        assert next(tries) < 20
        made.wallet.sent_block = past.chain.mine()
        raise TransactionReverted(f"start was reverted: transaction 0x{next(tries):064x}")

    with pytest.raises(TransactionReverted, match="start was reverted"):
        made.run(step)


# ---------------------------------------------------------------- a folder's project and chain


class Fork(Blocks):
    def __init__(self, fork: int = 0, id: int = 31337):
        super().__init__(1, fork)
        self.id = id


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Exit code of `zkmarket trainer status` in one folder, on a chain that is given."""
    keystore = SimpleNamespace(address=ME, sent_block=0)
    monkeypatch.setattr(wallet.Wallet, "open", lambda *_: keystore)
    monkeypatch.setattr(trainer, "status", lambda at: {"rounds": []})

    def run(chain: Any, *words: str) -> int:
        monkeypatch.setenv("ZKMARKET_PASSWORD", "test")  # it is taken out of the environment
        chain.settle_outbox = lambda wallet: None
        monkeypatch.setattr(desk, "connect", lambda rpc: contextlib.nullcontext(chain))
        at = ["--state", str(tmp_path), "--rpc", "http://127.0.0.1:1", "--keystore", str(tmp_path / "key")]
        return main(["trainer", "status", *at, "--json", *words])

    return run


def test_a_folder_is_of_one_chain(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Attack: a node with the same chain id and another past: old rounds' files would serve for new ones."""
    here = ("--project", PROJECT)
    assert status(Fork(), *here) == status(Fork()) == 0
    capsys.readouterr()
    for other, name in ((Fork(id=1337), "chain"), (Fork(fork=1), "the chain with genesis")):
        assert status(other, *here) == 2
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == 2 and f"belongs to {name} " in said["message"]
    assert status(Fork(), *here) == 0


def test_a_folder_is_of_one_project(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(Fork(), "--project", PROJECT) == 0
    capsys.readouterr()
    assert status(Fork(), "--project", "0x" + "cd" * 20) == 2
    said = json.loads(capsys.readouterr().out)
    assert "belongs to project" in said["message"] and "choose a new folder" in said["message"]
    assert status(Fork()) == status(Fork(), "--project", PROJECT) == 0


# ---------------------------------------------------------------- before keys are made


CHANGES = [("min_trainers", 2), ("max_trainers", 4), ("params", MANIFEST.params + 1), ("logrows", 20)]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For whom keys were made."""
    made: list[Any] = []
    monkeypatch.setattr(desk, "make_builds", lambda prospectus, *_: made.append(prospectus) or {3: BUILD})
    return made


@pytest.mark.parametrize("name, value", CHANGES)
def test_a_prospectus_of_other_numbers_costs_no_work(name: str, value: int, at: Desk, keys: list[Any]) -> None:
    """Attack: terms of a small model, and a prospectus whose keys take hours and all memory."""
    del at.builds
    at.terms = replace(TERMS, **{name: value})
    with pytest.raises(ProofRejected, match="the contract's terms are"):
        _ = at.builds
    assert not keys
    at.terms = TERMS
    assert at.builds == {3: BUILD} and keys == [PROSPECTUS]


ACTS: dict[str, Callable[[Desk], Any]] = {
    "join": trainer.join,
    "submit with a stake to fill up": lambda at: trainer.Trainer(at, lambda _: _).run(),  # type: ignore[arg-type,return-value]
    "train and join": lambda at: trainer.Trainer(at, lambda _: _, join=True).run(),  # type: ignore[arg-type,return-value]
    "start with a bond to fill up": lambda at: aggregator.Aggregator(at).run(),
    "import a keyring": lambda at: at.history.import_keyring(at.folder / "keyring"),
    "withdraw": withdraw,
    "status": trainer.status,
    "audit": lambda at: auditor.Auditor(at).run(),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_project_of_another_factory_gets_no_key_and_no_money(
    act: str, past: Past, at: Desk, keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a contract that looks like a project in which the reader has a part, and asks for a little more."""
    for name in ("builds", "project"):
        delattr(at, name)
    order: list[str] = []
    wrong = Inspection(PROJECT, wrong=["its factory is another"])
    monkeypatch.setattr(desk, "inspect_origin", lambda *_: order.append("origin") or wrong)
    monkeypatch.setattr(desk, "inspect", lambda *_: order.append("all") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "Project", lambda chain, address: past)
    past.own = replace(past.own, stake_wei=ETHER if act == "join" else 1, credit=ETHER, refund_wei=1)
    phase = Phase.SUBMIT if "stake" in act else Phase.OPEN
    looks = iter(range(3))  # so that a role that is deceived ends

    def state(depth: int = 0) -> State:
        assert next(looks, None) is not None, "it works for a stranger"
        return state_of(phase, aggregator=ME, bond_wei=1)

    past.state = state  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="stay away from .*: its factory is another"):
        ACTS[act](at)
    assert not keys and order == ["origin"] and not past.sent


def test_a_project_is_compared_with_the_callers_keys_once_its_origin_is_right(
    past: Past, at: Desk, keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The honest twin."""
    for name in ("builds", "project"):
        delattr(at, name)
    order: list[str] = []
    monkeypatch.setattr(desk, "inspect_origin", lambda *_: order.append("origin") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "inspect", lambda *_: order.append("all") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "Project", lambda chain, address: past)
    at.inspected()
    assert keys == [PROSPECTUS] and order == ["origin", "all"]


# ---------------------------------------------------------------- joining again


def test_joining_with_a_full_stake_registers_the_folders_key(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder that is lost another key is on chain: everything would be sealed to it."""
    monkeypatch.setattr(Desk, "inspected", lambda self: None)
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=AGGREGATOR.public)
    trainer.join(at)
    assert past.sent == [("join", b"", at.sealing_key.public)]
    past.log("Joined", trainer=ME, stakeWei=0, encryptionKey=at.sealing_key.public)
    assert trainer.join(at) is None and len(past.sent) == 1
    past.own = replace(past.own, stake_wei=ETHER // 2)  # a penalty was taken
    trainer.join(at)
    assert past.sent[1:] == [("join", b"", at.sealing_key.public)]


def test_a_store_that_is_away_is_unavailable_too() -> None:
    assert StoreError in UNAVAILABLE and BackendError not in UNAVAILABLE
