"""What everything costs in gas: the numbers that were measured, and the lines through them.

Not to be taken for the factory's upper estimates (`escrow.settlement_work`), by which it refuses a project that could
not be settled. To measure them again: `python -m benchmarks.bench_gas`; tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from . import projection
from .artifacts import Manifest, projection_shape
from .errors import DomainError
from .escrow import CALLDATA_LIMIT, GAS_LIMIT, REFERENCES, Work, settlement_work
from .gram import masked_chunks
from .projection import SUMS, WINDOW

# ---------------------------------------------------------------- measured

GAS: Mapping[str, int] = {
    "deploy.factory+project": 9_780_568,
    "deploy.libraries": 3_171_128,
    "deploy.base": 3_545_045,
    "deploy.settlement": 2_862_140,
    "create": 684_030,
    "accept": 44_123,
    "join": 58_965,
    "start": 44_189,
    "submit.first": 95_303,
    "submit.later": 61_103,
    "admit": 169_533,
    "lock": 79_525,
    "next": 67_295,
    "withdraw": 45_937,
}
"""Of N = 8 trainers and m = 1 chunk where it matters; `admit` has all receipts. The first round's submissions take a
seat's storage."""

ADMIT_GAS, RECEIPT_GAS = 31_300, 17_280  # a transaction with receipts, and each of them
SETTLE_GAS = 350_000  # a transaction that settles: what does not grow
BASE_PROOF_GAS = 764_000
SETTLEMENT_PROOF_GAS = 475_000
SLOT_GAS = 26_000  # a trainer: its seat, its instances, its credit
LOOKUP_GAS, TABLE_GAS = 37, 3_700  # a window of a row, and its table of 64 sums
POINT_GAS = 7_500  # a point: its bytes, its check, its multiple, its place in the log
AGAIN_GAS = 1_700  # a point that a second transaction takes again
ENTRY_GAS = 60_000  # what else a second transaction costs
SETTLE_REFERENCES_GAS = 4_400  # what only a settlement with references reads
ROOT_GAS = -12_800  # a root update beside a submission
LOCK_SEAT_GAS = 3_340
CREATE_MODEL_GAS = 20_300  # the digest of a model, which the benchmark's project has not
CREATE_PLAN_GAS = 96_000  # one more number of trainers: four words of storage
CREATE_RATES_GAS = 26_000  # four more learning rates: a word


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
    def projection(self) -> projection.Shape:
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
    def windows(self) -> int:
        """Of a row of the projection: what is looked up at once."""
        shape = self.projection
        return sum(-(-bits // WINDOW) for bits in (shape.blocks, shape.rows - 1, shape.width))


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


def projection_gas(shape: RoundShape) -> int:
    """Of the look-ups and their tables."""
    return shape.windows * (TABLE_GAS + SUMS * LOOKUP_GAS)


def base_gas(shape: RoundShape) -> int:
    """What the base proof and the points add to a settlement."""
    return BASE_PROOF_GAS + projection_gas(shape) + shape.points * POINT_GAS


def settle_gas(shape: RoundShape) -> int:
    """Of a project's first settlement, by one transaction or two; later ones take about 110,000 less."""
    whole = SETTLE_GAS + base_gas(shape) + SETTLEMENT_PROOF_GAS + shape.trainers * SLOT_GAS
    whole += SETTLE_REFERENCES_GAS * bool(shape.references)
    return whole if fits_one(shape) else whole + ENTRY_GAS + shape.points * AGAIN_GAS


def round_gas(shape: RoundShape) -> int:
    """What the aggregator sends in a round, if nobody else does."""
    n = shape.trainers
    receipts = n + ("root" in shape.references)
    return GAS["start"] + admit_gas(receipts) + lock_gas(n) + settle_gas(shape) + GAS["next"]
