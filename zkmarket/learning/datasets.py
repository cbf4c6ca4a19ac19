"""Rows and targets by name: a factory, or arrays in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..updates import load_tensors
from .loading import blamed_on, current_folder, load_callable

# ---------------------------------------------------------------- data


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to train on or to test with. `Dataset.of` makes one from arrays of other dtypes.

    Attributes:
        inputs: (n, …) float32, finite; or int64, such as token ids, which reach the model as they are.
        targets: (n,) int64 class labels from 0, or (n, …) float32, finite.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        x, y = self.inputs, self.targets
        if x.dtype not in (np.float32, np.int64) or y.dtype not in (np.float32, np.int64):
            raise InputError(f"inputs and targets of a data set are float32 or int64: got {x.dtype}, {y.dtype}")
        if not x.ndim or not y.ndim or len(x) != len(y):
            raise InputError(f"inputs and targets have one row each a sample: got shapes {x.shape} and {y.shape}")
        if not x.size or not y.size:
            raise InputError(f"a data set has at least one row of at least one value: got shapes {x.shape}, {y.shape}")
        for name, array in (("inputs", x), ("targets", y)):
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise InputError(f"{bad} of {array.size} {name} are NaN, infinite or too large for float32")
        if self.labelled and y.ndim != 1:
            raise InputError(f"class labels have shape (n,): got {y.shape}; real-valued targets are floats")
        if self.labelled and y.min() < 0:
            raise InputError(f"class labels count from 0: got {y.min()}")

    @classmethod
    def of(cls, inputs: Any, targets: Any) -> Dataset:
        """From arrays or tensors of any real dtype: inputs become floats; integers and truth values as targets are
        class labels."""
        x, y = as_array(inputs), as_array(targets)
        for name, array in (("inputs", x), ("targets", y)):
            if array.dtype.kind not in "fiub":
                raise InputError(f"{name} are real numbers: got dtype {array.dtype}")
        with np.errstate(over="ignore"):  # infinities are refused with a count
            return cls(x.astype(np.float32), y.astype(np.float32 if y.dtype.kind == "f" else np.int64))

    @property
    def labelled(self) -> bool:
        """Whether the targets are class labels."""
        return self.targets.dtype == np.int64

    def __len__(self) -> int:
        return len(self.inputs)


def load_dataset(text: str) -> Dataset:
    """`FILE.npz` with arrays x and y (pickles are refused), or what `package.module:callable[,key=value…]` returns.

    That is a Dataset, a pair of arrays, or a torch Dataset: anything with a length whose items are (input, target).
    A torch Dataset is read once, so random augmentation is frozen. What does not fit memory: `streams.load_source`.
    """
    value = made_by(text)
    try:
        with current_folder(), blamed_on("not a data set"):
            return read_dataset(value)
    except InputError as error:
        raise InputError(f"{text}: {error}") from error


def made_by(text: str) -> Any:
    """What a text names: a pair of arrays of a file, or whatever a callable returns."""
    if text.endswith(".npz"):
        tensors = load_tensors(Path(text))
        if set(tensors) != {"x", "y"}:
            raise InputError(f"{text} holds {sorted(tensors)}: wanted x, the inputs, and y, the targets")
        return tensors["x"], tensors["y"]
    if ":" in text:
        return load_callable(text)()
    raise InputError(f"data are FILE.npz or package.module:callable[,key=value…]: got {text!r}")


def read_dataset(made: Any) -> Dataset:
    """Rows in memory, of whatever a factory returned."""
    if isinstance(made, Dataset):
        return made
    if isinstance(made, (tuple, list)) and len(made) == 2:
        return Dataset.of(*made)
    if isinstance(made, Mapping) or not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
        raise InputError(f"got a {type(made).__name__}: wanted a Dataset, a pair of arrays or a torch Dataset")
    rows = [made[i] for i in range(len(made))]
    if not rows:
        raise InputError("a data set has at least one row: got none")
    for i, row in enumerate(rows):
        if not isinstance(row, (tuple, list)) or len(row) != 2:
            raise InputError(f"item {i} is a {type(row).__name__}: wanted a pair (input, target)")
    return Dataset.of(*(np.stack([as_array(value) for value in column]) for column in zip(*rows, strict=True)))


def as_array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
