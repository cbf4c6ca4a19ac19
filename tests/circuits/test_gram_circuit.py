"""The inner product circuit: field arithmetic, and nothing that could talk."""

from __future__ import annotations

import pytest

from tests.circuits import checks
from tests.circuits.conftest import Compile
from tests.circuits.harness import Valid, check_circuit
from zkmarket.field import P
from zkmarket.statements import SALTS, gram_circuit

pytestmark = pytest.mark.circuit


@pytest.mark.parametrize("logrows", [10, 13])
@pytest.mark.parametrize("check", checks.GRAM)
def test_the_inner_product_is_that_of_the_field(compile_once: Compile, check: str, logrows: int):
    checks.GRAM[check](compile_once(gram_circuit(logrows, SALTS)))


@pytest.mark.parametrize("logrows", [10, 13])
def test_no_lookup_and_no_range_check(compile_once: Compile, logrows: int):
    """The zero knowledge of the Gram argument needs a circuit whose multiplicities are not committed to."""
    settings = compile_once(gram_circuit(logrows, SALTS)).settings
    assert settings["required_lookups"] == settings["required_range_checks"] == []
    assert settings["num_shuffles"] == settings["num_dynamic_lookups"] == 0


def test_the_sum_wraps_at_p_and_nowhere_else(compile_once: Compile):
    """A square root of −1 in the field: 1 + i² = 0, which no machine integer would give."""
    circuit = compile_once(gram_circuit(10, SALTS))
    root = pow(5, (P - 1) // 4, P)
    assert root * root % P == P - 1
    check_circuit(
        circuit,
        valid=[
            Valid("1² + i²", checks.gram_inputs(circuit.circuit, [1, root]), [0]),
            Valid("(2^128)²", checks.gram_inputs(circuit.circuit, [2**128]), [2**256 % P]),
        ],
    )
