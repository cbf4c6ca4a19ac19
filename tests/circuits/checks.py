"""What the suite asks of each circuit: the honest ones pass every check, each mutant fails the one it is made for."""

from __future__ import annotations

import functools
import math
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul
from types import SimpleNamespace

from tests.circuits.harness import (
    FIELD_EDGES,
    NO_DECOMPOSITION,
    Compiled,
    Inputs,
    Invalid,
    Valid,
    changed,
    check_circuit,
)
from zkmarket.backend import WITHOUT_LOOKUP, blocks_of, lay_out
from zkmarket.build.statements import SALTS, Circuit, check_settings, settlement_logrows, settlement_statement
from zkmarket.circuits import NOISE
from zkmarket.crypto import P, scalar_hex
from zkmarket.errors import StatementFalse
from zkmarket.round import Outcome, combined, decide
from zkmarket.rules import (
    SCORE_LIMIT,
    Domain,
    Filter,
    Gram,
    RuleSet,
    krum_scores,
    norm_bound,
    reference_slots,
    squared_norms,
)

Check = Callable[[Compiled], None]


def settings(circuit: Compiled) -> None:
    """The lookups, tables, rows, inputs and outputs that build.py asserts at every build."""
    check_settings(circuit.settings, circuit.circuit, counted=not circuit.cut)


def scalars(n: int, seed: int = 0) -> list[int]:
    """n field elements, the same for the same seed."""
    rng = random.Random(seed)
    return [rng.randrange(P) for _ in range(n)]


# ---------------------------------------------------------------- base


@dataclass(frozen=True)
class Opened:
    """Inputs of a base circuit: three columns of L cells, zeros unless said otherwise, and the point."""

    circuit: Circuit
    w: Sequence[int] = ()
    u: Sequence[int] = ()
    v: Sequence[int] = ()
    y: int = 3
    pairs: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """ℓ1 and ℓ2."""
        return self.circuit.numbers["rows"], self.circuit.numbers["width"]

    def columns(self) -> list[list[int]]:
        rows, width = self.shape
        return [list(column) or [0] * (rows * width) for column in (self.w, self.u, self.v)]

    def point(self) -> list[tuple[int, int]]:
        """(1, y^(2^k)) for k = K − 1 down to 0, or what is given in their place."""
        powers = [(1, pow(self.y, 1 << k, P)) for k in reversed(range(self.circuit.how.logrows))]
        return list(self.pairs) or powers

    def inputs(self) -> Inputs:
        return [*self.columns(), [factor for pair in self.point() for factor in pair]]

    def outputs(self) -> list[int]:
        """By the definition: a cell counts for the product of what its number's bits take of the pairs."""
        w, u, v = self.columns()
        pairs, value = self.point(), 0
        for at, cell in enumerate(v):
            if cell:
                bits = [at >> k & 1 for k in reversed(range(len(pairs)))]
                value += cell * math.prod(pair[bit] for pair, bit in zip(pairs, bits, strict=True))
        width = self.shape[1]
        echo = [factor for pair in pairs for factor in pair]
        return [*(sum(map(mul, a, b)) for a, b in ((w, w), (w[-width:], w[-width:]), (u, v))), *echo, value]

    def valid(self, what: str) -> Valid:
        return Valid(what, self.inputs(), self.outputs())


def unit(circuit: Circuit, at: int, value: int = 1) -> list[int]:
    cells = circuit.numbers["rows"] * circuit.numbers["width"]
    return changed([0] * cells, at % cells, value)


def base_arithmetic(circuit: Compiled) -> None:
    """All outputs, for random cells and for those at the edges of the field; V at y by Horner's rule, too."""
    made = circuit.circuit
    cells = made.committed[0]
    edges = [FIELD_EDGES[k % len(FIELD_EDGES)] for k in range(cells)]
    columns = {
        "random": [scalars(cells, seed) for seed in (1, 2, 3)],
        "edges": [edges, edges[::-1], edges[1:] + edges[:1]],
        "largest": [[P - 1] * cells] * 3,
        "zero": [[]] * 3,
    }
    cases = {what: Opened(made, *given, y=scalars(1, seed=4)[0]) for what, given in columns.items()}
    case, horner = cases["random"], 0
    for cell in reversed(case.v):
        horner = (horner * case.y + cell) % P
    assert case.outputs()[-1] % P == horner
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def base_every_row(circuit: Compiled) -> None:
    """One cell that is not 0, in each row of the matrix in turn, and in each column: what it counts for."""
    made = circuit.circuit
    rows, width = made.numbers["rows"], made.numbers["width"]
    cells = [row * width + (7 * row) % width for row in range(rows)] + list(range(0, 8 * width, width + 1))
    places = sorted({*cells, 0, width - 1, width, (rows - 1) * width - 1, (rows - 1) * width, rows * width - 1})
    cases = [Opened(made, *(unit(made, at, value) for value in (5, 7, 11))).valid(f"cell {at}") for at in places]
    check_circuit(circuit, valid=cases)


def base_salts(circuit: Compiled) -> None:
    """The salts' row of W is in o_1 and, alone, in o_2; that of U and V is in o_3, and V's at its place in o_4."""
    made = circuit.circuit
    rows, width = made.numbers["rows"], made.numbers["width"]
    first = (rows - 1) * width
    cells = scalars(rows * width, seed=5)
    values, salts = [*cells[:first], *[0] * width], [*[0] * first, *cells[first:]]
    cases = {"values only": values, "salts only": salts, "the last value": unit(made, first - 1)}
    cases |= {"the first salt": unit(made, first), "the last cell": unit(made, -1)}
    outputs = {what: Opened(made, column, column, column).outputs() for what, column in cases.items()}
    assert outputs["values only"][1] == 0 < outputs["values only"][2]
    assert outputs["salts only"][0] == outputs["salts only"][1] == outputs["salts only"][2] > 0
    check_circuit(circuit, valid=[Opened(made, column, column, column).valid(what) for what, column in cases.items()])


def base_columns_apart(circuit: Compiled) -> None:
    """W, U and V are three columns: each alone, and two of them at once."""
    made = circuit.circuit
    column, other = scalars(made.committed[0], seed=6), scalars(made.committed[0], seed=7)
    cases = {
        "W alone": Opened(made, w=column),
        "U alone": Opened(made, u=column),
        "V alone": Opened(made, v=column),
        "W and V": Opened(made, w=column, v=other),
        "U and V": Opened(made, u=column, v=other),
    }
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def base_point(circuit: Compiled) -> None:
    """The point is echoed as it is given, and V is evaluated there, also where it is made of no powers."""
    made = circuit.circuit
    logrows = made.how.logrows
    column = scalars(made.committed[0], seed=8)
    drawn = scalars(2 * logrows, seed=9)
    pairs = tuple(zip(drawn[::2], drawn[1::2], strict=True))
    cases = {f"y = {y:#x}": Opened(made, v=column, y=y) for y in FIELD_EDGES}
    cases |= {
        "no powers": Opened(made, v=column, pairs=pairs),
        "zeros": Opened(made, v=column, pairs=((0, 0),) * logrows),
    }
    for k in range(logrows):  # one power other than it should be
        powers = Opened(made).point()
        powers[k] = (1, powers[k][1] + 1)
        cases[f"power {k} is another"] = Opened(made, v=column, pairs=tuple(powers))
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def base_fits(circuit: Compiled) -> None:
    """Three blocks of columns, as `columns.base_rows` has it, and nothing that looks anything up."""
    made = circuit.circuit
    ones = [[scalar_hex(1)] * length for length in made.committed]
    placed = lay_out(circuit.files.folder / "circuit.onnx", made.how, ones)
    assert {op.name for op in placed.operations} <= WITHOUT_LOOKUP, "something is looked up"
    assert made.rows[0] == placed.rows and blocks_of(placed.rows, made.how.logrows) == 3


BASE: dict[str, Check] = {
    "settings": settings,
    "fits": base_fits,
    "arithmetic": base_arithmetic,
    "every row": base_every_row,
    "salts": base_salts,
    "columns apart": base_columns_apart,
    "point": base_point,
}


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

    @property
    def set(self) -> RuleSet:
        beta_max = self.beta_max or norm_bound(self.params, self.bound)
        return RuleSet(self.n, self.params, self.bound, beta_max, self.filter, self.score)

    @functools.cache  # noqa: B019 (a handful of rules a session)
    def circuit(self) -> Circuit:
        project = self.set
        made = settlement_statement(settlement_logrows(project), project, SALTS)
        MADE[id(made)] = self
        return made

    @property
    def references(self) -> tuple[str, ...]:
        return reference_slots(self.filter, self.score)

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
        """The integer oracle of zkmarket/round/settlement.py."""
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
