"""What everything costs in gas: the numbers that were measured, and the lines through them.

Not to be taken for the factory's upper estimates (`escrow.settlement_work`), by which it refuses a project that could
not be settled. To measure them again: `python -m benchmarks.bench_gas`; tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..build import WINDOW, WINDOWS, Manifest, Shape, masked_chunks, projection_shape
from ..errors import DomainError
from ..market import CALLDATA_LIMIT, GAS_LIMIT, REFERENCES, Work, settlement_work

SHORT_ROWS, SHORT_WIDTH = 64, 128
"""Bits of the straight code of contracts/lib/SubsetSums.sol."""

# ---------------------------------------------------------------- measured

GAS: Mapping[str, int] = {
    "deploy.factory+project": 9_358_004,
    "deploy.libraries": 6_807_738,
    "deploy.base": 3_545_045,
    "deploy.settlement": 2_862_140,
    "create": 749_469,
    "accept": 44_211,
    "join": 58_943,
    "start": 44_270,
    "submit.first": 95_303,
    "submit.later": 61_103,
    "admit": 169_559,
    "lock": 79_628,
    "next": 79_149,
    "withdraw": 45_981,
}
"""Of N = 8 trainers and m = 1 chunk where it matters; `admit` has all receipts. The first round's submissions take the
storage of a seat."""

# What changes with the numbers of a project; tests/contracts/test_plan_gas.py measures them on anvil.
ADMIT_GAS, RECEIPT_GAS = 31_300, 17_280  # a transaction with receipts, and each of them
LOCK_SEAT_GAS = 3_340
CREATE_MODEL_GAS = 20_300  # the digest of a model, which the benchmark's project has not
CREATE_PLAN_GAS = 96_000  # one more number of trainers: four words of storage
CREATE_RATES_GAS = 26_000  # four more learning rates: a word
ROOT_GAS = -12_800  # a root update beside a submission: its place is used again by every round

SETTLE_GAS = 2_273_500  # both proofs, and what does not grow
SLOT_GAS = 27_300  # a trainer: its seat, its instances, its credit
POINT_GAS = 10_540  # a point: its bytes, its check, its multiple, its place in the log
MODEL_CHUNK_GAS = 9_000  # a chunk of the model: its bytes, its commitment moved
BLOCKS_GAS = 66_200  # eight blocks: a table of their weights' sums, looked up in 520 rows by straight code
WINDOW_GAS = 21_750  # six blocks, where a row takes more than a hash
POWERS_GAS = 23_040  # a byte of a row's other bits there; straight code takes them all, or none
LONG_ROWS_GAS = -220_600  # there, what the straight code would have taken
SECOND_GAS, SLOT_AGAIN_GAS, POINT_AGAIN_GAS = 89_000, 6_500, 1_345  # what a second transaction takes once more


# ---------------------------------------------------------------- the shape of a round


@dataclass(frozen=True)
class RoundShape:
    """What decides how heavy a settlement is.

    Attributes:
        trainers, params: N and D.
        logrows: K of the columns.
        references: of the filter and the score.
    """

    trainers: int
    params: int
    logrows: int
    references: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> RoundShape:
        return cls(manifest.trainers, manifest.params, manifest.logrows, tuple(manifest.references))

    @cached_property
    def projection(self) -> Shape:
        return projection_shape(self.trainers, self.params, self.logrows, self.references)

    @property
    def work(self) -> Work:
        """What its settlement may need, by the factory's estimates."""
        return settlement_work(
            self.trainers, self.params, self.logrows, sum(1 << REFERENCES.index(name) for name in self.references)
        )

    @property
    def chunks(self) -> int:
        """m."""
        return self.projection.chunks

    @property
    def points(self) -> int:
        """Of a round's calldata: slots and references, slot 0's mask, the projection's masks, the Gram matrix."""
        slots = self.trainers + len(self.references)
        return slots * self.chunks + len(masked_chunks(self.chunks)) + len(self.projection.mask_positions) + 1

    @property
    def windows(self) -> tuple[int, int, int]:
        """Of a row of the projection: of its bits for blocks, for a column's rows, for a row's values."""
        shape = self.projection
        blocks, rows, width = (-(-bits // WINDOW) for bits in (shape.blocks, shape.rows - 1, shape.width))
        return blocks, rows, width

    @property
    def short(self) -> bool:
        """Whether a row takes one hash; contracts/lib/SubsetSums.sol looks such rows up in straight code."""
        shape = self.projection
        return shape.rows - 1 <= SHORT_ROWS and shape.width <= SHORT_WIDTH and sum(self.windows) <= WINDOWS

    @property
    def rows_gas(self) -> int:
        """What the look-ups of the projection's rows add to `SETTLE_GAS`, which has straight code's."""
        shape = self.projection
        if self.short:
            return BLOCKS_GAS * -(-shape.blocks // 8)
        others = sum(-(-bits // 8) for bits in (shape.rows - 1, shape.width))
        return LONG_ROWS_GAS + WINDOW_GAS * self.windows[0] + POWERS_GAS * others


# ---------------------------------------------------------------- what the factory refuses


def fits_one(shape: RoundShape) -> bool:
    """Whether one transaction holds a settlement, with certainty."""
    return shape.work.in_one


def too_heavy(shape: RoundShape) -> str:
    """Why the factory refuses rounds of a shape; empty if it does not."""
    try:
        shape.projection.check()
    except DomainError as error:
        return str(error)
    work = shape.work
    for what, gas in (("prove a base", work.base_gas), ("settle on it", work.decision_gas)):
        if gas > GAS_LIMIT:
            return f"{shape.chunks} chunks may need {gas:,} gas to {what}, the factory takes at most {GAS_LIMIT:,}"
    if work.calldata > CALLDATA_LIMIT:
        return (
            f"{shape.chunks} chunks may need {work.calldata:,} bytes to settle, the factory takes at most"
            f" {CALLDATA_LIMIT:,}"
        )
    return ""


# ---------------------------------------------------------------- what it costs


def create_gas(plans: int, rates: int) -> int:
    return GAS["create"] + CREATE_MODEL_GAS + (plans - 1) * CREATE_PLAN_GAS + ((rates + 3) // 4 - 1) * CREATE_RATES_GAS


def admit_gas(n: int) -> int:
    """Of all n receipts, in one transaction."""
    return ADMIT_GAS + n * RECEIPT_GAS


def lock_gas(n: int) -> int:
    return GAS["lock"] + (n - 8) * LOCK_SEAT_GAS


def settle_gas(shape: RoundShape) -> int:
    """Of a project's first settlement, by one transaction or two; later ones find storage in use, and take less."""
    points, n = shape.points, shape.trainers
    whole = SETTLE_GAS + n * SLOT_GAS + points * POINT_GAS + shape.chunks * MODEL_CHUNK_GAS + shape.rows_gas
    return whole if fits_one(shape) else whole + SECOND_GAS + n * SLOT_AGAIN_GAS + points * POINT_AGAIN_GAS


def round_gas(shape: RoundShape) -> int:
    """What the aggregator sends in a round, if nobody else does."""
    n = shape.trainers
    receipts = n + ("root" in shape.references)
    return GAS["start"] + admit_gas(receipts) + lock_gas(n) + settle_gas(shape) + GAS["next"]
