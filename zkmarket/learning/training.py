"""A trainer's own work: a model, its data, and some epochs of training in PyTorch on its own machine.

Models and data are named on a command line or in a file by what makes them, `package.module:callable,key=value,…`.
What leaves this file is one float64 vector, the change of the parameters that are trained; the data do not. Frozen
layers and buffers, such as a batch-norm's running statistics, are in no update: they stay with the model, as it was
loaded and as local training leaves them.

torch, onnx and scikit-learn are imported by the functions that need them: whoever only verifies loads none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..updates import ParameterLayout
from .datasets import Dataset
from .loading import blamed_on, trained_parameters

if TYPE_CHECKING:
    import torch


OPTIMISERS = ("sgd", "adam")
LOSSES = ("auto", "cross-entropy", "mse")
EVALUATION_ROWS = 1024
"""Rows that are evaluated at once: memory, not the result, depends on it."""
CALIBRATION_ROWS, CALIBRATION_STEPS = 64, 60
"""Of a batch, and how many at least: with torch's momentum, 0.1, a 600th of the old statistics is left."""


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class Training:
    """How a trainer trains in one round.

    Attributes:
        epochs: passes over the data.
        batch: rows of a step. A last batch of one row joins the one before it: batch normalisation needs two.
        optimiser: sgd or adam.
        rate, momentum: of the optimiser; adam has no momentum to set.
        loss: auto is cross-entropy for class labels and mean squared error for real targets.
        seed: decides, with the number of the round, the order of rows and all that is random in the model.
        threads: of torch. Sums are taken in another order with each number, so the last bits depend on it; more
            than one pays for large models only, and is many times slower where processes share few cores.
    """

    epochs: int = 5
    batch: int = 32
    optimiser: str = "sgd"
    rate: float = 0.2
    momentum: float = 0.5
    loss: str = "auto"
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, 1)
        check_integer("batch", self.batch, 1)
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        if not is_real(self.rate) or not self.rate > 0:
            raise InputError(f"rate is a number over 0: got {self.rate!r}")
        if not is_real(self.momentum) or not 0 <= self.momentum < 1:
            raise InputError(f"momentum is a number from 0 to under 1: got {self.momentum!r}")
        check_choice("loss", self.loss, LOSSES)
        check_integer("seed", self.seed, 0)
        check_integer("threads", self.threads, 1)


@dataclass(frozen=True)
class Evaluation:
    """How well a model does.

    Attributes:
        loss: mean over the rows; NaN or infinite where the model's outputs are.
        accuracy: share of the rows whose largest output is their label; None without class labels.
    """

    loss: float
    accuracy: float | None


def train(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset,
    training: Training,
    round_number: int,
) -> np.ndarray:
    """What local training changes: the parameters after it, minus theta.

    Args:
        model: on the CPU; its parameters are overwritten, and its buffers move as training moves them.
        layout: of the model's trained parameters, see `loading.layout_of`.
        theta: (D,) float64, where the round starts.
        data: the trainer's rows.
        training: how to train.
        round_number: makes each round's randomness its own.

    Returns:
        (D,) float64, the same bits for the same arguments on one machine, the model's buffers among them. torch's
        random state and number of threads are left as they were.

    Raises:
        InputError: model, layout, theta and data do not fit each other, or the training diverged.
    """
    import torch

    check_integer("the number of a round", round_number, 0)
    _load(model, layout, theta)
    weights = list(trained_parameters(model).values())
    step = _adam(weights, training.rate) if training.optimiser == "adam" else _sgd(weights, training)
    kind = _kind(training.loss, data)
    x, y = _tensors(model, data, kind)
    model.train()
    with (
        _alone(training.seed, round_number, training.threads),
        blamed_on(f"training fails on inputs of shape {_shape(data)}"),
    ):
        for epoch in range(1, training.epochs + 1):
            total = torch.zeros(())
            for rows in _batches(torch.randperm(len(x)), training.batch):
                model.zero_grad()
                loss = _loss(kind, _outputs(model, x[rows]), y[rows])
                loss.backward()
                step()
                total += loss.detach()
            if not total.isfinite():
                raise _diverged(training, epoch)
    after = layout.flatten(trained_parameters(model))
    if not np.isfinite(after).all():
        raise _diverged(training, training.epochs)
    return np.asarray(after - theta)


def evaluate(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset,
    loss: str = "auto",
    threads: int = 1,
) -> Evaluation:
    """How well the model does on data with the parameters of theta, (D,) float64. Its own are overwritten; its frozen
    layers and buffers are taken as they are.

    `loss` and `threads` as in Training; InputError as in `train`.
    """
    import torch

    check_choice("loss", loss, LOSSES)
    check_integer("threads", threads, 1)
    _load(model, layout, theta)
    kind = _kind(loss, data)
    x, y = _tensors(model, data, kind)
    model.eval()
    total, right = 0.0, 0
    with torch.no_grad(), _alone(0, 0, threads), blamed_on(f"evaluation fails on inputs of shape {_shape(data)}"):
        for inputs, targets in zip(x.split(EVALUATION_ROWS), y.split(EVALUATION_ROWS), strict=True):
            outputs = _outputs(model, inputs)
            total += float(_loss(kind, outputs, targets)) * len(inputs)
            if kind == "cross-entropy" and data.labelled:
                right += int((outputs.argmax(1) == targets).sum())
    scored = kind == "cross-entropy" and data.labelled
    return Evaluation(total / len(data), right / len(data) if scored else None)


def calibrate(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray, data: Dataset) -> bool:
    """Move what is local of a model, such as a batch-norm's running statistics, to what theta makes of this data.

    The data pass through it in training mode, some times if they are few. Parameters are those of theta afterwards.

    Returns:
        Whether there is anything local; else nothing is done.
    """
    import torch

    if not any(True for _ in model.buffers()):
        return False
    _load(model, layout, theta)
    x, _ = _tensors(model, data, _kind("auto", data))
    model.train()
    with torch.no_grad(), _alone(0, 0, 1), blamed_on(f"the model fails on inputs of shape {_shape(data)}"):
        batches = _batches(torch.arange(len(x)), CALIBRATION_ROWS)
        for step in range(max(len(batches), CALIBRATION_STEPS)):
            _outputs(model, x[batches[step % len(batches)]])
    return True


def try_out(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray, data: Dataset, loss: str) -> None:
    """Raise InputError where model, layout, theta and data do not fit each other; two rows are evaluated for it."""
    rows = [0, int(data.targets.argmax()) if data.labelled else 0]  # of the labels the largest: is it a class?
    evaluate(model, layout, theta, Dataset(data.inputs[rows], data.targets[rows]), loss)


def _load(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray) -> None:
    """Put theta into the model's parameters; frozen layers and buffers stay as they are."""
    import torch

    parameters = trained_parameters(model)
    own = ParameterLayout.of(parameters)
    if own != layout:
        raise InputError(f"the model is not the project's: {own.difference(layout)}{_untrained(model, own, layout)}")
    if np.shape(theta) == (layout.size,) and not np.isfinite(theta).all():
        raise InputError("theta holds NaN or infinite values: nothing can be trained from it")
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = layout.unflatten(theta)
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise InputError(f"theta does not fit {name}: a value is beyond {array.dtype}")
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(torch.from_numpy(np.asarray(tensors[name])))


def _untrained(model: torch.nn.Module, own: ParameterLayout, layout: ParameterLayout) -> str:
    """Tensors of the layout that the model has, but does not train."""
    names = [name for name in layout.names if name in set(model.state_dict()) - set(own.names)]
    return f" (the model does not train {', '.join(names)}: frozen, or a buffer)" if names else ""


@contextmanager
def _alone(seed: int, round_number: int, threads: int) -> Iterator[None]:
    """Inside, what torch does depends on these three alone; outside, it goes on as if nothing had happened."""
    import torch

    # a sequence of two, so that (1, 2) and (2, 1) are different and neighbours have nothing in common
    state = int(np.random.SeedSequence((seed, round_number)).generate_state(1, np.uint64)[0])
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(state >> 1)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _tensors(model: torch.nn.Module, data: Dataset, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The data as torch wants them: floats in the model's own dtype, labels as int64."""
    import torch

    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    x, y = (torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in (data.inputs, data.targets))
    labels = data.labelled and kind == "cross-entropy"
    return x.to(dtype), y if labels else y.to(dtype)


def _sgd(weights: list[torch.nn.Parameter], training: Training) -> Callable[[], object]:
    """torch.optim.SGD, bit for bit. The first use of torch.optim loads torch's compiler: seconds in each process."""
    import torch

    velocities = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step() -> None:
        for weight, velocity in zip(weights, velocities, strict=True):
            if weight.grad is not None:
                velocity.mul_(training.momentum).add_(weight.grad)
                weight.add_(velocity, alpha=-training.rate)

    return step


def _adam(weights: list[torch.nn.Parameter], rate: float) -> Callable[[], object]:
    import torch

    return torch.optim.Adam(weights, lr=rate).step


def _batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [order[(len(batches) - 2) * size :]]
    return batches


def _outputs(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    import torch

    outputs = model(inputs)
    if not isinstance(outputs, torch.Tensor) or len(outputs) != len(inputs):
        got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else f"a {type(outputs).__name__}"
        raise InputError(f"a model returns one tensor with a row for each input: got {got}, {len(inputs)} inputs")
    return outputs


def _kind(loss: str, data: Dataset) -> str:
    if loss == "auto":
        return "cross-entropy" if data.labelled else "mse"
    return loss


def _loss(kind: str, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Shapes are checked, because torch broadcasts those that do not fit and trains on nonsense."""
    from torch.nn import functional

    if kind == "mse" and outputs.shape == (*targets.shape, 1):
        outputs = outputs.squeeze(-1)
    if kind == "mse" or targets.is_floating_point():
        if outputs.shape != targets.shape:
            got, wanted = tuple(outputs.shape), tuple(targets.shape)
            raise InputError(f"the model's outputs are not like the targets: got shape {got}, wanted {wanted}")
        return functional.mse_loss(outputs, targets) if kind == "mse" else functional.cross_entropy(outputs, targets)
    if outputs.ndim != 2 or int(targets.max()) >= outputs.shape[1]:
        raise InputError(
            f"labels want outputs of shape (rows, classes):"
            f" got {tuple(outputs.shape)} and a label {int(targets.max())}, classes count from 0"
        )
    return functional.cross_entropy(outputs, targets)


def _diverged(training: Training, epoch: int) -> InputError:
    momentum = f", momentum ({training.momentum})" if training.optimiser == "sgd" else ""
    return InputError(
        f"the training diverged in epoch {epoch} of {training.epochs}, to NaN or infinity:"
        f" lower rate ({training.rate}){momentum} or epochs"
    )


def _shape(data: Dataset) -> str:
    return f"({', '.join(['n', *map(str, data.inputs.shape[1:])])})"


# ---------------------------------------------------------------- checks


def check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is an integer from {least}: got {value!r}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is one of {', '.join(choices)}: got {value!r}")


def is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
