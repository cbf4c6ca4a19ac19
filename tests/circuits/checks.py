"""What the suite asks of each circuit: the honest ones pass every check, each mutant fails the one it is made for."""

from __future__ import annotations

import functools
import random
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from circuits import NOISE
from tests.circuits.harness import (
    FIELD_EDGES,
    NO_DECOMPOSITION,
    UNSATISFIED_LOOKUP,
    Compiled,
    Inputs,
    Invalid,
    Valid,
    changed,
    check_circuit,
)
from zkmarket.contribution import references
from zkmarket.errors import StatementFalse
from zkmarket.field import P
from zkmarket.rules import SCORE_LIMIT, Domain, Filter, Gram, krum_scores, norm_bound, squared_norms
from zkmarket.settlement import Outcome, combined, decide
from zkmarket.statements import SALTS, Circuit, check_settings, settlement_logrows, settlement_statement

Check = Callable[[Compiled], None]

TAGS = (*FIELD_EDGES, 2**248 - 1)


def settings(circuit: Compiled) -> None:
    """The lookups, tables, rows, inputs and outputs that build.py asserts at every build."""
    check_settings(circuit.settings, circuit.circuit, counted=not circuit.cut)


def scalars(n: int, seed: int = 0) -> list[int]:
    """n field elements, the same for the same seed."""
    rng = random.Random(seed)
    return [rng.randrange(P) for _ in range(n)]


# ---------------------------------------------------------------- inner product


def gram_inputs(circuit: Circuit, values: list[int], salts: list[int] | None = None) -> Inputs:
    missing = circuit.numbers["chunk"] - len(values)
    return [[*values, *[0] * missing, *(scalars(circuit.numbers["salts"]) if salts is None else salts)]]


def gram_arithmetic(circuit: Compiled) -> None:
    """y = Σ v² mod p, for random values and for those at the edges of the field, in every row."""
    chunk = circuit.circuit.numbers["chunk"]
    vectors = {
        "random": scalars(chunk),
        "edges": [FIELD_EDGES[k % len(FIELD_EDGES)] for k in range(chunk)],
        "largest": [P - 1] * chunk,
        "zero": [0] * chunk,
        "one, first": changed([0] * chunk, 0, 1),
        "two, last": changed([0] * chunk, chunk - 1, 2),
    }
    check_circuit(
        circuit,
        valid=[Valid(what, gram_inputs(circuit.circuit, v), [sum(x * x for x in v)]) for what, v in vectors.items()],
    )


def gram_salts(circuit: Compiled) -> None:
    """Salts take no part, whatever they are."""
    many = circuit.circuit.numbers["salts"]
    values = scalars(circuit.circuit.numbers["chunk"], seed=1)
    y = sum(v * v for v in values)
    check_circuit(
        circuit,
        valid=[
            Valid(f"salts {salt:#x}", gram_inputs(circuit.circuit, values, [salt] * many), [y]) for salt in FIELD_EDGES
        ],
    )


GRAM: dict[str, Check] = {"settings": settings, "arithmetic": gram_arithmetic, "salts": gram_salts}


# ---------------------------------------------------------------- range


@dataclass(frozen=True)
class Chunk:
    """Inputs of a range proof: honest ones, until something is replaced."""

    circuit: Circuit
    tag: int = 0x7A6
    values: dict[int, int] = field(default_factory=dict)
    noise: dict[int, int] = field(default_factory=dict)
    salts: int | None = None

    def column(self) -> list[int]:
        low, high = self.circuit.how.lookup_range
        numbers, rng = self.circuit.numbers, random.Random(5)
        used = numbers["used"] or numbers["chunk"]
        values = [rng.randint(low, high) for _ in range(used)] + [0] * (numbers["chunk"] - used)
        for at, value in self.values.items():
            values[at] = value
        return values

    def inputs(self) -> Inputs:
        low, high = self.circuit.how.lookup_range
        rng = random.Random(6)
        noise = [rng.randint(low, high) for _ in range(range_noise(self.circuit))]
        for at, value in self.noise.items():
            noise[at] = value
        many = self.circuit.numbers["salts"]
        salts = scalars(many) if self.salts is None else [self.salts] * many
        return [[*self.column(), *salts], [self.tag, *noise, *salts]]

    def outputs(self) -> list[int]:
        """The tag, and the energy past `used` where the circuit has it."""
        used = self.circuit.numbers["used"]
        return [self.tag] if used is None else [self.tag, sum(v * v for v in self.column()[used:])]

    def valid(self, what: str) -> Valid:
        return Valid(what, self.inputs(), self.outputs())


def range_noise(circuit: Circuit) -> int:
    """How many noise values there are: the second input without its tag and salts."""
    return circuit.committed[1] - 1 - circuit.numbers["salts"]


def places(circuit: Circuit) -> Iterator[tuple[str, Callable[[int], Chunk]]]:
    """Where a value may hide: both ends and the middle of the chunk and of the noise."""
    chunk = circuit.numbers["chunk"]
    used = circuit.numbers["used"] or chunk
    for at in sorted({0, chunk // 2, used - 1, used % chunk, chunk - 1}):
        yield f"value {at}", lambda value, at=at: Chunk(circuit, values={at: value})
    many = range_noise(circuit)
    for at in sorted({0, NOISE - 1, NOISE % many, many - 1}):
        yield f"noise value {at}", lambda value, at=at: Chunk(circuit, noise={at: value})


def range_edges(circuit: Compiled) -> None:
    """−Q and Q − 1 are accepted everywhere."""
    low, high = circuit.circuit.how.lookup_range
    check_circuit(
        circuit,
        valid=[
            place(edge).valid(f"{what} = {edge}") for what, place in places(circuit.circuit) for edge in (low, high)
        ],
    )


def range_beyond(circuit: Compiled) -> None:
    """−Q − 1 and Q are refused everywhere."""
    low, high = circuit.circuit.how.lookup_range
    check_circuit(
        circuit,
        invalid=[
            Invalid(f"{what} = {value}", place(value).inputs(), UNSATISFIED_LOOKUP)
            for what, place in places(circuit.circuit)
            for value in (low - 1, high + 1)
        ],
    )


def range_far_beyond(circuit: Compiled) -> None:
    """So are values that a conversion to machine integers could wrap into the range."""
    check_circuit(
        circuit,
        invalid=[
            Invalid(f"first value {value:#x}", Chunk(circuit.circuit, values={0: value}).inputs(), UNSATISFIED_LOOKUP)
            for value in (2**16, 2**32, 2**64 + 1, 2**127, 2**128, 2**128 + 1, P // 2, P - 2**128)
        ],
    )


def range_tag(circuit: Compiled) -> None:
    check_circuit(circuit, valid=[Chunk(circuit.circuit, tag=tag).valid(f"tag {tag:#x}") for tag in TAGS])


def range_salts(circuit: Compiled) -> None:
    """Salts are not looked up: they may be anything."""
    check_circuit(circuit, valid=[Chunk(circuit.circuit, salts=s).valid(f"salts {s:#x}") for s in FIELD_EDGES])


def range_salts_in_wrong_rows(circuit: Compiled) -> None:
    """Salts one row early, inside the C values, are refused: they would be energy that nobody checked."""
    column, tagged = Chunk(circuit.circuit).inputs()
    salts = circuit.circuit.numbers["salts"]
    early = [*column[: -salts - 1], *column[-salts:], 0]
    tagged_early = [*tagged[: -salts - 1], *tagged[-salts:], 0]
    check_circuit(
        circuit,
        valid=[Chunk(circuit.circuit).valid("salts in their rows")],
        invalid=[
            Invalid("salts of the chunk one row early", [early, tagged], UNSATISFIED_LOOKUP),
            Invalid("salts of the noise one row early", [column, tagged_early], UNSATISFIED_LOOKUP),
        ],
    )


def range_padding(circuit: Compiled) -> None:
    """z is the energy of exactly the rows from `used` to C."""
    used, chunk = circuit.circuit.numbers["used"], circuit.circuit.numbers["chunk"]
    energies = {
        "none": {},
        "before the padding": {used - 1: 77},
        "first row": {used: 3},
        "last row": {chunk - 1: -4},
        "everywhere": dict.fromkeys(range(used, chunk), -1),
        "two that would cancel": {used: 5, chunk - 1: -5},
    }
    two = 50 if chunk - used > 1 else 25
    cases = [Chunk(circuit.circuit, values=values).valid(f"energy {what}") for what, values in energies.items()]
    assert [case.outputs[1] for case in cases] == [0, 0, 9, 16, chunk - used, two]
    check_circuit(circuit, valid=cases)


def lookup_arguments(circuit: Compiled) -> tuple[list[int], list[int]]:
    """The lookup argument of each value of the chunk and of each noise value, in order.

    ezkl gives every block of columns an argument of its own. Where a value is looked up is read from the reasons for
    which values out of range are refused; values are looked up in the order of their rows.
    """
    chunk, many = circuit.circuit.numbers["chunk"], range_noise(circuit.circuit)
    out = circuit.circuit.how.lookup_range[1] + 1

    def arguments(inputs: Inputs) -> list[int]:
        try:
            circuit.run(inputs)
        except StatementFalse as error:
            return [int(index) for index in re.findall(r"Lookup \(index: (\d+)\)", str(error))]
        raise AssertionError("values out of range: accepted")

    values = arguments(Chunk(circuit.circuit, values=dict.fromkeys(range(chunk), out)).inputs())
    noise = arguments(Chunk(circuit.circuit, noise=dict.fromkeys(range(many), out)).inputs())
    assert (len(values), len(noise)) == (chunk, many), "every lookup is reported once"
    return values, noise


def range_noise_everywhere(circuit: Compiled) -> None:
    """Each lookup argument that sees a value of the chunk sees at least NOISE noise values."""
    values, noise = lookup_arguments(circuit)
    for argument in set(values):
        count = noise.count(argument)
        assert count >= NOISE, f"argument {argument} has values without noise: {count}, wanted {NOISE}"


RANGE: dict[str, Check] = {
    "settings": settings,
    "edges": range_edges,
    "beyond": range_beyond,
    "far beyond": range_far_beyond,
    "tag": range_tag,
    "salts": range_salts,
    "salts in wrong rows": range_salts_in_wrong_rows,
    "noise": range_noise_everywhere,
}
RANGE_LAST: dict[str, Check] = RANGE | {"padding": range_padding}


# ---------------------------------------------------------------- settlement


MADE: dict[int, Rules] = {}
"""The rules of every circuit that was made here; `Rules.circuit` keeps the circuits."""


@dataclass(frozen=True)
class Rules:
    """A settlement circuit's rules, with the size and bound of an update."""

    n: int
    filter: Filter
    score: str = "shapley"
    params: int = 64
    bound: int = 508
    beta_max: int | None = None

    @functools.cache  # noqa: B019 (a handful of rules a session)
    def circuit(self) -> Circuit:
        beta_max = self.beta_max or norm_bound(self.params, self.bound)
        project = (self.n, self.params, self.bound, beta_max, self.filter, self.score)
        made = settlement_statement(settlement_logrows(*project), *project, SALTS)
        MADE[id(made)] = self
        return made

    @property
    def references(self) -> tuple[str, ...]:
        return references(self.filter, self.score)

    @property
    def slots(self) -> int:
        return 1 + self.n + len(self.references)

    def __str__(self) -> str:
        return f"{self.n}-{self.filter}-{self.score}"


@dataclass(frozen=True)
class Settle:
    """One settlement: the whole (N+1)×(N+1) matrix, challenges, β."""

    rules: Rules
    gram: Gram
    beta: int
    r: tuple[int, ...] | None = None

    @property
    def domain(self) -> Domain:
        domain = self.rules.circuit().domain
        assert domain is not None
        return domain

    @property
    def challenges(self) -> list[int]:
        return [c >> 126 for c in scalars(self.rules.slots, seed=9)] if self.r is None else list(self.r)

    def trainers(self) -> list[list[int]]:
        return [list(row[1 : self.rules.n + 1]) for row in self.gram[1 : self.rules.n + 1]]

    def decision(self) -> Outcome:
        """The integer oracle of zkmarket/settlement.py."""
        manifest = SimpleNamespace(filter=self.rules.filter, domain=self.domain, score=self.rules.score)
        return decide(manifest, [row[1:] for row in self.gram[1:]], self.beta)

    def inputs(self, noise: list[int] | None = None, claimed: Sequence[int] | None = None) -> Inputs:
        """What the prover gives; `claimed` are cosine-shapley scores, the oracle's unless said otherwise."""
        slots = range(self.rules.slots)
        if claimed is None:
            claimed = self.decision().scores if self.rules.score == "cosine-shapley" else ()
        if noise is None:
            limit = 1 << self.domain.digit_bits * self.domain.digits
            noise = [secrets.randbelow(limit) for _ in range(NOISE)]
        upper = [self.gram[i][j] for i in slots for j in slots if i <= j]
        salts = scalars(SALTS)
        return [[*upper, *salts], [*self.challenges, self.beta, *claimed, *noise, *salts]]

    def outputs(self) -> list[int]:
        outcome = self.decision()
        q = combined(self.gram, self.challenges)
        return [q, *self.challenges, self.beta, *outcome.mask, *outcome.scores, outcome.nu]

    def valid(self, what: str) -> Valid:
        return Valid(what, self.inputs(), self.outputs())


def matrix(updates: list[list[int]], mask: list[int]) -> list[list[int]]:
    """G over all slots: slot 0's row is given, the rest are inner products of integer updates."""
    inner = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in updates] for u in updates]
    return [list(mask), *([mask[i + 1], *row] for i, row in enumerate(inner))]


def settle(
    rules: Rules,
    updates: list[list[int]],
    beta: int | None = None,
    mask: list[int] | None = None,
    root: list[int] | None = None,
    last: list[int] | None = None,
) -> Settle:
    """A settlement of these updates. Unless said otherwise β lets all of them in, slot 0's row is random, the root
    update is the first one's, and the last aggregate is the sum of all."""
    held = {"root": root or updates[0], "last": last or [sum(values) for values in zip(*updates, strict=True)]}
    vectors = [*updates, *(held[name] for name in rules.references)]
    gram = matrix(vectors, scalars(rules.slots, seed=3) if mask is None else mask)
    return Settle(rules, gram, max(gram[i][i] for i in range(1, rules.n + 1)) if beta is None else beta)


def search(rules: Rules, wanted: Callable[[Settle], bool], size: int = 3, spread: int = 4) -> Settle:
    """The first of a fixed sequence of small random settlements that is as wanted."""
    for seed in range(5000):
        rng = random.Random(seed)
        updates = [[rng.randint(-spread, spread) for _ in range(size)] for _ in range(rules.n)]
        found = settle(rules, updates)
        if wanted(found):
            return found
    raise AssertionError("no such settlement: change the search")


def cluster(rules: Rules, size: int = 8, length: int = 50, seed: int = 1) -> list[list[int]]:
    """N − 1 similar updates and one that points the other way."""
    rng = random.Random(seed)
    common = [rng.randint(-length, length) for _ in range(size)]
    near = [[c + rng.randint(-length // 4, length // 4) for c in common] for _ in range(rules.n - 1)]
    return [*near, [-c for c in common]]


def raw_phi(case: Settle) -> list[int]:
    """φ_i or the leave-one-out value of every slot, before mask and clipping."""
    gram, mask = case.trainers(), case.decision().mask
    phi = [sum(g for g, bit in zip(row, mask, strict=True) if bit) for row in gram]
    if case.rules.score == "leave-one-out":
        phi = [2 * p - gram[i][i] for i, p in enumerate(phi)]
    return phi


def wrong_mask(case: Settle, f: int | None = None, penalty: int | None = None) -> tuple[int, ...]:
    """The mask with another f or penalty: shows that a case can tell the difference."""
    gram, rule = case.trainers(), case.rules.filter
    inside = [norm <= case.beta for norm in squared_norms(gram)]
    extra = case.domain.penalty if penalty is None else penalty
    scores = krum_scores(gram, rule.f if f is None else f)
    ranked = [score + (0 if ok else extra) for score, ok in zip(scores, inside, strict=True)]
    threshold = sorted(ranked)[rule.m - 1]
    return tuple(int(ok and score <= threshold) for score, ok in zip(ranked, inside, strict=True))


def settlement_oracle(circuit: Compiled) -> None:
    """Every output bit is the oracle's, on ordinary, tied and empty rounds."""
    rules = rules_of(circuit)
    n = rules.n
    updates = cluster(rules)
    ordinary = settle(rules, updates)
    tied = search(rules, lambda c: sum(c.decision().mask) > rules.filter.m, spread=2) if rules.filter.m < n else None
    edges = [FIELD_EDGES[-1 - i % len(FIELD_EDGES)] for i in range(rules.slots)]
    cases = {
        "cluster and outlier": ordinary,
        "all the same": settle(rules, [updates[0]] * n),
        "one zero update": settle(rules, [*updates[:-1], [0] * 8]),
        "all zero": settle(rules, [[0]] * n),
        "all zero, β = 0": settle(rules, [[0]] * n, beta=0),
        "distinct norms": settle(rules, line(n)),
        "challenges at the edges of the field": Settle(rules, ordinary.gram, ordinary.beta, tuple(edges)),
        "slot 0 at the edges of the field": settle(rules, updates, mask=edges),
        "challenges 0": Settle(rules, ordinary.gram, ordinary.beta, (0,) * rules.slots),
    }
    if tied is not None:
        cases["more than m accepted, by a tie"] = tied
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def line(n: int) -> list[list[int]]:
    """Updates on a line with distinct norms and distinct distances: no tie anywhere."""
    return [[2**i] for i in range(n)]


def settlement_each_slot(circuit: Compiled) -> None:
    """q takes in every slot, the mask's own included: each challenge alone picks its diagonal entry."""
    rules = rules_of(circuit)
    case = settle(rules, cluster(rules))
    slots = rules.slots
    singles = [Settle(rules, case.gram, case.beta, tuple(int(i == j) for j in range(slots))) for i in range(slots)]
    assert [single.outputs()[0] for single in singles] == [case.gram[i][i] for i in range(slots)]
    check_circuit(circuit, valid=[single.valid(f"r = unit vector {i}") for i, single in enumerate(singles)])


def settlement_norm_bound(circuit: Compiled) -> None:
    """G_ii = β is inside, β + 1 is not: tried on each update in turn."""
    rules = rules_of(circuit)
    updates = line(rules.n)
    cases = [settle(rules, updates, beta=updates[1][0] ** 2 + 1).valid("β = G_11 + 1")]
    for i, update in enumerate(updates):
        norm = update[0] ** 2
        at, over = settle(rules, updates, beta=norm), settle(rules, updates, beta=norm - 1)
        assert over.decision().mask[i] == 0
        cases += [at.valid(f"β = G_{i}{i}"), over.valid(f"β = G_{i}{i} − 1")]
    check_circuit(circuit, valid=cases)


def settlement_last_inside(circuit: Compiled) -> None:
    """The longest update of a tight cluster is accepted at β = G_ii and not at β = G_ii − 1."""
    rules = rules_of(circuit)
    case = settle(rules, [[9, 9]] * rules.n)
    norm = case.gram[1][1]
    below = Settle(rules, case.gram, norm - 1)
    assert (sum(case.decision().mask), sum(below.decision().mask)) == (rules.n, 0)
    check_circuit(circuit, valid=[case.valid("β = G_ii for all"), below.valid("β = G_ii − 1 for all")])


def settlement_ranking(circuit: Compiled) -> None:
    """The selection is by the sum of exactly N − f − 2 distances, up to exactly the m-th."""
    rules = rules_of(circuit)
    n, f, m = rules.n, rules.filter.f, rules.filter.m
    cases = {}
    if m < n:
        cases["the (m+1)-th is not accepted"] = search(
            rules, lambda c: sum(c.decision().mask) == m and 0 not in raw_phi(c)
        )
        for other in {f - 1, f + 1} & set(range(n - 2)):
            cases[f"f = {other} would choose others"] = search(
                rules, lambda c, other=other: c.decision().mask != wrong_mask(c, f=other), spread=9
            )
    cases["the m-th itself is accepted"] = search(rules, lambda c: sum(c.decision().mask) == m)
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def settlement_long_updates(circuit: Compiled) -> None:
    """Long updates that clone themselves rank first without the penalty; with it they are last, and never accepted."""
    rules = rules_of(circuit)
    n, rule = rules.n, rules.filter
    short = [[10 + i, 3 * i] for i in range(rule.f + 1)]
    clones = settle(rules, [*short, *[[400, 0]] * (n - rule.f - 1)], beta=10_000)
    scores = krum_scores(clones.trainers(), rule.f)
    assert max(scores[rule.f + 1 :]) == 0 < min(scores[: rule.f + 1]), "the clones lead the bare ranking"
    if rule.m <= n - rule.f - 1:
        assert sum(wrong_mask(clones, penalty=0)) == 0, "and would shut everybody out"
    assert clones.decision().mask == (1,) * (rule.f + 1) + (0,) * (n - rule.f - 1)
    one_long = settle(rules, [*[[20, i] for i in range(n - 1)], [500, 500]], beta=10_000)
    majority = settle(
        rules, [*[[20, i] for i in range(n // 2)], *[[300 + i, i] for i in range(n - n // 2)]], beta=10_000
    )
    none = settle(rules, [[300 + i, 1] for i in range(n)], beta=10_000)
    assert sum(none.decision().mask) == 0
    cases = {
        "long clones": clones,
        "one long": one_long,
        "a majority over β": majority,
        "all over β": none,
    }
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def settlement_scores(circuit: Compiled) -> None:
    """Accepted scores are clipped at 0; the rejected have 0 although they would have more."""
    rules = rules_of(circuit)

    def clipped(case: Settle) -> bool:
        return any(bit and value < 0 for bit, value in zip(case.decision().mask, raw_phi(case), strict=True))

    def rejected_positive(case: Settle) -> bool:
        return any(not bit and value > 0 for bit, value in zip(case.decision().mask, raw_phi(case), strict=True))

    cases = {"an accepted score is negative": search(rules, clipped)}
    if rules.filter.m < rules.n:
        cases["a rejected score would be positive"] = search(rules, rejected_positive)
    long = settle(rules, [*[[5, 1]] * (rules.n - 1), [9, 2]], beta=50)
    assert rejected_positive(long)
    cases["a rejected long update has a positive score"] = long
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def settlement_median(circuit: Compiled) -> None:
    """ν is the lower median of the squared norms, long updates included, in any order."""
    rules = rules_of(circuit)
    n = rules.n
    updates = line(n)
    middle = 4 ** ((n - 1) // 2)
    cases = {}
    for what, order in (("ascending", updates), ("descending", updates[::-1]), ("rotated", updates[1:] + updates[:1])):
        for beta in (4**n, 1):
            case = settle(rules, order, beta=beta)
            assert case.decision().nu == middle
            cases[f"{what}, β = {beta}"] = case
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def settlement_extremes(circuit: Compiled) -> None:
    """The largest values that updates of D integers in [−Q, Q) can give, and the largest that the digits can hold."""
    rules = rules_of(circuit)
    n, d, q = rules.n, rules.params, rules.bound
    low, high = [-q] * d, [q - 1] * d
    far = settle(rules, [*[low] * (n // 2), *[high] * (n - n // 2)])
    limit = 1 << far.domain.digit_bits * far.domain.digits
    zero = settle(rules, [[0]] * n)
    cases = {
        "opposite corners": far,
        "opposite corners, β_max": Settle(rules, far.gram, d * q * q),
        "opposite corners, β = 0": Settle(rules, far.gram, 0),
        "all in one corner": settle(rules, [low] * n),
        "the largest β that the digits hold": Settle(rules, zero.gram, limit // 2 - 1),
        "a squared norm of −1": changed_entry(zero, n, n, -1),
    }
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def settlement_beyond(circuit: Compiled) -> None:
    """A value that the digits cannot hold is refused, never wrapped."""
    rules = rules_of(circuit)
    n = rules.n
    case = settle(rules, [[0]] * n, beta=5)
    limit = 1 << case.domain.digit_bits * case.domain.digits
    bad = {
        "the smallest β that the digits do not hold": Settle(rules, case.gram, limit // 2),
        "a squared norm of base^digits": changed_entry(case, n, n, limit),
        "an inner product of base^digits": changed_entry(case, 1, n, limit),
        "an inner product of −base^digits": changed_entry(case, 1, 2, -limit),
    }
    for value in (2**64, 2**127, 2**128, 2**128 + 5, P // 3, P // 5, P - 2**128):
        bad[f"a squared norm of {value:#x}"] = changed_entry(case, 1, 1, value)
        bad[f"an inner product of {value:#x}"] = changed_entry(case, 1, 2, value)
    check_circuit(
        circuit,
        valid=[case.valid("the honest twin")],
        invalid=[Invalid(what, each.inputs(), NO_DECOMPOSITION) for what, each in bad.items()],
    )


def settlement_noise(circuit: Compiled) -> None:
    """Each noise value is decomposed: the largest is accepted and one more is refused; outputs do not depend on it."""
    rules = rules_of(circuit)
    case = settle(rules, cluster(rules))
    limit = 1 << case.domain.digit_bits * case.domain.digits
    valid, invalid = [], []
    for at in (0, 1, NOISE // 2, NOISE - 1):
        largest = case.inputs(changed([7] * NOISE, at, limit - 1))
        valid.append(Valid(f"noise value {at} is the largest", largest, case.outputs()))
        valid.append(Valid(f"noise value {at} is 0", case.inputs(changed([7] * NOISE, at, 0)), case.outputs()))
        beyond = case.inputs(changed([7] * NOISE, at, limit))
        invalid.append(Invalid(f"noise value {at} is base^digits", beyond, NO_DECOMPOSITION))
    check_circuit(circuit, valid, invalid)


def refused(circuit: Compiled, inputs: Sequence[Sequence[int]], rules: Rules) -> bool:
    """Whether there is no proof of these inputs, or only one with a mask or a score that the verifier refuses."""
    try:
        outputs = circuit.run(inputs)
    except StatementFalse:
        return True
    start = rules.slots + 2
    mask, scores = outputs[start : start + rules.n], outputs[start + rules.n : start + 2 * rules.n]
    return any(bit not in (0, 1) for bit in mask) or max(scores) >= SCORE_LIMIT


def longest_norm(circuit: Compiled) -> None:
    """Nobody's squared norm, nor the root's, is beyond D·Q²: each slot in turn at the bound, and one step beyond it."""
    rules = rules_of(circuit)
    case = settle(rules, cluster(rules))
    bound = norm_bound(rules.params, rules.bound)
    held = [1, rules.n // 2, rules.n]
    if "root" in rules.references:
        held.append(1 + rules.n + rules.references.index("root"))
    for slot in held:
        at = changed_entry(case, slot, slot, bound)
        check_circuit(circuit, valid=[at.valid(f"slot {slot} at the bound")])
        half = (2 * bound + 1) * (P + 1) // 2 % P  # its difference to the bound, doubled, and 1, is 0
        for what, value in (("one more", bound + 1), ("half more", half), ("twice", 2 * bound)):
            wrong = changed_entry(case, slot, slot, value)
            for beta in (case.beta, 0):  # 0: nobody is accepted, so that a step more in the mask would make bits of it
                inputs = Settle(rules, wrong.gram, beta).inputs()
                assert refused(circuit, inputs, rules), f"slot {slot}: {what} than D·Q² is accepted"


def changed_entry(case: Settle, i: int, j: int, value: int) -> Settle:
    """The same settlement with G_ij = G_ji = value."""
    gram = [list(row) for row in case.gram]
    gram[i][j] = gram[j][i] = value
    return Settle(case.rules, gram, case.beta, case.r)


def rules_of(circuit: Compiled) -> Rules:
    """The rules that a circuit was made of."""
    return MADE[id(circuit.circuit)]


SETTLEMENT: dict[str, Check] = {
    "settings": settings,
    "oracle": settlement_oracle,
    "each slot": settlement_each_slot,
    "norm bound": settlement_norm_bound,
    "last inside": settlement_last_inside,
    "ranking": settlement_ranking,
    "long updates": settlement_long_updates,
    "scores": settlement_scores,
    "median": settlement_median,
    "extremes": settlement_extremes,
    "beyond": settlement_beyond,
    "noise": settlement_noise,
    "longest": longest_norm,
}
