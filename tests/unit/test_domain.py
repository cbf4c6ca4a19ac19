"""The bounds of the settlement circuit's domain are bounds, and what goes beyond them is refused with a way out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkmarket import rules
from zkmarket.errors import DomainError
from zkmarket.rules import Domain, MultiKrum, krum_scores, multi_krum

pytestmark = pytest.mark.unit


def gram_of(updates) -> list[list[int]]:
    wide = np.asarray(updates).astype(object)
    return (wide @ wide.T).tolist()


def compared(updates, q_beta: int, rule: MultiKrum, score: str, penalty: int) -> dict[str, int]:
    """The largest of each kind of value that circuits/settlement.py compares, straight from its relation."""
    gram = gram_of(updates)
    n = len(gram)
    norms = [gram[i][i] for i in range(n)]
    table = rules.distances(gram)
    ranked = [s + penalty * (norm > q_beta) for s, norm in zip(krum_scores(gram, rule.f), norms, strict=True)]
    mask = multi_krum(gram, rule, q_beta, penalty)
    phi = [sum(gram[i][j] for j in range(n) if mask[j]) for i in range(n)]
    if score == "leave-one-out":
        phi = [2 * p - norm for p, norm in zip(phi, norms, strict=True)]
    return {
        "squared norm against beta": max(abs(2 * (q_beta - norm)) + 1 for norm in norms),
        "order of distances": max(abs(a - b) + 1 for row in table for a in row for b in row),
        "order of krum scores": max(abs(a - b) + 1 for a in ranked for b in ranked),
        "krum score against the m-th": max(abs(2 * (sorted(ranked)[rule.m - 1] - s)) + 1 for s in ranked),
        "sign of the score": max(abs(2 * p) + 1 for p in phi),
    }


@settings(max_examples=300)
@given(st.data())
def test_no_update_in_range_exceeds_a_bound(data: st.DataObject):
    """Random updates and the corners of the cube; β anywhere, so that some, none or all are penalised."""
    n, d, q = data.draw(st.integers(3, 7)), data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 4, 508]))
    value = st.one_of(st.sampled_from([-q, q - 1]), st.integers(-q, q - 1))
    updates = data.draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=n, max_size=n))
    rule = MultiKrum(data.draw(st.integers(0, (n - 3) // 2)), data.draw(st.integers(3, n)))
    beta_max = data.draw(st.sampled_from([0, d * q * q, 10 * d * q * q]))
    beta = data.draw(st.integers(0, beta_max))
    score = data.draw(st.sampled_from(["shapley", "leave-one-out"]))
    domain = Domain.of(n, d, q, beta_max, rule, score, digit_bits=7)
    assert domain.penalty > max(krum_scores(gram_of(updates), rule.f))
    found = compared(updates, beta, rule, score, domain.penalty)
    assert found.keys() == domain.bounds.keys()
    for name, value_found in found.items():
        assert value_found <= domain.bounds[name], name
    assert 2 ** (7 * (domain.digits - 1)) <= max(domain.bounds.values()) < 2 ** (7 * domain.digits)


def test_the_bounds_are_reached_where_they_can_be():
    """All updates at −Q: the largest squared norm, and with all of them accepted the largest score."""
    n, d, q = 5, 3, 508
    rule = MultiKrum(1, 5)
    domain = Domain.of(n, d, q, 0, rule, "shapley", digit_bits=8)
    found = compared([[-q] * d] * n, d * q * q, rule, "shapley", domain.penalty)
    assert found["sign of the score"] == domain.bounds["sign of the score"] == 2 * n * d * q * q + 1


def test_a_domain_that_does_not_fit_says_what_to_lower():
    fits = (8, 100_000, 4092, 2**60, MultiKrum(2, 6), "shapley", 8)
    assert max(Domain.of(*fits).bounds.values()) <= 1 << 120
    with pytest.raises(DomainError, match=r"'squared norm against beta' is 2\^121, wanted at most 2\^120.*--beta-max"):
        Domain.of(*fits[:3], 1 << 119, *fits[4:])
    assert Domain.of(*fits[:3], (1 << 119) - 1, *fits[4:])
    for name, d in (
        ("squared norm against beta", 1 << 96),
        ("order of distances", 1 << 95),
        ("order of krum", 1 << 93),
    ):
        with pytest.raises(
            DomainError, match=rf"'{name}.*' is 2\^12\d, .*: lower the number of parameters, of trainers"
        ):
            Domain.of(8, d, *fits[2:])


def test_a_score_beyond_64_bits_says_what_to_lower():
    """Q = 2^19 − 4 (K = 20) and N = 8: D · Q² · N < 2^64 holds up to D = 2^23."""
    rest = (2**19 - 4, 0, MultiKrum(0, 3), "shapley", 8)
    assert Domain.of(8, 1 << 23, *rest)
    with pytest.raises(DomainError, match=r"a score can reach 2\^65, wanted less than 2\^64 .*: lower logrows"):
        Domain.of(8, 1 << 24, *rest)
    with pytest.raises(DomainError, match=r"a score can reach 2\^66"):  # leave-one-out: 2N + 1 times, not N times
        Domain.of(8, 1 << 23, *rest[:3], "leave-one-out", 8)
