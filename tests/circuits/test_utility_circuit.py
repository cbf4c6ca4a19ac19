"""The utility circuit beside its integer oracle, bit by bit; and forged witnesses, each of which a check refuses.

A forged witness is consistent in everything but one check. The honest circuit must name that check; a copy of the
circuit without it must accept the forgery, or the forgery would show nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.circuits.conftest import Compile
from tests.circuits.harness import UNSATISFIED_LOOKUP, Mutation, compiled
from tests.circuits.utility_nets import (
    BATCH,
    NETS,
    Case,
    case_of,
    extreme_cases,
    network_named,
    plan_of,
    sizes,
)
from zkmarket import backend, utility
from zkmarket.backend import Operation, noise_by_block
from zkmarket.build import check_refused
from zkmarket.build.statements import check_settings
from zkmarket.crypto import P
from zkmarket.errors import ArtifactError, DomainError, StatementFalse
from zkmarket.networks import Planner, Tensor, evaluate, exponentials, make_plan, network_of_module, rows_of
from zkmarket.networks.evaluation import _Evaluation
from zkmarket.updates import ParameterLayout
from zkmarket.utility import check_placement

pytestmark = pytest.mark.circuit


@pytest.mark.parametrize("name", NETS)
def test_the_circuit_is_the_oracle(name: str, compile_once: Compile):
    circuit = compile_once(utility.statement(plan_of(name)), cut=True)
    check_settings(circuit.settings, circuit.circuit)
    assert abs(circuit.settings["num_rows"] / rows_of(plan_of(name)) - 1) < 0.06
    for case in (case_of(name), case_of(name, 2)):
        assert case.run(circuit) == ([], case.correct, case.loss)


@pytest.mark.parametrize("name", NETS)
def test_no_model_within_the_bounds_is_unprovable(name: str, compile_once: Compile):
    circuit = compile_once(utility.statement(plan_of(name)), cut=True)
    for case in extreme_cases(name):
        assert case.run(circuit) == ([], case.correct, case.loss)


@pytest.mark.parametrize("name", NETS)
def test_no_activation_is_larger_or_longer_than_planned(name: str, monkeypatch: pytest.MonkeyPatch):
    """Values of each sample, and their length as a vector, for parameters and inputs of one sign or of many."""
    planned: dict[int, Tensor] = {}
    stage = Planner.stage
    monkeypatch.setattr(Planner, "stage", lambda self, value: planned.setdefault(self.tensors, stage(self, value)))
    plan = make_plan(network_named(name), sizes(NETS[name][2]))
    rng = np.random.default_rng(11)
    cases = [*extreme_cases(name)]
    for _ in range(40):
        sign = np.where(rng.random(plan.params) < rng.choice([0.5, 1]), 1, -1)
        values = case_of(name).values.copy()
        values[: BATCH * plan.inputs] = plan.bounds.input
        cases.append(Case(plan, sign * plan.bounds.theta, values))
    closest = 0.0
    for case in cases:
        made = _Evaluation(plan, case.theta, case.values, False)
        made.run()
        for index, tensor in planned.items():
            found = made.tensors[index].reshape(BATCH, -1).astype(np.float64)
            assert np.abs(found).max() <= tensor.bound
            assert np.linalg.norm(found, axis=1).max() <= tensor.length
            closest = max(closest, np.abs(found).max() / tensor.bound)
    assert not planned or closest > 0.1  # the bounds are not met by chance


def test_a_loss_beyond_64_bits_is_the_sum_of_its_samples():
    """The worst model of a plan that is accepted: in int64 the sum of 256 losses of 2^56 was negative."""
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(64, 3)).eval()
    layout = ParameterLayout.of(model.state_dict())
    theta = layout.flatten(model.state_dict())
    network = network_of_module(model, (64,), layout, theta, layout.unflatten(theta))
    changes = {"logrows": 13, "batch": 256, "scale_bits": 12, "theta_bound": 620_000}
    plan = make_plan(network, sizes("cross-entropy", **changes))
    signs = layout.unflatten(np.ones(layout.size))
    signs["8.weight"][1], signs["8.bias"][1] = -1, -1  # the label's logit
    sign = layout.flatten(signs).astype(np.int64)

    def loss(batch: int) -> int:
        inputs = np.full(batch * 64, plan.bounds.input, np.int64)
        values = np.concatenate([inputs, np.ones(batch, np.int64)])
        whole = replace(plan, batch=batch)
        return evaluate(whole, sign * plan.bounds.theta, values, witness=False).loss

    assert loss(256) == 128 * loss(2) > 1 << 63


@pytest.mark.parametrize("name", NETS)
def test_integers_say_what_floats_say(name: str):
    plan, network, case = plan_of(name), network_named(name), case_of(name)
    scale, start = 2.0 ** (plan.scale_bits + plan.theta_bits), BATCH * plan.inputs
    theta = np.where(utility.used_parameters(plan), case.theta / scale, network.theta)
    outputs = network.evaluate(theta, case.values[:start].reshape(BATCH, -1) / 2.0**plan.input_bits)
    wanted = case.values[start:]
    if plan.loss == "mse":
        targets = wanted.reshape(outputs.shape) / utility.target_scale(plan)
        loss = ((outputs - targets) ** 2).mean(1).sum()
    else:
        loss = (np.log(np.exp(outputs).sum(1)) - outputs[np.arange(BATCH), wanted]).sum()
        assert case.correct == (outputs.argmax(1) == wanted).sum()
    assert case.loss * utility.loss_unit(plan) == pytest.approx(loss, rel=0.05, abs=0.1)


def test_every_entry_of_the_table_is_the_oracles(compile_once: Compile):
    """ezkl makes E(x) in Rust, the oracle in numpy. A batch that looks up every entry: its check of λ tells them."""
    plan = make_plan(network_named("linear"), sizes("cross-entropy", batch=680, logrows=11))
    half, classes, batch = plan.radix // 2, plan.outputs, plan.batch
    table = exponentials(plan.base, half)
    assert table[0] == 0 and table[half] == 1 and (np.diff(table) >= 0).all() and len(table) <= batch * classes
    zeros = np.zeros(plan.params, np.int64)
    case = Case(plan, zeros, np.zeros(plan.counts["validation"], np.int64))
    places = np.arange(batch * classes) % len(table)
    case.cells["capped"] = [int(at) - half for at in places]
    outputs = backend.mock(compile_once(utility.statement(plan)).files, case.inputs())
    found = outputs[len(case.public) + 1 + utility.check_names(plan).index("loss: λ is enough")]
    start = plan.public["a"][0]
    wanted = 0
    for b, mass in enumerate(table[places].reshape(batch, classes).sum(1)):
        top = classes * int(table[_signed(case.cells["lambda"][b]) + half])
        wanted += case.public[start + b] * (top - int(mass) - _number(case, "over", b))
    assert found == wanted % P


def _number(case: Case, name: str, at: int) -> int:
    radix = case.plan.radix
    digits = [case.cells[f"{name}.{i}"][at] for i in range(case.plan.digits[name])]
    return sum(radix**i * ((digit if digit < P // 2 else digit - P) + radix // 2) for i, digit in enumerate(digits))


# ---------------------------------------------------------------- forged witnesses


@dataclass(frozen=True)
class Forgery:
    """A lie, the net it is told about, the check that must name it, and the line of the circuit that makes it."""

    net: str
    tell: Callable[[Case], None]
    check: str
    line: str
    loss_changes: bool = False


def unused_unit(case: Case, weight: str = "2.weight", unit: int = 0) -> None:
    """A model in which nothing depends on a hidden unit, so that a lie about it has no consequences."""
    network = network_named({6: "mlp", 16: "cnn", 5: "stacked"}.get(case.plan.inputs, "regression"))
    layout = network.layout
    start = layout.offsets[layout.names.index(weight)]
    shape = layout.shapes[layout.names.index(weight)]
    at = start + np.arange(int(np.prod(shape))).reshape(shape)[:, unit]
    theta = case.theta.copy()
    theta[at] = 0
    fresh = Case(case.plan, theta, case.values)
    case.__dict__.update(fresh.__dict__)


def quotient_of(case: Case, at: int) -> int:
    return _signed(case.cells["stage1.out"][at]) - _signed(case.cells["stage1.minus"][at])


def set_quotient(case: Case, at: int, value: int) -> None:
    """Another quotient of a ReLU, with everything that belongs to it."""
    case.change("stage1.out", at, max(value, 0))
    case.change("stage1.minus", at, max(-value, 0))
    _set_number(case, "stage1.top", at, abs(value))


def lie_about_a_quotient(case: Case) -> None:
    unused_unit(case)
    set_quotient(case, 0, quotient_of(case, 0) + 1)


def lie_about_a_relu(case: Case) -> None:
    """A quotient as a difference of two numbers of which none is 0."""
    unused_unit(case)
    out, minus = case.cells["stage1.out"][0] + 1, case.cells["stage1.minus"][0] + 1
    case.change("stage1.out", 0, out)
    case.change("stage1.minus", 0, minus)
    _set_number(case, "stage1.top", 0, out + minus)


def lie_about_a_sign(case: Case) -> None:
    """A negative quotient that passes the ReLU as it is."""
    unused_unit(case)
    at = next(4 * b for b in range(BATCH) if case.cells["stage1.minus"][4 * b])
    case.change("stage1.out", at, P - case.cells["stage1.minus"][at])
    case.change("stage1.minus", at, 0)


def lie_about_an_output(case: Case) -> None:
    """A layer without a ReLU: an output that its digits do not say."""
    unused_unit(case, "1.weight")
    case.add("stage1.top.0", 0, 1)


WINDOW = (0, 1, 4, 5)


def set_maximum(case: Case, value: int) -> None:
    """Another maximum of the first window, with everything that belongs to it but digits of what is negative."""
    top = quotient_of(case, 0)
    for place in WINDOW:
        gap = case.cells["stage1.gap"][place] + value - top
        case.change("stage1.gap", place, gap % P)
        _set_number(case, "stage1.gap", place, max(gap, 0))
    set_quotient(case, 0, value)


def lie_about_a_maximum(case: Case) -> None:
    """A maximum that is larger than every value of its window, by one."""
    unused_unit(case, "4.weight")
    set_maximum(case, quotient_of(case, 0) + 1)


def lie_about_a_smaller_maximum(case: Case) -> None:
    """The smallest value of a window as its maximum."""
    unused_unit(case, "4.weight")
    set_maximum(case, quotient_of(case, 0) - max(case.cells["stage1.gap"][place] for place in WINDOW))


def lie_about_the_largest_logit(case: Case) -> None:
    """Every logit lies one below the maximum: as if a class had it that there is not."""
    case.add("top.0", 0, 1)
    for j in range(3):
        case.add("capped", j, -1)
        case.add("gap", j, 1)
    _settle(case, 0, label=1)


def lie_about_a_cap(case: Case) -> None:
    """The smallest logit is called out of reach, by an excess, though it is not: the loss falls."""
    at = int(np.argmax(case.cells["gap"][:3]))
    _set_number(case, "excess", at, case.cells["gap"][at])
    case.change("capped", at, case.plan.radix // 2 - 1)
    _settle(case, 0)


def lie_about_an_excess(case: Case) -> None:
    """A logit within reach counts as out of it, as if its gap had a negative excess: the loss falls."""
    at = int(np.argmax(case.cells["gap"][:3]))
    assert case.cells["gap"][at] < case.plan.radix - 1
    case.change("capped", at, -(case.plan.radix // 2))
    _settle(case, 0)


def lie_about_a_label(case: Case) -> None:
    """The gap of the class with the largest logit, whatever the label is."""
    wrong = next(b for b in range(BATCH) if case.cells["label_gap"][b])
    case.change("label_gap", wrong, 0)
    case.change("inverse", wrong, 0)


def lie_about_a_loss_below(case: Case) -> None:
    """λ − 1 instead of λ."""
    case.add("lambda", 0, -1)
    _settle_under(case, 0)


def lie_about_a_loss_above(case: Case) -> None:
    """λ + 1 instead of λ."""
    case.add("lambda", 0, 1)
    _settle_over(case, 0)


def lie_about_a_regression(case: Case) -> None:
    case.add("out", 0, 1)
    case.add("top.0", 0, 1)


def lie_about_a_prediction(case: Case) -> None:
    wrong = next(b for b in range(BATCH) if case.cells["label_gap"][b])
    case.change("inverse", wrong, 0)


def _signed(value: int) -> int:
    return value if value < P // 2 else value - P


def _set_number(case: Case, name: str, at: int, value: int) -> None:
    radix = case.plan.radix
    for i in range(case.plan.digits[name]):
        case.change(f"{name}.{i}", at, value % radix - radix // 2)
        value //= radix
    assert value == 0, f"{name} does not fit its digits"


def _mass(case: Case, sample: int) -> int:
    table, q = exponentials(case.plan.base, case.plan.radix // 2), case.plan.radix // 2
    return sum(int(table[_signed(case.cells["capped"][3 * sample + j]) + q]) for j in range(3))


def _settle(case: Case, sample: int, label: int = 0) -> None:
    """The λ that belongs to the forged terms of a sample, and its label's gap moved."""
    table, q = exponentials(case.plan.base, case.plan.radix // 2), case.plan.radix // 2
    place = int(np.searchsorted(3 * table, _mass(case, sample), "left"))
    case.change("lambda", sample, place - q)
    _settle_over(case, sample)
    _settle_under(case, sample)
    if label:
        gap = case.cells["label_gap"][sample] + label
        case.change("label_gap", sample, gap)
        case.change("inverse", sample, pow(gap, -1, P))


def _settle_over(case: Case, sample: int) -> None:
    table, q = exponentials(case.plan.base, case.plan.radix // 2), case.plan.radix // 2
    top = 3 * int(table[_signed(case.cells["lambda"][sample]) + q])
    _set_number(case, "over", sample, top - _mass(case, sample))


def _settle_under(case: Case, sample: int) -> None:
    table, q = exponentials(case.plan.base, case.plan.radix // 2), case.plan.radix // 2
    below = 3 * int(table[_signed(case.cells["lambda"][sample]) - 1 + q])
    _set_number(case, "under", sample, _mass(case, sample) - 1 - below)


LINEAR = "        self.checks.append(scaled - whole - remainder)\n"
FORGERIES = {
    "quotient": Forgery("mlp", lie_about_a_quotient, "stage1: linear part and quotient", LINEAR),
    "sign": Forgery(
        "mlp",
        lie_about_a_sign,
        "stage1: digits",
        "            self.checks.append(quotient + pick(sums, 0) - self.powered(sums, 2, len(top), weight))\n",
    ),
    "smaller maximum": Forgery(
        "cnn",
        lie_about_a_smaller_maximum,
        "stage1: digits of gaps",
        "            self.checks.append(pick(sums, 0) - self.powered(sums, 1, len(digits), weight))\n",
    ),
    "excess": Forgery(
        "mlp",
        lie_about_an_excess,
        "logits: digits",
        "        self.checks.append(above - self.powered(sums, 3, len(excess), weight))\n",
        True,
    ),
    "ReLU": Forgery("mlp", lie_about_a_relu, "stage1: ReLU", "            self.checks.append(pick(sums, 1))\n"),
    "output": Forgery(
        "stacked",
        lie_about_an_output,
        "stage1: digits",
        "            self.checks.append(quotient + self.constant(step.offset) * weight - number)\n",
    ),
    "maximum": Forgery(
        "cnn",
        lie_about_a_maximum,
        "stage1: maximum is a value",
        "            self.checks.append(self.one_is_zero(step.shape, step.pool, gap, tops))\n",
    ),
    "largest logit": Forgery(
        "mlp",
        lie_about_the_largest_logit,
        "logits: maximum is a logit",
        "        self.checks.append(self.over_batch(product_of_columns(gap.reshape(batch, classes))))\n",
    ),
    "cap": Forgery(
        "mlp",
        lie_about_a_cap,
        "logits: cap",
        "        self.checks.append(pick(sums, 2) + pick(sums, 1) + left)\n",
        True,
    ),
    "label": Forgery(
        "mlp",
        lie_about_a_label,
        "logits: label",
        "        self.checks.append(self.over_batch(product_of_columns(miss)))\n",
        True,
    ),
    "loss below": Forgery(
        "mlp",
        lie_about_a_loss_below,
        "loss: λ is enough",
        '        self.checks.append(at - mass - self.number("over", samples))\n',
        True,
    ),
    "loss above": Forgery(
        "mlp",
        lie_about_a_loss_above,
        "loss: λ − 1 is not",
        '        self.checks.append(mass - below - samples - self.number("under", samples))\n',
        True,
    ),
    "prediction": Forgery(
        "mlp",
        lie_about_a_prediction,
        "prediction",
        "        self.checks.append(self.over_batch(right * label_gap))\n",
    ),
    "output of a regression": Forgery(
        "regression",
        lie_about_a_regression,
        "outputs: linear part and quotient",
        LINEAR,
        True,
    ),
    "digits of a regression": Forgery(
        "regression",
        lambda case: case.add("top.0", 0, 1),
        "outputs: digits",
        "        self.checks.append(pick(sums, 0) + self.constant(step.offset) * weight - number)\n",
    ),
}


@pytest.mark.exhaustive("further places of the same witness", but=5)
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_witness_is_refused(what: str, compile_once: Compile):
    forgery = FORGERIES[what]
    case = case_of(forgery.net)
    correct, loss = case.correct, case.loss
    forgery.tell(case)
    failed, got_correct, got_loss = case.run(compile_once(utility.statement(case.plan)))
    assert failed == [forgery.check]
    indent = forgery.line[: len(forgery.line) - len(forgery.line.lstrip())]
    without = Mutation({forgery.line: f"{indent}self.checks.append(self.constant(0))\n"})
    failed, got_correct, got_loss = case.run(compile_once(utility.statement(case.plan), without))
    assert failed == [], "the circuit without the check must accept the forgery"
    if forgery.loss_changes:
        assert got_loss != loss % P
    if what == "prediction":
        assert got_correct == correct + 1


@pytest.mark.parametrize("cell", ["stage1.top.0", "stage1.rem.0", "capped", "excess.0", "over.0", "lambda"])
@pytest.mark.parametrize("beyond", ["below", "above"])
def test_digits_are_in_the_table(cell: str, beyond: str, compile_once: Compile):
    case = case_of("mlp")
    half = case.plan.radix // 2
    case.change(cell, 1, half if beyond == "above" else -half - 1)
    with pytest.raises(StatementFalse, match=UNSATISFIED_LOOKUP):
        case.run(compile_once(utility.statement(case.plan)))


def test_lies_that_cancel_are_told_apart(compile_once: Compile):
    """Two quotients, one too large and one too small: only different weights of samples and outputs tell."""
    circuit = compile_once(utility.statement(plan_of("mlp")))
    for first, second in ((0, 4), (0, 1)):  # two samples of one unit; two units of one sample
        case = case_of("mlp")
        for unit in (0, 1):
            unused_unit(case, unit=unit)
        for at, change in ((first, 1), (second, -1)):
            set_quotient(case, at, quotient_of(case, at) + change)
        assert case.run(circuit)[0] == ["stage1: linear part and quotient"]
        for name in ("a", "c"):
            start, count = case.plan.public[name]
            case.public[start : start + count] = [1] * count
        assert case.run(circuit)[0] == [], "with equal weights they would cancel"


def test_places_of_a_convolution_are_told_apart(compile_once: Compile):
    circuit = compile_once(utility.statement(plan_of("cnn")))
    for first, second in ((0, 3), (0, 12)):  # one row; one column: different windows
        case = case_of("cnn")
        for at, change in ((first, 1), (second, -1)):
            case.add("stage1.rem.0", at, change)
        assert case.run(circuit)[0] == ["stage1: linear part and quotient"]
        for name in ("e", "f"):
            start, count = case.plan.public[name]
            case.public[start : start + count] = [1] * count
        assert case.run(circuit)[0] == [], "with equal weights they would cancel"


AVERAGE = "value = part if value is None else value + part\n        assert value is not None\n        self.t"
MUTANTS = {
    "a bias that is forgotten": (
        "mlp",
        "        for term in step.terms:\n",
        "        for term in [t for t in step.terms if not isinstance(t, Bias)]:\n",
    ),
    "a kernel that is moved": ("cnn", "divmod(i + pad - k, stride)", "divmod(i + pad - k + 1, stride)"),
    "a stride that is 1": ("strided", "divmod(i + pad - k, stride)", "divmod(i + pad - k, 1)"),
    "a mean that is added": ("residual", "self.public(term.kappa) - self", "self.public(term.kappa) + self"),
    "an average of fewer values": ("residual", AVERAGE, AVERAGE.replace("value + part", "value")),
    "a skip that is forgotten": (
        "residual",
        "        return self.within_sample(self.sums_of(term.tensor), shape[0], places)\n",
        "        return self.constant(0)\n",
    ),
    "windows of other places": ("strided", "range(dx, width, pool[1])", "range(0, width - width % pool[1], pool[1])"),
    "a remainder of another digit": (
        "mlp",
        "self.powered(self.weighted(remainder, channels, places), 0, len(remainder), weight)",
        "pick(self.weighted(remainder, channels, places), 0)",
    ),
}


@pytest.mark.exhaustive("further lines", but=4)
@pytest.mark.parametrize("what", MUTANTS)
def test_a_circuit_that_computes_something_else_is_noticed(what: str, compile_once: Compile):
    """An honest witness of the network is no witness of the mutant."""
    net, old, new = MUTANTS[what]
    case = case_of(net)
    statement = utility.statement(case.plan)
    assert case.run(compile_once(statement))[0] == []
    assert case.run(compile_once(statement, Mutation({old: new})))[0] != []


# ---------------------------------------------------------------- noise


def test_every_block_of_columns_has_noise(compile_once: Compile):
    plan = make_plan(network_named("mlp"), sizes("cross-entropy", batch=60))
    blocks = noise_by_block(plan.sequence, plan.first_lookup, plan.logrows)
    assert len(blocks) > 2 and all(noise == 128 for noise, data in blocks.values() if data)
    circuit = utility.statement(plan)
    with compiled(circuit) as made:
        ((bad, reason),) = circuit.refused().values()
        check_refused(made.files, "noise", bad, reason)
        assert len(re.findall("index", reason)) == len(blocks)
        moved = reason.replace("index: 1", "index: 0")
        with pytest.raises(ArtifactError, match="refused for another reason"):
            check_refused(made.files, "noise", bad, moved)


def test_a_plan_without_noise_in_a_block_is_refused():
    plan = make_plan(network_named("mlp"), sizes("cross-entropy", batch=60))
    at = [i for i, (kind, *_) in enumerate(plan.sequence) if kind == "noise"][1]
    bare = replace(plan, sequence=(*plan.sequence[:at], *plan.sequence[at + 1 :]))
    with pytest.raises(ArtifactError, match=r"looks up data with \d+ noise values: wanted 128"):
        utility.statement(bare)


def test_noise_that_is_not_looked_up_is_noticed():
    """A circuit that looks up zeros where noise should be accepts noise outside the table."""
    circuit = utility.statement(plan_of("mlp"))
    line = '                places += self.at["public"][first : first + count]\n'
    silent = Mutation({line: '                places += [self.at["public"][1]] * count\n'})
    with compiled(circuit, silent) as made:
        ((bad, reason),) = circuit.refused().values()
        with pytest.raises(ArtifactError, match="accepted by the compiled circuit|for another reason"):
            check_refused(made.files, "noise", bad, reason)


def test_lookups_elsewhere_are_noticed():
    plan = plan_of("mlp")
    first, count = plan.first_lookup, sum(n for *_, n in plan.sequence)
    exponential = Operation("EXP(scale=1,", first, first + count)
    check_placement(plan, [Operation("Input", 0, 0), Operation("SUB", 0, first), exponential])
    for placed in ([], [replace(exponential, start=first + 1)], [exponential, Operation("SIGN", first, first + 1)]):
        with pytest.raises(ArtifactError, match="wanted one exponential|has EXP in rows .* wanted it once in rows"):
            check_placement(plan, placed)


# ---------------------------------------------------------------- plans


def test_the_row_estimate_is_that_of_one_hidden_unit_too(compile_once: Compile):
    """It counted sums over channels where there is but one, and no such model could be compiled."""
    model = nn.Sequential(nn.Linear(400, 1), nn.ReLU(), nn.Linear(1, 2)).eval()
    layout = ParameterLayout.of(model.state_dict())
    theta = layout.flatten(model.state_dict())
    network = network_of_module(model, (400,), layout, theta, layout.unflatten(theta))
    plan = make_plan(network, sizes("cross-entropy"))
    circuit = compile_once(utility.statement(plan), cut=True)
    assert abs(circuit.settings["num_rows"] / rows_of(plan) - 1) < 0.04


def test_bounds_that_no_circuit_holds_are_refused():
    for changes in ({"theta_bound": 1 << 45}, {"input_bound": 1 << 50}):
        with pytest.raises(DomainError):
            make_plan(network_named("residual"), sizes("cross-entropy", **changes))
