"""A wheel is built, installed where nothing else of ours is, and settles a round there, with Python alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import zkmarket
from zkmarket.chain import shipping, tree
from zkmarket.files import cache_folder

pytestmark = pytest.mark.e2e

ROOT = Path(zkmarket.__file__).parents[1]
SECONDS = 600


def source_tree(place: Path, shipped: bool = True) -> Path:
    """What a wheel is built from, without what the build leaves behind."""
    for name in ("zkmarket", "circuits", "contracts"):
        shutil.copytree(ROOT / name, place / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", *shipping.COPIED):
        shutil.copy(ROOT / name, place)
    if shipped:
        shipping.ship(place / ".build" / "shipped")
    return place


def build(root: Path, to: Path) -> subprocess.CompletedProcess[str]:
    """As `make wheel` does it."""
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(to), str(root)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=SECONDS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    done = build(source_tree(place / "tree"), place)
    assert done.returncode == 0, done.stderr
    (found,) = place.glob("zkmarket-*.whl")
    return found


def test_a_wheel_has_all_that_the_package_reads(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"zkmarket"}  # no top-level package called `circuits`
    package = [path for folder in ("", "circuits") for path in (ROOT / "zkmarket" / folder).rglob("*")]
    files = {str(path.relative_to(ROOT)) for path in package if path.is_file() and path.suffix not in (".pyc", ".md")}
    assert files and names - files == {name for name in names if name.startswith("zkmarket/shipped/")}
    assert files <= names
    sources = [path for path in (ROOT / "contracts").rglob("*") if path.suffix in (".sol", ".cjs")]
    assert {f"zkmarket/shipped/{path.relative_to(ROOT)}" for path in sources} < names


def test_a_wheel_has_abi_bytecode_and_every_source(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        factory = json.loads(archive.read("zkmarket/shipped/brownie/contracts/Factory.json"))
        given = json.loads(archive.read("zkmarket/shipped/standard-input.json"))
    assert len(factory["bytecode"]) > 50_000 and any(item.get("name") == "create" for item in factory["abi"])
    names = set(given["sources"])
    assert {"contracts/Factory.sol", "contracts/Types.sol"} < names
    assert any(name.startswith("node_modules/@openzeppelin/") for name in names)
    assert given["settings"]["evmVersion"] == "cancun" and given["settings"]["viaIR"]


def test_without_compiled_contracts_there_is_no_wheel(tmp_path: Path):
    done = build(source_tree(tmp_path / "tree", shipped=False), tmp_path)
    assert done.returncode and "are not compiled as they are now: run `make wheel`" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_nor_without_the_page(tmp_path: Path):
    root = source_tree(tmp_path / "tree", shipped=False)
    shutil.rmtree(root / "zkmarket" / "page" / "dist", ignore_errors=True)
    done = build(root, tmp_path)
    assert done.returncode and "page of" in done.stdout + done.stderr and not list(tmp_path.glob("*.whl"))


def test_nor_with_others_than_those_of_the_tree(tmp_path: Path):
    root = source_tree(tmp_path / "tree")
    with (root / "contracts" / "Types.sol").open("a") as file:
        file.write("// changed\n")
    done = build(root, tmp_path)
    assert done.returncode and "are not compiled as they are now: run `make wheel`" in done.stdout + done.stderr


@pytest.mark.exhaustive("the files of a wheel are compared; the round is the demo's, which test_demo.py runs")
def test_a_round_is_settled_where_only_the_wheel_is(wheel: Path, tmp_path: Path):
    """An empty environment, no Node.js on the PATH, another working directory, and -I: nothing of the tree is found.

    Libraries are those of this environment; what npm would fetch is the tree's.
    """
    venv, place, path = tmp_path / "venv", tmp_path / "elsewhere", tmp_path / "bin"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=SECONDS)
    python = str(venv / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=SECONDS)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    place.mkdir()
    path.mkdir()
    for name in ("sh", "env", "cat", "kill"):
        if found := shutil.which(name):
            (path / name).symlink_to(found)
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("keys", "srs"):
        (cache_folder() / name).mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(cache_folder() / name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = kept | {"PATH": str(path), "ZKMARKET_CACHE": str(cache), "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [python, "-I", *words], cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import zkmarket; from zkmarket.chain import tree; print(zkmarket.__file__); print(tree())")
    package, unpacked = map(Path, where.split())
    assert venv in package.parents and cache in unpacked.parents
    (unpacked / "node_modules").symlink_to(tree() / "node_modules")
    doctor = {check["name"]: check for check in json.loads(run("-m", "zkmarket", "doctor", "--json"))["checks"]}
    assert doctor["solc"]["ok"] and str(unpacked) in doctor["node"]["found"]  # PyPI's Node.js
    result = json.loads(run("-m", "zkmarket", "demo", "--rounds", "1", "--trainers", "5", "--json"))
    assert [row["audited"] for row in result["rounds"]] == [True] and result["gas"]["settle"] > 10**6
    factory = json.loads((unpacked / ".build" / "brownie" / "contracts" / "Factory.json").read_text())
    assert factory["ast"] == {}  # as the wheel brought it: nothing was compiled again
