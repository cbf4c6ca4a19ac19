"""Fixed point: rounding, range, saturation, the clip to β, and what is refused."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.tiers import examples
from zkmarket.errors import InputError
from zkmarket.updates import FixedPoint, dequantise, squared_norm
from zkmarket.updates.quantise import quantise

pytestmark = pytest.mark.unit

UNITS = FixedPoint(scale_bits=0, value_bits=8)  # whole numbers from −128 to 127
EIGHTHS = FixedPoint(scale_bits=3, value_bits=8)  # −16 to 15.875


def integers_of(values: list[float], fixed_point: FixedPoint = UNITS, **options) -> list[int]:
    return quantise(np.array(values, np.float64), fixed_point, **options).values.tolist()


# ---------------------------------------------------------------- rounding and range


def test_a_half_is_rounded_to_the_even_neighbour():
    halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5]
    assert integers_of(halves) == [-2, -2, 0, 0, 2, 2, 126]
    assert integers_of([x / 8 for x in halves], EIGHTHS) == [-2, -2, 0, 0, 2, 2, 126]


@examples(200)
@given(st.lists(st.floats(-15, 15, width=32), min_size=1, max_size=20))
def test_rounding_is_that_of_exact_fractions(values: list[float]):
    """Python rounds a Fraction half to even, exactly."""
    assert integers_of(values, EIGHTHS) == [round(Fraction(x) * 8) for x in values]


def test_both_edges_of_the_range_are_inside_it():
    assert (UNITS.low, UNITS.high) == (-128, 127)
    assert integers_of([-128, 127]) == [-128, 127]
    assert integers_of([-128.5, 127.25]) == [-128, 127]  # −128.5 rounds to the even −128


@pytest.mark.parametrize("beyond", [127.5, 128, -128.75, -129, 1e9])
def test_one_step_past_an_edge_is_refused_or_counted(beyond: float):
    wanted = r"1 of 3 values do not fit 8 bits: .*, wanted values from -128 to 127 in steps of 2\^-0; .* or cut"
    with pytest.raises(InputError, match=wanted) as caught:
        quantise(np.array([1.0, beyond, 2.0]), UNITS)
    advised = re.findall(r"build with --scale-bits (\S+), which holds them", str(caught.value))
    quantise(np.array([1.0, beyond, 2.0]), FixedPoint(int(advised[0]), 8))
    assert "--saturate" in str(caught.value)
    counted = quantise(np.array([1.0, beyond, 2.0]), UNITS, saturate=True)
    assert counted.values.tolist() == [1, 127 if beyond > 0 else -128, 2]
    assert counted.saturated == 1
    assert counted.max_error == abs(counted.values[1] - beyond)


@pytest.mark.parametrize(("scale", "value"), [(-33, 8), (65, 8), (0, 1), (0, 27)])
def test_a_fixed_point_beyond_its_limits_is_refused(scale: int, value: int):
    with pytest.raises(InputError, match=f"2 <= value bits <= 26 and -32 <= scale bits <= 64: got {value} and {scale}"):
        FixedPoint(scale, value)


@pytest.mark.parametrize(("scale", "value"), [(-32, 2), (64, 26)])
def test_a_fixed_point_at_its_limits_is_taken(scale: int, value: int):
    fixed_point = FixedPoint(scale, value)
    edges = dequantise(np.array([fixed_point.low, fixed_point.high]), fixed_point)
    assert quantise(edges, fixed_point).values.tolist() == [fixed_point.low, fixed_point.high]


# ---------------------------------------------------------------- what is taken, what is refused


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint16"])
def test_real_dtypes_are_taken(dtype: str):
    assert quantise(np.array([0, 1, 100], dtype), UNITS).values.tolist() == [0, 1, 100]


@pytest.mark.parametrize(
    "array", [np.array([1, None]), np.array([1 + 0j]), np.array(["1"]), np.array([True]), np.array([b"1"])]
)
def test_other_dtypes_are_refused(array: np.ndarray):
    with pytest.raises(InputError, match="an update holds real numbers: got dtype"):
        quantise(array, UNITS)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_even_where_saturation_is_not(bad: float):
    with pytest.raises(InputError, match="1 of 2 values are NaN or infinite"):
        quantise(np.array([bad, 1.0]), UNITS, beta=100, saturate=True)


@pytest.mark.parametrize("shape", [(), (0,), (2, 2), (1, 4), (0, 3)])
def test_only_a_flat_vector_is_an_update(shape: tuple[int, ...]):
    with pytest.raises(InputError, match="one flat vector of at least one value: got shape"):
        quantise(np.ones(shape), UNITS)


def test_one_parameter_is_an_update():
    assert integers_of([3.2]) == [3]


@pytest.mark.parametrize(("value", "scale"), [(2.0**960, 64), (1e300, 64)])
def test_a_scale_that_leaves_float64_is_refused(value: float, scale: int):
    with pytest.raises(InputError, match="too large for its scale: build with a lower --scale-bits"):
        quantise(np.array([value]), FixedPoint(scale, 8))
    with pytest.raises(InputError, match="do not fit 8 bits"):
        quantise(np.array([value / 2.0**scale]), FixedPoint(scale, 8))


# ---------------------------------------------------------------- the clip to β


@examples(400)
@given(st.lists(st.floats(-100, 100) | st.floats(-1e6, 1e6), min_size=1, max_size=50), st.integers(0, 10**6))
def test_the_squared_norm_is_never_above_beta(values: list[float], beta: int):
    assert squared_norm(quantise(np.array(values), UNITS, beta=beta, saturate=True).values) <= beta


@examples(200)
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=50), st.integers(0, 1000))
def test_what_meets_the_bound_is_left_alone(values: list[int], spare: int):
    made = quantise(np.array(values), UNITS, beta=sum(v * v for v in values) + spare)
    assert (made.values.tolist(), made.clipped) == (values, 1.0)


@examples(200)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.integers(900, 10**5))
def test_a_clipped_update_is_not_needlessly_short(values: list[float], beta: int):
    """Rounding takes at most √D/2 from the norm and the room left for it as much again; 1 for ⌊√β⌋."""
    assume(sum(round(x) ** 2 for x in values) > beta)
    made = quantise(np.array(values), UNITS, beta=beta)
    shortest = math.sqrt(beta) - math.sqrt(len(values)) - 1
    assert made.clipped < 1.0
    assert shortest <= math.sqrt(squared_norm(made.values))


def test_rounding_up_past_the_bound_is_cut_towards_zero():
    """A hundred times 0.51 has squared norm 26, within β = 36, but rounds to a hundred ones; √D leaves no room."""
    assert integers_of([0.51] * 100, beta=36) == [0] * 100
    assert integers_of([0.51] * 100, beta=100) == [1] * 100


def test_a_bound_of_zero_leaves_nothing_and_a_negative_one_is_refused():
    assert integers_of([5.0, -7.0], beta=0) == [0, 0]
    with pytest.raises(InputError, match="the norm bound is not negative: got -1"):
        quantise(np.ones(2), UNITS, beta=-1)


def test_clipping_comes_before_saturation():
    """1000 does not fit 8 bits, but what is left of it under β does."""
    assert integers_of([1000.0, 0.0], beta=100**2) in ([99, 0], [100, 0])
    with pytest.raises(InputError, match="do not fit 8 bits"):
        quantise(np.array([1000.0, 0.0]), UNITS, beta=1000**2)


@pytest.mark.parametrize("value", [128.0, 1e5, 1e20, 1e150, 1e200, 1e308])
def test_however_long_an_update_is_it_is_clipped_to_the_bound(value: float):
    """Squares beyond int64 and float64 too."""
    assert integers_of([value], beta=100) in ([9], [10])
    assert integers_of([value, value], beta=100) in ([6, 6], [7, 7])


@pytest.mark.parametrize("value", [1e20, 1e200])
def test_a_bound_beyond_int64_saturates_as_any_other(value: float):
    assert integers_of([value, 1.0], beta=10**500, saturate=True) == [127, 1]


def test_a_norm_that_leaves_float64_is_refused():
    with pytest.raises(InputError, match="norm is too large to clip: build with a lower --scale-bits"):
        quantise(np.full(4, 1.5e308), UNITS, beta=100)


@pytest.mark.parametrize("saturate", [False, True])
def test_squares_that_wrap_in_int64_are_clipped_too(saturate: bool):
    made = quantise(np.full(8, 2.0**30), UNITS, beta=100, saturate=saturate)
    assert made.values.tolist() == [3] * 8


# ---------------------------------------------------------------- the report, and back


def test_the_report_says_what_was_lost():
    update = np.array([0.3, -0.05, 20.0, 0.0])
    made = quantise(update, EIGHTHS, saturate=True)
    error = made.values / 8 - update
    assert made.report() == {
        "params": 4,
        "clipped": 1.0,
        "saturated": 1,
        "max_error": np.abs(error).max(),
        "relative_l2_error": pytest.approx(np.sqrt((error**2).sum() / (update**2).sum())),
    }


def test_a_clipped_update_reports_the_error_against_what_was_given():
    made = quantise(np.array([60.0, 80.0]), UNITS, beta=50**2)
    assert made.clipped == pytest.approx(0.5, abs=0.02)
    assert made.relative_error == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("value", [1e-200, 1e200])
def test_an_update_that_is_lost_is_reported_as_lost(value: float):
    """Its squared norm is beyond float64, in either direction."""
    assert quantise(np.array([value, 0.0]), UNITS, saturate=True).relative_error == 1.0


def test_a_zero_update_has_no_error():
    assert quantise(np.zeros(3), UNITS, beta=0).report()["relative_l2_error"] == 0.0


@examples(100)
@given(st.integers(-32, 64), st.integers(2, 26), st.data())
def test_integers_come_back_bit_for_bit(scale: int, bits: int, data: st.DataObject):
    fixed_point = FixedPoint(scale, bits)
    values = data.draw(st.lists(st.integers(fixed_point.low, fixed_point.high), min_size=1, max_size=10))
    floats = dequantise(np.array(values), fixed_point)
    assert [Fraction(x) for x in floats] == [Fraction(v) / Fraction(2) ** scale for v in values]
    made = quantise(floats, fixed_point)
    assert (made.values.tolist(), made.max_error) == (values, 0.0)


def test_squared_norm_is_exact_beyond_float64():
    """2^20 values of 2^25: 2^70 and a bit, which neither int64 nor float64 holds."""
    values = np.full(1 << 20, 1 << 25, np.int32)
    values[0] = (1 << 25) - 1
    assert squared_norm(values) == (2**20 - 1) * 2**50 + (2**25 - 1) ** 2
