"""What a project asks of its circuits, and which K is the best for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import DomainError, InputError
from ..rules import Filter, check_score
from ..updates import ParameterLayout
from .columns import ROWS, Columns
from .manifest import projection_shape
from .shape import SUMS, masked_chunks
from .statements import MAX_VALUE_BITS, SALTS

MAX_TRAINERS, MAX_PARAMS = 4096, 1 << 26

LEAST_CHOSEN = 13
"""The smallest K that is chosen by itself: below it a proof is hardly quicker, and points are more."""

GAS_PER_POINT = 6_200
"""One ecMul and one ecAdd of the settlement's combination of commitments."""

GAS_OF_ROWS = 810_000
"""Look-ups of 520 rows, and their tables where few blocks and a small K leave them small."""

# Milliseconds on the reference machine (2 cores), from `python -m benchmarks.bench_circuits` and `bench_round`.
BASE_MS, BASE_MS_PER_8192_ROWS = 470, 1_720
COLUMN_MS_PER_8192_ROWS = 35  # one column of arbitrary field elements, committed
COMMIT_MS, COMMIT_MS_PER_MILLION = 110, 2_950  # values of an update, committed
POSITION_MS = 1  # of the sumcheck
PRODUCTS_PER_MS = 15_000_000  # multiplications of float64
PAIRS_PER_MS = 1_700  # of chunks, whose inner products are weighted as Python's integers
VERIFY_US_PER_POINT = 424
KEYS_MS, KEYS_US_PER_ROW = 2_050, 340  # of one circuit: builds at K = 13 and 14, and at K = 15 and 16
KEYS_MB, KEYS_BYTES_PER_ROW = 350, 19_000  # at most, by the rows of the largest circuit: builds at K = 13 to 17


@dataclass(frozen=True)
class Spec:
    """What a project decides. See `zkmarket build --help` for each."""

    trainers: int
    params: int
    filter: Filter
    score: str = "shapley"
    value_bits: int | None = None
    scale_bits: int | None = None
    logrows: int | None = None
    optimize: str = "time"
    beta_max: int | None = None
    layout: ParameterLayout | None = None
    most_trainers: int | None = None
    """Of the round that the last aggregate is from; where nothing is compared with it, it does not matter."""
    salts: int = SALTS


@dataclass(frozen=True)
class Candidate:
    """One choice of K, with what it is expected to cost."""

    logrows: int
    chunks: int
    aggregator_ms: int
    trainer_ms: int
    verify_ms: int
    settle_gas: int


def candidate(logrows: int, trainers: int, params: int) -> Candidate:
    """What a K is expected to cost."""
    shape = projection_shape(trainers, params, logrows, ())
    rows, blocks, cells = 1 << logrows, shape.blocks, shape.blocks * shape.values
    columns = len(masked_chunks(shape.chunks)) + len(shape.mask_positions) + 3  # masks, and W, U, V
    proof = BASE_MS + ((BASE_MS_PER_8192_ROWS + columns * COLUMN_MS_PER_8192_ROWS) * rows >> 13)
    sums = cells * (blocks + SUMS) // PRODUCTS_PER_MS + blocks**2 // PAIRS_PER_MS + (POSITION_MS << shape.rounds)
    return Candidate(
        logrows,
        shape.chunks,
        proof + sums,
        COMMIT_MS + shape.chunks * shape.values * COMMIT_MS_PER_MILLION // 10**6,
        blocks * VERIFY_US_PER_POINT // 1000,
        blocks * GAS_PER_POINT + GAS_OF_ROWS,
    )


def keys_seconds(rows: Iterable[int]) -> float:
    """About how long the keys of circuits of so many rows take to be made."""
    return sum(KEYS_MS + KEYS_US_PER_ROW * count / 1000 for count in rows) / 1000


def keys_gigabytes(rows: Iterable[int]) -> float:
    """About how much memory that takes."""
    return (KEYS_MB * 10**6 + KEYS_BYTES_PER_ROW * max(rows)) / 10**9


def candidates(trainers: int, params: int) -> list[Candidate]:
    """The cost model behind ``--logrows auto``.

    The base proof's work grows with rows, so a small K is quick for the aggregator; the number of chunks m = ⌈D/C⌉
    grows as K falls, with it what the verifier and the contract do: N·m points at 6,200 gas, and in the end the
    aggregator's (N·m)² inner products too.
    """
    return [candidate(logrows, trainers, params) for logrows in ROWS]


def choose_logrows(spec: Spec, possible: Callable[[int], bool] = lambda logrows: True) -> tuple[int, list[Candidate]]:
    """K for a project, and the candidates it was chosen from.

    time: least seconds of the aggregator, one trainer and one verifier together. gas: least gas of settle.
    Ties go to the smaller K. `possible` says which K the caller can use.
    """
    if spec.optimize not in ("time", "gas"):
        raise InputError(f"--optimize is time or gas: got {spec.optimize!r}")
    table = candidates(spec.trainers, spec.params)
    if spec.logrows is not None:
        return spec.logrows, table
    fits = [
        c for c in table if c.logrows >= LEAST_CHOSEN and Columns(c.logrows).width >= spec.salts and possible(c.logrows)
    ]
    if not fits:
        raise DomainError(f"no logrows up to {table[-1].logrows} suits {spec.params} parameters and these rules")
    if spec.optimize == "gas":
        best = min(fits, key=lambda c: (c.settle_gas, c.logrows))
    else:
        best = min(fits, key=lambda c: (c.aggregator_ms + c.trainer_ms + c.verify_ms, c.logrows))
    return best.logrows, table


def check_spec(spec: Spec) -> None:
    for name, value, most in (("parameters", spec.params, MAX_PARAMS), ("trainers", spec.trainers, MAX_TRAINERS)):
        if not 1 <= value <= most:
            raise InputError(f"a round has from 1 to {most} {name}: got {value}")
    if spec.value_bits is not None and spec.value_bits > MAX_VALUE_BITS:
        raise DomainError(
            f"a value has at most {MAX_VALUE_BITS} bits, as the contract's terms say: got {spec.value_bits}"
        )
    spec.filter.check(spec.trainers)
    check_score(spec.score)
    if spec.most_trainers is not None and not spec.trainers <= spec.most_trainers <= MAX_TRAINERS:
        raise InputError(f"--most-trainers is from {spec.trainers} to {MAX_TRAINERS}: got {spec.most_trainers}")
