"""The statements of a project in numbers: what to compile, and what must be in it when it is compiled.

The torch modules of circuits/ are exported once, when keys are made; this file knows, without torch, which
lookups, tables, rows, inputs and outputs the compiled circuit must have. `check_settings` asserts them when a
build is made and each time one is loaded: ezkl's optimiser drops silently what no output depends on, and a
verifier takes the constraint system from the settings file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...backend import Compilation, Exportable, Operation, usable_rows
from ...circuits import NOISE
from ...rules import Domain, Filter, RuleSet, reference_slots
from ..columns import ROWS, Columns

SALTS = 8
HISTOGRAM_BITS = 2 * 254
"""What a proof says of one lookup argument's multiplicities: a commitment and an evaluation."""

ARGUMENT_BITS = HISTOGRAM_BITS + 3 * 254
"""The same with its running sum: a commitment and two evaluations. ezkl blinds the running sums of all lookup
arguments of a proof with the same values, so that their differences are bare."""

Inputs = list[list[str]]


VALUE_BITS = 13
"""Of an update's value, where a project says nothing else."""

MAX_VALUE_BITS = 19
"""As in contracts/lib/Limits.sol."""


def value_bound(value_bits: int) -> int:
    """Q: an honest value has so many bits, sign included."""
    return 1 << (value_bits - 1)


def table_bound(logrows: int) -> int:
    """A table of one column holds this bound's [−T, T): what direct circuits look their inputs up in."""
    return (1 << (logrows - 1)) - 4


def noise_entropy(values: int, table: int) -> float:
    """Bits of entropy (a lower bound) in the histogram of `values` uniform draws from `table` rows."""
    return values * math.log2(table) - math.lgamma(values + 1) / math.log(2)


def noise_covers(values: int, table: int) -> bool:
    """Whether `values` uniform draws from `table` rows hide what a proof reveals of one lookup argument."""
    return noise_entropy(values, table) >= HISTOGRAM_BITS and values * math.log2(table) >= ARGUMENT_BITS


def sorted_noise(bits: int) -> int:
    """How many noise values of so many bits must be sorted along to hide the sorts of the data."""
    return min(NOISE, -(-(ARGUMENT_BITS + 64) // (bits - 1)))


@dataclass(frozen=True)
class Circuit:
    """A statement with its numbers.

    Attributes:
        source: file in circuits/ that holds the torch module.
        module: makes the module (imports torch).
        numbers: its arguments; with the source and versions they decide the circuit.
        how: how it is compiled.
        lookups: static lookups that must be in the compiled circuit, as ezkl writes them.
        range_checks: range-check tables that must be.
        sorts: how many values each sort has; every one is a shuffle argument.
        rows: (least, most) rows that it lays out; fewer mean that a check was dropped.
        counted: (least, most) rows by ezkl's own count, which is higher: inputs and slices take no rows in a proof.
        instances: number of public outputs.
        committed: lengths of the committed inputs.
        sample: honest inputs, proven once when keys are made: the keys work, and a proof's length is known.
        refused: by name, inputs that the compiled circuit must refuse, and a pattern that the reason must match.
        placed: raises ArtifactError unless a synthesis on the sample puts everything where noise is; None where
            nothing is looked up.
        blocks: blocks of columns that it must have; None where it does not matter how many are empty.
        code: files of zkmarket and circuits, besides this package's and `source`, that decide numbers, sample, refused
            and placed.
    """

    source: str
    module: Callable[[], Exportable]
    numbers: dict[str, Any]
    how: Compilation
    lookups: list[dict[str, Any]]
    range_checks: list[list[int]]
    sorts: list[int]
    rows: tuple[int, int]
    counted: tuple[int, int]
    instances: int
    committed: list[int]
    sample: Callable[[], Inputs]
    refused: Callable[[], dict[str, tuple[Inputs, str]]] = dict
    domain: Domain | None = None
    placed: Callable[[Sequence[Operation]], None] | None = None
    blocks: int | None = None
    code: tuple[str, ...] = ()


def comparisons(n: int, noise_sorted: int, rule: Filter, score: str) -> int:
    """Decompositions in the settlement circuit.

    With Multi-Krum N sorts of N−1 and one of N, and 2N signs; the sort of the norms, one sign of the longest and one of
    the root, 2N signs of the norm bound, the noise and its sort; then 4N signs for three-sigma and for the cosine, and
    those of the score.
    """
    scored = {"equal": 0, "cosine-shapley": 6 * n}.get(score, 2 * n)
    if score == "root" and rule.tau is not None:
        scored = 0  # the signs of G_iR are there
    krum = n * (n - 2) + n - 1 + 2 * n if rule.m else 0
    further = 4 * n * ((rule.sigma is not None) + (rule.tau is not None))
    longest = 1 + ("root" in reference_slots(rule, score))
    return krum + n - 1 + 2 * n + longest + further + scored + NOISE + noise_sorted


def counted_rows(rules: RuleSet, domain: Domain) -> int:
    """An estimate of ezkl's own count, within 2 %.

    Besides the digits: what Multi-Krum with Shapley scores takes, then what each other part takes more or less.
    """
    n, rule, score = rules.trainers, rules.filter, rules.score
    noise = sorted_noise(domain.bits)
    own = n * (n - rule.f - 2) + 53 * n * n // 2 + 132 * n + 1750 + SORT_ROWS * noise
    own += len(reference_slots(rule, score)) * (28 * n + 3 * n * n // 8 + 14)
    own += {"equal": -n * n - 37 * n, "root": -n * n - 28 * n, "novel": -14 * n, "cosine-shapley": 75 * n + 18}.get(
        score, 0
    )
    if not rule.m:
        own -= 25 * n * n + 20 * n + 20
    if rule.sigma is not None:
        own += n * n + 97 * n
    if rule.tau is not None:
        own += (63 if score != "root" else 53) * n
    return 3 * domain.digits * (comparisons(n, noise, rule, score) + 3) + own


SORT_ROWS = 21
"""Rows of one more sorted value, besides its digits."""

assert all(Columns(k).length < usable_rows(k) for k in ROWS)  # a full column gets a point too many from kzg_commit
