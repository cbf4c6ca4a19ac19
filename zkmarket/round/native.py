"""Exact arithmetic over long vectors, in float64: what a round's arguments need besides ezkl.

Updates are vectors of small integers, masks and challenges are field elements. A field element is split into *limbs*
of 16 bits, a long integer into *digits* of 18 bits; then everything is a matrix product of integers so small that
float64 holds each sum exactly, which BLAS makes fast. `reduce` brings sums of limbs back into the field.

Why it is exact. A product of float64 matrices is exact where every partial sum is an integer below 2^53, in whatever
order they are added. Values are at most 2^18 in absolute value (no build allows more), digits and limbs below:

- inner products of digits and limbs: below 2^36 each, at most WIDTH = 2^15 a block: 2^51. Blocks are added in int64:
  2^20 cells of 2^36 are 2^56;
- projections: bits times values, ℓ2 = 2^10 of them and then ℓ1 − 1 < 2^10: 2^38; of a mask in limbs of 32 bits: 2^52;
- combinations: limbs times values, 2^34 each, of at most 2^18 blocks: 2^52; limbs times limbs, 2^32 each, sixteen a
  mask and at most 64 masks: 2^42.

No loop of Python's runs over the values of a column. Memory is that of one block of columns of all slots, and the
matrix of (N·m)² inner products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..crypto import P, from_ints
from ..errors import DomainError

LIMB_BITS, LIMBS = 16, 16
DIGIT_BITS = 18
WIDTH = 1 << 15
CELLS = 1 << 23
"""Of one block of columns of all slots, at most: 64 MB of float64."""


# ---------------------------------------------------------------- vectors in digits


@dataclass(frozen=True)
class Digits:
    """A vector of integers as rows of signed digits: v = Σ_k 2^(18k)·row_k, each below 2^18 in absolute value.

    One row for an update. An aggregate may have more: its values reach N·√β.

    Attributes:
        values: (D,) integers; may be memory-mapped.
        count: of rows.
    """

    values: np.ndarray = field(repr=False)
    count: int

    @classmethod
    def of(cls, values: np.ndarray) -> Digits:
        """DomainError if they do not fit int64 with a digit to spare."""
        largest = max(-int(values.min(initial=0)), int(values.max(initial=0)))
        if largest >= 1 << 61:
            raise DomainError(f"values of a vector are below 2^61 here: got {largest}")
        count = 1
        while largest > 1 << DIGIT_BITS:
            count, largest = count + 1, (largest >> DIGIT_BITS) + 1
        return cls(values, count)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Digits of values start..stop as float64 (count, stop − start); zeros beyond the vector's end."""
        out = np.zeros((self.count, stop - start))
        part = self.values[start:stop]
        if self.count == 1:
            out[0, : len(part)] = part
            return out
        rest = np.asarray(part, np.int64)
        half = 1 << (DIGIT_BITS - 1)
        for row in out[:-1]:
            digit = ((rest + half) & ((1 << DIGIT_BITS) - 1)) - half
            row[: len(part)] = digit
            rest = (rest - digit) >> DIGIT_BITS
        out[-1, : len(part)] = rest
        return out


def limbs(column: np.ndarray) -> np.ndarray:
    """(n, 32) field elements as float64 (16, n), lowest limb first."""
    return np.ascontiguousarray(column).view("<u2").T.astype(np.float64)


def blocks(length: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cut 0..length so that so many rows of a block are at most CELLS, and a block at most WIDTH, wide."""
    width = max(1, min(WIDTH, CELLS // max(1, rows)))
    return ((start, min(start + width, length)) for start in range(0, length, width))


# ---------------------------------------------------------------- products


def inner_products(
    vectors: Sequence[Digits], masks: Mapping[int, np.ndarray], size: int, chunks: int
) -> tuple[np.ndarray, list[int]]:
    """All inner products of the chunks' digits and the masks' limbs, exact.

    Args:
        masks: by chunk, its mask of C field elements (C, 32), where it has one.
        size: C, cells of a chunk. chunks: m.

    Returns:
        The symmetric matrix, int64, and where the rows of each chunk start, with the end of the last: first the digits
        of each vector, then the 16 limbs of the chunk's mask.
    """
    own = sum(vector.count for vector in vectors)
    starts = [0]
    for chunk in range(chunks):
        starts.append(starts[-1] + own + LIMBS * (chunk in masks))
    out = np.zeros((starts[-1], starts[-1]), np.int64)
    for start, stop in blocks(size, len(out)):
        stack = np.empty((len(out), stop - start))
        for chunk, at in enumerate(starts[:-1]):
            parts = [vector.rows(chunk * size + start, chunk * size + stop) for vector in vectors]
            if chunk in masks:
                parts.append(limbs(masks[chunk][start:stop]))
            np.concatenate(parts, out=stack[at : starts[chunk + 1]])
        # added as int64, a part after the other: in float64 the sum of blocks would not be exact
        np.add(out, stack @ stack.T, out=out, dtype=np.int64, casting="unsafe")
    return out, starts


def project(cells: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """a_jᵀ U b_j for every block U and every row j of bits: float64 (n, rows).

    Args:
        cells: (n, C) float64, below 2^32 and integral. left: (ℓ1 − 1, rows) bits. right: (ℓ2, rows) bits.
    """
    along = cells.reshape(-1, len(right)) @ right
    projected: np.ndarray = np.einsum("nij,ij->nj", along.reshape(len(cells), *left.shape), left)
    return projected


def project_mask(column: np.ndarray, left: np.ndarray, right: np.ndarray) -> list[int]:
    """The same of C field elements (C, 32); integers, not reduced."""
    parts = project(np.ascontiguousarray(column).view("<u4").T.astype(np.float64), left, right)
    return [sum(int(value) << (32 * limb) for limb, value in enumerate(row)) for row in parts.T]


def combine(
    vectors: Sequence[Digits],
    coefficients: Sequence[Sequence[int]],
    masks: Sequence[np.ndarray],
    weights: Sequence[int],
    size: int,
) -> np.ndarray:
    """Σ coefficients[i][c]·chunk c of vector i + Σ weights_t·mask_t over C cells: (C, 32) field elements."""
    factors, readers = [], []
    for vector, own in zip(vectors, coefficients, strict=True):
        for chunk, coefficient in enumerate(own):
            readers.append((vector, chunk * size))
            factors += [coefficient << (DIGIT_BITS * k) for k in range(vector.count)]
    small = limbs(from_ints(factors)) if factors else np.zeros((LIMBS, 0))
    wide = [toeplitz(weight) for weight in weights]
    out = np.empty((size, 32), np.uint8)
    for start, stop in blocks(size, len(factors) + 4 * LIMBS):
        sums = np.zeros((2 * LIMBS, stop - start))
        if factors:
            sums[:LIMBS] = small @ np.concatenate([v.rows(at + start, at + stop) for v, at in readers])
        for matrix, mask in zip(wide, masks, strict=True):
            sums += matrix @ limbs(mask[start:stop])
        out[start:stop] = reduce(sums.astype(np.int64))
    return out


def scale(column: np.ndarray, factor: int) -> np.ndarray:
    """factor·column: (n, 32) field elements."""
    out = np.empty_like(column)
    matrix = toeplitz(factor)
    for start, stop in blocks(len(column), 4 * LIMBS):
        out[start:stop] = reduce((matrix @ limbs(column[start:stop])).astype(np.int64))
    return out


def powers(base: int, count: int) -> np.ndarray:
    """1, base, base², …: (count, 32) field elements, by doubling."""
    out = from_ints([1])
    while len(out) < count:
        out = np.concatenate([out, scale(out[: count - len(out)], pow(base, len(out), P))])
    return out[:count]


def add(column: np.ndarray, other: np.ndarray) -> np.ndarray:
    """column + other of field elements, (n, 32) each."""
    return reduce((limbs(column) + limbs(other)).astype(np.int64))


def dot(column: np.ndarray, cells: np.ndarray) -> int:
    """<column, cells> of field elements, (n, 32) each, not reduced."""
    total = 0
    for start, stop in blocks(len(column), 2 * LIMBS):
        products = (limbs(column[start:stop]) @ limbs(cells[start:stop]).T).astype(np.int64)
        total += sum(int(value) << (LIMB_BITS * (i + j)) for (i, j), value in np.ndenumerate(products))
    return total


def dot_small(column: np.ndarray, vectors: Sequence[Digits], starts: Sequence[int]) -> list[int]:
    """<column, v[start:]> of field elements (n, 32) and of each vector from each start on, not reduced.

    Args:
        vectors: of one digit. The results are vector by vector.
    """
    count = len(vectors) * len(starts)
    totals = np.zeros((LIMBS, count), object)
    for first, stop in blocks(len(column), count + 2 * LIMBS):
        cells = [vector.rows(start + first, start + stop)[0] for vector in vectors for start in starts]
        totals += (limbs(column[first:stop]) @ np.stack(cells, 1)).astype(np.int64).astype(object)
    return [sum(int(value) << (LIMB_BITS * k) for k, value in enumerate(row)) for row in totals.T]


def squared_length(values: np.ndarray) -> int:
    """‖v‖² of integers as `Digits` takes them."""
    digits = Digits.of(values)
    products, _ = inner_products([digits], {}, len(values), 1)
    weights = np.array([1 << (DIGIT_BITS * k) for k in range(digits.count)], object)
    return int(weights @ products.astype(object) @ weights)


def outer_sum(coefficients: Sequence[int], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Σ_j coefficients_j·(a_j ⊗ b_j): ((ℓ1 − 1)·ℓ2, 32) field elements.

    Args:
        left: (ℓ1 − 1, rows) bits. right: (ℓ2, rows) bits.
    """
    parts = limbs(from_ints(coefficients))
    width = len(right)
    out = np.empty((len(left) * width, 32), np.uint8)
    step = max(1, WIDTH // width)
    for first in range(0, len(left), step):
        some = left[first : first + step]
        sums = np.stack([(some * part) @ right.T for part in parts]).reshape(LIMBS, -1)
        out[first * width : (first + step) * width] = reduce(sums.astype(np.int64))
    return out


# ---------------------------------------------------------------- back into the field


def toeplitz(scalar: int) -> np.ndarray:
    """The matrix (32, 16) that multiplies limbs by a scalar, without carries."""
    own = limbs(from_ints([scalar]))[:, 0]
    out = np.zeros((2 * LIMBS, LIMBS))
    for shift in range(LIMBS):
        out[shift : shift + LIMBS, shift] = own
    return out


_LOW = (1 << LIMB_BITS) - 1
_P_LIMBS = np.array([P >> (LIMB_BITS * k) & _LOW for k in range(LIMBS)], np.int64)[:, None]
_SPARE = 3
"""Rows of limbs that carries need: sums are below 2^53, a limb has 16 bits."""

_STEP = 1 << 10
"""Columns that are reduced at once: what a processor's cache holds."""

_HIGH = np.array(
    [
        [pow(2, LIMB_BITS * k, P) >> (LIMB_BITS * at) & _LOW for k in range(LIMBS, 2 * LIMBS + _SPARE)]
        for at in range(LIMBS)
    ],
    np.float64,
)
"""2^(16k) mod p for the limbs beyond the sixteenth."""


def reduce(sums: np.ndarray) -> np.ndarray:
    """Σ_k 2^(16k)·sums_k mod p: (n, 32) field elements, canonical.

    Args:
        sums: (k, n) int64, any sign, below 2^53 in absolute value; k at most 32.
    """
    out = np.empty((sums.shape[1], 32), np.uint8)
    for start in range(0, len(out), _STEP):
        out[start : start + _STEP] = _reduce(sums[:, start : start + _STEP])
    return out


def _reduce(sums: np.ndarray) -> np.ndarray:
    rows, n = sums.shape
    wide = np.zeros((max(rows, LIMBS) + _SPARE, n), np.int64)
    wide[:rows] = sums
    _carry(wide)
    high = wide[LIMBS:]
    folded = np.zeros((LIMBS + _SPARE, n), np.int64)
    folded[:LIMBS] = wide[:LIMBS] + (_HIGH[:, : len(high)] @ high).astype(np.int64)
    _carry(folded)
    # now below 2^21·p in absolute value: the quotient by p is right to one
    top = folded[13:] * np.array([2.0 ** (LIMB_BITS * (k - 2)) for k in range(LIMBS + _SPARE - 13)])[:, None]
    quotient = np.floor(top.sum(0) / (P / 2.0 ** (LIMB_BITS * 15))).astype(np.int64)
    folded[:LIMBS] -= _P_LIMBS * quotient
    _carry(folded)
    folded[:LIMBS] += _P_LIMBS * (folded[-1] < 0)
    _carry(folded)
    less = folded.copy()
    less[:LIMBS] -= _P_LIMBS
    _carry(less)
    canonical = np.where(less[-1] < 0, folded[:LIMBS], less[:LIMBS])
    return np.ascontiguousarray(canonical.T.astype("<u2")).view(np.uint8).reshape(n, 32)


def _carry(limbs_: np.ndarray) -> None:
    """Bring every limb but the last, which keeps the sign, into 16 bits; in place."""
    for low, high in zip(limbs_[:-1], limbs_[1:], strict=True):
        high += low >> LIMB_BITS
        low &= _LOW
