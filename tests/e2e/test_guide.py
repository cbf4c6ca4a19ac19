"""The guide's walk-through of the engine does what it says: its Python runs, its command lines are taken."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zkmarket import Build, Decision, make_build
from zkmarket.backend import srs
from zkmarket.build import Spec
from zkmarket.cli import main, make_parser
from zkmarket.learning import layout_of
from zkmarket.processes import SOURCE_TREE
from zkmarket.rules import Filter

pytestmark = pytest.mark.e2e

SECTION = (SOURCE_TREE / "docs/guide.md").read_text().partition("## The engine by itself\n")[2].partition("\n## ")[0]
SMALL = (("range(8)", "range(3)"), (":digits_mlp", ":digits_mlp,hidden=8"))
MODEL = "zkmarket.learning:digits_mlp,hidden=8"


def snippets() -> list[str]:
    """The section's Python, for three trainers and a small model."""
    found = re.findall(r"^```python\n(.*?)^```", SECTION, re.M | re.S)
    for long, short in SMALL:
        assert any(long in text for text in found), long
        found = [text.replace(long, short) for text in found]
    return found


def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    make_updates, prove = snippets()
    monkeypatch.chdir(tmp_path)
    exec(compile(make_updates, "guide.md", "exec"), {})
    layout = layout_of(MODEL)
    made = make_build(Spec(3, layout.size, Filter.default(3), logrows=10, layout=layout), srs.generate(), Path("BUILD"))
    seen: dict[str, Any] = {}
    exec(compile(prove, "guide.md", "exec"), seen)
    assert isinstance(seen["decision"], Decision) and sum(seen["decision"].mask) == 3
    updates = [np.concatenate([part.reshape(-1) for part in np.load(f"update-{i}.npz").values()]) for i in range(3)]
    np.testing.assert_allclose(seen["mean"], np.mean(updates, axis=0), atol=2.0**-made.manifest.fixed_point.scale_bits)
    assert seen["mean"].any()

    words = ["verify", "BUILD", "round.json", "--quiet"]
    assert main(words) == 0, "what Python has written the command line reads"
    said = capsys.readouterr().out
    assert said.count(" yes ") == 3
    assert Build.load("BUILD").manifest == made.manifest


def test_the_command_lines_of_the_guide_are_taken() -> None:
    block = next(text for text in re.split(r"^```.*\n", SECTION, flags=re.M) if "zkmarket prove" in text)
    lines = [line.strip() for line in re.findall(r"zkmarket [^;#\n]+", block)]
    verbs = [line.split()[1] for line in lines]
    assert verbs == ["doctor", "srs", "build", "commit", "prove", "verify", "open"]
    for line in lines:
        assert callable(make_parser().parse_args(shlex.split(line)[1:]).run)


def test_the_range_in_the_guide_is_the_one_that_build_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = f"build --trainers 3 --model {MODEL} --logrows 10 --srs development --quiet -o {tmp_path / 'BUILD'}"
    srs.generate()
    assert main(words.split()) == 0
    printed = re.search(r"values from -1 to 0.999756 in steps of 2\^-12; --scale-bits", capsys.readouterr().out)
    assert printed and "values from −1 to\n0.999756 in steps of 2^-12" in SECTION
