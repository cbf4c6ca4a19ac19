"""The layout of a model: named tensors to one vector and back, and the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, demand
from ..progress import Progress, quiet

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
LAYOUT_RULES = {
    "requires-grad": "the parameters with requires_grad, in the module's order; frozen layers and buffers are local",
    "floats": "every tensor of floats, of an ONNX file without a batch-norm's running statistics",
}
"""What of a model an update holds: of a torch module, and of an ONNX file or of arrays by name."""
SUFFIXES = (".npy", ".npz", ".safetensors")


def flat_floats(update: Any) -> np.ndarray:
    if hasattr(update, "detach"):
        update, _ = _numpy("an update", update)
    try:
        array = np.asarray(update)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"an update is one flat vector, or tensors by name: {error}") from error
    if array.ndim != 1 or not len(array):
        raise InputError(f"an update is one flat vector of at least one value: got shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"an update holds real numbers: got dtype {array.dtype}")
    exact = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(exact)))
    if bad:
        raise InputError(f"{bad} of {len(exact)} values are NaN or infinite: wanted finite numbers")
    return exact


# ---------------------------------------------------------------- layouts and files


@dataclass(frozen=True)
class ParameterLayout:
    """Where every tensor of a model lies in its one vector, and how to get it back bit for bit.

    Attributes:
        names, shapes, dtypes: of each tensor, in the order of the vector.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ParameterLayout({len(self.names)} tensors, {self.size} parameters)"

    @classmethod
    def of(cls, tensors: Mapping[str, Any]) -> ParameterLayout:
        """The layout of a torch state dict or a mapping of numpy arrays, in its own order."""
        demand(tensors, Mapping, "tensors by name")
        if not tensors:
            raise InputError("a model has at least one parameter: got none")
        arrays = {str(name): _numpy(name, value) for name, value in tensors.items()}
        dtypes = tuple(dtype for _, dtype in arrays.values())
        layout = cls(tuple(arrays), tuple(tuple(a.shape) for a, _ in arrays.values()), dtypes)
        if not layout.size:
            raise InputError("a model has at least one parameter: all tensors are empty")
        return layout

    @property
    def offsets(self) -> tuple[int, ...]:
        """Start of each tensor in the vector, and the vector's length at the end."""
        out = [0]
        for shape in self.shapes:
            out.append(out[-1] + prod(shape))
        return tuple(out)

    @property
    def size(self) -> int:
        return self.offsets[-1]

    def flatten(self, tensors: Mapping[str, Any], note: Progress | None = None) -> np.ndarray:
        """One float64 vector of all parameters; every value is exact.

        Args:
            note: told of tensors of floats in another dtype than the layout's, which are cast to it. Without it they
                are refused.
        """
        demand(tensors, Mapping, "tensors by name")
        named = {str(name): value for name, value in tensors.items()}
        if tuple(named) != self.names:
            raise InputError(f"tensors are not those of the layout: got {list(named)}, wanted {list(self.names)}")
        parts, cast = [], []
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            array, actual = _numpy(name, named[name])
            other = actual not in (dtype, _held(dtype))
            castable = note is not None and {actual, dtype} <= set(_FLOATS)
            if tuple(array.shape) != shape or (other and not castable):
                raise InputError(f"{name}: got {actual}{list(array.shape)}, wanted {dtype}{list(shape)}")
            if other:
                with np.errstate(over="ignore"):  # infinities are counted, with all others
                    array = array.astype(_held(dtype))
                cast.append(f"{name} ({actual}, the model's is {dtype})")
            wide = array.astype(np.float64)
            if dtype in ("int64", "uint64") and ((array > 2**53) | (array < -(2**53))).any():
                raise InputError(f"{name}: an integer beyond 2^53 has no exact float")
            parts.append(wide.reshape(-1))
        if note is not None and cast:
            others = f" and {len(cast) - 1} more" if len(cast) > 1 else ""
            note(f"note: cast to the model's dtype: {cast[0]}{others}")
        return np.concatenate(parts)

    def unflatten(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors, in their own dtype (bfloat16 as float32, which holds it exactly)."""
        if np.shape(vector) != (self.size,):
            raise InputError(f"the vector has shape {np.shape(vector)}: wanted ({self.size},)")
        out = {}
        for name, shape, dtype, start in zip(self.names, self.shapes, self.dtypes, self.offsets, strict=False):
            part = np.asarray(vector)[start : start + prod(shape)].reshape(shape)
            if dtype in _INTEGERS:
                part = np.rint(part)
            out[name] = part.astype(_held(dtype))
        return out

    def check(self) -> None:
        """Raise InputError unless every dtype is a parameter's and no name stands twice."""
        unknown = sorted(set(self.dtypes) - set(_FLOATS + _INTEGERS))
        if unknown or len(set(self.names)) != len(self.names):
            raise InputError(f"not a layout: unknown dtypes {unknown}, or a name twice")

    def difference(self, wanted: ParameterLayout) -> str:
        """The first tensor in which this layout is not the wanted one."""
        texts = [
            [f"{row['name']} {row['dtype']}{row['shape']}" for row in layout.to_json()] + ["nothing"]
            for layout in (self, wanted)
        ]
        got, want = next((a, b) for a, b in zip(*texts, strict=False) if a != b)
        return f"it has {got} where the layout has {want}"

    def to_json(self) -> list[dict[str, Any]]:
        rows = zip(self.names, self.shapes, self.dtypes, strict=True)
        return [{"name": name, "shape": list(shape), "dtype": dtype} for name, shape, dtype in rows]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> ParameterLayout:
        return cls(
            tuple(row["name"] for row in rows),
            tuple(tuple(row["shape"]) for row in rows),
            tuple(row["dtype"] for row in rows),
        )


def load_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read `.npy` (one unnamed tensor), `.npz` or `.safetensors`. Pickled objects are refused."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: wanted one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        if path.suffix == ".npy":
            return {"": np.load(path, allow_pickle=False, mmap_mode="r")}
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in sorted(archive.files)}
        return _load_safetensors(path)
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
        raise InputError(f"{path} cannot be read: {error}") from error


def load_update(path: str | Path, layout: ParameterLayout | None = None, note: Progress = quiet) -> np.ndarray:
    """One flat float64 vector from a file.

    With a layout, names and shapes are checked, the layout's order holds, and floats of another dtype are cast to the
    layout's, which is noted. Without one, the tensors of a file follow each other in the order of their names, whatever
    the format.
    """
    path = Path(path)
    tensors = load_tensors(path)
    if list(tensors) == [""]:
        vector = flat_floats(tensors[""])
        if layout is not None and len(vector) != layout.size:
            raise InputError(f"{path} has {len(vector)} values: the model has {layout.size} parameters")
        return vector
    if layout is None:
        return flat_floats(ParameterLayout.of(tensors).flatten(tensors))
    return _of_layout(str(path), tensors, layout, note)


def as_vector(
    values: Any, layout: ParameterLayout | None, what: str, more: bool = False, note: Progress = quiet
) -> np.ndarray:
    """One flat float64 vector: of a flat vector, or of tensors by name as `load_update` takes them from a file.

    Args:
        what: they are, for messages.
        more: whether there may be tensors that the layout does not name: frozen layers and buffers of a model.
    """
    if not isinstance(values, Mapping):
        return flat_floats(values)
    if layout is None:
        raise InputError(f"{what} is tensors by name, and the build knows no names: make it with --model, not --params")
    return _of_layout(what, {str(name): value for name, value in values.items()}, layout, note, more)


def load_model_file(
    path: str | Path, layout: ParameterLayout | None = None, note: Progress = quiet
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A model's parameters, flat as `load_update` has them, and all else that the file holds, as it is.

    The rest is what no update changes: frozen layers, and buffers such as a batch-norm's running statistics.
    """
    path = Path(path)
    tensors = load_tensors(path)
    if layout is None or list(tensors) == [""]:
        return load_update(path, layout, note), {}
    rest = {name: np.asarray(_numpy(name, value)[0]) for name, value in tensors.items() if name not in layout.names}
    return _of_layout(str(path), tensors, layout, note, more=True), rest


def _of_layout(
    what: str, tensors: Mapping[str, Any], layout: ParameterLayout, note: Progress, more: bool = False
) -> np.ndarray:
    extra = [] if more else [name for name in tensors if name not in layout.names]
    missing = [name for name in layout.names if name not in tensors]
    if missing or extra:
        about = "; an update holds what is trained: no frozen layers, no buffers" if extra else ""
        raise InputError(f"{what} is not of the build's model: missing {missing}, unknown {extra}{about}")
    named = {name: tensors[name] for name in layout.names}
    return flat_floats(layout.flatten(named, lambda text: note(f"{text} in {what}")))


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = sorted(file.keys())
        if all(file.get_slice(name).get_dtype() != "BF16" for name in names):
            return {name: file.get_tensor(name) for name in names}
    with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
        return {name: file.get_tensor(name) for name in names}


def _held(dtype: str) -> str:
    """The dtype of numpy that holds a tensor's: it has no bfloat16."""
    return "float32" if dtype == "bfloat16" else dtype


def _numpy(name: object, value: Any) -> tuple[np.ndarray, str]:
    """A tensor as numpy and the name of its dtype. torch is recognised, not imported."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            return value.float().numpy(), "bfloat16"
        value = value.numpy()
    array = np.asarray(value)
    dtype = str(array.dtype)
    if dtype not in _FLOATS + _INTEGERS:
        raise InputError(f"{name}: dtype {dtype} is not a parameter's; wanted one of {', '.join(_FLOATS + _INTEGERS)}")
    return array, dtype
