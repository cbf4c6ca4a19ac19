"""Copies of the direct circuits with one line broken: the checks that the honest ones pass must fail on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.circuits import direct_checks as checks
from tests.circuits.checks import Check
from tests.circuits.conftest import Compile
from tests.circuits.direct_checks import Combine, Rounds
from tests.circuits.harness import Mutation, compile_in, compiled, compiled_with
from tests.circuits.test_direct_aggregation import SORTED
from tests.circuits.test_direct_round import FIVE
from tests.circuits.test_mutants import Mutant, broken
from zkmarket.backend import check_every_block, check_one_block, lay_out, noise_by_block
from zkmarket.build import check_refused
from zkmarket.build.statements import Circuit
from zkmarket.circuits import NOISE
from zkmarket.errors import ArtifactError
from zkmarket.round.direct import Rule
from zkmarket.rules import MultiKrum

# ruff: noqa: E501 (a line a mutant)
pytestmark = pytest.mark.circuit

HONEST = {of.circuit().source + str(of.circuit().numbers) for of in (*SORTED, FIVE)}
"""Circuits that pass all their checks in the files beside this one."""


def assert_caught(compile_once: Compile, circuit: Circuit, suite: dict[str, Check], mutant: Mutant) -> None:
    """The named check passes on the honest circuit, here or in the file beside, and fails on the mutant as stated."""
    check = suite[mutant.check]
    if circuit.source + str(circuit.numbers) not in HONEST:
        check(compile_once(circuit))
    caught = pytest.raises((AssertionError, ArtifactError), match=mutant.reason)
    with compiled(circuit, mutant.mutation) as wrong, caught:
        check(wrong)


# ---------------------------------------------------------------- weighted sum

MEAN_CIRCUIT = Combine(Rule("mean"), 4, output="committed", logrows=10).circuit()
WEIGHTED = 'result = torch.einsum("bi,ij->bj", weights, values.reshape(self.n, self.params))'
ECHO = "torch.cat([weights + nothing, self.output(everything, result)], 1)"
TABLE = "nothing = in_table(take(everything, places))"
PLACES = 'noise + at if kind == "noise" else at // params * column + at % params'
HELD = "held = take(everything, range(start, start + self.chunk))"
COUNT = "return equal(held, wanted).sum(1).reshape(1, 1)"
MEAN = [
    broken("weights are not bound: the sum is plain", WEIGHTED, WEIGHTED.replace("weights,", "0 * weights + 1,"), "weights"),
    broken("weights are not bound: others are echoed", ECHO, ECHO.replace("[weights +", "[0 * weights + 1 +"), "weights"),
    broken("the last slot is missing", WEIGHTED, WEIGHTED.replace("weights,", "weights[:, :-1],").replace("self.n, self.params)", "self.n, self.params)[:-1]"), "weights"),
    broken("a salt row is read as a weight", "range(last, last + self.n)", "range(last + 1, last + self.n + 1)", "weights"),
    broken("columns without their salts, so that slots are shifted", "column = self.chunk + self.salts\n        last", "column = self.chunk\n        last", "each slot", "other outputs|refused"),
    broken("padding is not compared", HELD, HELD.replace("self.chunk)", "self.params)") + "\n        return equal(held, result).sum(1).reshape(1, 1) + self.chunk - self.params", "column"),
    broken("the sum of the differences", COUNT, "return self.chunk - (held - wanted).sum(1).reshape(1, 1)", "column"),
    broken("the sum of squares", COUNT, "return self.chunk - ((held - wanted) * (held - wanted)).sum(1).reshape(1, 1)", "column"),
    broken("a salt of the column is compared", HELD, "held = take(everything, range(start + 1, start + self.chunk + 1))", "column"),
    broken("an update is compared, not the column", "start = self.n *", "start = 0 *", "column"),
    broken("values are not looked up", TABLE, "nothing = 0 * take(everything, [0])", "settings", r"static lookups \[\], wanted"),
    broken("the lookup times 0", TABLE, TABLE.replace("in_table(", "0 * in_table("), "settings", r"static lookups \[\], wanted"),
    broken("the lookup times 0, tried", TABLE, TABLE.replace("in_table(", "0 * in_table("), "table", "accepted"),
    broken("the last update is not looked up", PLACES, PLACES.replace("at // params *", "at // params % 3 *"), "table", "update 3 has .* accepted"),
    broken("the last value is not looked up", PLACES, PLACES.replace("+ at % params", "+ at % (params - 1)"), "table", "at 7: accepted"),
    broken("salts are looked up", PLACES, PLACES.replace("+ at % params", "+ at % params + 20"), "table", "refused"),
    broken("the table's noise is not looked up", PLACES, PLACES.replace("noise + at", "at % params"), "table", "noise 0 of the table is .* accepted"),
    Mutant("a table of two columns", compiled_with(MEAN_CIRCUIT, lookup_range=(-509, 508)), "table", "has -0x1fd at 0: accepted"),
    Mutant("a table of two columns, in the settings", compiled_with(MEAN_CIRCUIT, lookup_range=(-509, 508)), "settings", "lookup_range"),
    broken("nothing is compared", COUNT, "return 0 * held.sum(1).reshape(1, 1) + self.chunk", "settings", "has (committed inputs|.* rows)"),
]  # fmt: skip


@pytest.mark.exhaustive("the direct sum is the reference, not the market's path", but=5)
@pytest.mark.parametrize("mutant", MEAN, ids=str)
def test_a_broken_weighted_sum_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, MEAN_CIRCUIT, checks.MEAN | checks.COLUMN, mutant)


# ---------------------------------------------------------------- median and trimmed sum

MEDIAN_CIRCUIT = Combine(Rule("median"), 4).circuit()
TRIMMED_CIRCUIT = Combine(Rule("trimmed", 1), 5).circuit()
MIDDLE = "take(ordered, [(self.n - 1) // 2])"
KEPT = "range(self.trim, self.n - self.trim)"
SORTS = "ordered = smallest(values.reshape(self.params, self.n), self.n)"
NOTHING = " + decomposed(noise) + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))"
NOISY = "noise = take(everything, range(last, last + NOISE))"
MEDIAN = [
    broken("the upper median", MIDDLE, "take(ordered, [self.n // 2])", "oracle"),
    broken("the smallest value", MIDDLE, "take(ordered, [0])", "oracle"),
    broken("no order: a slot's value", SORTS, "ordered = values.reshape(self.params, self.n)", "each slot"),
    broken("no order, by its rows", SORTS, "ordered = values.reshape(self.params, self.n)", "settings", "a check was dropped|has shuffles"),
    broken("the last slot is missing", "for i in range(self.n)])\n        ordered", "for i in [*range(self.n - 1), 0]])\n        ordered", "each slot"),
    broken("a coordinate is missing", "for k in range(self.params) for i", "for k in [*range(self.params - 1), 0] for i", "each slot"),
    broken("slots are shifted into salts", "column = self.chunk + self.salts\n        last", "column = self.chunk + self.salts - 1\n        last", "salts", "other outputs|refused"),
    broken("no noise", NOTHING, "", "settings", "a check was dropped|has shuffles"),
    broken("no noise, tried", NOTHING, "", "noise", "accepted"),
    broken("noise not sorted", NOTHING, " + decomposed(noise)", "settings", "a check was dropped|has shuffles"),
    broken("the last noise value is not decomposed", NOISY, "noise = take(everything, range(last, last + NOISE - 1))", "noise", "accepted"),
    broken("a salt is noise", NOISY, "noise = take(everything, range(last + NOISE + 1, last + 2 * NOISE + 1))", "oracle", "refused"),
    broken("values are not looked up", "nothing = nothing + decomposed", "nothing = decomposed", "settings", r"static lookups \[\], wanted"),
    broken("a product before the noise, so that sorts are in another block", NOISY, 'part = torch.cat([everything] * 20, 1)\n        noise = take(torch.cat([everything, torch.einsum("bi,bi->b", part, part).reshape(1, 1)], 1), range(last, last + NOISE))', "in place", "lookups lie in blocks 0 to 1"),
]  # fmt: skip
TRIMMED = [
    broken("the smallest is kept", KEPT, "range(self.trim - 1, self.n - self.trim)", "oracle"),
    broken("the largest is kept", KEPT, "range(self.trim, self.n - self.trim + 1)", "oracle"),
    broken("one too many is dropped", KEPT, "range(self.trim, self.n - self.trim - 1)", "oracle"),
    broken("slots are dropped, not values", SORTS, "ordered = values.reshape(self.params, self.n)", "each slot"),
]


@pytest.mark.parametrize("mutant", MEDIAN, ids=str)
def test_a_broken_median_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, MEDIAN_CIRCUIT, checks.SORTED, mutant)


@pytest.mark.parametrize("mutant", TRIMMED, ids=str)
def test_a_broken_trimmed_sum_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, TRIMMED_CIRCUIT, checks.SORTED, mutant)


# ---------------------------------------------------------------- round

ROUND_CIRCUIT = Rounds(5, MultiKrum(1, 3)).circuit()
INSIDE = "inside = at_least_zero(beta - norms)"
MASK = "mask = at_least_zero(threshold - krum) * inside"
KRUM = "krum = self.distance_sums(known) + (1 - inside) * self.penalty"
NEIGHBOURS = "smallest(distance, n - self.f - 2)"
CONTRIBUTION = "contribution = phi * at_least_zero(phi) * mask"
LOWER = "median = take(smallest(norms, (n - 1) // 2 + 1), [(n - 1) // 2])"
SUM = 'aggregate = torch.einsum("bi,ij->bj", mask, torch.cat(updates, 0))'
UPDATES = "range(i * column, i * column + self.params)"
LARGER = "larger = take(smallest(torch.cat([odd, -odd], 1), 2), [1])"
WHICH = "return equal(odd, larger).reshape(1, -1)"
ROUND = [
    broken("< for <= at the norm bound", INSIDE, "inside = at_least_zero(beta - norms - 1)", "last inside"),
    broken("< for <= at the threshold", MASK, MASK.replace("krum)", "krum - 1)"), "oracle"),
    broken("the norm bound not in the ranking", KRUM, "krum = self.distance_sums(known)", "long updates"),
    broken("a penalty of 1", "self.penalty = float(penalty)", "self.penalty = 1.0", "long updates"),
    broken("the norm bound in the ranking only", MASK, MASK.removesuffix(" * inside"), "long updates"),
    broken("one neighbour too many", NEIGHBOURS, "smallest(distance, n - self.f - 1)", "oracle"),
    broken("one neighbour too few", NEIGHBOURS, "smallest(distance, n - self.f - 3)", "oracle"),
    broken("the threshold is the (m+1)-th", "smallest(krum, self.m), [self.m - 1]", "smallest(krum, self.m + 1), [self.m]", "oracle"),
    broken("the rejected keep their score", CONTRIBUTION, "contribution = phi * at_least_zero(phi)", "scores"),
    broken("negative scores are not clipped", CONTRIBUTION, "contribution = phi * mask", "scores"),
    broken("the upper median", LOWER, "median = take(smallest(norms, n // 2), [n // 2 - 1])", "median"),
    broken("the sum of all, not of the accepted", SUM, SUM.replace("mask,", "0 * mask + 1,"), "oracle"),
    broken("the sum without the last slot", SUM, SUM.replace("mask,", "mask[:, :-1],").replace("torch.cat(updates, 0)", "torch.cat(updates[:-1], 0)"), "oracle"),
    broken("an inner product without the last coordinate", 'einsum("bi,bi->b", updates[i], updates[j])', 'einsum("bi,bi->b", updates[i][:, :-1], updates[j][:, :-1])', "oracle"),
    broken("a salt is a parameter", UPDATES, "[*range(i * column, i * column + self.params - 1), i * column + self.chunk]", "salts", "refused|other outputs"),
    broken("padding is a parameter", UPDATES, "[*range(i * column, i * column + self.params - 1), i * column + self.chunk - 1]", "salts"),
    broken("a slot twice", "for i in range(n)]\n        upper", "for i in [*range(n - 1), 0]]\n        upper", "oracle"),
    broken("a comparison whose sign tells the outcome", WHICH, "return torch.gt(odd, 0).to(x.dtype).reshape(1, -1)", "in place", "looks up in GREATER"),
    broken("a sign that tells the outcome", WHICH, "return ((torch.sign(odd) + larger / larger) / 2).reshape(1, -1)", "in place", "takes 5 signs, wanted 2|looks up in"),
    broken("the smaller of a number and its opposite", LARGER, "larger = take(smallest(torch.cat([odd, -odd], 1), 2), [0])", "oracle"),
    broken("0 is not at least 0", "odd = (2 * x + 1)", "odd = (2 * x - 1)", "last inside"),
    broken("no noise", NOTHING, "", "settings", "a check was dropped|has shuffles"),
    broken("no noise, tried", NOTHING, "", "noise", "accepted"),
    broken("the last noise value is not decomposed", "range(start + 1, start + 1 + NOISE)", "range(start + 1, start + NOISE)", "noise", "accepted"),
    broken("values are not looked up", "table = in_table(take(everything, places))", "table = 0 * take(everything, [0])", "settings", r"static lookups \[\], wanted"),
    broken("another update's values are looked up", PLACES, PLACES.replace("at // params *", "at // params % 4 *"), "table", "update 4 has .* accepted"),
    broken("the table's noise is not looked up", PLACES, PLACES.replace("noise + at", "at % params"), "table", "noise 0 of the table is .* accepted"),
    broken("the table's lookups behind the Gram matrix", "torch.cat([table, *upper, take", "torch.cat([*upper, table, take", "in place", "has SIGMOID in rows .*wanted it once in rows"),
    broken("β is not echoed", "torch.cat([beta + nothing,", "torch.cat([0 * beta + nothing,", "oracle"),
]  # fmt: skip


@pytest.mark.exhaustive("the direct round is the reference, not the market's path", but=5)
@pytest.mark.parametrize("mutant", ROUND, ids=str)
def test_a_broken_round_is_caught(compile_once: Compile, mutant: Mutant):
    assert_caught(compile_once, ROUND_CIRCUIT, checks.ROUND, mutant)


def test_a_round_with_lookups_in_two_blocks_is_caught():
    """A longer last input moves the lookups in the rows of the settings, and nothing in a proof, which then had
    comparisons in a block without noise."""
    circuit, more = Rounds(3, MultiKrum.krum(3), params=650, chunk=None).circuit(), 4020
    assert circuit.numbers["pad"] > 0
    longer = {
        "if self.pad:": "if False:",
        "zeros(1, last)": f"zeros(1, last + {more})",
    }
    with compiled(circuit, Mutation(longer)) as mutant:
        *columns, last = circuit.sample()
        layout = lay_out(mutant.files.folder / "circuit.onnx", circuit.how, [*columns, [*last, *last[:1] * more]])
        with pytest.raises(ArtifactError, match="lookups lie in blocks 0 to 1 of columns"):
            check_one_block(layout.operations, circuit.how.logrows)


def test_values_in_a_block_without_noise_are_noticed(tmp_path: Path):
    """Three blocks of columns look values up, each by an argument of its own: all noise in the first one is not enough."""
    circuit = Combine(Rule("mean"), 4, 600, logrows=10, chunk=None).circuit()
    blocks = noise_by_block(circuit.numbers["sequence"], 0, 10)
    assert list(blocks) == [0, 1, 2] and all(noise == NOISE for noise, _ in blocks.values())
    sort = "for kind, first, count in sorted(sequence, key=lambda run: run[0] != 'noise'):"
    together = Mutation({"for kind, first, count in sequence:": sort})
    for name, mutation in {"honest": Mutation(), "together": together}.items():
        (tmp_path / name).mkdir()
        made = compile_in(tmp_path / name, circuit, mutation, cut=True)
        for what, (bad, reason) in circuit.refused().items():
            if mutation is together:
                with pytest.raises(ArtifactError, match="refused for another reason"):
                    check_refused(made.files, what, bad, reason)
            else:
                check_refused(made.files, what, bad, reason)
    bare = [run for run in circuit.numbers["sequence"] if run != ("noise", 2 * NOISE, NOISE)]
    with pytest.raises(ArtifactError, match="block 2 of columns looks up data with 0 noise values: wanted 128"):
        check_every_block(bare, 0, 10)
