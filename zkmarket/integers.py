"""A network in integers: the definition of a utility, the witness of its circuit, and the circuit's numbers.

Everything is fixed by a *plan*, a JSON object that `make_plan` derives from a network and a few sizes. The circuit
(circuits/utility.py) and the oracle here (`evaluate`) both read it, and tests compare them bit by bit.

Parameters. With L = lcm(1..N), θ and updates at the scale 2^s, a coalition S has the integer parameters
L·θ + (L/|S|)·Agg_S, at the scale L·2^s: no division, and one circuit for every |S|. (L/|S| is 0 for the empty one.)

Activations. Digits have the radix R = 2^K − 8, so that one lookup in a table of one column proves each. A stage
brings the linear part Z of a layer (at the scale s_x·L·2^s) back to the wanted scale by q = ⌊g·Z / R^k⌋: k is the
least number of digits to drop and g >= 1 the integer that comes closest. Scales are rational numbers that nobody
needs to see: a bias is multiplied by the nearest integer of its layer's input scale.

Bounds. |θ| <= the plan's bound, which everybody checks as θ is public; inputs are within the plan's bounds, which the
owner sees to. Of an accepted update nothing is proven entry by entry, only its length: ‖u‖² <= β <= β_max, and so
‖(1/|S|)·Agg_S‖ <= √β_max. What it adds to a layer's output is at most √β_max times the length of what the layer reads
(Cauchy and Schwarz), which is bounded from layer to layer beside the largest value. Every number of digits follows from
the worst case of these, so an update can make a loss terrible, but never unprovable. All are far below p.

Loss. Cross-entropy in units of 1/τ nats, where τ is the scale of the logits q_j: with M = max_j q_j, t_j = M − q_j,
T = R/2 − 1, E(x) = round(b^x), b the float32 nearest to e^(1/τ), and n classes,
    λ = least integer with n·E(λ) >= Σ_j E(T − min(t_j, R − 1)),     loss = λ − T + ⌈τ ln n⌉ + t_label,
which is ln Σ_j e^(q_j/τ) − q_label/τ, in units, rounded up; a logit more than R − 1 units below M counts as that.
A prediction is correct if the label's logit is M: ties of rounded logits count as correct.
Mean squares: Σ_j (q_j − target_j)², with targets at the scale of q. There, `correct` is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from circuits import NOISE

from .backend import usable_rows
from .columns import Columns
from .errors import DomainError, InputError
from .files import canonical_json
from .network import Network, Node, View, patches, per_channel, windows
from .placement import MARGIN, sequence
from .statements import noise_covers, table_bound

LOSSES = ("cross-entropy", "mse")
WITNESS_SALTS = 8
THETA_SALTS = 0
"""θ is public: everybody recomputes its commitment."""

TEMPERATURE = 14.5
"""R/2τ that is aimed at: e^14.5 is what the largest term of a softmax is told apart from the smallest by."""

NORM_BITS = 12
COMMON_BITS = 8
"""Two branches of different scales are added at 2^8 times the larger one."""

CHALLENGES = ("a", "c", "e", "f", "tie", "ties")
"""Public values that are drawn: powers for samples, channels, rows and columns; what ties a label to its logit."""

PLACED = ("lengths", "columns", "sequence", "first_lookup")
"""What follows from the rest of a plan: where each input and each lookup lies."""

LIMIT = 1 << 200
"""Of every integer of a circuit: far below p/2, so that equations of field elements are equations of integers."""

SMALL = 1 << 56
"""Of every integer between layers, so that the oracle has them in 64 bits, sums of a few of them too."""


@dataclass(frozen=True)
class Sizes:
    """What a compiled utility depends on besides the network.

    Attributes:
        logrows, salts: of the project's updates.
        scale_bits: an update's value is x·2^s.
        trainers: the largest coalition, N.
        batch: samples of the validation batch.
        loss: "cross-entropy" or "mse".
        proofs: how many proofs may open the validation batch: as many salts.
        input_bits, activation_bits: scales of inputs and of activations.
        input_bound, theta_bound, target_bound: largest absolute values, in integers.
        update_bound: ⌈√β_max⌉, the largest length of an accepted update.
    """

    logrows: int
    salts: int
    scale_bits: int
    trainers: int
    batch: int
    loss: str
    proofs: int
    input_bits: int
    activation_bits: int
    input_bound: int
    theta_bound: int
    update_bound: int
    target_bound: int = 0


@dataclass(frozen=True)
class Tensor:
    """Integers at a scale, each at most `bound` in absolute value; those of one sample have at most this length, as a
    vector."""

    index: int
    shape: tuple[int, ...]
    scale: float
    bound: int
    length: int
    positive: bool = False


@dataclass(frozen=True)
class Linear:
    """A sum of terms that is not computed in the circuit but checked; with what a stage would do to it."""

    terms: tuple[dict[str, Any], ...]
    shape: tuple[int, ...]
    scale: float
    bound: int
    length: int
    relu: bool = False
    pool: tuple[int, int] | None = None
    exact: bool = False

    @property
    def result(self) -> tuple[int, ...]:
        if self.pool is None:
            return self.shape
        return self.shape[0], self.shape[1] // self.pool[0], self.shape[2] // self.pool[1]


def root(square: int) -> int:
    """⌈√square⌉."""
    return math.isqrt(square - 1) + 1 if square else 0


def longest(bound: int, count: int, length: int) -> int:
    """Length of so many integers within `bound` that have at most this length."""
    return min(length, root(count * bound * bound))


def full(shape: Sequence[int]) -> list[int]:
    return [*shape, 1, 1][:3]


@dataclass
class Planner:
    """Walks a network and collects the steps of a plan."""

    sizes: Sizes
    steps: list[dict[str, Any]] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)
    vectors: dict[str, list[int]] = field(default_factory=dict)
    cells: dict[str, tuple[int, bool]] = field(default_factory=dict)  # name: count, looked up
    digits: dict[str, int] = field(default_factory=dict)
    tensors: int = 1

    def __post_init__(self) -> None:
        self.bound = table_bound(self.sizes.logrows)
        self.radix = 2 * self.bound
        self.lcm = math.lcm(*range(1, self.sizes.trainers + 1))
        self.weight_scale = math.ldexp(self.lcm, self.sizes.scale_bits)
        self.theta, self.update = self.lcm * self.sizes.theta_bound, self.lcm * self.sizes.update_bound
        self.weight_bound = self.theta + self.update

    # ---- values

    def linear(self, value: Tensor | Linear) -> Linear:
        if isinstance(value, Linear):
            return value
        term = {"kind": "identity", "tensor": value.index, "factor": 1}
        return Linear((term,), value.shape, value.scale, value.bound, value.length, exact=True)

    def tensor(self, value: Tensor | Linear) -> Tensor:
        return value if isinstance(value, Tensor) else self.stage(value)

    def number(self, name: str, count: int, largest: int) -> None:
        """Cells for a number from 0 to `largest`, in digits."""
        many = 1
        while self.radix**many <= largest:
            many += 1
        self.digits[name] = many
        for i in range(many):
            self.cells[f"{name}.{i}"] = (count, True)

    def scaled(self, value: Linear, wanted: float) -> tuple[int, int, float, int]:
        """g, k, the scale of q = ⌊g·Z/R^k⌋, and a bound of |q|."""
        if value.exact:
            wanted = value.scale
        k = 1
        while value.scale / float(self.radix) ** k > wanted:
            k += 1
        g = max(1, round(wanted * float(self.radix) ** k / value.scale))
        if g * value.bound > LIMIT:
            raise DomainError(
                f"a layer's values reach 2^{(g * value.bound).bit_length()}, wanted at most 2^200: lower the number of"
                " trainers, the scales or the bound of the parameters"
            )
        bound = g * value.bound // self.radix**k + 1
        if bound > SMALL:
            raise DomainError(
                f"activations reach 2^{bound.bit_length()}, wanted at most 2^56: lower their scale or a layer's inputs"
            )
        return g, k, value.scale * g / float(self.radix) ** k, bound

    def divided(self, name: str, value: Linear, k: int) -> dict[str, Any]:
        """What every step has that brings a linear part to a scale."""
        elements = self.sizes.batch * math.prod(value.shape)
        for i in range(k):
            self.cells[f"{name}rem.{i}"] = (elements, True)
        self.digits[f"{name}rem"] = k
        return {"name": name[:-1], "terms": list(value.terms), "shape": full(value.shape), "rem": k}

    def stage(self, value: Linear) -> Tensor:
        g, k, scale, bound = self.scaled(value, math.ldexp(1.0, self.sizes.activation_bits))
        index, self.tensors = self.tensors, self.tensors + 1
        name = f"stage{index}."
        step = {"op": "stage", **self.divided(name, value, k), "times": g, "out": index}
        step |= {"relu": value.relu, "pool": list(value.pool) if value.pool else None, "offset": bound}
        tops = self.sizes.batch * math.prod(value.result)
        self.number(f"{name}top", tops, bound if value.relu else 2 * bound)
        if value.relu:
            self.cells[f"{name}positive"] = (tops, False)
        if value.pool:
            self.number(f"{name}gap", self.sizes.batch * math.prod(value.shape), 2 * bound)
        self.steps.append(step)
        length = g * value.length // self.radix**k + 1 + root(math.prod(value.shape))  # a value is rounded by at most 1
        return Tensor(index, value.result, scale, bound, longest(bound, math.prod(value.result), length), value.relu)

    # ---- operations

    def node(self, node: Node, values: list[Tensor | Linear]) -> Tensor | Linear:
        return getattr(self, f"{node.op}_node")(node, *values)

    def affine(self, node: Node, x: Tensor, term: dict[str, Any], fan_in: int, kernel: int = 1) -> Linear:
        """Args: kernel: places of a kernel, so many outputs of a channel read an input at most."""
        weight, bias = node.attributes["weight"], node.attributes["bias"]
        terms = [term | {"tensor": x.index, "factor": 1, "weight": weight.to_json()}]
        outputs = math.prod(node.shape)
        reach = longest(x.bound, fan_in, x.length)  # of what one output reads
        own = self.theta * min(fan_in * x.bound, root(fan_in) * reach)
        bound, length = own + self.update * reach, root(outputs) * own + self.update * root(kernel) * x.length
        if bias is not None:
            factor = max(1, round(x.scale))
            terms.append({"kind": "bias", "factor": factor, "weight": bias.to_json()})
            bound += self.weight_bound * factor
            length += (root(outputs) * self.theta + root(outputs // node.shape[0]) * self.update) * factor
        return Linear(tuple(terms), node.shape, x.scale * self.weight_scale, bound, longest(bound, outputs, length))

    def linear_node(self, node: Node, value: Tensor | Linear) -> Linear:
        return self.affine(node, self.tensor(value), {"kind": "linear"}, node.attributes["weight"].sizes[1])

    def conv_node(self, node: Node, value: Tensor | Linear) -> Linear:
        x = self.tensor(value)
        geometry = {name: list(node.attributes[name]) for name in ("kernel", "stride", "pads")}
        fan_in, kernel = math.prod(node.attributes["weight"].sizes[1:]), math.prod(geometry["kernel"])
        return self.affine(node, x, {"kind": "conv", "shape": list(x.shape), **geometry}, fan_in, kernel)

    def norm_node(self, node: Node, value: Tensor | Linear) -> Linear:
        x = self.tensor(value)
        mean, deviation = node.attributes["mean"], node.attributes["deviation"]
        unit = math.ldexp(1.0, NORM_BITS) * float(deviation.min())
        kappa = [round(unit / float(d)) for d in deviation]
        mu = [round(unit * x.scale * float(m) / float(d)) for m, d in zip(mean, deviation, strict=True)]
        names = f"kappa{len(self.vectors)}", f"mu{len(self.vectors)}"
        self.vectors |= dict(zip(names, (kappa, mu), strict=True))
        factor = max(1, round(x.scale * unit))
        terms = (
            {
                "kind": "channelwise",
                "tensor": x.index,
                "factor": 1,
                "gamma": node.attributes["gamma"].to_json(),
                "kappa": names[0],
                "mu": names[1],
            },
            {"kind": "bias", "factor": factor, "weight": node.attributes["beta"].to_json()},
        )
        count = math.prod(node.shape)
        normal = max(k * x.bound + abs(m) for k, m in zip(kappa, mu, strict=True))
        bound = self.weight_bound * (normal + factor)
        moved = max(kappa) * x.length + root(count) * (max(map(abs, mu)) + factor)
        scale = x.scale * unit * self.weight_scale
        return Linear(terms, node.shape, scale, bound, longest(bound, count, self.weight_bound * moved))

    def relu_node(self, node: Node, value: Tensor | Linear) -> Tensor | Linear:
        if isinstance(value, Tensor) and value.positive:
            return value
        return _with(self.linear(value), relu=True)

    def maxpool_node(self, node: Node, value: Tensor | Linear) -> Linear:
        pool = node.attributes["pool"]
        if isinstance(value, Linear) and value.pool is not None:
            value = self.stage(value)
        return _with(self.linear(value), pool=pool)

    def avgpool_node(self, node: Node, value: Tensor | Linear) -> Tensor:
        x, pool = self.tensor(value), node.attributes["pool"]
        index, self.tensors = self.tensors, self.tensors + 1
        self.steps.append({"op": "sum", "tensor": x.index, "shape": full(x.shape), "pool": list(pool), "out": index})
        many = math.prod(pool)
        if x.bound * many > SMALL:
            raise DomainError(f"an average pooling of {many} values reaches 2^{(x.bound * many).bit_length()}")
        length = longest(x.bound * many, math.prod(node.shape), root(many) * x.length)
        return Tensor(index, node.shape, x.scale * many, x.bound * many, length, x.positive)

    def reshape_node(self, node: Node, value: Tensor | Linear) -> Tensor:
        x = self.tensor(value)
        return Tensor(x.index, node.shape, x.scale, x.bound, x.length, x.positive)

    def add_node(self, node: Node, left: Tensor | Linear, right: Tensor | Linear) -> Linear:
        sides = [self.linear(self.settled(value)) for value in (left, right)]
        scale = max(side.scale for side in sides)
        if sides[0].scale != sides[1].scale:
            scale = math.ldexp(scale, COMMON_BITS)
        factors = [max(1, round(scale / side.scale)) for side in sides]
        terms = [
            term | {"factor": term["factor"] * factor}
            for side, factor in zip(sides, factors, strict=True)
            for term in side.terms
        ]
        bound, length = (
            sum(getattr(side, name) * factor for side, factor in zip(sides, factors, strict=True))
            for name in ("bound", "length")
        )
        return Linear(tuple(terms), node.shape, scale, bound, length)

    def settled(self, value: Tensor | Linear) -> Tensor | Linear:
        """A linear part that nothing else than a sum was made of; otherwise the stage's result."""
        done = isinstance(value, Tensor) or not (value.relu or value.pool)
        return value if done else self.stage(value)

    # ---- the loss

    def cross_entropy(self, value: Linear) -> float:
        batch, classes = self.sizes.batch, value.shape[0]
        if classes < 2:
            raise InputError(f"cross-entropy needs at least 2 classes: the model has {classes} output")
        g, k, scale, bound = self.scaled(value, self.bound / TEMPERATURE)
        base = np.float32(math.exp(1 / scale))
        step = {"op": "cross-entropy", **self.divided("", value, k), "times": g, "offset": bound}
        shift = math.ceil(math.log(classes) / math.log(float(base)))
        self.steps.append(step | {"shift": shift - (self.bound - 1)})
        table = exponentials(float(base), self.bound)
        largest = classes * int(np.diff(table).max())
        self.cells["capped"] = (batch * classes, True)
        self.cells["lambda"] = (batch, True)
        self.number("excess", batch * classes, max(0, 2 * bound - self.radix + 1))
        self.number("top", batch, 2 * bound)
        self.number("over", batch, largest)
        self.number("under", batch, largest)
        self.cells["label_gap"] = (batch, False)
        self.cells["inverse"] = (batch, False)
        self.constants |= {1, classes, self.radix - 1, step["offset"], shift - (self.bound - 1)}
        return float(base)

    def squares(self, value: Linear) -> float:
        g, k, scale, bound = self.scaled(value, math.ldexp(1.0, self.sizes.activation_bits))
        if (bound + self.sizes.target_bound) ** 2 * self.sizes.batch * value.shape[0] > LIMIT >> 80:
            raise DomainError("the squared errors reach 2^120: lower the scale of activations or the targets' bound")
        step = {"op": "mse", **self.divided("", value, k), "times": g, "offset": bound, "scale": scale.hex()}
        self.steps.append(step)
        self.number("top", self.sizes.batch * value.shape[0], 2 * bound)
        return float(np.float32(math.exp(TEMPERATURE / self.bound)))


def _with(value: Linear, **changes: Any) -> Linear:
    fields = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return Linear(**(fields | changes))


@cache
def exponentials(base: float, bound: int) -> np.ndarray:
    """E(x) = round(b^x) for x = −R/2..R/2 − 1, int64: what ezkl's table of an exponential with this base holds."""
    return np.rint(np.power(np.float64(base), np.arange(-bound, bound, dtype=np.float64))).astype(np.int64)


# ---------------------------------------------------------------- the plan


def make_plan(network: Network, sizes: Sizes) -> dict[str, Any]:
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
        ("trainers", 1, 128),
        ("proofs", 1, 1 << sizes.logrows - 1),
        ("input_bits", 0, 24),
        ("activation_bits", 1, 24),
        ("scale_bits", 0, 40),
        ("update_bound", 1, 1 << 40),
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
    last = results[-1]
    last = planner.linear(last if isinstance(last, Tensor) or not (last.relu or last.pool) else planner.stage(last))
    base = planner.cross_entropy(last) if sizes.loss == "cross-entropy" else planner.squares(last)
    return _laid_out(planner, network, base)


def sizes_of(plan: dict[str, Any]) -> Sizes:
    """The sizes that a plan was made with."""
    same = ("logrows", "scale_bits", "trainers", "batch", "loss", "input_bits", "activation_bits")
    bounds = {f"{name}_bound": bound for name, bound in plan["bounds"].items()}
    proofs = plan["chunks"]["validation"][1] - WITNESS_SALTS
    return Sizes(**{name: plan[name] for name in same}, **bounds, salts=plan["chunks"]["update"][1], proofs=proofs)


def _laid_out(planner: Planner, network: Network, base: float) -> dict[str, Any]:
    sizes, radix = planner.sizes, planner.radix
    classes = network.outputs
    looked = [name for name, (_, digit) in planner.cells.items() if digit]
    others = [name for name, (_, digit) in planner.cells.items() if not digit]
    witness, at = _one_after_another({name: planner.cells[name][0] for name in looked + others})
    digits = sum(planner.cells[name][0] for name in looked)

    most = max(planner.digits.values())
    constants = {0, 1, 2, radix, planner.lcm, *planner.constants}
    constants |= {radix**k for k in range(1, most + 1)}
    constants |= {radix // 2 * sum(radix**i for i in range(k)) for k in range(1, most + 1)}
    constants |= {radix // 2}
    for step in planner.steps:
        constants |= {step.get("times", 1), step.get("offset", 1)}
        constants |= {term["factor"] for term in step.get("terms", ())}
    shapes = [step["shape"] for step in planner.steps if step["op"] != "sum"]
    counts = [sizes.batch, *(max(shape[axis] for shape in shapes) for axis in range(3))]
    counts += [1, classes] if sizes.loss == "cross-entropy" else []
    vectors = {name: len(vector) for name, vector in planner.vectors.items()}
    challenges = dict(zip(CHALLENGES, counts, strict=False))
    public, row = _one_after_another({"factor": 1, "constants": len(constants), **vectors, **challenges})

    d, chunk, salts = network.layout.size, Columns(sizes.logrows).values, sizes.salts
    labels = sizes.batch * (1 if sizes.loss == "cross-entropy" else classes)
    inputs = math.prod(network.input_shape)
    validation_salts = WITNESS_SALTS + sizes.proofs
    plan = {
        "logrows": sizes.logrows,
        "batch": sizes.batch,
        "trainers": sizes.trainers,
        "scale_bits": sizes.scale_bits,
        "input_bits": sizes.input_bits,
        "activation_bits": sizes.activation_bits,
        "input_shape": list(network.input_shape),
        "bounds": {
            "input": sizes.input_bound,
            "theta": sizes.theta_bound,
            "update": sizes.update_bound,
            "target": sizes.target_bound,
        },
        "loss": sizes.loss,
        "params": d,
        "inputs": inputs,
        "outputs": classes,
        "radix": radix,
        "lcm": planner.lcm,
        "base": base.hex(),
        "chunks": {
            "theta": [chunk, THETA_SALTS],
            "update": [chunk, salts],
            "validation": [whole_column(sizes.logrows, validation_salts), validation_salts],
            "witness": [whole_column(sizes.logrows, WITNESS_SALTS), WITNESS_SALTS],
        },
        "counts": {"theta": d, "update": d, "validation": sizes.batch * inputs + labels, "witness": at},
        "digits": planner.digits,
        "witness": witness,
        "constants": {str(value): 1 + i for i, value in enumerate(sorted(constants))},
        "vectors": planner.vectors,
        "public": public,
        "steps": planner.steps,
    }
    return _with_noise(plan, digits, row)


def whole_column(logrows: int, salts: int) -> int:
    """Values of a column that is committed for these proofs alone, the batch's or the witness's, with its own salts.

    It is no part of the arguments on updates, so it need not be a matrix: it fills its rows but for two spare ones, and
    may hold more salts than the row of an update's column, one for each proof that a batch has to last for.
    """
    return usable_rows(logrows) - 2 - salts


def _with_noise(plan: dict[str, Any], digits: int, row: int) -> dict[str, Any]:
    """Where noise goes: into every block of columns that holds lookups.

    Rows are counted through all blocks. The lookups begin after the B cells of λ − 1: inputs have columns of their own
    and take no rows, although ezkl's settings and its log of the layout count them.
    """
    usable = usable_rows(plan["logrows"])
    start = plan["batch"] if plan["loss"] == "cross-entropy" else 0
    if usable - start % usable < 2 * NOISE + MARGIN:
        raise DomainError(f"a batch of {start} leaves no room for noise in its block of columns: choose another")
    data = [["public", plan["constants"]["0"], 1], ["witness", 0, digits]] + ([["below", 0, start]] if start else [])
    runs, groups = sequence(data, start, plan["logrows"])
    lengths, columns = _columns(plan, row + groups * NOISE + WITNESS_SALTS)
    if lengths[-1] >= usable:
        raise DomainError(
            f"the public values and noise of a utility circuit do not fit 2^{plan['logrows']} rows:"
            " lower the batch or raise logrows"
        )
    public = plan["public"] | {"noise": [row, groups * NOISE]}
    placed = {"lengths": lengths, "columns": columns, "sequence": runs, "first_lookup": start}
    return plan | {"public": public} | placed


def check_plan(plan: dict[str, Any]) -> None:
    """Raise InputError unless a plan lays its values out as `make_plan` does, in the one order that it writes.

    A plan that somebody wrote is compiled and proven by what it says; but it must say it in one way only. Whether it
    is the plan of a model, `compile.compile_again` finds out.
    """
    constants = sorted(map(int, plan["constants"]))
    sizes = {
        "factor": 1,
        "constants": len(constants),
        **{name: len(vector) for name, vector in plan["vectors"].items()},
        **{name: plan["public"][name][1] for name in CHALLENGES if name in plan["public"]},
    }
    public, row = _one_after_another(sizes)
    witness, _ = _one_after_another({name: count for name, (_, count) in plan["witness"].items()})
    digits = sum(count for kind, _, count in plan["sequence"] if kind == "witness")
    head = {name: value for name, value in plan.items() if name not in PLACED} | {
        "constants": {str(value): 1 + i for i, value in enumerate(constants)},
        "public": public,
        "witness": witness,
    }
    again = _with_noise(head, digits, row)
    for name, value in again.items():
        if canonical_json(plan.get(name)) != canonical_json(value):
            raise InputError(f"the plan's {name} are not laid out in the canonical order")
    if list(again) != list(plan):
        raise InputError(f"the plan's parts are {', '.join(plan)}: wanted {', '.join(again)}, in this order")


def _one_after_another(sizes: dict[str, int]) -> tuple[dict[str, list[int]], int]:
    """[start, count] of each, and where the last one ends."""
    out, at = {}, 0
    for name, count in sizes.items():
        out[name] = [at, count]
        at += count
    return out, at


def _columns(plan: dict[str, Any], last: int) -> tuple[list[int], dict[str, list[list[int]]]]:
    """Lengths of all inputs, and for each kind where its values lie in their concatenation."""
    lengths: list[int] = []
    columns: dict[str, list[list[int]]] = {}
    for kind in ("theta", "update", "validation", "witness"):
        size, salts = plan["chunks"][kind]
        left, spans = plan["counts"][kind], []
        while left > 0:
            used = min(size, left)
            spans.append([sum(lengths), used])
            # an update's column is always a whole one, its salts come after C values
            lengths.append((size if kind == "update" else used) + salts)
            left -= used
        columns[kind] = spans
    columns["public"] = [[sum(lengths), last - WITNESS_SALTS]]
    return [*lengths, last], columns


def rows_of(plan: dict[str, Any]) -> int:
    """Rows that the circuit lays out, within 6 % (tests/circuits/test_utility_circuit.py); its inputs take none."""
    batch, digits = plan["batch"], plan["digits"]
    lookups = sum(count for *_, count in plan["sequence"])
    rows = lookups + plan["public"]["noise"][0] + 50

    def summed(tensors: int, channels: int, places: int) -> int:
        """A random sum of so many tensors."""
        elements = tensors * batch * channels * places
        out = elements if places > 1 else 0
        elements //= places
        out += elements if channels > 1 else 0
        return out + elements // channels

    def number(name: str, count: int) -> int:
        return count * (2 * digits[name] - 1)

    for step in plan["steps"]:
        channels, height, width = step["shape"]
        places = height * width
        elements = batch * channels * places
        if step["op"] == "sum":
            rows += elements - elements // math.prod(step["pool"])
            continue
        for term in step["terms"]:
            view = term.get("weight") or term["gamma"] if term["kind"] != "identity" else None
            if view is not None:
                rows += 2 * view["count"] + 3 * view["count"] // channels
            if term["kind"] == "linear":
                rows += batch * (view["count"] // channels) + view["count"] // channels
            elif term["kind"] == "conv":
                size = math.prod(term["shape"])
                kernel_y, kernel_x = term["kernel"]
                rows += batch * size + size * kernel_x + size // term["shape"][2] * kernel_x * kernel_y
                rows += view["count"] // channels
            elif term["kind"] != "bias":
                rows += summed(1, channels, places)
        windows_of = math.prod(step["pool"]) if step.get("pool") else 1
        tops = elements // windows_of
        if step["op"] == "stage":
            name = step["name"]
            rows += number(f"{name}.top", tops)
            rows += (2 * tops + summed(4, channels, places // windows_of)) if step["relu"] else tops
            rows += 0 if step["relu"] else summed(1, channels, places // windows_of)
            rows += summed(digits[f"{name}.rem"], channels, places)
            if step["pool"]:
                rows += summed(digits[f"{name}.gap"], channels, places) + number(f"{name}.gap", elements)
                rows += elements - tops + summed(1, channels, places // windows_of)
        elif step["op"] == "cross-entropy":
            rows += number("excess", elements) + number("top", batch) + number("over", batch) + number("under", batch)
            rows += 4 * elements + summed(2 + digits["rem"], channels, 1)  # room, gap twice, cap
            rows += 4 * elements + elements - 2 * batch  # ties, misses, both products
            rows += elements + 24 * batch
        else:
            rows += number("top", elements) + 3 * elements + summed(1 + digits["rem"], channels, 1)
    return rows


# ---------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Evaluated:
    """What the integers give: the result, and the witness by name (int64 or Python integers)."""

    correct: int
    loss: int
    cells: dict[str, np.ndarray]


def evaluate(
    plan: dict[str, Any], theta: np.ndarray, update: np.ndarray, size: int, values: np.ndarray, witness: bool = True
) -> Evaluated:
    """The utility in integers, and the witness of its proof.

    Args:
        theta, update: (D,) integers: θ, and the sum of the coalition's updates.
        size: |S|; 0 for the empty coalition.
        values: the validation batch's integers: inputs, then labels or targets.
        witness: False leaves the digits out.
    """
    return _Evaluation(plan, theta, update, size, values, witness).run()


class _Evaluation:
    def __init__(self, plan, theta, update, size, values, witness):
        self.plan, self.batch, self.witness = plan, plan["batch"], witness
        self.theta = np.asarray(theta, np.int64)
        self.update = np.asarray(update, np.int64)
        self.factor = plan["lcm"] // size if size else 0
        self.radix, self.q = plan["radix"], plan["radix"] // 2
        inputs = self.batch * plan["inputs"]
        values = np.asarray(values, np.int64)
        self.labels = values[inputs:]
        self.tensors: dict[int, np.ndarray] = {0: values[:inputs].reshape(self.batch, -1)}
        self.cells: dict[str, np.ndarray] = {}

    def run(self) -> Evaluated:
        for step in self.plan["steps"]:
            if step["op"] == "sum":
                x = self.tensors[step["tensor"]].reshape(self.batch, *step["shape"])
                self.tensors[step["out"]] = windows(x, step["pool"]).sum(-1)
            elif step["op"] == "stage":
                self.stage(step)
            elif step["op"] == "cross-entropy":
                return self.cross_entropy(step)
            else:
                value = self.quotient(step)
                self.number("top", value + step["offset"])
                error = value - self.labels.reshape(value.shape)
                return Evaluated(0, sum(int(e) * int(e) for e in error.reshape(-1)), self.cells)
        raise InputError("the plan has no loss")

    def number(self, name: str, value: np.ndarray) -> None:
        """Keep the digits of a number, low first, each less R/2."""
        if not self.witness:
            return
        value = value.reshape(-1)
        for i in range(self.plan["digits"][name]):
            self.cells[f"{name}.{i}"] = (value % self.radix).astype(np.int64) - self.q
            value = value // self.radix
        if np.any(value != 0):
            raise DomainError(f"{name} is beyond its digits: parameters or data are beyond the plan's bounds")

    # ---- linear parts

    def weights(self, view: dict[str, Any], product) -> np.ndarray:
        """L·f(θ) + (L/|S|)·f(Agg) for a linear f, exact."""
        made = View.from_json(view)
        parts = [product(made.of(vector)) for vector in (self.theta, self.update)]
        lcm, factor = self.plan["lcm"], self.factor
        most = sum(abs(int(w)) * (int(np.abs(p).max()) + 1) for w, p in zip((lcm, factor), parts, strict=True))
        if most >= 1 << 62:
            parts = [part.astype(object) for part in parts]
        return parts[0] * lcm + parts[1] * factor

    def linear_part(self, step: dict[str, Any]) -> np.ndarray:
        total: Any = 0
        for term in step["terms"]:
            value = self.term(term, step["shape"])
            if value.dtype != object and (int(np.abs(value).max()) + 1) * term["factor"] >= 1 << 61:
                value = value.astype(object)
            total = total + value * term["factor"]
        return total

    def term(self, term: dict[str, Any], shape: Sequence[int]) -> np.ndarray:
        if term["kind"] == "bias":
            return self.weights(term["weight"], lambda w: per_channel(w, shape)[None])
        x = self.tensors[term["tensor"]]
        if term["kind"] == "identity":
            return x.reshape(self.batch, *shape)
        if term["kind"] == "linear":
            flat = x.reshape(self.batch, -1)
            return self.weights(term["weight"], lambda w: exact_product(flat, w.T)).reshape(self.batch, *shape)
        if term["kind"] == "conv":
            x = x.reshape(self.batch, *term["shape"])
            rows = patches(x, term["kernel"], term["stride"], term["pads"], shape[1:])
            flat = rows.reshape(-1, rows.shape[-1])

            def product(w: np.ndarray) -> np.ndarray:
                made = exact_product(flat, w.reshape(w.shape[0], -1).T)
                return made.reshape(self.batch, -1, shape[0]).transpose(0, 2, 1).reshape(self.batch, *shape)

            return self.weights(term["weight"], product)
        kappa, mu = (per_channel(np.array(self.plan["vectors"][term[n]], object), shape) for n in ("kappa", "mu"))
        normal = x.reshape(self.batch, *shape).astype(object) * kappa - mu
        return normal * self.weights(term["gamma"], lambda w: per_channel(w, shape).astype(object))

    # ---- steps

    def quotient(self, step: dict[str, Any]) -> np.ndarray:
        """⌊g·Z/R^k⌋ as int64; what is left goes to the witness."""
        value = self.linear_part(step)
        divisor = self.radix ** step["rem"]
        if value.dtype != object and (int(np.abs(value).max()) + 1) * step["times"] >= 1 << 62 or divisor >= 1 << 62:
            value = value.astype(object)
        value = value * step["times"]
        quotient = value // divisor
        name = f"{step['name']}.rem" if step["name"] else "rem"
        self.number(name, value - quotient * divisor)
        if int(np.abs(quotient).max()) >= 1 << 61:
            raise DomainError("a layer's values are beyond 64 bits: lower the scales")
        return np.broadcast_to(quotient, (self.batch, *step["shape"])).astype(np.int64)

    def stage(self, step: dict[str, Any]) -> None:
        name, quotient = step["name"], self.quotient(step)
        top = quotient
        if step["pool"]:
            top = windows(quotient, step["pool"]).max(-1)
            spread = np.repeat(np.repeat(top, step["pool"][0], 2), step["pool"][1], 3)
            self.number(f"{name}.gap", spread - quotient)
        if step["relu"]:
            positive = (top >= 0).astype(np.int64)
            self.cells[f"{name}.positive"] = positive.reshape(-1)
            self.number(f"{name}.top", np.where(positive, top, -top - 1))
            top = top * positive
        else:
            self.number(f"{name}.top", top + step["offset"])
        self.tensors[step["out"]] = top

    def cross_entropy(self, step: dict[str, Any]) -> Evaluated:
        classes, radix, bound = step["shape"][0], self.radix, self.q
        logits = self.quotient(step).reshape(self.batch, classes)
        if np.any(self.labels < 0) or np.any(self.labels >= classes):
            raise DomainError(f"labels are classes 0 to {classes - 1}: got {self.labels.min()} to {self.labels.max()}")
        top = logits.max(1)
        gap = top[:, None] - logits
        capped = np.minimum(gap, radix - 1)
        table = exponentials(float.fromhex(self.plan["base"]), bound)
        mass = table[bound - 1 - capped + bound].sum(1)
        place = np.searchsorted(classes * table, mass, "left")  # the least x + R/2 with n·E(x) >= mass
        mine = gap[np.arange(self.batch), self.labels]
        self.cells |= {"capped": (bound - 1 - capped).reshape(-1), "lambda": place - bound, "label_gap": mine}
        self.number("excess", gap - capped)
        self.number("top", top + step["offset"])
        self.number("over", classes * table[place] - mass)
        self.number("under", mass - 1 - classes * table[place - 1])
        loss = sum(map(int, place - bound + mine + step["shift"]))  # each below 2^58, all of a batch not below 2^63
        return Evaluated(int((mine == 0).sum()), loss, self.cells)


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An integer matrix product, exact: by float64 where all sums stay below 2^53."""
    most = (int(np.abs(a).max(initial=0)) + 1) * (int(np.abs(b).max(initial=0)) + 1) * a.shape[-1]
    if most < 1 << 53:
        return np.rint(a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    if most < 1 << 62:
        return a @ b
    return a.astype(object) @ b.astype(object)
