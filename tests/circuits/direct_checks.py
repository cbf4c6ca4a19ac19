"""What the suite asks of the direct circuits: the honest ones pass every check, each mutant fails the one it is for."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from tests.circuits.checks import Check, scalars, settings
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
from zkmarket.backend import Operation, lay_out
from zkmarket.build.statements import SALTS, Circuit, table_bound
from zkmarket.circuits import NOISE
from zkmarket.crypto import P
from zkmarket.round import Outcome, direct
from zkmarket.round.direct import (
    MAX_WEIGHT,
    Rule,
    aggregation_statement,
    combine_updates,
    decide,
    round_statement,
    statements,
)
from zkmarket.rules import MultiKrum

Updates = Sequence[Sequence[int]]

SHORT = 24
"""C of most circuits here. What they say does not depend on how long a column is, the cost of a case does."""


def of_chunk(chunk: int | None, statement: Callable[..., Circuit], *arguments: Any) -> Circuit:
    """The statement of columns of so many values; None for whole ones, as every build has."""
    short = mock.patch.object(statements, "Columns", lambda _: SimpleNamespace(values=chunk))
    with short if chunk else contextlib.nullcontext():
        return statement(*arguments)


def placed(circuit: Compiled) -> Sequence[Operation]:
    """Where everything lies in a proof, by ezkl's own log of a synthesis."""
    made = circuit.circuit
    return lay_out(circuit.files.folder / "circuit.onnx", made.how, made.sample()).operations


def in_place(circuit: Compiled) -> None:
    """All comparisons lie in one block of columns, and the table's lookups where there is noise in every one."""
    circuit.circuit.placed(placed(circuit))


def fresh_noise(circuit: Circuit, seed: int = 6) -> list[int]:
    rng = random.Random(seed)
    bits = circuit.domain.bits
    return [rng.choice((-1, 1)) * rng.randrange(1 << bits - (at < 64)) for at in range(NOISE)]


def table_noise(circuit: Circuit, places: dict[int, int]) -> list[int]:
    """Noise of the table as a prover draws it, but for some values."""
    noise = direct.noise_of_table(circuit)
    for at, value in places.items():
        noise[at] = value
    return noise


def columns_of(circuit: Circuit, vectors: Updates, salts: int | None = None, past: int = 0) -> Inputs:
    """C values ‖ S salts each; `past` is what stands in the last row of each chunk."""
    chunk, many = circuit.numbers["chunk"], circuit.numbers["salts"]
    ends = scalars(many) if salts is None else [salts] * many
    out = []
    for vector in vectors:
        values = [int(v) for v in vector] + [0] * (chunk - len(vector))
        out.append([*changed(values, chunk - 1, past), *ends] if past else [*values, *ends])
    return out


# ---------------------------------------------------------------- aggregation


@dataclass(frozen=True)
class Combine:
    """An aggregation circuit's numbers."""

    rule: Rule
    n: int = 5
    params: int = 8
    output: str = "opened"
    logrows: int = 13
    chunk: int | None = SHORT

    @functools.cache  # noqa: B019 (a handful a session)
    def circuit(self) -> Circuit:
        return of_chunk(self.chunk, aggregation_statement, self.logrows, self.n, self.params, self.rule, self.output)

    def __str__(self) -> str:
        return f"{self.n}-{self.rule}-{self.output}"


@dataclass(frozen=True)
class Combination:
    """Inputs of one aggregation: honest ones, until something is replaced."""

    of: Combine
    updates: Updates
    weights: tuple[int, ...] = ()
    noise: tuple[int, ...] = ()
    table: dict[int, int] = field(default_factory=dict)
    salts: int | None = None
    past: int = 0
    column: dict[int, int] = field(default_factory=dict)

    @property
    def used_weights(self) -> list[int]:
        return list(self.weights) or [1] * self.of.n

    def result(self) -> list[int]:
        """The oracle of zkmarket/round/direct."""
        weights = self.used_weights if self.of.rule.name == "mean" else None
        return combine_updates(self.of.rule, np.array(self.updates, np.int64), weights).tolist()

    def inputs(self) -> Inputs:
        circuit = self.of.circuit()
        out = list(columns_of(circuit, self.updates, self.salts, self.past))
        if circuit.numbers["committed"]:
            held = columns_of(circuit, [self.result()], self.salts)[0]
            for at, value in self.column.items():
                held = changed(held, at, value)
            out.append(held)
        head = self.used_weights if self.of.rule.name == "mean" else list(self.noise) or fresh_noise(circuit)
        many = circuit.numbers["salts"]
        ends = scalars(many) if self.salts is None else [self.salts] * many
        return [*out, [*head, *table_noise(circuit, self.table), *ends]]

    def outputs(self) -> list[int]:
        numbers = self.of.circuit().numbers
        head = self.used_weights if self.of.rule.name == "mean" else []
        if not numbers["committed"]:
            return [*head, *self.result()]
        honest = [*self.result(), *[0] * (numbers["chunk"] - self.of.params)]
        wrong = sum(at < numbers["chunk"] and value != honest[at] for at, value in self.column.items())
        return [*head, numbers["chunk"] - wrong]

    def valid(self, what: str) -> Valid:
        return Valid(what, self.inputs(), self.outputs())


def combine_of(circuit: Compiled) -> Combine:
    numbers = circuit.circuit.numbers
    made = Combine(
        Rule(numbers["rule"], numbers["trim"]),
        numbers["n"],
        numbers["params"],
        "committed" if numbers["committed"] else "opened",
        circuit.circuit.how.logrows,
        numbers["chunk"],
    )
    assert made.circuit().numbers == numbers
    return made


def random_updates(n: int, d: int, bound: int, seed: int = 1) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(-bound, bound) for _ in range(d)] for _ in range(n)]


def across(*coordinates: Sequence[int]) -> list[list[int]]:
    """Updates of which coordinate k has these N values: one witness tries many cases."""
    return [list(update) for update in zip(*coordinates, strict=True)]


def aggregation_oracle(circuit: Compiled) -> None:
    """Every output is the oracle's: ordinary and tied coordinates, and the edges of the range."""
    of = combine_of(circuit)
    n, d, q = of.n, of.params, table_bound(of.logrows)
    edges = across(
        [-q] * (n // 2) + [q - 1] * (n - n // 2),
        [-q] * (n - n // 2) + [q - 1] * (n // 2),
        [-q] + [q - 1] * (n - 1),
        [q - 1] * (n - 1) + [-q],
        [0] * n,
        [-7] * n,
        [5] * (n - 1) + [4],
        range(-n, 0),
    )
    cases = {"edges and ties": edges, "random": random_updates(n, d, q), "few values": random_updates(n, d, 2, seed=2)}
    check_circuit(circuit, valid=[Combination(of, updates).valid(what) for what, updates in cases.items()])


def aggregation_each_slot(circuit: Compiled) -> None:
    """Each slot in turn holds the smallest, the middle and the largest value; each coordinate is its own."""
    of = combine_of(circuit)
    ladders = [[100 * ((i + k) % of.n) * (-1 if k % 2 else 1) + k for i in range(of.n)] for k in range(of.params)]
    assert of.params >= of.n
    check_circuit(circuit, valid=[Combination(of, across(*ladders)).valid("a ladder, turned")])


def aggregation_weights(circuit: Compiled) -> None:
    """Weights are those of their slots, and echoed; zero and the largest among them."""
    of = combine_of(circuit)
    q = table_bound(of.logrows)
    updates = random_updates(of.n, of.params, q, seed=3)
    weights = {
        "distinct": tuple(range(1, of.n + 1)),
        "one alone": (0,) * (of.n - 1) + (7,),
        "none": (0,) * (of.n - 1) + (0,),
        "the largest": (MAX_WEIGHT,) * of.n,
    }
    cases = [Combination(of, updates, weights=w).valid(what) for what, w in weights.items()]
    corner = [[-q] * of.params] * of.n
    check_circuit(circuit, valid=[*cases, Combination(of, corner, (MAX_WEIGHT,) * of.n).valid("the largest sum")])


def aggregation_salts(circuit: Compiled) -> None:
    """Neither salts nor what stands past D in an update's chunk take part."""
    of = combine_of(circuit)
    updates = random_updates(of.n, of.params, 50)
    small = Combination(of, updates, salts=FIELD_EDGES[4], past=77)
    large = Combination(of, updates, salts=2**128)
    check_circuit(circuit, valid=[small.valid("salts −2, a value in the last row"), large.valid("large salts")])


def aggregation_table(circuit: Compiled) -> None:
    """Every value of every update is in the table, and so is its noise."""
    of = combine_of(circuit)
    check_table_of_values(circuit, Combination(of, [[0] * of.params] * of.n))


def check_table_of_values(circuit: Compiled, zero: Combination | Played) -> None:
    """−T and T − 1 are accepted everywhere; −T − 1 and T nowhere, nor what machine integers could wrap."""
    low, high = circuit.circuit.how.lookup_range
    n, d = zero.of.n, zero.of.params
    noise = len(table_noise(circuit.circuit, {}))

    def update(at: int, value: int) -> list[int]:
        return changed([0] * d, at, value)

    def accepted(slot: int, at: int, value: int) -> Valid:
        updates = [update(at, value) if i == slot else [0] * d for i in range(n)]
        return replace(zero, updates=updates).valid(f"update {slot} has {value} at {at}")

    def refused(slot: int, at: int, value: int) -> Invalid:
        """The result's column, if there is one, stays that of zeros."""
        inputs = list(zero.inputs())
        inputs[slot] = columns_of(circuit.circuit, [update(at, value)])[0]
        return Invalid(f"update {slot} has {value:#x} at {at}", inputs, OUT_OF_TABLE)

    valid, invalid = [zero.valid("zeros")], []
    for slot, at in ((0, 0), (0, d - 1), (n // 2, d // 2), (n - 1, 0), (n - 1, d - 1)):
        valid += [accepted(slot, at, value) for value in (low, high)]
        invalid += [refused(slot, at, value) for value in (low - 1, high + 1)]
    for value in (2**16, 2**32, 2**64 + 1, 2**127, 2**128, 2**128 + 1, P // 2, P // 3, P - 2**128):
        invalid.append(refused(0, 1, value))
    for at in (0, NOISE - 1, noise - NOISE, noise - 1):
        valid += [replace(zero, table={at: v}).valid(f"noise {at} of the table is {v}") for v in (low, high)]
        for value in (low - 1, high + 1):
            inputs = replace(zero, table={at: value}).inputs()
            invalid.append(Invalid(f"noise {at} of the table is {value}", inputs, UNSATISFIED_LOOKUP))
    check_circuit(circuit, valid, invalid)


OUT_OF_TABLE = f"{UNSATISFIED_LOOKUP}|{NO_DECOMPOSITION}"
"""Differences or squares of a value that the table refuses may be beyond the digits: then there is no witness."""


def aggregation_noise(circuit: Compiled) -> None:
    """Each noise value is decomposed, and outputs do not depend on it."""
    of = combine_of(circuit)
    case = Combination(of, random_updates(of.n, of.params, 9))
    check_noise_values(circuit, case.outputs(), lambda noise: replace(case, noise=tuple(noise)).inputs())


def check_noise_values(circuit: Compiled, outputs: list[int], inputs) -> None:
    """The largest noise is accepted and one more is refused, at both ends and in the middle."""
    limit = 1 << circuit.circuit.domain.bits
    places = (0, NOISE // 2, NOISE - 1)
    largest = [limit - 1, *[7] * (NOISE - 3), limit - 1, 1 - limit]  # those sorted along are not that far apart
    check_circuit(
        circuit,
        [Valid("the largest noise", inputs(largest), outputs)],
        [
            Invalid(f"noise value {at} is base^digits", inputs(changed([7] * NOISE, at, limit)), NO_DECOMPOSITION)
            for at in places
        ],
    )


def aggregation_column(circuit: Compiled) -> None:
    """`equal` counts the rows of the committed column that are right: of the result, and of the zeros past D."""
    of = combine_of(circuit)
    chunk = circuit.circuit.numbers["chunk"]
    case = Combination(of, random_updates(of.n, of.params, 50, seed=4))
    first, last = case.result()[0], case.result()[-1]
    columns = {
        "honest, with salts of another kind": {chunk: 0, chunk + SALTS - 1: 5},
        "the first value": {0: first + 1},
        "the last value": {of.params - 1: last - 1},
        "the first row past D": {of.params: 1},
        "the last row of the chunk": {chunk - 1: -1},
        "two that cancel": {0: first + 1, 1: case.result()[1] - 1},
        "two whose squares cancel": {of.params: 1, of.params + 1: ROOT_OF_MINUS_ONE},
    }
    cases = [replace(case, column=column) for column in columns.values()]
    assert [chunk - each.outputs()[-1] for each in cases] == [0, 1, 1, 1, 1, 2, 2]
    check_circuit(circuit, valid=[each.valid(what) for what, each in zip(columns, cases, strict=True)])


ROOT_OF_MINUS_ONE = pow(7, (P - 1) // 4, P)
"""x with x² = −1: why a sum of squares proves nothing of field elements that nobody bounded."""


MEAN: dict[str, Check] = {
    "settings": settings,
    "in place": in_place,
    "oracle": aggregation_oracle,
    "each slot": aggregation_each_slot,
    "weights": aggregation_weights,
    "salts": aggregation_salts,
    "table": aggregation_table,
}
SORTED: dict[str, Check] = {
    "settings": settings,
    "in place": in_place,
    "oracle": aggregation_oracle,
    "each slot": aggregation_each_slot,
    "salts": aggregation_salts,
    "table": aggregation_table,
    "noise": aggregation_noise,
}
COLUMN: dict[str, Check] = {"column": aggregation_column}


# ---------------------------------------------------------------- round


@dataclass(frozen=True)
class Rounds:
    """A round circuit's numbers."""

    n: int
    filter: MultiKrum
    score: str = "shapley"
    params: int = 6
    output: str = "opened"
    logrows: int = 13
    chunk: int | None = SHORT

    @functools.cache  # noqa: B019 (a handful a session)
    def circuit(self) -> Circuit:
        numbers = (self.logrows, self.n, self.params, self.beta_max, self.filter, self.score, self.output)
        return of_chunk(self.chunk, round_statement, *numbers)

    @property
    def beta_max(self) -> int:
        return self.params * table_bound(self.logrows) ** 2

    def __str__(self) -> str:
        return f"{self.n}-{self.filter}-{self.score}-{self.output}"


@dataclass(frozen=True)
class Played:
    """Inputs of one round: honest ones, until something is replaced. Updates may be shorter than D."""

    of: Rounds
    updates: Updates
    beta: int
    noise: tuple[int, ...] = ()
    table: dict[int, int] = field(default_factory=dict)
    salts: int | None = None
    past: int = 0
    column: dict[int, int] = field(default_factory=dict)

    def values(self) -> list[list[int]]:
        return [[*update, *[0] * (self.of.params - len(update))] for update in self.updates]

    def decision(self) -> Outcome:
        """The integer oracle of zkmarket/round/direct."""
        domain = self.of.circuit().domain
        manifest = SimpleNamespace(filter=self.of.filter, domain=domain, score=self.of.score)
        return decide(manifest, self.values(), self.beta)

    def total(self) -> list[int]:
        mask = self.decision().mask
        return [sum(bit * v for bit, v in zip(mask, at, strict=True)) for at in zip(*self.values(), strict=True)]

    def inputs(self) -> Inputs:
        circuit = self.of.circuit()
        out = list(columns_of(circuit, self.updates, self.salts, self.past))
        if circuit.numbers["committed"]:
            held = columns_of(circuit, [self.total()], self.salts)[0]
            for at, value in self.column.items():
                held = changed(held, at, value)
            out.append(held)
        many = circuit.numbers["salts"]
        ends = scalars(many) if self.salts is None else [self.salts] * many
        head = [self.beta, *(self.noise or fresh_noise(circuit))]
        return [*out, [*head, *table_noise(circuit, self.table), *ends]]

    def outputs(self) -> list[int]:
        numbers, outcome = self.of.circuit().numbers, self.decision()
        rest = self.total()
        if numbers["committed"]:
            honest = [*rest, *[0] * (numbers["chunk"] - self.of.params)]
            wrong = sum(at < numbers["chunk"] and value != honest[at] for at, value in self.column.items())
            rest = [numbers["chunk"] - wrong]
        return [self.beta, *outcome.mask, *outcome.scores, outcome.nu, *rest]

    def valid(self, what: str) -> Valid:
        return Valid(what, self.inputs(), self.outputs())


def rounds_of(circuit: Compiled) -> Rounds:
    numbers = circuit.circuit.numbers
    made = Rounds(
        numbers["n"],
        MultiKrum(numbers["f"], numbers["m"]),
        numbers["score"],
        numbers["params"],
        "committed" if numbers["committed"] else "opened",
        circuit.circuit.how.logrows,
        numbers["chunk"],
    )
    assert made.circuit().numbers == numbers
    return made


def norm(update: Sequence[int]) -> int:
    return sum(v * v for v in update)


def play(of: Rounds, updates: Updates, beta: int | None = None) -> Played:
    """A round of these updates; β lets all of them in unless said otherwise."""
    return Played(of, updates, max(map(norm, updates)) if beta is None else beta)


def search(of: Rounds, wanted, spread: int = 4, size: int = 3) -> Played:
    """The first of a fixed sequence of small random rounds that is as wanted."""
    for seed in range(5000):
        rng = random.Random(seed)
        found = play(of, [[rng.randint(-spread, spread) for _ in range(size)] for _ in range(of.n)])
        if wanted(found):
            return found
    raise AssertionError("no such round: change the search")


def raw_scores(case: Played) -> list[int]:
    """Scores before mask and clipping, from the definition <u_i, Agg>."""
    total = case.total()
    phi = [sum(a * b for a, b in zip(update, total, strict=True)) for update in case.values()]
    if case.of.score == "leave-one-out":
        return [2 * p - norm(update) for p, update in zip(phi, case.updates, strict=True)]
    return phi


def cluster(of: Rounds, seed: int = 1) -> list[list[int]]:
    """N − 1 similar updates and one that points the other way."""
    rng = random.Random(seed)
    common = [rng.randint(-50, 50) for _ in range(of.params)]
    return [*[[c + rng.randint(-12, 12) for c in common] for _ in range(of.n - 1)], [-c for c in common]]


def line(n: int) -> list[list[int]]:
    return [[2**i] for i in range(n)]


def round_oracle(circuit: Compiled) -> None:
    """Every output is the oracle's, on ordinary, tied and empty rounds, and at the edges of the range."""
    of = rounds_of(circuit)
    n, d, q, m = of.n, of.params, table_bound(of.logrows), of.filter.m
    low, high = [-q] * d, [q - 1] * d
    cases = {}
    if m < n:
        cases["exactly m accepted"] = search(of, lambda c: sum(c.decision().mask) == m and 0 not in raw_scores(c))
        cases["more than m accepted, by a tie"] = search(of, lambda c: sum(c.decision().mask) > m, spread=2)
    cases |= {
        "cluster and outlier": play(of, cluster(of)),
        "all zero, β = 0": play(of, [[0]] * n, beta=0),
        "distinct norms": play(of, line(n)),
        "opposite corners": play(of, [*[low] * (n // 2), *[high] * (n - n // 2)]),
        "opposite corners, β = 0": play(of, [*[low] * (n // 2), *[high] * (n - n // 2)], beta=0),
        "one axis each": play(of, [[0] * (i % d) + [5 + i] for i in range(n)]),
    }
    check_circuit(circuit, valid=[case.valid(what) for what, case in cases.items()])


def round_last_inside(circuit: Compiled) -> None:
    """G_ii = β is inside and β + 1 is not: for all at once, and for each update alone."""
    of = rounds_of(circuit)
    same = play(of, [[9, 9]] * of.n)
    below = replace(same, beta=same.beta - 1)
    assert (sum(same.decision().mask), sum(below.decision().mask)) == (of.n, 0)
    cases = [same.valid("β = G_ii for all"), below.valid("β = G_ii − 1 for all")]
    last = norm(line(of.n)[-1])
    at, over = play(of, line(of.n), beta=last), play(of, line(of.n), beta=last - 1)
    assert over.decision().mask[-1] == 0
    cases += [at.valid("β = G_NN"), over.valid("β = G_NN − 1")]
    check_circuit(circuit, valid=cases)


def round_long_updates(circuit: Compiled) -> None:
    """Long updates that clone themselves would rank first: with the bound in the ranking they are never accepted."""
    of = rounds_of(circuit)
    n, f = of.n, of.filter.f
    clones = play(of, [*[[10 + i, 3 * i] for i in range(f + 1)], *[[400, 0]] * (n - f - 1)], beta=10_000)
    assert clones.decision().mask == (1,) * (f + 1) + (0,) * (n - f - 1)
    one = play(of, [*[[20, i] for i in range(n - 1)], [500, 500]], beta=10_000)
    none = play(of, [[300 + i, 1] for i in range(n)], beta=10_000)
    assert sum(none.decision().mask) == 0
    check_circuit(circuit, valid=[clones.valid("clones"), one.valid("one long"), none.valid("all over β")])


def round_scores(circuit: Compiled) -> None:
    """Accepted scores are clipped at 0; the rejected have 0, although they would have more."""
    of = rounds_of(circuit)

    def clipped(case: Played) -> bool:
        return any(bit and v < 0 for bit, v in zip(case.decision().mask, raw_scores(case), strict=True))

    long = play(of, [*[[5, 1]] * (of.n - 1), [9, 2]], beta=50)
    assert long.decision().mask[-1] == 0 < raw_scores(long)[-1]
    check_circuit(circuit, valid=[search(of, clipped).valid("negative"), long.valid("rejected, and positive")])


def round_median(circuit: Compiled) -> None:
    """ν is the lower median of the squared norms, long updates included, in any order."""
    of = rounds_of(circuit)
    updates, cases = line(of.n), []
    for what, order in (("ascending", updates), ("descending", updates[::-1]), ("rotated", updates[1:] + updates[:1])):
        case = play(of, order, beta=1)
        assert case.decision().nu == 4 ** ((of.n - 1) // 2)
        cases.append(case.valid(what))
    check_circuit(circuit, valid=cases)


def round_salts(circuit: Compiled) -> None:
    """Neither salts nor what stands past D in an update's chunk take part."""
    of = rounds_of(circuit)
    case = play(of, cluster(of))
    small, large = replace(case, salts=FIELD_EDGES[4], past=77), replace(case, salts=2**128)
    check_circuit(circuit, valid=[small.valid("salts −2, a value in the last row"), large.valid("large salts")])


def round_table(circuit: Compiled) -> None:
    """Every value of every update is in the table, and so is its noise."""
    of = rounds_of(circuit)
    check_table_of_values(circuit, play(of, [[0]] * of.n, beta=5))


def round_domain(circuit: Compiled) -> None:
    """A β that the digits cannot hold is refused, never wrapped."""
    of = rounds_of(circuit)
    bits = circuit.circuit.domain.bits
    zero = play(of, [[0]] * of.n, beta=5)
    largest = replace(zero, beta=(1 << bits - 2) - 1)  # 2β + 1 and its opposite, and 1: 4β + 3
    beyond = replace(zero, beta=1 << bits - 2)
    check_circuit(
        circuit,
        [zero.valid("the honest twin"), largest.valid("the largest β")],
        [Invalid("the smallest β that the digits do not hold", beyond.inputs(), NO_DECOMPOSITION)],
    )


def round_noise(circuit: Compiled) -> None:
    """Each noise value is decomposed, and outputs do not depend on it."""
    of = rounds_of(circuit)
    case = play(of, cluster(of))
    check_noise_values(circuit, case.outputs(), lambda noise: replace(case, noise=tuple(noise)).inputs())


def round_column(circuit: Compiled) -> None:
    """`equal` counts the rows of the committed column that are right."""
    of = rounds_of(circuit)
    chunk = circuit.circuit.numbers["chunk"]
    case = play(of, cluster(of))
    first = case.total()[0]
    columns = [{chunk: 0}, {0: first + 1}, {chunk - 1: -1, of.params: 1}]
    cases = [replace(case, column=column) for column in columns]
    assert [chunk - each.outputs()[-1] for each in cases] == [0, 1, 2]
    check_circuit(circuit, valid=[each.valid(str(each.column)) for each in cases])


ROUND: dict[str, Check] = {
    "settings": settings,
    "in place": in_place,
    "oracle": round_oracle,
    "last inside": round_last_inside,
    "long updates": round_long_updates,
    "scores": round_scores,
    "median": round_median,
    "salts": round_salts,
    "table": round_table,
    "domain": round_domain,
    "noise": round_noise,
}
ROUND_COLUMN: dict[str, Check] = {"column": round_column}
