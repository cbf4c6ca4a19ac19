"""BN254 against py_ecc, an independent implementation; and the one encoding of a point and of a scalar."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ecc import bn128, optimized_bn128

from tests.support.tiers import examples
from zkmarket.crypto import (
    GENERATOR,
    INFINITY,
    P,
    Point,
    Q,
    add,
    add_affine,
    bn254,
    decode_point,
    dot,
    double,
    encode_point,
    from_ints,
    is_on_curve,
    multiply_add,
    random_scalars,
    scalar_hex,
    small_hex,
    to_affine,
    to_hex,
    to_ints,
)
from zkmarket.errors import InputError, ProofRejected

pytestmark = pytest.mark.unit

EDGES = [0, 1, 2, P - 1, P // 2, 1 << 128, (1 << 128) - 1, 1 << 253]


def oracle(scalar: int) -> Point:
    """scalar·G by py_ecc."""
    point = optimized_bn128.multiply(optimized_bn128.G1, scalar)
    if optimized_bn128.is_inf(point):
        return INFINITY
    x, y = optimized_bn128.normalize(point)
    return int(x), int(y)


def negated(point: Point) -> Point:
    return point[0], -point[1] % Q


# ---------------------------------------------------------------- the curve


def test_the_constants_are_those_of_bn254():
    assert (bn128.curve_order, bn128.field_modulus) == (P, Q)
    assert tuple(map(int, bn128.G1)) == GENERATOR


@pytest.mark.parametrize("scalar", EDGES)
def test_a_scalar_product_is_that_of_py_ecc(scalar: int):
    assert multiply_add([GENERATOR], [scalar]) == oracle(scalar)


@pytest.mark.parametrize("count", [2, 9, 100])
def test_a_combination_is_that_of_py_ecc(count: int):
    """The window of the bucket method grows with the count: 2, 2 and 5 bits here."""
    rng = random.Random(count)
    logarithms = [rng.randrange(1, P) for _ in range(count)]
    scalars = [rng.choice([rng.randrange(P), rng.choice(EDGES), -rng.randrange(P)]) for _ in range(count)]
    points = [oracle(k) for k in logarithms]
    expected = oracle(sum(k * s for k, s in zip(logarithms, scalars, strict=True)) % P)
    assert multiply_add(points, scalars) == expected
    assert multiply_add(points[1:], scalars[1:]) != expected


def test_exceptional_additions():
    """Equal points, opposite points, infinity, and nothing at all: where addition formulas break."""
    a, b = oracle(5), oracle(7)
    assert multiply_add([a, a], [1, 1]) == oracle(10)
    assert multiply_add([a, negated(a)], [1, 1]) == INFINITY
    assert multiply_add([a, b], [7, P - 5]) == INFINITY
    assert multiply_add([a, INFINITY, b], [1, 9, 1]) == oracle(12)
    assert multiply_add([a, a, b], [3, -3, 1]) == b
    assert multiply_add([a], [P]) == multiply_add([], []) == INFINITY


def test_scalars_are_reduced_mod_the_group_order():
    point = oracle(3)
    assert multiply_add([point], [P + 2]) == multiply_add([point], [2]) == oracle(6)
    assert multiply_add([point], [-2]) == negated(oracle(6))


def test_as_many_scalars_as_points():
    with pytest.raises(InputError, match="as many scalars as points: got 1 and 2"):
        multiply_add([GENERATOR, GENERATOR], [1])


def test_on_the_curve_or_not():
    x, y = oracle(123456789)
    assert is_on_curve((x, y)) and is_on_curve(negated((x, y))) and is_on_curve(INFINITY)
    for wrong in ((x, y + 1), (x + 1, y), (y, x), (0, 1), (1, 0)):
        assert not is_on_curve(wrong)
        assert not bn128.is_on_curve(tuple(map(bn128.FQ, wrong)), bn128.b)


def test_jacobian_additions_agree_with_py_ecc():
    """The double, mixed and general additions that srs.py uses, with denominators other than 1."""
    for a, b in ((2, 3), (4, 4), (5, P - 5), (1, P - 1), (P - 1, P - 1)):
        p, q = oracle(a), oracle(b)
        doubled = double((*p, 1))  # 2a, and a Z that is not 1
        assert to_affine([doubled, add_affine(doubled, q)]) == [oracle(2 * a % P), oracle((2 * a + b) % P)]
        general = add(doubled, double((*q, 1)))
        assert to_affine([general, (1, 1, 0), doubled]) == [oracle(2 * (a + b) % P), INFINITY, oracle(2 * a % P)]


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize("scalar", [1, 2, 3, P - 1, 2**200 + 7])
def test_a_point_has_one_encoding(scalar: int):
    point = oracle(scalar)
    data = encode_point(point)
    assert data == b"".join(c.to_bytes(32, "big") for c in point)
    assert decode_point(data) == point


def test_what_is_no_finite_point_is_refused():
    x, y = oracle(9)
    for data, reason in (
        (encode_point((x, (y + 1) % Q)), r"not on BN254 G1"),
        (encode_point(INFINITY), "or is the point at infinity"),
        (encode_point((x + Q, y)), "coordinate is not reduced: wanted x, y < q"),
        (encode_point((x, y + Q)), "coordinate is not reduced: wanted x, y < q"),
        (encode_point((Q, Q)), "coordinate is not reduced"),
        (encode_point((x, y))[:-1], "a point is 64 bytes: got 63"),
        (encode_point((x, y)) + b"\0", "a point is 64 bytes: got 65"),
        (b"", "a point is 64 bytes: got 0"),
    ):
        with pytest.raises(ProofRejected, match=reason):
            decode_point(data)
    assert decode_point(encode_point((x, y))) == (x, y)


# ---------------------------------------------------------------- scalars


def test_random_scalars_are_canonical_distinct_and_spread():
    scalars = random_scalars(5000)
    assert (scalars.shape, scalars.dtype) == ((5000, 32), np.uint8)
    values = to_ints(scalars)
    assert max(values) < P
    assert len(set(values)) == 5000
    # 254 bits reach past p in 1 draw of 4: without the rejection some would be above; with it the mean is p/2
    assert 0.45 < sum(values) / 5000 / P < 0.55
    assert max(values) > P * 99 // 100
    assert random_scalars(0).shape == (0, 32)


def test_rejection_is_by_the_whole_number(monkeypatch: pytest.MonkeyPatch):
    """p − 1 and p differ in the lowest byte only: the first is kept, the second and all above are not."""
    monkeypatch.setattr(bn254.secrets, "token_bytes", lambda size: next(source)[:size].ljust(size, b"\xff"))
    draws = [P, P - 1, P + 1, 2**254 - 1, P - 2**192, P + 2**64, 0, P - 2**64]
    source = iter([encoded(draws)])
    assert to_ints(random_scalars(4)) == [P - 1, P - 2**192, 0, P - 2**64]
    source = iter([encoded([P] * 99), encoded([7])])  # nothing good in the first draw: there is a second
    assert to_ints(random_scalars(1)) == [7]


def encoded(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(32, "little") for v in values)


@examples(100)
@given(st.lists(st.integers(-(2**300), 2**300), max_size=8))
def test_conversions_agree_with_plain_integers(values: list[int]):
    vector = from_ints(values)
    reduced = [v % P for v in values]
    assert (vector.shape, vector.dtype) == ((len(values), 32), np.uint8)
    assert to_ints(vector) == reduced
    assert to_hex(vector) == [scalar_hex(v) for v in values]
    assert [int.from_bytes(bytes.fromhex(text), "little") for text in to_hex(vector)] == reduced


@examples(100)
@given(st.lists(st.sampled_from([-(2**25), -1, 0, 1, 2**25 - 1, 77]), max_size=20))
def test_small_integers_have_the_same_text_as_any_others(values: list[int]):
    assert small_hex(np.array(values, np.int32)) == [scalar_hex(v) for v in values]


@examples(100)
@given(st.lists(st.tuples(st.sampled_from(EDGES), st.integers(0, P - 1)), max_size=12))
def test_dot_is_the_inner_product_mod_p(pairs: list[tuple[int, int]]):
    expected = 0
    for a, b in pairs:
        expected = (expected + a * b) % P
    assert dot([a for a, _ in pairs], [b for _, b in pairs]) == expected
