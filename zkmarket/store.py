"""Content-addressed blobs: sealed updates, models, proofs.

A store is never trusted: every blob is checked against its CID. A CID is what `ipfs add` gives with its
defaults (version 0: UnixFS in dag-pb, chunks of 262,144 bytes, at most 174 links a node), computed here from the
bytes, so that a folder and an IPFS node know a blob by the same name, and a node that returns other bytes is
found out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any, BinaryIO, Protocol, TypeVar

import requests
from multiformats import CID

from .errors import InputError, StoreError

CHUNK = 262_144
LINKS = 174
MAX_ANSWER = 1 << 16
"""Largest answer to a put that is read, in bytes."""

MAX_BLOB = 1 << 30
"""Largest blob that is fetched unless the caller says how large it may be."""

_FILE = 2  # UnixFS type
_SHA2_256 = b"\x12\x20"
Made = TypeVar("Made")


class Store(Protocol):
    """Where blobs are."""

    def put(self, data: bytes) -> str:
        """Keep a blob; its CID."""

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        """The blob of a CID. StoreError: it is not there, longer than `limit` bytes, or other bytes came."""

    def pin(self, cid: str) -> None:
        """Keep a blob that may be elsewhere. StoreError if it cannot be had."""


def open_store(where: str) -> Store:
    """A store by its address: http(s)://… is an IPFS node's RPC, anything else a folder."""
    return IpfsStore(where) if where.startswith(("http://", "https://")) else LocalStore(Path(where))


# ---------------------------------------------------------------- CIDs


def cid_of(data: bytes) -> str:
    """CID of a blob, in text: Qm…"""
    return _root([_leaf(chunk) for chunk in _slices(data)] or [_leaf(b"")])


def cid_of_parts(parts: Iterable[bytes]) -> str:
    """CID of a blob that comes in parts of any sizes: little more than one chunk of it is held."""
    return _root([_leaf(chunk) for chunk in _rechunked(parts)] or [_leaf(b"")])


def cid_to_bytes(cid: str) -> bytes:
    """A CID as it stands on chain: its multihash, 34 bytes. InputError unless it is one of `cid_of`'s."""
    try:
        found = CID.decode(cid)
    except Exception as error:  # multiformats raises whatever its parts raise
        raise InputError(f"not a CID: {cid[:100]!r} ({error})") from error
    digest = bytes(found.digest)
    if str(found) != cid or found.version != 0 or not digest.startswith(_SHA2_256) or len(digest) != 34:
        raise InputError(f"a CID is version 0 with SHA-256, Qm…: got {cid[:100]!r}")
    return digest


def cid_from_bytes(data: bytes) -> str:
    """The text of a CID on chain. InputError unless it is 34 bytes of a SHA-256 multihash."""
    if len(data) != 34 or not data.startswith(_SHA2_256):
        raise InputError(f"a CID on chain is 34 bytes, 1220 and a SHA-256: got {data[:40].hex()!r}")
    return _text(data[2:])


@dataclass(frozen=True)
class _Node:
    """A node of the tree: SHA-256 of its encoding, bytes of the tree's encoding, bytes of the file below it."""

    digest: bytes
    tree_size: int
    file_size: int


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


def _rechunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    if held:
        yield bytes(held)


def _root(level: list[_Node]) -> str:
    while len(level) > 1:
        level = [_parent(level[at : at + LINKS]) for at in range(0, len(level), LINKS)]
    return _text(level[0].digest)


def _leaf(data: bytes) -> _Node:
    unixfs = _number(1, _FILE) + (_bytes(2, data) if data else b"") + _number(3, len(data))
    return _node(_bytes(1, unixfs), 0, len(data))


def _parent(children: list[_Node]) -> _Node:
    size = sum(child.file_size for child in children)
    links = [
        _bytes(2, _bytes(1, _SHA2_256 + child.digest) + _bytes(2, b"") + _number(3, child.tree_size))
        for child in children
    ]
    sizes = [_number(4, child.file_size) for child in children]
    unixfs = _number(1, _FILE) + _number(3, size) + b"".join(sizes)
    return _node(b"".join(links) + _bytes(1, unixfs), sum(child.tree_size for child in children), size)


def _node(encoded: bytes, below: int, size: int) -> _Node:
    return _Node(hashlib.sha256(encoded).digest(), len(encoded) + below, size)


def _text(digest: bytes) -> str:
    return str(CID("base58btc", 0, "dag-pb", ("sha2-256", digest)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _number(field: int, value: int) -> bytes:
    """A protobuf field of wire type 0."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A protobuf field of wire type 2."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


# ---------------------------------------------------------------- a folder


TEMPORARY = ".add."
"""What the names of blobs that are being written begin with."""

_ABANDONED = 24 * 3600.0
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # no link leads out, no pipe holds us up


@dataclass(frozen=True)
class LocalStore:
    """Blobs in a folder, one file each, named by CID.

    Any number of processes may use a folder at once: a blob is written under a name of its own and renamed when it is
    whole and on disk, so that a CID names a whole blob or nothing, whatever is killed when.
    """

    folder: Path

    def put(self, data: bytes) -> str:
        cid = cid_of(data)
        if self._has(cid):
            with self._writing():
                self._sync()  # whoever put it may be about to
            return cid
        return self.put_parts(_slices(data))

    def put_parts(self, parts: Iterable[bytes]) -> str:
        """Keep a blob that comes in parts, and is never held as a whole. If the parts end with an error, nothing stays.

        StoreError, with the OSError as its cause, if the folder cannot be written to or the disk is full.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=self.folder)
        try:
            with open(handle, "wb", buffering=0) as file:  # noqa: PTH123  # mkstemp gives a handle
                cid = cid_of_parts(self._written(file.fileno(), parts))
                with self._writing():
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
            with self._writing():
                Path(name).replace(self._path(cid))
                self._sync()
            return cid
        finally:
            Path(name).unlink(missing_ok=True)

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        with self.open(cid) as file, self._reading(cid):
            data = file.read(limit + 1)
        return _checked(cid, data, limit, str(self.folder))

    def open(self, cid: str) -> BinaryIO:
        """The file of a blob, to read and not checked. StoreError if it is not there."""
        path = self._path(cid)
        try:
            file = open(path, "rb", opener=lambda name, _: os.open(name, _READ))  # noqa: PTH123, SIM115
        except OSError as error:
            raise StoreError(f"no blob {cid} in {self.folder}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise StoreError(f"no blob {cid} in {self.folder}: what has its name is no file")
        return file

    def pin(self, cid: str) -> None:
        with self.open(cid) as file, self._reading(cid):
            found = cid_of_parts(iter(lambda: file.read(CHUNK), b""))
        if found != cid:
            raise StoreError(f"{self.folder} gives other bytes for {cid}: they are {found}")

    def sweep(self) -> int:
        """Remove what killed processes were writing a day ago and longer; how many."""
        removed = 0
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"{TEMPORARY}*"):
                with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                    if path.lstat().st_mtime < time.time() - _ABANDONED:
                        path.unlink()
                        removed += 1
        return removed

    def _has(self, cid: str) -> bool:
        try:
            self.pin(cid)
        except StoreError:
            return False
        return True

    def _written(self, handle: int, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            left = memoryview(part)
            while left:
                with self._writing():
                    left = left[os.write(handle, left) :]
            yield part

    def _sync(self) -> None:
        """The folder's names to disk."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot
                raise
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _reading(self, cid: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"blob {cid} in {self.folder} cannot be read: {error.strerror}") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.folder}: {error.strerror}") from error

    def _path(self, cid: str) -> Path:
        cid_to_bytes(cid)  # refuses what is not a CID: a name such as ../x never becomes a path
        return self.folder / cid


def _checked(cid: str, data: bytes, limit: int, where: str) -> bytes:
    if len(data) > limit:
        raise StoreError(f"{where} gives more than {limit} bytes for {cid}")
    found = cid_of(data)
    if found != cid:
        raise StoreError(f"{where} gives other bytes for {cid}: they are {found}, {len(data)} bytes")
    return data


# ---------------------------------------------------------------- an IPFS node


@dataclass(frozen=True)
class IpfsStore:
    """An IPFS node by its RPC address, such as http://127.0.0.1:5001.

    Attributes:
        url: without /api/v0.
        seconds: in which an operation must end, all attempts together.
        attempts: how often it is tried while the node cannot be reached, is slow, or says that it has failed.
    """

    url: str
    seconds: float = 60
    attempts: int = 4

    def put(self, data: bytes) -> str:
        cid = cid_of(data)
        options = {"pin": "true", "cid-version": 0, "raw-leaves": "false", "chunker": f"size-{CHUNK}"}

        def add(left: float) -> str:
            with self._ask("add", options, left, files={"file": data}) as answer:
                said = b"".join(_until(answer.iter_content(1 << 12), MAX_ANSWER, time.monotonic() + left))
            return str(json.loads(said)["Hash"])

        found = self._tried(f"put {cid}", add)
        if found != cid:
            raise StoreError(f"{self.url} calls the blob {found}: wanted {cid}; does it chunk in another way?")
        return cid

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        cid_to_bytes(cid)

        def cat(left: float) -> bytes:
            deadline = time.monotonic() + left
            with self._ask("cat", {"arg": cid}, left) as answer:
                return b"".join(_until(answer.iter_content(1 << 16), limit, deadline))

        return _checked(cid, self._tried(f"get {cid}", cat), limit, self.url)

    def pin(self, cid: str) -> None:
        cid_to_bytes(cid)
        self._tried(f"pin {cid}", lambda left: self._ask("pin/add", {"arg": cid}, left).close())

    def _ask(self, command: str, options: dict[str, Any], seconds: float, **more: Any) -> requests.Response:
        url = f"{self.url.rstrip('/')}/api/v0/{command}"
        answer = requests.post(url, params=options, timeout=seconds, allow_redirects=False, stream=True, **more)
        if answer.status_code != 200:
            reason = next(answer.iter_content(300), b"").decode("utf-8", "replace")
            raise requests.HTTPError(f"{answer.status_code} {reason}", response=answer)
        return answer

    def _tried(self, what: str, step: Callable[[float], Made]) -> Made:
        """Run a step until it works, with pauses that double, within the deadline of all attempts together."""
        deadline = time.monotonic() + self.seconds
        for attempt in range(1, self.attempts + 1):
            try:
                return _within(max(0.1, deadline - time.monotonic()), step)
            except (requests.RequestException, KeyError, ValueError) as error:
                pause = 0.2 * 2**attempt
                status = getattr(getattr(error, "response", None), "status_code", 500)
                final = 400 <= status < 500 and status not in (408, 429)
                if final or attempt == self.attempts or time.monotonic() + pause > deadline:
                    raise StoreError(f"{what}: {self.url} failed {attempt} times, at last with: {error}") from error
                time.sleep(pause)
        raise AssertionError("not reached")


def _within(seconds: float, step: Callable[[float], Made]) -> Made:
    """Run a step in a thread, and leave it behind when the time is over.

    A node that sends a byte now and then, in a head or a body, holds whoever reads for as long as it likes: a time-out
    of the connection starts anew with each byte.
    """
    done: Queue[tuple[Made | None, Exception | None]] = Queue(1)

    def work() -> None:
        try:
            done.put((step(seconds), None))
        except Exception as error:
            done.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        made, error = done.get(timeout=seconds)
    except Empty:
        raise requests.Timeout("it is too slow") from None
    if error is not None:
        raise error
    return made  # type: ignore[return-value]


def _until(parts: Iterator[bytes], limit: int, deadline: float) -> Iterator[bytes]:
    """Parts of a body up to a little more than `limit` bytes: whoever streams for ever is left."""
    total = 0
    for part in parts:
        if time.monotonic() > deadline:
            raise requests.Timeout("it is too slow")
        yield part
        total += len(part)
        if total > limit:
            return
