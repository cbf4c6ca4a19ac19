"""Copies of the circuits with one line broken: the checks that the honest ones pass must fail on each."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.circuits import checks
from tests.circuits.checks import Check, Rules
from tests.circuits.conftest import Compile
from tests.circuits.harness import Mutation, compiled, compiled_with
from zkmarket.errors import ArtifactError
from zkmarket.rules import MultiKrum
from zkmarket.statements import SALTS, Circuit, gram_circuit, range_circuit

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


# ---------------------------------------------------------------- inner product

GRAM_VALUES = "values = column[:, : self.chunk]"
GRAM = [
    broken("salts in the inner product", GRAM_VALUES, "values = column", "salts"),
    broken("the last value left out", GRAM_VALUES, "values = column[:, : self.chunk - 1]", "arithmetic"),
    broken("the first value left out", GRAM_VALUES, "values = column[:, 1 : self.chunk]", "arithmetic"),
    broken(
        "a range check comes in", GRAM_VALUES, "values = torch.relu(column[:, : self.chunk])", "settings", "range ch"
    ),
]


@pytest.mark.parametrize("mutant", GRAM, ids=str)
def test_a_broken_inner_product_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, gram_circuit(10, SALTS), checks.GRAM, mutant)


# ---------------------------------------------------------------- range

RANGE_CIRCUIT = range_circuit(10, SALTS, 300)
LOOKED_UP = "torch.cat([before, values, after], 1)"
PUBLIC = f"public = tag + self.looked_up({LOOKED_UP})"
VALUES = "torch.index_select(column, 1, torch.arange(self.chunk))"
PADDING = "torch.arange(self.used, self.chunk)"
RANGE = [
    broken(
        "the lookup times 0",
        PUBLIC,
        f"public = tag + 0 * torch.sigmoid({LOOKED_UP}).sum()",
        "settings",
        r"static lookups \[\], wanted",
    ),
    broken(
        "the lookup times 0, tried", PUBLIC, f"public = tag + 0 * self.looked_up({LOOKED_UP})", "beyond", "accepted"
    ),
    broken("no lookup at all", PUBLIC, "public = tag", "settings", r"static lookups \[\], wanted"),
    broken(
        "the last value not looked up",
        LOOKED_UP,
        "torch.cat([before, torch.index_select(column, 1, torch.arange(self.chunk - 1)), after], 1)",
        "beyond",
        "value 1007 = .* accepted",
    ),
    broken(
        "the first value not looked up",
        LOOKED_UP,
        "torch.cat([before, torch.index_select(column, 1, torch.arange(1, self.chunk)), after], 1)",
        "beyond",
        "value 0 = .* accepted",
    ),
    broken(
        "the padding not looked up",
        LOOKED_UP,
        "torch.cat([before, torch.index_select(column, 1, torch.arange(self.used)), after], 1)",
        "beyond",
        "value 300 = .* accepted",
    ),
    broken("no noise", LOOKED_UP, "values", "beyond", "noise value 0 = .* accepted"),
    broken("noise before only", LOOKED_UP, "torch.cat([before, values], 1)", "beyond", "noise value 128 = .* accepted"),
    broken("all noise before the values", LOOKED_UP, "torch.cat([before, after, values], 1)", "noise", "without noise"),
    broken("all noise after the values", LOOKED_UP, "torch.cat([values, before, after], 1)", "noise", "without noise"),
    broken("the padding starts a row late", PADDING, "torch.arange(self.used + 1, self.chunk)", "padding"),
    broken("the padding ends a row early", PADDING, "torch.arange(self.used, self.chunk - 1)", "padding"),
    broken("the padding may cancel", 'torch.einsum("bi,bi->b", padding, padding)', "padding.sum(1)", "padding"),
    broken("the tag is not echoed", PUBLIC, PUBLIC.replace("tag +", "0 * tag +"), "tag"),
    broken("a salt is looked up", VALUES, VALUES.replace("self.chunk", "self.chunk + 1"), "salts", "refused"),
    Mutant(
        "a table of two columns",
        compiled_with(RANGE_CIRCUIT, lookup_range=(-509, 508)),
        "beyond",
        "value 0 = -509: accepted",
    ),
    Mutant(
        "a table of two columns, in the settings",
        compiled_with(RANGE_CIRCUIT, lookup_range=(-509, 508)),
        "settings",
        "lookup_range",
    ),
]


@pytest.mark.parametrize("mutant", RANGE, ids=str)
def test_a_broken_range_check_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, RANGE_CIRCUIT, checks.RANGE_LAST, mutant)


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


@pytest.mark.parametrize("mutant", SETTLEMENT, ids=str)
def test_a_broken_settlement_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, Rules(6, MultiKrum(1, 3)).circuit(), checks.SETTLEMENT, mutant)


def test_a_broken_leave_one_out_score_is_caught(compile_once: Compile):
    mutant = broken("φ counted once", "phi = 2 * phi - norms", "phi = phi - norms", "oracle")
    assert_caught(compile_once, Rules(6, MultiKrum(1, 3), "leave-one-out").circuit(), checks.SETTLEMENT, mutant)


def test_a_mutant_of_a_line_that_is_gone_does_not_pass_for_caught():
    """Mutants are kept in step with the circuits: an old text that is not there once is an error of its own."""
    with pytest.raises(AssertionError, match="update the mutant"):
        Mutation({"no such line": ""}).module(RANGE_CIRCUIT)
