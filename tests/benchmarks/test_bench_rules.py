"""The comparison of rules under attack: its options, its smallest run, and how seeds are put together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_rules
from benchmarks.bench_rules import Rule, Town, candidates, play, rules, table
from zkmarket.learning import Lesson
from zkmarket.rules import Filter

pytestmark = pytest.mark.e2e


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["bench_rules", *map(str, arguments)])
    bench_rules.main()
    return capsys.readouterr().out


def test_the_smallest_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    given = ("--trainers", 5, "--rounds", 1, "--attack", "nobody", "--attack", "sign-flip", "--json")
    given += ("--filter", "norm", "--filter", "multi-krum:f=1,m=4", "--split", "iid", "dirichlet", "--seed", 0, 1)
    out = run(monkeypatch, capsys, *given)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 2 * 2 * 2 * 2
    assert {(row["split"], row["seed"]) for row in rows} == {(s, seed) for s in ("iid", "dirichlet") for seed in (0, 1)}
    for row in rows:  # one of five is rejected by Multi-Krum whoever it is, and nobody by the first norm bound
        rejected = row["rejected_attackers"] + row["rejected_honest"]
        assert rejected == (row["filter"] != "norm"), row
    (tmp_path / "rows.jsonl").write_text(out)
    shown = run(monkeypatch, capsys, "--table", tmp_path / "rows.jsonl")
    assert shown.count("| filter | nobody | sign-flip |") == 2
    assert "N = 5, iid" in shown and "N = 5, dirichlet" in shown


def test_attackers_that_no_filter_bears_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, capsys, "--trainers", 3, "--rounds", 1, "--attack", "sign-flip", "--json") == ""


def test_what_is_sent_depends_on_the_lesson_alone():
    """Not on the rules that were played before: all rules meet the same attackers."""
    lesson = Lesson(2, np.zeros(2410), None)
    for attack in ("noise", "free-ride"):
        town, other = (Town(5, attack, 0) for _ in range(2))
        play(town, Rule(Filter(), "shapley"), 1)
        sent = town.learners[4](lesson)
        np.testing.assert_array_equal(sent, other.learners[4](lesson))
        assert (sent != town.learners[4](Lesson(3, np.zeros(2410), None))).any()


def test_splits_differ():
    one, other = (Town(5, None, 0, split) for split in ("iid", "dirichlet"))
    assert {len(one.data(i)) for i in range(6)} <= {224, 225}
    assert len({len(other.data(i)) for i in range(6)}) > 3


@pytest.mark.parametrize("n", [3, 4, 5, 8, 16])
def test_the_default_is_a_candidate_and_every_candidate_is_defined(n: int):
    for made in (candidates(n), rules(n)):
        assert Rule(Filter.default(n), "shapley") in made and Rule(Filter.krum(n), "shapley") in made
        assert len(set(made)) == len(made)
        for rule in made:
            if rule.filter is not None:
                rule.filter.check(n)


def test_seeds_are_means_and_sums():
    row = {"trainers": 8, "split": "iid", "filter": "norm", "score": "shapley", "attack": "noise", "attackers": 2}
    numbers = ("accuracy", "rejected_attackers", "rejected_honest", "paid_attackers")
    rows = [row | dict(zip(numbers, of, strict=True)) for of in ((0.9, 10, 1, 0.0), (0.8, 9, 0, 0.05))]
    assert table(rows).splitlines()[-1] == "| norm | 85.0% · 19+1 · 2.5% |"
