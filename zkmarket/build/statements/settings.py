"""Whether a compiled circuit is the one that the statement asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backend import blocks_of, run_args, usable_rows, versions
from ...errors import ArtifactError
from .statement import Circuit


def check_settings(settings: dict[str, Any], circuit: Circuit, counted: bool = False) -> None:
    """Raise ArtifactError unless the compiled circuit still holds every check of its statement.

    With `counted`, of a circuit that was compiled with ezkl's own count of rows.

    The constraint system follows from the settings, so everything in them is compared but the equations of the
    products, which ezkl lists and does not use here.
    """
    if set(settings) != set(SETTINGS):
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has parts {sorted(settings)}, wanted {sorted(SETTINGS)}"
        )
    how = circuit.how
    rows, usable = settings["num_rows"], usable_rows(how.logrows)
    inputs = len(circuit.committed)
    facts = {
        **{name: (settings["run_args"].get(name), value) for name, value in run_args(how).items()},
        "arguments": (set(settings["run_args"]), set(run_args(how))),
        "version": (settings["version"], versions()["ezkl"]),
        "static lookups": (settings["required_lookups"], circuit.lookups),
        "range checks": (settings["required_range_checks"], circuit.range_checks),
        "shuffles": ((settings["num_shuffles"], settings["total_shuffle_col_size"]), sizes_of(circuit.sorts)),
        "dynamic lookups": ((settings["num_dynamic_lookups"], settings["total_dynamic_col_size"]), (0, 0)),
        "values of dynamic lookups": (settings["max_dynamic_input_len"], 0),
        "rows of challenges": (settings["einsum_params"]["total_einsum_col_size"], 0),
        "public outputs": (sum(math.prod(shape) for shape in settings["model_instance_shapes"]), circuit.instances),
        "outputs": (len(settings["model_instance_shapes"]), 1),
        "committed inputs": (settings["module_sizes"], {"polycommit": circuit.committed, "poseidon": [0, [0]]}),
        "scales": ((settings["model_input_scales"], settings["model_output_scales"]), ([0] * inputs, [0])),
        "types": ((settings["input_types"], settings["output_types"]), (["F32"] * inputs, ["F32"])),
        "blinding factors": (settings["num_blinding_factors"], None),
        "check mode": (settings["check_mode"], "UNSAFE"),
        "timestamp": (settings["timestamp"], 0),
        "columns of constants": (settings["total_const_size"] // usable, 0),
    }
    if circuit.blocks is not None and not counted:
        facts["blocks of columns"] = blocks_of(rows, how.logrows), circuit.blocks
    for name, (got, wanted) in facts.items():
        if got != wanted:
            raise ArtifactError(f"{circuit.source}: compiled circuit has {name} {got}, wanted {wanted}")
    check_rows(rows, circuit, counted)
    if settings["total_assignments"] != rows:
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has {settings['total_assignments']} assignments: wanted {rows}"
        )


def check_rows(rows: int, circuit: Circuit, counted: bool = False) -> None:
    """Raise ArtifactError unless the circuit has about as many rows as its statement, by ezkl's own count or ours."""
    least, most = circuit.counted if counted else circuit.rows
    if not least <= rows <= most:
        what = "rows by ezkl's own count" if counted else "rows"
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has {rows} {what}, wanted {least} to {most}:"
            " a check was dropped, or the circuit does not fit"
        )


def sizes_of(sorts: Sequence[int]) -> tuple[int, int]:
    """How many shuffles that is, and how many rows they have together."""
    return len(sorts), sum(sorts)


SETTINGS = (
    *("check_mode", "einsum_params", "input_types", "max_dynamic_input_len", "model_input_scales"),
    *("model_instance_shapes", "model_output_scales", "module_sizes", "num_blinding_factors", "num_dynamic_lookups"),
    *("num_rows", "num_shuffles", "output_types", "required_lookups", "required_range_checks", "run_args", "timestamp"),
    *("total_assignments", "total_const_size", "total_dynamic_col_size", "total_shuffle_col_size", "version"),
)
"""The parts of ezkl's settings."""
