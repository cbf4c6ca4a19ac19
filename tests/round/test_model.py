"""The model in integers: how far a round moves it, what its integers hold, and its files."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.past import MANIFEST, aggregate_of
from zkmarket.crypto import P, from_ints, to_ints
from zkmarket.errors import DomainError, InputError
from zkmarket.files import save_npz
from zkmarket.round import Aggregate, Theta, check_room, is_theta_file, moved
from zkmarket.rules import MOST_THETA_BITS, RATE_UNIT, longest_step, theta_bits_for, weight
from zkmarket.updates import MODEL_LIMIT, model_floats, model_integers

pytestmark = pytest.mark.unit

D, SALTS = MANIFEST.params, (MANIFEST.chunks, MANIFEST.salts, 32)


def model(value: int = 0, bits: int = 9) -> Theta:
    return Theta.first(MANIFEST, np.full(D, value, np.int64), bits)


@given(rate=st.integers(0, 2**64 - 1), accepted=st.integers(1, 64), bits=st.integers(0, MOST_THETA_BITS))
def test_the_weight_is_the_nearest_integer(rate: int, accepted: int, bits: int) -> None:
    exact, w = Fraction(rate * 2**bits, accepted * RATE_UNIT), weight(rate, accepted, bits)
    assert Fraction(-1, 2) < w - exact <= Fraction(1, 2)


@given(
    rates=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    most=st.integers(3, 64),
    beta=st.integers(0, 2**60),
)
def test_the_bits_that_are_chosen_lose_no_rate_and_no_step_is_longer_than_said(
    rates: list[int], most: int, beta: int
) -> None:
    bits = theta_bits_for(rates, most)
    for rate in rates:
        for accepted in (3, most):
            w = weight(rate, accepted, bits)
            exact = Fraction(rate * 2**bits, accepted * RATE_UNIT)
            if rate and bits < MOST_THETA_BITS:
                assert abs(w - exact) / exact <= Fraction(1, 128)
            assert w * accepted * int(beta**0.5 * 0.999) <= longest_step(rate, most, bits, beta)
    slowest = min(filter(None, rates), default=RATE_UNIT)
    assert bits == 0 or slowest << (bits - 1) < 64 * most * RATE_UNIT, "and no more bits than that takes"


def test_the_bits_of_usual_projects() -> None:
    assert theta_bits_for([RATE_UNIT], 8) == 9 and theta_bits_for([RATE_UNIT, 0, RATE_UNIT // 10], 10) == 13
    assert theta_bits_for([0], 8) == 9 and theta_bits_for([1], 8) == 32


def test_a_round_moves_values_and_salts() -> None:
    near = from_ints([P - 1] * (MANIFEST.chunks * MANIFEST.salts)).reshape(SALTS)
    theta = replace(model(5), salts=near)
    after = moved(theta, aggregate_of(3), 7)
    assert np.array_equal(after.values, 5 + 7 * aggregate_of(3).values) and after.bits == 9
    assert set(to_ints(after.salts)) == {20}  # −1 + 7·3, mod p
    assert np.array_equal(after.floats(MANIFEST), after.values / 2.0 ** (9 + MANIFEST.fixed_point.scale_bits))
    still = moved(theta, Aggregate(np.zeros(D, np.int64), near), 2**90)  # w may be beyond int64
    assert np.array_equal(still.values, theta.values) and set(to_ints(still.salts)) == {(-1 - 2**90) % P}


@pytest.mark.parametrize("sign", [1, -1])
def test_theta_outgrows_its_bound(sign: int) -> None:
    """Nothing wraps around: the round is refused before it is started, and a model that is beyond is none."""
    room = MODEL_LIMIT - 1 - 10
    aggregate = Aggregate(np.full(D, sign, np.int64), np.zeros(SALTS, np.uint8))
    assert moved(model(sign * room), aggregate, 10).largest == MODEL_LIMIT - 1
    with pytest.raises(DomainError, match=f"its largest is {room}, and this can add 11"):
        moved(model(sign * room), aggregate, 11)
    check_room(room, 10)
    with pytest.raises(DomainError, match="the model would outgrow its integers"):
        check_room(room, 11)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": np.zeros(D, np.int32)}, "has 40 of int64"),
        ({"values": np.zeros(D + 1, np.int64)}, "has 40 of int64"),
        ({"values": np.full(D, MODEL_LIMIT, np.int64)}, "below 2^62"),
        ({"values": np.full(D, -(2**63), np.int64)}, "below 2^62"),
        ({"salts": np.full(SALTS, 255, np.uint8)}, "not a field element"),
        ({"salts": np.zeros((1, 1, 32), np.uint8)}, "salts are uint8"),
        ({"bits": 33}, "from 0 to 32 theta_bits: got 33"),
    ],
)
def test_what_is_no_model(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    wrong = replace(model(1), **changes)
    with pytest.raises(InputError, match=reason.replace("^", r"\^")):
        wrong.check(MANIFEST)
    wrong.save(tmp_path / "theta.npz")
    with pytest.raises(InputError):
        Theta.load(tmp_path / "theta.npz", MANIFEST)


def test_a_file_of_a_model_comes_back_and_others_are_told_apart(tmp_path: Path) -> None:
    path, other = tmp_path / "theta.npz", tmp_path / "model.npz"
    theta = moved(model(-3), aggregate_of(2), 171)
    theta.save(path)
    got = Theta.load(path, MANIFEST)
    assert np.array_equal(got.values, theta.values) and np.array_equal(got.salts, theta.salts) and got.bits == 9
    save_npz(other, {"weight": np.zeros(D, np.float32)})
    np.save(tmp_path / "model.npy", np.zeros(D))
    assert is_theta_file(path) and not is_theta_file(other) and not is_theta_file(tmp_path / "model.npy")
    save_npz(other, {"values": theta.values, "salts": theta.salts, "bits": np.array([9], np.int64)})
    with pytest.raises(InputError, match="bits"):
        Theta.load(other, MANIFEST)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.integers(0, 40))
def test_parameters_become_the_nearest_integers(parameters: list[float], bits: int) -> None:
    values = model_integers(np.array(parameters), bits)
    assert values.dtype == np.int64
    for x, value in zip(parameters, values.tolist(), strict=True):
        assert abs(Fraction(x) * 2**bits - value) <= Fraction(1, 2)
    assert np.abs(model_floats(values, bits) - parameters).max() <= 2.0 ** (-bits - 1)


@pytest.mark.parametrize("wrong", [[np.nan], [np.inf], [2.0**62], [1e308]], ids=str)
def test_parameters_that_do_not_fit(wrong: list[float]) -> None:
    with pytest.raises(InputError):
        model_integers(np.array(wrong), 10)
    assert model_integers(np.array([2.0**51]), 10)[0] == 2**61
