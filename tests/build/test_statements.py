"""The statements of a project in numbers: sizes, bounds, the noise's entropy, and which circuits there are."""

from __future__ import annotations

import math
from itertools import product

import pytest

from zkmarket.backend import block_rows, usable_rows
from zkmarket.build import ROWS, Columns, base_rows
from zkmarket.build.statements import (
    ARGUMENT_BITS,
    HISTOGRAM_BITS,
    base_circuit,
    noise_covers,
    noise_entropy,
    project_circuits,
    settlement_logrows,
    settlement_rows,
    settlement_statement,
    table_bound,
    value_bound,
)
from zkmarket.circuits import NOISE
from zkmarket.errors import DomainError
from zkmarket.rules import Domain, MultiKrum, RuleSet

pytestmark = pytest.mark.unit

RULE = MultiKrum(2, 6)


def circuits(d: int, logrows: int = 10) -> dict:
    return project_circuits(logrows, 13, RuleSet(8, d, value_bound(10), 10**9, RULE, "shapley"))


def test_sizes_are_those_of_the_protocol():
    """A column is ℓ1 rows of ℓ2 = 2^⌈K/2⌉, the last of them the salts'; Q = 2^(bits − 1)."""
    shapes = {k: (Columns(k).rows, Columns(k).width, Columns(k).values) for k in (10, 13, 17)}
    assert shapes == {10: (29, 32, 28 * 32), 13: (62, 128, 61 * 128), 17: (254, 512, 253 * 512)}
    assert [value_bound(bits) for bits in (2, 13, 19)] == [2, 4096, 1 << 18]
    assert [table_bound(k) for k in (13, 17)] == [4092, 65532]


@pytest.mark.parametrize("logrows", ROWS)
def test_a_column_has_the_most_rows_with_which_the_base_circuit_fits_three_blocks(logrows: int):
    columns = Columns(logrows)
    fits = [
        base_rows(rows, columns.width, logrows) <= 3 * block_rows(logrows) for rows in (columns.rows, columns.rows + 1)
    ]
    assert fits[0] and (not fits[1] or columns.length + columns.width >= 1 << logrows)
    assert columns.length < usable_rows(logrows)


@pytest.mark.parametrize("logrows", [9, 21])
def test_a_k_without_columns(logrows: int):
    with pytest.raises(DomainError, match=f"logrows is from 10 to 20: got {logrows}"):
        Columns(logrows)


@pytest.mark.parametrize("d", [1, 896, 897, 2016])
def test_there_are_two_circuits_whatever_the_size(d: int):
    assert list(circuits(d)) == ["base", "settlement"]
    assert circuits(d)["base"].numbers == base_circuit(10).numbers


def test_what_a_circuit_shows_and_commits_to():
    made = circuits(1009)
    assert made["base"].lookups == made["base"].range_checks == made["base"].sorts == []  # its zero knowledge needs it
    assert {name: made[name].instances for name in made} == {
        "base": 3 + 2 * 10 + 1,  # <W, W>, its salts' part, <U, V>, the echoed powers of the point, V there
        "settlement": 1 + 9 + 1 + 8 + 8 + 1,  # q, r, β, mask, scores, ν
    }
    assert made["base"].committed == [928, 928, 928, 20] and made["base"].blocks == 3
    assert made["settlement"].committed == [9 * 10 // 2 + 8, 9 + 1 + NOISE + 8]


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize(("values", "table"), [(1, 5), (3, 4), (5, 3), (4, 6)])
def test_the_entropy_of_the_noise_is_a_lower_bound(values: int, table: int):
    """Against the true entropy of the histogram, over all draws."""
    counts: dict[tuple[int, ...], int] = {}
    for draw in product(range(table), repeat=values):
        histogram = tuple(draw.count(v) for v in range(table))
        counts[histogram] = counts.get(histogram, 0) + 1
    total = table**values
    true = -sum(c / total * math.log2(c / total) for c in counts.values())
    assert noise_entropy(values, table) <= true + 1e-9
    if values == 1:
        assert noise_entropy(values, table) == pytest.approx(true)


def test_the_noise_covers_what_a_proof_reveals():
    """948 bits in a table of 2^13 rows; one of 2^9 would not do."""
    assert round(noise_entropy(128, 2 * 4092)) == 948
    assert noise_entropy(NOISE, 2 * table_bound(10)) > HISTOGRAM_BITS > noise_entropy(NOISE, 2 * table_bound(9))
    in_order = [NOISE * math.log2(2 * table_bound(k)) for k in (9, 10)]
    assert in_order[0] < ARGUMENT_BITS < in_order[1]
    assert (noise_covers(NOISE, 2 * table_bound(9)), noise_covers(NOISE, 2 * table_bound(10))) == (False, True)


# ---------------------------------------------------------------- the settlement's size


@pytest.mark.parametrize("n", [3, 8, 16, 32])
def test_the_settlement_has_the_smallest_number_of_rows_that_fits(n: int):
    project = RuleSet(n, 100_000, 4092, 10**12, MultiKrum.krum(n), "shapley")
    logrows = settlement_logrows(project)
    for k, fits in ((logrows, True), (logrows - 1, False)):
        if k >= 11:
            rows = settlement_rows(project, Domain.of(project, k - 1))
            assert (rows <= 2**k - 8) is fits  # one block: two rows less than are usable
    how = settlement_statement(logrows, project, 8).how
    assert how.decomp_base**how.decomp_legs > max(Domain.of(project, logrows - 1).bounds.values())


def test_too_many_trainers_are_refused():
    with pytest.raises(DomainError, match=r"the settlement of 300 trainers needs more than 2\^20 rows: lower N"):
        settlement_logrows(RuleSet(300, 1000, 508, 10**9, MultiKrum.krum(300), "shapley"))
