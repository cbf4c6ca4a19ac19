"""Desks at which everything is there already, and what roles are handed by others: seats, receipts, broken stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.past import (
    BUILD,
    MANIFEST,
    ME,
    OTHER,
    PROJECT,
    PROSPECTUS,
    TERMS,
    TRAINERS,
    Past,
    aggregate_of,
    points_of,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.documents import write_json
from zkmarket.errors import (
    InputError,
    OpeningMismatch,
    StoreError,
)
from zkmarket.market import (
    SealingKey,
    Seat,
    sealing,
    submission_word,
)
from zkmarket.roles import (
    Admission,
    Awaited,
    Desk,
    Settings,
    aggregator,
    desk,
    update,
)
from zkmarket.round import (
    COMMITMENT_FILE,
    NO_REFERENCES,
    Aggregate,
    Commitment,
    Opening,
    open_with_fresh_salts,
)
from zkmarket.storage import MAX_BLOB, cid_from_bytes, cid_of, cid_to_bytes

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


def seat(past: Past, key: SealingKey, sent: Opening, who: str = OTHER) -> Awaited:
    """A submission in the log and on its seat, sealed and stored; what waits for a receipt."""
    cid = cid_to_bytes(past.store.put(seal_update(sent, key.public)))
    return seated(past, commitment_of(sent, who).digest(), cid, who)


def seated(past: Past, digest: bytes, cid: bytes, who: str = OTHER) -> Awaited:
    past.log("Submitted", round=1, trainer=who, digest=digest, cid=cid)
    word = submission_word(digest, cid)
    past.taken.append(Seat(who, False, word))
    return Awaited(1, who, word)


def admitting(past: Past, at: Desk, key: SealingKey) -> tuple[Admission, str]:
    """One look of an aggregator in ADMIT."""
    role = Admission(at)
    return role, role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)


def receipted(past: Past) -> list[list[str | None]]:
    """For whom receipts were sent, a list a transaction."""
    return [list(call[1]) for call in past.sent if call[0] == "admit"]


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


def seated_with_blob(past: Past, at: Desk) -> bytes:
    """ME has a seat; the sealed update that it is to hand over."""
    sent, folder = opening(), at.round_folder(1)
    blob = seal_update(sent, SealingKey.fresh().public)
    digest = kept(folder, sent, int(ME, 16), past.round_id(1)).digest()
    (folder / "update-0.sealed").write_bytes(blob)
    past.taken = [Seat(ME, False, submission_word(digest, cid_to_bytes(cid_of(blob))))]
    return blob


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
    at.delivery._pause = 0.1
    yield store
    store.works.set()


def settling(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> aggregator.Aggregator:
    """An aggregator whose second round is proven."""
    past.started(1)
    past.settled(1, at.sealing_key)
    past.started(2)
    monkeypatch.setattr(aggregator, "last_seed", lambda *_: SEED)
    role = aggregator.Aggregator(at)
    proof = SimpleNamespace(references=NO_REFERENCES)
    monkeypatch.setattr(role, "proven", lambda *_: (proof, aggregate_of(2)))
    past.taken = [Seat(who, False, bytes(32)) for who in TRAINERS]
    return role
