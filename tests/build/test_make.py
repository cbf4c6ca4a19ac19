"""What a build says before its long work begins, and how near that is to what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zkmarket.backend import srs
from zkmarket.build import Spec, make, make_build
from zkmarket.build.spec import keys_gigabytes
from zkmarket.errors import ArtifactError
from zkmarket.processes import SOURCE_TREE
from zkmarket.rules import Filter

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        (50_000_000, ["193 chunks at K = 18", "of 2^18 and 2^", "GB unless they are cached", "a trainer 148.2 s"]),
        (2_410, ["1 chunks at K = 13", "of 2^13 and 2^", "0.5 GB", "a trainer 0.1 s"]),
    ],
)
def test_the_estimate_comes_before_any_key(
    params: int, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def keys_of(*_: object) -> None:
        raise ArtifactError("the long work begins")

    monkeypatch.setattr(make, "keys_of", keys_of)
    spec = Spec(8, params, Filter.parse("multi-krum:f=2,m=5"))
    with pytest.raises(ArtifactError, match="the long work begins"):
        make_build(spec, srs.generate(), tmp_path / "B", said.append)
    (estimate,) = [text for text in said if text.startswith("estimate for two cores: ")]
    assert said[-1] == estimate
    assert [part for part in wanted if part not in estimate] == []


def test_the_memory_is_what_was_measured_and_not_too_little() -> None:
    for name, largest in (("10-100000", 14), ("32-1000000", 16), ("10-25600000", 17)):
        rows = [
            json.loads(line)
            for line in (SOURCE_TREE / f"benchmarks/results/round-{name}.jsonl").read_text().splitlines()
        ]
        (measured,) = [row["peak_rss_mb"] / 1000 for row in rows if row["step"] == "build"]
        assert measured * 0.95 <= keys_gigabytes([1 << largest]) <= measured * 1.4, name
