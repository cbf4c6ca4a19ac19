"""Prover against a simulated verifier of the folded Gram argument, without a curve.

A commitment is linear in its column, so here a column stands for its own commitment: what the verifier
would compute on points, Σ k_{i,c} C_{i,c} − (Σ k − 1)·B, is computed on the columns themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.property.gram_cases import SALTS, Case, cases
from zkmarket import gram
from zkmarket.field import P
from zkmarket.transcript import Transcript

pytestmark = pytest.mark.unit


def linear_combine(columns: Sequence[list[int]], coefficients: Sequence[int], blinding: list[int]) -> list[int]:
    """What `commitment.combine` does to points, done to the columns themselves, the row of B included."""
    rest = 1 - sum(coefficients)
    return [
        (sum(k * column[t] for k, column in zip(coefficients, columns, strict=True)) + rest * blinding[t]) % P
        for t in range(len(blinding))
    ]


def simulate(case: Case, q_error: int = 0, claim_error: tuple[int, int, int] | None = None, swap: bool = False):
    """Prover and verifier from one seed. Returns (y = T, the column matches the commitments)."""
    prover = Transcript(b"\5" * 32)
    r = prover.slot_challenges(len(case.slots))
    q = (case.q(r) + q_error) % P
    prover.absorb(q)
    columns = gram.combine_slots(case.openings, case.mask, case.chunk, r)
    folded = gram.fold(columns, case.chunk, prover, q)
    y = sum(v * v for v in folded.column[: case.chunk]) % P

    claims = [list(pair) for pair in folded.claims]
    if claim_error:
        step, which, by = claim_error
        claims[step][which] = (claims[step][which] + by) % P
    verifier = Transcript(b"\5" * 32)
    assert verifier.slot_challenges(len(case.slots)) == r
    verifier.absorb(q)
    claim, rhos = q, []
    for step, (a, x) in enumerate(claims):
        verifier.absorb(a, x)
        rhos.append(verifier.fold_challenge(step))
        claim = gram.next_claim(claim, a, x, rhos[-1])

    unusable = [[*column, 1] for slot in case.slots for column in slot]  # the rows past the salts hold 1, B's too
    committed = [unusable[i : i + case.m] for i in range(0, len(unusable), case.m)]
    if swap:
        committed[1], committed[2] = committed[2], committed[1]
    blinding = [0] * (case.chunk + SALTS) + [1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram, "combine", linear_combine)
        expected = gram.folded_commitment(committed, r, rhos, blinding)
    return y == claim, expected == [*folded.column, 1]


@settings(max_examples=80)
@given(cases())
def test_a_verifier_accepts_the_honest_prover(case: Case):
    assert simulate(case) == (True, True)


@settings(max_examples=50)
@given(cases(), st.sampled_from([1, -1, 1 << 200]))
def test_a_verifier_rejects_another_q(case: Case, error: int):
    """A wrong Gram entry shows as a wrong q; the commitments are not concerned."""
    assert simulate(case, q_error=error) == (False, True)


@settings(max_examples=50)
@given(cases(chunks=(2, 3, 5, 8)), st.data())
def test_a_verifier_rejects_another_claim(case: Case, data: st.DataObject):
    step = data.draw(st.integers(0, len(gram.halves(case.m)) - 1))
    error = (step, data.draw(st.integers(0, 1)), data.draw(st.sampled_from([1, -1, 1 << 200])))
    assert simulate(case, claim_error=error)[0] is False


@settings(max_examples=50)
@given(cases(fewest=2))
def test_a_verifier_rejects_swapped_commitments(case: Case):
    assume(case.slots[1] != case.slots[2])
    assert simulate(case, swap=True) == (True, False)
