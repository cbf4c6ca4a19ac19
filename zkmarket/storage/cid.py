"""Content identifiers: a blob's CIDv1 as IPFS computes it, from the bytes alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from multiformats import CID

from ..errors import InputError, StoreError

CHUNK = 262_144
LINKS = 174

MAX_BLOB = 1 << 30
"""Largest blob that is fetched unless the caller says how large it may be."""

_FILE = 2  # UnixFS type
_SHA2_256 = b"\x12\x20"
Made = TypeVar("Made")


# ---------------------------------------------------------------- CIDs


def cid_of(data: bytes) -> str:
    """CID of a blob, in text: Qm…"""
    return _root([_leaf(chunk) for chunk in slices(data)] or [_leaf(b"")])


def cid_of_parts(parts: Iterable[bytes]) -> str:
    """CID of a blob that comes in parts of any sizes: little more than one chunk of it is held."""
    return _root([_leaf(chunk) for chunk in _rechunked(parts)] or [_leaf(b"")])


def cid_to_bytes(cid: str) -> bytes:
    """A CID as it stands on chain: its multihash, 34 bytes. InputError unless it is one of `cid_of`'s."""
    try:
        parsed = CID.decode(cid)
    except Exception as error:  # multiformats raises whatever its parts raise
        raise InputError(f"not a CID: {cid[:100]!r} ({error})") from error
    digest = bytes(parsed.digest)
    if str(parsed) != cid or parsed.version != 0 or not digest.startswith(_SHA2_256) or len(digest) != 34:
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


def slices(data: bytes) -> Iterator[bytes]:
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


def _rechunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for part in parts:
        buffer += part
        while len(buffer) >= CHUNK:
            yield bytes(buffer[:CHUNK])
            del buffer[:CHUNK]
    if buffer:
        yield bytes(buffer)


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


def checked(cid: str, data: bytes, limit: int, where: str) -> bytes:
    if len(data) > limit:
        raise StoreError(f"{where} gives more than {limit} bytes for {cid}")
    found = cid_of(data)
    if found != cid:
        raise StoreError(f"{where} gives other bytes for {cid}: they are {found}, {len(data)} bytes")
    return data
