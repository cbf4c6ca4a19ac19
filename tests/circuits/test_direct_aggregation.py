"""The aggregation circuit against its integer oracle, in every output; the oracle against numpy's own statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits import direct_checks as checks
from tests.circuits.conftest import Compile
from tests.circuits.direct_checks import Combination, Combine
from tests.circuits.harness import check_circuit
from tests.support.tiers import examples
from zkmarket.build.statements import table_bound
from zkmarket.round.direct import Rule, combine_updates

MEDIAN, TRIMMED, MEAN = Rule("median"), Rule("trimmed", 1), Rule("mean")
SORTED = [Combine(MEDIAN, 3), Combine(MEDIAN, 4), Combine(TRIMMED, 5)]
MEANS = [Combine(MEAN, 4, logrows=10), Combine(MEAN, 3, output="committed", logrows=10, chunk=None)]


@pytest.mark.exhaustive("further N and outputs", but=5)
@pytest.mark.circuit
@pytest.mark.parametrize("check", checks.SORTED)
@pytest.mark.parametrize("of", SORTED, ids=str)
def test_a_sorted_aggregate_is_the_integer_oracle(compile_once: Compile, of: Combine, check: str):
    checks.SORTED[check](compile_once(of.circuit()))


@pytest.mark.exhaustive("further N and outputs", but=4)
@pytest.mark.circuit
@pytest.mark.parametrize("check", checks.MEAN)
@pytest.mark.parametrize("of", MEANS, ids=str)
def test_a_weighted_sum_is_the_integer_oracle(compile_once: Compile, of: Combine, check: str):
    checks.MEAN[check](compile_once(of.circuit()))


@pytest.mark.circuit
def test_a_committed_weighted_sum_is_compared_row_by_row(compile_once: Compile):
    checks.COLUMN["column"](compile_once(MEANS[1].circuit()))


@pytest.mark.circuit
def test_a_committed_median_is_compared_row_by_row(compile_once: Compile):
    of = Combine(MEDIAN, 3, output="committed", chunk=None)
    circuit = compile_once(of.circuit())
    checks.settings(circuit)
    checks.in_place(circuit)
    case = Combination(of, checks.random_updates(3, of.params, 50))
    wrong = Combination(of, case.updates, column={1: case.result()[1] + 1, of.params: 1, 7807: -1})
    assert wrong.outputs() == [7808 - 3]
    check_circuit(circuit, valid=[case.valid("honest"), wrong.valid("three rows wrong")])


@pytest.mark.circuit
@pytest.mark.parametrize("params", [2, 895, 896])
def test_every_number_of_parameters_up_to_a_whole_chunk(compile_once: Compile, params: int):
    """One row past D, and none: the zeros past D are then one constant, or absent."""
    of = Combine(MEAN, 3, params, "committed", 10, None)
    circuit = compile_once(of.circuit())
    case = Combination(of, checks.random_updates(3, params, 508), (1, 2, 3))
    wrong = Combination(of, case.updates, case.weights, column={895: 3})
    assert wrong.outputs()[-1] == 895
    checks.settings(circuit)
    checks.in_place(circuit)
    check_circuit(circuit, valid=[case.valid("honest"), wrong.valid("the last row of the chunk")])


@st.composite
def combinations(draw: st.DrawFn) -> Combination:
    of = draw(st.sampled_from([*SORTED, MEANS[0]]))
    q = table_bound(of.logrows)
    value = st.one_of(st.integers(-2, 2), st.integers(-q, q - 1), st.sampled_from([-q, q - 1]))
    update = st.lists(value, min_size=of.params, max_size=of.params)
    updates = draw(st.lists(update, min_size=of.n, max_size=of.n))
    weights = draw(st.lists(st.integers(0, 2**16 - 1), min_size=of.n, max_size=of.n))
    return Combination(of, updates, tuple(weights) if of.rule.name == "mean" else ())


@pytest.mark.circuit
@examples(5)
@given(combinations(), st.data())
def test_permuted_updates_have_the_same_aggregate(compile_once: Compile, case: Combination, data: st.DataObject):
    """Invariance: a median and a trimmed sum do not know slots; a weighted sum moves with its weights."""
    order = data.draw(st.permutations(range(case.of.n)))
    weights = tuple(case.weights[i] for i in order) if case.weights else ()
    moved = Combination(case.of, [case.updates[i] for i in order], weights)
    assert moved.result() == case.result()
    check_circuit(compile_once(case.of.circuit()), valid=[case.valid("as drawn"), moved.valid("permuted")])


# ---------------------------------------------------------------- the oracle


@pytest.mark.unit
@given(st.integers(3, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_oracle_is_what_its_names_mean(n: int, d: int, seed: int):
    """By counting, not by sorting: as many values are below the median as its definition says."""
    updates = np.random.default_rng(seed).integers(-3, 4, (n, d))
    median = combine_updates(MEDIAN, updates)
    below, upto = (updates < median).sum(0), (updates <= median).sum(0)
    middle = (n + 1) // 2
    assert np.all(below < middle) and np.all(upto >= middle)
    if n % 2:
        assert np.array_equal(median, np.median(updates, axis=0).astype(int))
    trim = (n - 1) // 2
    trimmed = combine_updates(Rule("trimmed", trim), updates)
    for k, column in enumerate(updates.T.tolist()):
        for _ in range(trim):
            column.remove(min(column))
            column.remove(max(column))
        assert sum(column) == trimmed[k]
    ones, weights = combine_updates(MEAN, updates), np.arange(n)
    assert np.array_equal(ones, updates.sum(0))
    assert np.array_equal(combine_updates(MEAN, updates, weights), sum(w * u for w, u in enumerate(updates)))


@pytest.mark.unit
def test_the_median_of_an_even_number_is_the_lower_one():
    updates = np.array([[1, 40], [2, 10], [3, 30], [4, 20]])
    assert combine_updates(MEDIAN, updates).tolist() == [2, 20]
    assert combine_updates(TRIMMED, updates).tolist() == [5, 50]


# ---------------------------------------------------------------- which way to sort


@pytest.mark.circuit
def test_the_sort_is_the_smallest_of_three_ways(tmp_path_factory: pytest.TempPathFactory):
    """Rows of one coordinate's median: ezkl's sort, a network of exchanges, and counting ranks. None of the last two
    can do without comparing in a direction that data decide, and so on x and on −x."""
    import torch

    from zkmarket import backend
    from zkmarket.backend import Compilation
    from zkmarket.circuits.aggregation import smallest, take
    from zkmarket.circuits.settlement import at_least_zero

    class Way(torch.nn.Module):
        def __init__(self, n: int, d: int):
            super().__init__()
            self.n, self.d = n, d

        def example(self) -> tuple[torch.Tensor, ...]:
            return (torch.zeros(self.n, self.d),)

        def at(self, values: torch.Tensor, i: int) -> torch.Tensor:
            return torch.index_select(values, 0, torch.tensor([i]))

    class Sort(Way):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return take(smallest(values.transpose(0, 1), self.n), [self.n // 2])

    class Network(Way):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            wires = [self.at(values, i) for i in range(self.n)]
            for start in range(self.n):  # odd-even transposition
                for i in range(start % 2, self.n - 1, 2):
                    low, high = wires[i], wires[i + 1]
                    gap = (low - high) * at_least_zero(low - high)
                    wires[i], wires[i + 1] = low - gap, high + gap
            return wires[self.n // 2]

    class Ranks(Way):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            wires = [self.at(values, i) for i in range(self.n)]
            ranks = [0] * self.n
            for i, j in itertools.combinations(range(self.n), 2):
                first = at_least_zero(wires[j] - wires[i])
                ranks[i], ranks[j] = ranks[i] + 1 - first, ranks[j] + first
            middle = [torch.eq(rank, self.n // 2).to(values.dtype) * wires[i] for i, rank in enumerate(ranks)]
            return sum(middle)

    def rows(way: type[Way], n: int) -> float:
        found = []
        for d in (10, 20):
            folder = tmp_path_factory.mktemp("way")
            backend.export_onnx(way(n, d), folder / "circuit.onnx")
            how = Compilation(16, decomp_base=1 << 15, decomp_legs=2)
            found.append(backend.compile_circuit(folder / "circuit.onnx", how, folder)["num_rows"])
        return (found[1] - found[0]) / 10 - n

    measured = {n: {way.__name__: rows(way, n) for way in (Sort, Network, Ranks)} for n in (3, 5, 8)}
    print(measured)
    for by_way in measured.values():
        assert by_way["Sort"] == min(by_way.values())
