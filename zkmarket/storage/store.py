"""What every store offers, and the one that an address means."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .cid import MAX_BLOB
from .folder import LocalStore
from .ipfs import IpfsStore


class Store(Protocol):
    """Where blobs are."""

    def put(self, data: bytes) -> str:
        """Keep a blob; its CID."""

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        """The blob of a CID. StoreError: it is not there, longer than `limit` bytes, or other bytes came."""

    def pin(self, cid: str) -> None:
        """Keep a blob that may be elsewhere. StoreError if it cannot be had."""


def open_store(where: str, token: str | None = None) -> Store:
    """A store by its address: http(s)://… is an IPFS node's RPC, which may want a token; anything else is a folder."""
    return IpfsStore(where, token=token) if where.startswith(("http://", "https://")) else LocalStore(Path(where))
