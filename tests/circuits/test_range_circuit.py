"""The range circuit: both edges of the range at every kind of place, the tag, the padding."""

from __future__ import annotations

import pytest

from tests.circuits import checks
from tests.circuits.checks import Chunk
from tests.circuits.conftest import Compile
from tests.circuits.harness import UNSATISFIED_LOOKUP, Invalid, check_circuit, compiled_with
from zkmarket.statements import SALTS, range_circuit, table_bound

pytestmark = pytest.mark.circuit


@pytest.mark.parametrize("check", checks.RANGE)
def test_a_full_chunk(compile_once: Compile, check: str):
    checks.RANGE[check](compile_once(range_circuit(10, SALTS)))


@pytest.mark.parametrize("check", checks.RANGE_LAST)
def test_a_last_chunk(compile_once: Compile, check: str):
    checks.RANGE_LAST[check](compile_once(range_circuit(10, SALTS, 300)))


@pytest.mark.parametrize("used", [1, 1007])
@pytest.mark.parametrize("check", ["settings", "beyond", "padding", "noise"])
def test_the_shortest_and_the_longest_last_chunk(compile_once: Compile, check: str, used: int):
    checks.RANGE_LAST[check](compile_once(range_circuit(10, SALTS, used)))


@pytest.mark.parametrize("check", ["settings", "edges", "beyond", "salts in wrong rows", "noise"])
def test_a_full_chunk_of_8176_values(compile_once: Compile, check: str):
    checks.RANGE[check](compile_once(range_circuit(13, SALTS)))


@pytest.mark.parametrize("check", ["settings", "beyond", "padding", "noise"])
def test_a_last_chunk_of_8176_values(compile_once: Compile, check: str):
    checks.RANGE_LAST[check](compile_once(range_circuit(13, SALTS, 5000)))


@pytest.mark.parametrize("logrows", [10, 11, 13])
def test_the_range_that_is_enforced_is_the_one_asked_for(compile_once: Compile, logrows: int):
    """[−Q, Q) with Q = 2^(K−1) − 4: read back from the compiled settings."""
    circuit = compile_once(range_circuit(logrows, SALTS))
    bound = 2 ** (logrows - 1) - 4
    assert table_bound(logrows) == bound
    assert circuit.settings["run_args"]["lookup_range"] == [-bound, bound - 1]
    assert len(circuit.settings["required_lookups"]) == 1


def test_a_range_of_two_columns_would_be_wider_than_it_says(compile_once: Compile):
    """Why the table is exactly one column: ezkl fills whole columns and accepts what is in the rest."""
    circuit = range_circuit(10, SALTS)
    wide = compile_once(circuit, compiled_with(circuit, lookup_range=(-512, 511)))
    for value in (-512, 511, 512, 1000):
        chunk = Chunk(circuit, values={0: value})
        check_circuit(wide, valid=[chunk.valid(f"{value} in a table up to 511")])
        check_circuit(compile_once(circuit), invalid=[Invalid(str(value), chunk.inputs(), UNSATISFIED_LOOKUP)])
