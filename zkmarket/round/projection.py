"""The projection argument: no entry of any update is large, shown for all trainers at once.

The Gram argument gives inner products mod p. They are integers' if every entry of every update is below 2^113 in
absolute value (and m·C at most 2^26); the norm bound of the settlement then bounds every entry of an accepted update
by √β. A coarse check is enough, then, and a random projection gives one. A trainer only commits.

*Blocks.* Data blocks are the chunks of slots 1..N and of a root reference, slot by slot. Mask blocks P_0..P_μ are the
aggregator's, fresh for each attempt, uniform over the field in every value and salt, except that the first 520 values
of P_0 are the *flood*, uniform integers in [−2^109, 2^109). They stand at the positions 0 and 2^(t−1), data blocks at
the others in order, of M = 2^μ.

*Rows.* After all commitments, for each row j = 1..520 and each data block, row and column of a block a bit:

    z_j = y_j + Σ_b s_{j,b} · a_jᵀ U_b b_j,   sent as an integer, |z_j| < 2^110 checked        t_0 = Σ_t P_t[520 + t]

Were one entry 2^113 or more, a row would pass with probability at most 7/8 whatever the others are, independently of
other rows: each of the three bits that weight it doubles a bound, and one of its two values must break it. (Bits, not
signs: with ±1 half-integers mod p pass always.) 520 rows leave less than 2^−100.

*Claim.* With η ← transcript, t_0 + Σ_j η^j z_j = Σ_b <V_b, U_b>, on value rows only, where

    V_b = Σ_j η^j s_{j,b} (a_j ⊗ b_j)  + in the last chunk of slot i: Σ_{d ≥ d0} η^(521 + i(C−d0) + d−d0) e_d
    V_{P_0} = Σ_j η^j e_{j−1} + e_520,   V_{P_t} = e_{520+t}

The padding past D has claim 0. A sumcheck over the bits of the position, the highest first, sends in each round
g_0 = Σ_lo <U, V> and x = Σ <U_lo, V_hi> + <U_hi, V_lo>, and leaves one block U = Σ eq_b U_b and one
V = Σ eq_b V_b, which the base proof (base.py) shows to have the last claim as inner product; the verifier knows what
V is at a point y.

Every V_b is a combination of the same few vectors v: the rows' η^j (a_j ⊗ b_j), the padding's, the flood's, and the
e_{520+t}. So the prover needs <v, U_b> for each block once, and folds two tables of 522 + μ rows.

Zero knowledge: z is flooded; all other messages and U are linear in the masks' uniform coordinates, and their rank is
full but for the verifier's own two relations (tests/round/test_hidden.py counts it). V is public. Nothing is looked up.

KnownReferences: approximate range proofs by random projection, eprint 2021/1397 and 2022/1341.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..build import FLOOD_BITS, SUMS, WINDOW, WINDOWS, Z_BITS, Z_BYTES, Shape
from ..crypto import P, Transcript, digest_int, from_ints, random_scalars, to_ints
from ..errors import BackendError, DomainError, ProofRejected
from . import native
from .native import Digits

Rounds = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Masks:
    """P_0..P_μ. Secret, and used for one attempt only: the same flood under two seeds is 520 equations on the updates.

    Attributes:
        columns: (C + S, 32) uint8 each.
        flood: the first values of P_0, as integers.
    """

    columns: tuple[np.ndarray, ...] = field(repr=False)
    flood: tuple[int, ...] = field(repr=False)

    @classmethod
    def fresh(cls, shape: Shape, salts: int) -> Masks:
        columns = tuple(random_scalars(shape.values + salts) for _ in shape.mask_positions)
        flood = tuple(secrets.randbits(FLOOD_BITS + 1) - (1 << FLOOD_BITS) for _ in range(shape.sums))
        columns[0][: shape.sums] = from_ints(flood)
        return cls(columns, flood)


@dataclass(frozen=True)
class Weights:
    """The bits of all rows, which the seed of the commitments gives.

    Attributes:
        blocks: (sums, n_b). left: (ℓ1 − 1, sums). right: (ℓ2, sums). uint8, 0 or 1.
    """

    blocks: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, shape: Shape, transcript: Transcript) -> Weights:
        """`transcript` has absorbed the commitments and nothing else."""
        sizes = [shape.blocks, shape.rows - 1, shape.width]
        ends = np.cumsum([-(-size // WINDOW) * WINDOW for size in sizes])  # each part has whole windows
        hashes = -(-int(ends[-1]) // (WINDOW * WINDOWS))
        stream = []
        for row in range(1, shape.sums + 1):
            words = b"".join(transcript.row_hash(row, counter)[::-1] for counter in range(hashes))  # lowest bit first
            bits = np.unpackbits(np.frombuffer(words, np.uint8), bitorder="little").reshape(hashes, 256)
            stream.append(bits[:, : WINDOW * WINDOWS].reshape(-1))
        parts = np.split(np.stack(stream), ends, axis=1)[:3]
        blocks, left, right = (part[:, :size] for part, size in zip(parts, sizes, strict=True))
        return cls(blocks, np.ascontiguousarray(left.T), np.ascontiguousarray(right.T))


# ---------------------------------------------------------------- prove


@dataclass(frozen=True)
class Projected:
    """The rows' sums of every block, before any challenge but the bits.

    Attributes:
        data: (sums, n_b) int64. masks: (sums, μ + 1) field elements as objects.
        z: the rows' answers as they are sent. t0: claim of the masks' own coordinates.
    """

    data: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    z: bytes
    t0: int


def project(shape: Shape, weights: Weights, vectors: Sequence[Digits], masks: Masks) -> Projected:
    """Args: vectors: of the slots with data blocks, in order. An update has one row of digits.

    Raises DomainError for an update with larger values, and if an answer is out of range, which no other makes.
    """
    size = shape.values
    if any(vector.count != 1 for vector in vectors):
        raise DomainError(f"values of an update are below 2^{native.DIGIT_BITS} in absolute value")
    left, right = weights.left.astype(np.float64), weights.right.astype(np.float64)
    data = np.empty((shape.sums, shape.blocks), np.int64)
    step = max(1, native.CELLS // (4 * size))
    for slot, vector in enumerate(vectors):
        for first in range(0, shape.chunks, step):  # a few chunks at once: small products waste a processor
            count = min(step, shape.chunks - first)
            cells = vector.rows(first * size, (first + count) * size).reshape(count, size)
            at = slot * shape.chunks + first
            data[:, at : at + count] = native.project(cells, left, right).T
    own = np.array([native.project_mask(column[:size], left, right) for column in masks.columns], object).T % P
    sums = (weights.blocks * data).sum(1)  # below 2^18·2^26 blocks' cells: exact in int64
    answers = [flood + int(value) for flood, value in zip(masks.flood, sums, strict=True)]
    t0 = sum(to_ints(column[shape.sums + t : shape.sums + t + 1])[0] for t, column in enumerate(masks.columns)) % P
    return Projected(data, own, pack(answers), t0)


@dataclass
class Tables:
    """S and Π of the sumcheck: V_b = Σ_k S[k, b]·v_k, Π[k, b] = <v_k, U_b>. (522 + μ, positions) field elements."""

    weights: np.ndarray = field(repr=False)
    products: np.ndarray = field(repr=False)

    @classmethod
    def of(
        cls, shape: Shape, weights: Weights, projected: Projected, vectors: Sequence[Digits], masks: Masks, eta: int
    ) -> Tables:
        sums, positions = shape.sums, shape.data_positions + shape.mask_positions
        own = np.zeros((sums + 2 + shape.rounds, 1 << shape.rounds), object)
        products = np.zeros_like(own)
        powers = np.array([[pow(eta, row, P)] for row in range(1, sums + 1)], object)

        own[:sums, shape.data_positions] = weights.blocks.astype(object)
        along = np.concatenate([projected.data.astype(object), projected.masks], 1)
        products[:sums, positions] = along * powers % P

        own[sums, [shape.data_positions[at] for at in shape.last_chunks]] = tail_factors(shape, eta)
        products[sums, positions] = _tails(shape, vectors, masks, eta)

        heads = _heads(shape, vectors, masks)
        own[sums + 1, 0] = 1
        products[sums + 1, positions] = ((heads[:sums] * powers).sum(0) + heads[sums]) % P
        for t in range(1, shape.rounds + 1):
            own[sums + 1 + t, shape.mask_positions[t]] = 1
            products[sums + 1 + t, positions] = heads[sums + t]
        return cls(own, products)

    def claim(self) -> int:
        return int((self.weights * self.products).sum()) % P

    def halves(self) -> tuple[np.ndarray, ...]:
        half = self.weights.shape[1] // 2
        return self.weights[:, :half], self.weights[:, half:], self.products[:, :half], self.products[:, half:]


def _heads(shape: Shape, vectors: Sequence[Digits], masks: Masks) -> np.ndarray:
    """The first 521 + μ cells of each block, data and then masks: (521 + μ, blocks) field elements."""
    count, size = shape.sums + 1 + shape.rounds, shape.values
    columns = [
        vector.rows(chunk * size, chunk * size + count)[0].astype(np.int64).astype(object)
        for vector in vectors
        for chunk in range(shape.chunks)
    ]
    columns += [np.array(to_ints(column[:count]), object) for column in masks.columns]
    return np.stack(columns, 1)


def _tails(shape: Shape, vectors: Sequence[Digits], masks: Masks, eta: int) -> list[int]:
    """Σ_{d ≥ d0} η^(d−d0) U_b[d] of each block, data and then masks."""
    first, size = shape.tail
    if first == size:
        return [0] * (shape.blocks + len(masks.columns))
    powers = native.powers(eta, size - first)
    starts = [chunk * size + first for chunk in range(shape.chunks)]  # past the last parameter there are zeros
    data = native.dot_small(powers, vectors, starts)
    return [value % P for value in data] + [native.dot(powers, column[first:size]) % P for column in masks.columns]


def prove_rounds(tables: Tables, claim: int, transcript: Transcript) -> tuple[Rounds, tuple[int, ...], int]:
    """The sumcheck. Leaves one column of both tables; returns the messages, the challenges σ, and the last claim."""
    rounds: list[tuple[int, int]] = []
    sigmas: list[int] = []
    while tables.weights.shape[1] > 1:
        own, own_high, products, products_high = tables.halves()
        g0 = int((own * products).sum()) % P
        x = int((own * products_high + own_high * products).sum()) % P
        transcript.absorb(g0, x)
        sigma = transcript.challenge("sigma", len(sigmas))
        claim = next_claim(claim, g0, x, sigma)
        tables.weights = (own + sigma * (own_high - own)) % P
        tables.products = (products + sigma * (products_high - products)) % P
        rounds.append((g0, x))
        sigmas.append(sigma)
    if tables.claim() != claim:
        raise BackendError("the sumcheck's last claim is not the blocks' inner product: the native arithmetic is wrong")
    return tuple(rounds), tuple(sigmas), claim


def public_block(shape: Shape, weights: Weights, factors: Sequence[int], eta: int) -> np.ndarray:
    """V = Σ_k factors_k·v_k over the values of a column: (C, 32) field elements. Anyone can compute it.

    Args:
        factors: what the sumcheck leaves of S: of the rows, the padding, the flood, and each e_{520+t}.
    """
    sums = shape.sums
    powers = [pow(eta, row, P) for row in range(1, sums + 1)]
    coefficients = [power * factor % P for power, factor in zip(powers, factors, strict=False)]
    out = native.outer_sum(coefficients, weights.left.astype(np.float64), weights.right.astype(np.float64))
    first, size = shape.tail
    if first != size:
        out[first:] = native.add(out[first:], native.scale(native.powers(eta, size - first), factors[sums]))
    flood = factors[sums + 1]
    head = [*(flood * power for power in powers), flood, *factors[sums + 2 :]]
    out[: len(head)] = native.add(out[: len(head)], from_ints(head))
    return out


# ---------------------------------------------------------------- verify


def check_rounds(rounds: Rounds, claim: int, shape: Shape, sigmas: Sequence[int]) -> int:
    """The last claim, which the base proof must show; `sigmas` are the rounds' challenges. Raises ProofRejected."""
    if len(rounds) != shape.rounds:
        raise ProofRejected(f"base proof has {len(rounds)} rounds of the sumcheck: wanted {shape.rounds}")
    for (g0, x), sigma in zip(rounds, sigmas, strict=True):
        claim = next_claim(claim, g0, x, sigma)
    return claim


def evaluate(shape: Shape, weights: Weights, sigmas: Sequence[int], eta: int, y: int) -> int:
    """V at y, from the rows' bits alone: what the base proof's o_4 must be.

    Raises ProofRejected if η·y = 1, where the geometric sums below are none: nobody meets it by chance.
    """
    eq = equalities(sigmas)
    ratio = eta * y % P
    if ratio == 1:
        raise ProofRejected("base proof: η·y is 1, which no honest transcript gives")
    inverse = pow(ratio - 1, -1, P)

    def geometric(count: int) -> int:
        return (pow(ratio, count, P) - 1) * inverse % P

    data = np.array([eq[at] for at in shape.data_positions], object)
    down = np.array([pow(y, shape.width * row, P) for row in range(shape.rows - 1)], object)
    along = np.array([pow(y, column, P) for column in range(shape.width)], object)
    powers = np.array([pow(eta, row, P) for row in range(1, shape.sums + 1)], object)
    chosen = [part.astype(object) for part in (weights.blocks, weights.left.T, weights.right.T)]
    sums = [part @ values % P for part, values in zip(chosen, (data, down, along), strict=True)]
    total = int((powers * sums[0] % P * sums[1] % P * sums[2]).sum())

    masks = [eq[at] for at in shape.mask_positions]
    total += masks[0] * eta * geometric(shape.sums)
    total += sum(weight * pow(y, shape.sums + t, P) for t, weight in enumerate(masks))
    first, size = shape.tail
    factor = sum(f * int(data[at]) for f, at in zip(tail_factors(shape, eta), shape.last_chunks, strict=True))
    return (total + pow(y, first, P) * geometric(size - first) * factor) % P


# ---------------------------------------------------------------- both


def next_claim(claim: int, g0: int, x: int, sigma: int) -> int:
    """g_0(1 − σ)² + (claim − g_0)σ² + xσ(1 − σ)."""
    other = 1 - sigma
    return (g0 * other * other + (claim - g0) * sigma * sigma + x * sigma * other) % P


def first_claim(shape: Shape, z: bytes, t0: int, eta: int) -> int:
    """t_0 + Σ_j η^j z_j. Raises ProofRejected for an answer out of range."""
    return (t0 + sum(pow(eta, row, P) * value for row, value in enumerate(unpack(z, shape.sums), start=1))) % P


def equalities(sigmas: Sequence[int]) -> list[int]:
    """eq_b(σ) of every position b, the first σ for the highest bit."""
    out = [1]
    for sigma in sigmas:
        out = [value * factor % P for value in out for factor in (1 - sigma, sigma)]
    return out


def tail_factors(shape: Shape, eta: int) -> list[int]:
    """η^(521 + i(C−d0)) of each slot i: how much its padding counts. Slots differ, or padding could cancel."""
    first, size = shape.tail
    return [pow(eta, shape.sums + 1 + slot * (size - first), P) for slot in range(shape.slots)]


def pack(answers: Sequence[int]) -> bytes:
    """z as it is sent and absorbed: 14 bytes a row, big-endian, offset 2^110."""
    for row, value in enumerate(answers, start=1):
        if abs(value) >= 1 << Z_BITS:
            raise DomainError(f"row {row} of the projection is below 2^{Z_BITS} in absolute value: got {value}")
    return b"".join((value + (1 << Z_BITS)).to_bytes(Z_BYTES, "big") for value in answers)


def unpack(z: bytes, sums: int = SUMS) -> list[int]:
    """Raises ProofRejected unless there are so many rows, each in (−2^110, 2^110)."""
    if len(z) != Z_BYTES * sums:
        raise ProofRejected(f"base proof: z has {len(z)} bytes, wanted {Z_BYTES * sums}")
    out = [digest_int(z[at : at + Z_BYTES]) - (1 << Z_BITS) for at in range(0, len(z), Z_BYTES)]
    for row, value in enumerate(out, start=1):
        if abs(value) >= 1 << Z_BITS:
            raise ProofRejected(f"base proof: row {row} of the projection is out of range: an entry is too large")
    return out
