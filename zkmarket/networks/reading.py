"""What is known while an ONNX graph is read: constants, parameters as views of one vector, results and their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

from ..circuits.plan import View
from ..learning import LINEAR_MODELS, linear_weights
from ..updates import ParameterLayout
from .graph import Graph
from .layers import Node
from .refusals import Refused


class Reading:
    """A graph as far as it was read.

    Attributes:
        arrays: constants by name, parameters among them.
        views: parameters by name, as places in the vector.
        results: values that depend on the input: 0 is the input, node i makes result i + 1.
        unknown: values that depend on a node that was refused.
        ending: Softmax or LogSoftmax if one was dropped at the end.
    """

    def __init__(self, graph: Graph, input_shape: tuple[int, ...], layout: ParameterLayout):
        self.graph, self.input_shape = graph, input_shape
        self.arrays = dict(graph.arrays)
        for node in graph.nodes:
            if node.op_type in LINEAR_MODELS:
                self.arrays |= linear_weights(node)
        self.views = {
            name: View(offset, shape, tuple(range(len(shape))))
            for name, shape, offset in zip(layout.names, layout.shapes, layout.offsets, strict=False)
            if name in self.arrays
        }
        self.results = {graph.data: 0}
        self.nodes: list[Node] = []
        self.unknown: set[str] = set()
        self.ending = ""

    # ---- what a node needs

    def refuse(self, reason: str) -> NoReturn:
        raise Refused(reason)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Of a result, without the batch."""
        index = self.results[name]
        return self.input_shape if index == 0 else self.nodes[index - 1].shape

    def parameter(self, name: str, axes: int) -> View:
        view = self.view(name)
        if len(view.sizes) != axes:
            self.refuse(f"its weight {name!r} has the shape {list(view.sizes)}: wanted {axes} axes")
        return view

    def view(self, name: str) -> View:
        if name in self.results:
            self.refuse("it multiplies or adds two results: wanted a parameter of the model")
        if name not in self.views:
            why = "it is frozen or computed" if name in self.arrays else "it is computed"
            self.refuse(f"its weight {name!r} is not a parameter that is trained: {why}")
        return self.views[name]

    def bias(self, name: str, shape: Sequence[int]) -> View:
        """A parameter with a value for each feature or channel of results: (n,) or (channels, height, width). Axes of
        size 1 are dropped."""
        view = self.view(name)
        wanted = [shape[0], *[1] * (len(shape) - 1)]
        sizes = list(view.sizes)
        if [1] * (len(wanted) - len(sizes)) + sizes != [1] * (len(sizes) - len(wanted)) + wanted:
            self.refuse(f"{name!r} has the shape {sizes}: wanted {wanted}")
        return View(view.offset, (view.count,), (0,))

    # ---- what a node makes

    def emit(self, node: Any, op: str, inputs: Sequence[str], shape: tuple[int, ...], **attributes: Any) -> None:
        sources = tuple(self.results[name] for name in inputs)
        self.nodes.append(Node(op, node.name or node.output[0], sources, shape, attributes))
        self.results[self.output(node)] = len(self.nodes)

    def same(self, node: Any, attributes: dict[str, Any]) -> None:
        self.results[self.output(node)] = self.results[node.input[0]]

    def output(self, node: Any) -> str:
        """The output with the result: a linear classifier's first one are labels."""
        name: str = node.output[1 if node.op_type == "LinearClassifier" else 0]
        return name

    def reshaped(self, node: Any, name: str, sizes: Sequence[int]) -> None:
        """A result in another shape, batch included, of the same values in the same order."""
        before = self.shape_of(name)
        if len(sizes) not in (2, 3, 4) or sizes[0] != self.graph.batch or prod(sizes[1:]) != prod(before):
            self.refuse(
                f"it makes {list(sizes)} of a batch of {self.graph.batch} samples {list(before)}: wanted [batch,"
                " features] or [batch, channels, height, width] of all their values",
            )
        self.emit(node, "reshape", [name], tuple(sizes[1:]))

    def transposed(self, node: Any, name: str, order: Sequence[int]) -> None:
        """A result with its axes, without the batch's, in another order."""
        before = self.shape_of(name)
        shape = tuple(before[axis] for axis in order)
        long = [axis for axis in order if before[axis] > 1]
        if long == sorted(long):  # no value moves
            self.emit(node, "reshape", [name], shape)
        else:
            self.emit(node, "transpose", [name], shape, order=tuple(order))
