"""The bounds of the settlement circuit's domain are bounds, and what goes beyond them is refused with a way out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.domains import domain_of
from tests.support.tiers import examples
from zkmarket import rules
from zkmarket.errors import DomainError
from zkmarket.rules import (
    ROOT_BITS,
    SCORE_LIMIT,
    SCORES,
    Filter,
    MultiKrum,
    ReferenceProducts,
    RuleSet,
    accepted,
    krum_scores,
    multi_krum,
    score_shift,
)
from zkmarket.rules.scores import scores

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


@examples(300)
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
    domain = domain_of(n, d, q, beta_max, rule, score, digit_bits=7)
    assert domain.penalty > max(krum_scores(gram_of(updates), rule.f))
    found = compared(updates, beta, rule, score, domain.penalty)
    assert found.keys() == domain.bounds.keys()
    for name, value_found in found.items():
        assert value_found <= domain.bounds[name], name
    assert 2 ** (7 * (domain.digits - 1)) <= max(domain.bounds.values()) < 2 ** (7 * domain.digits)


@st.composite
def further(draw: st.DrawFn) -> tuple[Filter, str]:
    sigma = draw(st.sampled_from([None, Fraction(3), Fraction(1, 7)]))
    rule = Filter(0, 3, sigma) if sigma or draw(st.booleans()) else Filter()
    tau = draw(st.sampled_from([None, Fraction(1, 10), Fraction(1)]))
    return replace(rule, tau=tau), draw(st.sampled_from(SCORES))


def compared_further(
    vectors: dict[str, np.ndarray], beta: int, rule: Filter, score: str, penalty: int
) -> dict[str, int]:
    """The same of what other filters and scores compare: numbers of Python, from the vectors."""
    u, root, last = (vectors[name].astype(object) for name in ("updates", "root", "last"))
    gram = u @ u.T
    inside = gram.diagonal() <= beta
    out = {}
    mask = np.array(multi_krum(gram, rule, beta, penalty) if rule.m else inside, bool)
    if rule.sigma:
        c, a, b = int(mask.sum()), *rule.sigma.as_integer_ratio()
        weights = np.where(mask, c * c, (c - 1) ** 2).astype(object) * inside
        far = ((c * u - u[mask].sum(0)) ** 2).sum(1) * weights
        s1, s2 = far[mask].sum(), (far[mask] ** 2).sum()
        beyond = c * far - s1
        out["distance to the centre against the mean"] = max(abs(2 * beyond)) + 1
        left = a * a * (c * s2 - s1 * s1) - b * b * beyond**2
        out["distance to the centre against the deviation"] = max(abs(2 * left)) + 1
    if rule.tau is not None:
        a, b = rule.tau.as_integer_ratio()
        inner = u @ root
        out["sign of the cosine"] = max(abs(2 * inner)) + 1
        left = (b * b * inner**2 - a * a * gram.diagonal() * (root @ root)) * inside
        out["cosine against tau"] = max(abs(2 * left)) + 1
    phi, inner = gram[:, mask].sum(1), u @ last
    if score == "root":
        out["sign of the score"] = max(abs(2 * (u @ root))) + 1
    if score == "novel":
        value = (phi * ((last @ last) or 1) - inner * inner[mask].sum()) * mask
        out["sign of the score"] = max(abs(2 * value)) + 1
    if score == "cosine-shapley":
        s = np.array(scores(gram, mask, score), object)
        length, square = gram.diagonal() + (gram.diagonal() == 0), (phi * (phi > 0) * mask) ** 2 << 2 * ROOT_BITS
        out["sign of the score"] = max(abs(2 * phi)) + 1
        out["score against its cap"] = 2 * max(s) + 1
        out["square of the score"] = max(
            *(2 * (square - s * s * length) + 1), *(2 * ((s + 1) ** 2 * length - square) - 1)
        )
    return out


@examples(300)
@given(st.data())
def test_no_reference_and_no_update_in_range_exceeds_a_bound_of_further_rules(data: st.DataObject):
    n, d, q = data.draw(st.integers(3, 6)), data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 4, 508]))
    value = st.one_of(st.sampled_from([-q, q - 1]), st.integers(-q, q - 1))
    updates = np.array(data.draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=n, max_size=n)))
    root = np.array(data.draw(st.lists(value, min_size=d, max_size=d)))
    rule, score = data.draw(further())
    beta_max = data.draw(st.sampled_from([1, d * q * q // 3 + 1, d * q * q]))
    beta = data.draw(st.integers(0, beta_max))
    most = n + data.draw(st.integers(0, 2))
    inside = updates[(updates.astype(object) ** 2).sum(1) <= beta_max]  # of a past round, some more than once
    past = np.array(data.draw(st.lists(st.sampled_from([*inside.tolist(), [0] * d]), max_size=most)) or [[0] * d])
    domain = domain_of(n, d, q, beta_max, rule, score, 7, most)
    vectors = {"updates": updates, "root": root, "last": past.sum(0)}
    for name, found in compared_further(vectors, beta, rule, score, domain.penalty).items():
        assert found <= domain.bounds[name], name
    largest = max(scores_of(vectors, beta, rule, score, domain.penalty))
    assert largest >> score_shift(RuleSet(n, d, q, beta_max, rule, score, most)) < SCORE_LIMIT


def scores_of(vectors: dict[str, np.ndarray], beta: int, rule: Filter, score: str, penalty: int) -> list[int]:
    u = vectors["updates"].astype(object)
    along = {
        name: ReferenceProducts(int(vectors[name].astype(object) @ vectors[name]), tuple(map(int, u @ vectors[name])))
        for name in ("root", "last")
    }
    gram = (u @ u.T).tolist()
    return scores(gram, accepted(gram, rule, beta, penalty, along["root"]), score, **along)


def test_the_shift_is_the_least_that_brings_a_novel_score_below_64_bits():
    """N·β·(most²·β): 5 · 2^20 · 25 · 2^20 is below 2^47; with β = 2^30 it is of 67 bits."""
    rule = Filter(1, 4)
    assert score_shift(RuleSet(5, 10**6, 508, 1 << 20, rule, "novel")) == 0
    assert score_shift(RuleSet(5, 10**6, 508, 1 << 30, rule, "novel")) == 3
    assert (5 * 25 << 60) >> 3 < SCORE_LIMIT <= (5 * 25 << 60) >> 2
    assert score_shift(RuleSet(5, 10**6, 508, 1 << 30, rule, "novel", most_trainers=10)) == 5
    assert [score_shift(RuleSet(5, 1000, 508, 1 << 30, rule, score)) for score in SCORES if score != "novel"] == [0] * 5


def test_the_bounds_of_further_rules_can_be_lowered_by_beta_max():
    """A million parameters at K = 17: three-sigma needs a norm bound that is nearer to what updates have."""
    rule = (Filter(2, 6, Fraction(3)), "shapley", 16)
    with pytest.raises(DomainError, match="'distance to the centre against the deviation' is .* or --beta-max"):
        domain_of(8, 10**6, 65532, 10**6 * 65532**2, *rule)
    assert domain_of(8, 10**6, 65532, 1 << 41, *rule)
    with pytest.raises(DomainError, match="'sign of the score' is .* or --beta-max"):
        domain_of(8, 10**6, 65532, 10**6 * 65532**2, Filter(2, 6), "novel", 16, most=1000)


def test_the_bounds_are_reached_where_they_can_be():
    """All updates at −Q: the largest squared norm, and with all of them accepted the largest score."""
    n, d, q = 5, 3, 508
    rule = MultiKrum(1, 5)
    domain = domain_of(n, d, q, 0, rule, "shapley", digit_bits=8)
    found = compared([[-q] * d] * n, d * q * q, rule, "shapley", domain.penalty)
    assert found["sign of the score"] == domain.bounds["sign of the score"] == 2 * n * d * q * q + 1


def test_a_domain_that_does_not_fit_says_what_to_lower():
    fits = (8, 100_000, 4092, 2**60, MultiKrum(2, 6), "shapley", 8)
    assert max(domain_of(*fits).bounds.values()) <= 1 << 120
    with pytest.raises(DomainError, match=r"'squared norm against beta' is 2\^121, wanted at most 2\^120.*--beta-max"):
        domain_of(*fits[:3], 1 << 119, *fits[4:])
    assert domain_of(*fits[:3], (1 << 119) - 1, *fits[4:])
    for name, d in (
        ("squared norm against beta", 1 << 96),
        ("order of distances", 1 << 95),
        ("order of krum", 1 << 93),
    ):
        with pytest.raises(
            DomainError, match=rf"'{name}.*' is 2\^12\d, .*: lower the number of parameters, of trainers"
        ):
            domain_of(8, d, *fits[2:])


def test_a_score_beyond_64_bits_says_what_to_lower():
    """Q = 2^19 − 4 (K = 20) and N = 8: D · Q² · N < 2^64 holds up to D = 2^23."""
    rest = (2**19 - 4, 0, MultiKrum(0, 3), "shapley", 8)
    assert domain_of(8, 1 << 23, *rest)
    with pytest.raises(DomainError, match=r"a score can reach 2\^65, wanted less than 2\^64 .*: lower the bits"):
        domain_of(8, 1 << 24, *rest)
    with pytest.raises(DomainError, match=r"a score can reach 2\^66"):  # leave-one-out: 2N + 1 times, not N times
        domain_of(8, 1 << 23, *rest[:3], "leave-one-out", 8)


@pytest.mark.parametrize("score", SCORES)
def test_a_median_beyond_64_bits_is_refused_whatever_the_score(score: str):
    """A majority of long updates decides ν: beyond 2^64 the contract refuses it, and with it an honest round."""
    q, rest = 1 << 19, (1 << 20, MultiKrum(0, 3), score, 8)
    for d in ((1 << 26) - 4, (1 << 26) - 1, 1 << 26):  # in 24 bits D·Q² is just below 2^64, 2^64, and 2^64
        longest = gram_of([[0]] * 2 + [[q]] * 3)  # of one value: d of them have d times this norm
        nu = d * rules.median_squared_norm(longest)
        if rules.norm_bound(d, q) >= SCORE_LIMIT:
            with pytest.raises(DomainError, match=r"median ν, can reach D·Q² = 2\^65|a score can reach"):
                domain_of(5, d, q, *rest)
            continue
        assert nu < SCORE_LIMIT
        if score not in ("shapley", "leave-one-out"):
            assert domain_of(5, d, q, *rest)
