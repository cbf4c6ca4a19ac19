"""Bounds of a round, from its numbers one by one."""

from __future__ import annotations

from zkmarket.rules import Domain, Filter, RuleSet


def domain_of(
    n: int, d: int, q: int, beta_max: int, rule: Filter, score: str, digit_bits: int, most: int | None = None
) -> Domain:
    return Domain.of(RuleSet(n, d, q, beta_max, rule, score, most), digit_bits)
