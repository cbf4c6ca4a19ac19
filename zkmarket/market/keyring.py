"""Keyrings: the content keys of past rounds, for those who come later."""

from __future__ import annotations

from pathlib import Path

from ..documents import parse_json
from ..errors import InputError
from .sealing import envelope_limit

KEYRING_LIMIT = envelope_limit(36 * 2**16)
"""Bytes of the largest keyring that is read from a file or by a CID that somebody gave."""

KEYRINGS_SECONDS = 120.0
"""After so long no further keyring is fetched at one look: an aggregator can name many that no store has, and a
deadline may be running. Those that failed come last at the next look."""


def read_keyring(path: Path) -> dict[int, bytes]:
    try:
        return {int(number): bytes.fromhex(key) for number, key in parse_json(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a keyring: {type(error).__name__}") from None
