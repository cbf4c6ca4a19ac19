"""The recording in the documents: a cast that players read, of a run that ended well, on a machine without a name."""

from __future__ import annotations

import json
import re

import pytest

from zkmarket.processes import SOURCE_TREE

pytestmark = pytest.mark.unit

FOLDER = SOURCE_TREE / "docs/recording"


def test_the_cast_is_a_whole_run_in_asciinemas_format() -> None:
    header, *rows = [json.loads(line) for line in (FOLDER / "own-market.cast").read_text().splitlines()]
    assert header["version"] == 2 and header["width"] > 80 and header["height"] > 20
    times = [when for when, kind, _ in rows if kind == "o"]
    assert len(times) == len(rows) and times == sorted(times)
    text = "".join(row[2] for row in rows)
    assert [line for line in text.split("\r\n") if line.startswith("$ ")][::2] == [
        "$ zkmarket new my-market",
        "$ make up",
    ]
    assert "rounds are settled and paid" in text and "accuracy on my_data:held_out" in text
    assert times[-1] < 600


@pytest.mark.parametrize("name", ["own-market.cast", "own-market.svg"])
def test_it_names_no_place_of_a_machine(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"/(home|root|tmp|work|usr|var)/", text)
    assert not re.search(r"https?://(?!1|…|www\.w3\.org)", text)
