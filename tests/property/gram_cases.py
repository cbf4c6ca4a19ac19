"""Updates and masks of any shape, as the code takes them and as plain columns of big integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from zkmarket.commitment import Opening
from zkmarket.field import P, from_ints
from zkmarket.gram import Mask

SALTS = 2
LARGEST = (1 << 19) - 4  # Q at K = 20, the largest that a build allows
FIELD = st.one_of(st.sampled_from([0, 1, P - 1, P // 2]), st.integers(0, P - 1))
VALUE = st.one_of(st.sampled_from([-LARGEST, LARGEST - 1, 0, -1]), st.integers(-LARGEST, LARGEST - 1))
CHALLENGE = st.one_of(st.sampled_from([0, 1, (1 << 128) - 1, 1 << 127]), st.integers(0, (1 << 128) - 1))
Columns = list[list[int]]


class Case:
    """Openings and mask as the code takes them, and the same as plain columns of C + S numbers."""

    def __init__(self, chunk: int, updates: Columns, salts: list[Columns], mask: Columns):
        self.chunk, self.m = chunk, len(mask)
        self.mask = Mask(np.stack([from_ints(column) for column in mask]))
        self.openings = [
            Opening(np.array(update, np.int32), np.stack([from_ints(column) for column in own]))
            for update, own in zip(updates, salts, strict=True)
        ]
        self.slots = [mask]
        for update, own in zip(updates, salts, strict=True):
            padded = update + [0] * (self.m * chunk - len(update))
            self.slots.append([padded[c * chunk : (c + 1) * chunk] + own[c] for c in range(self.m)])

    def __repr__(self) -> str:
        return f"Case(chunk={self.chunk}, slots={self.slots})"

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
    """m chunks, the last one full or not, down to one value in it; at least `fewest` updates."""
    m, chunk, n = draw(st.sampled_from(chunks)), draw(st.integers(1, 5)), draw(st.integers(fewest, 4))
    d = (m - 1) * chunk + draw(st.integers(1, chunk))

    def table(rows: int, columns: int, elements) -> st.SearchStrategy[Columns]:
        row = st.lists(elements, min_size=columns, max_size=columns)
        return st.lists(row, min_size=rows, max_size=rows)

    updates = draw(table(n, d, VALUE))
    salts = [draw(table(m, SALTS, FIELD)) for _ in range(n)]
    return Case(chunk, updates, salts, draw(table(m, chunk + SALTS, FIELD)))
