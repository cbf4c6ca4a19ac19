"""How well a model does on data, and what of it is moved by data without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..updates import ParameterLayout
from .checks import check_choice, check_integer
from .datasets import Dataset
from .device import alone, device_of
from .loading import blamed_on
from .passing import LOSSES, Rows, load
from .streams import Stream

if TYPE_CHECKING:
    import torch

EVALUATION_ROWS = 1024
"""Rows that are evaluated at once: memory, not the result, depends on it."""
STREAM_ROWS = 1 << 14
"""Rows of a stream that are evaluated, about: the whole of it may take hours."""
CALIBRATION_ROWS, CALIBRATION_STEPS = 64, 60
"""Of a batch, and how many at least: with torch's momentum, 0.1, a 600th of the old statistics is left."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model does.

    Attributes:
        loss: mean over the rows; NaN or infinite where the model's outputs are.
        accuracy: share of the rows whose largest output is their label; None without class labels.
        rows: how many were evaluated: of a stream only the first.
    """

    loss: float
    accuracy: float | None
    rows: int


def evaluate(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset | Stream,
    loss: str = "auto",
    threads: int = 1,
    device: str = "auto",
) -> Evaluation:
    """How well the model does on data with the parameters of theta, (D,) float64. Its own are overwritten; its frozen
    layers and buffers are taken as they are.

    `loss`, `threads` and `device` as in Training; InputError as in `train`.
    """
    import torch

    check_choice("loss", loss, LOSSES)
    check_integer("threads", threads, 1)
    place = device_of(device)
    load(model, layout, theta, place)
    rows = Rows(model, data, loss, place)
    model.eval()
    total, right, seen = 0.0, 0, 0
    with torch.no_grad(), alone(0, 0, threads, place), blamed_on(f"evaluation fails on inputs of shape {rows.shape}"):
        for batch in rows.in_order(EVALUATION_ROWS):
            mean, outputs = rows.loss(model, batch)
            total += float(mean) * len(batch[0])
            seen += len(batch[0])
            if rows.labelled:
                right += int((outputs.argmax(1).cpu() == batch[1]).sum())
            if isinstance(data, Stream) and seen >= STREAM_ROWS:
                break
    return Evaluation(total / seen, right / seen if rows.labelled else None, seen)


def calibrate(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray, data: Dataset | Stream) -> bool:
    """Move what is local of a model, such as a batch-norm's running statistics, to what theta makes of this data.

    The data pass through it in training mode, some times if they are few. Parameters are those of theta afterwards.

    Returns:
        Whether there is anything local; else nothing is done.
    """
    import torch

    if not any(True for _ in model.buffers()):
        return False
    place = device_of("cpu")
    load(model, layout, theta, place)
    rows = Rows(model, data, "auto", place)
    model.train()
    with torch.no_grad(), alone(0, 0, 1, place), blamed_on(f"the model fails on inputs of shape {rows.shape}"):
        steps = 0
        while steps < CALIBRATION_STEPS:
            for batch in rows.epoch(CALIBRATION_ROWS, shuffled=False):
                rows.loss(model, batch)
                steps += 1
                if isinstance(data, Stream) and steps >= CALIBRATION_STEPS:
                    break
    return True


def try_out(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset | Stream,
    loss: str,
    device: str = "auto",
) -> None:
    """Raise InputError where model, layout, theta and data do not fit each other; two rows are evaluated for it."""
    first = data.first if isinstance(data, Stream) else data
    rows = [0, int(first.targets.argmax()) if first.labelled else 0]  # of the labels the largest: is it a class?
    evaluate(model, layout, theta, Dataset(first.inputs[rows], first.targets[rows]), loss, device=device)
