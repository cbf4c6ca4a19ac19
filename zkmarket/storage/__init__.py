"""Blobs by their content: in a folder, behind an IPFS node, behind our own server."""

from .access import Access, certificate, checked_token, read_token
from .cid import CHUNK, MAX_BLOB, cid_from_bytes, cid_of, cid_to_bytes
from .folder import TEMPORARY, LocalStore
from .ipfs import IpfsStore
from .kubo import kubo_node, started, stopped
from .multipart import only_file
from .serve import serving
from .server import Limits
from .store import Store, open_store

__all__ = [
    "Access",
    "CHUNK",
    "IpfsStore",
    "Limits",
    "LocalStore",
    "MAX_BLOB",
    "Store",
    "TEMPORARY",
    "certificate",
    "checked_token",
    "cid_from_bytes",
    "cid_of",
    "cid_to_bytes",
    "kubo_node",
    "only_file",
    "open_store",
    "read_token",
    "serving",
    "started",
    "stopped",
]
