"""The projection argument's numbers: sizes, bit lengths, positions and how much they leak."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..errors import DomainError


def masked_chunks(chunks: int) -> tuple[int, ...]:
    """Where slot 0 has a chunk: at 0 and the powers of two below m. Elsewhere it is zero, without a commitment."""
    return (0, *(1 << s for s in range((chunks - 1).bit_length())))


SUMS = 520
"""Rows: (7/8)^520 < 2^−100."""

FLOOD_BITS, Z_BITS = 109, 110
ENTRY_BITS = 113
"""What is proven of every entry: below 2^113 in absolute value."""

CELLS_BITS = 26
"""m·C at most: an inner product of entries below 2^113 is then below p/2."""

Z_BYTES = 14
WINDOW, WINDOWS = 6, 42
"""Bits of a window, and windows of one hash: 252 of its 256 bits. No bit is used twice."""


@dataclass(frozen=True)
class Shape:
    """What the argument's numbers follow from.

    Attributes:
        slots: with data blocks: trainers, and the root reference if the rules have one.
        chunks, params: m and D.
        rows, width: ℓ1 and ℓ2 of a column.
        sums: rows of bits; 520, but in tests.
    """

    slots: int
    chunks: int
    params: int
    rows: int
    width: int
    sums: int = SUMS

    def check(self) -> None:
        """Raise DomainError where the argument says nothing."""
        if self.values < self.sums + 1 + self.rounds:
            raise DomainError(f"a chunk has at least {self.sums + 1 + self.rounds} values here: got {self.values}")
        if self.chunks * self.values > 1 << CELLS_BITS:
            raise DomainError(
                f"an update has at most 2^{CELLS_BITS} values with its padding: got {self.chunks * self.values}"
            )

    @property
    def values(self) -> int:
        """C."""
        return (self.rows - 1) * self.width

    @property
    def blocks(self) -> int:
        """n_b: data blocks."""
        return self.slots * self.chunks

    @cached_property
    def rounds(self) -> int:
        """μ: M = 2^μ positions hold the data blocks and μ + 1 masks."""
        mu = 1
        while (1 << mu) - (mu + 1) < self.blocks:
            mu += 1
        return mu

    @cached_property
    def mask_positions(self) -> list[int]:
        return [0, *(1 << t for t in range(self.rounds))]

    @cached_property
    def data_positions(self) -> list[int]:
        """Of the data blocks in order: what no mask stands at. Positions left over are absent, zero."""
        masks = set(self.mask_positions)
        free = (at for at in range(1 << self.rounds) if at not in masks)
        return [at for at, _ in zip(free, range(self.blocks), strict=False)]

    def leak_bits(self, bound: int) -> int:
        """What z may tell of the updates: at most 2^−leak_bits of statistical distance, for values below `bound`."""
        return (1 << FLOOD_BITS).bit_length() - (self.sums * self.blocks * self.values * bound).bit_length()

    @property
    def tail(self) -> tuple[int, int]:
        """d0 and C: where the padding of a last chunk starts, and ends."""
        return self.params - (self.chunks - 1) * self.values, self.values

    @property
    def last_chunks(self) -> list[int]:
        """The number of each slot's last data block."""
        return [slot * self.chunks + self.chunks - 1 for slot in range(self.slots)]
