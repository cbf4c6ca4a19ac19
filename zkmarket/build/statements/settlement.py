"""The settlement circuit of a project: its statement, rows and size."""

from __future__ import annotations

from typing import Any

from ...backend import Compilation, Exportable, block_rows, check_first_block
from ...circuits import NOISE
from ...crypto import random_scalars, scalar_hex, to_hex
from ...errors import DomainError
from ...rules import DIGITS_LIMIT, ROOT_BITS, Domain, RuleSet, reference_slots
from ..columns import MAX_LOGROWS
from .statement import SALTS, Circuit, Inputs, counted_rows, noise_covers, sorted_noise


def settlement_logrows(rules: RuleSet) -> int:
    """The smallest K at which the settlement of N trainers fits one block of columns.

    One block, because every further block would be a lookup argument of its own without noise; and
    columns are what a verifier on chain pays for.
    """
    for logrows in range(11, MAX_LOGROWS + 1):
        domain = Domain.of(rules, logrows - 1)
        if domain.bits <= DIGITS_LIMIT and settlement_rows(rules, domain) <= block_rows(logrows):
            return logrows
    raise DomainError(f"the settlement of {rules.trainers} trainers needs more than 2^{MAX_LOGROWS} rows: lower N")


def settlement_statement(logrows: int, rules: RuleSet, salts: int) -> Circuit:
    """The settlement circuit of exactly N trainers. Digits are as wide as their table allows: fewer, fewer rows."""
    n, rule, score, digit_bits = rules.trainers, rules.filter, rules.score, logrows - 1
    domain = Domain.of(rules, digit_bits)
    if domain.bits > DIGITS_LIMIT:
        raise DomainError(
            f"digits of {digit_bits} bits would have {domain.bits} bits together, wanted at most {DIGITS_LIMIT}:"
            " choose another number of rows for the settlement"
        )
    if not noise_covers(NOISE * domain.digits, 1 << digit_bits):
        raise DomainError(f"{NOISE} noise values do not cover what the settlement proof of {n} trainers reveals")
    numbers: dict[str, Any] = {
        "n": n,
        "f": rule.f,
        "m": rule.m,
        "penalty": domain.penalty,
        "longest": rules.norm_bound,
        "score": score,
        "salts": salts,
        "sorted_noise": sorted_noise(domain.bits),
    }
    references = reference_slots(rule, score)
    if rule.sigma is not None:
        numbers["sigma"] = rule.sigma.as_integer_ratio()
    if rule.tau is not None:
        numbers["tau"] = rule.tau.as_integer_ratio()
    if references:
        numbers["references"] = references
    roots = n if score == "cosine-shapley" else 0
    if roots:
        numbers |= {"cap": domain.cap, "root_bits": ROOT_BITS}
    slots = 1 + n + len(references)
    entries = slots * (slots + 1) // 2
    last_norm = slot_entry(slots, n)

    def module() -> Exportable:
        from ...circuits.settlement import Settlement

        return Settlement(**numbers)

    def inputs(norm: int = 0, noise: int = 1) -> Inputs:
        upper = [norm if at == last_norm else 0 for at in range(entries)]
        public_noise = [1] * (slots + 1) + [0] * roots + [noise] * NOISE
        return [
            [scalar_hex(v) for v in upper] + to_hex(random_scalars(salts)),
            [scalar_hex(v) for v in public_noise] + to_hex(random_scalars(salts)),
        ]

    beyond = 1 << domain.bits
    rows, counted = settlement_rows(rules, domain), counted_rows(rules, domain)
    return Circuit(
        "settlement.py",
        module,
        numbers,
        Compilation(logrows, decomp_base=1 << digit_bits, decomp_legs=domain.digits),
        lookups=[],
        range_checks=[[-1, 1], [0, (1 << digit_bits) - 1]],
        sorts=settlement_sorts(rules, domain),
        rows=(rows * 49 // 50, min(rows, block_rows(logrows))),
        counted=(counted * 49 // 50, counted * 51 // 50 + 2 * (salts - SALTS)),
        instances=slots + 2 * n + 3,
        committed=[entries + salts, slots + 1 + roots + NOISE + salts],
        sample=lambda: inputs(),
        refused=lambda: {
            "a squared norm beyond all digits": (inputs(norm=beyond), "General synthesis error"),
            "noise beyond all digits": (inputs(noise=beyond), "General synthesis error"),
        },
        domain=domain,
        placed=lambda placed: check_first_block(placed, logrows),
        blocks=1,
    )


def slot_entry(slots: int, slot: int) -> int:
    """Where the upper triangle of a matrix of so many slots, row by row, has the squared norm of one."""
    return slot * slots - slot * (slot - 1) // 2


def settlement_sorts(rules: RuleSet, domain: Domain) -> list[int]:
    """How many values each sort has: of noise, of distances and scores with Multi-Krum, of the squared norms."""
    n = rules.trainers
    return [sorted_noise(domain.bits), *([n - 1] * n + [n] if rules.filter.m else []), n]


def settlement_rows(rules: RuleSet, domain: Domain) -> int:
    """An upper estimate of the rows that the settlement circuit lays out, within 2 % of what it does (tests/circuits).

    ezkl's own count, less what takes no rows in a proof: inputs, slices (of the noise, twice), sorted values, copies.
    """
    n, rule, score = rules.trainers, rules.filter, rules.score
    references = reference_slots(rule, score)
    slots, roots = 1 + n + len(references), n if score == "cosine-shapley" else 0
    inputs = slots * (slots + 1) // 2 + slots + 1 + roots + NOISE + 2 * SALTS
    free = inputs + sum(settlement_sorts(rules, domain)) + 2 * NOISE + 18 + 6 * n
    free += 30 * (rule.m > 0) + 12 * n * (rule.tau is not None) + (6 * n + n * n // 3) * ("last" in references)
    free -= 2 * n * ("root" in references)
    rows = counted_rows(rules, domain) - free
    return rows + rows // 200 + 16  # what is free differs a little from rule to rule
