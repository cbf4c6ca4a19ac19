"""Settlement circuits of further filters and scores with one line broken: their checks must fail on each."""

from __future__ import annotations

import pytest

from tests.circuits import rule_checks
from tests.circuits.checks import Check, Rules
from tests.circuits.harness import Mutation, compiled
from tests.circuits.test_mutants import Mutant, broken
from tests.circuits.test_rules_circuit import (
    ALL,
    COSINE,
    LONG_COSINE,
    LONG_NOVEL,
    LONG_SIGMA,
    NOVEL,
    ROOT,
    ROOTS,
    SIGMA,
)
from zkmarket.errors import ArtifactError

pytestmark = pytest.mark.circuit

NEAR = "float(a * a) * spread - float(b * b) * (beyond * beyond)"
ACCEPTED = "return inside * (1 - (1 - below) * (1 - near_enough))"
PASSED = "return at_least_zero(inner) * at_least_zero(against)"
AGAINST = "against = (float(b * b) * (inner * inner) - float(a * a) * (norms * norm)) * inside"
NOVELTY = "phi = (phi * (norm + is_zero(norm)) - inner * common) * mask"
CLIPPED = "return phi * at_least_zero(phi) * mask"
DIFFERENCES = "torch.cat([claimed, self.cap - claimed, below, above], 1)"
ABOVE = "above = (claimed + 1) * (claimed + 1) * length - square - 1"


def without(what: str, difference: str) -> Mutant:
    """One of the four differences left out. No s shows it, but without it s² could wrap: see `score_bounds`."""
    lines = {DIFFERENCES: DIFFERENCES.replace(difference, "", 1), "reshape(4, self.n)": "reshape(3, self.n)"}
    return Mutant(what, Mutation(lines), "settings", "a check was dropped")


SIGMA_MUTANTS = [
    broken("no mean", ACCEPTED, "return inside * near_enough", "edges"),
    broken("no deviation", ACCEPTED, "return inside * below", "edges"),
    broken("mean and deviation", ACCEPTED, "return inside * below * near_enough", "edges"),
    broken("a filter of the selection", ACCEPTED, ACCEPTED.replace("inside", "selected"), "takes in"),
    broken("no norm bound", ACCEPTED, ACCEPTED.replace("inside * ", ""), "edges"),
    broken("the last deviation is out", NEAR, NEAR + " - 1", "edges"),
    broken("just beyond it is in", NEAR, NEAR + " + 2000", "edges"),
    broken("λ upside down", "a, b = self.sigma", "b, a = self.sigma", "edges"),
    broken("another centre", "near = torch.einsum(", "near = 2 * torch.einsum(", "edges"),
    broken("members measured with themselves", " * weight * inside", " * inside", "takes in"),
    broken("first moment of all", 'first = torch.einsum("bi,bi->b", far, selected)', "first = far.sum(1)", "oracle"),
    broken("variance not centred", "count * second - first * first", "count * second", "oracle"),
    broken("equal pay for the rejected", "            return mask\n", "            return 0 * mask + 1\n", "oracle"),
]
COSINE_MUTANTS = [
    broken("no sign", PASSED, "return at_least_zero(against)", "edges"),
    broken("the sign only", PASSED, "return at_least_zero(inner)", "edges"),
    broken("the edge is out", PASSED, PASSED.replace("against)", "against - 1)"), "edges"),
    broken("just beyond the edge is in", PASSED, PASSED.replace("against)", "against + 2)"), "edges"),
    broken("τ upside down", "a, b = self.tau", "b, a = self.tau", "edges"),
    broken("without the root's length", AGAINST, AGAINST.replace("norms * norm)", "norms)"), "edges"),
    broken("in the norm bound's place", "mask = mask * self.cosine", "mask = self.cosine", "edges"),
]
NOVEL_MUTANTS = [
    broken("P may be 0", NOVELTY, NOVELTY.replace("(norm + is_zero(norm))", "norm"), "scores"),
    broken("shapley times ‖P‖²", NOVELTY, NOVELTY.replace(" - inner * common", ""), "scores"),
    broken("with the sum of all", 'torch.einsum("bi,bi->b", inner, mask)', "inner.sum(1)", "oracle"),
    broken("not clipped", CLIPPED, "return phi * mask", "scores"),
]
ROOT_MUTANTS = [
    broken("not clipped", CLIPPED, "return phi * mask", "scores"),
    broken("paid to the rejected", CLIPPED, CLIPPED.removesuffix(" * mask"), "scores"),
    broken("of the mask's slot", "1 + n + at for at", "n * 0 for at", "oracle", "refused"),
]
LONG_ROOT = 'norms.append(self.along(gram, "root")[1])'
ROOT_MUTANTS += [
    broken("a root of any length", LONG_ROOT, "pass", "longest", "is accepted"),
    broken("a mask of half a step", "return 2 * (1 - within)", "return (1 - within)", "longest", "is accepted"),
]
ALL_MUTANTS = [
    broken("references swapped", "1 + n + at for at, name", "2 + n - at for at, name", "oracle"),
    broken(
        "the last reference missing in q",
        'torch.einsum("bi,bi->b", rows, r)',
        'torch.einsum("bi,bi->b", rows[:, :-1], r[:, :-1])',
        "each slot",
    ),
    broken("no noise, tried", " + decomposed(noise)", "", "noise", "accepted"),
]
LONG = {
    "a distance": (LONG_SIGMA, " * weight * inside", " * weight"),
    "a cosine": (LONG_COSINE, AGAINST, AGAINST.removesuffix(" * inside")),
    "a score": (LONG_NOVEL, NOVELTY, NOVELTY.removesuffix(" * mask")),
}
CLAIM_MUTANTS = [
    broken(
        "a wrong score does not show",
        "broken + self.not_the_root(",
        "broken + 0 * self.not_the_root(",
        "wrong roots",
        "is accepted",
    ),
    broken("any larger score", DIFFERENCES, DIFFERENCES.replace("below", "0 * below"), "wrong roots", "is accepted"),
    broken("any smaller score", DIFFERENCES, DIFFERENCES.replace("above", "0 * above"), "wrong roots", "is accepted"),
    without("no largest score", "self.cap - claimed, "),
    without("no smallest score", "claimed, "),
    broken("one less", ABOVE, ABOVE.removesuffix(" - 1"), "wrong roots", "is accepted"),
    broken("a zero update", "length = norms + is_zero(norms)", "length = norms", "oracle"),
    broken("no scale", "square = self.scale * (phi * phi)", "square = phi * phi", "oracle"),
    broken("other inputs", "range(self.slots + 1, known)", "range(self.slots + 2, known + 1)", "oracle", "refused"),
]
EACH = [
    pytest.param(rules, suite, mutant, id=f"{name}-{mutant}")
    for name, rules, suite, mutants in (
        ("sigma", SIGMA, rule_checks.SIGMA, SIGMA_MUTANTS),
        ("cosine", COSINE, rule_checks.COSINE, COSINE_MUTANTS),
        ("novel", NOVEL, rule_checks.SCORED, NOVEL_MUTANTS),
        ("root", ROOT, rule_checks.SCORED, ROOT_MUTANTS),
        ("all", ALL, rule_checks.SCORED | rule_checks.LAYOUT, ALL_MUTANTS),
        ("claimed", ROOTS, rule_checks.ROOTS, CLAIM_MUTANTS),
        *(
            ("a long update has", rules, rule_checks.LONG, [broken(what, old, new, "long updates", "refused")])
            for what, (rules, old, new) in LONG.items()
        ),
    )
    for mutant in mutants
]


@pytest.mark.exhaustive("further lines of the same circuit: after a change of circuits", but=12)
@pytest.mark.parametrize(("rules", "suite", "mutant"), EACH)
def test_a_broken_rule_is_caught(rules: Rules, suite: dict[str, Check], mutant: Mutant):
    """The named check fails on the mutant, for the stated reason; in test_rules_circuit.py the honest one passes."""
    caught = pytest.raises((AssertionError, ArtifactError), match=mutant.reason)
    with compiled(rules.circuit(), mutant.mutation) as wrong, caught:
        suite[mutant.check](wrong)
