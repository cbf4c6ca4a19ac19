"""Compile a statement, or a mutant of it, without keys; check it by examples, in the spirit of gnark."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zkmarket import backend
from zkmarket.backend import CircuitFiles, Compilation, lay_out, srs
from zkmarket.build.statements import Circuit
from zkmarket.crypto import P, scalar_hex
from zkmarket.errors import StatementFalse

Inputs = Sequence[Sequence[int]]

FIELD_EDGES = (0, 1, 2, P - 1, P - 2, (P - 1) // 2, (P + 1) // 2, 2**64, 2**127, 2**128, 2**253)
"""Field elements where a circuit that is not one over the whole field would go wrong."""

UNSATISFIED_LOOKUP = r"Lookup \(index: \d+\) is not satisfied"
NO_DECOMPOSITION = r"gen_witness.*synthesis error"
"""A value that base^digits cannot hold has no witness at all."""


@dataclass(frozen=True)
class Compiled:
    """A compiled circuit: what it should be, and what came out.

    Attributes:
        cut: whether it has only the blocks of columns that it fills, as every build's circuits have. For `mock` that
            makes no difference, and a mutant may not accept the sample that it takes.
    """

    circuit: Circuit
    files: CircuitFiles
    settings: dict[str, Any]
    cut: bool = False

    def run(self, inputs: Inputs) -> list[int]:
        """Check every constraint on these inputs (any integers, taken mod p); the public outputs."""
        return backend.mock(self.files, as_fields(inputs))

    def prove(self, *witnesses: Inputs) -> list[backend.Proof]:
        """Real proofs; the keys are made at the first call."""
        if not self.files.pk.exists():
            srs.generate().path(self.settings["run_args"]["logrows"])
            backend.setup(self.files)
        return backend.prove([backend.ProofJob("test proof", self.files, as_fields(inputs)) for inputs in witnesses])


@dataclass(frozen=True)
class Mutation:
    """Lines of a file in circuits/ to replace, or another way to compile it. An empty one changes nothing."""

    lines: dict[str, str] = field(default_factory=dict)
    how: Compilation | None = None

    def module(self, circuit: Circuit) -> Callable[[], Any]:
        """The circuit's factory, over a copy of its source in which every old text was found exactly once."""
        if not self.lines:
            return circuit.module
        honest = type(circuit.module())
        source = inspect.getsource(importlib.import_module(honest.__module__))
        for old, new in self.lines.items():
            assert source.count(old) == 1, f"{circuit.source} has {source.count(old)} times {old!r}: update the mutant"
            source = source.replace(old, new)
        scope = {"__name__": f"{honest.__module__}_mutant", "__package__": "zkmarket.circuits"}
        exec(compile(source, f"mutant of {circuit.source}", "exec"), scope)
        return lambda: scope[honest.__name__](**circuit.numbers)


HONEST = Mutation()


def compile_in(folder: Path, circuit: Circuit, mutation: Mutation = HONEST, cut: bool = False) -> Compiled:
    """Compile without keys and without `check_settings`: that is one of the checks under test."""
    onnx, how = folder / "circuit.onnx", mutation.how or circuit.how
    backend.export_onnx(mutation.module(circuit)(), onnx)
    rows = lay_out(onnx, how, circuit.sample()).rows if cut else None
    settings = backend.compile_circuit(onnx, how, folder, rows)
    srs_file = srs.generate().folder / f"kzg{settings['run_args']['logrows']}.srs"
    return Compiled(circuit, CircuitFiles(folder, srs_file), settings, cut)


@contextlib.contextmanager
def compiled(circuit: Circuit, mutation: Mutation = HONEST) -> Iterator[Compiled]:
    """A compiled circuit in a folder of its own, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        yield compile_in(Path(folder), circuit, mutation)


@dataclass(frozen=True)
class Valid:
    """Inputs that the circuit accepts, and every one of its public outputs."""

    what: str
    inputs: Inputs
    outputs: Sequence[int]


@dataclass(frozen=True)
class Invalid:
    """Inputs that the circuit refuses, and the reason that it gives."""

    what: str
    inputs: Inputs
    reason: str


def check_circuit(circuit: Compiled, valid: Sequence[Valid] = (), invalid: Sequence[Invalid] = ()) -> None:
    """Fail unless the circuit accepts all of `valid` with these outputs and refuses all of `invalid` for its reason."""
    assert valid or invalid, "a check without cases cannot fail"
    for case in valid:
        try:
            outputs = circuit.run(case.inputs)
        except StatementFalse as error:
            raise AssertionError(f"{case.what}: refused: {error}") from error
        assert outputs == [value % P for value in case.outputs], f"{case.what}: other outputs"
    for case in invalid:
        try:
            circuit.run(case.inputs)
        except StatementFalse as error:
            assert re.search(case.reason, str(error)), f"{case.what}: refused for another reason: {error}"
        else:
            raise AssertionError(f"{case.what}: accepted")


def as_fields(inputs: Inputs) -> list[list[str]]:
    return [[scalar_hex(value) for value in tensor] for tensor in inputs]


def changed(values: Sequence[int], at: int, value: int) -> list[int]:
    """A copy with one entry replaced."""
    out = list(values)
    out[at] = value
    return out


def compiled_with(circuit: Circuit, **how: Any) -> Mutation:
    """The honest module, compiled in another way."""
    return Mutation(how=dataclasses.replace(circuit.how, **how))
