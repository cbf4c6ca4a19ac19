"""The demo's closing screen and its page: what they say, and what they never let through."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.support.report_samples import earning, hostile, sample
from zkmarket.backend import WARNING
from zkmarket.demo import run_demo
from zkmarket.demo.report import COLUMNS, OPTIONAL, REQUIRED, amount, count, fate, page, percent, summary, write_report
from zkmarket.errors import ArtifactError, InputError

pytestmark = pytest.mark.unit

NASTY = (
    "</text></style><script>alert(1)</script><img src=x onerror=y>\x1b[31m$x_{$ [bold]b[/] \u202e\ud800\n漢 :smile: '\""
)
SHOWN = NASTY.translate(dict.fromkeys(map(ord, "\x1b\u202e\ud800\n"), "\ufffd"))
SECTIONS = {"plots", "trainers", "rounds", "money", "undefeated", "check"}
VOID = {"meta", "link", "br"}
ALLOWED_URLS = re.compile(r"#[\w.-]+|data:.*")


class Page(HTMLParser):
    """Tags, attributes and text of a page whose every element is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def outside(found: Page) -> list[str]:
    """Whatever of a page could reach beyond it, or run."""
    bad = [tag for tag in found.tags if tag in ("script", "iframe", "object", "embed", "form", "base", "img", "image")]
    for tag, name, value in found.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster") and not ALLOWED_URLS.fullmatch(value):
            bad.append(f"{tag} {name}={value}")
        if name.startswith("on"):
            bad.append(f"{tag} {name}")
    for css in found.styles + found.values("style"):
        bad += [url for url in re.findall(r"url\(([^)]*)\)", css) if not ALLOWED_URLS.fullmatch(url)]
        bad += re.findall("@import", css)
    return bad


@pytest.fixture(scope="module")
def usual() -> str:
    return page(sample())


@pytest.fixture(scope="module")
def nasty() -> str:
    return page(hostile(NASTY))


def cells(text: str, start: str) -> list[str]:
    """The one row of the terminal's tables that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return re.split(r"\s{2,}", line)


def lonely(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in REQUIRED}


# ---------------------------------------------------------------- the terminal screen


def test_the_usual_result_fits_on_one_screen():
    lines = summary(sample()).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= COLUMNS
    assert all(line == line.rstrip() for line in lines)


def test_a_row_for_each_trainer():
    text = summary(sample())
    assert cells(text, "trainer-0") == [
        "trainer-0", "honest", "accepted", "accepted", "accepted", "7.000e+13", "0.390673 ETH",
    ]  # fmt: skip
    assert cells(text, "trainer-7 ") == ["trainer-7", "ATTACKER", "rejected", "rejected", "refused", "0", "0"]
    assert "! trainer-7 in round 3: the sealed update does not open with the round's key" in text


def test_accuracy_beside_what_it_is_compared_with():
    text = summary(sample())
    assert cells(text, "test accuracy") == ["test accuracy", "start", "round 1", "round 2", "round 3"]
    assert cells(text, "this market")[1:] == ["9.8%", "74.1%", "88.1%", "91.8%"]
    assert cells(text, "plain average")[1:] == ["9.8%", "52.2%", "46.7%", "39.1%"]
    assert cells(text, "centralised")[1:] == ["9.8%", "80.2%", "90.9%", "94.2%"]


def test_gas_seconds_and_money_side_by_side():
    text = summary(sample())
    assert cells(text, "deploy") == ["deploy", "7,843,507", "build", "61.2", "paid in by the owner", "3.300000 ETH"]
    assert cells(text, "settle ")[:2] == ["settle", "1,662,961"]
    assert "left in the contract            8 wei" in text


def test_many_rounds_are_letters_and_a_choice_of_columns():
    result = sample(rounds=20)
    result["trainers"][0]["rounds"][4]["submitted"] = False
    del result["trainers"][0]["rounds"][7]
    text = summary(result)
    assert cells(text, "trainer-0")[2] == "AAAA-AA·AAAAAAAAAAAA"
    assert cells(text, "trainer-7 ")[2] == "r" * 19 + "n"
    assert "A accepted, r rejected, n refused, - missing; · not there" in text
    assert cells(text, "test accuracy")[2:] == [f"round {n}" for n in (1, 4, 8, 12, 16, 20)]
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_a_hostile_name_moves_no_cursor_and_is_no_markup():
    text = summary(hostile(NASTY))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
    assert "[bold]b[/]" in text and ":smile:" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


@pytest.mark.parametrize(
    ("row", "found"),
    [((0, 0, 0), "missing"), ((1, 0, 0), "refused"), ((1, 1, 0), "rejected"), ((1, 1, 1), "accepted")],
)
def test_fate(row: tuple[int, int, int], found: str):
    assert fate(dict(zip(("submitted", "admitted", "accepted"), map(bool, row), strict=True))) == found


# ---------------------------------------------------------------- the verdict, in both


def both(result: dict[str, Any]) -> tuple[str, str]:
    """The words of the screen and of the page, whose plots, which take half a second, are left out."""
    with mock.patch("zkmarket.demo.report.web._plots", return_value=[]):
        return " ".join(summary(result).split()), Page(page(result)).text


def test_an_attack_that_earned_nothing():
    for text in both(sample()):
        assert "The attackers sent 6 updates: none was accepted, and they were paid nothing." in text
        assert "This attack was not defeated" not in text
        assert (
            "9.8% to 91.8%; a plain average of the same updates ended at 39.1%; centralised training at 94.2%" in text
        )
        assert "Of 3 rounds, 3 settled on chain with a proof, 3 verified again by the auditor." in text


def test_an_attack_that_paid():
    for text in both(earning()):
        assert "Of the attackers' 6 updates 6 were accepted, and they were paid 0.311612 ETH, 10.4% of all pay." in text
        assert "This attack was not defeated." in text


def test_pay_without_acceptance_is_said_too():
    """Where every score is 0 the admitted share equally."""
    result = sample()
    result["trainers"][7]["paid_wei"] = 10**17
    for text in both(result):
        assert "Of the attackers' 6 updates 0 were accepted, and they were paid 0.100000 ETH" in text


def test_attackers_who_sent_nothing():
    result = sample()
    for person in result["trainers"][6:]:
        for row in person["rounds"]:
            row |= {"submitted": False, "admitted": False}
    for text in both(result):
        assert "The attackers submitted nothing and were paid nothing." in text


def test_an_honest_update_that_was_kept_out_is_said():
    result = sample()
    result["trainers"][0]["rounds"][0]["accepted"] = False
    for text in both(result):
        assert "1 update of honest trainers was kept out." in text


def test_warnings():
    for text in both(earning()):
        assert WARNING in text
        assert "round 2: 2 updates accepted, so no aggregate was published and the model stayed as it was" in text
        assert "round 3 was not verified by the auditor" in text
        assert "trainer-5 has not withdrawn 0.351295 ETH of its pay" in text
    result = sample() | {"insecure": False}
    for text in both(result):
        assert WARNING not in text
    result["rounds"][0]["transaction"] = ""
    for text in both(result):
        assert "Of 3 rounds, 2 settled on chain" in text
        assert "round 1 was not settled on chain" in text


def test_what_was_not_defeated():
    for text in both(sample()):
        for sentence in sample()["undefeated"]:
            assert sentence in text
    assert "names no attack that was not defeated. That is no proof" in both(sample() | {"undefeated": []})[1]


# ---------------------------------------------------------------- odd results


@pytest.mark.parametrize(
    "result",
    [
        sample(rounds=0),
        sample(trainers=1, rounds=1, attackers=()),
        sample(trainers=1, rounds=1, attackers=(0,)),
        sample(trainers=0, rounds=0),
        lonely(sample()),
        lonely(sample(rounds=0)),
    ],
    ids=["no rounds", "one honest", "one attacker", "nobody", "required only", "required only, no rounds"],
)
def test_odd_results_are_told(result: dict[str, Any]):
    screen, shown = both(result)
    if not result["rounds"]:
        assert "No round was settled: there is nothing to judge." in screen
        assert "No round was settled" in shown
    assert outside(Page(page(result))) == []


def test_comparisons_that_were_not_made_are_left_out():
    result = sample()
    for row in result["rounds"]:
        row["accuracy_unfiltered"] = float("nan")
        del row["accuracy_centralised"]
    for text in both(result):
        assert "plain average" not in text and "centralised" not in text and "nan" not in text


def test_huge_scores_and_rewards():
    result = sample()
    for row in result["trainers"][0]["rounds"]:
        row["score"] = 2**253
    result["trainers"][0]["paid_wei"] = result["trainers"][0]["pay_withdrawn_wei"] = 2**255
    screen, shown = both(result)
    assert outside(Page(page(result))) == []
    assert "4.342e+76 5.790e+58 ETH" in screen
    assert "4.342e+76" in shown and "5.790e+58 ETH" in shown


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_result_without_its_essentials_is_refused(key: str):
    result = sample()
    del result[key]
    for tell in (summary, page):
        with pytest.raises(InputError, match=f"the demo's result has no {key}"):
            tell(result)


@pytest.mark.parametrize("key", sorted(OPTIONAL))
def test_optional_parts_may_be_missing(key: str):
    result = sample()
    del result[key]
    screen, shown = both(result)
    assert "trainer-0" in screen and "trainer-0" in shown
    found = Page(page(result)) if key in ("gas", "seconds") else None
    assert found is None or found.tags.count("svg") == 3


def test_the_result_is_left_as_it_was():
    result = sample()
    summary(result)
    page(result)
    assert result == sample()


# ---------------------------------------------------------------- the page


def test_the_page_has_its_sections_and_plots(usual: str):
    found = Page(usual)
    assert set(found.values("id")) >= SECTIONS
    assert found.tags.count("svg") == 4
    for heading in ("What was not defeated", "Check it from chain and store", "Trainers, round by round"):
        assert heading in found.texts
    command = "zkmarket auditor verify ROUND --state DIR --rpc URL --store WHERE --project"
    assert f"{command} {sample()['addresses']['project']}" in found.texts
    assert "width=device-width, initial-scale=1" in found.values("content")
    assert "prefers-color-scheme: dark" in "".join(found.styles)


def test_plots_are_told_in_words(usual: str):
    labels = [value for tag, name, value in Page(usual).attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == 4
    assert "this market, filtered: 9.8%, 74.1%, 88.1%, 91.8%" in labels[0]
    assert "trainer-0: 0.3907 ETH" in labels[1] and "trainer-7 (attacker): 0" in labels[1]
    assert "settle: 1,662,961" in labels[2]
    assert "prove: 41.1" in labels[3]


def test_seconds_are_bars_of_steps_and_their_sum_is_none(usual: str):
    found = Page(usual)
    assert "Seconds by step, 142.9 in all" in found.texts
    (label,) = [value for tag, name, value in found.attributes if name == "aria-label" and "Seconds" in value]
    assert "audit: 9.9" in label and "total" not in label and "total" not in found.texts


def test_a_stake_that_comes_back_is_no_pay(usual: str):
    """An attacker that earned nothing has its stake again, or what penalties have left of it."""
    text = Page(usual).text
    assert "score paid pay taken out stake back" in text
    assert re.search(r"trainer-6 attacker .*? 0 0 0 1\.000000 ETH", text)
    assert re.search(r"trainer-7 attacker .*? 0 0 0 0\.875000 ETH of 1\.0000 ETH: 0\.1250 ETH burnt", text)


def test_when_it_was_played_and_with_which_seed():
    for text in both(sample()):
        assert "Played on 2026-11-30 20:26:00 UTC with seed 7." in text
    for text in both(lonely(sample())):
        assert "Played" not in text


def test_commands_that_check_a_market_which_was_kept_running(usual: str):
    commands = ["zkmarket auditor verify 1 --state '/a b'", "zkmarket owner status"]
    text = page(sample() | {"commands": commands})
    assert "kept running: until it is stopped, these lines do so" in Page(text).text
    assert "\n".join(commands) in Page(text).texts and "--keep-running" not in Page(text).text
    assert "zkmarket demo --keep-running" in Page(usual).texts


@pytest.mark.parametrize("where", ["folder", "file/report.html"])
def test_a_report_that_cannot_be_written_is_refused_before_the_market_is_played(where: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    stage = mock.patch("zkmarket.demo.run.Stage", side_effect=AssertionError("played"))
    with stage, mock.patch("zkmarket.demo.run.script"):
        with pytest.raises(InputError, match=f"the report cannot be written to {tmp_path / where}: .*name another"):
            run_demo(report=tmp_path / where)
        with pytest.raises(AssertionError, match="played"):
            run_demo(report=tmp_path / "deep/report.html")
    assert list((tmp_path / "deep").iterdir()) == []


def test_attackers_differ_by_more_than_colour(usual: str):
    found = Page(usual)
    assert found.tags.count("pattern") == 1
    assert "trainer-6 (attacker)" in found.texts and "trainer-7 (attacker)" in found.texts


@pytest.mark.parametrize("which", ["usual", "nasty"])
def test_the_page_needs_nothing_else(which: str, request: pytest.FixtureRequest):
    html = request.getfixturevalue(which)
    found = Page(html)
    assert outside(found) == []
    assert "http://" not in html and "https://" not in html
    assert Counter(found.values("id")).most_common(1)[0][1] == 1
    targets = [f"#{name}" for name in found.values("id")]
    assert {value for value in found.values("href") if value.startswith("#")} <= set(targets)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in " ".join(found.values("content"))


@pytest.mark.parametrize(
    "leak",
    [
        "<script>1</script>",
        '<p style="background: url(//example.org/x)"></p>',
        "<style>@import 'x.css';</style>",
        '<a href="x.html"></a>',
        '<p onclick="x"></p>',
    ],
)
def test_the_check_itself_sees_a_leak(usual: str, leak: str):
    assert len(outside(Page(usual.replace("</main>", f"{leak}</main>")))) == 1


def test_everything_to_check_is_on_the_page(usual: str):
    texts, result = set(Page(usual).texts), sample()
    wanted = [str(result["chain_id"]), *result["cids"].values(), *result["addresses"].pop("verifiers").values()]
    wanted += result["addresses"].values()
    wanted += [trainer["address"] for trainer in result["trainers"]]
    wanted += [row[key] for row in result["rounds"] for key in ("theta", "cid", "transaction")]
    assert len(set(wanted)) == 1 + 1 + 4 + 4 + 8 + 9
    assert set(wanted) <= texts


def test_hostile_strings_stay_text(usual: str, nasty: str):
    """Not one element more than the same strings without malice make."""
    tame, found = Page(page(hostile("tame"))), Page(nasty)
    assert found.tags == tame.tags
    assert [name for _, name, _ in found.attributes] == [name for _, name, _ in tame.attributes]
    assert f"A proven market: {SHOWN}" in found.texts
    places = [text for text, other in zip(found.texts, tame.texts, strict=True) if other == "tame"]
    assert places.count(SHOWN) > 40
    assert {text for text in places if text != SHOWN} == {f"{SHOWN[:21]}…"}  # a plot's labels are cut
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", nasty)


def test_a_rounds_cell(usual: str):
    text = Page(usual).text
    assert "trainer-0 honest ✓ accepted 6.2% · 0.0625 ETH ✓ accepted" in text
    assert "⊘ refused the sealed update does not open with the round's key" in text


def test_the_file_is_whole_and_the_same_each_time(tmp_path: Path, usual: str):
    for _ in range(2):
        write_report(sample(), tmp_path / "deep/report.html")
        assert (tmp_path / "deep/report.html").read_text() == usual
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ArtifactError, match=r"the report needs Jinja2 and matplotlib: pip install 'zkmarket\[demo\]'"):
        write_report(sample(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    assert "trainer-0" in summary(sample())


def test_matplotlib_is_imported_for_plots_alone_and_asks_no_screen():
    code = """
import sys
from tests.support.report_samples import sample
from zkmarket.demo import run_demo
from zkmarket.demo.report import page, summary
summary(sample())
assert not {"matplotlib", "jinja2"} & sys.modules.keys()
page(sample())
assert "matplotlib.backends.backend_agg" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- numbers as text


@pytest.mark.parametrize(
    ("wei", "places", "text"),
    [
        (0, 6, "0"),
        (8, 6, "8 wei"),
        (10**12 - 1, 6, "999,999,999,999 wei"),
        (10**12, 6, "0.000001 ETH"),
        (10**14 - 1, 4, "99,999,999,999,999 wei"),
        (10**14, 4, "0.0001 ETH"),
        (1234567890123456789012, 6, "1,234.567890 ETH"),
        (-(10**18), 6, "-1.000000 ETH"),
        (10**27, 6, "1.000e+9 ETH"),
    ],
)
def test_amount(wei: int, places: int, text: str):
    assert amount(wei, places) == text


def test_count_and_percent():
    assert [count(n) for n in (0, 999_999_999_999, 10**12, -(2**255))] == [
        "0", "999,999,999,999", "1.000e+12", "-5.790e+76",
    ]  # fmt: skip
    assert [percent(x) for x in (0, 0.12345, 1, None, float("nan"))] == ["0.0%", "12.3%", "100.0%", "–", "–"]
