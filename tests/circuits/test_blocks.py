"""How many blocks of columns ezkl gives a circuit, at the very row where there is one more; and what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.circuits.conftest import Compile
from tests.circuits.harness import compile_in
from tests.circuits.test_settings import CIRCUITS
from tests.circuits.utility_nets import plan_of
from zkmarket import backend, utility
from zkmarket.backend import (
    CircuitFiles,
    Operation,
    block_rows,
    blocks_of,
    check_first_block,
    lay_out,
    srs,
    usable_rows,
)
from zkmarket.build.statements import (
    SALTS,
    Circuit,
    check_settings,
    settlement,
    settlement_logrows,
    settlement_statement,
)
from zkmarket.crypto import scalar_hex
from zkmarket.errors import ArtifactError, BackendError
from zkmarket.rules import MultiKrum, RuleSet

pytestmark = pytest.mark.proof

LOGROWS = 10


class Sum(torch.nn.Module):
    """Relation: Σ x, or its square. Two rows for each value and one, or two: every number of rows can be had."""

    def __init__(self, count: int, squared: bool):
        super().__init__()
        self.count, self.squared = count, squared

    def example(self) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(1, self.count),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.sum(1).reshape(1, 1)
        return total * total if self.squared else total


def summing(rows: int) -> Circuit:
    own = rows - (rows > usable_rows(LOGROWS))  # one row of the second block is a copy
    count, squared = (own - 1) // 2, own % 2 == 0
    return Circuit(
        "none",
        lambda: Sum(count, squared),
        {"count": count},
        backend.Compilation(LOGROWS),
        lookups=[],
        range_checks=[],
        sorts=[],
        rows=(count, count + 2),
        counted=(rows, rows),
        instances=1,
        committed=[count],
        sample=lambda: [[scalar_hex(1)] * count],
    )


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, int]:
    """Bytes of a proof by the rows that the settings say, at the ends of the first two blocks."""
    usable, found = usable_rows(LOGROWS), {}
    srs.generate().path(LOGROWS)
    for rows in (usable - 3, usable - 2, usable - 1, 2 * usable - 4, 2 * usable - 3, 2 * usable - 2):
        circuit = summing(rows)
        made = compile_in(tmp_path_factory.mktemp("sum"), circuit)
        check_settings(made.settings, circuit, counted=True)
        backend.setup(made.files)
        found[rows] = len(backend.prove([backend.ProofJob("sum", made.files, circuit.sample())])[0].data)
    return found


@pytest.mark.exhaustive("a size: test_at_the_edge_a_row_less_cannot_be_set_up")
def test_a_block_more_is_needed_from_two_rows_before_the_last_on(sizes: dict[int, int]):
    one, two, three = sorted(set(sizes.values()))
    assert {rows: {one: 1, two: 2, three: 3}[size] for rows, size in sizes.items()} == {
        rows: blocks_of(rows, LOGROWS) for rows in sizes
    }
    assert max(rows for rows, size in sizes.items() if size == one) == block_rows(LOGROWS)


@pytest.mark.exhaustive("further circuits", but=3)
@pytest.mark.parametrize("name", [*CIRCUITS, "residual"])
def test_a_block_less_than_a_build_says_cannot_be_set_up(name: str, compile_once: Compile, tmp_path: Path):
    """A build has exactly the blocks that its circuit fills: no empty one, and with one less there are no keys."""
    circuit = (CIRCUITS | {"residual": utility.statement(plan_of("residual"))})[name]
    made = compile_once(circuit, cut=True)
    check_settings(made.settings, circuit)
    logrows, rows = circuit.how.logrows, made.settings["num_rows"]
    blocks = blocks_of(rows, logrows)
    if blocks == 1:
        assert rows <= block_rows(logrows)
        return
    fewer = max(row for row in range(rows) if blocks_of(row, logrows) == blocks - 1)
    backend.compile_circuit(made.files.folder / "circuit.onnx", circuit.how, tmp_path, fewer)
    srs.generate().path(logrows)
    with pytest.raises(BackendError, match="setup: index out of bounds"):
        backend.setup(CircuitFiles(tmp_path, made.files.srs))


def test_at_the_edge_a_row_less_cannot_be_set_up(tmp_path: Path):
    """A sum that needs a second block by one row of it: keys if all rows are said, none if one is not."""
    usable = usable_rows(LOGROWS)
    inputs = [[scalar_hex(1)] * (usable // 2 + 1)] * 2
    onnx, how = tmp_path / "circuit.onnx", backend.Compilation(LOGROWS)
    backend.export_onnx(SumOfTwo(len(inputs[0])), onnx)
    layout = lay_out(onnx, how, inputs)
    assert usable < layout.rows <= usable + 4 and blocks_of(layout.rows, LOGROWS) == 2
    for rows in (layout.rows, block_rows(LOGROWS) + 1, block_rows(LOGROWS)):
        backend.compile_circuit(onnx, how, tmp_path, rows)
        files = CircuitFiles(tmp_path, srs.generate().path(LOGROWS))
        if rows > block_rows(LOGROWS):
            backend.setup(files)
        else:
            with pytest.raises(BackendError, match="setup: index out of bounds"):
                backend.setup(files)


class SumOfTwo(torch.nn.Module):
    """Relation: Σ x + Σ y: two inputs of half a block fill a whole one."""

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def example(self) -> tuple[torch.Tensor, ...]:
        return torch.zeros(1, self.count), torch.zeros(1, self.count)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, y], 1).sum(1).reshape(1, 1)


def test_a_settlement_has_one_block_and_no_row_more():
    """A second block would be empty: with its running sums known, those of the signs would be bare."""
    block = block_rows(LOGROWS)
    check_first_block([Operation("SIGN", 0, block)], LOGROWS)
    with pytest.raises(ArtifactError, match=f"lays out {block + 1} rows: wanted at most {block}"):
        check_first_block([Operation("SIGN", 0, 9), Operation("TOPK", 9, block + 1)], LOGROWS)
    rules = RuleSet(3, 40, 508, 40 * 508**2, MultiKrum(0, 3), "shapley")
    circuit = settlement_statement(13, rules, SALTS)
    assert circuit.blocks == 1 and circuit.rows[1] <= block_rows(13)


@pytest.mark.parametrize("short", [0, 1, 2, 3])
def test_the_number_of_rows_of_a_settlement_is_chosen_below_the_last_three(short: int, monkeypatch: pytest.MonkeyPatch):
    usable = usable_rows(13)
    monkeypatch.setattr(settlement, "settlement_rows", lambda *_: usable - short)
    rules = RuleSet(3, 40, 508, 40 * 508**2, MultiKrum(0, 3), "shapley")
    assert settlement_logrows(rules) == (13 if short > 1 else 14)
