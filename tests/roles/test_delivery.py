"""Blobs on their way to a store: on disk at once, in the store as soon as it takes them, whatever happens between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zkmarket.errors import StoreError
from zkmarket.roles import Delivery
from zkmarket.storage import LocalStore, Store, cid_of

pytestmark = pytest.mark.unit

BLOB = b"a blob"
CID = cid_of(BLOB)


class Failing(LocalStore):
    """Refuses so many puts; then it works."""

    def refuse(self, times: int) -> Failing:
        self.__dict__["left"] = times
        return self

    def put(self, data: bytes) -> str:
        if self.__dict__["left"]:
            self.__dict__["left"] -= 1
            raise StoreError("500 full")
        return super().put(data)


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_store_that_works_has_it_before_send_returns(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    delivery = Delivery(tmp_path / "outgoing", lambda: store)
    assert delivery.send(BLOB, wait=20) == CID
    assert store.get(CID) == BLOB and delivery.waiting() == []


def test_a_store_that_refuses_gets_it_again_until_it_takes_it(tmp_path: Path) -> None:
    said: list[str] = []
    store = Failing(tmp_path / "store").refuse(4)
    delivery = Delivery(tmp_path / "outgoing", lambda: store, said.append, pause=0.01)
    assert delivery.send(BLOB, wait=20) == CID
    assert delivery.waiting() == [CID] and (tmp_path / "outgoing" / CID).stat().st_mode & 0o777 == 0o600
    until(lambda: delivery.waiting() == [])
    until(lambda: len(said) == 2)
    assert store.get(CID) == BLOB
    assert said == [
        f"the store does not take {CID}: 500 full; it is put again until it does",
        f"the store has taken {CID}",
    ]


def test_a_store_that_hangs_holds_nobody_longer_than_was_said(tmp_path: Path) -> None:
    ends = threading.Event()

    def hanging() -> Store:
        ends.wait(30)
        return LocalStore(tmp_path / "store")

    delivery = Delivery(tmp_path / "outgoing", hanging)
    began = time.monotonic()
    assert delivery.send(BLOB, wait=0.2) == CID
    assert 0.2 <= time.monotonic() - began < 5
    assert delivery.waiting() == [CID]
    ends.set()
    until(lambda: delivery.waiting() == [])


def test_the_next_process_goes_on(tmp_path: Path) -> None:
    refusing = Failing(tmp_path / "store").refuse(10**9)
    Delivery(tmp_path / "outgoing", lambda: refusing, pause=60).send(BLOB, wait=20)
    store = LocalStore(tmp_path / "other")
    again = Delivery(tmp_path / "outgoing", lambda: store)
    again.resume()
    until(lambda: again.waiting() == [])
    assert store.get(CID) == BLOB


def test_what_is_forgotten_is_put_nowhere(tmp_path: Path) -> None:
    store = Failing(tmp_path / "store").refuse(1)
    delivery = Delivery(tmp_path / "outgoing", lambda: store, pause=0.1)
    delivery.send(BLOB, wait=20)
    delivery.forget()
    other = delivery.send(b"another", wait=20)
    until(lambda: delivery.waiting() == [])
    assert store.get(other) == b"another"
    with pytest.raises(StoreError):
        store.get(CID)
