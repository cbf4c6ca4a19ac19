"""A trainer's own work: a model, its data, and some epochs of training in PyTorch on its own machine.

Models and data are named on a command line or in a file by what makes them, `package.module:callable,key=value,…`.
What leaves this file is one float64 vector, the change of all the model's values; the data do not.

torch, onnx and scikit-learn are imported by the functions that need them: whoever only verifies loads none of them.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, ZkmarketError
from .quantise import ParameterLayout, load_tensors

if TYPE_CHECKING:
    import torch

OPTIMISERS = ("sgd", "adam")
LOSSES = ("auto", "cross-entropy", "mse")
SPLITS = ("iid", "dirichlet")
MIN_ROWS = 8
"""No share of the digits has fewer rows, whatever the proportions."""
EVALUATION_ROWS = 1024
"""Rows that are evaluated at once: memory, not the result, depends on it."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


# ---------------------------------------------------------------- what a text names


def load_callable(text: str) -> Callable[[], Any]:
    """`package.module:callable`, then `,key=value,…` if it takes arguments, as a function of no arguments.

    Modules are looked up in the current folder first, as by `python -m`. A value is an integer, a float, true,
    false, or else text. InputError says which part is wrong; whatever the callable raises becomes one, too.
    """
    place, *pairs = text.split(",")
    module_name, _, name = place.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"wanted package.module:callable[,key=value…]: got {text!r}")
    arguments = _arguments(text, pairs)
    with _current_folder(), _blamed_on(f"{text}: cannot import {module_name}"):
        module = importlib.import_module(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{text}: {module_name} has no callable {name!r}")
    _check_signature(text, function, arguments)
    return partial(_call, text, function, arguments)


def load_model(text: str) -> torch.nn.Module:
    """The torch module that `package.module:factory[,key=value…]` returns."""
    import torch

    made = load_callable(text)()
    if not isinstance(made, torch.nn.Module):
        raise InputError(f"{text} returns a {type(made).__name__}: wanted a torch.nn.Module")
    return made


def layout_of(text: str) -> ParameterLayout:
    """The layout of what a factory returns (a torch module, or arrays by name), or of an ONNX file's floats."""
    with _blamed_on(f"{text} has no layout"):
        return ParameterLayout.of(_named_tensors(text))


def initial_parameters(text: str) -> tuple[ParameterLayout, np.ndarray]:
    """The layout, and the values (D,) float64: the same each time, though a torch factory may draw them at random."""
    if text.endswith(".onnx"):
        tensors = _named_tensors(text)
    else:
        with _initial():
            tensors = _named_tensors(text)
    with _blamed_on(f"{text} has no layout"):
        layout = ParameterLayout.of(tensors)
        theta = layout.flatten(tensors)
    if not np.isfinite(theta).all():
        raise InputError(f"{text} starts with NaN or infinite values: nothing can be trained from them")
    return layout, theta


def _named_tensors(text: str) -> Mapping[str, Any]:
    if text.endswith(".onnx"):
        return _onnx_tensors(Path(text))
    if ":" not in text:
        raise InputError(f"a model is FILE.onnx or package.module:factory[,key=value…]: got {text!r}")
    made = load_callable(text)()
    tensors = made.state_dict() if hasattr(made, "state_dict") else made
    if not isinstance(tensors, Mapping):
        raise InputError(f"{text} returns a {type(made).__name__}: wanted a torch module, or arrays by name")
    return tensors


def _arguments(text: str, pairs: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key.isidentifier() or not value:
            raise InputError(f"{text}: an argument is key=value: got {pair!r}")
        if key in arguments:
            raise InputError(f"{text}: {key} is given twice")
        with _blamed_on(f"{text}: {key}"):
            arguments[key] = _value(value)
    return arguments


def _value(text: str) -> int | float | bool | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text, text)


def _check_signature(text: str, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of C's have none: the call will tell
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError(f"{text}: {error}; it takes {signature}") from error


def _call(text: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    with _current_folder(), _blamed_on(f"{text} fails"):
        return function(**arguments)


@contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules of the current folder be imported."""
    place = str(Path.cwd())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with suppress(ValueError):  # the imported module may have tidied up itself
            sys.path.remove(place)


@contextmanager
def _blamed_on(what: str) -> Iterator[None]:
    """Code that is not ours raises anything: make it an InputError of one line, with the place in the user's file."""
    try:
        yield
    except ZkmarketError:
        raise
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
        place = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
        raise InputError(f"{what}: {type(error).__name__}: {message}{place}") from error


def _is_users(filename: str) -> bool:
    path = Path(filename)
    return filename != __file__ and path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts


def _onnx_tensors(path: Path) -> dict[str, np.ndarray]:
    import onnx
    from onnx import numpy_helper

    if not path.is_file():
        raise InputError(f"no model at {path}")
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's own exceptions
        raise InputError(f"{path} is not an ONNX model: {error}") from error
    tensors = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    return {name: array for name, array in tensors.items() if array.dtype.kind == "f"}


# ---------------------------------------------------------------- data


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to train on or to test with. `Dataset.of` makes one from arrays of other dtypes.

    Attributes:
        inputs: (n, …) float32, finite.
        targets: (n,) int64 class labels from 0, or (n, …) float32, finite.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        x, y = self.inputs, self.targets
        if x.dtype != np.float32 or y.dtype not in (np.float32, np.int64):
            raise InputError(f"a data set has float32 inputs and float32 or int64 targets: got {x.dtype}, {y.dtype}")
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
        """From arrays or tensors of any real dtype: integers and truth values as targets are class labels."""
        x, y = _array(inputs), _array(targets)
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
    A torch Dataset is read once, so random augmentation is frozen.
    """
    if text.endswith(".npz"):
        tensors = load_tensors(Path(text))
        if set(tensors) != {"x", "y"}:
            raise InputError(f"{text} holds {sorted(tensors)}: wanted x, the inputs, and y, the targets")
        made: Any = (tensors["x"], tensors["y"])
    elif ":" in text:
        made = load_callable(text)()
    else:
        raise InputError(f"data are FILE.npz or package.module:callable[,key=value…]: got {text!r}")
    try:
        with _current_folder(), _blamed_on("not a data set"):
            return _dataset(made)
    except InputError as error:
        raise InputError(f"{text}: {error}") from error


def _dataset(made: Any) -> Dataset:
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
    return Dataset.of(*(np.stack([_array(value) for value in column]) for column in zip(*rows, strict=True)))


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


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
        _check_integer("epochs", self.epochs, 1)
        _check_integer("batch", self.batch, 1)
        _check_choice("optimiser", self.optimiser, OPTIMISERS)
        if not _is_real(self.rate) or not self.rate > 0:
            raise InputError(f"rate is a number over 0: got {self.rate!r}")
        if not _is_real(self.momentum) or not 0 <= self.momentum < 1:
            raise InputError(f"momentum is a number from 0 to under 1: got {self.momentum!r}")
        _check_choice("loss", self.loss, LOSSES)
        _check_integer("seed", self.seed, 0)
        _check_integer("threads", self.threads, 1)


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
    """What local training changes: the model's values after it, minus theta.

    Args:
        model: on the CPU; its values are overwritten.
        layout: of the model's whole state dict, buffers included.
        theta: (D,) float64, where the round starts.
        data: the trainer's rows.
        training: how to train.
        round_number: makes each round's randomness its own.

    Returns:
        (D,) float64, the same bits for the same arguments on one machine. torch's random state and number of
        threads are left as they were.

    Raises:
        InputError: model, layout, theta and data do not fit each other, or the training diverged.
    """
    import torch

    _check_integer("the number of a round", round_number, 0)
    _load(model, layout, theta)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise InputError("the model has no parameter that can be trained: all of them are frozen, or there are none")
    step = _adam(weights, training.rate) if training.optimiser == "adam" else _sgd(weights, training)
    kind = _kind(training.loss, data)
    x, y = _tensors(model, data, kind)
    model.train()
    with (
        _alone(training.seed, round_number, training.threads),
        _blamed_on(f"training fails on inputs of shape {_shape(data)}"),
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
    after = layout.flatten(model.state_dict())
    if not np.isfinite(after).all():
        raise _diverged(training, training.epochs)
    return after - theta


def evaluate(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset,
    loss: str = "auto",
    threads: int = 1,
) -> Evaluation:
    """How well the model does on data with the values of theta, (D,) float64. Its own values are overwritten.

    `loss` and `threads` as in Training; InputError as in `train`.
    """
    import torch

    _check_choice("loss", loss, LOSSES)
    _check_integer("threads", threads, 1)
    _load(model, layout, theta)
    kind = _kind(loss, data)
    x, y = _tensors(model, data, kind)
    model.eval()
    total, right = 0.0, 0
    with torch.no_grad(), _alone(0, 0, threads), _blamed_on(f"evaluation fails on inputs of shape {_shape(data)}"):
        for inputs, targets in zip(x.split(EVALUATION_ROWS), y.split(EVALUATION_ROWS), strict=True):
            outputs = _outputs(model, inputs)
            total += float(_loss(kind, outputs, targets)) * len(inputs)
            if kind == "cross-entropy" and data.labelled:
                right += int((outputs.argmax(1) == targets).sum())
    scored = kind == "cross-entropy" and data.labelled
    return Evaluation(total / len(data), right / len(data) if scored else None)


def _load(model: torch.nn.Module, layout: ParameterLayout, theta: np.ndarray) -> None:
    """Put theta into the model."""
    import torch

    own = ParameterLayout.of(model.state_dict())
    if own != layout:
        raise InputError(f"the model is not the project's: {_difference(own, layout)}")
    if np.shape(theta) == (layout.size,) and not np.isfinite(theta).all():
        raise InputError("theta holds NaN or infinite values: nothing can be trained from it")
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = layout.unflatten(theta)
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise InputError(f"theta does not fit {name}: a value is beyond {array.dtype}")
    model.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in tensors.items()})


def _difference(found: ParameterLayout, wanted: ParameterLayout) -> str:
    """The first tensor in which two layouts differ."""
    texts = [
        [f"{row['name']} {row['dtype']}{row['shape']}" for row in layout.to_json()] + ["nothing"]
        for layout in (found, wanted)
    ]
    got, want = next((a, b) for a, b in zip(*texts, strict=False) if a != b)
    return f"it has {got} where the layout has {want}"


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
    x, y = (torch.from_numpy(np.require(array, requirements="CW")) for array in (data.inputs, data.targets))
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


# ---------------------------------------------------------------- built in: scikit-learn's digits


def digits_mlp(hidden: int = 32) -> torch.nn.Module:
    """64 pixels → hidden → 10 digits; 2,410 parameters by default, the same initial ones for everybody."""
    from torch import nn

    _check_integer("hidden", hidden, 1)
    with _initial():
        return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def digits_cnn(channels: int = 8) -> torch.nn.Module:
    """64 pixels as 8×8, two convolutions with pooling → 10 digits; 1,898 parameters by default, the same for all."""
    from torch import nn

    _check_integer("channels", channels, 1)
    with _initial():
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * channels, 10),
        )


def digits(part: int = 0, of: int = 1, split: str = "iid", alpha: float = 0.5, seed: int = 0) -> Dataset:
    """One trainer's share of 1,797 real scans, without the quarter that `digits_held` keeps.

    Shares of the same `of`, split, alpha and seed have no row in common, and together are all rows.

    Args:
        part, of: which share of how many, from 0.
        split: iid (shares alike) or dirichlet (each digit is dealt out in proportions of its own).
        alpha: of the Dirichlet distribution; the smaller, the more one-sided the shares.
        seed: decides the held-out rows and the shares.
    """
    _check_integer("of", of, 1)
    _check_integer("part", part, 0)
    _check_choice("split", split, SPLITS)
    if part >= of:
        raise InputError(f"parts of {of} are numbered from 0 to {of - 1}: got {part}")
    if not _is_real(alpha) or not 1e-3 <= alpha <= 1e6:
        raise InputError(f"alpha is a number from 0.001 to 1000000: got {alpha!r}")
    x, y, rng = _scans(seed)
    x, y = x[_held(x) :], y[_held(x) :]
    if of > len(x) // MIN_ROWS:
        raise InputError(f"{len(x)} rows make at most {len(x) // MIN_ROWS} parts of {MIN_ROWS} rows: got of = {of}")
    rows = np.array_split(np.arange(len(x)), of) if split == "iid" else _dirichlet(y, of, alpha, rng)
    return Dataset(x[rows[part]], y[rows[part]])


def digits_held(seed: int = 0) -> Dataset:
    """The quarter of the scans that no trainer gets, to test with."""
    x, y, _ = _scans(seed)
    return Dataset(x[: _held(x)], y[: _held(x)])


def _held(rows: np.ndarray) -> int:
    return len(rows) // 4


def _scans(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """All scans in the seed's order: (1797, 64) float32 from 0 to 1, and (1797,) int64."""
    _check_integer("seed", seed, 0)
    images, labels = _read_scans()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    return (images[order] / 16).astype(np.float32), labels[order].astype(np.int64), rng


@cache
def _read_scans() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 64) from 0 to 16, and the labels. Not to be written to: they are read once a process."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(f"the digits need scikit-learn ({error}): pip install 'zkmarket[demo]'") from error
    return load_digits(return_X_y=True)


def _dirichlet(labels: np.ndarray, of: int, alpha: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each part. A part with too few takes random ones from the largest."""
    parts: list[list[int]] = [[] for _ in range(of)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        cuts = np.rint(np.cumsum(rng.dirichlet(np.full(of, alpha)))[:-1] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(piece.tolist())
    while len(smallest := min(parts, key=len)) < MIN_ROWS:
        largest = max(parts, key=len)
        smallest.append(largest.pop(int(rng.integers(len(largest)))))
    return [np.sort(part) for part in parts]


@contextmanager
def _initial() -> Iterator[None]:
    """Layers that are made inside have the same values everywhere."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# ---------------------------------------------------------------- checks


def _check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is an integer from {least}: got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is one of {', '.join(choices)}: got {value!r}")


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
