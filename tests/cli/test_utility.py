"""`--score utility:…`: what its options must be, before anything is proven."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from zkmarket.backend import Srs
from zkmarket.build import Columns, Spec, choose_logrows, make_build
from zkmarket.cli import Scoring, make_parser, read_beacon, score_and_salts
from zkmarket.errors import DomainError, InputError, RuleError
from zkmarket.rules import Filter

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


@pytest.mark.parametrize(("logrows", "salts"), [(10, 0), (10, 7), (10, 33), (13, 129)])
def test_salts_fill_at_most_a_row_of_a_column(logrows: int, salts: int, tmp_path: Path) -> None:
    spec = Spec(3, 40, Filter.parse("norm"), "equal", logrows=logrows, salts=salts)
    most = Columns(logrows).width
    with pytest.raises(InputError, match=f"a chunk has from 8 to {most} salts at K = {logrows}: got {salts}"):
        make_build(spec, Srs("development", "00", tmp_path), tmp_path / "build")


def test_auto_takes_columns_with_room_for_the_salts() -> None:
    for salts, logrows in ((8, 13), (128, 13), (129, 15), (300, 17)):
        assert choose_logrows(Spec(3, 40, Filter.parse("norm"), salts=salts))[0] == logrows
    with pytest.raises(DomainError, match="no logrows up to 20 suits 40 parameters"):
        choose_logrows(Spec(3, 40, Filter.parse("norm"), salts=1025))
