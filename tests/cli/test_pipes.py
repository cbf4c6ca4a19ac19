"""Output that nobody reads to its end, as of `zkmarket … | head`: no traceback, and the exit code of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def run(place: Path, words: tuple[str, ...], closed: tuple[str, ...]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; the streams in `closed` are pipes whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer if name in closed else subprocess.PIPE for name in ("stdout", "stderr")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "zkmarket", *words],
            cwd=place,
            env=os.environ | {"PYTHONUNBUFFERED": ""},  # else argparse itself meets the closed pipe, and ends with 0
            text=True,
            timeout=240,  # as long as other commands have, on a busy machine
            **streams,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stdout or "", done.stderr or ""


@pytest.mark.parametrize("words", [("--help",), ("owner", "example"), ("owner", "example", "--json")], ids=" ".join)
def test_nobody_reads_the_answer(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, words, ("stdout",)) == (141, "", "")


def test_nobody_reads_of_an_error(tmp_path: Path) -> None:
    """It is said on the stream that is read."""
    words = ("verify", "nowhere", "round.json", "--json")
    code, out, _ = run(tmp_path, words, ("stderr",))
    assert code == 141 and '"exit_code": 3' in out
    code, _, err = run(tmp_path, words, ("stdout",))
    assert code == 141 and "nowhere is not a build" in err and "Traceback" not in err
