"""PROJECT.toml: what it may say, and every complaint with its line."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.project_files import (
    AGGREGATOR,
    DIGITS,
    ETHER,
    ROOT,
    SIXTH,
    SMALL,
    complaints,
    load,
    refused,
)
from zkmarket.chain import NOBODY
from zkmarket.errors import InputError
from zkmarket.market import Windows
from zkmarket.posting import (
    EXAMPLE,
    FILE_LIMIT,
    estimate_cost,
    example,
    lines_of,
    load_project_file,
)
from zkmarket.rules import Filter, MultiKrum
from zkmarket.units import amount_text

pytestmark = pytest.mark.unit


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
    assert EXAMPLE.name in (ROOT / "pyproject.toml").read_text()


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
        ({"rules__score": '"utility:loo"'}, '[rules] score is "shapley", "leave-one-out", "cosine-shapley", "novel"'),
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
        ({"keys__theta_bits": "33"}, '[keys] theta_bits is "auto" or a whole number from 0 to 32: got 33'),
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
        ("[keys]\nzzz = 1", "[keys] has no key zzz: it has logrows, optimize, value_bits, scale_bits, theta_bits, srs"),
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


def test_the_example_of_a_development_chain_waits_for_nobody(tmp_path: Path):
    """As many trainers as are listed, so that a round's time to submit ends with the last; a claim is soon too late."""
    path = tmp_path / "PROJECT.toml"
    path.write_text(example(3))
    project = load_project_file(path)
    assert (project.least, project.most) == (3, 3)
    assert project.windows.claim == 20 and project.windows.submit == 600
    project.check(DIGITS, development=True)
    with pytest.raises(InputError, match="at least 1h"):
        project.check(DIGITS, development=False)
    changed = set(example(3).splitlines()) - set(EXAMPLE.read_text().splitlines())
    assert len(changed) == 9
    path.write_text(example(64))
    load_project_file(path).check(DIGITS, development=True)
    with pytest.raises(InputError, match="from 3 to 64 trainers: got 2"):
        example(2)
