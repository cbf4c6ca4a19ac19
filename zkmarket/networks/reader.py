"""A user's model as a list of a few operations: read from ONNX or a torch module, and evaluated in floats.

The front end knows the operations that the utility circuit can prove. Everything else is refused with the
operator's and the node's name: a model is never evaluated as something that it is not.

Parameters lie in one vector in the order of `learning.layout_of` (a module's trained parameters, or an ONNX file's
tensors of floats), which is the order of every update. A weight is a *view* of that vector. A batch-norm's running
statistics are not in it: they are taken as they are when the model is read, as constants of the circuit.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..learning import initial_parameters, load_model
from ..updates import ParameterLayout
from .layers import Network, Node, View

WHAT_IS_KNOWN = (
    "Gemm, MatMul, Conv, Relu, MaxPool, AveragePool, GlobalAveragePool, BatchNormalization, Flatten, Reshape,"
    " Identity, Dropout and Add"
)


# ---------------------------------------------------------------- reading


def read_network(text: str, input_shape: Sequence[int]) -> Network:
    """The model that `FILE.onnx` or `package.module:factory[,key=value…]` names, for samples of this shape.

    Raises InputError naming the operator and the node that cannot be proven.
    """
    layout, theta = initial_parameters(text)
    if text.endswith(".onnx"):
        return network_of(Path(text), input_shape, layout, theta)
    model = load_model(text)
    tensors = layout.unflatten(theta)
    return network_of_module(model, input_shape, layout, theta, tensors)


def network_of_module(
    model: Any, input_shape: Sequence[int], layout: ParameterLayout, theta: np.ndarray, tensors: dict[str, Any]
) -> Network:
    """The network of a torch module, in evaluation mode, with these parameters; its buffers are taken as they are."""
    import torch

    model.load_state_dict({name: torch.as_tensor(np.array(value)) for name, value in tensors.items()}, strict=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            # PRESERVE in evaluation mode: otherwise the exporter folds batch-norms into convolutions, whose weights
            # would then be no parameters any more
            with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    model.eval(),
                    (torch.zeros(1, *input_shape),),
                    str(path),
                    dynamo=False,
                    opset_version=17,
                    training=torch.onnx.TrainingMode.PRESERVE,
                    do_constant_folding=False,
                )
        except Exception as error:  # whatever the module or the exporter raises
            raise InputError(f"the model does not export with samples of shape {list(input_shape)}: {error}") from error
        return network_of(path, input_shape, layout, theta)


def network_of(path: Path, input_shape: Sequence[int], layout: ParameterLayout, theta: np.ndarray) -> Network:
    """The network of an ONNX file whose initializers are tensors of the layout."""
    import onnx

    try:
        model = onnx.load(str(path))
        sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    except Exception as error:
        raise InputError(f"{path} is not an ONNX model with an input: {error}") from error
    if len(sizes) != len(input_shape) + 1 or any(
        size not in (0, wanted) for size, wanted in zip(sizes[1:], input_shape, strict=True)
    ):
        raise InputError(f"the model takes {sizes[1:]} (0: any) a sample: the data have {list(input_shape)}")
    return _Reader(model, tuple(input_shape), layout, theta).read()


class _Reader:
    """Walks the graph once."""

    def __init__(self, model: Any, input_shape: tuple[int, ...], layout: ParameterLayout, theta: np.ndarray):
        from onnx import numpy_helper

        graph = model.graph
        self.graph, self.input_shape, self.layout, self.theta = graph, input_shape, layout, theta
        self.arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.views = {
            name: View(offset, shape, tuple(range(len(shape))))
            for name, shape, offset in zip(layout.names, layout.shapes, layout.offsets, strict=False)
            if name in self.arrays
        }
        data = [item.name for item in graph.input if item.name not in self.arrays]
        if len(data) != 1 or len(graph.output) != 1:
            raise InputError(f"a model has one input and one output: got {len(data)} and {len(graph.output)}")
        self.results = {data[0]: 0}  # values that depend on the input
        self.nodes: list[Node] = []

    def read(self) -> Network:
        for node in self.graph.node:
            self.node(node)
        output = self.graph.output[0].name
        if output not in self.results or not self.nodes or self.results[output] != len(self.nodes):
            raise InputError("the model's output is not the last result that is computed from its input")
        if len(self.nodes[-1].shape) != 1 or self.nodes[-1].shape[0] < 1:
            raise InputError(f"the model's output is one vector a sample: got shape {list(self.nodes[-1].shape)}")
        return Network(self.input_shape, tuple(self.nodes), self.layout, self.theta)

    # ---- what nodes are

    def node(self, node: Any) -> None:
        from onnx import helper, numpy_helper

        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        data = [name for name in node.input if name in self.results]
        if node.op_type == "Shape" and data:
            self.arrays[node.output[0]] = np.array([1, *self.input_of(node, node.input[0])])  # for a reshape
            return
        if not data:
            self.constant(node, attributes, numpy_helper)
            return
        known = {
            "Gemm": self.gemm,
            "MatMul": self.matmul,
            "Conv": self.conv,
            "Relu": self.relu,
            "MaxPool": self.pool,
            "AveragePool": self.pool,
            "GlobalAveragePool": self.global_pool,
            "BatchNormalization": self.norm,
            "Flatten": self.reshape,
            "Reshape": self.reshape,
            "Identity": self.same,
            "Dropout": self.same,
            "Add": self.add,
        }
        if node.op_type not in known:
            self.refuse(node, f"the circuit knows {WHAT_IS_KNOWN}: use a model of these")
        known[node.op_type](node, attributes)

    def constant(self, node: Any, attributes: dict[str, Any], numpy_helper: Any) -> None:
        """What does not depend on data: constants, and parameters in another order of axes."""
        if node.op_type == "Constant" and "value" in attributes:
            self.arrays[node.output[0]] = numpy_helper.to_array(attributes["value"])
        elif node.op_type == "Identity" and node.input[0] in self.arrays:
            self.arrays[node.output[0]] = self.arrays[node.input[0]]
            if node.input[0] in self.views:
                self.views[node.output[0]] = self.views[node.input[0]]
        elif node.op_type == "Transpose" and node.input[0] in self.views:
            view = self.views[node.input[0]]
            self.views[node.output[0]] = view.transposed(attributes.get("perm", range(len(view.sizes))[::-1]))
        elif all(name in self.arrays for name in node.input if name):
            from onnx.reference import ReferenceEvaluator

            given = {name: self.arrays[name] for name in node.input if name}
            if all(array.dtype.kind == "i" for array in given.values()):  # a target of a reshape
                self.arrays[node.output[0]] = np.asarray(ReferenceEvaluator(node).run(None, given)[0])

    def refuse(self, node: Any, reason: str) -> None:
        name = node.name or f"(unnamed, makes {node.output[0]})"
        raise InputError(f"{node.op_type} at node {name} cannot be proven: {reason}")

    def parameter(self, node: Any, name: str, axes: int) -> View:
        view = self.views.get(name)
        if view is None or len(view.sizes) != axes:
            self.refuse(node, f"its weight {name!r} is not a parameter of the model with {axes} axes")
        return view

    def emit(self, node: Any, op: str, inputs: Sequence[str], shape: tuple[int, ...], **attributes: Any) -> None:
        self.nodes.append(
            Node(op, node.name or node.output[0], tuple(self.results[name] for name in inputs), shape, attributes)
        )
        self.results[node.output[0]] = len(self.nodes)

    def input_of(self, node: Any, name: str) -> tuple[int, ...]:
        index = self.results[name]
        return self.input_shape if index == 0 else self.nodes[index - 1].shape

    # ---- operators

    def gemm(self, node: Any, attributes: dict[str, Any]) -> None:
        plain = all(attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attributes.get("transA", 0)
        if not plain or node.input[0] not in self.results:
            self.refuse(node, "wanted alpha = beta = 1, data as the first operand and not transposed")
        weight = self.parameter(node, node.input[1], 2)
        if not attributes.get("transB", 0):
            weight = weight.transposed((1, 0))
        bias = self.parameter(node, node.input[2], 1) if len(node.input) > 2 and node.input[2] else None
        self.linear(node, weight, bias)

    def matmul(self, node: Any, attributes: dict[str, Any]) -> None:
        if node.input[0] not in self.results or node.input[1] in self.results:
            self.refuse(node, "wanted data as the first operand and a parameter as the second")
        weight = self.parameter(node, node.input[1], 2).transposed((1, 0))
        self.linear(node, weight, None)

    def linear(self, node: Any, weight: View, bias: View | None) -> None:
        before, (outputs, inputs) = self.input_of(node, node.input[0]), weight.sizes
        if before != (inputs,) or (bias is not None and bias.sizes != (outputs,)):
            self.refuse(node, f"its weight takes [batch, {inputs}]: the data are [batch, {str(list(before))[1:]}")
        self.emit(node, "linear", node.input[:1], (outputs,), weight=weight, bias=bias)

    def conv(self, node: Any, attributes: dict[str, Any]) -> None:
        if attributes.get("group", 1) != 1 or any(d != 1 for d in attributes.get("dilations", [1, 1])):
            self.refuse(node, "wanted group = 1 and no dilation")
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET"):
            self.refuse(node, "wanted explicit pads, no auto_pad")
        weight = self.parameter(node, node.input[1], 4)
        bias = self.parameter(node, node.input[2], 1) if len(node.input) > 2 and node.input[2] else None
        before, kernel = self.input_of(node, node.input[0]), weight.sizes[2:]
        stride, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0, 0, 0, 0])
        if len(before) != 3 or before[0] != weight.sizes[1] or len(pads) != 4:
            self.refuse(node, f"its weight takes {weight.sizes[1]} channels: the data have shape {list(before)}")
        size = tuple((before[1 + i] + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2))
        if min(size) < 1:
            self.refuse(node, f"its kernel is larger than the data, {list(before)}")
        shape = (weight.sizes[0], *size)
        geometry = {"kernel": kernel, "stride": tuple(stride), "pads": tuple(pads[:2])}
        self.emit(node, "conv", node.input[:1], shape, weight=weight, bias=bias, **geometry)

    def relu(self, node: Any, attributes: dict[str, Any]) -> None:
        self.emit(node, "relu", node.input[:1], self.input_of(node, node.input[0]))

    def pool(self, node: Any, attributes: dict[str, Any]) -> None:
        kernel = tuple(attributes["kernel_shape"])
        shape = self.input_of(node, node.input[0])
        whole = len(shape) == 3 and shape[1] % kernel[0] == 0 and shape[2] % kernel[1] == 0
        if (
            len(node.output) > 1
            or tuple(attributes.get("strides", [1, 1])) != kernel
            or any(attributes.get("pads", [0]))
            or any(d != 1 for d in attributes.get("dilations", [1]))
            or not whole
        ):
            self.refuse(node, "wanted windows that do not overlap and fill the input: stride = kernel, no padding")
        op = "maxpool" if node.op_type == "MaxPool" else "avgpool"
        size = (shape[0], shape[1] // kernel[0], shape[2] // kernel[1])
        self.emit(node, op, node.input[:1], size, pool=kernel)

    def global_pool(self, node: Any, attributes: dict[str, Any]) -> None:
        shape = self.input_of(node, node.input[0])
        if len(shape) != 3:
            self.refuse(node, f"wanted [batch, channels, height, width]: the data have shape {list(shape)}")
        self.emit(node, "avgpool", node.input[:1], (shape[0], 1, 1), pool=tuple(shape[1:]))

    def norm(self, node: Any, attributes: dict[str, Any]) -> None:
        if attributes.get("training_mode", 0) or len(node.output) > 1:
            self.refuse(node, "it is in training mode: export the model in evaluation mode")
        gamma, beta = (self.parameter(node, name, 1) for name in node.input[1:3])
        mean, variance = (self.arrays.get(name) for name in node.input[3:5])
        if mean is None or variance is None or (np.asarray(variance) < 0).any():
            self.refuse(node, "its running statistics are not constants of the model")
        before = self.input_of(node, node.input[0])
        if any(len(array) != before[0] for array in (mean, variance)) or {gamma.count, beta.count} != {before[0]}:
            self.refuse(node, f"it has other channels than the data, {list(before)}")
        deviation = np.sqrt(np.asarray(variance, np.float64) + attributes.get("epsilon", 1e-5))
        self.emit(
            node,
            "norm",
            node.input[:1],
            before,
            gamma=gamma,
            beta=beta,
            mean=np.asarray(mean, np.float64),
            deviation=deviation,
        )

    def reshape(self, node: Any, attributes: dict[str, Any]) -> None:
        before = self.input_of(node, node.input[0])
        wanted: Sequence[int] | None = None
        if node.op_type == "Flatten" and attributes.get("axis", 1) in (1, -len(before)):
            wanted = [1, -1]
        elif node.op_type == "Reshape" and not attributes.get("allowzero", 0):
            wanted = self.arrays.get(node.input[1])
        if wanted is None:
            self.refuse(node, "its target is not known when the model is read")
        sizes = [(1, *before)[i] if size == 0 and i <= len(before) else int(size) for i, size in enumerate(wanted)]
        known = prod(size for size in sizes if size > 0)
        shape = tuple(prod(before) // known if size == -1 else size for size in sizes)
        if len(shape) not in (2, 4) or shape[0] != 1 or prod(shape) != prod(before):
            self.refuse(
                node,
                f"it makes {list(shape)} of one sample of {list(before)}: wanted [1, features] or"
                " [1, channels, height, width] of all its values",
            )
        self.emit(node, "reshape", node.input[:1], shape[1:])

    def same(self, node: Any, attributes: dict[str, Any]) -> None:
        self.results[node.output[0]] = self.results[node.input[0]]

    def add(self, node: Any, attributes: dict[str, Any]) -> None:
        data = [name for name in node.input if name in self.results]
        shape = self.input_of(node, data[0])
        if len(data) == 2:
            if any(self.input_of(node, name) != shape for name in data):
                self.refuse(node, "its operands have different shapes")
            self.emit(node, "add", data, shape)
            return
        (other,) = (name for name in node.input if name not in self.results)
        last = self.nodes[-1] if self.nodes else None
        bias = self.parameter(node, other, 1)
        if last is None or last.op != "linear" or last.attributes["bias"] is not None:
            self.refuse(node, "a parameter is added to what is no matrix product")
        if self.results[data[0]] != len(self.nodes) or bias.sizes != shape:
            self.refuse(node, "a parameter is added to what is no matrix product")
        self.nodes[-1] = Node("linear", last.name, last.inputs, last.shape, {**last.attributes, "bias": bias})
        self.results[node.output[0]] = len(self.nodes)
