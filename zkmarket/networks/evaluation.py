"""A plan run on integers: the model's loss exactly as the circuit has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..circuits.plan import (
    Bias,
    CircuitPlan,
    Convolution,
    CrossEntropy,
    Dense,
    Divided,
    Identity,
    Stage,
    Term,
    Transpose,
    View,
    WindowSum,
)
from ..errors import DomainError, InputError
from .layers import patches, per_channel, transpose, windows
from .plan import exponentials

# ---------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Evaluated:
    """What the integers give: the result, and the witness by name (int64 or Python integers)."""

    correct: int
    loss: int
    cells: dict[str, np.ndarray]


def evaluate(
    plan: CircuitPlan, theta: np.ndarray, update: np.ndarray, size: int, values: np.ndarray, witness: bool = True
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
    def __init__(
        self, plan: CircuitPlan, theta: np.ndarray, update: np.ndarray, size: int, values: np.ndarray, witness: bool
    ) -> None:
        self.plan, self.batch, self.witness = plan, plan.batch, witness
        self.theta = np.asarray(theta, np.int64)
        self.update = np.asarray(update, np.int64)
        self.factor = plan.lcm // size if size else 0
        self.radix, self.q = plan.radix, plan.radix // 2
        inputs = self.batch * plan.inputs
        values = np.asarray(values, np.int64)
        self.labels = values[inputs:]
        self.tensors: dict[int, np.ndarray] = {0: values[:inputs].reshape(self.batch, -1)}
        self.cells: dict[str, np.ndarray] = {}

    def run(self) -> Evaluated:
        for step in self.plan.steps:
            if isinstance(step, WindowSum):
                x = self.tensors[step.tensor].reshape(self.batch, *step.shape)
                self.tensors[step.out] = windows(x, step.pool).sum(-1)
            elif isinstance(step, Transpose):
                x = self.tensors[step.tensor].reshape(self.batch, *step.shape)
                self.tensors[step.out] = transpose(x, step.order)
            elif isinstance(step, Stage):
                self.stage(step)
            elif isinstance(step, CrossEntropy):
                return self.cross_entropy(step)
            else:
                value = self.quotient(step)
                self.number("top", value + step.offset)
                error = value - self.labels.reshape(value.shape)
                return Evaluated(0, sum(int(e) * int(e) for e in error.reshape(-1)), self.cells)
        raise InputError("the plan has no loss")

    def number(self, name: str, value: np.ndarray) -> None:
        """Keep the digits of a number, low first, each less R/2."""
        if not self.witness:
            return
        value = value.reshape(-1)
        for i in range(self.plan.digits[name]):
            self.cells[f"{name}.{i}"] = (value % self.radix).astype(np.int64) - self.q
            value = value // self.radix
        if np.any(value != 0):
            raise DomainError(f"{name} is beyond its digits: parameters or data are beyond the plan's bounds")

    # ---- linear parts

    def weights(self, view: View, product: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """L·f(θ) + (L/|S|)·f(Agg) for a linear f, exact."""
        parts = [product(view.of(vector)) for vector in (self.theta, self.update)]
        lcm, factor = self.plan.lcm, self.factor
        most = sum(abs(int(w)) * (int(np.abs(p).max()) + 1) for w, p in zip((lcm, factor), parts, strict=True))
        if most >= 1 << 62:
            parts = [part.astype(object) for part in parts]
        return np.asarray(parts[0] * lcm + parts[1] * factor)

    def linear_part(self, step: Divided) -> np.ndarray:
        total: Any = 0
        for term in step.terms:
            value = self.term(term, step.shape)
            if value.dtype != object and (int(np.abs(value).max()) + 1) * term.factor >= 1 << 61:
                value = value.astype(object)
            total = total + value * term.factor
        return np.asarray(total)

    def term(self, term: Term, shape: Sequence[int]) -> np.ndarray:
        if isinstance(term, Bias):
            return self.weights(term.weight, lambda w: per_channel(w, shape)[None])
        x = self.tensors[term.tensor]
        if isinstance(term, Identity):
            return x.reshape(self.batch, *shape)
        if isinstance(term, Dense):
            flat = x.reshape(self.batch, -1)
            return self.weights(term.weight, lambda w: exact_product(flat, w.T)).reshape(self.batch, *shape)
        if isinstance(term, Convolution):
            x = x.reshape(self.batch, *term.shape)
            rows = patches(x, term.kernel, term.stride, term.pads, shape[1:])
            flat = rows.reshape(-1, rows.shape[-1])

            def product(w: np.ndarray) -> np.ndarray:
                product = exact_product(flat, w.reshape(w.shape[0], -1).T)
                return product.reshape(self.batch, -1, shape[0]).transpose(0, 2, 1).reshape(self.batch, *shape)

            return self.weights(term.weight, product)
        kappa, mu = (per_channel(np.array(self.plan.vectors[n], object), shape) for n in (term.kappa, term.mu))
        normal = x.reshape(self.batch, *shape).astype(object) * kappa - mu
        return np.asarray(normal * self.weights(term.gamma, lambda w: per_channel(w, shape).astype(object)))

    # ---- steps

    def quotient(self, step: Divided) -> np.ndarray:
        """⌊g·Z/R^k⌋ as int64; what is left goes to the witness."""
        value = self.linear_part(step)
        divisor = self.radix**step.rem
        if value.dtype != object and (int(np.abs(value).max()) + 1) * step.times >= 1 << 62 or divisor >= 1 << 62:
            value = value.astype(object)
        value = value * step.times
        quotient = value // divisor
        name = f"{step.name}.rem" if step.name else "rem"
        self.number(name, value - quotient * divisor)
        if int(np.abs(quotient).max()) >= 1 << 61:
            raise DomainError("a layer's values are beyond 64 bits: lower the scales")
        return np.broadcast_to(quotient, (self.batch, *step.shape)).astype(np.int64)

    def stage(self, step: Stage) -> None:
        name, quotient = step.name, self.quotient(step)
        top = quotient
        if step.pool:
            top = windows(quotient, step.pool).max(-1)
            spread = np.repeat(np.repeat(top, step.pool[0], 2), step.pool[1], 3)
            self.number(f"{name}.gap", spread - quotient)
        if step.relu:
            positive = (top >= 0).astype(np.int64)
            self.cells[f"{name}.positive"] = positive.reshape(-1)
            self.number(f"{name}.top", np.where(positive, top, -top - 1))
            top = top * positive
        else:
            self.number(f"{name}.top", top + step.offset)
        self.tensors[step.out] = top

    def cross_entropy(self, step: CrossEntropy) -> Evaluated:
        classes, radix, bound = step.shape[0], self.radix, self.q
        logits = self.quotient(step).reshape(self.batch, classes)
        if np.any(self.labels < 0) or np.any(self.labels >= classes):
            raise DomainError(f"labels are classes 0 to {classes - 1}: got {self.labels.min()} to {self.labels.max()}")
        top = logits.max(1)
        gap = top[:, None] - logits
        capped = np.minimum(gap, radix - 1)
        table = exponentials(self.plan.base, bound)
        mass = table[bound - 1 - capped + bound].sum(1)
        place = np.searchsorted(classes * table, mass, "left")  # the least x + R/2 with n·E(x) >= mass
        mine = gap[np.arange(self.batch), self.labels]
        self.cells |= {"capped": (bound - 1 - capped).reshape(-1), "lambda": place - bound, "label_gap": mine}
        self.number("excess", gap - capped)
        self.number("top", top + step.offset)
        self.number("over", classes * table[place] - mass)
        self.number("under", mass - 1 - classes * table[place - 1])
        loss = sum(map(int, place - bound + mine + step.shift))  # each below 2^58, all of a batch not below 2^63
        return Evaluated(int((mine == 0).sum()), loss, self.cells)


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An integer matrix product, exact: by float64 where all sums stay below 2^53."""
    most = (int(np.abs(a).max(initial=0)) + 1) * (int(np.abs(b).max(initial=0)) + 1) * a.shape[-1]
    if most < 1 << 53:
        return np.rint(a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    if most < 1 << 62:
        return np.asarray(a @ b)
    return np.asarray(a.astype(object) @ b.astype(object))
