"""The settlement circuit against its integer oracle, in every output bit; the oracle against the rule in floats."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.circuits import checks
from tests.circuits.checks import Rules, Settle, changed_entry, settle
from tests.circuits.conftest import Compile
from tests.circuits.harness import FIELD_EDGES, Mutation, Valid, check_circuit
from tests.support.tiers import examples
from zkmarket.build.statements import check_settings, settlement_rows
from zkmarket.crypto import P
from zkmarket.rules import SCORE_LIMIT, MultiKrum, krum_scores, multi_krum, norm_bound

pytestmark = pytest.mark.circuit

SCORES = ("shapley", "leave-one-out")
RULES = [
    Rules(n, rule, score)
    for (n, rule), score in itertools.product(
        [(3, MultiKrum(0, 3)), (5, MultiKrum(1, 3)), (8, MultiKrum(2, 5))], SCORES
    )
]
EVERY_CASE = [*RULES, Rules(6, MultiKrum(1, 3)), Rules(5, MultiKrum(1, 4))]


@pytest.mark.exhaustive("further numbers of trainers and edges; random updates are compared too", but=30)
@pytest.mark.parametrize("check", checks.SETTLEMENT)
@pytest.mark.parametrize("rules", EVERY_CASE, ids=str)
def test_it_is_the_integer_oracle(compile_once: Compile, rules: Rules, check: str):
    checks.SETTLEMENT[check](compile_once(rules.circuit()))


@st.composite
def settlements(draw: st.DrawFn) -> Settle:
    """Integer updates of few values, small ones and edges of the range mixed, copies and opposites among them."""
    rules = draw(st.sampled_from(RULES))
    size = draw(st.integers(1, 5))
    value = st.one_of(st.integers(-3, 3), st.integers(-rules.bound, rules.bound - 1), st.sampled_from([-508, 507]))
    update = st.lists(value, min_size=size, max_size=size)
    updates: list[list[int]] = []
    for _ in range(rules.n):
        kind = draw(st.sampled_from(["new", "new", "new", "copy", "zero"]))
        if kind == "copy" and updates:
            updates.append(draw(st.sampled_from(updates)))
        else:
            updates.append([0] * size if kind == "zero" else draw(update))
    norms = sorted(sum(v * v for v in u) for u in updates)
    beta = draw(st.one_of(st.sampled_from(norms), st.integers(0, 64 * 508**2)))
    scalar = st.one_of(st.sampled_from(FIELD_EDGES), st.integers(0, P - 1))
    mask = draw(st.lists(scalar, min_size=rules.n + 1, max_size=rules.n + 1))
    r = draw(st.lists(st.integers(0, 2**128 - 1), min_size=rules.n + 1, max_size=rules.n + 1))
    beta = max(0, beta + draw(st.integers(-1, 1)))
    return Settle(rules, checks.matrix(updates, mask), beta, tuple(r))


@examples(60)
@given(settlements())
def test_it_is_the_integer_oracle_on_random_updates(compile_once: Compile, case: Settle):
    check_circuit(compile_once(case.rules.circuit()), valid=[case.valid("random updates")])


@examples(12)
@given(settlements(), st.data())
def test_permuted_trainers_have_permuted_decisions(compile_once: Compile, case: Settle, data: st.DataObject):
    """Equivariance: q with permuted challenges and ν stay, mask and scores follow their trainers."""
    n = case.rules.n
    order = data.draw(st.permutations(range(1, n + 1)))
    slots = [0, *order]
    moved = Settle(
        case.rules,
        [[case.gram[i][j] for j in slots] for i in slots],
        case.beta,
        tuple(case.challenges[i] for i in slots),
    )
    circuit = compile_once(case.rules.circuit())
    before, after = circuit.run(case.inputs()), circuit.run(moved.inputs())
    per_trainer = n + 3
    assert (after[0], after[-1]) == (before[0], before[-1])
    for start in (per_trainer, per_trainer + n):  # mask, then scores
        assert after[start : start + n] == [before[start + i - 1] for i in order]


def test_the_outputs_are_in_the_documented_order(compile_once: Compile):
    """q, r_0..r_N, β, mask, scores, ν: by hand, for three updates 1, 2 and 2 of one value."""
    rules = Rules(3, MultiKrum(0, 3))
    gram = [[7, 1, 2, 3], [1, 1, 2, 2], [2, 2, 4, 4], [3, 2, 4, 4]]
    r = (10, 20, 30, 40)
    q = sum(r[i] * r[j] * gram[i][j] for i in range(4) for j in range(4))
    expected = [q, *r, 4, 1, 1, 1, 5, 10, 10, 4]  # φ = <u_i, 1 + 2 + 2>; norms 1, 4, 4
    case = Settle(rules, gram, 4, r)
    assert case.outputs() == expected, "the oracle itself"
    check_circuit(compile_once(rules.circuit()), valid=[Valid("by hand", case.inputs(), expected)])
    loo = Settle(Rules(3, MultiKrum(0, 3), "leave-one-out"), gram, 4, r)
    expected[9:12] = [2 * 5 - 1, 2 * 10 - 4, 2 * 10 - 4]
    check_circuit(compile_once(loo.rules.circuit()), valid=[Valid("by hand", loo.inputs(), expected)])


@pytest.mark.parametrize("n", [3, 5])
def test_halves_are_left_to_the_gram_argument(compile_once: Compile, n: int):
    """Alone, the circuit takes inner products of (p−1)/2, whose doubles are small: they are no integers' products.

    It does not matter: q ties G to updates of small entries. A single one gives a score that verify() refuses.
    """
    rules = Rules(n, MultiKrum((n - 3) // 2, 3))
    zero = settle(rules, [[0]] * n, beta=5)
    half = checks.changed_entry(zero, 1, 2, (P + 1) // 2)
    outputs = compile_once(rules.circuit()).run(half.inputs())
    assert max(outputs[2 * n + 3 : -1]) >= SCORE_LIMIT
    assert outputs[0] != zero.outputs()[0]


# ---------------------------------------------------------------- the rule in floats


def float_krum(updates: np.ndarray, f: int) -> np.ndarray:
    """Krum scores from the paper, in floats."""
    n = len(updates)
    scores = []
    for i in range(n):
        others = [np.sum((updates[i] - updates[j]) ** 2) for j in range(n) if j != i]
        scores.append(np.sort(others)[: n - f - 2].sum())
    return np.array(scores)


@examples(60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 0, 3), (5, 1, 3), (8, 2, 5)]), st.sampled_from([6, 8, 9]))
def test_the_float_rule_is_the_integer_rule_within_rounding(seed: int, numbers: tuple[int, int, int], scale: int):
    """Rounding moves a value by half a step, so a length by √D and a score by Σ (2·√(D·d) + D): masks agree beyond."""
    n, f, m = numbers
    size = 40
    rng = np.random.default_rng(seed)
    updates = rng.normal(0, 0.1, size) + rng.normal(0, rng.uniform(0.02, 0.2, (n, 1)), (n, size))
    updates = np.clip(updates, -0.9, 0.9)
    integers = np.rint(updates * 2**scale).astype(int)
    gram = (integers @ integers.T).tolist()
    exact, score = krum_scores(gram, f), float_krum(updates, f) * 4**scale
    distances = 4**scale * ((updates[:, None] - updates[None]) ** 2).sum(-1)
    bound = (n - f - 2) * (2 * np.sqrt(size * distances.max()) + size)
    assert np.all(np.abs(np.array(exact) - score) <= bound)
    order = np.sort(score)
    mask = multi_krum(gram, MultiKrum(f, m), 2**60, 1 << 80)
    clear = np.abs(score - order[m - 1]) > 2 * bound
    assert [mask[i] for i in np.flatnonzero(clear)] == [int(score[i] < order[m - 1]) for i in np.flatnonzero(clear)]


def test_an_outlier_is_rejected_by_floats_integers_and_circuit_alike(compile_once: Compile):
    """The top of the ladder: one float round, quantised, decided three times."""
    n, f, m, scale = 8, 2, 5, 8
    rng = np.random.default_rng(4)
    updates = rng.normal(0, 0.2, 60) + rng.normal(0, 0.02, (n, 60))
    updates[2] *= -1
    updates[6] += rng.normal(0, 0.5, 60)
    updates = np.clip(updates, -0.99, 0.99)
    score = float_krum(updates, f)
    in_floats = [int(s <= np.sort(score)[m - 1]) for s in score]
    assert in_floats[2] == in_floats[6] == 0
    integers = np.rint(updates * 2**scale).astype(int).tolist()
    case = settle(Rules(n, MultiKrum(f, m)), integers)
    assert list(case.decision().mask) == in_floats
    outputs = compile_once(case.rules.circuit()).run(case.inputs())
    assert outputs[n + 3 : 2 * n + 3] == in_floats


# ---------------------------------------------------------------- the domain

UNBOUNDED = Mutation({"mask + broken, contribution": "mask, contribution"})


def test_clones_beyond_the_domain_do_not_take_the_selection(compile_once: Compile):
    """Four updates longer than the ranking's penalty: they shut all but one honest out, who then takes all of R.

    A receipt does not stop an aggregator that is one of them. The settlement does: it proves that nobody is so long.
    """
    rules = Rules(7, MultiKrum(2, 5), params=8000, bound=4096)
    insiders = [[40 + i, 3 * i] for i in range(3)]
    case = settle(rules, [*insiders, *[[0, 0]] * 4])
    length = 1 << case.domain.bits - 4
    for i in range(4, 8):
        for j in range(4, 8):
            case = changed_entry(case, i, j, length)
    assert length > case.domain.penalty > norm_bound(rules.params, rules.bound)
    case = Settle(rules, case.gram, beta=10_000)
    taken = case.decision()
    assert (sum(taken.mask), sum(taken.scores[:3])) == (1, max(taken.scores)), "the rules alone would pay one of three"
    check_circuit(compile_once(rules.circuit(), UNBOUNDED), valid=[case.valid("without the check")])
    outputs = compile_once(rules.circuit()).run(case.inputs())
    mask = outputs[rules.slots + 2 : rules.slots + 2 + rules.n]
    assert all(bit not in (0, 1) for bit in mask), "no verifier takes such a mask"
    honest = settle(rules, [*insiders, *[[41, i] for i in range(4)]], beta=10_000)
    check_circuit(compile_once(rules.circuit()), valid=[honest.valid("its honest twin")])


def test_the_bound_of_a_norm_is_a_float32():
    """A constant of an ONNX file: rounded up to 24 bits, never down, and the least such number."""
    for d in (1, 40, 1210, 8000, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, 25_600_000, (1 << 32) - 1, 12345678901):
        for q in (508, 512, 4092, 4096, 1 << 18):
            bound = norm_bound(d, q)
            assert int(np.float32(bound)) == bound >= d * q * q
            assert int(np.nextafter(np.float32(bound), np.float32(0))) < d * q * q


# ---------------------------------------------------------------- size


SIZES = [(3, 1), (3, 10**6), (4, 2500), (5, 64), (8, 64), (16, 10**5), (24, 10**4), (32, 10**5)]


@pytest.mark.exhaustive("sizes", but=3)
@pytest.mark.parametrize(("n", "params"), SIZES)
def test_the_row_estimate_is_an_upper_one(compile_once: Compile, n: int, params: int):
    """settlement_rows picks K before anything is compiled: never too low, and within 2 %."""
    rules = {MultiKrum.krum(n), MultiKrum(0, 3)}
    if params <= 2500:  # more than that three-sigma's integers do not hold for every N here
        rules.add(MultiKrum.default(n))
    for rule in rules:
        compiled = compile_once(Rules(n, rule, params=params).circuit(), cut=True)
        check_settings(compiled.settings, compiled.circuit)
        domain = compiled.circuit.domain
        estimate = settlement_rows(Rules(n, rule, params=params).set, domain)
        assert compiled.settings["num_rows"] <= estimate <= 1.02 * compiled.settings["num_rows"]
        args = compiled.settings["run_args"]
        assert args["decomp_legs"] == domain.digits
        assert args["decomp_base"] ** domain.digits > max(domain.bounds.values())
        assert estimate <= 2 ** args["logrows"] - 8, "one block of columns: see test_histogram_attack.py"
