"""A plan's cells laid out in columns and rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..backend import MARGIN, sequence, usable_rows
from ..build import Columns
from ..build.statements import noise_covers
from ..circuits import NOISE
from ..circuits.plan import (
    Bounds,
    Channelwise,
    CircuitPlan,
    Convolution,
    CrossEntropy,
    Dense,
    Identity,
    Span,
    Stage,
    Transpose,
    WindowSum,
)
from ..documents import canonical_json
from ..errors import DomainError, InputError
from ..updates import MODEL_LIMIT
from .layers import Network
from .plan import CHALLENGES, LAID_OUT, LOSSES, NOT_PLACED, WITNESS_SALTS, Linear, Sizes, Tensor, root
from .planner import Planner

# ---------------------------------------------------------------- the plan


def make_plan(network: Network, sizes: Sizes) -> CircuitPlan:
    """The plan of a network.

    Raises:
        InputError: sizes that are none.
        DomainError: a bound that the circuit cannot represent.
    """
    if sizes.loss not in LOSSES:
        raise InputError(f"unknown loss: got {sizes.loss!r}, wanted {' or '.join(LOSSES)}")
    columns = Columns(sizes.logrows)
    for name, least, most in (
        ("batch", 2, 1 << 16),
        ("proofs", 1, 1 << sizes.logrows - 1),
        ("input_bits", 0, 24),
        ("activation_bits", 1, 24),
        ("scale_bits", 0, 40),
        ("theta_bits", 0, 32),
        ("theta_bound", 1, MODEL_LIMIT),
        ("salts", 0, columns.width),
    ):
        if not least <= getattr(sizes, name) <= most:
            raise InputError(f"{name} is from {least} to {most}: got {getattr(sizes, name)}")
    planner = Planner(sizes)
    if not noise_covers(NOISE, planner.radix):
        raise DomainError(f"{NOISE} noise values do not cover what a lookup reveals at 2^{sizes.logrows} rows")
    scale = math.ldexp(1.0, sizes.input_bits)
    longest_sample = root(math.prod(network.input_shape) * sizes.input_bound**2)
    results: list[Tensor | Linear] = [Tensor(0, network.input_shape, scale, sizes.input_bound, longest_sample)]
    uses = [0] * (len(network.nodes) + 1)
    for node in network.nodes:
        for index in node.inputs:
            uses[index] += 1
    for at, node in enumerate(network.nodes):
        values = [results[index] for index in node.inputs]
        for index, value in zip(node.inputs, values, strict=True):
            if uses[index] > 1 and isinstance(value, Linear):  # used twice: computed once
                results[index] = planner.stage(value)
        results.append(planner.node(node, [results[index] for index in node.inputs]))
        assert results[-1] is not None and at + 2 == len(results)
    last = planner.linear(planner.settled(results[-1]))
    base = planner.cross_entropy(last) if sizes.loss == "cross-entropy" else planner.squares(last)
    return _laid_out(planner, network, base)


def sizes_of(plan: CircuitPlan) -> Sizes:
    """The sizes that a plan was made with."""
    same = ("logrows", "scale_bits", "theta_bits", "batch", "loss", "input_bits", "activation_bits")
    bounds = {f"{name}_bound": bound for name, bound in vars(plan.bounds).items()}
    proofs = plan.chunks["validation"][1] - WITNESS_SALTS
    return Sizes(**{name: getattr(plan, name) for name in same}, **bounds, salts=plan.chunks["theta"][1], proofs=proofs)


def _laid_out(planner: Planner, network: Network, base: float) -> CircuitPlan:
    sizes, radix = planner.sizes, planner.radix
    classes = network.outputs
    looked = [name for name, (_, digit) in planner.cells.items() if digit]
    others = [name for name, (_, digit) in planner.cells.items() if not digit]
    witness, at = _one_after_another({name: planner.cells[name][0] for name in looked + others})
    digits = sum(planner.cells[name][0] for name in looked)

    most = max(planner.digits.values())
    constants = {0, 1, radix, *planner.constants}
    constants |= {radix**k for k in range(1, most + 1)}
    constants |= {radix // 2 * sum(radix**i for i in range(k)) for k in range(1, most + 1)}
    constants |= {radix // 2}
    for step in planner.steps:
        if isinstance(step, WindowSum | Transpose):
            constants |= {1}
        else:
            constants |= {step.times, step.offset} | {term.factor for term in step.terms}
    shapes = [step.shape for step in planner.steps if not isinstance(step, WindowSum | Transpose)]
    counts = [sizes.batch, *(max(shape[axis] for shape in shapes) for axis in range(3))]
    counts += [1, classes] if sizes.loss == "cross-entropy" else []
    vectors = {name: len(vector) for name, vector in planner.vectors.items()}
    challenges = dict(zip(CHALLENGES, counts, strict=False))
    public, row = _one_after_another({"constants": len(constants), **vectors, **challenges})

    d, chunk, salts = network.layout.size, Columns(sizes.logrows).values, sizes.salts
    labels = sizes.batch * (1 if sizes.loss == "cross-entropy" else classes)
    inputs = math.prod(network.input_shape)
    validation_salts = WITNESS_SALTS + sizes.proofs
    plan = CircuitPlan(
        logrows=sizes.logrows,
        batch=sizes.batch,
        scale_bits=sizes.scale_bits,
        theta_bits=sizes.theta_bits,
        input_bits=sizes.input_bits,
        activation_bits=sizes.activation_bits,
        input_shape=tuple(network.input_shape),
        bounds=Bounds(sizes.input_bound, sizes.theta_bound, sizes.target_bound),
        loss=sizes.loss,
        params=d,
        inputs=inputs,
        outputs=classes,
        radix=radix,
        base=base,
        chunks={
            "theta": (chunk, salts),
            "validation": (whole_column(sizes.logrows, validation_salts), validation_salts),
            "witness": (whole_column(sizes.logrows, WITNESS_SALTS), WITNESS_SALTS),
        },
        counts={"theta": d, "validation": sizes.batch * inputs + labels, "witness": at},
        digits=planner.digits,
        witness=witness,
        constants=_places_of(constants),
        vectors={name: tuple(vector) for name, vector in planner.vectors.items()},
        public=public,
        steps=tuple(planner.steps),
        **NOT_PLACED,
    )
    return _with_noise(plan, digits, row)


def whole_column(logrows: int, salts: int) -> int:
    """Values of a column that is committed for these proofs alone, the batch's or the witness's, with its own salts.

    It is no part of the arguments on updates, so it need not be a matrix: it fills its rows but for two spare ones, and
    may hold more salts than the row of an update's column, one for each proof that a batch has to last for.
    """
    return usable_rows(logrows) - 2 - salts


def _with_noise(plan: CircuitPlan, digits: int, row: int) -> CircuitPlan:
    """Where noise goes: into every block of columns that holds lookups.

    Rows are counted through all blocks. The lookups begin after the B cells of λ − 1: inputs have columns of their own
    and take no rows, although ezkl's settings and its log of the layout count them.
    """
    usable = usable_rows(plan.logrows)
    start = plan.batch if plan.loss == "cross-entropy" else 0
    if usable - start % usable < 2 * NOISE + MARGIN:
        raise DomainError(f"a batch of {start} leaves no room for noise in its block of columns: choose another")
    data = [("public", plan.constants[0], 1), ("witness", 0, digits)]
    if start:
        data.append(("below", 0, start))
    runs, groups = sequence(data, start, plan.logrows)
    lengths, columns = _columns(plan, row + groups * NOISE + WITNESS_SALTS)
    if lengths[-1] >= usable:
        raise DomainError(
            f"the public values and noise of a utility circuit do not fit 2^{plan.logrows} rows:"
            " lower the batch or raise logrows"
        )
    return replace(
        plan,
        public={**plan.public, "noise": (row, groups * NOISE)},
        lengths=lengths,
        columns=columns,
        sequence=tuple(runs),
        first_lookup=start,
    )


def check_plan(value: Mapping[str, Any]) -> None:
    """Raise InputError unless a plan lays its values out as `make_plan` does, in the one order that it writes.

    A plan that somebody wrote is compiled and proven by what it says; but it must say it in one way only. Whether it
    is the plan of a model, `compile.compile_again` finds out.

    Args:
        value: as it stands in utility.json.
    """
    plan = CircuitPlan.from_json(value)
    sizes = {
        "constants": len(plan.constants),
        **{name: len(vector) for name, vector in plan.vectors.items()},
        **{name: plan.public[name][1] for name in CHALLENGES if name in plan.public},
    }
    public, row = _one_after_another(sizes)
    witness, _ = _one_after_another({name: count for name, (_, count) in plan.witness.items()})
    digits = sum(count for kind, _, count in plan.sequence if kind == "witness")
    head = replace(plan, constants=_places_of(plan.constants), public=public, witness=witness)
    again = _with_noise(head, digits, row).to_json()
    for name in LAID_OUT:
        if canonical_json(value[name]) != canonical_json(again[name]):
            raise InputError(f"the plan's {name} are not laid out in the canonical order")
    if list(again) != list(value):
        raise InputError(f"the plan's parts are {', '.join(value)}: wanted {', '.join(again)}, in this order")


def _places_of(constants: Iterable[int]) -> dict[int, int]:
    """Where constants lie among the public values, whose first they are: by their size."""
    return {value: at for at, value in enumerate(sorted(constants))}


def _one_after_another(sizes: dict[str, int]) -> tuple[dict[str, Span], int]:
    """Where each lies, and where the last one ends."""
    out: dict[str, Span] = {}
    at = 0
    for name, count in sizes.items():
        out[name] = at, count
        at += count
    return out, at


def _columns(plan: CircuitPlan, last: int) -> tuple[tuple[int, ...], dict[str, tuple[Span, ...]]]:
    """Lengths of all inputs, and for each kind where its values lie in their concatenation."""
    lengths: list[int] = []
    columns: dict[str, tuple[Span, ...]] = {}
    for kind in ("theta", "validation", "witness"):
        size, salts = plan.chunks[kind]
        left = plan.counts[kind]
        spans: list[Span] = []
        while left > 0:
            used = min(size, left)
            spans.append((sum(lengths), used))
            # a model's column is always a whole one, as an update's: its salts come after C values
            lengths.append((size if kind == "theta" else used) + salts)
            left -= used
        columns[kind] = tuple(spans)
    columns["public"] = ((sum(lengths), last - WITNESS_SALTS),)
    return (*lengths, last), columns


def rows_of(plan: CircuitPlan) -> int:
    """Rows that the circuit lays out, within 4 % (tests/circuits/test_utility_circuit.py); its inputs take none."""
    batch, digits = plan.batch, plan.digits
    rows = plan.first_lookup + sum(count for *_, count in plan.sequence)
    summed: dict[int, int] = {}  # tensors of which a sum over samples is taken, once, and their values of a sample

    def within(tensors: int, channels: int, places: int) -> int:
        """Sums over a sample's channels and places."""
        return tensors * ((channels * places if places > 1 else 0) + (channels if channels > 1 else 0))

    def weighted(tensors: int, channels: int, places: int) -> int:
        return tensors * batch * channels * places + within(tensors, channels, places)

    for step in plan.steps:
        channels, height, width = step.shape
        places = height * width
        elements = batch * channels * places
        if isinstance(step, WindowSum):
            rows += elements - elements // math.prod(step.pool)
            continue
        if isinstance(step, Transpose):  # cells are read in another order
            continue
        scalars = SCALAR_ROWS * (plan.digits[f"{step.name}.rem" if step.name else "rem"] + len(step.terms))
        rows += scalars + batch + channels + (2 * places if places > 1 else 0)  # sums of weights
        for term in step.terms:
            if isinstance(term, Identity):
                summed[term.tensor] = channels * places
                rows += within(1, channels, places)
                continue
            view = term.gamma if isinstance(term, Channelwise) else term.weight
            rows += view.count if view.sizes[0] > 1 and not isinstance(term, Channelwise) else 0
            inputs = view.count // view.sizes[0]
            if isinstance(term, Dense):
                summed[term.tensor] = inputs
                rows += inputs
            elif isinstance(term, Convolution):
                size = math.prod(term.shape)
                summed[term.tensor] = size
                kernel_y, kernel_x = term.kernel
                rows += size * kernel_x + size // term.shape[2] * kernel_x * kernel_y + inputs
            elif isinstance(term, Channelwise):
                summed[term.tensor] = channels * places
                rows += (channels * places if places > 1 else 0) + 5 * channels + batch + places
            else:
                rows += batch + channels + places
        if isinstance(step, Stage):
            windows_of = math.prod(step.pool) if step.pool else 1
            tops, name = elements // windows_of, step.name
            inner = places // windows_of
            summed[step.out] = channels * inner
            rows += within(1, channels, inner) + weighted(digits[f"{name}.top"], channels, inner)
            rows += tops + weighted(2, channels, inner) if step.relu else 0
            rows += weighted(digits[f"{name}.rem"], channels, places)
            if step.pool:
                rows += weighted(1 + digits[f"{name}.gap"], channels, places)
                rows += elements - tops + weighted(1, channels, inner)
        elif isinstance(step, CrossEntropy):
            rows += 4 * elements + weighted(3 + digits["excess"] + digits["rem"], channels, 1)  # sum, cap, ties, misses
            rows += 2 * (elements - batch) + elements + channels  # products, mass
            rows += batch * (12 + digits["top"] + digits["over"] + digits["under"]) + ENTROPY_ROWS
        else:
            rows += weighted(1 + digits["top"] + digits["rem"], channels, 1) + 2 * elements + SQUARES_ROWS
    return rows + batch * sum(summed.values())


SCALAR_ROWS, ENTROPY_ROWS, SQUARES_ROWS = 8, 84, 16
"""Rows of what is done with the sums of one digit or term, about; of a loss, with all of its sums."""
