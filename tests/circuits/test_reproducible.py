"""A verifying key is a function of the statement: not of the process, nor of the day it was made on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import ezkl
import pytest

from tests.circuits.checks import Rules
from tests.circuits.conftest import Compile
from tests.circuits.golden import CIRCUITS, FILE, facts
from tests.circuits.harness import Compiled
from zkmarket import backend
from zkmarket.backend import CircuitFiles, srs
from zkmarket.build import Build
from zkmarket.files import cache_folder, sha256_file
from zkmarket.round import RoundProof, verify_round
from zkmarket.rules import MultiKrum

pytestmark = pytest.mark.proof

SETTLEMENT = Rules(3, MultiKrum(0, 3), params=40)

IN_A_PROCESS = """
import sys
from pathlib import Path
from tests.circuits.golden import CIRCUITS, facts
print(facts(CIRCUITS["settlement"], Path(sys.argv[1]))["vk_sha256"])
"""


def outputs(code: str, argument_lists: list[list[str]]) -> list[str]:
    """Run the code once for each list of arguments, in processes of their own, two at a time."""
    out: list[str] = []
    root = Path(__file__).parents[2]
    for start in range(0, len(argument_lists), 2):
        children = [
            subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=root)
            for arguments in argument_lists[start : start + 2]
        ]
        for child in children:
            text, _ = child.communicate(timeout=120)
            assert child.returncode == 0
            out.append(text.split("\n")[-2])
    return out


def with_order(circuit: Compiled, folder: Path, checks: list[list[int]]) -> str:
    """The verifying key's digest when the settings list the range checks in this order."""
    folder.mkdir()
    settings = {**circuit.settings, "required_range_checks": checks}
    (folder / "settings.json").write_text(json.dumps(settings))
    onnx = circuit.files.folder / "circuit.onnx"
    ezkl.compile_circuit(str(onnx), str(folder / "circuit.ezkl"), str(folder / "settings.json"))
    files = CircuitFiles(folder, circuit.files.srs)
    backend.setup(files)
    return sha256_file(files.vk)


@pytest.mark.exhaustive("test_the_golden_keys_come_out_again")
def test_the_settlement_key_is_the_same_in_every_process(tmp_path: Path):
    """Two range-check tables, in an order that ezkl draws anew each time, and that decides the key."""
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    assert set(outputs(IN_A_PROCESS, [[str(folder)] for folder in folders])) == {
        json.loads(FILE.read_text())["settlement"]["vk_sha256"]
    }


def test_the_order_that_ezkl_writes_is_not_always_the_same(compile_once: Compile, tmp_path: Path):
    """Why settings are made canonical. Twelve draws of two orders: a false alarm once in 2,000 runs, and one retry."""
    circuit = compile_once(SETTLEMENT.circuit())
    seen: set[str] = set()
    for attempt in range(2):
        for i in range(12):
            target = tmp_path / f"{attempt}-{i}.json"
            args = ezkl.PyRunArgs()
            args.input_visibility, args.param_visibility = "polycommit", "fixed"
            args.input_scale = args.param_scale = 0
            args.scale_rebase_multiplier = 10**6
            for name in ("logrows", "decomp_base", "decomp_legs"):
                setattr(args, name, circuit.settings["run_args"][name])
            ezkl.gen_settings(str(circuit.files.folder / "circuit.onnx"), str(target), args)
            seen.add(json.dumps(json.loads(target.read_text())["required_range_checks"]))
        if len(seen) == 2:
            break
    tables = circuit.settings["required_range_checks"]
    assert tables == sorted(tables)
    assert seen == {json.dumps(tables), json.dumps(tables[::-1])}


@pytest.mark.exhaustive("why settings are sorted; that they are is the golden key")
def test_without_the_canonical_order_one_circuit_has_two_keys(compile_once: Compile, tmp_path: Path):
    circuit = compile_once(SETTLEMENT.circuit())
    srs.generate().path(circuit.circuit.how.logrows)
    tables = circuit.settings["required_range_checks"]
    canonical, other, again = (
        with_order(circuit, tmp_path / name, order)
        for name, order in (("canonical", tables), ("other", tables[::-1]), ("again", tables))
    )
    assert canonical == again != other


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_golden_keys_come_out_again(name: str, tmp_path: Path):
    """Not what golden.json says? Then a key of every project changes: see golden.py."""
    golden = json.loads(FILE.read_text())
    assert golden["ezkl"] == backend.versions()["ezkl"]
    assert facts(CIRCUITS[name], tmp_path) == golden[name]


def test_the_golden_round_verifies():
    """A proof that was stored when these circuits were new: what it says, by the build that it was made with."""
    golden = Path(__file__).parents[2] / "artifacts" / "golden"
    build = Build.load(golden / "build")
    decision = verify_round(build, RoundProof.load(golden / "round.json", build.manifest))
    assert (decision.mask, decision.scores, decision.nu) == ((1, 1, 1), (16020, 15960, 16080), 5340)


def test_settings_do_not_depend_on_the_folder(compile_once: Compile, tmp_path: Path):
    """They are what a verifier gets beside the key. (circuit.ezkl, the prover's file, has no such property.)"""
    circuit = compile_once(SETTLEMENT.circuit())
    for folder in (tmp_path / "a", tmp_path / "another"):
        folder.mkdir()
        shutil.copy(circuit.files.folder / "circuit.onnx", folder)
        backend.compile_circuit(folder / "circuit.onnx", circuit.circuit.how, folder)
        assert sha256_file(folder / "settings.json") == sha256_file(circuit.files.settings)


IN_A_HOME = """
import ezkl, sys
from pathlib import Path
from tests.circuits.golden import CIRCUITS, facts
from zkmarket.backend import compilation
if sys.argv[2] == "trusting":
    compilation.library = lambda: ezkl
print(facts(CIRCUITS["settlement"], Path(sys.argv[1]))["vk_sha256"])
"""


def test_a_poisoned_table_in_the_users_home_changes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """ezkl takes tables from its cache as they are: one entry more in it, and a digit may be 10^6."""
    for name in ("home", "trusting", "careful"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("ZKMARKET_CACHE", str(cache_folder()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EZKL_REPO_PATH", str(tmp_path / "home" / ".ezkl"))
    honest = json.loads(FILE.read_text())["settlement"]["vk_sha256"]
    assert outputs(IN_A_HOME, [[str(tmp_path / "trusting"), "trusting"]]) == [honest]
    tables = tmp_path / "home" / ".ezkl" / "cache"
    assert len(list(tables.iterdir())) == 2
    bits = CIRCUITS["settlement"].how.logrows - 1
    table = tables / f"rangecheck_0_{(1 << bits) - 1}" / "inputs"
    entries = bytearray(table.read_bytes())
    assert entries[300 * 32 : 301 * 32] == (300).to_bytes(32, "little")
    entries[300 * 32 : 301 * 32] = (10**6).to_bytes(32, "little")
    table.write_bytes(entries)
    (tmp_path / "trusting" / "pk.key").unlink()
    trusting, careful = outputs(IN_A_HOME, [[str(tmp_path / name), name] for name in ("trusting", "careful")])
    assert careful == honest != trusting
