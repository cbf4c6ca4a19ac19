"""The native half of the folded Gram argument against naive big integers, step by step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.gram_cases import CHALLENGE, FIELD, LARGEST, SALTS, Case, Columns, cases
from zkmarket import gram
from zkmarket.errors import DomainError
from zkmarket.field import P
from zkmarket.round import Aggregate
from zkmarket.transcript import Transcript

pytestmark = pytest.mark.unit


def naive_fold(columns: Columns, chunk: int, transcript: Transcript, q: int):
    """Section 4, step 3, with zero chunks written out."""
    columns = [list(column) for column in columns]
    claim, claims, rhos = q, [], []
    while len(columns) & (len(columns) - 1):
        columns.append([0] * (chunk + SALTS))
    while len(columns) > 1:
        half = len(columns) // 2
        low, high = columns[:half], columns[half:]
        a = sum(x * x for column in low for x in column[:chunk]) % P
        x = (
            sum(u * v for lo, hi in zip(low, high, strict=True) for u, v in zip(lo[:chunk], hi[:chunk], strict=True))
            % P
        )
        transcript.absorb(a, x)
        rho = transcript.fold_challenge(len(claims))
        columns = [[(u + rho * v) % P for u, v in zip(lo, hi, strict=True)] for lo, hi in zip(low, high, strict=True)]
        claim = (a + 2 * rho * x + rho**2 * (claim - a)) % P
        claims.append((a, x))
        rhos.append(rho)
    return tuple(claims), tuple(rhos), claim, columns[0]


@settings(max_examples=80)
@given(cases())
def test_the_matrix_is_that_of_big_integers(case: Case):
    assert gram.matrix(case.openings, case.mask, case.chunk) == case.matrix()


@settings(max_examples=80)
@given(cases(), st.data())
def test_the_combination_is_that_of_big_integers(case: Case, data: st.DataObject):
    r = data.draw(st.lists(CHALLENGE, min_size=len(case.slots), max_size=len(case.slots)))
    assert gram.combine_slots(case.openings, case.mask, case.chunk, r) == case.combined(r)


@settings(max_examples=80)
@given(cases(), st.binary(min_size=32, max_size=32), FIELD)
def test_the_fold_is_that_of_big_integers(case: Case, seed: bytes, q: int):
    columns = case.combined([1] * len(case.slots))
    folded = gram.fold(copy.deepcopy(columns), case.chunk, Transcript(seed), q)
    assert (folded.claims, folded.rhos, folded.claim, folded.column) == naive_fold(
        columns, case.chunk, Transcript(seed), q
    )


@pytest.mark.parametrize("block", [1, 2, 3])
@settings(max_examples=40)
@given(case=cases(), r=st.lists(CHALLENGE, min_size=5, max_size=5))
def test_the_size_of_a_block_does_not_matter(block: int, case: Case, r: list[int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram, "BLOCK", block)
        assert gram.matrix(case.openings, case.mask, case.chunk) == case.matrix()
        r = r[: len(case.slots)]
        assert gram.combine_slots(case.openings, case.mask, case.chunk, r) == case.combined(r)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_full_block_of_the_largest_values_is_exact(sign: int):
    """A block of values near ±Q at K = 20, limbs near 2^16: the float64 sums come as near to 2^53 as they can."""
    d = gram.BLOCK + 3
    near = LARGEST - 1 - np.random.default_rng(0).integers(0, 50, (2, d))
    updates = (near * [[1], [sign]]).astype(np.int32)
    mask = [P - 1] * (d + SALTS)
    case = Case(d, updates.tolist(), [[[P - 1] * SALTS]] * 2, [mask])
    assert gram.matrix(case.openings, case.mask, d) == case.matrix()
    r = [1, (1 << 128) - 1, (1 << 128) - 3]
    assert gram.combine_slots(case.openings, case.mask, d, r) == case.combined(r)


@pytest.mark.parametrize("times", [1, 7, 180])
def test_an_aggregate_of_the_largest_values_is_exact(times: int):
    """A last aggregate has values up to N_max·Q: blocks are then smaller, as far as float64 needs it."""
    d = 5000
    near = LARGEST - 1 - np.random.default_rng(1).integers(0, 50, (2, d))
    updates = (near * [[1], [times]]).astype(np.int64)
    case = Case(d, updates.tolist(), [[[P - 1] * SALTS]] * 2, [[P - 1] * (d + SALTS)])
    case.openings[1] = Aggregate(updates[1], case.openings[1].salts)
    assert gram.matrix(case.openings, case.mask, d) == case.matrix()
    r = [1, (1 << 128) - 1, (1 << 128) - 3]
    assert gram.combine_slots(case.openings, case.mask, d, r) == case.combined(r)
    case.openings[1].values[:] = LARGEST * 200
    with pytest.raises(DomainError, match="below 2\\^26"):
        gram.matrix(case.openings, case.mask, d)


def test_the_width_of_a_block_is_exact():
    for times in (1, 7, 180):
        vector = Aggregate(np.array([-times * LARGEST]), np.zeros((1, SALTS, 32), np.uint8))
        assert 1 <= gram.exact_width([vector]) * max(LARGEST * times, gram.LIMB) * LARGEST * times <= 1 << 53


def test_halves():
    """m padded to a power of two, halved until one chunk is left."""
    expected = {1: [], 2: [1], 3: [2, 1], 4: [2, 1], 5: [4, 2, 1], 7: [4, 2, 1], 8: [4, 2, 1], 9: [8, 4, 2, 1]}
    assert {m: gram.halves(m) for m in expected} == expected


@settings(max_examples=200)
@given(*[st.lists(FIELD, min_size=3, max_size=3)] * 2, CHALLENGE)
def test_next_claim_is_the_norm_of_the_folded_pair(low: list[int], high: list[int], rho: int):
    """T' = ‖lo + ρ·hi‖², from T = ‖lo‖² + ‖hi‖², A = ‖lo‖² and X = <lo, hi>."""
    a, x = sum(v * v for v in low), sum(v * w for v, w in zip(low, high, strict=True))
    folded = sum((v + rho * w) ** 2 for v, w in zip(low, high, strict=True))
    assert gram.next_claim((a + sum(w * w for w in high)) % P, a % P, x % P, rho) == folded % P
