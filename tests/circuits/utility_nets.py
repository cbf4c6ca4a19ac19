"""Small networks, their plans, and witnesses of their utility circuits: honest ones and forged ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.circuits.harness import Compiled
from zkmarket import backend, utility
from zkmarket.circuits.plan import CircuitPlan
from zkmarket.crypto import scalar_hex
from zkmarket.networks import Network, Sizes, evaluate, make_plan, network_of_module
from zkmarket.updates import ParameterLayout

BATCH, LOGROWS = 3, 10
SEED = b"\7" * 32


class Residual(nn.Module):
    """Convolutions, a batch-norm whose statistics are not trivial, a skip, both poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.second, self.last = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Linear(2, 3)
        self.norm.running_mean.copy_(torch.tensor([0.1, -0.2]))
        self.norm.running_var.copy_(torch.tensor([0.5, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        return self.last(nn.functional.adaptive_avg_pool2d(torch.relu(self.second(x) + x), 1).flatten(1))


class ChannelsLast(nn.Module):
    """Images as Keras has them, (height, width, channels), in and before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.first(x.permute(0, 3, 1, 2))), 2)
        return self.last(x.permute(0, 2, 3, 1).flatten(1))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "linear": (lambda: nn.Linear(5, 3), (5,), "cross-entropy"),
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), (6,), "cross-entropy"),
    "cnn": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)),
        (1, 4, 4),
        "cross-entropy",
    ),
    "strided": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 2, stride=2, padding=1), nn.MaxPool2d((1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(9, 4)
        ),
        (2, 5, 5),
        "cross-entropy",
    ),
    "residual": (Residual, (1, 4, 4), "cross-entropy"),
    "channels_last": (ChannelsLast, (4, 4, 2), "cross-entropy"),
    "one_unit": (
        lambda: nn.Sequential(nn.Linear(6, 1), nn.ReLU(), nn.Linear(1, 2)),
        (6,),
        "cross-entropy",
    ),
    "stacked": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), (5,), "cross-entropy"),
    "regression": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), (4,), "mse"),
    "targets": (lambda: nn.Linear(4, 2), (4,), "mse"),
}


@cache
def module_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name][0]().eval()


@cache
def network_named(name: str) -> Network:
    tensors = module_of(name).state_dict()  # statistics too: values of the vector that the circuit does not use
    layout = ParameterLayout.of(tensors)
    theta = layout.flatten(tensors)
    return network_of_module(module_of(name), NETS[name][1], layout, theta, layout.unflatten(theta))


def sizes(loss: str, **changes: Any) -> Sizes:
    values: dict[str, Any] = {
        "logrows": LOGROWS,
        "salts": 8,
        "scale_bits": 9,
        "theta_bits": 4,
        "batch": BATCH,
        "loss": loss,
        "proofs": 8,
        "input_bits": 6,
        "activation_bits": 8,
        "input_bound": 64,
        "theta_bound": 1 << 15,
        "target_bound": 1 << 20,
    }
    return Sizes(**(values | changes))


@cache
def plan_of(name: str) -> CircuitPlan:
    return make_plan(network_named(name), sizes(NETS[name][2]))


@dataclass
class Case:
    """Everything that goes into a circuit but what is drawn: to be changed, and then run."""

    plan: CircuitPlan
    theta: np.ndarray
    values: np.ndarray
    cells: dict[str, list[int]] = field(default_factory=dict)
    public: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = evaluate(self.plan, self.theta, self.values)
        self.correct, self.loss = made.correct, made.loss
        witness = utility.witness_cells(self.plan, made.cells)
        self.cells = {
            name: [int.from_bytes(bytes.fromhex(cell), "little") for cell in witness[start : start + count]]
            for name, (start, count) in self.plan.witness.items()
        }
        self.public = utility.public_values(self.plan, SEED)

    def inputs(self) -> list[list[str]]:
        plan = self.plan
        witness = [scalar_hex(cell) for name in plan.witness for cell in self.cells[name]]
        columns = utility.columns_of(plan, "theta", self.theta) + utility.columns_of(plan, "validation", self.values)
        columns += utility.columns_of(plan, "witness", witness)
        return [*columns, utility.last_column(plan, self.public)]

    def run(self, circuit: Compiled) -> tuple[list[str], int, int]:
        """Checks that fail, correct and loss. StatementFalse where the circuit has no satisfying assignment."""
        outputs = backend.mock(circuit.files, self.inputs())
        start = len(self.public)
        assert outputs[:start] == self.public and outputs[start] == 1
        names = utility.check_names(self.plan)
        assert len(outputs) == start + 1 + len(names) + 2
        failed = [name for name, value in zip(names, outputs[start + 1 : -2], strict=True) if value]
        return failed, outputs[-2], outputs[-1]

    def change(self, name: str, at: int, value: int) -> None:
        self.cells[name][at] = value

    def add(self, name: str, at: int, value: int) -> None:
        self.cells[name][at] += value


def case_of(name: str, seed: int = 1, **changes: Any) -> Case:
    """The model as it was made, moved a little, and random samples."""
    plan, rng = plan_of(name), np.random.default_rng(seed)
    outputs = plan.outputs
    theta = utility.quantise_theta(plan, network_named(name).theta, utility.used_parameters(plan))
    samples = rng.integers(0, 65, BATCH * plan.inputs)
    wanted = rng.integers(0, outputs, BATCH) if plan.loss != "mse" else rng.integers(-200, 200, BATCH * outputs)
    values: dict[str, Any] = {
        "theta": theta + rng.integers(-500, 501, plan.params),
        "values": np.concatenate([samples, wanted]),
    }
    return Case(plan, **(values | changes))


def extreme_cases(name: str) -> Sequence[Case]:
    """Parameters and samples at their bounds, of one sign or of many."""
    plan, rng = plan_of(name), np.random.default_rng(5)
    d, start = plan.params, BATCH * plan.inputs
    cases = []
    for signs in (np.ones(d, np.int64), -np.ones(d, np.int64), rng.choice([-1, 1], d), rng.choice([-1, 1], d)):
        values = case_of(name).values.copy()
        values[:start] = plan.bounds.input * rng.choice([-1, 1], start)
        if len(cases) % 3 == 0:
            values[:start] = np.abs(values[:start])
        cases.append(Case(plan, signs * plan.bounds.theta, values))
    return cases
