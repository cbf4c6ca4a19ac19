"""What a wheel brings of the contracts: `python -m zkmarket.chain.shipping FOLDER`, called by `make wheel`.

    contracts/, brownie-config.yaml, package.json, package-lock.json   as they are in the source tree
    brownie/                                                           compiled: ABI, bytecode, all that Brownie keeps
    standard-input.json                                                the compiler's input, with OpenZeppelin's sources

`solc --standard-json < standard-input.json` gives the same bytes: it is tried here.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from ..errors import ChainError
from ..files import new_folder
from .compiler import compile_contracts, run_solc
from .tools import COMPILED, tree

COPIED = ("brownie-config.yaml", "package.json", "package-lock.json")


def ship(folder: Path) -> dict[str, Any]:
    """Compile the contracts of the source tree, and fill a folder with what setup.py puts into a wheel.

    Returns what standard-input.json holds. Raises ChainError: the contracts do not compile.
    """
    root = tree()
    compile_contracts()
    given = standard_input(root)
    with new_folder(folder, replace=True) as fresh:
        shutil.copytree(root / "contracts", fresh / "contracts", ignore=shutil.ignore_patterns("*.md"))
        shutil.copytree(root / COMPILED, fresh / "brownie", ignore=shutil.ignore_patterns("deployments", "tests.json"))
        for path in (fresh / "brownie" / "contracts").glob("*.json"):
            build = json.loads(path.read_text())
            path.write_text(json.dumps(build | {"ast": {}, "pcMap": {}}))  # for them Brownie wants npm's sources
        for name in COPIED:
            shutil.copy(root / name, fresh)
        (fresh / "standard-input.json").write_text(json.dumps(given, indent=1))
    return given


def standard_input(root: Path) -> dict[str, Any]:
    """The compiler's input for all contracts, with every source in it: nothing is read from a disk."""
    solc = yaml.safe_load((root / "brownie-config.yaml").read_text())["compiler"]["solc"]
    contracts = [str(path.relative_to(root)) for path in sorted((root / "contracts").rglob("*.sol"))]
    given: dict[str, Any] = {
        "language": "Solidity",
        "sources": {name: {"content": (root / name).read_text()} for name in contracts},
        "settings": {
            "optimizer": solc["optimizer"],
            "viaIR": solc["viaIR"],
            "evmVersion": solc["evm_version"],
            "remappings": solc["remappings"],
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
        },
    }
    with contextlib.chdir(root):  # what they import is read from there; the answer names all that was read
        answer = json.loads(run_solc("--standard-json", "--allow-paths", "node_modules", given=json.dumps(given)))
    given["sources"] = {name: {"content": (root / name).read_text()} for name in sorted(answer["sources"])}
    output = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]
    given["settings"]["outputSelection"] = {"*": {"*": output}}
    return given


def compare(given: dict[str, Any]) -> None:
    """ChainError unless the compiler makes of its input what Brownie has, but for the places of libraries."""
    builds = [container._build for container in compile_contracts()]
    output = json.loads(run_solc("--standard-json", given=json.dumps(given)))
    errors = [error["formattedMessage"] for error in output.get("errors", []) if error["severity"] == "error"]
    if errors:
        raise ChainError("standard-input.json does not compile: " + "\n".join(errors))
    for build in builds:
        evm = output["contracts"].get(build["sourcePath"], {}).get(build["contractName"], {}).get("evm", {})
        for code in ("bytecode", "deployedBytecode"):
            if _unlinked(build[code]) != _unlinked(evm.get(code, {}).get("object", "")):
                raise ChainError(f"{build['contractName']} of standard-input.json has another {code} than Brownie's")


def _unlinked(code: str) -> str:
    return re.sub(r"__.{38}", "0" * 40, code)


if __name__ == "__main__":
    compare(ship(Path(sys.argv[1])))
