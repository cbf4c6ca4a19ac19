"""Everything in ezkl's settings that decides a circuit is compared; what was asserted of keys is in their recipe."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zkmarket
from tests.circuits.checks import Rules
from tests.circuits.conftest import Compile
from tests.circuits.utility_nets import plan_of
from zkmarket import build, utility
from zkmarket.backend import check_first_block, srs
from zkmarket.build import keys
from zkmarket.build.statements import Circuit, base_circuit, check_rows, check_settings
from zkmarket.errors import ArtifactError
from zkmarket.files import sha256_file
from zkmarket.round import direct
from zkmarket.rules import Filter, MultiKrum

pytestmark = pytest.mark.circuit

CIRCUITS: dict[str, Circuit] = {
    "base": base_circuit(10),
    "settlement": Rules(3, MultiKrum(0, 3), params=40).circuit(),
    "norm": Rules(4, Filter(), params=40, score="cosine-shapley").circuit(),
    "utility": utility.statement(plan_of("linear")),
    "median": direct.aggregation_statement(13, 3, 6, direct.Rule("median"), "opened"),
    "mean": direct.aggregation_statement(10, 3, 6, direct.Rule("mean"), "committed"),
    "round": direct.round_statement(13, 3, 6, 6 * 4092**2, MultiKrum(0, 3), "leave-one-out", "opened"),
}

FREE = {"num_rows", "total_const_size"}
"""Compared with bounds. Rows: `test_a_row_too_few_or_too_many`."""

NOT_COMPARED = {("einsum_params", "equations")}
"""ezkl lists the products here; it uses the list for challenges of which there are none."""


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where the leaves of a JSON value are, empty lists and objects too."""
    if at in NOT_COMPARED:
        return
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))
    else:
        yield at


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return {"a": 1} if value is None else [*value, 1] if isinstance(value, list) else f"{value}x"


def changed(settings: dict[str, Any], at: tuple) -> dict[str, Any]:
    made = copy.deepcopy(settings)
    inner: Any = made
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = other(inner[at[-1]])
    return made


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_field_of_the_settings_is_compared(name: str, compile_once: Compile):
    circuit = CIRCUITS[name]
    settings = json.loads(compile_once(circuit, cut=True).files.settings.read_text())
    check_settings(settings, circuit)
    tried = [at for at in places(settings) if at[0] not in FREE]
    assert len(tried) > 35
    for at in tried:
        with pytest.raises(ArtifactError, match="compiled circuit has"):
            check_settings(changed(settings, at), circuit)
    for key in settings:
        with pytest.raises(ArtifactError, match="has parts"):
            check_settings({k: v for k, v in settings.items() if k != key}, circuit)
    with pytest.raises(ArtifactError, match="has parts"):
        check_settings({**settings, "more": 0}, circuit)


def test_another_lookup_of_the_same_number_is_noticed(compile_once: Compile):
    """One static lookup, but of whether a value is odd instead of its exponential."""
    circuit = CIRCUITS["utility"]
    settings = {**compile_once(circuit, cut=True).settings, "required_lookups": ["IsOdd"]}
    with pytest.raises(ArtifactError, match=r"has static lookups \['IsOdd'\], wanted \[\{'Exp'"):
        check_settings(settings, circuit)


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_row_too_few_or_too_many(name: str, compile_once: Compile):
    circuit = CIRCUITS[name]
    settings = compile_once(circuit, cut=True).settings
    for rows in (circuit.counted[0] - 1, circuit.counted[1] + 1):
        with pytest.raises(ArtifactError, match=r"rows by ezkl's own count, wanted .*: a check was dropped"):
            check_rows(rows, circuit, counted=True)
    for rows in (circuit.rows[0] - 1, circuit.rows[1] + 1):
        with pytest.raises(ArtifactError, match=r"rows, wanted .*: a check was dropped|has blocks of columns 2"):
            check_settings({**settings, "num_rows": rows, "total_assignments": rows}, circuit)
    with pytest.raises(ArtifactError, match="has columns of constants 1, wanted 0"):
        check_settings({**settings, "total_const_size": 1 << circuit.how.logrows}, circuit)


# ---------------------------------------------------------------- recipes of cached keys


PACKAGE = Path(zkmarket.__file__).parent
STATEMENTS = {str(path.relative_to(PACKAGE.parent)) for path in (PACKAGE / "build" / "statements").glob("*.py")}


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_recipe_names_the_code_that_asserted_something(name: str):
    """Otherwise keys that were made before a check was there would be taken from the cache after it."""
    circuit = CIRCUITS[name]
    files = build.recipe_of(circuit, srs.generate())["files"]
    wanted = {"circuits/__init__.py", f"circuits/{circuit.source}", *STATEMENTS, "zkmarket/backend/placement.py"}
    for part in (circuit.module, circuit.sample, circuit.refused, circuit.placed):
        if part not in (None, dict):
            wanted.add(str(Path(part.__code__.co_filename).relative_to(PACKAGE.parent)))
    if name == "utility":  # its sample is evaluated there
        wanted |= {"circuits/plan.py"} | {
            f"zkmarket/networks/{file}.py" for file in ("plan", "planner", "layout", "evaluation")
        }
    if name in ("median", "mean", "round"):
        wanted.add("zkmarket/round/direct/rules.py")
    assert set(files) == wanted


@pytest.mark.parametrize(
    "file", ["circuits/__init__.py", "zkmarket/utility/statements.py", "zkmarket/backend/placement.py"]
)
def test_other_code_is_another_recipe(file: str, monkeypatch: pytest.MonkeyPatch):
    """The number of noise values, the noise outside the table that must be refused, where lookups must lie."""
    circuit, ceremony, digest = CIRCUITS["utility"], srs.generate(), sha256_file
    before = build.recipe_of(circuit, ceremony)
    monkeypatch.setattr(keys, "sha256_file", lambda path: "0" * 64 if str(path).endswith(file) else digest(path))
    after = build.recipe_of(circuit, ceremony)
    assert {key for key in before if before[key] != after[key]} == {"files"}
    assert {key for key in before["files"] if before["files"][key] != after["files"][key]} == {file}


# ---------------------------------------------------------------- what is asserted when a circuit is compiled


def test_a_circuit_is_compiled_only_where_a_synthesis_puts_it_in_its_place(tmp_path: Path):
    circuit = CIRCUITS["settlement"]
    settings, counted = build.compile_statement(circuit, tmp_path)
    assert settings["num_rows"] == settings["total_assignments"] < counted
    elsewhere = replace(circuit, placed=lambda placed: check_first_block(placed, 11))
    with pytest.raises(ArtifactError, match="lays out .* wanted at most 2040, or it has two blocks"):
        build.compile_statement(elsewhere, tmp_path)
    with pytest.raises(ArtifactError, match="rows by ezkl's own count, wanted 0 to 10"):
        build.compile_statement(replace(circuit, counted=(0, 10)), tmp_path)
