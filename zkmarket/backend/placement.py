"""Where ezkl puts the operations of a circuit, and that there is noise wherever one looks something up.

Rows are counted through all blocks of columns. Each block is a lookup argument of its own with unblinded
multiplicities; what hides them is noise that is looked up in the same block. The settings tell how many rows a
circuit has but not what lies where: that is read from ezkl's own log, in a child process, whose log it is.

Digits of comparisons lie in one block, with their noise. Values of a table may fill many: `sequence` orders them so
that each block has noise of its own.

The log of *compiling* counts inputs and slices, which take no rows of the blocks in a proof (inputs have columns of
their own). Where data must not be bare, the rows are those of a synthesis on inputs, which a proof repeats.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..circuits import NOISE
from ..errors import ArtifactError, BackendError, BackendTimeout
from ..processes import SOURCE_TREE, python_module
from .compilation import CircuitFiles, Compilation, block_rows, compile_circuit, usable_rows
from .proofs import mock

WITHOUT_LOOKUP = frozenset(
    ("Input", "SLICE", "GATHER", "CONCAT", "RESHAPE", "EINSUM", "ADD", "SUB", "MULT", "NEG", "POW", "SUM")
    + ("IDENTITY", "EQUALS", "CONST")
)
"""Operations of ezkl that look nothing up which depends on data. Any other is taken to look something up."""

WITH_LOOKUP = frozenset(("SIGN", "TOPK"))
"""The others that may be there: SIGN of the noise, and sorts, whose comparisons all hold in one direction. The sign
of anything else would be in the running sum of the signs, which is bare: blocks without lookups share its blinding."""

VALUES = "SIGMOID"
"""Where direct circuits look the updates' values up: its table is of one column."""

MARGIN = 16
"""Lookups of data before the noise in a block of columns."""

Runs = Sequence[tuple[str, int, int]]
"""Runs (kind, first, count) in the order of their rows; those of kind "noise" count the noise values."""


@dataclass(frozen=True)
class Operation:
    """One operation of a compiled circuit and its rows: start <= row < end, counted through all blocks of columns."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Layout:
    """Where everything in a circuit lies.

    Attributes:
        operations: in the order of their rows, which are those of a proof.
        counted: ezkl's own number of rows, with inputs and slices.
    """

    operations: tuple[Operation, ...]
    counted: int

    @property
    def rows(self) -> int:
        return self.operations[-1].end


def lay_out(onnx: Path, how: Compilation, inputs: list[list[str]], seconds: float = 1200) -> Layout:
    """Where ezkl puts each operation, from its own log of the layout; in a child, whose log it is.

    Args:
        inputs: inputs that the circuit accepts: a synthesis on them is what a proof repeats.

    Raises BackendError if the log is not what it is in the pinned version, BackendTimeout if ezkl takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        task = {"onnx": str(onnx), "how": asdict(how), "folder": folder, "inputs": inputs}
        words = python_module("zkmarket.backend.placement")
        try:
            done = subprocess.run(
                words,
                input=json.dumps(task),
                capture_output=True,
                text=True,
                cwd=SOURCE_TREE,
                timeout=seconds,
                env={**os.environ, "TMPDIR": folder},
            )
        except subprocess.TimeoutExpired:
            raise BackendTimeout(f"ezkl did not lay the circuit out within {seconds:.0f} s and was stopped") from None
    if done.returncode:
        raise BackendError(f"ezkl did not lay the circuit out: {done.stderr.strip()[-300:]}")
    names, starts, counted = json.loads(done.stdout)
    if not names or len(starts) != len(names) + 1 or starts != sorted(starts) or starts[0] != 0:
        raise BackendError("ezkl's log of the layout is not what it was: wanted a start of each operation, and the end")
    placed = tuple(Operation(*item) for item in zip(names, starts[:-1], starts[1:], strict=True))
    if any(op.end > op.start for op in placed if op.name == "Input"):
        raise BackendError("ezkl's log of the layout is not what it was: inputs take rows of the blocks")
    return Layout(placed, counted)


def _child_main() -> None:
    """Lay the task on stdin out; print the operations' names, their first rows and the last row, and ezkl's count."""
    names: list[str] = []
    starts: list[int] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if found := re.match(r"laying out \d+: (\S+)", text):
                names.append(found[1])
            elif found := re.match(r"\(rows=\d+, coord=(\d+),", text):
                starts.append(int(found[1]))

    for name in ("ezkl.graph.model", "ezkl.circuit.ops.region"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(Listener())
        logger.propagate = False
    task = json.load(sys.stdin)
    given = task["how"]
    table = given["lookup_range"]  # JSON knows no tuples
    how = Compilation(**{**given, "lookup_range": tuple(table) if table else None})
    settings = compile_circuit(Path(task["onnx"]), how, Path(task["folder"]))
    if starts[-1:] != [settings["num_rows"]]:
        sys.exit("the log ends elsewhere than the circuit")
    # It lays out once more for the witness, as when compiling, then twice for the proof: to measure, and to assign.
    compiled = list(names)
    names.clear()
    starts.clear()
    mock(CircuitFiles(Path(task["folder"]), Path()), task["inputs"])
    count = len(compiled)
    if names != 3 * compiled or starts[count + 1 : 2 * (count + 1)] != starts[2 * (count + 1) :]:
        sys.exit("the log is not of a witness and, twice, of the same synthesis")
    print(json.dumps([names[2 * count :], starts[2 * (count + 1) :], settings["num_rows"]]))


def sequence(data: Sequence[tuple[str, int, int]], start: int, logrows: int) -> tuple[list[tuple[str, int, int]], int]:
    """The order of what one operation looks up from row `start` on: data, and in every block of columns, after a few,
    128 of noise.

    Args:
        data: (kind, first, count) of each run.

    Returns:
        The runs, (kind, first, count) each, those of kind "noise" among them; and how many of 128 these are.
    """
    usable, queue = usable_rows(logrows), list(data)
    runs: list[tuple[str, int, int]] = []
    row, groups = start, 0

    def move(count: int) -> None:
        nonlocal row
        while count and queue:
            kind, first, many = queue[0]
            part = min(count, many)
            runs.append((kind, first, part))
            row, count = row + part, count - part
            if part == many:
                queue.pop(0)
            else:
                queue[0] = (kind, first + part, many - part)

    while queue:
        move(1 if not runs else MARGIN)
        runs.append(("noise", groups * NOISE, NOISE))
        groups, row = groups + 1, row + NOISE
        move(usable - row % usable)
    return runs, groups


def noise_by_block(runs: Runs, start: int, logrows: int) -> dict[int, tuple[int, int]]:
    """For each block of columns with lookups that begin in row `start`: how many are of noise, how many of data."""
    usable = usable_rows(logrows)
    blocks: dict[int, tuple[int, int]] = {}
    row = start
    for kind, _, count in runs:
        for at in range(row, row + count):
            noise, data = blocks.get(at // usable, (0, 0))
            blocks[at // usable] = (noise + (kind == "noise"), data + (kind != "noise"))
        row += count
    return blocks


def check_every_block(runs: Runs, start: int, logrows: int) -> None:
    """Raise ArtifactError unless every block of columns that looks data up has 128 noise values."""
    for block, (noise, data) in noise_by_block(runs, start, logrows).items():
        if data and noise < NOISE:
            raise ArtifactError(f"block {block} of columns looks up data with {noise} noise values: wanted {NOISE}")


def check_first_block(placed: Sequence[Operation], logrows: int) -> None:
    """Raise ArtifactError unless the whole circuit lies in one block of columns, and so ezkl makes no second one."""
    rows, most = placed[-1].end, block_rows(logrows)
    if rows > most:
        raise ArtifactError(f"the circuit lays out {rows} rows: wanted at most {most}, or it has two blocks of columns")


def check_table(placed: Sequence[Operation], name: str, start: int, runs: Runs, logrows: int) -> None:
    """Raise ArtifactError unless one operation of a name looks up what `runs` say, from row `start` on, each block of
    columns with noise of its own."""
    check_every_block(runs, start, logrows)
    wanted = [(start, start + sum(count for *_, count in runs))]
    places = [(op.start, op.end) for op in placed if op.name.startswith(name)]
    if places != wanted:
        raise ArtifactError(
            f"the circuit has {name} in rows {places[:5]}: wanted it once in rows {wanted[0]}, where there is noise in"
            " every block of columns"
        )


def check_one_block(placed: Sequence[Operation], logrows: int) -> None:
    """Raise ArtifactError unless every comparison lies in one block of columns, so together with the noise.

    And unless that is the noise and sorts, and nothing else but the look-up of values, which `check_table` is about.
    """
    looked = [op for op in placed if op.name not in WITHOUT_LOOKUP and not op.name.startswith(VALUES)]
    if not looked:
        return
    if other := sorted({op.name for op in looked} - WITH_LOOKUP):
        raise ArtifactError(f"the circuit looks up in {', '.join(other)}: wanted sorts and noise only")
    if (signs := sum(op.name == "SIGN" for op in looked)) != 2 or looked[0].name != "SIGN":
        raise ArtifactError(f"the circuit takes {signs} signs, wanted 2: of the noise, first, and of its sort")
    usable = usable_rows(logrows)
    first, last = looked[0].start // usable, (looked[-1].end - 1) // usable
    if first != last:
        raise ArtifactError(
            f"lookups lie in blocks {first} to {last} of columns, wanted one: a block without noise would be bare"
            f" ({looked[0].name} starts in row {looked[0].start}, {looked[-1].name} ends in {looked[-1].end})"
        )


if __name__ == "__main__":
    _child_main()
