"""Copies of the circuits with one line broken: the checks that the honest ones pass must fail on each."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.circuits import checks
from tests.circuits.checks import Check, Rules
from tests.circuits.conftest import Compile
from tests.circuits.harness import Mutation, compiled
from zkmarket.build.statements import Circuit, base_circuit
from zkmarket.errors import ArtifactError
from zkmarket.rules import MultiKrum

# ruff: noqa: E501 (a line a mutant)
pytestmark = pytest.mark.circuit


@dataclass(frozen=True)
class Mutant:
    """What is broken, the check that must notice, and how it says so."""

    what: str
    mutation: Mutation
    check: str
    reason: str

    def __str__(self) -> str:
        return self.what


def broken(what: str, old: str, new: str, check: str, reason: str = "other outputs") -> Mutant:
    return Mutant(what, Mutation({old: new}), check, reason)


def assert_caught(compile_once: Compile, circuit: Circuit, suite: dict[str, Check], mutant: Mutant) -> None:
    """The named check passes on the honest circuit and fails on the mutant, for the stated reason."""
    check = suite[mutant.check]
    check(compile_once(circuit))
    caught = pytest.raises((AssertionError, ArtifactError), match=mutant.reason)
    with compiled(circuit, mutant.mutation) as wrong, caught:
        check(wrong)


# ---------------------------------------------------------------- base

BASE_CIRCUIT = base_circuit(10)
OUTPUTS = "torch.cat([inner(w, w), inner(salts, salts), inner(u, v), point, value], 1)"
SALTS_ROW = "salts = w[:, (self.rows - 1) * self.width :]"
FACTORS = "alpha, beta = tensor_product(pairs[: self.high])[: self.rows], tensor_product(pairs[self.high :])"
ALONG = 'along = torch.einsum("ij,j->i", v.reshape(self.rows, self.width), beta)'
VALUE = 'value = torch.einsum("i,i->", along, alpha).reshape(1, 1)'
PAIRS = "pairs = [point[0, 2 * k : 2 * k + 2] for k in range(self.logrows)]"
VALUES = "[:, : (self.rows - 1) * self.width]"


def outputs(old: str, new: str) -> str:
    assert OUTPUTS.count(old) == 1
    return OUTPUTS.replace(old, new)


BASE = [
    *(
        broken(f"{what} dropped", OUTPUTS, outputs(old, new), "settings", "has public outputs")
        for what, old, new in (
            ("o_1", "inner(w, w), ", ""),
            ("o_2", "inner(salts, salts), ", ""),
            ("o_3", "inner(u, v), ", ""),
            ("the point", "point, ", ""),
            ("o_4", ", value", ""),
        )
    ),
    *(
        broken(f"{what} times 0", OUTPUTS, outputs(old, f"0 * {old}"), "arithmetic")
        for what, old in (
            ("o_1", "inner(w, w)"),
            ("o_2", "inner(salts, salts)"),
            ("o_3", "inner(u, v)"),
            ("the point", "point"),
            ("o_4", "value"),
        )
    ),
    broken("the salts' row is not in o_1", OUTPUTS, outputs("inner(w, w)", f"inner(w{VALUES}, w{VALUES})"), "salts"),
    broken("the values are in o_2, too", SALTS_ROW, "salts = w", "salts"),
    broken("the last value is in o_2, too", SALTS_ROW, "salts = w[:, (self.rows - 1) * self.width - 1 :]", "salts"),
    broken("the first salt is not in o_2", SALTS_ROW, "salts = w[:, (self.rows - 1) * self.width + 1 :]", "salts"),
    broken("the last salt is not in o_2", SALTS_ROW, "salts = w[:, (self.rows - 1) * self.width : -1]", "salts"),
    broken("U·V over values only", OUTPUTS, outputs("inner(u, v)", f"inner(u{VALUES}, v{VALUES})"), "salts"),
    broken("U·V without its first cell", OUTPUTS, outputs("inner(u, v)", "inner(u[:, 1:], v[:, 1:])"), "every row"),
    broken("U·U", OUTPUTS, outputs("inner(u, v)", "inner(u, u)"), "columns apart"),
    broken("W and U together by V", OUTPUTS, outputs("inner(u, v)", "inner(u + w, v)"), "columns apart"),
    broken("U·U in the place of W·W", OUTPUTS, outputs("inner(w, w)", "inner(u, u)"), "columns apart"),
    broken("U is evaluated", ALONG, ALONG.replace("v.reshape", "u.reshape"), "columns apart"),
    broken("V is not evaluated in its last row", VALUE, VALUE.replace("along, alpha", "along[:-1], alpha[:-1]"), "every row"),
    broken("V is not evaluated in its first row", VALUE, VALUE.replace("along, alpha", "along[1:], alpha[1:]"), "every row"),
    broken("V is not evaluated in its last column", ALONG, ALONG.replace("width), beta", "width)[:, :-1], beta[:-1]"), "every row"),
    broken("rows start a power late", FACTORS, FACTORS.replace("[: self.rows]", "[1 : self.rows + 1]"), "every row"),
    broken("powers in the wrong order", PAIRS, PAIRS.replace("range(self.logrows)", "reversed(range(self.logrows))"), "every row"),
    broken("powers of rows in the wrong order", FACTORS, FACTORS.replace("pairs[: self.high])", "pairs[: self.high][::-1])"), "every row"),
    broken("powers of columns in the wrong order", FACTORS, FACTORS.replace("pairs[self.high :])", "pairs[self.high :][::-1])"), "every row"),
    broken("low powers for the rows", FACTORS, "beta, alpha = tensor_product(pairs[: self.width.bit_length() - 1]), tensor_product(pairs[self.width.bit_length() - 1 :])[: self.rows]", "every row"),
    broken("V by columns", ALONG, ALONG.replace("v.reshape(self.rows, self.width)", "v.reshape(self.width, self.rows).transpose(0, 1)"), "every row"),
    broken("the ones are taken for 1", PAIRS, "pairs = [torch.cat([point[0, 0:1] * 0 + 1, point[0, 2 * k + 1 : 2 * k + 2]]) for k in range(self.logrows)]", "point", "other outputs|refused"),
    broken("a range check comes in", SALTS_ROW, SALTS_ROW.replace("= w", "= torch.relu(w)"), "settings", "has (range checks|.*lookups)"),
    broken("something is looked up", SALTS_ROW, SALTS_ROW.replace("= w", "= torch.relu(w)"), "fits", "something is looked up"),
]  # fmt: skip


@pytest.mark.exhaustive("further lines of the same circuit: after a change of circuits", but=10)
@pytest.mark.parametrize("mutant", BASE, ids=str)
def test_a_broken_base_circuit_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, BASE_CIRCUIT, checks.BASE, mutant)


# ---------------------------------------------------------------- settlement

INSIDE = "inside = at_least_zero(beta - norms)"
MASK = "mask = at_least_zero(threshold - krum) * inside"
KRUM = "krum = self.distance_sums(gram) + (1 - inside) * self.penalty"
Q = 'torch.einsum("bi,bi->b", rows, r)'
NEIGHBOURS = "smallest(distance, n - self.f - 2)"
CONTRIBUTION = "return phi * at_least_zero(phi) * mask"
MEDIAN = "take(ordered, [(n - 1) // 2])"
LONGEST = "norms = [take(ordered, [self.n - 1])]"
SORTED = " + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))"
NOISE = "take(public_noise, range(known, known + NOISE))"
SYMMETRISED = "take(torch.gt(torch.cat([odd, -odd], 1), 0).to(x.dtype), range(x.shape[1]))"
SETTLEMENT = [
    broken("< for <= at the norm bound", INSIDE, "inside = at_least_zero(beta - norms - 1)", "last inside"),
    broken("< for <= at the threshold", MASK, MASK.replace("krum)", "krum - 1)"), "ranking"),
    broken("slot 0 missing in q", Q, Q.replace("rows, r", "rows[:, 1:], r[:, 1:]"), "each slot"),
    broken("the last slot missing in q", Q, Q.replace("rows, r", "rows[:, :-1], r[:, :-1]"), "each slot"),
    Mutant(
        "both triangles are inputs",
        Mutation({"for j in range(i, self.slots)]": "for j in range(self.slots)]", "((i, j), (j, i))": "((i, j),)"}),
        "settings",
        "committed inputs",
    ),
    broken("the norm bound not in the ranking", KRUM, "krum = self.distance_sums(gram)", "long updates"),
    broken("a penalty of 1", "float(penalty), float(longest)", "1.0, float(longest)", "long updates"),
    broken("the norm bound in the ranking only", MASK, MASK.removesuffix(" * inside"), "long updates"),
    broken(
        "the threshold is the (m+1)-th",
        "smallest(krum, self.m), [self.m - 1]",
        "smallest(krum, self.m + 1), [self.m]",
        "ranking",
    ),
    broken("one neighbour too many", NEIGHBOURS, "smallest(distance, n - self.f - 1)", "ranking"),
    broken("one neighbour too few", NEIGHBOURS, "smallest(distance, n - self.f - 3)", "ranking"),
    broken("distances with one inner product", "own + other - 2 * inner", "own + other - inner", "oracle"),
    broken("the rejected keep their score", CONTRIBUTION, "return phi * at_least_zero(phi)", "scores"),
    broken("negative scores are not clipped", CONTRIBUTION, "return phi * mask", "scores"),
    broken(
        "the score is with all, not with the accepted",
        'phi = torch.einsum("ij,bj->bi", square, mask)',
        'phi = torch.einsum("ij,bj->bi", square, 0 * mask + 1)',
        "oracle",
    ),
    broken("the upper median", MEDIAN, "take(ordered, [n // 2])", "median"),
    broken("the smallest norm", MEDIAN, "take(ordered, [0])", "median"),
    broken("0 is not at least 0", "odd = 2 * x + 1", "odd = x", "last inside"),
    broken(
        "signs not symmetrised",
        SYMMETRISED,
        "torch.gt(odd, 0).to(x.dtype)",
        "settings",
        "a check was dropped|has shuffles",
    ),
    broken("no noise", " + decomposed(noise)", "", "settings", "a check was dropped|has shuffles"),
    broken("noise not sorted", SORTED, "", "settings", "a check was dropped|has shuffles"),
    broken("no noise, tried", " + decomposed(noise)", "", "noise", "accepted"),
    broken("the last noise value not decomposed", NOISE, NOISE.replace("NOISE)", "NOISE - 1)"), "noise", "accepted"),
    broken("any length", "mask + broken, contribution", "mask, contribution", "longest", "is accepted"),
    broken("the shortest only", LONGEST, LONGEST.replace("self.n - 1", "0"), "longest", "is accepted"),
    broken("all but the longest", LONGEST, LONGEST.replace("self.n - 1", "self.n - 2"), "longest", "is accepted"),
    broken("twice the length", "2 * (self.longest -", "2 * (2 * self.longest -", "longest", "is accepted"),
    broken("the bound itself is out", "2 * (self.longest -", "2 * (self.longest - 1 -", "longest", "other outputs"),
    broken("β is not echoed", "torch.cat([q, r, beta,", "torch.cat([q, r, 0 * beta,", "oracle"),
    broken("r is not echoed", "torch.cat([q, r, beta,", "torch.cat([q, 0 * r, beta,", "oracle"),
]


@pytest.mark.exhaustive("further lines of the same circuit: after a change of circuits", but=10)
@pytest.mark.parametrize("mutant", SETTLEMENT, ids=str)
def test_a_broken_settlement_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, Rules(6, MultiKrum(1, 3)).circuit(), checks.SETTLEMENT, mutant)


def test_a_broken_leave_one_out_score_is_caught(compile_once: Compile):
    mutant = broken("φ counted once", "phi = 2 * phi - norms", "phi = phi - norms", "oracle")
    assert_caught(compile_once, Rules(6, MultiKrum(1, 3), "leave-one-out").circuit(), checks.SETTLEMENT, mutant)


def test_a_mutant_of_a_line_that_is_gone_does_not_pass_for_caught():
    """Mutants are kept in step with the circuits: an old text that is not there once is an error of its own."""
    with pytest.raises(AssertionError, match="update the mutant"):
        Mutation({"no such line": ""}).module(BASE_CIRCUIT)
