"""A plan run on integers: the model's loss exactly as the circuit has it."""

from __future__ import annotations

from collections.abc import Sequence
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


def evaluate(plan: CircuitPlan, theta: np.ndarray, values: np.ndarray, witness: bool = True) -> Evaluated:
    """The utility in integers, and the witness of its proof.

    Args:
        theta: (D,) integers: the model Θ.
        values: the validation batch's integers: inputs, then labels or targets.
        witness: False leaves the digits out.
    """
    return _Evaluation(plan, theta, values, witness).run()


class _Evaluation:
    def __init__(self, plan: CircuitPlan, theta: np.ndarray, values: np.ndarray, witness: bool) -> None:
        self.plan, self.batch, self.witness = plan, plan.batch, witness
        self.theta = np.asarray(theta, np.int64)
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
                self.cells["out"] = value.reshape(-1)
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
            return per_channel(term.weight.of(self.theta), shape)[None]
        x = self.tensors[term.tensor]
        if isinstance(term, Identity):
            return x.reshape(self.batch, *shape)
        if isinstance(term, Dense):
            flat = x.reshape(self.batch, -1)
            return exact_product(flat, term.weight.of(self.theta).T).reshape(self.batch, *shape)
        if isinstance(term, Convolution):
            x = x.reshape(self.batch, *term.shape)
            rows = patches(x, term.kernel, term.stride, term.pads, shape[1:])
            flat = rows.reshape(-1, rows.shape[-1])
            weight = term.weight.of(self.theta)
            product = exact_product(flat, weight.reshape(len(weight), -1).T)
            return product.reshape(self.batch, -1, shape[0]).transpose(0, 2, 1).reshape(self.batch, *shape)
        kappa, mu = (per_channel(np.array(self.plan.vectors[n], object), shape) for n in (term.kappa, term.mu))
        normal = x.reshape(self.batch, *shape).astype(object) * kappa - mu
        return np.asarray(normal * per_channel(term.gamma.of(self.theta), shape).astype(object))

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
            gap = np.repeat(np.repeat(top, step.pool[0], 2), step.pool[1], 3) - quotient
            self.cells[f"{name}.gap"] = gap.reshape(-1)
            self.number(f"{name}.gap", gap)
        if step.relu:
            self.number(f"{name}.top", np.abs(top))
            self.cells[f"{name}.minus"] = np.maximum(-top, 0).reshape(-1)
            top = np.maximum(top, 0)
        else:
            self.number(f"{name}.top", top + step.offset)
        self.cells[f"{name}.out"] = top.reshape(-1)
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
        self.cells["gap"] = gap.reshape(-1)
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
