"""CIDs against what `ipfs add` is known to give, and blobs in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zkmarket.errors import InputError, StoreError
from zkmarket.storage import CHUNK, IpfsStore, LocalStore, cid, cid_from_bytes, cid_of, cid_to_bytes, open_store

pytestmark = pytest.mark.unit

HELLO = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
"""Of "hello world" and a newline, in every IPFS tutorial."""


@pytest.mark.parametrize(
    "data, cid",
    [(b"", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"), (b"hello world\n", HELLO)],
)
def test_cids_that_everybody_knows(data: bytes, cid: str) -> None:
    assert cid_of(data) == cid


def test_a_cid_on_chain_and_back() -> None:
    data = cid_to_bytes(HELLO)
    assert len(data) == 34 and data[:2] == b"\x12\x20" and cid_from_bytes(data) == HELLO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc/passwd",
        HELLO + "/x",
        HELLO[:-1],
        " " + HELLO,
        HELLO.lower(),
        "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",  # version 1, raw
    ],
)
def test_not_a_cid(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CID"):
        cid_to_bytes(text)
    with pytest.raises(InputError, match="CID"):
        LocalStore(tmp_path).get(text)
    with pytest.raises(InputError, match="CID"):
        IpfsStore("http://127.0.0.1:1").get(text)


@pytest.mark.parametrize("data", [b"", b"\x12\x20" + bytes(31), b"\x12\x21" + bytes(32), bytes(34), bytes(64)])
def test_not_a_cid_on_chain(data: bytes) -> None:
    with pytest.raises(InputError, match="34 bytes"):
        cid_from_bytes(data)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_blob_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    folder = LocalStore(tmp_path / "store")
    cid = folder.put(data)
    assert folder.get(cid) == data and folder.put(data) == cid
    assert [path.name for path in (tmp_path / "store").iterdir()] == [cid]
    folder.pin(cid)


def test_another_byte_is_another_blob() -> None:
    data = bytearray(2 * CHUNK + 5)
    cids = {cid_of(bytes(data))}
    for at in (0, CHUNK - 1, CHUNK, 2 * CHUNK + 4):
        data[at] ^= 1
        cids.add(cid_of(bytes(data)))
        data[at] ^= 1
    assert len(cids) == 5


def test_a_folder_is_not_trusted(tmp_path: Path) -> None:
    folder = LocalStore(tmp_path)
    cid = folder.put(b"right")
    (tmp_path / cid).write_bytes(b"wrong")
    with pytest.raises(StoreError, match=f"gives other bytes for {cid}: they are Qm"):
        folder.get(cid)
    with pytest.raises(StoreError, match="other bytes"):
        folder.pin(cid)
    assert folder.put(b"right") == cid and folder.get(cid) == b"right"  # putting it again repairs it
    with pytest.raises(StoreError, match="more than 4 bytes"):
        folder.get(cid, limit=4)
    with pytest.raises(StoreError, match=f"no blob {HELLO}"):
        folder.get(HELLO)


def test_a_store_by_its_address(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)) == LocalStore(tmp_path)
    assert open_store("http://127.0.0.1:5001") == IpfsStore("http://127.0.0.1:5001")
    assert open_store("https://store.example", "token") == IpfsStore("https://store.example", token="token")
    assert open_store(str(tmp_path), "token") == LocalStore(tmp_path)  # a folder asks nobody


def test_a_tree_of_three_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks and few links: the shape of a blob of terabytes. Every byte counts, wherever it is."""
    monkeypatch.setattr(cid, "CHUNK", 4)
    monkeypatch.setattr(cid, "LINKS", 3)
    data = bytes(range(100))
    cids = {cid_of(data[:at] + b"\xff" + data[at + 1 :]) for at in range(0, 100, 7)}
    assert len(cids | {cid_of(data)}) == 16
