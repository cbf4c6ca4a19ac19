"""The round circuit against the integer oracle of the settlement, in every output."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.circuits import direct_checks as checks
from tests.circuits.conftest import Compile
from tests.circuits.direct_checks import Played, Rounds, play
from tests.circuits.harness import check_circuit
from tests.support.tiers import examples
from zkmarket.backend import VALUES, WITHOUT_LOOKUP, usable_rows
from zkmarket.build.statements import table_bound
from zkmarket.errors import DomainError, RuleError
from zkmarket.round.direct import product_end, round_lookup_rows, round_statement
from zkmarket.rules import MultiKrum

FIVE = Rounds(5, MultiKrum(1, 3))
ALONE = Rounds(3, MultiKrum(0, 3), "leave-one-out")


@pytest.mark.exhaustive("further rules", but=4)
@pytest.mark.circuit
@pytest.mark.parametrize("check", checks.ROUND)
def test_it_is_the_integer_oracle(compile_once: Compile, check: str):
    checks.ROUND[check](compile_once(FIVE.circuit()))


@pytest.mark.circuit
@pytest.mark.parametrize("check", ["settings", "scores"])
def test_so_it_is_with_leave_one_out(compile_once: Compile, check: str):
    checks.ROUND[check](compile_once(ALONE.circuit()))


@pytest.mark.circuit
def test_a_committed_sum_is_compared_row_by_row(compile_once: Compile):
    of = Rounds(3, MultiKrum(0, 3), output="committed", chunk=None)
    circuit = compile_once(of.circuit())
    checks.settings(circuit)
    checks.ROUND_COLUMN["column"](circuit)


@st.composite
def rounds(draw: st.DrawFn) -> Played:
    of = draw(st.sampled_from([FIVE, ALONE]))
    q = table_bound(of.logrows)
    value = st.one_of(st.integers(-3, 3), st.integers(-q, q - 1), st.sampled_from([-q, q - 1]))
    update = st.lists(value, min_size=of.params, max_size=of.params)
    updates: list[list[int]] = []
    for _ in range(of.n):
        copied = updates and draw(st.booleans()) and draw(st.booleans())
        updates.append(draw(st.sampled_from(updates)) if copied else draw(update))
    norms = [checks.norm(update) for update in updates]
    beta = draw(st.one_of(st.sampled_from(norms), st.integers(0, of.beta_max)))
    return Played(of, updates, max(0, min(of.beta_max, beta + draw(st.integers(-1, 1)))))


@pytest.mark.circuit
@examples(5)
@given(rounds(), st.data())
def test_permuted_trainers_have_permuted_decisions(compile_once: Compile, case: Played, data: st.DataObject):
    """Equivariance, and on the way the oracle on random updates: ν and the sum stay, mask and scores move."""
    n = case.of.n
    order = data.draw(st.permutations(range(n)))
    moved = Played(case.of, [case.updates[i] for i in order], case.beta)
    before, after = case.outputs(), moved.outputs()
    assert after[1 : n + 1] == [before[1 + i] for i in order]
    assert after[n + 1 : 2 * n + 1] == [before[n + 1 + i] for i in order]
    assert after[2 * n + 1 :] == before[2 * n + 1 :]
    check_circuit(compile_once(case.of.circuit()), valid=[case.valid("as drawn"), moved.valid("permuted")])


@pytest.mark.circuit
def test_the_outputs_are_in_the_documented_order(compile_once: Compile):
    """β, mask, scores, ν, sum: by hand, for three updates 1, 2 and 2 of one value."""
    of = Rounds(3, MultiKrum(0, 3))
    case = play(of, [[1], [2], [2]])
    expected = [4, 1, 1, 1, 5, 10, 10, 4, 5, 0, 0, 0, 0, 0]
    assert case.outputs() == expected, "the oracle itself"
    assert compile_once(of.circuit()).run(case.inputs()) == expected


# ---------------------------------------------------------------- size


STRADDLING = [(3, 650, "shapley"), (4, 500, "leave-one-out"), (5, 300, "shapley")]
"""N and D whose lookups would cross into a block without noise, if nothing moved them."""
SIZES = [*STRADDLING, (8, 2, "leave-one-out")]


@pytest.mark.circuit
@pytest.mark.parametrize(("n", "params", "score"), SIZES)
def test_lookups_are_where_they_were_computed_to_be(compile_once: Compile, n: int, params: int, score: str):
    """In the rows of a proof: so `pad` moves all of them into one block, and no check is missing."""
    of = Rounds(n, MultiKrum.krum(n), score, params, chunk=None)
    circuit, usable = compile_once(of.circuit()), usable_rows(of.logrows)
    checks.settings(circuit)
    placed = checks.placed(circuit)
    circuit.circuit.placed(placed)
    (table,) = [op for op in placed if op.name.startswith(VALUES)]
    looked = [op for op in placed if op.name not in WITHOUT_LOOKUP and op is not table]
    rows = looked[-1].end - looked[0].start
    assert rows <= round_lookup_rows(of.filter, n, score, of.circuit().domain)
    start = table.end + 2
    for _ in range(n * (n + 1) // 2):
        start = product_end(start, params, usable)
    pad = of.circuit().numbers["pad"]
    assert looked[0].start == (product_end(start, pad, usable) if pad else start)
    if (n, params, score) in STRADDLING:
        assert start // usable < (start + rows - 1) // usable, "without `pad`"


@pytest.mark.unit
def test_what_does_not_fit_is_refused_with_what_to_change():
    bound = table_bound(12)
    with pytest.raises(DomainError, match="must fit one block of columns.*raise logrows"):
        round_statement(12, 3, 20, 20 * bound**2, MultiKrum(0, 3), "shapley", "opened")
    with pytest.raises(DomainError, match="updates of one chunk, 2 to 7808 parameters.*raise logrows"):
        round_statement(13, 3, 7809, 1, MultiKrum(0, 3), "shapley", "opened")
    with pytest.raises(RuleError, match="multi-krum needs N > 2f"):
        round_statement(13, 4, 20, 1, MultiKrum(1, 3), "shapley", "opened")


@pytest.mark.unit
def test_the_decision_is_that_of_numpy():
    """The oracle's Gram matrix is the updates': against int64 linear algebra."""
    rng = random.Random(4)
    updates = [[rng.randint(-4092, 4091) for _ in range(6)] for _ in range(5)]
    case = play(FIVE, updates)
    gram = np.array(updates, np.int64) @ np.array(updates, np.int64).T
    assert case.decision().nu == sorted(np.diag(gram))[2]
    accepted = np.flatnonzero(case.decision().mask)
    expected = np.maximum(0, gram[:, accepted].sum(1)) * np.array(case.decision().mask)
    assert list(case.decision().scores) == expected.tolist()
