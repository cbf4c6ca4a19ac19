"""What a store, an aggregator or a chain that changes its mind may do to a role's view of the past: nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.past import (
    AGGREGATOR,
    BUILD,
    ETHER,
    MANIFEST,
    ME,
    MEAN,
    OTHER,
    OWNER,
    TRAINERS,
    Blocks,
    Past,
    aggregate_of,
    commits,
    last,
)
from zkmarket import backend
from zkmarket.chain import Event
from zkmarket.crypto import GENERATOR
from zkmarket.errors import BackendError, InputError, OpeningMismatch, ProofRejected, SealError
from zkmarket.market import History, Log, SealingKey, encode_aggregate, history, points_hash
from zkmarket.round import Aggregate, Commitment, Decision, KnownReferences

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["commits"]  # the fixture

READER = SealingKey.fresh()
GARBAGE = b"\xee" * 32


@pytest.fixture
def past() -> Past:
    return Past()


def opened(history: History, number: int = 1) -> np.ndarray:
    log = history.log()
    return history.aggregate(next(one for one in log.settled() if one.round == number), log).values


def right(number: int = 1) -> np.ndarray:
    return aggregate_of(number).values


# ---------------------------------------------------------------- the log


def test_a_flood_of_events_is_read_once(past: Past, tmp_path: Path) -> None:
    """Attack: thousands of cheap events, so that whoever reads the whole log at each look falls behind."""
    history = past.history(tmp_path, None)
    for number in range(1, 4):
        past.started(number)
        assert len(history.log().events) == number
        assert len(history.log().events) == number
    assert past.asked == [(0, 1), (2, 2), (3, 3)]


def test_what_a_reorganisation_took_back_is_forgotten(past: Past, tmp_path: Path) -> None:
    """Attack: a start with one key, and after a reorganisation one with another."""
    history = past.history(tmp_path, None)
    past.started(1, key=b"\x01" * 32)
    assert history.log().started(1).encryption_key == b"\x01" * 32
    past.chain.hashes.pop()
    past.chain.mine(fork=1)
    past.logged[0] = Event("Started", past.logged[0].arguments | {"encryptionKey": b"\x02" * 32}, 1, "0x")
    assert history.log().started(1).encryption_key == b"\x02" * 32
    assert past.asked == [(0, 1), (0, 1)]


def test_a_chain_that_is_shorter_now_is_read_again(past: Past, tmp_path: Path) -> None:
    history = past.history(tmp_path, None)
    past.started(1)
    assert history.log().events
    past.chain.hashes.pop()
    past.logged.clear()
    assert not history.log().events


def test_a_reorganisation_while_the_log_is_read_is_found_at_the_next_look(tmp_path: Path) -> None:
    """Attack: the last block is replaced, and another mined on it, between any two questions of one look."""

    class Turning(Blocks):
        """Turns over just before its n-th answer, for once."""

        answers = 0

        def answering(self) -> None:
            self.answers -= 1
            if self.answers == 0:
                del self.hashes[1:]
                self.mine(fork=1)
                self.mine(fork=1)
                past.logged[:] = [Event("Started", past.logged[0].arguments | {"encryptionKey": b"\x02" * 32}, 1, "0x")]

        def tip(self) -> tuple[int, bytes]:
            self.answering()
            return super().tip()

        def block_hash(self, number: int) -> bytes | None:
            self.answering()
            return super().block_hash(number)

    class Read(Past):
        def events(self, *where: Any) -> tuple[Event, ...]:
            self.chain.answering()
            return super().events(*where)

    for before in (1, 2, 3):
        past = Read(chain=Turning())
        history = past.history(tmp_path, None)
        past.started(1, key=b"\x01" * 32)
        history.log()
        past.chain.mine()
        past.chain.answers = before
        history.log()
        assert past.chain.answers <= 0, "it has turned"
        assert history.log().started(1).encryption_key == b"\x02" * 32, f"before answer {before}"


# ---------------------------------------------------------------- members


def joined(who: str, stake: int = ETHER, key: bytes = b"\x01" * 32) -> Event:
    return Event("Joined", {"trainer": who, "stakeWei": stake, "encryptionKey": key}, 1, "0x")


def burnt(name: str, amount: int, **more: bool) -> Event:
    return Event(name, {"trainer": ME, "round": 1, "burntWei": amount, **more}, 2, "0x")


@pytest.mark.parametrize(
    "penalty",
    [
        [burnt("Refused", ETHER)],
        [burnt("Refused", ETHER // 2), burnt("Refused", ETHER // 2)],
        [burnt("Skipped", ETHER, removed=True)],
        [burnt("Skipped", ETHER // 2, removed=False), burnt("Refused", ETHER // 2)],
    ],
)
def test_a_stake_that_penalties_ate_makes_no_member(penalty: list[Event]) -> None:
    """Attack: a penalty as high as the stake; who has paid it would be waited for, and read on, for ever."""
    both = (joined(ME), joined(OTHER))
    assert set(Log(both).members()) == {ME, OTHER}
    assert set(Log((*both, *penalty)).members()) == {OTHER}
    again = Log((*both, *penalty, joined(ME, key=b"\x02" * 32))).members()
    assert again == {ME: b"\x02" * 32, OTHER: b"\x01" * 32}


def test_a_stake_that_is_left_keeps_a_member_and_a_new_key_costs_nothing() -> None:
    events = (joined(ME), burnt("Refused", ETHER - 1), joined(ME, stake=0, key=b"\x03" * 32))
    assert Log(events).members() == {ME: b"\x03" * 32}


# ---------------------------------------------------------------- aggregates that are not the proven ones


BAD = {
    "another aggregate": (aggregate_of(9), OpeningMismatch),
    "salts that are no field elements": (
        Aggregate(aggregate_of(1).values, np.full_like(aggregate_of(1).salts, 255)),
        InputError,
    ),
    "the largest values": (Aggregate(np.full_like(right(), -(2**63)), aggregate_of(1).salts), OpeningMismatch),
}


@pytest.mark.parametrize("what", BAD)
def test_an_aggregate_that_was_not_proven_is_refused_and_not_kept(what: str, past: Past, tmp_path: Path) -> None:
    served, reason = BAD[what]
    past.started(1)
    past.settled(1, READER, served=served)
    history = past.history(tmp_path, READER)
    with pytest.raises(reason):
        opened(history)
    assert not history.keys() and not list(tmp_path.rglob("*.bin"))


KEPT = {"nothing": b"", "noise": b"x" * 100, "another": encode_aggregate(aggregate_of(9))}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_a_kept_aggregate_that_opens_nothing_is_fetched_again(kept: bytes, past: Past, tmp_path: Path) -> None:
    """Attack: a reorganisation puts another aggregate under the number of one that was opened."""
    past.started(1)
    past.settled(1, READER)
    file = tmp_path / "aggregates" / "00001.bin"
    file.parent.mkdir()
    file.write_bytes(kept)
    assert np.array_equal(opened(past.history(tmp_path, READER)), right())
    past.store.blobs.clear()
    assert np.array_equal(opened(past.history(tmp_path, READER)), right())  # what is kept now is the right one


def test_a_kept_aggregate_stays_when_this_machine_fails(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.started(1)
    past.settled(1, READER)
    opened(past.history(tmp_path, READER))

    def fails(*_: object) -> None:
        raise BackendError("no memory")

    with monkeypatch.context() as patch, pytest.raises(BackendError):
        patch.setattr(backend, "commit", fails)
        opened(past.history(tmp_path, READER))
    past.store.blobs.clear()
    assert np.array_equal(opened(past.history(tmp_path, READER)), right())


# ---------------------------------------------------------------- keyrings that lie


def test_a_keyring_of_garbage_is_never_stored(past: Past, tmp_path: Path) -> None:
    """Attack: a new aggregator's keyring with wrong keys, of rounds that are to come too."""
    past.started(1)
    key = past.settled(1, READER)
    past.started(2, past.keyring({1: GARBAGE, 2: GARBAGE, 3: GARBAGE}, READER))
    history = past.history(tmp_path, READER)
    assert np.array_equal(opened(history), right())
    second = past.settled(2, READER)
    past.started(3, past.keyring({1: GARBAGE, 2: GARBAGE, 3: GARBAGE}, READER))
    assert np.array_equal(opened(history, 2), right(2))
    assert history.keys() == {1: key, 2: second}


def test_a_keyring_of_garbage_alone_stores_nothing(past: Past, tmp_path: Path) -> None:
    past.started(1)
    past.settled(1, OWNER)
    past.started(2, past.keyring({1: GARBAGE, 2: GARBAGE}, READER))
    history = past.history(tmp_path, READER)
    with pytest.raises(SealError, match="does not open with this content key"):
        opened(history)
    assert not history.keys()
    key = past.settled(2, READER)
    assert np.array_equal(opened(history, 2), right(2)) and history.keys() == {2: key}


def test_an_older_honest_keyring_serves_behind_a_newer_one_that_lies(past: Past, tmp_path: Path) -> None:
    past.started(1)
    key = past.settled(1, OWNER)
    past.started(2, past.keyring({1: key}, READER, OWNER))
    past.started(3, past.keyring({1: GARBAGE}, READER))
    past.started(4, b"\x12\x20" + bytes(32))  # of a blob that nobody has
    past.started(5, past.keyring({1: GARBAGE}, OWNER))  # not for this reader
    past.started(6, past.keyring({}, READER))
    history = past.history(tmp_path, READER)
    assert np.array_equal(opened(history), right()) and history.keys() == {1: key}


def test_an_imported_key_that_opens_nothing_gives_way(past: Past, tmp_path: Path) -> None:
    past.started(1)
    first = past.settled(1, READER)
    past.started(2)
    second = past.settled(2, OWNER)
    past.started(3, past.keyring({2: second}, READER))
    (tmp_path / "from-the-owner.json").write_text(json.dumps({1: GARBAGE.hex(), 2: "ab", 3: GARBAGE.hex()}))
    history = past.history(tmp_path, READER)
    history.import_keyring(tmp_path / "from-the-owner.json")
    assert np.array_equal(opened(history, 1), right(1)) and np.array_equal(opened(history, 2), right(2))
    assert history.keys() == {1: first, 2: second, 3: GARBAGE}


def test_an_imported_key_replaces_one_that_opens_nothing(past: Past, tmp_path: Path) -> None:
    past.started(1)
    key = past.settled(1, OWNER)
    history = past.history(tmp_path, READER)
    for number, text in enumerate((GARBAGE.hex(), key.hex())):
        (tmp_path / f"{number}.json").write_text(json.dumps({1: text}))
        history.import_keyring(tmp_path / f"{number}.json")
    assert np.array_equal(opened(history), right())


# ---------------------------------------------------------------- verifying


def test_a_settlement_that_was_passed_on_is_taken_on_the_contracts_word_and_said(past: Past, tmp_path: Path) -> None:
    past.started(1)
    past.settled(1, AGGREGATOR)
    said: list[str] = []
    history = past.history(tmp_path, None, said)
    log = history.log()
    decision = history.verify(last(log.settled()), log)
    assert decision.mask == (1, 1, 1) and decision.nu == 500
    assert history.passed_on == {1}
    assert said == ["round 1: passed on by another contract; taken on the contract's word"]


def proven_with(past: Past, monkeypatch: pytest.MonkeyPatch, root: Commitment | None = None) -> list[Commitment]:
    """A settlement whose proof is in calldata, and verifies; the commitments that it is of."""
    commitments = [Commitment(past.round_id(1), int(who, 16), (GENERATOR,)) for who in TRAINERS]
    said = decided(past)
    monkeypatch.setattr(past, "round_proof", lambda *_: SimpleNamespace(commitments=commitments), raising=False)
    monkeypatch.setattr(past, "references", lambda *_: KnownReferences(root), raising=False)
    monkeypatch.setattr(history, "verify_round", lambda *_, **__: said)
    return commitments


def decided(past: Past) -> Decision:
    (event,) = [event for event in past.logged if event.name == "Settled"]
    said = event.arguments["settlement"]
    points = tuple(zip(said["aggregate"][::2], said["aggregate"][1::2], strict=True))
    return Decision(tuple(int(who, 16) for who in TRAINERS), (1, 1, 1), (1, 1, 1), 500, points)


@pytest.mark.parametrize("wrong", ["", "another's", "none", "root"])
def test_a_settlement_of_other_points_than_were_submitted_does_not_verify(
    wrong: str, past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain had digests only: that the settled points are theirs is checked here too, not left to the contract."""
    past.started(1)
    past.settled(1, AGGREGATOR)
    root = Commitment(past.round_id(1), 99, (GENERATOR,))
    commitments = proven_with(past, monkeypatch, root)
    for who, commitment in zip(TRAINERS, commitments, strict=True):
        digest = commitments[0].digest() if wrong == "another's" else commitment.digest()
        if wrong != "none" or who == ME:
            past.log("Submitted", round=1, trainer=who, digest=digest, cid=b"Qm")
    past.log("RootOffered", round=1, digest=root.digest("update" if wrong == "root" else "root"), cid=b"Qm")
    history = past.history(tmp_path, None)
    log = history.log()
    if not wrong:
        assert history.verify(last(log.settled()), log) == decided(past) and history.passed_on == set()
        return
    what = (
        "the root update are not those of the offer" if wrong == "root" else f"{OTHER} are not those that it submitted"
    )
    with pytest.raises(ProofRejected, match=f"round 1: the settled points of {what}"):
        history.verify(last(log.settled()), log)


def test_the_model_is_what_the_proven_aggregates_make(past: Past, tmp_path: Path) -> None:
    for number in (1, 2):
        past.started(number)
        past.settled(number, READER)
    history = past.history(tmp_path, READER)
    want = right(1) * 171
    log = history.log()
    for before, values in ((1, right(1) * 0), (2, want), (None, want + right(2) * 171)):
        theta = history.model(log, before=before)
        assert np.array_equal(theta.values, values) and theta.values.dtype == np.int64
        assert theta.points(BUILD) == history.commitment(log, before=before)
    assert np.array_equal(theta.floats(MANIFEST), (right(1) + right(2)) * MEAN)
    assert points_hash(past.theta) == points_hash(history.commitment(log))
