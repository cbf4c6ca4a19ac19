"""The estimate of a project: its numbers are those that were measured, and what should be known is said."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.project_files import (
    AGGREGATOR,
    DIGITS,
    ETHER,
    ROOT,
    SIXTH,
    SMALL,
    layout_of,
    load,
    refused,
)
from zkmarket.build import candidate
from zkmarket.posting import (
    EXAMPLE,
    GAS,
    RoundShape,
    admit_gas,
    create_gas,
    estimate,
    estimate_cost,
    estimate_words,
    gas,
    load_project_file,
    lock_gas,
    settle_gas,
)

pytestmark = pytest.mark.unit


SNAPSHOT = json.loads((ROOT / "benchmarks" / "gas.json").read_text())


def near(got: float, want: float, part: float = 0.05) -> bool:
    return abs(got - want) <= part * want


def test_gas_is_what_was_measured():
    groups = {name: value for name, value in SNAPSHOT.items() if name in ("deploy", "submit")}
    flat = {f"{group}.{name}": gas for group, values in groups.items() for name, gas in values.items()}
    measured = flat | {name: SNAPSHOT[name] for name in SNAPSHOT if isinstance(SNAPSHOT[name], int)}
    assert set(GAS) <= set(measured)
    wrong = {name: (gas, measured[name]) for name, gas in GAS.items() if not near(gas, measured[name])}
    assert not wrong, "copy benchmarks/gas.json to zkmarket/posting/gas.py"


def test_the_formulas_go_through_what_was_measured():
    for name, shape in SNAPSHOT["projects"].items():
        settled = settle_gas(RoundShape(shape["trainers"], shape["params"], shape["logrows"]))
        assert near(settled, SNAPSHOT["settle"][name]), name
    assert near(create_gas(1, 2), SNAPSHOT["create"])
    assert near(lock_gas(8), SNAPSHOT["lock"]) and near(admit_gas(8), SNAPSHOT["admit"])
    small = RoundShape(16, 1210, 13)
    assert not near(settle_gas(small), SNAPSHOT["settle"]["N8_m1"])  # 5 % tell them apart


def test_seconds_go_through_what_was_measured(tmp_path: Path):
    """The rows of benchmarks/results, within a fifth: they are said to be about."""
    for name in ("round-10-100000", "round-32-1000000"):
        rows = (ROOT / "benchmarks" / "results" / f"{name}.jsonl").read_text().splitlines()
        steps = {row["step"]: row for row in map(json.loads, rows)}
        shape = steps["build"]
        n, k = shape["trainers"], shape["logrows"]
        text = SMALL.replace("least = 6\nmost = 8", f"least = {n}\nmost = {n}")
        project = load(tmp_path, text, keys__logrows=str(k), rules__three_sigma='"off"')  # as the rows were
        keys = estimate._keys(project, shape["params"], k)
        got = estimate._seconds(project, shape["params"], k, keys)
        if "cache" not in shape["note"].removeprefix("keys come from the cache if they are there"):
            assert near(got["keys"], shape["seconds"], 0.2)  # of a build whose keys were all made
        openings = n * candidate(k, n, shape["params"]).trainer_ms / 1000
        assert near(got["most"]["aggregator"] - openings, steps["aggregator_total"]["seconds"], 0.2), got
        assert near(got["most"]["verifier"], steps["verify"]["seconds"], 0.2), got
        assert near(got["trainer"], steps["commit_one_trainer"]["seconds"], 0.2), got


def test_the_plan_of_the_example():
    found = estimate_cost(load_project_file(EXAMPLE), DIGITS, gas_price_wei=10 * 10**9)
    assert json.loads(json.dumps(found)) == found
    assert (found["logrows"], found["chunk"], found["chunks"], found["params"]) == (13, 7808, 1, 2410)
    assert found["transactions"] == {"least": 1, "most": 1}
    assert found["values"] == {
        "value_bits": 13, "scale_bits": 12, "bound": 4096, "step": 2.0**-12, "largest": 4095 / 4096,
        "theta_bits": 9, "rate_error": 1 / 256,
    }  # fmt: skip
    assert "ρ = 9: the model is kept in steps of 2^-21; rounding changes a learning rate by at most 0.39%" in (
        estimate_words(found)
    )
    names = [key["name"] for key in found["keys"]]
    assert names == ["base", "settlement of 6", "settlement of 7", "settlement of 8"]
    gas = found["gas"]
    assert gas["settle"] == {n: settle_gas(RoundShape(at, 2410, 13)) for n, at in (("least", 6), ("most", 8))}
    assert (gas["submit"], gas["submit, in the first round"]) == (GAS["submit.later"], GAS["submit.first"])
    assert list(gas["verifiers"]) == ["base", "settlement of 6", "settlement of 7", "settlement of 8"]
    cost = found["cost"]
    steps = gas["start"] + gas["admit all"]["most"] + gas["lock"]["most"] + gas["settle"]["most"] + gas["next"]
    assert cost["gas"]["aggregator, a round of the most"] == steps
    assert cost["gas"]["all together"] == (
        cost["gas"]["owner, once"]
        + cost["gas"]["aggregator, once"]
        + 3 * steps
        + 8 * (cost["gas"]["trainer, once"] + gas["submit, in the first round"] + 2 * gas["submit"])
    )
    assert {name: int(wei) for name, wei in cost["wei"].items()} == {
        name: 10 * 10**9 * used for name, used in cost["gas"].items()
    }
    assert found["money"]["pool"] == str(33 * ETHER // 10)
    assert found["money"]["bond_wei"] == str(25 * ETHER // 10)


@pytest.mark.parametrize(
    ("rates", "bits", "chosen", "error"),
    [
        ("[1.0]", "auto", 9, False),
        ("[1.0, 0.1, 0]", "auto", 13, False),
        ("[0.0]", "auto", 9, False),
        ("[1.0]", "6", 6, True),
        ("[0.000000001]", "auto", 32, True),  # w would be 0 or 1: no ρ that the contract takes is enough
    ],
)
def test_the_plan_chooses_the_models_scale_and_says_so(
    tmp_path: Path, rates: str, bits: str, chosen: int, error: bool
) -> None:
    spelt = {} if bits == "auto" else {"keys__theta_bits": bits}
    project = load(tmp_path, project__learning_rates=rates, **spelt)
    found = estimate_cost(project, DIGITS)
    assert project.theta_bits == found["values"]["theta_bits"] == chosen
    assert any("rounding changes a learning rate by up to" in text for text in found["warnings"]) == error
    same = load(tmp_path, project__learning_rates=rates, keys__theta_bits='"auto"')
    assert bits != "auto" or same.theta_bits == chosen


def test_a_plan_without_a_price_says_no_price():
    found = estimate_cost(load_project_file(EXAMPLE), DIGITS)
    assert found["cost"]["wei"] == {} and found["cost"]["gas_price_wei"] is None
    text = estimate_words(found)
    assert "gwei" not in text and not re.search(r"all together.*ether", text)
    assert re.search(r"all together.*ether", estimate_words(estimate_cost(load_project_file(EXAMPLE), DIGITS, 10**9)))


def test_chunks_plans_and_rates_cost_what_they_add(tmp_path: Path):
    one = estimate_cost(load(tmp_path), DIGITS)["gas"]
    more = estimate_cost(load(tmp_path, project__learning_rates="[1, 1, 1, 1, 1]", project__rounds="5"), DIGITS)["gas"]
    assert more["create"] - one["create"] == gas.CREATE_RATES_GAS
    two = estimate_cost(load(tmp_path, keys__logrows="13"), layout_of(7808 + 1))["gas"]
    assert {name: two[name] for name in ("submit", "create", "verifiers")} == {
        name: one[name] for name in ("submit", "create", "verifiers")
    }, "only a settlement knows how large a model is"
    points = RoundShape(8, 7809, 13).points - RoundShape(8, 7808, 13).points
    added = two["settle"]["most"] - one["settle"]["most"]
    assert points == 10 and added > points * gas.POINT_GAS
    single = estimate_cost(load(tmp_path, rules__least="8"), DIGITS)
    assert one["create"] - single["gas"]["create"] == 2 * gas.CREATE_PLAN_GAS
    assert len(single["keys"]) == 2


def test_a_settlement_in_two_transactions_is_said(tmp_path: Path):
    project = load(tmp_path, rules__three_sigma='"off"', rules__most="6", rules__least="6")
    found = estimate_cost(project, layout_of(25_600_000))
    assert found["transactions"] == {"least": 2, "most": 2}
    assert "a round of 6 trainers is settled in two transactions" in estimate_words(found)
    assert "two transactions" not in estimate_words(estimate_cost(project, DIGITS))


def test_a_root_update_is_planned_for(tmp_path: Path):
    """It can be refused like a submission: the bond covers one penalty more, and the owner may lose one each round."""
    plain, rooted = load(tmp_path), load(tmp_path, rules__score='"root"')
    assert rooted.least_bond == plain.least_bond + SIXTH and rooted.bond_wei == plain.bond_wei + SIXTH
    (line,) = refused(tmp_path, rules__score='"root"', money__bond=f'"{rooted.least_bond - 1} wei"')
    assert "a penalty for each trainer between least and most and for the root update: got" in line
    found = estimate_cost(rooted, DIGITS)
    assert found["gas"]["offer root"] == found["cost"]["gas"]["owner, a round"] == GAS["submit.later"] + gas.ROOT_GAS
    assert "for each root update that is offered and gets no receipt" in found["worst"][0]
    assert "root update" not in estimate_cost(plain, DIGITS)["worst"][0]


def test_deadlines_in_real_time(tmp_path: Path):
    windows = {
        f"windows__{name}": f'"{2**i}h"'
        for i, name in enumerate(("accept", "start", "submit", "admit", "prove", "claim", "lock", "vacancy", "exit"))
    }
    project = load(tmp_path, SMALL + "[windows]\n", **windows, project__rounds="2", project__void_limit="3")
    found = estimate_cost(project, DIGITS, start=datetime(2027, 1, 4, 9, 30))["deadlines"]
    hours = {name: value // 3600 for name, value in found.items() if isinstance(value, int)}
    assert hours == {
        "round_at_least": 4 + 32,
        "round_at_most": 2 + 4 + 8 + 16 + 32,
        "round_claimed_at_most": 2 + 4 + 8 + 16 + 32 + 64,
        "project_at_least": 2 * (4 + 32),
        # two rounds, both claimed, and two failures, each with a vacancy
        "project_at_most": 1 + 2 * (2 + 4 + 8 + 16 + 32 + 64) + 2 * (2 + 4 + 8 + 16 + 128 + 256),
        "stake_bound_at_most": 4 + 8 + 16,
    }
    assert [row["until"] for row in found["dates"]] == [
        "2027-01-04T10:30",
        "2027-01-04T12:30",
        "2027-01-04T16:30",
        "2027-01-05T00:30",
        "2027-01-05T16:30",
        "2027-01-07T00:30",
    ]


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"money__bond": '"1.9 ether"'}, "the bond is less than twice the reward"),
        (
            {
                "money__token": f'"{AGGREGATOR}"',
                "money__reward": "5",
                "money__bond": '"2 ether"',
                "money__penalty": '"0.1 ether"',
            },
            "a submission that is never delivered costs its trainer 0.1 ether, and can burn 1 ether of the bond",
        ),
        ({"money__penalty": '"1 ether"', "money__bond": '"4 ether"'}, "one penalty takes the whole stake"),
        ({"project__admission": '"open"'}, "anyone may join"),
        ({"project__learning_rates": "[1, 0]"}, "a learning rate of 0"),
        ({"windows__exit": '"23h"'}, "trainers have 23h to leave"),
        ({"windows__prove": '"5s"'}, "the prove window of 5s leaves little room"),
        ({"windows__submit": '"1s"', "keys__logrows": "20"}, "the submit window of 1s leaves little room"),
        ({"money__fee": '"0.02 ether"'}, "the fee, 0.02 ether, does not pay the aggregator's gas, 0.03"),
        ({"money__reward": '"0.004 ether"'}, "an equal share of the reward does not pay the gas of a submission"),
    ],
)
def test_what_should_be_known_is_said(tmp_path: Path, change: dict[str, str], warning: str):
    base = load(tmp_path, money__penalty='"0.2 ether"')
    assert estimate_cost(base, DIGITS, 10**10, chain=1)["warnings"] == []
    found = estimate_cost(
        load(tmp_path, **({"money__penalty": '"0.2 ether"', "money__stake": '"1 ether"'} | change)), DIGITS, 10**10
    )
    assert any(line.startswith(warning) for line in found["warnings"]), found["warnings"]
    assert warning[:30] in re.sub(r"\n +", " ", estimate_words(found))


@pytest.mark.parametrize(
    ("chain", "start"),
    [
        (8453, "chain 8453 is not known to be a layer 1: a sequencer that stops can eat a window shorter than 24h"),
        (None, "if the chain is not a layer 1: a sequencer that stops can eat a window shorter than 24h"),
        (1, None),
        (11155111, None),
        (100, None),
        (31337, None),
    ],
)
def test_windows_that_an_outage_of_a_sequencer_can_eat(tmp_path: Path, chain: int | None, start: str | None):
    """Who cannot send in time pays, though it did nothing wrong."""
    found = estimate_cost(load(tmp_path), DIGITS, chain=chain)
    said = [line for line in found["warnings"] if "sequencer" in line]
    if start is None:
        assert said == []
        return
    (line,) = said
    assert line.startswith(start) and line.endswith("the penalty or the bond: submit (6h), admit (3h), prove (6h)")
    assert line[:60] in re.sub(r"\n +", " ", estimate_words(found))
    days = {f"windows__{name}": '"24h"' for name in ("submit", "admit", "prove")}
    assert not any("sequencer" in one for one in estimate_cost(load(tmp_path, **days), DIGITS, chain=chain)["warnings"])


def test_the_text_names_everything(tmp_path: Path):
    project = load(tmp_path, project__void_limit="2")
    text = estimate_words(estimate_cost(project, DIGITS, 25 * 10**9, datetime(2027, 1, 4)))
    for part in (
        "Digits: 2,410 parameters, 6 to 8 trainers, 3 rounds",
        "K = 13: 1 chunk of 7,808 values in 61 rows; 13 bits a value in steps of 2^-12",
        "settlement of 8",
        "Gas by who pays it, at 25 gwei a unit",
        "the owner pays in   3.3 ether: 3 × (1 ether + 0.1 ether)",
        "if 2 rounds fail",
        "2027-01-05T00:00  the aggregator accepts, at the latest",
    ):
        assert part in text, part
    token = load(
        tmp_path,
        money__token=f'"{AGGREGATOR}"',
        money__reward="1000",
        money__stake='"1 ether"',
        money__bond='"2 ether"',
    )
    text = estimate_words(estimate_cost(token, DIGITS))
    assert f"3,300 units of {AGGREGATOR}: 3 × (1,000 units of" in text
    assert "whoever controls it may be able to freeze" in text


def test_reading_and_planning_need_no_torch():
    program = (
        "import sys; from zkmarket.posting import EXAMPLE, estimate_cost, load_project_file;"
        " from zkmarket.updates import ParameterLayout as L;"
        " estimate_cost(load_project_file(EXAMPLE), L(('w',), ((2410,),), ('float32',)));"
        " sys.exit('torch' in sys.modules or 'ezkl' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
