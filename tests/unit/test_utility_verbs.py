"""`--score utility:…`: what its options must be, before anything is proven."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from zkmarket.build import Spec, build, candidate, candidates, choose_logrows
from zkmarket.cli import make_parser
from zkmarket.errors import InputError, RuleError
from zkmarket.rules import Filter
from zkmarket.utility_verbs import Scoring, read_beacon, score_and_salts

pytestmark = pytest.mark.unit

BEACON = "0x" + "ab" * 32
ALL = {"--utility": "compiled", "--theta": "theta.npz", "--validation": "batch.npz", "--beacon": BEACON}


def parsed(verb: str, options: dict[str, str]) -> argparse.Namespace:
    place = ["--updates", "updates", "-o", "round.json"] if verb == "prove" else ["round.json"]
    return make_parser().parse_args([verb, "build", *place, *(word for pair in options.items() for word in pair)])


@pytest.mark.parametrize("verb", ["prove", "verify"])
def test_a_round_without_it_needs_nothing(verb: str) -> None:
    assert Scoring.of(parsed(verb, {}), SimpleNamespace(), Path("round.json"), verb == "prove") is None


@pytest.mark.parametrize("verb", ["prove", "verify"])
@pytest.mark.parametrize("name", ALL)
def test_an_option_without_score_is_not_ignored(verb: str, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} only with --score"):
        Scoring.of(parsed(verb, {name: ALL[name]}), SimpleNamespace(), Path("round.json"), verb == "prove")


@pytest.mark.parametrize("name", ALL)
def test_a_score_needs_them_all(name: str) -> None:
    options = {"--score": "utility:loo"} | {k: v for k, v in ALL.items() if k != name}
    with pytest.raises(InputError, match=f"--score utility:loo needs {name}$"):
        Scoring.of(parsed("prove", options), SimpleNamespace(), Path("round.json"), True)


def test_other_scores_are_the_builds() -> None:
    with pytest.raises(RuleError, match="unknown utility score: got 'shapley'"):
        Scoring.of(parsed("prove", ALL | {"--score": "shapley"}), SimpleNamespace(), Path("round.json"), True)


@pytest.mark.parametrize(
    "text", ["", "0x", "ab" * 31, "ab" * 33, "0x" + "ab" * 31 + "zz", "0x" + " a" * 32, BEACON + "\n"]
)
def test_what_is_no_beacon(text: str) -> None:
    with pytest.raises(InputError, match="32 bytes of hex"):
        read_beacon(text)


def test_a_beacon() -> None:
    assert read_beacon(BEACON) == read_beacon(BEACON[2:]) == b"\xab" * 32


def test_a_build_for_a_utility_only_says_who_is_accepted() -> None:
    assert score_and_salts("shapley", None, 8) == ("shapley", 8)
    assert score_and_salts("novel", 12, 8) == ("novel", 12)
    assert score_and_salts("utility:loo", None, 8) == ("equal", 16)
    assert score_and_salts("utility:permutations:8", None, 8) == ("equal", 8 + 50)
    assert score_and_salts("utility:loo", 40, 8) == ("equal", 40)
    with pytest.raises(RuleError):
        score_and_salts("utility:shapley", None, 8)


@pytest.mark.parametrize("salts", [0, 7, 257])
def test_a_build_has_from_8_to_256_salts(salts: int, tmp_path: Path) -> None:
    spec = Spec(3, 40, Filter.parse("norm"), "equal", salts=salts)
    with pytest.raises(InputError, match=f"a chunk has from 8 to 256 salts: got {salts}"):
        build(spec, SimpleNamespace(), tmp_path / "build")


def test_salts_take_the_place_of_values() -> None:
    assert candidate(10, 3, 1000).chunks == 1 and candidate(10, 3, 1000, salts=24).chunks == 2
    assert [c.chunks for c in candidates(3, 1000, 24)][:2] == [2, 1]
    assert choose_logrows(Spec(3, 1000, Filter.parse("norm"), value_bits=10, salts=24))[1] == candidates(3, 1000, 24)
