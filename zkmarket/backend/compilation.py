"""From a torch module to a compiled circuit and its keys."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ArtifactError
from .ezkl import foreign, library

if TYPE_CHECKING:
    import torch

UNUSABLE_ROWS = 6
"""Rows of a column that hold blinding, in every circuit seen; `check_settings` asserts it at build time."""


@dataclass(frozen=True)
class Compilation:
    """How a torch module becomes a circuit.

    Attributes:
        logrows: K; a column has 2^K rows.
        lookup_range: (low, high) of the static table, both included; None for a circuit without one.
        decomp_base, decomp_legs: digits of a comparison; values below base^legs can be compared.
    """

    logrows: int
    lookup_range: tuple[int, int] | None = None
    decomp_base: int = 2
    decomp_legs: int = 1


@dataclass(frozen=True)
class CircuitFiles:
    """A compiled circuit and its keys in one folder, and the SRS file that they were made with.

    Attributes:
        proof_bytes: the length of every proof of this circuit; None while it is being built.
    """

    folder: Path
    srs: Path
    proof_bytes: int | None = None

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    @property
    def compiled(self) -> Path:
        return self.folder / "circuit.ezkl"

    @property
    def vk(self) -> Path:
        return self.folder / "vk.key"

    @property
    def pk(self) -> Path:
        return self.folder / "pk.key"


class Exportable(Protocol):
    """A torch module of circuits/."""

    def eval(self) -> torch.nn.Module: ...

    def example(self) -> tuple[torch.Tensor, ...]:
        """Inputs of the right shape."""


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of a key."""
    return {name: version(name) for name in ("ezkl", "torch", "onnx")}


# ---------------------------------------------------------------- building


def export_onnx(module: Exportable, path: Path) -> None:
    """Write a torch module as ONNX."""
    import torch

    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # the exporter that ezkl was tried with is the legacy one, which says so
        torch.onnx.export(module.eval(), module.example(), str(path), dynamo=False, opset_version=17)


def compile_circuit(onnx: Path, how: Compilation, folder: Path, rows: int | None = None) -> dict[str, Any]:
    """Write settings.json (canonical) and circuit.ezkl into `folder`; returns the settings.

    Args:
        rows: that the circuit lays out in a proof (`placement.lay_out`). Without, they are ezkl's own count, in which
            inputs and slices have rows too, so that there are blocks of columns which nothing lies in and everybody
            pays for. Too few make no wrong circuit: `setup` fails.
    """
    ezkl = library()
    args = ezkl.PyRunArgs()
    args.input_visibility, args.output_visibility, args.param_visibility = "polycommit", "public", "fixed"
    args.input_scale = args.param_scale = 0  # integers and field elements, nothing is rescaled
    args.scale_rebase_multiplier = 10**6
    args.ignore_range_check_inputs_outputs = True  # inputs are arbitrary field elements
    args.disable_freivalds = True
    args.num_inner_cols = 1  # cost follows columns; wider was slower for every circuit here
    args.logrows = how.logrows
    args.decomp_base, args.decomp_legs = how.decomp_base, how.decomp_legs
    args.lookup_range = how.lookup_range or (0, 1)
    settings_path = folder / "settings.json"
    with foreign("gen_settings"):
        ezkl.gen_settings(str(onnx), str(settings_path), args)
    settings: dict[str, Any] = json.loads(settings_path.read_text())
    settings["required_range_checks"].sort()
    settings["required_lookups"].sort(key=json.dumps)
    settings["timestamp"] = 0
    if rows is not None:
        settings["num_rows"] = settings["total_assignments"] = rows
    settings_path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    with foreign("compile_circuit"):
        ezkl.compile_circuit(str(onnx), str(folder / "circuit.ezkl"), str(settings_path))
    return settings


def setup(files: CircuitFiles) -> None:
    """Write the proving and the verifying key."""
    with foreign("setup"):
        library().setup(str(files.compiled), str(files.vk), str(files.pk), str(files.srs))


def usable_rows(logrows: int) -> int:
    return (1 << logrows) - UNUSABLE_ROWS


def blocks_of(rows: int, logrows: int) -> int:
    """Blocks of columns that ezkl gives a circuit whose settings say so many rows.

    It keeps a row of every block for a copy of the one before, so that one more is needed from two rows before the last
    usable one on (tests/circuits/test_blocks.py).
    """
    usable = usable_rows(logrows)
    return (rows + rows // usable + 1) // usable + 1


def block_rows(logrows: int) -> int:
    """Most rows of a circuit that has one block of columns."""
    return usable_rows(logrows) - 2


def run_args(how: Compilation) -> dict[str, Any]:
    """What ezkl's settings say of a circuit that `compile_circuit` has compiled: all of it decides the circuit."""
    return {
        "bounded_log_lookup": False,
        "check_mode": "UNSAFE",
        "decomp_base": how.decomp_base,
        "decomp_legs": how.decomp_legs,
        "disable_freivalds": True,
        "epsilon": sys.float_info.epsilon,
        "ignore_range_check_inputs_outputs": True,
        "input_scale": 0,
        "input_visibility": "KZGCommit",
        "logrows": how.logrows,
        "lookup_range": list(how.lookup_range or (0, 1)),
        "num_inner_cols": 1,
        "output_visibility": "Public",
        "param_scale": 0,
        "param_visibility": "Fixed",
        "rebase_frac_zero_constants": False,
        "rebase_scale": None,
        "scale_rebase_multiplier": 10**6,
        "variables": [["batch_size", 1]],
    }


def require(path: Path, what: str) -> Path:
    if not path.exists():
        raise ArtifactError(f"{what} is missing: {path}")
    return path
