"""Com(Σ a_j v_j) = Σ a_j Com(v_j) − (Σ a_j − 1)·B, on a small KZG commitment made here from the SRS alone."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiers import examples
from zkmarket.backend import DEVELOPMENT_TAU, lagrange_points
from zkmarket.crypto import P, Point, multiply_add
from zkmarket.round import combine

pytestmark = pytest.mark.unit

LOGROWS, UNUSABLE = 6, 6
USED = 4  # rows that hold something besides zeros, so that a commitment is quick


@functools.cache
def lagrange() -> list[Point]:
    """L_i(τ)·G of the development SRS, by the powers alone."""
    scalars = [pow(DEVELOPMENT_TAU, i, P) for i in range(1 << LOGROWS)]
    return lagrange_points([multiply_add([(1, 2)], [s]) for s in scalars])


def commit(values: list[int]) -> Point:
    """A column: the values, zeros, and 1 in the unusable rows."""
    rows = values + [0] * ((1 << LOGROWS) - UNUSABLE - len(values)) + [1] * UNUSABLE
    return multiply_add(lagrange(), rows)


VECTORS = st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=USED, max_size=USED), min_size=1, max_size=4)


@examples(15)
@given(VECTORS, st.data())
def test_a_combination_of_commitments_is_the_commitment_of_the_combination(vectors, data: st.DataObject):
    """With field elements as coefficients, as in the fold, and with a 0/1 mask, as in the aggregate."""
    coefficient = st.one_of(st.sampled_from([0, 1, P - 1]), st.integers(0, P - 1))
    coefficients = data.draw(st.lists(coefficient, min_size=len(vectors), max_size=len(vectors)))
    blinding = commit([])
    expected = [sum(a * v[t] for a, v in zip(coefficients, vectors, strict=True)) for t in range(USED)]
    points = [commit(v) for v in vectors]
    assert combine(points, coefficients, blinding) == commit(expected)
    if sum(coefficients) % P != 1:
        assert multiply_add(points, coefficients) != commit(expected)  # B is needed


def test_another_vector_has_another_commitment():
    assert commit([1, 2, 3]) != commit([1, 2, 4])
    assert commit([1, 2, 3]) == commit([1, 2, 3, 0])
