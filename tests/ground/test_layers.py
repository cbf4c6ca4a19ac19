"""Imports go one way, as docs/architecture.md has it; files are short; heavy libraries have one door."""

from __future__ import annotations

import ast
import functools
import re
import statistics
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zkmarket

pytestmark = pytest.mark.unit

PACKAGE = Path(zkmarket.__file__).parent
ROOT = PACKAGE.parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted([*PACKAGE.rglob("*.py"), *(PACKAGE / "circuits").glob("*.py")])  # rglob follows no link
    if path not in (PACKAGE / "__init__.py", PACKAGE / "__main__.py")
}
"""Modules by dotted name inside the package; a package is `name.__init__`."""

GROUND = {"errors", "files", "units", "progress", "processes", "documents", "serving"}
ROW = re.compile(r"^\| `(\w+)` \|.*\|([^|]*)\|$", re.M)


def table() -> dict[str, set[str]]:
    """Package → packages that it may import, as docs/architecture.md has it."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    return {name: set(re.findall(r"`(\w+)`", allowed)) for name, allowed in ROW.findall(text)}


@functools.cache
def imports(module: str) -> set[str]:
    """Absolute dotted names of all that a module imports: inside functions and for type checkers, too."""
    path = FILES[module]
    here = ["zkmarket", *module.split(".")][:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*here[: len(here) - node.level + 1], *([base] if base else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def own(module: str) -> set[str]:
    """Modules of this package that a module imports."""
    found = set()
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "zkmarket":
            continue
        for size in (len(parts), len(parts) - 1):
            for candidate in (".".join(parts[1:size]), ".".join([*parts[1:size], "__init__"])):
                if candidate in FILES:
                    found.add(candidate)
                    break
            else:
                continue
            break
        else:
            assert parts == ["zkmarket", "main"] or len(parts) == 2, f"{module} imports {name}, which is nowhere"
    return found - {module}


def foreign(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)} - {"zkmarket"}


def package(module: str) -> str:
    return module.partition(".")[0]


ARROWS = {
    (package(module), package(other))
    for module in FILES
    for other in own(module)
    if package(module) != package(other) and package(other) not in GROUND
}


def test_the_scan_sees_imports():
    assert "backend.__init__" in own("round.base")  # at the top
    assert "market.__init__" in own("roles.deployment")
    assert {"ezkl"} <= foreign("backend.ezkl") and {"torch"} <= foreign("backend.compilation")  # inside functions
    assert len(FILES) > 100


def test_imports_between_packages_are_those_of_the_table():
    """Neither one that the table does not allow, nor a permission that nobody uses."""
    allowed = {(name, other) for name, others in table().items() for other in others}
    assert {name for name in map(package, FILES) if name not in GROUND} == set(table())
    assert not sorted(ARROWS - allowed), "an import that docs/architecture.md does not allow"
    assert not sorted(allowed - ARROWS), "docs/architecture.md allows what nobody imports"


def test_nothing_imports_a_top_level_package_of_circuits():
    """A user may have one of that name, and the modules of a second copy are other classes."""
    folders = [PACKAGE, PACKAGE / "circuits", *(ROOT / name for name in ("tests", "benchmarks", "artifacts"))]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        assert not re.search(r"^\s*(from|import) circuits\b", path.read_text(), re.M), path


def test_packages_and_files_have_no_circle():
    faces = {module for module in FILES if module.endswith(".__init__")}
    files = {module: own(module) - faces for module in FILES if module not in faces}
    packages = {name: {other for one, other in ARROWS if one == name} for name in table()}
    for graph in (files, packages):
        try:
            tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            pytest.fail(f"import circle: {' → '.join(error.args[1])}")


def test_the_ground_stands_on_itself():
    for module in GROUND:
        assert set(map(package, own(module))) <= GROUND, module


def test_no_package_reaches_into_itself_by_its_face():
    """A file takes from its neighbours by name, so that a face can be read last."""
    for module in FILES:
        if package(module) == "circuits":  # its face holds the one number that they share
            continue
        for other in own(module):
            inside = other.endswith(".__init__") and module.startswith(other.removesuffix("__init__"))
            assert not inside, f"{module} imports the face of its own package"


def test_a_face_only_lists():
    for module, path in FILES.items():
        if module.endswith("__init__"):
            kinds = {type(node) for node in ast.parse(path.read_text()).body}
            assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}, module


def test_files_are_short():
    files = {module: path for module, path in FILES.items() if package(module) != "circuits"}  # a statement is one file
    lines = {module: len(path.read_text().splitlines()) for module, path in files.items()}
    assert {module: count for module, count in lines.items() if count > 400} == {}
    assert 100 <= statistics.median(count for module, count in lines.items() if not module.endswith("__init__")) <= 200


def test_heavy_libraries_have_one_door():
    users = {name: {module for module in FILES if name in foreign(module)} for name in ("ezkl", "brownie", "web3")}
    assert users["ezkl"] == {"backend.ezkl"}
    assert {package(module) for module in users["brownie"] | users["web3"]} == {"chain"}


def test_arithmetic_stands_on_nothing_heavy():
    for module in FILES:
        if package(module) in ("crypto", "rules", "updates") or module in (
            "build.columns", "build.shape", "round.native", "round.gram", "round.projection",
        ):  # fmt: skip
            assert not foreign(module) & {"ezkl", "onnx"}, module
            assert package(module) == "updates" or "torch" not in foreign(module), module


@pytest.mark.parametrize("module", ["zkmarket", "zkmarket.cli", "zkmarket.round", "zkmarket.market"])
def test_a_verifier_need_not_load_torch_or_ezkl(module: str):
    code = f"import {module}, sys; print(sorted({{'torch', 'ezkl', 'onnx', 'sklearn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
