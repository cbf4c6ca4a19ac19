"""Updates and masks of any shape, as the code takes them and as plain columns of big integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from zkmarket.build import masked_chunks
from zkmarket.crypto import P, from_ints
from zkmarket.round import Digits, Mask, Products

SALTS = 2
LARGEST = 1 << 18  # Q of 19 bits a value, the largest that a build allows
FIELD = st.one_of(st.sampled_from([0, 1, P - 1, P // 2]), st.integers(0, P - 1))
VALUE = st.one_of(st.sampled_from([-LARGEST, LARGEST - 1, 0, -1]), st.integers(-LARGEST, LARGEST - 1))
SUM = st.one_of(VALUE, st.sampled_from([1 - (1 << 61), (1 << 61) - 1]), st.integers(1 - (1 << 61), (1 << 61) - 1))
CHALLENGE = st.one_of(st.sampled_from([0, 1, (1 << 128) - 1, 1 << 127]), st.integers(0, (1 << 128) - 1))
Columns = list[list[int]]


class Case:
    """Vectors and mask as the code takes them, and the same as plain columns of C + S numbers.

    Args: mask: by chunk; slot 0 has no others.
    """

    def __init__(self, chunk: int, vectors: Columns, salts: list[Columns], mask: dict[int, list[int]], m: int):
        self.chunk, self.m = chunk, m
        self.mask = Mask({c: from_ints(column) for c, column in mask.items()})
        self.values = [np.array(vector, np.int64) for vector in vectors]
        self.salts = [np.stack([from_ints(column) for column in own]) for own in salts]
        self.digits = [Digits.of(values) for values in self.values]
        zeros = [0] * (chunk + SALTS)
        self.slots = [[mask.get(c, zeros) for c in range(m)]]
        for vector, own in zip(vectors, salts, strict=True):
            padded = vector + [0] * (m * chunk - len(vector))
            self.slots.append([padded[c * chunk : (c + 1) * chunk] + own[c] for c in range(m)])

    def __repr__(self) -> str:
        return f"Case(chunk={self.chunk}, slots={self.slots})"

    def products(self) -> Products:
        return Products.of(self.digits, self.mask, self.chunk, self.m)

    def inner(self, a: Columns, b: Columns) -> int:
        """<a, b> over the values of all chunks; salts take no part."""
        return sum(
            x * y for u, v in zip(a, b, strict=True) for x, y in zip(u[: self.chunk], v[: self.chunk], strict=True)
        )

    def matrix(self) -> Columns:
        """G_ij, in F_p where the mask takes part and in the integers elsewhere."""
        slots = range(len(self.slots))
        exact = [[self.inner(self.slots[i], self.slots[j]) for j in slots] for i in slots]
        return [[exact[i][j] if i and j else exact[i][j] % P for j in slots] for i in slots]

    def q(self, r: Sequence[int]) -> int:
        g = self.matrix()
        return sum(a * b * g[i][j] for i, a in enumerate(r) for j, b in enumerate(r)) % P

    def combined(self, r: Sequence[int]) -> Columns:
        """w_c = Σ_i r_i u_{i,c}."""
        size = self.chunk + SALTS
        return [
            [sum(k * slot[c][t] for k, slot in zip(r, self.slots, strict=True)) % P for t in range(size)]
            for c in range(self.m)
        ]


@st.composite
def cases(draw, chunks: Sequence[int] = (1, 2, 3, 5, 7, 8), fewest: int = 1) -> Case:
    """m chunks, the last one full or not, down to one value in it.

    At least `fewest` vectors, the last one of small values or, as an aggregate's, of long ones.
    """
    m, chunk, n = draw(st.sampled_from(chunks)), draw(st.integers(1, 5)), draw(st.integers(fewest, 4))
    d = (m - 1) * chunk + draw(st.integers(1, chunk))

    def table(rows: int, columns: int, elements) -> st.SearchStrategy[Columns]:
        row = st.lists(elements, min_size=columns, max_size=columns)
        return st.lists(row, min_size=rows, max_size=rows)

    vectors = draw(table(n - 1, d, VALUE)) + draw(table(1, d, draw(st.sampled_from([VALUE, SUM]))))
    salts = [draw(table(m, SALTS, FIELD)) for _ in range(n)]
    masked = masked_chunks(m)
    mask = dict(zip(masked, draw(table(len(masked), chunk + SALTS, FIELD)), strict=True))
    return Case(chunk, vectors, salts, mask, m)
