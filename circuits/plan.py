"""What a utility circuit computes and where its values lie: the plan that circuits/utility.py reads.

`zkmarket.networks` makes plans and says what their numbers mean. Here is what each part holds, and how it is written in
utility.json: fields in this order, for the text decides keys and the digest that proofs are bound to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

Span = tuple[int, int]
"""Where a run of values starts, and how many they are."""

Run = tuple[str, int, int]
"""Lookups one after another: of which column, from which of its values on, how many."""

# ---------------------------------------------------------------- weights


@dataclass(frozen=True)
class View:
    """A weight in the vector of parameters: `count` values from `offset`, of `shape`, with axes in another `order`."""

    offset: int
    shape: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape after transposing."""
        return tuple(self.shape[axis] for axis in self.order)

    def of(self, vector: np.ndarray) -> np.ndarray:
        return vector[self.offset : self.offset + self.count].reshape(self.shape).transpose(self.order)

    def transposed(self, order: Sequence[int]) -> View:
        return View(self.offset, self.shape, tuple(self.order[axis] for axis in order))

    def to_json(self) -> dict[str, Any]:
        return {"offset": self.offset, "count": self.count, "shape": list(self.shape), "order": list(self.order)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> View:
        view = cls(value["offset"], tuple(value["shape"]), tuple(value["order"]))
        if view.count != value["count"]:
            raise ValueError(f"a weight of shape {list(view.shape)} has {view.count} values: got {value['count']}")
        return view


# ---------------------------------------------------------------- terms of a linear part


@dataclass(frozen=True)
class Identity:
    """factor · a tensor."""

    kind: ClassVar[str] = "identity"
    tensor: int
    factor: int


@dataclass(frozen=True)
class Dense:
    """factor · weight · a tensor."""

    kind: ClassVar[str] = "linear"
    tensor: int
    factor: int
    weight: View


@dataclass(frozen=True)
class Convolution:
    """factor · a convolution of a tensor; `shape` is the tensor's, `pads` are those at the top and at the left."""

    kind: ClassVar[str] = "conv"
    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int]
    tensor: int
    factor: int
    weight: View


@dataclass(frozen=True)
class Channelwise:
    """factor · gamma · (kappa · a tensor − mu), channel by channel; `kappa` and `mu` name vectors of the plan."""

    kind: ClassVar[str] = "channelwise"
    tensor: int
    factor: int
    gamma: View
    kappa: str
    mu: str


@dataclass(frozen=True)
class Bias:
    """factor · weight, a value for each channel."""

    kind: ClassVar[str] = "bias"
    factor: int
    weight: View


Term = Identity | Dense | Convolution | Channelwise | Bias

# ---------------------------------------------------------------- steps


@dataclass(frozen=True)
class Stage:
    """⌊times · Z / R^rem⌋ of the linear part Z, then its positive part, then the maximum over windows.

    Attributes:
        shape: of Z: (channels, height, width).
        pool: of a window; None: there are none.
        offset: bounds the quotient's absolute value.
        out: the tensor that it makes.
    """

    op: ClassVar[str] = "stage"
    name: str
    terms: tuple[Term, ...]
    shape: tuple[int, int, int]
    rem: int
    times: int
    out: int
    relu: bool
    pool: tuple[int, int] | None
    offset: int


@dataclass(frozen=True)
class WindowSum:
    """Average pooling without its division."""

    op: ClassVar[str] = "sum"
    tensor: int
    shape: tuple[int, int, int]
    pool: tuple[int, int]
    out: int


@dataclass(frozen=True)
class Transpose:
    """A tensor with the axes of each sample, which has this shape, in another order."""

    op: ClassVar[str] = "transpose"
    tensor: int
    shape: tuple[int, int, int]
    order: tuple[int, int, int]
    out: int


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of labels. `shift` is ν, which makes a logarithm of n times a table's place one of a sum."""

    op: ClassVar[str] = "cross-entropy"
    name: str
    terms: tuple[Term, ...]
    shape: tuple[int, int, int]
    rem: int
    times: int
    offset: int
    shift: int


@dataclass(frozen=True)
class Squares:
    """The loss of targets, which are at this scale."""

    op: ClassVar[str] = "mse"
    name: str
    terms: tuple[Term, ...]
    shape: tuple[int, int, int]
    rem: int
    times: int
    offset: int
    scale: float


Divided = Stage | CrossEntropy | Squares
"""Steps that bring a linear part to a scale."""

Step = Divided | WindowSum | Transpose

# ---------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Bounds:
    """Largest absolute values, in integers: of inputs, of the model's parameters, of targets."""

    input: int
    theta: int
    target: int


@dataclass(frozen=True)
class CircuitPlan:
    """A network in integers, laid out.

    Attributes:
        logrows: K. batch: B.
        scale_bits, theta_bits: s, ρ: the model's scale is 2^(s + ρ). input_bits, activation_bits: 2 to these.
        loss: "cross-entropy" or "mse".
        params, inputs, outputs: D; values of one sample; outputs of the network.
        radix: R. base: of the table of exponentials.
        chunks: values and salts in one column of each kind: theta, validation, witness.
        counts: values of each kind.
        digits: how many each number has.
        witness: where each part lies among the values of the witness.
        constants: integers, and where they lie among the public values.
        vectors: public vectors: statistics of batch-norms.
        public: where each part lies among the public values.
        steps: in the order in which they are computed; the loss is the last one.
        lengths: of all inputs.
        columns: where the values of each kind lie in the inputs' concatenation.
        sequence: the order of the lookups; noise is among them.
        first_lookup: the row of the first one.
    """

    logrows: int
    batch: int
    scale_bits: int
    theta_bits: int
    input_bits: int
    activation_bits: int
    input_shape: tuple[int, ...]
    bounds: Bounds
    loss: str
    params: int
    inputs: int
    outputs: int
    radix: int
    base: float
    chunks: Mapping[str, Span]
    counts: Mapping[str, int]
    digits: Mapping[str, int]
    witness: Mapping[str, Span]
    constants: Mapping[int, int]
    vectors: Mapping[str, tuple[int, ...]]
    public: Mapping[str, Span]
    steps: tuple[Step, ...]
    lengths: tuple[int, ...]
    columns: Mapping[str, tuple[Span, ...]]
    sequence: tuple[Run, ...]
    first_lookup: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in utility.json."""
        return _fields_json(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CircuitPlan:
        """Raises KeyError, TypeError, ValueError or AttributeError if a part is missing or is something else."""
        return cls(**{name: _READ.get(name, _same)(part) for name, part in value.items()})


# ---------------------------------------------------------------- reading and writing


def _fields_json(value: Any) -> dict[str, Any]:
    return {item.name: _json(getattr(value, item.name)) for item in fields(value)}


def _json(value: Any) -> Any:
    if isinstance(value, View):
        return value.to_json()
    if isinstance(value, Identity | Dense | Convolution | Channelwise | Bias):
        return {"kind": value.kind} | _fields_json(value)
    if isinstance(value, Stage | WindowSum | Transpose | CrossEntropy | Squares):
        return {"op": value.op} | _fields_json(value)
    if isinstance(value, Bounds):
        return _fields_json(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, tuple) else value


def _same(value: Any) -> Any:
    return value


def _one_of(kinds: Mapping[str, type], key: str, value: Mapping[str, Any]) -> Any:
    """A term or a step, by what it says that it is."""
    parts = {name: _READ.get(name, _same)(part) for name, part in value.items() if name != key}
    return kinds[value[key]](**parts)


def _each(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {name: read(part) for name, part in value.items()}


def _tuples(value: Any) -> tuple[Any, ...]:
    return tuple(tuple(item) for item in value)


_TERMS: dict[str, type] = {kind.kind: kind for kind in (Identity, Dense, Convolution, Channelwise, Bias)}
_STEPS: dict[str, type] = {kind.op: kind for kind in (Stage, WindowSum, Transpose, CrossEntropy, Squares)}
_READ: dict[str, Callable[[Any], Any]] = {
    "input_shape": tuple,
    "bounds": lambda value: Bounds(**value),
    "base": float.fromhex,
    "scale": float.fromhex,
    "chunks": _each(tuple),
    "counts": _each(_same),
    "digits": _each(_same),
    "witness": _each(tuple),
    "constants": lambda value: {int(text): at for text, at in value.items()},
    "vectors": _each(tuple),
    "public": _each(tuple),
    "steps": lambda value: tuple(_one_of(_STEPS, "op", step) for step in value),
    "terms": lambda value: tuple(_one_of(_TERMS, "kind", term) for term in value),
    "lengths": tuple,
    "columns": _each(_tuples),
    "sequence": _tuples,
    "weight": View.from_json,
    "gamma": View.from_json,
    "shape": tuple,
    "order": tuple,
    "kernel": tuple,
    "stride": tuple,
    "pads": tuple,
    "pool": lambda value: None if value is None else tuple(value),
}
"""How a part is read where it is not kept as it is, by its name in plan, step or term."""
