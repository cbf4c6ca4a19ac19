"""Words, hashes and points as the protocol has them, with nothing from zkmarket."""

from __future__ import annotations

from collections.abc import Iterable

from Crypto.Hash import keccak
from py_ecc.optimized_bn128 import G1, curve_order, multiply, normalize


def h(*words: bytes) -> bytes:
    """keccak-256 of 32-byte words (the original padding, as in Ethereum; not SHA3-256)."""
    assert all(len(word) == 32 for word in words)
    return hashed(b"".join(words))


def hashed(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def label(text: str) -> bytes:
    """As Solidity's bytes32("text"): ASCII, left-aligned."""
    return text.encode("ascii") + bytes(32 - len(text))


def low(data: bytes, bits: int) -> int:
    return int.from_bytes(data, "big") % (1 << bits)


def point(scalar: int) -> tuple[bytes, bytes]:
    """x and y of scalar·G, a word each."""
    x, y = normalize(multiply(G1, scalar))
    return number(int(x)), number(int(y))


def drawn(index: int) -> int:
    """Some scalar, the same on every machine."""
    return int.from_bytes(h(label("vector"), number(index)), "big") % curve_order


def text(data: bytes | int) -> str:
    return "0x" + (number(data) if isinstance(data, int) else data).hex()


def flat(points: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [word for xy in points for word in xy]


def shown(points: Iterable[tuple[bytes, bytes]]) -> list[str]:
    return [text(b"".join(xy)) for xy in points]


def listed(words: list[bytes]) -> bytes:
    """Digest of a list, bound to its length."""
    return h(number(len(words)), *words)
