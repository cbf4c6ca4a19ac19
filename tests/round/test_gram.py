"""The native half of the folded Gram argument against naive big integers, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gram_cases import CHALLENGE, FIELD, LARGEST, SALTS, Case, Columns, cases
from tests.support.tiers import examples
from zkmarket.build import masked_chunks
from zkmarket.crypto import P, Transcript
from zkmarket.errors import BackendError
from zkmarket.round import gram

pytestmark = pytest.mark.unit


def naive_fold(columns: Columns, chunk: int, transcript: Transcript, q: int):
    """From the definition, with zero chunks written out."""
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
        rho = transcript.short_challenge("rho", len(claims))
        columns = [[(u + rho * v) % P for u, v in zip(lo, hi, strict=True)] for lo, hi in zip(low, high, strict=True)]
        claim = (a + 2 * rho * x + rho**2 * (claim - a)) % P
        claims.append((a, x))
        rhos.append(rho)
    return tuple(claims), tuple(rhos), claim, columns[0]


@examples(80)
@given(cases())
def test_the_matrix_is_that_of_big_integers(case: Case):
    assert case.products().gram() == case.matrix()


@examples(80)
@given(cases(), st.data())
def test_products_of_chunks_are_those_of_big_integers(case: Case, data: st.DataObject):
    """<w_c, w_c'> for all pairs, of w_c = Σ_i r_i u_{i,c}."""
    r = data.draw(st.lists(CHALLENGE, min_size=len(case.slots), max_size=len(case.slots)))
    w = [column[: case.chunk] for column in case.combined(r)]
    wanted = [[sum(x * y for x, y in zip(a, b, strict=True)) % P for b in w] for a in w]
    assert case.products().of_chunks(r).tolist() == wanted


@examples(80)
@given(cases(), st.binary(min_size=32, max_size=32), st.data())
def test_the_fold_is_that_of_big_integers(case: Case, seed: bytes, data: st.DataObject):
    r = data.draw(st.lists(CHALLENGE, min_size=len(case.slots), max_size=len(case.slots)))
    q = case.q(r)
    claims, rhos, claim, column = naive_fold(case.combined(r), case.chunk, Transcript(seed), q)
    assert gram.fold(case.products().of_chunks(r), q, Transcript(seed)) == (claims, rhos, claim)
    assert claim == sum(v * v for v in column[: case.chunk]) % P


@examples(80)
@given(cases(), st.lists(CHALLENGE, min_size=3, max_size=3))
def test_the_factors_of_chunks_give_the_folded_column(case: Case, rhos: list[int]):
    """W = Σ_c factor_c w_c, values and salts: what a fold does one after the other, at once."""
    columns = case.combined([1] * len(case.slots))
    steps = gram.halves(case.m)
    rhos = rhos[: len(steps)]
    factors = gram.chunk_factors(case.m, rhos)
    at_once = [sum(k * w[t] for k, w in zip(factors, columns, strict=True)) % P for t in range(case.chunk + SALTS)]
    padded = columns + [[0] * (case.chunk + SALTS)] * (2 ** len(steps) - case.m)
    for half, rho in zip(steps, rhos, strict=True):
        padded = [[(u + rho * v) % P for u, v in zip(padded[c], padded[c + half], strict=True)] for c in range(half)]
    assert at_once == padded[0]


@pytest.mark.parametrize("error", [1, P - 1])
def test_a_wrong_claim_never_becomes_a_proof(error: int):
    """Whatever the native arithmetic got wrong: the prover itself sees it."""
    case = Case(2, [[1, 2, 3]], [[[0] * SALTS] * 2], {0: [5] * 4, 1: [7] * 4}, 2)
    products, q = case.products().of_chunks([3, 4]), case.q([3, 4])
    gram.fold(products, q, Transcript(bytes(32)))
    with pytest.raises(BackendError, match="the last claim is not the folded column's inner product"):
        gram.fold(products, (q + error) % P, Transcript(bytes(32)))


def test_slots_of_the_largest_values():
    """±Q in every cell of several chunks, field elements of p − 1 in every mask, challenges of 128 ones."""
    d = 3 * 7
    vectors = [[-LARGEST] * d, [LARGEST] * d, [(1 << 61) - 1] * d]
    mask = {c: [P - 1] * (7 + SALTS) for c in masked_chunks(3)}
    case = Case(7, vectors, [[[P - 1] * SALTS] * 3] * 3, mask, 3)
    assert case.products().gram() == case.matrix()
    r = [(1 << 128) - 1] * 4
    claims, rhos, claim, _ = naive_fold(case.combined(r), 7, Transcript(bytes(32)), case.q(r))
    assert gram.fold(case.products().of_chunks(r), case.q(r), Transcript(bytes(32))) == (claims, rhos, claim)


def test_halves():
    """m padded to a power of two, halved until one chunk is left."""
    expected = {1: [], 2: [1], 3: [2, 1], 4: [2, 1], 5: [4, 2, 1], 7: [4, 2, 1], 8: [4, 2, 1], 9: [8, 4, 2, 1]}
    assert {m: gram.halves(m) for m in expected} == expected


def test_where_slot_0_has_chunks():
    """At 0 and the powers of two below m: one more than there are folds."""
    expected = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2), 5: (0, 1, 2, 4), 8: (0, 1, 2, 4), 9: (0, 1, 2, 4, 8)}
    assert {m: masked_chunks(m) for m in expected} == expected
    for m in range(1, 70):
        assert len(masked_chunks(m)) == len(gram.halves(m)) + 1 and max(masked_chunks(m)) < m


@examples(200)
@given(*[st.lists(FIELD, min_size=3, max_size=3)] * 2, CHALLENGE)
def test_next_claim_is_the_norm_of_the_folded_pair(low: list[int], high: list[int], rho: int):
    """T' = ‖lo + ρ·hi‖², from T = ‖lo‖² + ‖hi‖², A = ‖lo‖² and X = <lo, hi>."""
    a, x = sum(v * v for v in low), sum(v * w for v, w in zip(low, high, strict=True))
    folded = sum((v + rho * w) ** 2 for v, w in zip(low, high, strict=True))
    assert gram.next_claim((a + sum(w * w for w in high)) % P, a % P, x % P, rho) == folded % P
