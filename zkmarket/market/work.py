"""How much a settlement carries: rows, points, bytes and gas limits."""

from __future__ import annotations

from dataclasses import dataclass

from ..build import WINDOW, Columns, Shape, masked_chunks

# ---------------------------------------------------------------- what a settlement needs

GAS_LIMIT, CALLDATA_LIMIT = 14_000_000, 120_000
"""Of one transaction: no project is created whose largest round does not settle in two."""


@dataclass(frozen=True)
class Work:
    """Upper estimates of a settlement, as the factory makes them.

    Attributes:
        base_gas, decision_gas: of `proveBase` and of `settleProven`; a `settle` needs both.
        calldata: bytes of a transaction.
    """

    base_gas: int
    decision_gas: int
    calldata: int

    @property
    def in_one(self) -> bool:
        """Whether one transaction holds it."""
        return self.base_gas + self.decision_gas <= GAS_LIMIT

    @property
    def possible(self) -> bool:
        return max(self.base_gas, self.decision_gas) <= GAS_LIMIT and self.calldata <= CALLDATA_LIMIT


def settlement_work(trainers: int, params: int, logrows: int, references: int) -> Work:
    """Of a round of so many trainers. The numbers are those of Limits.sol.

    Args:
        references: bits of `Plan.references`.
    """
    columns = Columns(logrows)
    chunks = columns.chunks(params)
    shape = Shape(trainers + (references & 1), chunks, params, columns.rows, columns.width)
    slots = trainers + references.bit_count()
    points = slots * chunks + len(masked_chunks(chunks)) + len(shape.mask_positions) + 1
    windows = sum(-(-bits // WINDOW) for bits in (shape.blocks, columns.rows - 1, columns.width))
    return Work(
        1_820_000 + trainers * 15_000 + windows * 23_500 + points * 7_700,
        1_300_000 + trainers * 35_000 + points * 2_500 + chunks * 12_000,
        30_000 + (points + chunks) * 64,
    )
