"""The part of an ONNX file that makes one output: nodes, constants, the input, and what the outputs are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

FLOAT_TYPES = (1, 10, 11, 16)
"""TensorProto's float, float16, double and bfloat16."""
ENDINGS = ("Identity", "Cast", "ZipMap", "Normalizer")
"""What an exporter puts after a softmax."""


@dataclass(frozen=True)
class Graph:
    """What the chosen output needs.

    Attributes:
        nodes: in the file's order.
        arrays: the initializers, by name.
        data: the input's name.
        sizes: the input's sizes; 0 where any fits.
        output: the chosen output's name.
        labels: what the file calls the outputs of a classifier, in their order; empty if it does not say.
        opsets: versions of the operators.
    """

    nodes: tuple[Any, ...]
    arrays: dict[str, np.ndarray]
    data: str
    sizes: tuple[int, ...]
    output: str
    labels: tuple[str, ...]
    opsets: tuple[Any, ...]

    @property
    def batch(self) -> int:
        """The batch that the file was made for; 1 stands for any."""
        return self.sizes[0] or 1

    def users(self, name: str) -> list[Any]:
        return [node for node in self.nodes if name in node.input]

    def needs(self, name: str) -> bool:
        return name == self.output or bool(self.users(name))

    def is_last(self, name: str) -> bool:
        """Whether nothing but what exporters put after a softmax comes between this value and the output."""
        while name != self.output:
            users = self.users(name)
            if len(users) != 1 or users[0].op_type not in ENDINGS:
                return False
            name = users[0].output[0]
        return not self.users(name)

    def depending(self) -> set[str]:
        """Values that depend on the data; sizes of the data do not."""
        out = {self.data}
        for node in self.nodes:
            if node.op_type != "Shape" and out & set(node.input):
                out |= set(node.output)
        return out


def graph_of(model: Any, wanted: str | None) -> Graph:
    """The part of a model that makes the output of this name; without a name, the one that holds its scores.

    Raises InputError if there is no such output or there are several, or if it needs more than one input.
    """
    from onnx import numpy_helper

    graph = model.graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    output = _output(graph, wanted)
    nodes = tuple(_needed(graph.node, output))
    used = {name for node in nodes for name in node.input} | {output}
    data = [item for item in graph.input if item.name in used and item.name not in arrays]
    if len(data) != 1:
        names = ", ".join(item.name for item in data) or "none"
        raise InputError(f"a model has one input and one output: its output {output!r} needs the inputs {names}")
    sizes = tuple(dim.dim_value for dim in data[0].type.tensor_type.shape.dim)
    return Graph(nodes, arrays, data[0].name, sizes, output, _labels(graph, arrays), tuple(model.opset_import))


def _output(graph: Any, wanted: str | None) -> str:
    """The chosen output: one of the graph's, or, by name, any value that it computes."""
    names = [item.name for item in graph.output]
    if wanted is not None:
        if wanted not in {name for node in graph.node for name in node.output if name}:
            raise InputError(f"the model has no output {wanted!r}: its outputs are {', '.join(names)}")
        return wanted
    scores: list[str] = [item.name for item in graph.output if _holds_scores(item.type)]
    if len(scores) != 1:
        found = f"{len(scores)} outputs of floats, {', '.join(scores)}" if scores else f"no output of floats: {names}"
        raise InputError(f"the model has {found}; name the one with a score for each class: --output-name NAME")
    return scores[0]


def _holds_scores(kind: Any) -> bool:
    """Whether an output is a tensor of floats, or ZipMap's maps of them; not labels."""
    if kind.HasField("sequence_type"):
        values = kind.sequence_type.elem_type.map_type.value_type
        return values.tensor_type.elem_type in FLOAT_TYPES
    return kind.tensor_type.elem_type in (*FLOAT_TYPES, 0)


def _needed(nodes: Sequence[Any], output: str) -> list[Any]:
    wanted, out = {output}, list[Any]()
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            out.append(node)
    return out[::-1]


def _labels(graph: Any, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Names of the classes. A label of the data is the place of an output, so numbers must be those places."""
    from onnx import helper

    found: Sequence[Any] = ()
    for node in graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        for name in ("classlabels_ints", "classlabels_int64s", "classlabels_strings"):
            found = attributes.get(name) or found
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in arrays:
            found = found or arrays[node.input[0]].reshape(-1).tolist()
    names = tuple(item.decode() if isinstance(item, bytes) else str(item) for item in found)
    numbers = all(not isinstance(item, (bytes, str)) for item in found)
    if numbers and names != tuple(map(str, range(len(names)))):
        raise InputError(
            f"the model's classes are {', '.join(names)}: number them 0, 1, … in this order, in the model and in the"
            " data; a label is the place of an output"
        )
    return names
