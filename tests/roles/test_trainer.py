"""Trainers whom others keep from training, from submitting, or from handing over: no step of theirs harms them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import (
    EARLY,
    LATE,
    LOW_ORDER,
    Refusing,
    desk_of,
    heard,
    kept,
    opening,
    seal_update,
    seated_with_blob,
)
from tests.support.past import (
    AGGREGATOR,
    ETHER,
    MANIFEST,
    ME,
    OTHER,
    OWNER,
    TRAINERS,
    Blocks,
    Past,
    last,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.errors import (
    InputError,
    SealError,
)
from zkmarket.market import (
    SealingKey,
    Seat,
    State,
    sealing,
    submission_word,
    unseal,
)
from zkmarket.roles import (
    HAND_OVER_AGAIN,
    Desk,
    aggregator,
    owner,
    trainer,
    update,
)
from zkmarket.round import commit_update as engine_commit
from zkmarket.round import (
    open_with_fresh_salts,
)
from zkmarket.storage import cid_of, cid_to_bytes
from zkmarket.updates.quantise import quantise

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


# ---------------------------------------------------------------- a round that starts with a useless key


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
    past.theta = Past().theta
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
