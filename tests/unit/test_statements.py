"""The statements of a project in numbers: sizes, bounds, the noise's entropy, and which circuits there are."""

from __future__ import annotations

import math
from itertools import product

import pytest

from circuits import NOISE
from zkmarket.errors import DomainError
from zkmarket.rules import Domain, MultiKrum
from zkmarket.statements import (
    ARGUMENT_BITS,
    HISTOGRAM_BITS,
    chunk_size,
    default_value_bits,
    noise_covers,
    noise_entropy,
    project_circuits,
    range_circuit,
    settlement_logrows,
    settlement_rows,
    settlement_statement,
    table_bound,
    value_bound,
)

pytestmark = pytest.mark.unit

RULE = MultiKrum(2, 6)


def circuits(d: int, logrows: int = 10) -> dict:
    return project_circuits(8, d, logrows, 10, 13, 10**9, RULE, "shapley")


def test_sizes_are_those_of_the_protocol():
    """C = 2^K − 8 − S; Q = 2^(bits − 1), 13 bits unless a project says otherwise; a table holds T = 2^(K−1) − 4."""
    assert [chunk_size(k) for k in (10, 13, 17)] == [1008, 8176, 131056]
    assert chunk_size(13, salts=20) == 8164
    assert [table_bound(k) for k in (13, 17)] == [4092, 65532]
    assert [value_bound(bits) for bits in (2, 13, 19)] == [2, 4096, 1 << 18]
    assert [default_value_bits(k) for k in (10, 12, 13, 17)] == [10, 12, 13, 13]


@pytest.mark.parametrize("logrows", [10, 13, 17])
def test_the_table_of_a_range_proof_is_one_column_exactly(logrows: int):
    """From −Q to Q − 1 are 2^K − 8 rows, two less than are usable: a second column would widen the range."""
    circuit = range_circuit(logrows, 8)
    low, high = circuit.how.lookup_range
    assert (low, high) == (-table_bound(logrows), table_bound(logrows) - 1)
    assert high - low + 1 == 2**logrows - 8


@pytest.mark.parametrize(
    ("d", "names"),
    [
        (1, ["gram", "range-last", "settlement"]),
        (1007, ["gram", "range-last", "settlement"]),
        (1008, ["gram", "range", "settlement"]),
        (1009, ["gram", "range", "range-last", "settlement"]),
        (2016, ["gram", "range", "settlement"]),
    ],
)
def test_there_is_a_circuit_for_every_chunk_and_none_besides(d: int, names: list[str]):
    assert list(circuits(d)) == names
    if "range-last" in names:
        assert circuits(d)["range-last"].numbers["used"] == d % 1008


def test_what_a_circuit_shows_and_commits_to():
    made = circuits(1009)
    assert made["gram"].lookups == [] and made["gram"].range_checks == []  # its zero knowledge depends on it
    assert {name: made[name].instances for name in made} == {
        "gram": 1,
        "range": 1,
        "range-last": 2,
        "settlement": 1 + 9 + 1 + 8 + 8 + 1,  # q, r, β, mask, scores, ν
    }
    assert made["gram"].committed == [1016]
    assert made["range"].committed == [1016, 1 + 2 * NOISE + 8]
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
    """948 bits at K = 13 as PROTOCOL section 6 says; at K = 9 it would not do, and is refused."""
    assert round(noise_entropy(128, 2 * 4092)) == 948
    assert noise_entropy(NOISE, 2 * table_bound(10)) > HISTOGRAM_BITS > noise_entropy(NOISE, 2 * table_bound(9))
    in_order = [NOISE * math.log2(2 * table_bound(k)) for k in (9, 10)]
    assert in_order[0] < ARGUMENT_BITS < in_order[1]
    assert (noise_covers(NOISE, 2 * table_bound(9)), noise_covers(NOISE, 2 * table_bound(10))) == (False, True)
    range_circuit(10, 8)
    with pytest.raises(DomainError, match=r"128 noise values do not cover what a range proof of 2\^9 rows reveals"):
        range_circuit(9, 8)


# ---------------------------------------------------------------- the settlement's size


@pytest.mark.parametrize("n", [3, 8, 16, 32])
def test_the_settlement_has_the_smallest_number_of_rows_that_fits(n: int):
    project = (n, 100_000, 4092, 10**12, MultiKrum.krum(n), "shapley")
    logrows = settlement_logrows(*project)
    for k, fits in ((logrows, True), (logrows - 1, False)):
        if k >= 11:
            rows = settlement_rows(n, *project[4:6], Domain.of(*project, k - 1))
            assert (rows <= 2**k - 8) is fits  # one block: two rows less than are usable
    how = settlement_statement(logrows, *project, 8).how
    assert how.decomp_base**how.decomp_legs > max(Domain.of(*project, logrows - 1).bounds.values())


def test_too_many_trainers_are_refused():
    with pytest.raises(DomainError, match=r"the settlement of 300 trainers needs more than 2\^20 rows: lower N"):
        settlement_logrows(300, 1000, 508, 10**9, MultiKrum.krum(300), "shapley")
