"""Settlement circuits of every filter and score against the integer oracle, bit by bit, and their size."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.circuits import rule_checks
from tests.circuits.checks import Check, Rules
from tests.circuits.conftest import Compile
from zkmarket.backend import block_rows
from zkmarket.build.statements import check_settings, settlement_rows
from zkmarket.rules import SCORES, Filter

pytestmark = pytest.mark.circuit

KRUM = Filter(1, 3)
SIGMA = Rules(5, Filter(1, 3, Fraction(1, 2)), "equal")
COSINE = Rules(5, Filter(tau=Fraction(3, 5)), "equal")
COSINE_ROOT = Rules(5, Filter(tau=Fraction(3, 5)), "root")
ROOT = Rules(5, KRUM, "root")
NOVEL = Rules(5, Filter(), "novel")
ALL = Rules(5, Filter(1, 3, Fraction(3), Fraction(1, 10)), "novel")
ROOTS = Rules(5, KRUM, "cosine-shapley")
LONG_SIGMA = Rules(5, Filter(1, 3, Fraction(3)), "equal", 1000, 4092, beta_max=2000)
LONG_COSINE = Rules(5, Filter(tau=Fraction(1, 10)), "equal", 1000, 4092, beta_max=2000)
LONG_NOVEL = Rules(5, Filter(), "novel", 1000, 4092, beta_max=2000)

SUITES: list[tuple[Rules, dict[str, Check]]] = [
    (SIGMA, rule_checks.SIGMA),
    (COSINE, rule_checks.COSINE),
    (COSINE_ROOT, rule_checks.COSINE | rule_checks.SCORED),
    (ROOT, rule_checks.SCORED),
    (NOVEL, rule_checks.SCORED),
    (ALL, rule_checks.SCORED | rule_checks.LAYOUT),
    (ROOTS, rule_checks.ROOTS | rule_checks.LAYOUT),
    *((rules, rule_checks.LONG) for rules in (LONG_SIGMA, LONG_COSINE, LONG_NOVEL)),
]
EACH = [pytest.param(rules, check, id=f"{rules}-{name}") for rules, suite in SUITES for name, check in suite.items()]


@pytest.mark.exhaustive("further rules with the same edges", but=18)
@pytest.mark.parametrize(("rules", "check"), EACH)
def test_it_is_the_integer_oracle(compile_once: Compile, rules: Rules, check: Check):
    check(compile_once(rules.circuit()))


FILTERS = ["norm", "norm,cosine:tau=1/3", "multi-krum:f=0,m=3,three-sigma:lambda=7/5", "multi-krum:f=0,m=3"]
EVERY_PART = "multi-krum:f=0,m=3,three-sigma:lambda=3,cosine:tau=0"


@pytest.mark.exhaustive("sizes", but=2)
@pytest.mark.parametrize("score", SCORES)
def test_the_row_estimate_holds_for_every_combination(compile_once: Compile, score: str):
    """settlement_rows picks K before anything is compiled: never too low, and within 2 %."""
    for n, text in [*((4, text) for text in FILTERS), (12, EVERY_PART)]:
        compiled = compile_once(Rules(n, Filter.parse(text), score).circuit(), cut=True)
        check_settings(compiled.settings, compiled.circuit)
        estimate = settlement_rows(Rules(n, Filter.parse(text), score).set, compiled.circuit.domain)
        rows = compiled.settings["num_rows"]
        assert rows <= estimate <= min(1.02 * rows, block_rows(compiled.circuit.how.logrows)), (n, text)
