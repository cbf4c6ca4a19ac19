"""A convolutional network with batch normalisation trains in a market's integers as it does in floats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bench_batchnorm import LOGROWS, MODEL, Market, plain, play
from zkmarket.backend import srs
from zkmarket.build import Spec, make_build
from zkmarket.learning import initial_parameters, load_model, trained_parameters
from zkmarket.rules import Filter

pytestmark = pytest.mark.e2e

TRAINERS, ROUNDS = 4, 4


def test_within_a_point_of_fedavg_in_floats(tmp_path: Path) -> None:
    """Where there is something left to learn: at 60 to 95 % accuracy. Steps of an eighth are too coarse for that."""
    layout, _ = initial_parameters(MODEL)
    assert not [name for name in layout.names if "running" in name or "tracked" in name]
    spec = Spec(TRAINERS, layout.size, Filter.default(TRAINERS), logrows=LOGROWS, layout=layout)
    floats = play(plain, TRAINERS, ROUNDS, seed=0)
    market = Market(make_build(spec, srs.generate(), tmp_path / "build"), tmp_path, prove=False)
    integers = play(market, TRAINERS, ROUNDS, seed=0)
    assert 0.6 < floats[-1] < 0.95
    assert [round(abs(a - b), 4) for a, b in zip(floats, integers, strict=True) if abs(a - b) > 0.01] == []
    assert min(market.accepted) >= 3
    coarse = make_build(replace(spec, scale_bits=3), srs.generate(), tmp_path / "coarse")
    assert abs(play(Market(coarse, tmp_path / "c", prove=False), TRAINERS, ROUNDS, seed=0)[-1] - floats[-1]) > 0.1


def test_its_statistics_are_no_part_of_what_is_trained() -> None:
    model = load_model(MODEL)
    assert len(model.state_dict()) - len(trained_parameters(model)) == 6, "mean, variance and counter of two layers"
