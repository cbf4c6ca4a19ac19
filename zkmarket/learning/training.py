"""A trainer's own work: a model, its data, and some epochs of training in PyTorch on its own machine.

Models and data are named on a command line or in a file by what makes them, `package.module:callable,key=value,…`.
What leaves this file is one float64 vector, the change of the parameters that are trained; the data do not. Frozen
layers and buffers, such as a batch-norm's running statistics, are in no update: they stay with the model, as it was
loaded and as local training leaves them.

torch, onnx and scikit-learn are imported by the functions that need them: whoever only verifies loads none of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..progress import Progress, quiet
from ..updates import ParameterLayout
from .checkpoint import Checkpoint, fingerprint
from .checks import check_choice, check_integer, is_real
from .datasets import Dataset
from .device import alone, check_device, device_of, random_states, restore_random_states
from .loading import blamed_on, trained_parameters
from .optimisers import OPTIMISERS, Optimiser, optimiser_of
from .passing import LOSSES, Rows, load
from .streams import Stream

if TYPE_CHECKING:
    import torch

SAY_EVERY = 1.0
"""Seconds: epochs that are shorter are not all said."""


@dataclass(frozen=True)
class Training:
    """How a trainer trains in one round.

    Attributes:
        epochs: passes over the data.
        batch: rows of a step; a torch DataLoader decides itself. A last batch of one row joins the one before it: batch
            normalisation needs two.
        optimiser: sgd or adam.
        rate, momentum: of the optimiser; adam has no momentum to set.
        loss: auto is cross-entropy for class labels and mean squared error for real targets.
        seed: decides, with the number of the round, the order of rows and all that is random in the model.
        device: auto (a GPU where torch has one, else the CPU), cpu, cuda, cuda:N or mps.
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
    device: str = "auto"
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
        check_device(self.device)
        check_integer("threads", self.threads, 1)


def train(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset | Stream,
    training: Training,
    round_number: int,
    progress: Progress = quiet,
    checkpoint: Checkpoint | None = None,
) -> np.ndarray:
    """What local training changes: the parameters after it, minus theta.

    Args:
        model: it is moved to the device; its parameters are overwritten, and its buffers move as training moves them.
        layout: of the model's trained parameters, see `loading.layout_of`.
        theta: (D,) float64, where the round starts.
        data: the trainer's rows.
        training: how to train.
        round_number: makes each round's randomness its own.
        progress: told of epochs that take a while.
        checkpoint: where it is kept what training has come to; one of this very training is gone on from. The caller
            removes it.

    Returns:
        (D,) float64, the same bits for the same arguments on one machine, the model's buffers among them, gone on from
        a checkpoint or not; on a GPU where torch has deterministic operations for it. torch's random state and number
        of threads are left as they were.

    Raises:
        InputError: model, layout, theta and data do not fit each other, the device is not there, or the training
            diverged.
    """
    check_integer("the number of a round", round_number, 0)
    device = device_of(training.device)
    load(model, layout, theta, device)
    weights = list(trained_parameters(model).values())
    rows = Rows(model, data, training.loss, device)
    model.train()
    with (
        alone(training.seed, round_number, training.threads, device),
        blamed_on(f"training fails on inputs of shape {rows.shape}"),
    ):
        run = _Run(model, weights, rows, training, device)
        if checkpoint is not None:
            of = fingerprint(model, layout, theta, data, training, round_number, device, checkpoint.names)
            if kept := checkpoint.begin(of):
                run.restore(kept)
                progress(f"training goes on from {run.where()}")
        run.go(progress, checkpoint)
    after = layout.flatten(trained_parameters(model))
    if not np.isfinite(after).all():
        raise _diverged(training, training.epochs)
    return np.asarray(after - theta)


class _Run:
    """One training under way: the epoch, the batches of it that are done, and all that a checkpoint keeps."""

    def __init__(
        self,
        model: torch.nn.Module,
        weights: list[torch.nn.Parameter],
        rows: Rows,
        training: Training,
        device: torch.device,
    ):
        import torch

        self.model, self.weights, self.rows, self.training, self.device = model, weights, rows, training, device
        self.optimiser: Optimiser = optimiser_of(training.optimiser, weights, training.rate, training.momentum)
        self.epoch, self.step = 1, 0
        self.total = torch.zeros((), device=device)
        self.began = random_states(device)

    def go(self, progress: Progress, checkpoint: Checkpoint | None) -> None:
        said = time.monotonic()
        while self.epoch <= self.training.epochs:
            self.one_epoch(checkpoint)
            if not self.total.isfinite():
                raise _diverged(self.training, self.epoch)
            if time.monotonic() - said >= SAY_EVERY:
                said = time.monotonic()
                progress(
                    f"epoch {self.epoch} of {self.training.epochs}: {self.step} batches, mean loss"
                    f" {float(self.total) / self.step:.4f}"
                )
            self.epoch, self.step = self.epoch + 1, 0
            self.total.zero_()
            self.began = random_states(self.device)
            self.keep(checkpoint)

    def one_epoch(self, checkpoint: Checkpoint | None) -> None:
        """The batches that are left of an epoch. Those that are done are read again, for what reading them draws."""
        done, resumed = self.step, random_states(self.device)
        restore_random_states(self.device, self.began)
        for step, batch in enumerate(self.rows.epoch(self.training.batch), 1):
            if step == done:
                restore_random_states(self.device, resumed)
            if step <= done:
                continue
            self.model.zero_grad()
            loss, _ = self.rows.loss(self.model, batch)
            loss.backward()
            self.optimiser.step()
            self.total += loss.detach()
            self.step = step
            self.keep(checkpoint)

    def keep(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None or not checkpoint.due():
            return
        checkpoint.save(
            {
                "epoch": self.epoch,
                "step": self.step,
                "total": self.total,
                "began": self.began,
                "now": random_states(self.device),
                "weights": [weight.detach() for weight in self.weights],
                "buffers": dict(self.model.named_buffers()),
                "optimiser": self.optimiser.state_dict(),
            }
        )

    def restore(self, kept: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for weight, value in zip(self.weights, kept["weights"], strict=True):
                weight.copy_(value)
            buffers = dict(self.model.named_buffers())
            for name, value in kept["buffers"].items():
                buffers[name].copy_(value)
            self.total.copy_(kept["total"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.epoch, self.step, self.began = kept["epoch"], kept["step"], kept["began"]
        restore_random_states(self.device, kept["now"])

    def where(self) -> str:
        return f"epoch {self.epoch} of {self.training.epochs}, {self.step} of its batches are done"


def _diverged(training: Training, epoch: int) -> InputError:
    momentum = f", momentum ({training.momentum})" if training.optimiser == "sgd" else ""
    return InputError(
        f"the training diverged in epoch {epoch} of {training.epochs}, to NaN or infinity:"
        f" lower rate ({training.rate}){momentum} or epochs"
    )
