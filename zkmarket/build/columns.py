"""What one committed column holds: a matrix of values with a row of salts under it.

A column of a circuit with 2^K rows is read as ℓ1 × ℓ2 field elements, row by row. Rows 0 to ℓ1 − 2 hold C values; the
last row holds S salts, and zeros. As a matrix, because the projection argument weights a value by the bit of its row
times the bit of its column, and evaluates what it multiplies with at a point as αᵀ V β: both are ℓ1 + ℓ2 numbers
instead of ℓ1·ℓ2.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DomainError

MIN_LOGROWS, MAX_LOGROWS = 10, 20
"""Below 2^10 rows a column does not hold what the masks need; above 2^20 keys do not fit a machine."""

ROWS = {10: 29, 11: 30, 12: 61, 13: 62, 14: 125, 15: 126, 16: 253, 17: 254, 18: 509, 19: 510, 20: 1021}
"""ℓ1 by K: the largest for which the base circuit fits three blocks of columns. As in contracts/lib/Limits.sol."""


@dataclass(frozen=True)
class Columns:
    """The shape of the columns of a K.

    Attributes:
        logrows: K.
    """

    logrows: int

    def __post_init__(self) -> None:
        if self.logrows not in ROWS:
            raise DomainError(f"logrows is from {MIN_LOGROWS} to {MAX_LOGROWS}: got {self.logrows}")

    @property
    def rows(self) -> int:
        """ℓ1, the salts' row included."""
        return ROWS[self.logrows]

    @property
    def width(self) -> int:
        """ℓ2, a power of two."""
        return 1 << (self.logrows + 1) // 2

    @property
    def length(self) -> int:
        """L: cells of a column."""
        return self.rows * self.width

    @property
    def values(self) -> int:
        """C: values of a chunk."""
        return self.length - self.width

    def chunks(self, params: int) -> int:
        """m: chunks of so many parameters."""
        return -(-params // self.values)


def base_rows(rows: int, width: int, logrows: int) -> int:
    """Rows that the base circuit lays out: three products of L cells, one of the salts, and the powers of the point."""
    high = logrows - (width.bit_length() - 1)
    powers = (2 << high) + 2 * width - 8
    return 3 * rows * width + rows + width + powers + 2 * logrows + 6
