"""How rows pass through a model: parameters in, rows as tensors on a device, outputs and loss checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..updates import ParameterLayout
from .datasets import Dataset
from .loading import trained_parameters
from .streams import Stream

if TYPE_CHECKING:
    import torch

    Pair = tuple[torch.Tensor, torch.Tensor]
    """Inputs and targets of a batch."""

LOSSES = ("auto", "cross-entropy", "mse")


def load(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray, device: torch.device) -> None:
    """Move the model to the device and theta into its parameters; frozen layers and buffers stay as they are."""
    import torch

    parameters = trained_parameters(model)
    own = ParameterLayout.of(parameters)
    if own != layout:
        raise InputError(f"the model is not the project's: {own.difference(layout)}{_untrained(model, own, layout)}")
    if np.shape(theta) == (layout.size,) and not np.isfinite(theta).all():
        raise InputError("theta holds NaN or infinite values: nothing can be trained from it")
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = layout.unflatten(theta)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"theta does not fit {name}: a value is beyond {array.dtype}")
    model.to(device)
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(torch.from_numpy(np.asarray(arrays[name])))


def _untrained(model: torch.nn.Module, own: ParameterLayout, layout: ParameterLayout) -> str:
    """Tensors of the layout that the model has, but does not train."""
    names = [name for name in layout.names if name in set(model.state_dict()) - set(own.names)]
    return f" (the model does not train {', '.join(names)}: frozen, or a buffer)" if names else ""


class Rows:
    """A trainer's rows as tensors, on the CPU until `at` moves a batch to the device.

    Attributes:
        kind: cross-entropy or mse.
        labelled: whether accuracy can be told.
    """

    def __init__(self, model: torch.nn.Module, data: Dataset | Stream, loss: str, device: torch.device):
        import torch

        self.data, self.device = data, device
        self.dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        self.kind = loss if loss != "auto" else "cross-entropy" if data.labelled else "mse"
        self.labelled = data.labelled and self.kind == "cross-entropy"
        self.whole = None if isinstance(data, Stream) else self._tensors(data)
        inputs = data.shape if isinstance(data, Stream) else data.inputs.shape[1:]
        self.shape = f"({', '.join(['n', *map(str, inputs)])})"

    def _tensors(self, data: Dataset) -> Pair:
        """The data as torch wants them: floats in the model's own dtype, integers and labels as int64."""
        import torch

        x, y = (torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in (data.inputs, data.targets))
        return x.to(self.dtype) if x.is_floating_point() else x, y if self.labelled else y.to(self.dtype)

    def epoch(self, size: int, shuffled: bool = True) -> Iterator[Pair]:
        """Batches to train with: rows in memory in a random order, those of a stream in its own."""
        import torch

        if self.whole is None:
            yield from self.in_order(size)
            return
        x, y = self.whole
        order = torch.randperm(len(x)) if shuffled else torch.arange(len(x))
        for rows in _batches(order, size):
            yield x[rows], y[rows]

    def in_order(self, size: int) -> Iterator[Pair]:
        if isinstance(self.data, Stream):
            yield from map(self._tensors, self.data.batches(size))
        elif self.whole is not None:
            yield from zip(*(tensor.split(size) for tensor in self.whole), strict=True)

    def loss(self, model: torch.nn.Module, batch: Pair) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of a batch, and the model's outputs."""
        inputs, targets = batch
        most = int(targets.max()) if self.labelled else None  # here, and not where a GPU would be waited for
        outputs = _outputs(model, inputs.to(self.device))
        return _loss(self.kind, outputs, targets.to(self.device), most), outputs


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


def _loss(kind: str, outputs: torch.Tensor, targets: torch.Tensor, most: int | None) -> torch.Tensor:
    """Shapes are checked, because torch broadcasts those that do not fit and trains on nonsense."""
    from torch.nn import functional

    if kind == "mse" and outputs.shape == (*targets.shape, 1):
        outputs = outputs.squeeze(-1)
    if kind == "mse" or most is None:
        if outputs.shape != targets.shape:
            got, wanted = tuple(outputs.shape), tuple(targets.shape)
            raise InputError(f"the model's outputs are not like the targets: got shape {got}, wanted {wanted}")
        return functional.mse_loss(outputs, targets) if kind == "mse" else functional.cross_entropy(outputs, targets)
    if outputs.ndim != 2 or most >= outputs.shape[1]:
        raise InputError(
            f"labels want outputs of shape (rows, classes):"
            f" got {tuple(outputs.shape)} and a label {most}, classes count from 0"
        )
    return functional.cross_entropy(outputs, targets)
