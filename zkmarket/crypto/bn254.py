"""BN254: scalars, vectors of scalars, and the points of G1.

Everything that is proven lives in the scalar field F_p; commitments are points of G1 over F_q.
Scalars are Python ints. Long vectors of *arbitrary* scalars (salts, the mask) are numpy arrays of
shape (n, 32), uint8, little-endian: that is also how ezkl reads a field element, as hex.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from operator import mul

import numpy as np

from ..errors import InputError, ProofRejected

P = 21888242871839275222246405745257275088548364400416034343698204186575808495617
Q = 21888242871839275222246405745257275088696311157297823662689037894645226208583

Point = tuple[int, int]
INFINITY: Point = (0, 0)  # as the precompiles of the EVM write it
GENERATOR: Point = (1, 2)

_P_WORDS = [(P >> shift) & (2**64 - 1) for shift in (192, 128, 64, 0)]


# ---------------------------------------------------------------- scalars


def random_scalars(n: int) -> np.ndarray:
    """n uniform field elements from the system's secure source: (n, 32) uint8, little-endian.

    Rejection sampling on 254 bits, so there is no modular bias.
    """
    kept: list[np.ndarray] = []
    missing = n
    while missing > 0:
        draw = missing + missing // 2 + 8
        words = np.frombuffer(secrets.token_bytes(32 * draw), dtype="<u8").reshape(draw, 4).copy()
        words[:, 3] &= np.uint64(2**62 - 1)
        below = np.zeros(draw, bool)
        equal = np.ones(draw, bool)
        for column, limit in zip((3, 2, 1, 0), _P_WORDS, strict=True):
            below |= equal & (words[:, column] < np.uint64(limit))
            equal &= words[:, column] == np.uint64(limit)
        good = words[below][:missing]
        kept.append(good)
        missing -= len(good)
    return np.concatenate(kept).view(np.uint8).reshape(n, 32) if n else np.zeros((0, 32), np.uint8)


def to_ints(vector: np.ndarray) -> list[int]:
    """(n, 32) little-endian bytes to n Python ints."""
    data = vector.tobytes()
    return [int.from_bytes(data[i : i + 32], "little") for i in range(0, len(data), 32)]


def from_ints(values: Iterable[int]) -> np.ndarray:
    """Ints (any sign, reduced mod p) to (n, 32) little-endian bytes."""
    data = b"".join((int(v) % P).to_bytes(32, "little") for v in values)
    return np.frombuffer(data, np.uint8).reshape(-1, 32)


def to_hex(vector: np.ndarray) -> list[str]:
    """(n, 32) little-endian bytes to the strings that ezkl reads as field elements."""
    text = vector.tobytes().hex()
    return [text[i : i + 64] for i in range(0, len(text), 64)]


def scalar_hex(value: int) -> str:
    """One scalar (any sign) as ezkl reads it."""
    return (value % P).to_bytes(32, "little").hex()


def small_hex(values: np.ndarray) -> list[str]:
    """Small signed integers to ezkl strings; each distinct value is formatted once."""
    distinct, where = np.unique(np.asarray(values), return_inverse=True)
    table = [scalar_hex(int(v)) for v in distinct]
    return [table[i] for i in where.reshape(-1).tolist()]


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    """<a, b> mod p; the reduction is taken once, Python's integers hold the sum."""
    total: int = sum(map(mul, a, b))
    return total % P


# ---------------------------------------------------------------- points of G1


def encode_point(point: Point) -> bytes:
    """x ‖ y, 64 bytes big-endian: the form in proofs, in the transcript and on chain."""
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def decode_point(data: bytes) -> Point:
    """Inverse of `encode_point`; refuses what is not a finite point of the curve.

    The point at infinity is refused: no honest commitment is 0, because the salts are uniform.
    """
    if len(data) != 64:
        raise ProofRejected(f"a point is 64 bytes: got {len(data)}")
    x, y = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
    if x >= Q or y >= Q:
        raise ProofRejected("point coordinate is not reduced: wanted x, y < q")
    if (x, y) == INFINITY or not is_on_curve((x, y)):
        raise ProofRejected("point is not on BN254 G1 (or is the point at infinity)")
    return x, y


def is_on_curve(point: Point) -> bool:
    x, y = point
    return point == INFINITY or (y * y - x * x * x - 3) % Q == 0


# Jacobian coordinates (X, Y, Z), x = X/Z², y = Y/Z³; Z = 0 is infinity. Formulas for a = 0 from the
# Explicit-Formulas Database (dbl-2009-l, add-2007-bl, madd-2007-bl). Checked against py_ecc in the tests.
Jacobian = tuple[int, int, int]
_ZERO: Jacobian = (1, 1, 0)


def double(p: Jacobian) -> Jacobian:
    x, y, z = p
    if not z:
        return p
    a, b = x * x % Q, y * y % Q
    c = b * b % Q
    d = 2 * ((x + b) * (x + b) - a - c) % Q
    e = 3 * a
    x3 = (e * e - 2 * d) % Q
    return x3, (e * (d - x3) - 8 * c) % Q, 2 * y * z % Q


def add_affine(p: Jacobian, q: Point) -> Jacobian:
    x1, y1, z1 = p
    if not z1:
        return q[0], q[1], 1
    zz = z1 * z1 % Q
    h = (q[0] * zz - x1) % Q
    r = 2 * (q[1] * z1 * zz - y1) % Q
    if not h:
        return double(p) if not r else _ZERO
    hh = h * h % Q
    i = 4 * hh
    j = h * i % Q
    v = x1 * i % Q
    x3 = (r * r - j - 2 * v) % Q
    return x3, (r * (v - x3) - 2 * y1 * j) % Q, ((z1 + h) * (z1 + h) - zz - hh) % Q


def add(p: Jacobian, q: Jacobian) -> Jacobian:
    if not p[2]:
        return q
    if not q[2]:
        return p
    x1, y1, z1 = p
    x2, y2, z2 = q
    zz1, zz2 = z1 * z1 % Q, z2 * z2 % Q
    u1, u2 = x1 * zz2 % Q, x2 * zz1 % Q
    s1, s2 = y1 * z2 * zz2 % Q, y2 * z1 * zz1 % Q
    h, r = (u2 - u1) % Q, 2 * (s2 - s1) % Q
    if not h:
        return double(p) if not r else _ZERO
    i = 4 * h * h % Q
    j = h * i % Q
    v = u1 * i % Q
    x3 = (r * r - j - 2 * v) % Q
    return x3, (r * (v - x3) - 2 * s1 * j) % Q, ((z1 + z2) * (z1 + z2) - zz1 - zz2) * h % Q


def to_affine(points: Sequence[Jacobian]) -> list[Point]:
    """Jacobian to affine with one inversion for all (Montgomery's trick)."""
    prefix, total = [], 1
    for p in points:
        prefix.append(total)
        if p[2]:
            total = total * p[2] % Q
    inverse = pow(total, -1, Q)
    out: list[Point] = [INFINITY] * len(points)
    for i in range(len(points) - 1, -1, -1):
        x, y, z = points[i]
        if not z:
            continue
        zi = inverse * prefix[i] % Q
        inverse = inverse * z % Q
        zz = zi * zi % Q
        out[i] = x * zz % Q, y * zz * zi % Q
    return out


def multiply_add(points: Sequence[Point], scalars: Sequence[int]) -> Point:
    """Σ scalar_i · point_i (Pippenger's buckets). Scalars are reduced mod p."""
    if len(points) != len(scalars):
        raise InputError(f"as many scalars as points: got {len(scalars)} and {len(points)}")
    pairs = [(p, s % P) for p, s in zip(points, scalars, strict=True) if s % P and p != INFINITY]
    window = max(2, min(12, len(pairs).bit_length() - 2))
    total = _ZERO
    for shift in range((254 + window - 1) // window * window - window, -1, -window):
        for _ in range(window):
            total = double(total)
        buckets: list[Jacobian] = [_ZERO] * (1 << window)
        for point, scalar in pairs:
            digit = scalar >> shift & (1 << window) - 1
            if digit:
                buckets[digit] = add_affine(buckets[digit], point)
        running = partial = _ZERO
        for bucket in buckets[:0:-1]:
            running = add(running, bucket)
            partial = add(partial, running)
        total = add(total, partial)
    return to_affine([total])[0]
