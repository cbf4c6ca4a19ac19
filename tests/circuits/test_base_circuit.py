"""The base circuit: field arithmetic on three columns, three blocks of columns, and nothing that could talk."""

from __future__ import annotations

import pytest

from tests.circuits import checks
from tests.circuits.checks import Opened
from tests.circuits.conftest import Compile
from tests.circuits.harness import check_circuit
from zkmarket import backend
from zkmarket.backend import blocks_of, lay_out
from zkmarket.build import ROWS, Columns, base_rows
from zkmarket.build.statements import base_circuit
from zkmarket.crypto import P, encode_point, scalar_hex
from zkmarket.round import combine


@pytest.mark.circuit
@pytest.mark.parametrize("check", checks.BASE)
def test_the_outputs_are_those_of_the_field(compile_once: Compile, check: str):
    checks.BASE[check](compile_once(base_circuit(10), cut=True))


@pytest.mark.circuit
@pytest.mark.parametrize("check", ["settings", "fits", "arithmetic", "salts"])
def test_so_they_are_in_columns_of_7808_values(compile_once: Compile, check: str):
    checks.BASE[check](compile_once(base_circuit(13), cut=True))


@pytest.mark.circuit
@pytest.mark.parametrize("logrows", [10, 11, 12, 13])
def test_no_lookup_and_no_range_check(compile_once: Compile, logrows: int):
    """The zero knowledge of both arguments needs a circuit whose multiplicities are not committed to."""
    settings = compile_once(base_circuit(logrows), cut=True).settings
    assert settings["required_lookups"] == settings["required_range_checks"] == []
    assert settings["num_shuffles"] == settings["num_dynamic_lookups"] == 0
    assert settings["einsum_params"]["total_einsum_col_size"] == 0  # no challenge inside the circuit


@pytest.mark.circuit
def test_the_sum_wraps_at_p_and_nowhere_else(compile_once: Compile):
    """A square root of −1 in the field: 1 + i² = 0, which no machine integer would give."""
    circuit = compile_once(base_circuit(10), cut=True)
    root = pow(5, (P - 1) // 4, P)
    assert root * root % P == P - 1
    cells = circuit.circuit.committed[0]
    pair, large = [1, root, *[0] * (cells - 2)], checks.unit(circuit.circuit, 0, 2**128)
    cases = {
        "1² + i²": Opened(circuit.circuit, pair, pair, pair),
        "(2^128)²": Opened(circuit.circuit, large, large, large),
    }
    assert [case.outputs()[0] % P for case in cases.values()] == [0, 2**256 % P]
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


# ---------------------------------------------------------------- the table of ℓ1


@pytest.mark.unit
@pytest.mark.parametrize("logrows", ROWS)
def test_a_row_more_would_need_a_fourth_block(logrows: int):
    rows, width = ROWS[logrows], Columns(logrows).width
    assert [blocks_of(base_rows(rows + more, width, logrows), logrows) for more in (0, 1)] == [3, 4]
    assert Columns(logrows).length < backend.usable_rows(logrows)


@pytest.mark.exhaustive("sizes", but=3)
@pytest.mark.circuit
@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("logrows", [10, 11, 12, 13])
def test_so_it_is_when_it_is_compiled(logrows: int, more: int, tmp_path):
    from zkmarket.circuits.base import Base

    rows, width = ROWS[logrows] + more, Columns(logrows).width
    module, onnx = Base(logrows, rows, width), tmp_path / "circuit.onnx"
    backend.export_onnx(module, onnx)
    inputs = [[scalar_hex(1)] * int(tensor.shape[1]) for tensor in module.example()]
    laid_out = lay_out(onnx, base_circuit(logrows).how, inputs)
    assert laid_out.rows == base_rows(rows, width, logrows) + more  # of a fourth block one row is a copy
    assert blocks_of(laid_out.rows, logrows) == 3 + more


# ---------------------------------------------------------------- proofs


@pytest.mark.exhaustive("a size", but=1)
@pytest.mark.proof
@pytest.mark.parametrize("logrows", [10, 13])
def test_a_proof_holds_its_columns_commitments(compile_once: Compile, logrows: int):
    """The first three points are Com(W), Com(U), Com(V), and commitments of columns add up as columns do."""
    circuit = compile_once(base_circuit(logrows), cut=True)
    cells = circuit.circuit.committed[0]
    w, u, v = (checks.scalars(cells, seed) for seed in (1, 2, 3))
    case = Opened(circuit.circuit, w, u, v, y=checks.scalars(1, seed=4)[0])
    proof = circuit.prove(case.inputs())[0]
    assert list(proof.instances) == [value % P for value in case.outputs()]
    combined = [(a + 5 * b) % P for a, b in zip(w, u, strict=True)]
    columns = [[scalar_hex(cell) for cell in column] for column in (w, u, v, combined, [0])]
    points = backend.commit(circuit.files, logrows, columns)
    assert [proof.point(at) for at in range(3)] == [encode_point(point) for point in points[:3]]
    assert combine(points[:2], [1, 5], points[4]) == points[3]
    backend.verify(circuit.files, proof)
