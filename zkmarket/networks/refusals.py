"""What of a model cannot be proven, said at once and by the names that people know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .graph import Graph

SUPPORTED = (
    "Gemm, MatMul, Conv, Add (of a bias, or of two results), Relu, MaxPool, AveragePool, GlobalAveragePool, ReduceMean"
    " (over an image), BatchNormalization, Mul (with an Add, for each channel), Flatten, Reshape, Squeeze, Unsqueeze,"
    " Transpose, Identity, Dropout, Cast (from floats to floats), LinearClassifier, LinearRegressor; at the end"
    " Softmax, LogSoftmax, Normalizer and ZipMap"
)
"""The operators that the circuit can prove, for messages, help and docs/guide.md."""

NAMES = {
    "LSTM": "LSTM", "GRU": "GRU", "RNN": "RNN", "LayerNormalization": "LayerNorm", "Attention": "attention",
    "MultiHeadAttention": "attention", "GroupQueryAttention": "attention",
}  # fmt: skip
"""Operators that are layers of their own."""

SCORES = ("Add", "Sub", "Mul", "Div", "Cast", "Where", "Identity", "Reshape", "Transpose")
WEIGHTS = ("Dropout", "Cast", "Identity", "Where", "IsNaN", "Mul", "Reshape", "Transpose")
"""What may stand between an attention's first product and its softmax, and between that and its second product."""


class Refused(InputError):
    """The node that is read cannot be proven; the message is the reason, empty if its operator is not known."""


@dataclass(frozen=True)
class Refusal:
    """A node that cannot be proven; without a reason, its operator is none that the circuit knows."""

    node: Any
    reason: str

    def __str__(self) -> str:
        text = f"{self.node.op_type} at node {name_of(self.node)}"
        return f"{text} ({self.reason})" if self.reason else text


def name_of(node: Any) -> str:
    return node.name or f"(unnamed, makes {node.output[0]})"


def refusal(graph: Graph, refusals: list[Refusal]) -> InputError:
    """One error for all of them: first layers by name, then single nodes."""
    layers = named_layers(graph)
    parts: dict[str, list[str]] = {}
    for one in refusals:
        parts.setdefault(layers.get(id(one.node), ""), []).append(str(one))
    single = parts.pop("", [])
    texts = [f"{name}: {', '.join(nodes)}" for name, nodes in sorted(parts.items())] + single
    return InputError(f"the model cannot be proven: {'; '.join(texts)}. The circuit knows {SUPPORTED}")


def named_layers(graph: Graph) -> dict[int, str]:
    """What each node (by its id) is a part of, for nodes that make attention, LayerNorm or a recurrent layer."""
    out = {id(node): NAMES[node.op_type] for node in graph.nodes if node.op_type in NAMES}
    made_by = {name: node for node in graph.nodes for name in node.output if name}
    data = graph.depending()
    for node in graph.nodes:
        if node.op_type == "Softmax" and not graph.is_last(node.output[0]):
            out |= {id(part): "attention" for part in _attention(graph, node, made_by, data)}
        if node.op_type == "Div":
            out |= {id(part): "LayerNorm" for part in _layer_norm(node, made_by)}
    return out


def _attention(graph: Graph, softmax: Any, made_by: dict[str, Any], data: set[str]) -> list[Any]:
    """softmax(Q·Kᵀ)·V: the two products of data with data, and what is between them; nothing if there are none."""

    def before(node: Any) -> Iterable[Any]:
        return (made_by[name] for name in node.input if name in made_by and name in data)

    def after(node: Any) -> Iterable[Any]:
        return (user for name in node.output for user in graph.users(name))

    def product(node: Any) -> bool:
        return node.op_type == "MatMul" and all(name in data for name in node.input)

    parts = [softmax]
    for neighbours, between in ((before, SCORES), (after, WEIGHTS)):
        path = _path(softmax, neighbours, between, product)
        if not path:
            return []
        parts += path
    return parts


def _path(start: Any, neighbours: Callable[[Any], Iterable[Any]], between: tuple[str, ...], ends: Any) -> list[Any]:
    """The nodes on a way from here to the first one that ends it, through these operators; nothing if there is none."""
    ways: list[list[Any]] = [[start]]
    seen = {id(start)}
    while ways:
        way = ways.pop(0)
        for node in neighbours(way[-1]):
            if ends(node):
                return [*way[1:], node]
            if node.op_type in between and id(node) not in seen:
                seen.add(id(node))
                ways.append([*way, node])
    return []


def _layer_norm(div: Any, made_by: dict[str, Any]) -> list[Any]:
    """(x − mean(x)) / √(mean((x − mean(x))²) + ε), as exporters write it who have no operator for it."""

    def made(node: Any, place: int, *operators: str) -> Any:
        source = made_by.get(node.input[place]) if node is not None and place < len(node.input) else None
        return source if source is not None and source.op_type in operators else None

    centred, root = made(div, 0, "Sub"), made(div, 1, "Sqrt")
    mean, added = made(centred, 1, "ReduceMean"), made(root, 0, "Add")
    variance = made(added, 0, "ReduceMean") or made(added, 1, "ReduceMean")
    square = made(variance, 0, "Pow", "Mul")
    parts = [mean, centred, square, variance, added, root, div]
    return parts if all(part is not None for part in parts) and made(square, 0, "Sub") is centred else []
