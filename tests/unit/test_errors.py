"""The exception tree is the one that is drawn, and the modules stand on each other without a circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zkmarket
from zkmarket import errors
from zkmarket.errors import OpeningMismatch, ZkmarketError

pytestmark = pytest.mark.unit

PACKAGE = Path(zkmarket.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def drawn() -> dict[str, tuple[str | None, int]]:
    """Class → (parent, exit code) as the docstring of errors.py draws them."""
    tree: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│ ]*(?:[├└]── )?)([A-Z]\w+)(?: +(\d))?(?: |$)", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        above = [(d, n) for d, n in above if d < depth]
        tree[name] = (above[-1][1] if above else None, int(match[3] or ZkmarketError.exit_code))
        above.append((depth, name))
    return tree


def test_the_drawn_tree_is_the_tree():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, BaseException)]
    actual = {c.__name__: (c.__base__.__name__ if c is not ZkmarketError else None, c.exit_code) for c in classes}
    assert drawn() == actual
    assert len(actual) == 17
    assert ZkmarketError.__bases__ == (Exception,)


def test_the_exit_codes_are_those_of_the_command_line():
    """1 false or rejected, 2 usage, 3 a tool or artifact, 4 a transaction; 0 is no error's."""
    assert {code for _, code in drawn().values()} <= {1, 2, 3, 4}
    assert {
        name: drawn()[name][1]
        for name in ("StatementFalse", "ProofRejected", "InputError", "SrsError", "TransactionReverted")
    } == {
        "StatementFalse": 1,
        "ProofRejected": 1,
        "InputError": 2,
        "SrsError": 3,
        "TransactionReverted": 4,
    }


def test_an_opening_mismatch_names_its_slot():
    assert OpeningMismatch("wrong", 3).slot == 3
    assert OpeningMismatch("wrong").slot is None
    assert str(OpeningMismatch("wrong", 3)) == "wrong"


def test_every_error_is_raised_or_has_children():
    """No class that nothing raises."""
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.stem != "errors")
    parents = {parent for parent, _ in drawn().values()}
    for name in drawn():
        assert name in parents or f"raise {name}(" in source, name


# ---------------------------------------------------------------- imports


def imports(module: str) -> tuple[set[str], set[str]]:
    """(modules of the package, top-level names of others) that a module imports, inside functions too."""
    own, foreign = set(), set()
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    inside = not path.exists()
    path = path.with_suffix("") / "__init__.py" if inside else path
    here = ["zkmarket", *module.split(".")][: None if inside else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(here[: len(here) - node.level + 1])
            base = f"{base}.{node.module}" if node.module else base
            names = [name if (name := f"{base}.{alias.name}")[9:] in MODULES else base for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top != "zkmarket":
                foreign.add(top)
            elif rest in MODULES:
                own.add(rest)
    return own, foreign


def test_the_scan_sees_imports():
    assert imports("base")[0] >= {"backend", "field", "transcript"}
    assert imports("backend")[1] >= {"ezkl", "torch"}  # both inside functions
    assert "errors" in MODULES and len(MODULES) > 15


def test_no_module_imports_itself_by_a_detour():
    graph = {module: imports(module)[0] for module in MODULES if module != "__init__"}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' → '.join(error.args[1])}")
    assert order[0] == "errors"


def test_only_the_backend_imports_ezkl():
    assert [module for module in MODULES if "ezkl" in imports(module)[1]] == ["backend"]


def test_only_the_market_imports_brownie():
    for name in ("brownie", "hypothesis"):
        assert [module for module in MODULES if name in imports(module)[1]] == ["market"]
    assert [module for module in MODULES if "web3" in imports(module)[1]] == ["market", "wallet"]


def test_arithmetic_stands_on_nothing_heavy():
    for module in ("errors", "field", "transcript", "rules", "contribution", "quantise", "files"):
        assert not imports(module)[0] & {"backend", "artifacts", "build", "cli"}, module
        assert not imports(module)[1] & {"ezkl", "torch", "onnx"}, module


@pytest.mark.parametrize("module", ["zkmarket", "zkmarket.cli", "zkmarket.auditor"])
def test_a_verifier_need_not_load_torch_or_ezkl(module: str):
    code = f"import {module}, sys; print(sorted({{'torch', 'ezkl', 'onnx', 'sklearn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
