"""A network in integers: the definition of a utility, the witness of its circuit, and the circuit's numbers.

Everything is fixed by a *plan* (circuits/plan.py) that `make_plan` derives from a network and a few sizes. The circuit
(circuits/utility.py) and the oracle here (`evaluate`) both read it, and tests compare them bit by bit.

Parameters. Θ, integers at the scale 2^(s + ρ), as a project keeps its model (zkmarket/round/model.py). That of a
coalition S is Θ + w·Agg_S, whose commitment anybody computes: one circuit, whatever the coalition and the round.

Activations. Digits have the radix R = 2^K − 8, so that one lookup in a table of one column proves each. A stage
brings the linear part Z of a layer (at the scale s_x·2^(s + ρ)) back to the wanted scale by q = ⌊g·Z / R^k⌋: k is the
least number of digits to drop and g >= 1 the integer that comes closest. Scales are rational numbers that nobody
needs to see: a bias is multiplied by the nearest integer of its layer's input scale.

Bounds. Parameters that the outputs depend on, and inputs, are within the plan's bounds. Of an accepted update nothing
is proven entry by entry, only its length: ‖u‖² <= β, so that n of them move no parameter by more than w·n·√β. Whoever
starts a round checks that Θ stays within its bound all the same, and that the batch is within its own (`check_room` and
`check_validation` of zkmarket/utility). Largest values and lengths are bounded from layer to layer (Cauchy and
Schwarz). Every number of digits follows from the worst case of these, so an update can make a loss terrible, but never
unprovable. All are far below p.

Loss. Cross-entropy in units of 1/τ nats, where τ is the scale of the logits q_j: with M = max_j q_j, t_j = M − q_j,
T = R/2 − 1, E(x) = round(b^x), b the float32 nearest to e^(1/τ), and n classes,
    λ = least integer with n·E(λ) >= Σ_j E(T − min(t_j, R − 1)),     loss = λ − T + ⌈τ ln n⌉ + t_label,
which is ln Σ_j e^(q_j/τ) − q_label/τ, in units, rounded up; a logit more than R − 1 units below M counts as that.
A prediction is correct if the label's logit is M: ties of rounded logits count as correct.
Mean squares: Σ_j (q_j − target_j)², with targets at the scale of q. There, `correct` is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..build.statements import table_bound
from ..circuits.plan import (
    Bias,
    Channelwise,
    Convolution,
    CrossEntropy,
    Dense,
    Identity,
    Squares,
    Stage,
    Step,
    Term,
    Transpose,
    View,
    WindowSum,
)
from ..errors import DomainError, InputError
from .layers import Node
from .plan import (
    COMMON_BITS,
    LIMIT,
    NORM_BITS,
    SMALL,
    TEMPERATURE,
    Linear,
    Sizes,
    Tensor,
    exponentials,
    full,
    longest,
    root,
)


@dataclass
class Planner:
    """Walks a network and collects the steps of a plan."""

    sizes: Sizes
    steps: list[Step] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)
    vectors: dict[str, list[int]] = field(default_factory=dict)
    cells: dict[str, tuple[int, bool]] = field(default_factory=dict)  # name: count, looked up
    digits: dict[str, int] = field(default_factory=dict)
    tensors: int = 1

    def __post_init__(self) -> None:
        self.bound = table_bound(self.sizes.logrows)
        self.radix = 2 * self.bound
        self.weight_scale = math.ldexp(1.0, self.sizes.scale_bits + self.sizes.theta_bits)
        self.weight_bound = self.sizes.theta_bound

    # ---- values

    def linear(self, value: Tensor | Linear) -> Linear:
        if isinstance(value, Linear):
            return value
        return Linear((Identity(value.index, 1),), value.shape, value.scale, value.bound, value.length, exact=True)

    def tensor(self, value: Tensor | Linear) -> Tensor:
        return value if isinstance(value, Tensor) else self.stage(value)

    def digits_of(self, name: str, count: int, largest: int) -> None:
        """Cells for the digits of a number from 0 to `largest`."""
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
                f"a layer's values reach 2^{(g * value.bound).bit_length()}, wanted at most 2^200: lower the scales or"
                " the bound of the parameters"
            )
        bound = g * value.bound // self.radix**k + 1
        if bound > SMALL:
            raise DomainError(
                f"activations reach 2^{bound.bit_length()}, wanted at most 2^56: lower their scale or a layer's inputs"
            )
        return g, k, value.scale * g / float(self.radix) ** k, bound

    def remainder(self, name: str, value: Linear, k: int) -> None:
        """Cells for what a step drops that brings a linear part to a scale."""
        elements = self.sizes.batch * math.prod(value.shape)
        for i in range(k):
            self.cells[f"{name}rem.{i}"] = (elements, True)
        self.digits[f"{name}rem"] = k

    def stage(self, value: Linear) -> Tensor:
        g, k, scale, bound = self.scaled(value, math.ldexp(1.0, self.sizes.activation_bits))
        index, self.tensors = self.tensors, self.tensors + 1
        name = f"stage{index}."
        self.remainder(name, value, k)
        tops = self.sizes.batch * math.prod(value.result)
        self.digits_of(f"{name}top", tops, bound if value.relu else 2 * bound)
        self.cells[f"{name}out"] = (tops, False)
        if value.relu:
            self.cells[f"{name}minus"] = (tops, False)
        if value.pool:
            elements = self.sizes.batch * math.prod(value.shape)
            self.digits_of(f"{name}gap", elements, 2 * bound)
            self.cells[f"{name}gap"] = (elements, False)
        self.steps.append(
            Stage(name[:-1], value.terms, full(value.shape), k, g, index, value.relu, value.pool, offset=bound)
        )
        length = g * value.length // self.radix**k + 1 + root(math.prod(value.shape))  # a value is rounded by at most 1
        return Tensor(index, value.result, scale, bound, longest(bound, math.prod(value.result), length), value.relu)

    # ---- operations

    def node(self, node: Node, values: list[Tensor | Linear]) -> Tensor | Linear:
        result: Tensor | Linear = getattr(self, f"{node.op}_node")(node, *values)
        return result

    def affine(self, node: Node, x: Tensor, term: Dense | Convolution, fan_in: int) -> Linear:
        bias: View | None = node.attributes["bias"]
        terms: list[Term] = [term]
        outputs = math.prod(node.shape)
        reach = longest(x.bound, fan_in, x.length)  # of what one output reads
        bound = self.weight_bound * min(fan_in * x.bound, root(fan_in) * reach)
        if bias is not None:
            factor = max(1, round(x.scale))
            terms.append(Bias(factor, bias))
            bound += self.weight_bound * factor
        return Linear(tuple(terms), node.shape, x.scale * self.weight_scale, bound, root(outputs) * bound)

    def linear_node(self, node: Node, value: Tensor | Linear) -> Linear:
        x, weight = self.tensor(value), node.attributes["weight"]
        return self.affine(node, x, Dense(x.index, 1, weight), weight.sizes[1])

    def conv_node(self, node: Node, value: Tensor | Linear) -> Linear:
        x = self.tensor(value)
        weight = node.attributes["weight"]
        kernel, stride, pads = (tuple(node.attributes[name]) for name in ("kernel", "stride", "pads"))
        term = Convolution(full(x.shape), kernel, stride, pads, x.index, 1, weight)
        return self.affine(node, x, term, math.prod(weight.sizes[1:]))

    def norm_node(self, node: Node, value: Tensor | Linear) -> Linear:
        x = self.tensor(value)
        mean, deviation = node.attributes["mean"], node.attributes["deviation"]
        unit = math.ldexp(1.0, NORM_BITS) * float(deviation.min())
        kappa = [round(unit / float(d)) for d in deviation]
        mu = [round(unit * x.scale * float(m) / float(d)) for m, d in zip(mean, deviation, strict=True)]
        names = f"kappa{len(self.vectors)}", f"mu{len(self.vectors)}"
        self.vectors |= dict(zip(names, (kappa, mu), strict=True))
        factor = max(1, round(x.scale * unit))
        terms = Channelwise(x.index, 1, node.attributes["gamma"], *names), Bias(factor, node.attributes["beta"])
        count = math.prod(node.shape)
        normal = max(k * x.bound + abs(m) for k, m in zip(kappa, mu, strict=True))
        bound = self.weight_bound * (normal + factor)
        moved = max(kappa) * x.length + root(count) * (max(map(abs, mu)) + factor)
        scale = x.scale * unit * self.weight_scale
        return Linear(terms, node.shape, scale, bound, longest(bound, count, self.weight_bound * moved))

    def relu_node(self, node: Node, value: Tensor | Linear) -> Tensor | Linear:
        if isinstance(value, Tensor) and value.positive:
            return value
        return replace(self.linear(value), relu=True)

    def maxpool_node(self, node: Node, value: Tensor | Linear) -> Linear:
        pool = node.attributes["pool"]
        if isinstance(value, Linear) and value.pool is not None:
            value = self.stage(value)
        return replace(self.linear(value), pool=tuple(pool))

    def avgpool_node(self, node: Node, value: Tensor | Linear) -> Tensor:
        x, pool = self.tensor(value), node.attributes["pool"]
        index, self.tensors = self.tensors, self.tensors + 1
        self.steps.append(WindowSum(x.index, full(x.shape), tuple(pool), index))
        many = math.prod(pool)
        if x.bound * many > SMALL:
            raise DomainError(f"an average pooling of {many} values reaches 2^{(x.bound * many).bit_length()}")
        length = longest(x.bound * many, math.prod(node.shape), root(many) * x.length)
        return Tensor(index, node.shape, x.scale * many, x.bound * many, length, x.positive)

    def reshape_node(self, node: Node, value: Tensor | Linear) -> Tensor:
        x = self.tensor(value)
        return Tensor(x.index, node.shape, x.scale, x.bound, x.length, x.positive)

    def transpose_node(self, node: Node, value: Tensor | Linear) -> Tensor:
        x, order = self.tensor(value), list[int](node.attributes["order"])
        index, self.tensors = self.tensors, self.tensors + 1
        first, second, third = [*order, *range(len(order), 3)]
        self.steps.append(Transpose(x.index, full(x.shape), (first, second, third), index))
        return Tensor(index, node.shape, x.scale, x.bound, x.length, x.positive)

    def add_node(self, node: Node, left: Tensor | Linear, right: Tensor | Linear) -> Linear:
        sides = [self.linear(self.settled(value)) for value in (left, right)]
        scale = max(side.scale for side in sides)
        if sides[0].scale != sides[1].scale:
            scale = math.ldexp(scale, COMMON_BITS)
        factors = [max(1, round(scale / side.scale)) for side in sides]
        terms = [
            replace(term, factor=term.factor * factor)
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
        return self.stage(value) if isinstance(value, Linear) and (value.relu or value.pool) else value

    # ---- the loss

    def cross_entropy(self, value: Linear) -> float:
        batch, classes = self.sizes.batch, value.shape[0]
        if classes < 2:
            raise InputError(f"cross-entropy needs at least 2 classes: the model has {classes} output")
        g, k, scale, bound = self.scaled(value, self.bound / TEMPERATURE)
        base = np.float32(math.exp(1 / scale))
        self.remainder("", value, k)
        shift = math.ceil(math.log(classes) / math.log(float(base))) - (self.bound - 1)
        self.steps.append(CrossEntropy("", value.terms, full(value.shape), k, g, bound, shift))
        table = exponentials(float(base), self.bound)
        largest = classes * int(np.diff(table).max())
        self.cells["capped"] = (batch * classes, True)
        self.cells["lambda"] = (batch, True)
        self.digits_of("excess", batch * classes, max(0, 2 * bound - self.radix + 1))
        self.digits_of("top", batch, 2 * bound)
        self.digits_of("over", batch, largest)
        self.digits_of("under", batch, largest)
        self.cells["gap"] = (batch * classes, False)
        self.cells["label_gap"] = (batch, False)
        self.cells["inverse"] = (batch, False)
        self.constants |= {1, classes, self.bound - 1, shift}
        return float(base)

    def squares(self, value: Linear) -> float:
        g, k, scale, bound = self.scaled(value, math.ldexp(1.0, self.sizes.activation_bits))
        if (bound + self.sizes.target_bound) ** 2 * self.sizes.batch * value.shape[0] > LIMIT >> 80:
            raise DomainError("the squared errors reach 2^120: lower the scale of activations or the targets' bound")
        self.remainder("", value, k)
        self.steps.append(Squares("", value.terms, full(value.shape), k, g, bound, scale))
        self.digits_of("top", self.sizes.batch * value.shape[0], 2 * bound)
        self.cells["out"] = (self.sizes.batch * value.shape[0], False)
        return float(np.float32(math.exp(TEMPERATURE / self.bound)))
