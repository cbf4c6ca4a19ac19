"""What a project file asks of the model, and the offer that it makes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.project_files import (
    AGGREGATOR,
    DIGITS,
    ETHER,
    SIXTH,
    complaints,
    layout_of,
    load,
    manifest_for,
)
from zkmarket.build import Columns, Spec, choose_logrows
from zkmarket.build.statements import value_bound
from zkmarket.chain import NOBODY
from zkmarket.errors import InputError
from zkmarket.market import NO_SCORING, Windows
from zkmarket.posting import (
    RoundShape,
    estimate_cost,
    gas,
)
from zkmarket.rules import Filter, MultiKrum

pytestmark = pytest.mark.unit

THETA = b"\x02" * 32


# ---------------------------------------------------------------- what depends on the model


def test_auto_is_the_engines_choice_where_everything_fits(tmp_path: Path):
    project = load(tmp_path)
    assert {spec.logrows for spec in project.specs(DIGITS).values()} == {13}
    large = load(tmp_path, keys__optimize='"gas"', rules__three_sigma='"off"')
    auto, _ = choose_logrows(Spec(8, 100_000, MultiKrum(2, 6), optimize="gas"))
    assert {spec.logrows for spec in large.specs(layout_of(100_000)).values()} == {auto} != {13}


def test_the_width_of_a_value_does_not_depend_on_k(tmp_path: Path):
    project = load(tmp_path, keys__logrows="10", keys__value_bits="19", rules__three_sigma='"off"')
    assert {spec.value_bits for spec in project.specs(DIGITS).values()} == {19}
    assert load(tmp_path, keys__logrows="10").bits == 13


def heaviest(trainers: int, logrows: int, references: tuple[str, ...] = ()) -> int:
    """The most parameters of a round that the factory takes."""
    fits, values = 0, Columns(logrows).values
    while not gas.too_heavy(RoundShape(trainers, (fits + 1) * values, logrows, references)):
        fits += 1
    return fits * values


@pytest.mark.parametrize(("rules", "held"), [({}, ()), ({"rules__score": '"root"'}, ("root",))])
def test_a_project_too_heavy_for_a_block_is_refused_with_the_nearest_k(
    rules: dict[str, str], held: tuple[str, ...], tmp_path: Path
):
    most = heaviest(8, 10, held)
    project = load(tmp_path, keys__logrows="10", **rules)
    assert project.specs(layout_of(most))[6].logrows == 10
    (line,) = complaints(tmp_path, lambda: project.specs(layout_of(most + 1)))
    chunks = most // Columns(10).values + 1
    assert f"[keys] logrows 10 cannot be used for {most + 1} parameters: {chunks} chunks may need " in line
    assert "the factory takes at most 14,000,000; use 11" in line
    assert not held or most < heaviest(8, 10), "a reference is a slot, too"


def test_a_settlement_is_refused_by_gas_calldata_or_what_an_update_may_hold():
    def said(params: int, logrows: int, trainers: int = 3) -> str:
        return gas.too_heavy(RoundShape(trainers, params, logrows))

    assert said(1 << 26, 20, 10) == "an update has at most 2^26 values with its padding: got 67891200"
    assert said(1_000_000, 17, 32) == ""
    assert "gas to prove a base" in said(1_000_000, 10)


def test_a_model_for_which_no_k_serves(tmp_path: Path):
    project = load(tmp_path, rules__three_sigma='"off"')
    (line,) = complaints(tmp_path, lambda: project.specs(layout_of(67_000_000)))
    assert line.startswith(
        "PROJECT.toml:6: [keys] logrows: none that is chosen by itself suits 67000000 parameters; at 20:"
    )
    assert project.specs(layout_of(25_600_000))[8].logrows == 19
    (line,) = complaints(tmp_path, lambda: project.specs(layout_of(1 << 27)))
    assert line == "PROJECT.toml:6: a model has from 1 to 67108864 parameters: got 134217728"


def test_a_model_too_large_for_three_sigma(tmp_path: Path):
    """Its integers grow with the norm bound's square: the default bound is lower then, the same for every N."""
    longest = 400_000 << 24
    specs = load(tmp_path, keys__logrows="17").specs(layout_of(400_000))
    assert {spec.beta_max for spec in specs.values()} == {longest >> 2}
    plain = load(tmp_path, keys__logrows="17", rules__three_sigma='"off"').specs(layout_of(400_000))
    assert {spec.beta_max for spec in plain.values()} == {longest}
    change = {"keys__logrows": "17", "rules__beta_max": f'"{longest}"'}
    (line,) = complaints(tmp_path, lambda: load(tmp_path, **change).specs(layout_of(400_000)))
    assert "or --beta-max, or do without three-sigma: multi-krum:f=2,m=5" in line


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rules__beta_min": "2409"}, "beta_min is at least the number of parameters, 2410: got 2409"),
        ({"rules__beta": "2409"}, "beta is from beta_min, 2410, to beta_max, {most}: got 2409"),
        ({"rules__beta": "{more}"}, "beta is from beta_min, 2410, to beta_max, {most}: got {more}"),
        ({"rules__beta_max": "{more}"}, "beta_max is at most D·Q², {most} with 13 bits a value: got {more}"),
        ({"rules__beta_max": "2409"}, "beta_max is such that beta_min, 2410, is not above beta_max: got 2409"),
        ({"rules__beta_min": "{more}"}, "beta_min is such that beta_min, {more}, is not above beta_max: got {more}"),
    ],
)
def test_norm_bounds_are_those_of_the_model(tmp_path: Path, change: dict[str, str], complaint: str):
    numbers = {"most": 2410 * 4096**2, "more": 2410 * 4096**2 + 1}
    project = load(tmp_path, **{name: value.format(**numbers) for name, value in change.items()})
    line = next(i for i, text in enumerate((tmp_path / "PROJECT.toml").read_text().split("\n"), 1) if "beta" in text)
    wanted = f"PROJECT.toml:{line}: [rules] {complaint.format(**numbers)}"
    assert complaints(tmp_path, lambda: project.specs(DIGITS)) == [wanted]


# ---------------------------------------------------------------- the offer


def test_an_offer_is_what_the_file_says(tmp_path: Path):
    project = load(tmp_path, windows__prove='"7h"', project__learning_rates="[1, 0.5]", rules__beta="123456")
    offer = project.offer(manifest_for(project, 7), b"\x01" * 32, b"cid", THETA, development=False)
    assert dataclasses.asdict(offer) == {
        "aggregator": AGGREGATOR,
        "rounds": 3,
        "reward": ETHER,
        "fee": ETHER // 10,
        "stake_wei": ETHER,
        "bond_wei": 21 * ETHER // 10 + 2 * SIXTH,
        "penalty_wei": SIXTH,
        "beta": 123456,
        "beta_min": 2410,
        "beta_max": 2410 * value_bound(13) ** 2,
        "theta_bits": 10,  # 2^10 · 0.5/8 = 64
        "scoring": dataclasses.asdict(NO_SCORING),
        "theta": THETA,
        "kappa": 4000,
        "rates": (10**9, 5 * 10**8),
        "model": b"\x01" * 32,
        "cid": b"cid",
        "void_limit": 3,
        "token": NOBODY,
        "open_admission": False,
        "windows": dataclasses.asdict(dataclasses.replace(Windows(), prove=7 * 3600)),
        "nonce": 0,
    }
    assert offer.pool == project.pool
    assert load(tmp_path).offer(manifest_for(project, 7), bytes(32), b"x", THETA).beta == offer.beta_max


@pytest.mark.parametrize(
    ("n", "changes", "reason"),
    [
        (7, {"trainers": 9}, "is for 6 to 8 trainers: got a build for 9"),
        (
            7,
            {"filter": "multi-krum:f=0,m=7"},
            f"filter is multi-krum:f=0,m=7, wanted {Filter.default(7)}; build it again",
        ),
        (7, {"logrows": 14}, "logrows is 14, wanted 13"),
        (7, {"score": "leave-one-out"}, "score is leave-one-out, wanted shapley"),
        (7, {"beta_max": "2410"}, "beta_max is 2410, wanted 40433090560"),
        (7, {"fixed_point": {"scale_bits": 9, "value_bits": 13}}, "fixed point is "),
    ],
)
def test_an_offer_for_another_build_is_refused(tmp_path: Path, n: int, changes: dict[str, Any], reason: str):
    project = load(tmp_path)
    project.offer(manifest_for(project, n), bytes(32), b"cid", THETA)
    with pytest.raises(InputError, match=re.escape(reason)):
        project.offer(manifest_for(project, n, **changes), bytes(32), b"cid", THETA)


def test_an_offer_from_keys_of_another_srs_is_refused(tmp_path: Path):
    assert documents.manifest()["srs"]["kind"] == "development"
    for kind in ("any", "development"):
        project = load(tmp_path, keys__srs=f'"{kind}"')
        project.offer(manifest_for(project, 6), bytes(32), b"cid", THETA)
    project = load(tmp_path, keys__srs='"ceremony"')
    with pytest.raises(InputError, match="srs is development, wanted ceremony"):
        project.offer(manifest_for(project, 6), bytes(32), b"cid", THETA)


def test_an_hour_is_the_least_except_on_a_development_chain(tmp_path: Path):
    project = load(tmp_path, windows__prove='"59m 59s"')
    line = (tmp_path / "PROJECT.toml").read_text().split("\n").index('prove = "59m 59s"') + 1
    wanted = [f'PROJECT.toml:{line}: [windows] prove is at least 1h except on a development chain: got "59m 59s"']
    project.check(DIGITS, development=True)
    assert complaints(tmp_path, lambda: project.check(DIGITS, development=False)) == wanted
    manifest = manifest_for(project, 6)
    project.offer(manifest, bytes(32), b"cid", THETA, development=True)
    assert complaints(tmp_path, lambda: project.offer(manifest, bytes(32), b"cid", THETA, development=False)) == wanted
    assert (
        estimate_cost(project, DIGITS)["warnings"][-1] == "phases shorter than 1h, for a development chain only: prove"
    )
    load(tmp_path, windows__prove='"1h"').check(DIGITS, development=False)
