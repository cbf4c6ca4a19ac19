"""Make golden.json again, after a circuit, ezkl, torch or the compilation changed on purpose:

    .venv/bin/python -m tests.circuits.golden

A changed digest is a breaking circuit change: every project's keys are others then. Say so in the changelog.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.circuits.checks import Rules
from tests.circuits.harness import compile_in
from zkmarket import backend
from zkmarket.backend import srs
from zkmarket.build.statements import Circuit, base_circuit
from zkmarket.files import sha256_file
from zkmarket.rules import MultiKrum

FILE = Path(__file__).parent / "golden.json"

CIRCUITS: dict[str, Circuit] = {
    "base": base_circuit(10),
    "settlement": Rules(3, MultiKrum(0, 3), params=40).circuit(),
}


def facts(circuit: Circuit, folder: Path) -> dict[str, Any]:
    """Compile and make keys with the development SRS; what must not change unnoticed."""
    compiled = compile_in(folder, circuit, cut=True)
    srs.generate().path(circuit.how.logrows)
    backend.setup(compiled.files)
    return {
        "vk_sha256": sha256_file(compiled.files.vk),
        "settings_sha256": sha256_file(compiled.files.settings),
        "logrows": circuit.how.logrows,
        "rows": compiled.settings["num_rows"],
        "blocks": backend.blocks_of(compiled.settings["num_rows"], circuit.how.logrows),
        "lookups": len(compiled.settings["required_lookups"]),
        "range_checks": compiled.settings["required_range_checks"],
        "committed": compiled.settings["module_sizes"]["polycommit"],
    }


def main() -> None:
    golden: dict[str, Any] = {"ezkl": backend.versions()["ezkl"]}
    for name, circuit in CIRCUITS.items():
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = facts(circuit, Path(folder))
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
