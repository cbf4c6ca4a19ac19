"""What the suite asks of the settlement circuit of every other filter and score, beside what checks.py asks of all."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction

from tests.circuits.checks import (
    Check,
    Rules,
    Settle,
    changed_entry,
    cluster,
    longest_norm,
    matrix,
    refused,
    rules_of,
    scalars,
    settle,
    settlement_each_slot,
    settlement_last_inside,
    settlement_median,
    settlement_noise,
    settlement_norm_bound,
)
from tests.circuits.checks import settings as settings_check
from tests.circuits.harness import Compiled, check_circuit
from zkmarket.crypto import P
from zkmarket.rules import squared_norms

SIZE = 3


def drawn(rules: Rules, seed: int) -> Settle:
    """A settlement of small vectors, copies, zeros, opposites and absent references among them; any β and order."""
    rng = random.Random(seed)
    spread = rng.choice([1, 2, 4, 9, 400])

    def vector() -> list[int]:
        return [rng.randint(-spread, spread) for _ in range(SIZE)]

    common = vector()
    updates = [[c + d for c, d in zip(common, vector(), strict=True)] for _ in range(rules.n)]
    for at in range(rules.n):
        kind = rng.random()
        if kind < 0.1:
            updates[at] = [0] * SIZE
        elif kind < 0.2:
            updates[at] = [-x for x in updates[rng.randrange(rules.n)]]
        elif kind < 0.3:
            updates[at] = list(updates[rng.randrange(rules.n)])
    root = rng.choice([[0] * SIZE, common, vector()])
    last = rng.choice([[0] * SIZE, updates[0], [5 * x for x in common], vector()])
    norms = sorted(sum(x * x for x in u) for u in updates)
    beta = rng.choice([norms[-1], norms[rules.n // 2], norms[-1] + 1, max(0, norms[rules.n // 2] - 1)])
    held = {"root": root, "last": last}
    gram = matrix([*updates, *(held[name] for name in rules.references)], scalars(rules.slots, seed))
    return Settle(rules, gram, beta, tuple(c >> 126 for c in scalars(rules.slots, seed + 1)))


def first(rules: Rules, wanted: Callable[[Settle], bool]) -> Settle:
    """The first drawn settlement that is as wanted."""
    for seed in range(100_000):
        found = drawn(rules, seed)
        if wanted(found):
            return found
    raise AssertionError("no such settlement: change the search")


def inner(case: Settle, name: str) -> list[int]:
    """G_iR of the trainers, and last G_RR."""
    slot = 1 + case.rules.n + case.rules.references.index(name)
    return [case.gram[i][slot] for i in (*range(1, case.rules.n + 1), slot)]


def within(case: Settle) -> list[bool]:
    return [norm <= case.beta for norm in squared_norms(case.trainers())]


def rule_oracle(circuit: Compiled) -> None:
    """Every output bit is the oracle's, on drawn rounds and on ordinary ones."""
    rules = rules_of(circuit)
    updates = cluster(rules)
    cases = {f"drawn {seed}": drawn(rules, seed) for seed in range(7)}
    cases["cluster and outlier"] = settle(rules, updates)
    cases["all zero"] = settle(rules, [[0]] * rules.n, beta=0)
    assert len({case.decision() for case in cases.values()}) > 4
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def rule_extremes(circuit: Compiled) -> None:
    """The largest values that updates and references in their bounds can give: nothing is unprovable."""
    rules = rules_of(circuit)
    n, d, q = rules.n, rules.params, rules.bound
    low, high, zero = [-q] * d, [q - 1] * d, [0] * d
    half = [-q] * (d // 2) + [0] * (d - d // 2)
    cases = {
        "opposite corners": settle(rules, [*[low] * (n // 2), *[high] * (n - n // 2)], root=high, last=[n * q] * d),
        "all in one corner": settle(rules, [low] * n, root=low, last=[-n * q] * d),
        "one far away": settle(rules, [*[low] * (n - 1), high], root=low, last=[n * q * (-1) ** k for k in range(d)]),
        "one long": settle(rules, [*[half] * (n - 1), low], root=half, last=[n * q, *[0] * (d - 1)]),
        "P orthogonal": settle(rules, [half] * n, root=half, last=[0] * (d // 2) + [n * q] * (d - d // 2)),
        "only one not 0": settle(rules, [low, *[zero] * (n - 1)], root=low, last=[-n * q] * d),
        "no reference": settle(rules, [low] * n, root=zero, last=zero),
    }
    cases |= {f"{what}, β = 0": Settle(rules, case.gram, 0) for what, case in list(cases.items())[:2]}
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


COMMON: dict[str, Check] = {
    "settings": settings_check,
    "oracle": rule_oracle,
    "extremes": rule_extremes,
    "longest": longest_norm,
}
LAYOUT: dict[str, Check] = {
    "each slot": settlement_each_slot,
    "median": settlement_median,
    "noise": settlement_noise,
}
"""Where the inputs are: for a circuit with all references, and for one with claimed scores."""


def long_updates(circuit: Compiled) -> None:
    """The bounds hold for updates within β_max only: whoever sends a longer one does not make the round unprovable."""
    rules = rules_of(circuit)
    n, d, q = rules.n, rules.params, rules.bound
    short, long = [1] * d, [-q] * d
    assert rules.beta_max is not None and d <= rules.beta_max and d * q * q > 1000 * rules.beta_max
    far_from_p = [5, 0] * (d // 2)
    cases = {
        "one": settle(rules, [*[short] * (n - 1), long], beta=rules.beta_max, root=short, last=far_from_p),
        "all, with the root": settle(rules, [long] * n, beta=rules.beta_max, root=long, last=far_from_p),
    }
    assert [case.decision().mask for case in cases.values()] == [(1,) * (n - 1) + (0,), (0,) * n]
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


LONG: dict[str, Check] = {"settings": settings_check, "long updates": long_updates}


# ---------------------------------------------------------------- three-sigma


def deviations(case: Settle, weighed: bool = True) -> list[tuple[int, int]]:
    """(c·x_i − S1, a²(c·S2 − S1²) − b²(c·x_i − S1)²) of each update, with the Multi-Krum selection as centre.

    Not `weighed`, those that are in the selection are measured from a mean with them in it.
    """
    plain = Rules(case.rules.n, type(case.rules.filter)(case.rules.filter.f, case.rules.filter.m), "equal")
    gram = case.trainers()
    own = [list(row[: case.rules.n + 1]) for row in case.gram[: case.rules.n + 1]]
    chosen = [i for i, bit in enumerate(Settle(plain, own, case.beta).decision().mask) if bit]
    a, b = case.rules.filter.sigma.as_integer_ratio()
    c, total = len(chosen), sum(gram[i][j] for i in chosen for j in chosen)
    far = [c * c * gram[i][i] - 2 * c * sum(gram[i][j] for j in chosen) + total for i in range(case.rules.n)]
    if weighed:
        far = [x * (c * c if i in chosen else (c - 1) ** 2) for i, x in enumerate(far)]
    far = [x if inside else 0 for x, inside in zip(far, within(case), strict=True)]
    s1, s2 = sum(far[i] for i in chosen), sum(far[i] ** 2 for i in chosen)
    return [(c * x - s1, a * a * (c * s2 - s1 * s1) - b * b * (c * x - s1) ** 2) for x in far]


def sigma_edges(circuit: Compiled) -> None:
    """The mean and the last deviation themselves are accepted; who is nearer than both is; one more is not."""
    rules = rules_of(circuit)

    def some(wanted: Callable[[int, int, int], bool]) -> Callable[[Settle], bool]:
        def found(case: Settle) -> bool:
            pairs = zip(deviations(case), within(case), case.decision().mask, strict=True)
            return any(inside and wanted(y, left, bit) for (y, left), inside, bit in pairs)

        return found

    cases = {
        "at the mean": first(rules, some(lambda y, left, bit: y == 0 and left > 0 and bit)),
        "at the last deviation": first(rules, some(lambda y, left, bit: y > 0 and left == 0 and bit)),
        "just beyond it": first(rules, some(lambda y, left, bit: y > 0 > left > -2000 and not bit)),
        "as far below the mean": first(rules, some(lambda y, left, bit: y < 0 and left < 0 and bit)),
        "between mean and deviation": first(rules, some(lambda y, left, bit: y > 0 and left > 0 and bit)),
    }
    long = first(
        rules, lambda c: not all(within(c)) and some(lambda y, left, bit: bit)(c) and sum(c.decision().mask) > 0
    )
    cases["who is outside the norm bound is out"] = long
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def sigma_takes_in(circuit: Compiled) -> None:
    """Three-sigma takes the place of the selection: it accepts whom Krum did not select, and rejects whom it did."""
    rules = rules_of(circuit)

    def krum(case: Settle) -> tuple[int, ...]:
        plain = Rules(rules.n, type(rules.filter)(rules.filter.f, rules.filter.m), "equal")
        return Settle(plain, [row[: rules.n + 1] for row in case.gram[: rules.n + 1]], case.beta).decision().mask

    def not_otherwise(case: Settle) -> bool:
        pairs = zip(case.decision().mask, deviations(case, weighed=False), strict=True)
        return any(bit and y > 0 > left for bit, (y, left) in pairs)

    cases = {
        "one more": first(rules, lambda c: any(a > b for a, b in zip(c.decision().mask, krum(c), strict=True))),
        "one less": first(rules, lambda c: any(a < b for a, b in zip(c.decision().mask, krum(c), strict=True))),
        "not by the distance from a mean with it": first(rules, not_otherwise),
        "nobody inside": settle(rules, [[3, i] for i in range(rules.n)], beta=1),
    }
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


SIGMA: dict[str, Check] = COMMON | {"edges": sigma_edges, "takes in": sigma_takes_in}


# ---------------------------------------------------------------- cosine


def cosine_edges(circuit: Compiled) -> None:
    """For τ = 3/5 and the root (5, 0): (3, 4) is at the edge, (3, 5) is beyond, (−3, 4) is on the other side."""
    rules = rules_of(circuit)
    assert rules.filter.tau == Fraction(3, 5)
    rest = [[5, 0]] * (rules.n - 3)
    updates = [[3, 4], [3, 5], [-3, 4], *rest]
    at_edge = settle(rules, updates, root=[5, 0])
    assert at_edge.decision().mask[:3] == (1, 0, 0)
    turned = settle(rules, [[-x for x in u] for u in updates], root=[5, 0])
    assert turned.decision().mask == (0, 0, 1, *[0] * len(rest))
    absent = settle(rules, updates, root=[0, 0])
    zeros = settle(rules, [[0, 0], [0, 7], [0, -7], *rest], root=[5, 0])
    assert zeros.decision().mask[:3] == (1, 0, 0)
    assert absent.decision().mask == (1,) * rules.n
    above = changed_entry(at_edge, 1, 1, 26)
    assert above.decision().mask[0] == 0
    just = settle(rules, [[1, 1, 1], *[[1, 0, 0]] * (rules.n - 1)], root=[1, 0, 0])  # 25·1 − 9·3 = −2
    assert just.decision().mask == (0, *[1] * (rules.n - 1))
    long = settle(rules, [[30, 0], *updates[1:]], beta=40, root=[5, 0])
    assert long.decision().mask[0] == 0
    cases = {"at the edge": at_edge, "turned round": turned, "no root": absent, "orthogonal": zeros, "one more": above}
    cases |= {"too long, in the right direction": long, "just beyond": just}
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


COSINE: dict[str, Check] = COMMON | {
    "edges": cosine_edges,
    "norm bound": settlement_norm_bound,
    "last inside": settlement_last_inside,
}


# ---------------------------------------------------------------- scores


def reference_scores(circuit: Compiled) -> None:
    """Root and novel scores: clipped at 0, 0 for the rejected, and without the reference what the docs say."""
    rules = rules_of(circuit)
    name = {"root": "root", "novel": "last"}[rules.score]

    def value(case: Settle) -> list[int]:
        gram, along, mask = case.trainers(), inner(case, name), case.decision().mask
        if name == "root":
            return along[:-1]
        common = sum(g for g, bit in zip(along, mask, strict=False) if bit)
        phi = [sum(g for g, bit in zip(row, mask, strict=True) if bit) for row in gram]
        return [p * (along[-1] or 1) - a * common for p, a in zip(phi, along, strict=False)]

    def some(wanted: Callable[[int, int], bool]) -> Callable[[Settle], bool]:
        return lambda case: (
            inner(case, name)[-1] > 0
            and any(wanted(v, bit) for v, bit in zip(value(case), case.decision().mask, strict=True))
        )

    cases = {
        "an accepted score": first(rules, some(lambda v, bit: v > 0 and bit == 1)),
        "a rejected one would be positive": first(rules, some(lambda v, bit: v > 0 and bit == 0)),
    }
    if rules.filter.tau is None:
        cases["an accepted one is negative"] = first(rules, some(lambda v, bit: v < 0 and bit == 1))
    absent = first(rules, lambda c: inner(c, name)[-1] == 0 and sum(c.decision().mask) > 1)
    assert (max(absent.decision().scores) > 0) == (name == "last"), "without P as Shapley's, without a root 0"
    cases["no reference"] = absent
    if name == "last":
        again = settle(rules, [[4, 2], [2, 1], [2, 2], *[[2, 3]] * (rules.n - 3)], last=[6, 3])
        assert again.decision().scores[0] == again.decision().scores[1] == 0 < again.decision().scores[2]
        cases["who resends P"] = again
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


SCORED: dict[str, Check] = COMMON | {"scores": reference_scores}


def root_inputs(case: Settle, slot: int, claim: int) -> Sequence[Sequence[int]]:
    claimed = list(case.decision().scores)
    claimed[slot] = claim
    return case.inputs(claimed=claimed)


def wrong_roots(circuit: Compiled) -> None:
    """No other s than the right one is accepted for any trainer: one more, one less, signs, roots of the field."""
    rules = rules_of(circuit)
    case = settle(rules, [*cluster(rules)[:-2], [0] * 8, [-x for x in cluster(rules)[0]]])
    right = case.decision().scores
    assert min(right) == 0 < max(right)
    cap = case.rules.circuit().numbers["cap"]
    two = pow(2, (P + 1) // 4, P) if P % 4 == 3 else square_root(4 * right[0] ** 2)
    for slot in (0, rules.n - 2, rules.n - 1):
        s = right[slot]
        wrong = {s + 1, s - 1, s + 1000, 2 * s + 1, -s - 1, cap, cap + 1, cap + 2, P // 2, P // 2 + 1, two, P - two}
        wrong |= {-s} if s else set()
        wrong |= {(2 * s + odd) * (P + 1) // 2 % P for odd in (-3, -1, 1, 3)}  # halves, whose doubles are small
        for claim in wrong - {s}:
            assert refused(circuit, root_inputs(case, slot, claim), rules), f"slot {slot}: {claim} for {s} is accepted"
    square = settle(rules, [[2**i, 0] for i in range(rules.n)])
    at = square.decision().scores.index(max(square.decision().scores))
    least = square.decision().scores[at] - 1
    assert refused(circuit, root_inputs(square, at, least), rules), "one less than an exact root is accepted"
    check_circuit(circuit, valid=[case.valid("the right ones")])


def square_root(value: int) -> int:
    """A square root mod p (Tonelli and Shanks), of a square."""
    odd, two = P - 1, 0
    while odd % 2 == 0:
        odd, two = odd // 2, two + 1
    other = next(z for z in range(2, 100) if pow(z, (P - 1) // 2, P) == P - 1)
    m, c, t, root = two, pow(other, odd, P), pow(value, odd, P), pow(value, (odd + 1) // 2, P)
    while t != 1:
        i, power = 0, t
        while power != 1:
            power, i = power * power % P, i + 1
        b = pow(c, 1 << (m - i - 1), P)
        m, c, t, root = i, b * b % P, t * b * b % P, root * b % P
    return root


def root_edges(circuit: Compiled) -> None:
    """Where 2^32 φ²/G is a square, and where it is one less: the largest s with s² <= it."""
    rules = rules_of(circuit)
    exact = settle(rules, [[2**i, 0] for i in range(rules.n)])
    less = changed_entry(exact, 1, 1, 2)
    negative = first(rules, lambda c: any(bit and p < 0 for bit, p in zip(c.decision().mask, phis(c), strict=True)))
    rejected = first(rules, lambda c: any(p > 0 and not bit for bit, p in zip(c.decision().mask, phis(c), strict=True)))
    cases = {"squares": exact, "no square": less, "a negative one": negative, "a rejected one": rejected}
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def phis(case: Settle) -> list[int]:
    mask = case.decision().mask
    return [sum(g for g, bit in zip(row, mask, strict=True) if bit) for row in case.trainers()]


ROOTS: dict[str, Check] = COMMON | {"edges": root_edges, "wrong roots": wrong_roots}
