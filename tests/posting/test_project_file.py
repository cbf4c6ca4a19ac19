"""PROJECT.toml: every complaint with its line, exact amounts, and a plan whose numbers are those that were measured."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from eth_utils import to_wei
from hypothesis import given
from hypothesis import strategies as st

import zkmarket
from tests.support import documents
from zkmarket.build import Columns, Manifest, Spec, candidate, choose_logrows
from zkmarket.build.statements import value_bound
from zkmarket.chain import NOBODY
from zkmarket.errors import InputError
from zkmarket.market import Windows
from zkmarket.posting import (
    EXAMPLE,
    FILE_LIMIT,
    GAS,
    ProjectFile,
    RoundShape,
    admit_gas,
    create_gas,
    estimate,
    estimate_cost,
    estimate_words,
    gas,
    lines_of,
    load_project_file,
    lock_gas,
    settle_gas,
)
from zkmarket.rules import Filter, MultiKrum, norm_bound
from zkmarket.units import DURATIONS, amount_text, duration_text, parse_amount, parse_duration
from zkmarket.updates import ParameterLayout

pytestmark = pytest.mark.unit

ROOT = Path(zkmarket.__file__).parents[1]
ETHER = 10**18
SIXTH = -(-ETHER // 6)
"""The least penalty of `SMALL`: six of them make the reward."""
AGGREGATOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SMALL = f"""\
[project]
name = "Digits"
rounds = 3
aggregator = "{AGGREGATOR}"
[model]
factory = "zkmarket.learning:digits_mlp"
[rules]
least = 6
most = 8
[money]
reward = "1 ether"
"""
"""The least that a file must say: every line has a number in the tests below."""


def layout_of(params: int) -> ParameterLayout:
    return ParameterLayout(("w",), ((params,),), ("float32",))


DIGITS = layout_of(2410)


def load(tmp_path: Path, text: str = SMALL, **changes: str) -> ProjectFile:
    """A file with these values in place of, or added to, those of `text`: section__key = TOML."""
    for name, value in changes.items():
        section, key = name.split("__")
        text, found = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        if not found and f"[{section}]\n" in text:
            text = text.replace(f"[{section}]\n", f"[{section}]\n{key} = {value}\n")
        elif not found:
            text += f"[{section}]\n{key} = {value}\n"
    path = tmp_path / "PROJECT.toml"
    path.write_text(text)
    return load_project_file(path)


def complaints(tmp_path: Path, call: Any) -> list[str]:
    """The lines of the InputError that `call` raises, without the folder."""
    with pytest.raises(InputError) as caught:
        call()
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]


def refused(tmp_path: Path, text: str = SMALL, **changes: str) -> list[str]:
    return complaints(tmp_path, lambda: load(tmp_path, text, **changes))


# ---------------------------------------------------------------- what is good


def test_defaults(tmp_path: Path):
    project = load(tmp_path)
    assert (project.least, project.most, project.rounds, project.void_limit) == (6, 8, 3, 3)
    assert project.filters == {n: Filter.default(n) for n in (6, 7, 8)}
    assert (project.kappa, project.rates, project.score) == (4000, (10**9,), "shapley")
    assert (project.beta, project.beta_min, project.beta_max, project.logrows, project.srs) == (None,) * 5
    assert project.windows == Windows()
    assert not project.open_admission and project.token == NOBODY
    assert (project.reward, project.fee, project.stake_wei) == (ETHER, ETHER // 10, ETHER)
    assert project.penalty_wei == project.least_penalty == SIXTH
    assert project.bond_wei == 2 * ETHER + ETHER // 10 + 2 * SIXTH
    assert project.pool == 3 * (ETHER + ETHER // 10)


def test_every_value_is_read_exactly(tmp_path: Path):
    project = load(
        tmp_path,
        project__learning_rates="[1, 0.5, 0.000000001]",
        project__admission='"open"',
        rules__f="{6 = 1, 7 = 1, 8 = 2}",
        rules__m="{6 = 4, 7 = 4, 8 = 5}",
        rules__three_sigma='"off"',
        rules__kappa="2.001",
        rules__beta='"123456789012345678"',
        rules__beta_min="3000",
        rules__score='"leave-one-out"',
        keys__srs='"ceremony"',
        money__reward='"101 wei"',
        money__stake='"0.000000000000000021 ether"',
        money__penalty='"20 wei"',
        windows__claim='"1d 12h"',
    )
    assert project.rates == (10**9, 5 * 10**8, 1)
    assert project.open_admission
    assert project.filters == {6: MultiKrum(1, 4), 7: MultiKrum(1, 4), 8: MultiKrum(2, 5)}
    assert (project.kappa, project.beta, project.beta_min) == (2001, 123456789012345678, 3000)
    assert (project.stake_wei, project.penalty_wei, project.srs) == (21, 20, "ceremony")
    assert project.windows == dataclasses.replace(Windows(), claim=129600)


def test_a_reward_in_a_token(tmp_path: Path):
    money = {"money__token": f'"{AGGREGATOR.lower()}"', "money__stake": '"1 ether"', "money__bond": '"1 ether"'}
    project = load(tmp_path, money__reward='"340282366920938463463374607431768211"', money__fee="5", **money)
    assert (project.penalty_wei, project.least_penalty) == (ETHER // 10, 1)
    assert (project.token, project.native, project.reward % 1000, project.fee) == (AGGREGATOR, False, 211, 5)
    needed = 'with a token there is no default; an amount such as "1.5 ether" or "200 gwei"'
    whole = "a whole number of the token's smallest unit"
    assert refused(tmp_path, money__token=f'"{AGGREGATOR}"', money__fee='"0.1 ether"') == [
        f'PROJECT.toml:11: [money] fee is {whole}: got "0.1 ether"',
        f"PROJECT.toml:12: [money] needs a key bond: {needed}",
        f"PROJECT.toml:12: [money] needs a key stake: {needed}",
        f'PROJECT.toml:13: [money] reward is {whole}: got "1 ether"',
    ]


def test_advice_is_kept_as_json_has_it(tmp_path: Path):
    project = load(tmp_path, training__epochs="5", training__lr="0.1", training__loss='"cross entropy"')
    assert json.loads(json.dumps(project.advice)) == {"epochs": 5, "lr": 0.1, "loss": "cross entropy"}


# ---------------------------------------------------------------- the example


def test_the_example_loads_and_says_what_its_comments_say():
    project = load_project_file(EXAMPLE)
    specs = project.specs(DIGITS)
    assert set(specs) == {6, 7, 8} and {spec.params for spec in specs.values()} == {64 * 32 + 32 + 32 * 10 + 10}
    assert project.least_bond == 3 * ETHER // 2  # "here 1.5 ether"
    assert estimate_cost(project, DIGITS, chain=1)["warnings"] == []


def test_the_example_explains_every_key_and_its_defaults_are_the_defaults(tmp_path: Path):
    text = EXAMPLE.read_text()
    schema = json.loads((EXAMPLE.parents[1] / "schemas" / "project.schema.json").read_text())
    keys = {(name, key) for name, section in schema["properties"].items() for key in section["properties"]}
    assert keys - {("money", "token")} <= set(lines_of(re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text)))
    assert "`token`" in text
    # what is commented out is the default: with and without it the project is the same
    full = re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text)
    assert full.count("\n") == text.count("\n") and full != text
    (tmp_path / "PROJECT.toml").write_text(full)
    spelt, short = load_project_file(tmp_path / "PROJECT.toml"), load_project_file(EXAMPLE)
    given = {"path": short.path, "lines": short.lines}
    # the model's own numbers, which a file without them leaves open
    assert (spelt.beta_min, spelt.value_bits, spelt.scale_bits) == (2410, 13, 12)
    own = {"beta_min": None, "value_bits": None, "scale_bits": None}
    bond = {"bond_wei": 5 * ETHER // 2}
    assert short.bond_wei == bond["bond_wei"]
    assert dataclasses.replace(spelt, **given, **own) == short
    assert spelt.specs(DIGITS)[8].logrows == short.specs(DIGITS)[8].logrows == 13


SAMPLES = ((1, 4), (2, 5), (2, 5))  # f and m for 6, 7 and 8 trainers
DEFAULTS = [f"multi-krum:f={f},m={m},three-sigma:lambda=5" for f, m in SAMPLES]


@pytest.mark.parametrize(
    ("lines", "filters", "most"),
    [
        ("", DEFAULTS, None),
        ('three_sigma = "off"', ["multi-krum:f=1,m=5", "multi-krum:f=2,m=5", "multi-krum:f=2,m=6"], None),
        ("m = 3", [f"multi-krum:f={f},m=3,three-sigma:lambda=5" for f in (1, 2, 2)], None),
        ("three_sigma = 2.5", [f"multi-krum:f={f},m={m},three-sigma:lambda=5/2" for f, m in SAMPLES], None),
        ("krum = false", ["norm"] * 3, None),
        ('krum = false\ncosine = "1/3"\nscore = "root"', ["norm,cosine:tau=1/3"] * 3, None),
        ("m = 4\nthree_sigma = 2.5", [f"multi-krum:f={f},m=4,three-sigma:lambda=5/2" for f in (1, 2, 2)], None),
        ('score = "novel"', DEFAULTS, 8),
    ],
)
def test_every_filter_can_be_written(lines: str, filters: list[str], most: int | None, tmp_path: Path):
    """What is built for 6, 7 and 8 trainers; a last aggregate may be of a round of the most."""
    text = re.sub(r"(?m)^most = .*\n", lambda found: f"{found[0]}{lines}\n", EXAMPLE.read_text())
    (tmp_path / "PROJECT.toml").write_text(text)
    specs = load_project_file(tmp_path / "PROJECT.toml").specs(DIGITS)
    assert [str(specs[n].filter) for n in (6, 7, 8)] == filters
    assert {spec.most_trainers for spec in specs.values()} == {most}


def test_the_example_is_packaged():
    assert EXAMPLE.name in (ROOT / "setup.cfg").read_text()


# ---------------------------------------------------------------- complaints


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"money__reward": '"1 eth"'}, '[money] reward is an amount such as "1.5 ether" or "200 gwei"; with a token,'
         ' a whole number of its smallest unit: got "1 eth"'),
        ({"money__reward": "5"}, '[money] reward is an amount such as "1.5 ether" or "200 gwei": got 5'),
        ({"money__reward": '"0.5 wei"'}, '[money] reward is a whole number of wei, the smallest unit: got "0.5 wei"'),
        ({"money__reward": '"0 ether"'}, "[money] reward is at least 1 wei: got 0 wei"),
        ({"money__stake": "1.5"}, '[money] stake is an amount such as "1.5 ether" or "200 gwei": got 1.5'),
        ({"money__stake": '"1 gwei"', "money__penalty": '"2 gwei"'},
         f"[money] stake is at least {amount_text(SIXTH)}, reward / 6, the least number of trainers: a penalty is no"
         " less: got 1 gwei"),
        ({"money__penalty": '"1.1 ether"'}, "[money] penalty is at most 1 ether, the stake: got 1.1 ether"),
        ({"money__penalty": f'"{SIXTH - 1} wei"'}, f"[money] penalty is at least {amount_text(SIXTH)}, reward / 6, the"
         f" least number of trainers: got {amount_text(SIXTH - 1)}"),
        ({"money__penalty": '"0.1 ether"'}, "[money] penalty is at least 0.16"),
        ({"money__bond": '"1.499 ether"', "money__penalty": '"0.2 ether"', "money__stake": '"1 ether"'},
         "[money] bond is at least 1.5 ether, reward + fee and a penalty for each"
         " trainer between least and most: got 1.499 ether"),
        ({"money__token": '"0x1234"'}, '[money] token is an address, 0x and 40 hexadecimal digits: got "0x1234"'),
        ({"project__rounds": "0"}, "[project] rounds is a whole number from 1 to 10000: got 0"),
        ({"project__rounds": "true"}, "[project] rounds is a whole number from 1 to 10000: got true"),
        ({"project__rounds": "3.0"}, "[project] rounds is a whole number from 1 to 10000: got 3.0"),
        ({"project__aggregator": f'"{AGGREGATOR[:-1]}9"'}, "[project] aggregator is an address whose capitals are its"
         " checksum, which is wrong: compare every digit: got"),
        ({"project__aggregator": f'"{NOBODY}"'}, "[project] aggregator is an address of somebody, not zero: got"),
        ({"project__learning_rates": "[1.0, 5e-10]"}, "[project] learning_rates is a number in whole billionths: got"),
        ({"project__learning_rates": "[-1]"}, "[project] learning_rates is from 0 to 18446744073: got [-1]"),
        ({"project__learning_rates": "[nan]"}, "[project] learning_rates is a number in whole billionths: got [NaN]"),
        ({"project__learning_rates": "[1e999]"}, "[project] learning_rates is from 0 to"),
        ({"project__learning_rates": "[1, 1, 1, 1]"}, "[project] learning_rates has at most one rate a round, 3"),
        ({"project__learning_rates": '["1"]'}, "[project] learning_rates is a list of at least one number such as"),
        ({"project__admission": '"closed"'}, '[project] admission is "list" (whom the owner signs for) or "open"'),
        ({"project__name": "1979-05-27"}, "[project] name is text of 1 to 200 characters: got 1979-05-27"),
        ({"model__factory": '"a.b.c"'}, '[model] factory is "package.module:callable" or the name of an .onnx file'),
        ({"training__epochs": '"five"'}, '[training] epochs is a whole number from 1: got "five"'),
        ({"rules__least": "2"}, "[rules] least is a whole number from 3 to 64: got 2"),
        ({"rules__most": "5"}, "[rules] most is at least least, 6: got 5"),
        ({"rules__f": "2"}, "[rules] f is at most 1 for 6 trainers, Multi-Krum needs N > 2f + 2: got 2"),
        ({"rules__f": "{6 = 1, 7 = 2}"}, "[rules] f has one entry for each number of trainers from 6 to 8:"
         " got a table without [8]"),
        ({"rules__f": "{6 = 1, 7 = 2, 8 = 2, 9 = 3}"},
         "[rules] f has one entry for each number of trainers from 6 to 8:"
         " got a table with [9]"),
        ({"rules__m": "6"}, "[rules] m is from 3 to N − f, 5, for 6 trainers: got 6"),
        ({"rules__m": '"all"'}, '[rules] m is "default", a whole number, or one for each number of trainers such as'),
        ({"rules__score": '"banzhaf"'}, '[rules] score is "shapley", "leave-one-out", "cosine-shapley", "novel"'),
        ({"rules__krum": '"no"'}, '[rules] krum is true or false: got "no"'),
        ({"rules__krum": "false", "rules__f": "1"}, "[rules] f is of Multi-Krum, and krum is false: leave it out"),
        ({"rules__krum": "false", "rules__three_sigma": "3"}, "[rules] three_sigma measures from Multi-Krum's"),
        ({"rules__three_sigma": "0"}, "[rules] three_sigma is above 0: got 0"),
        ({"rules__three_sigma": '"on"'}, '[rules] three_sigma is "off", a number such as 0.1, or a fraction as text'),
        ({"rules__three_sigma": "1e9"}, "[rules] three_sigma is from 0 on, a fraction of at most 4096 by at most 1000"),
        ({"rules__cosine": "-0.1"}, "[rules] cosine is from 0 on, a fraction of at most 4096 by at most 1000: got"),
        ({"rules__cosine": '"1/0"'}, '[rules] cosine is "off", a number such as 0.1, or a fraction as text'),
        ({"rules__cosine": "0.0001"}, "[rules] cosine is from 0 on, a fraction of at most 4096 by at most 1000: got"),
        ({"rules__cosine": "1.001"}, "[rules] cosine is from 0 to 1: got"),
        ({"rules__kappa": "4.0005"}, "[rules] kappa is a number in whole thousandths: got 4.0005"),
        ({"rules__kappa": "1.0000000000000000000000000000000001"}, "[rules] kappa is a number in whole thousandths"),
        ({"rules__kappa": "0"}, "[rules] kappa is from 0.001 to 4294967: got 0"),
        ({"rules__beta": '"1329227995784915872903807060280344577"'}, "[rules] beta is at most 2^120: got"),
        ({"rules__beta": "3000", "rules__beta_min": "4000"}, "[rules] beta_min is at most beta, 3000: got 4000"),
        ({"keys__logrows": "21"}, '[keys] logrows is "auto" or a whole number from 10 to 20: got 21'),
        ({"keys__optimize": '"size"'}, '[keys] optimize is "time" or "gas": got "size"'),
        ({"keys__value_bits": "20"}, "[keys] value_bits is a whole number from 2 to 19: got 20"),
        ({"windows__prove": '"6 hours"'}, '[windows] prove is a duration such as "6h", "30m", "1d 12h" or "90s": got'),
        ({"windows__prove": '"0s"'}, '[windows] prove is from 1s to 366d: got "0s"'),
        ({"windows__prove": '"366d 1s"'}, '[windows] prove is from 1s to 366d: got "366d 1s"'),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(f"{k}={v}"[:40] for k, v in value.items()),
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, change: dict[str, str], complaint: str):
    (found,) = refused(tmp_path, **change)
    line, message = re.fullmatch(r"PROJECT\.toml:([0-9]+): (.*)", found).groups()
    assert message.startswith(complaint)
    key = complaint.split()[1]
    assert (tmp_path / "PROJECT.toml").read_text().split("\n")[int(line) - 1].startswith(f"{key} = ")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('[money]\nrewards = "1 ether"', "[money] has no key rewards: did you mean reward?"),
        ("[rules]\nscores = 1", "[rules] has no key scores: did you mean score?"),
        ("[project]\nstake = 1", "[project] has no key stake: it belongs in [money]"),
        ("[keys]\nzzz = 1", "[keys] has no key zzz: it has logrows, optimize, value_bits, scale_bits, srs"),
        ("[moneys]\na = 1", 'there is no section or key "moneys": did you mean money?'),
        (
            "[zzz]\na = 1",
            'there is no section or key "zzz": it has project, model, training, rules, keys, money, windows',
        ),
    ],
)
def test_an_unknown_key_is_told_the_nearest_known_one(tmp_path: Path, wrong: str, right: str):
    head, _, line = wrong.partition("\n")
    text = SMALL.replace(f"{head}\n", f"{wrong}\n") if f"{head}\n" in SMALL else SMALL + wrong + "\n"
    where = text.split("\n").index(line if head[1:-1] in SMALL or "zzz =" in line else head) + 1
    assert f"PROJECT.toml:{where}: {right}" in refused(tmp_path, text)


def test_a_key_above_all_sections_is_told_where_it_belongs(tmp_path: Path):
    assert refused(tmp_path, "rounds = 3\n" + SMALL) == [
        'PROJECT.toml:1: there is no section or key "rounds": it belongs in [project]'
    ]


def test_what_is_missing_is_named_where_it_belongs(tmp_path: Path):
    assert refused(tmp_path, SMALL.replace("rounds = 3\n", "")) == [
        "PROJECT.toml:1: [project] needs a key rounds: a whole number from 1 to 10000"
    ]
    assert refused(tmp_path, SMALL.replace('reward = "1 ether"\n', "").replace("least = 6\n", "")) == [
        "PROJECT.toml:7: [rules] needs a key least: a whole number from 3 to 64",
        'PROJECT.toml:9: [money] needs a key reward: an amount such as "1.5 ether" or "200 gwei"; with a token, a whole'
        " number of its smallest unit",
    ]
    assert refused(tmp_path, SMALL.partition("[money]")[0]) == [
        "PROJECT.toml:1: the section [money] is missing: it has at least reward"
    ]
    assert len(refused(tmp_path, "")) == 4


def test_a_section_that_is_none(tmp_path: Path):
    assert refused(tmp_path, "windows = 5\n" + SMALL) == [
        "PROJECT.toml:1: [windows] is a section with keys of its own: got 5"
    ]
    doubled = SMALL.replace("[money]", "[[money]]")
    assert refused(tmp_path, doubled)[0].startswith(
        "PROJECT.toml:10: [money] is a section with keys of its own: got [{"
    )


def test_all_complaints_come_together_in_the_order_of_lines(tmp_path: Path):
    found = refused(
        tmp_path,
        project__rounds="0",
        rules__scores="1",
        money__reward='"1 eth"',
        windows__exit='"soon"',
        rules__kappa="0",
    )
    numbers = [int(line.split(":")[1]) for line in found]
    assert len(found) == 5 and numbers == sorted(numbers) and len(set(numbers)) == 5
    assert [line.split(":")[2].split(" ")[2] for line in found] == ["rounds", "kappa", "has", "reward", "exit"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[project]\nname = \n", "2: not TOML: Invalid value (column 8)"),
        ("[project]\nrounds = 1\nrounds = 2\n", "3: not TOML: Cannot overwrite a value (column 11)"),
        ("[project]\n\nname = 'x", "3: not TOML:"),
        ("[project\n", "1: not TOML: Expected ']' at the end of a table declaration"),
        ("a = " + "9" * 5000, "1: not TOML: Exceeds the limit"),
        ("\n\na = " + "[" * 100_000, "1: arrays or tables are nested too deeply"),
    ],
    ids=["value", "twice", "string", "section", "digits", "nesting"],
)
def test_a_syntax_error_is_told_with_its_line(tmp_path: Path, text: str, complaint: str):
    found = refused(tmp_path, text)
    assert len(found) == 1 and found[0].startswith(f"PROJECT.toml:{complaint}"), found


def test_files_that_are_none(tmp_path: Path):
    path = tmp_path / "PROJECT.toml"
    with pytest.raises(InputError, match=r"PROJECT\.toml cannot be read: No such file"):
        load_project_file(path)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_project_file(tmp_path)
    path.write_bytes(b"[project]\nname = '\xff'\n")
    with pytest.raises(InputError, match=r"PROJECT\.toml:2: a project file is UTF-8 text"):
        load_project_file(path)
    path.write_bytes(b"#" * (FILE_LIMIT + 1))
    with pytest.raises(InputError, match="a project file has at most 262144"):
        load_project_file(path)


# ---------------------------------------------------------------- lines


def test_lines_of_all_that_toml_allows():
    text = '''\
# a comment with [brackets] and "quotes
[project]   # [model]
name = "a # b ] [x]"
"quoted key" = 1
'single' = [
  1, # ]
  "]",
  {a = "}"}
]
many = """
[money]
reward = "not this one" \\""" still inside
""""
literal = \'\'\'
[rules]
\'\'\'
[ rules . f ]
6 = 1
"7" = 2
[windows]
a.b = 1
last = { x = 1, y = [1, 2] }
end = 1'''
    value = tomllib.loads(text)
    lines = lines_of(text)
    assert "money" not in value and ("money",) not in lines
    assert lines == {
        ("project",): 2,
        ("project", "name"): 3,
        ("project", "quoted key"): 4,
        ("project", "single"): 5,
        ("project", "many"): 10,
        ("project", "literal"): 14,
        ("rules",): 17,
        ("rules", "f"): 17,
        ("rules", "f", "6"): 18,
        ("rules", "f", "7"): 19,
        ("windows",): 20,
        ("windows", "a"): 21,
        ("windows", "a", "b"): 21,
        ("windows", "last"): 22,
        ("windows", "end"): 23,
    }


def test_dotted_and_quoted_keys_have_their_line(tmp_path: Path):
    text = SMALL.replace("[rules]\nleast = 6\nmost = 8\n", "") + "[rules]\n'least' = 6\n\"most\" = 8 # of a round\n"
    text = "windows.prove = '1x'\n" + text + "[keys]\nlogrows = 99 # K\n"
    lines = refused(tmp_path, text)
    assert [line.split(": ")[0] for line in lines] == ["PROJECT.toml:1", "PROJECT.toml:14"]


def test_windows_line_ends(tmp_path: Path):
    (tmp_path / "PROJECT.toml").write_bytes(SMALL.replace("rounds = 3", "rounds = 0").replace("\n", "\r\n").encode())
    found = complaints(tmp_path, lambda: load_project_file(tmp_path / "PROJECT.toml"))
    assert found == ["PROJECT.toml:3: [project] rounds is a whole number from 1 to 10000: got 0"]


# ---------------------------------------------------------------- amounts and durations


@given(st.integers(0, 1 << 130))
def test_an_amount_comes_back(wei: int):
    assert parse_amount(amount_text(wei)) == wei


@given(st.integers(0, 10**30), st.integers(0, 18), st.sampled_from(["wei", "gwei", "ether"]))
def test_an_amount_is_exact_or_refused(digits: int, places: int, unit: str):
    text = f"{digits:0{places + 1}d}"
    text = f"{text[:-places]}.{text[-places:]}" if places else text
    exact = digits * to_wei(1, unit)
    if exact % 10**places:
        with pytest.raises(ValueError, match="whole number of wei"):
            parse_amount(f"{text} {unit}")
    else:
        assert parse_amount(f"{text} {unit}") == parse_amount(f"{text}{unit}") == exact // 10**places


@pytest.mark.parametrize(
    "text",
    ["", "1", "ether", "1 eth", "-1 ether", "1e18 wei", ".5 ether", "5. ether", "1 ether\n", "1  ether", "١ ether"],
)
def test_no_amount(text: str):
    with pytest.raises(ValueError, match="an amount such as"):
        parse_amount(text)


def test_amounts_read_well():
    some = {ETHER: "1 ether", 3 * ETHER // 2: "1.5 ether", 10**15: "0.001 ether", 2 * 10**11: "200 gwei", 5: "5 wei"}
    assert {wei: amount_text(wei) for wei in some} == some
    with pytest.raises(ValueError, match="not negative"):
        amount_text(-1)


@given(st.integers(0, 10**12))
def test_a_duration_comes_back(seconds: int):
    assert parse_duration(duration_text(seconds)) == seconds


@given(st.tuples(*[st.none() | st.integers(0, 10**6)] * 4), st.sampled_from(["", " "]))
def test_a_duration_is_the_sum_of_its_parts(counts: tuple[int | None, ...], between: str):
    sizes = zip(counts, DURATIONS.items(), strict=True)
    parts = [(f"{count}{unit}", count * size) for count, (unit, size) in sizes if count is not None]
    text = between.join(name for name, _ in parts)
    if parts:
        assert parse_duration(text) == sum(seconds for _, seconds in parts)
    else:
        with pytest.raises(ValueError, match="a duration such as"):
            parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", " ", "5", "h", "1h 1d", "1.5h", "-1h", "1h ", " 1h", "1d  2h", "1w", "1h\n", "1H"]
)
def test_no_duration(text: str):
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(text)


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


def manifest_for(project: ProjectFile, n: int, params: int = 2410, **changes: Any) -> Manifest:
    spec = project.specs(layout_of(params))[n]
    columns, bits = Columns(spec.logrows), project.bits
    value = documents.manifest() | {
        "trainers": n,
        "params": params,
        "logrows": spec.logrows,
        "rows": columns.rows,
        "width": columns.width,
        "chunk": columns.values,
        "chunks": columns.chunks(params),
        "value_bound": value_bound(bits),
        "filter": str(spec.filter),
        "beta_max": str(project.beta_max or norm_bound(params, value_bound(bits))),
        "fixed_point": {"scale_bits": bits - 1, "value_bits": bits},
        "score": spec.score,
    }
    return Manifest(value | changes)


def test_an_offer_is_what_the_file_says(tmp_path: Path):
    project = load(tmp_path, windows__prove='"7h"', project__learning_rates="[1, 0.5]", rules__beta="123456")
    offer = project.offer(manifest_for(project, 7), b"\x01" * 32, b"cid", development=False)
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
    assert load(tmp_path).offer(manifest_for(project, 7), bytes(32), b"x").beta == offer.beta_max


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
    project.offer(manifest_for(project, n), bytes(32), b"cid")
    with pytest.raises(InputError, match=re.escape(reason)):
        project.offer(manifest_for(project, n, **changes), bytes(32), b"cid")


def test_an_offer_from_keys_of_another_srs_is_refused(tmp_path: Path):
    assert documents.manifest()["srs"]["kind"] == "development"
    for kind in ("any", "development"):
        project = load(tmp_path, keys__srs=f'"{kind}"')
        project.offer(manifest_for(project, 6), bytes(32), b"cid")
    project = load(tmp_path, keys__srs='"ceremony"')
    with pytest.raises(InputError, match="srs is development, wanted ceremony"):
        project.offer(manifest_for(project, 6), bytes(32), b"cid")


def test_an_hour_is_the_least_except_on_a_development_chain(tmp_path: Path):
    project = load(tmp_path, windows__prove='"59m 59s"')
    line = (tmp_path / "PROJECT.toml").read_text().split("\n").index('prove = "59m 59s"') + 1
    wanted = [f'PROJECT.toml:{line}: [windows] prove is at least 1h except on a development chain: got "59m 59s"']
    project.check(DIGITS, development=True)
    assert complaints(tmp_path, lambda: project.check(DIGITS, development=False)) == wanted
    manifest = manifest_for(project, 6)
    project.offer(manifest, bytes(32), b"cid", development=True)
    assert complaints(tmp_path, lambda: project.offer(manifest, bytes(32), b"cid", development=False)) == wanted
    assert (
        estimate_cost(project, DIGITS)["warnings"][-1] == "phases shorter than 1h, for a development chain only: prove"
    )
    load(tmp_path, windows__prove='"1h"').check(DIGITS, development=False)


# ---------------------------------------------------------------- the plan


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
        "value_bits": 13, "scale_bits": 12, "bound": 4096, "step": 2.0**-12, "largest": 4095 / 4096
    }  # fmt: skip
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
