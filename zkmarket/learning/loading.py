"""Models by name: a factory in a module or a file of the user's, or an ONNX file."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, ZkmarketError
from ..updates import ParameterLayout
from .onnx_file import FLOATS, load_onnx, trained_tensors

if TYPE_CHECKING:
    import torch


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
    with current_folder(), blamed_on(f"{text}: cannot import {module_name}"):
        module = importlib.import_module(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{text}: {module_name} has no callable {name!r}")
    _check_signature(text, function, arguments)
    return partial(_call, text, function, arguments)


def load_model(text: str) -> torch.nn.Module:
    """The torch module that `package.module:factory[,key=value…]` returns.

    What is in no update, frozen layers and buffers, is the same for everybody: a factory may draw it at random.
    """
    import torch

    with initial():
        module = load_callable(text)()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{text} returns a {type(module).__name__}: wanted a torch.nn.Module")
    return module


def trained_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name: the parameters with `requires_grad`. Frozen layers and buffers are not."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not trained and any(True for _ in model.parameters()):
        raise InputError("the model has no parameter that can be trained: all of them are frozen")
    dtypes = {name: str(weight.dtype).removeprefix("torch.") for name, weight in trained.items()}
    for name, dtype in dtypes.items():
        if dtype not in FLOATS:
            raise InputError(f"{name} is {dtype}: a parameter is one of {', '.join(FLOATS)}")
    return trained


def layout_of(text: str) -> ParameterLayout:
    """The layout of what is trained: of a factory's torch module, of its arrays by name, or of an ONNX file's floats.

    Of a torch module those are the parameters with `requires_grad`, in the order of the module.
    """
    with blamed_on(f"{text} has no layout"):
        return ParameterLayout.of(_named_tensors(text))


def layout_rule(text: str) -> str:
    """By which of `updates.LAYOUT_RULES` the layout of a model is made."""
    module = not text.endswith(".onnx") and hasattr(load_callable(text)(), "named_parameters")
    return "requires-grad" if module else "floats"


def initial_parameters(text: str) -> tuple[ParameterLayout, np.ndarray]:
    """The layout, and the values (D,) float64: the same each time, though a torch factory may draw them at random."""
    if text.endswith(".onnx"):
        tensors = _named_tensors(text)
    else:
        with initial():
            tensors = _named_tensors(text)
    with blamed_on(f"{text} has no layout"):
        layout = ParameterLayout.of(tensors)
        theta = layout.flatten(tensors)
    if not np.isfinite(theta).all():
        raise InputError(f"{text} starts with NaN or infinite values: nothing can be trained from them")
    return layout, theta


def _named_tensors(text: str) -> Mapping[str, Any]:
    if text.endswith(".onnx"):
        return trained_tensors(load_onnx(Path(text)))
    if ":" not in text:
        raise InputError(f"a model is FILE.onnx or package.module:factory[,key=value…]: got {text!r}")
    value = load_callable(text)()
    if hasattr(value, "named_parameters"):
        return trained_parameters(value)
    tensors = value.state_dict() if hasattr(value, "state_dict") else value
    if not isinstance(tensors, Mapping):
        raise InputError(f"{text} returns a {type(value).__name__}: wanted a torch module, or arrays by name")
    # a state dict's counters are not trained
    return {name: array for name, array in tensors.items() if not dtype_of(array).startswith(("int", "uint", "bool"))}


def dtype_of(value: Any) -> str:
    """Of an array or a tensor."""
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return str(dtype).removeprefix("torch.")


def _arguments(text: str, pairs: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key.isidentifier() or not value:
            raise InputError(f"{text}: an argument is key=value: got {pair!r}")
        if key in arguments:
            raise InputError(f"{text}: {key} is given twice")
        with blamed_on(f"{text}: {key}"):
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
    with current_folder(), blamed_on(f"{text} fails"):
        return function(**arguments)


@contextmanager
def current_folder() -> Iterator[None]:
    """Let modules of the current folder be imported."""
    place = str(Path.cwd())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with suppress(ValueError):  # the imported module may have tidied up itself
            sys.path.remove(place)


@contextmanager
def blamed_on(what: str) -> Iterator[None]:
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
    """Whether a frame is in a file of the user's: below the current folder, neither ours nor a library's."""
    path = Path(filename)
    ours = Path(__file__).parent in path.parents or "site-packages" in path.parts
    return path.is_relative_to(Path.cwd()) and not ours


@contextmanager
def initial() -> Iterator[None]:
    """Layers that are made inside have the same values everywhere."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
