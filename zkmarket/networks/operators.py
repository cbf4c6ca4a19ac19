"""The operators that can be proven: what each makes of a result, and which of its attributes are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..circuits.plan import View
from .graph import FLOAT_TYPES
from .layers import Node
from .reading import Reading

Operator = Callable[[Reading, Any, dict[str, Any]], None]

# ---------------------------------------------------------------- linear layers


def gemm(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    plain = all(attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attributes.get("transA", 0)
    if not plain or node.input[0] not in read.results:
        read.refuse("wanted alpha = beta = 1, data as the first operand and not transposed")
    weight = read.parameter(node.input[1], 2)
    if not attributes.get("transB", 0):
        weight = weight.transposed((1, 0))
    linear(read, node, weight, node.input[2] if len(node.input) > 2 else "")


def matmul(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if node.input[0] not in read.results or node.input[1] in read.results:
        read.refuse("wanted data as the first operand and a parameter as the second")
    linear(read, node, read.parameter(node.input[1], 2).transposed((1, 0)), "")


def linear(read: Reading, node: Any, weight: View, bias: str) -> None:
    before, (outputs, inputs) = read.shape_of(node.input[0]), weight.sizes
    if before != (inputs,):
        read.refuse(f"its weight takes [batch, {inputs}]: the data are [batch, {str(list(before))[1:]}")
    view = read.bias(bias, (outputs,)) if bias else None
    read.emit(node, "linear", node.input[:1], (outputs,), weight=weight, bias=view)


def linear_model(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    """scikit-learn's: weights are attributes."""
    if not read.graph.needs(read.output(node)):
        read.refuse(f"{node.output[0]!r} holds labels: wanted scores")
    after = attributes.get("post_transform", b"NONE")
    if after == b"SOFTMAX":
        finish(read, node, "Softmax")
    elif after != b"NONE":
        read.refuse(
            f"its post_transform is {after.decode()}: wanted NONE or SOFTMAX, with scores that are trained apart for"
            " each class, two for two classes"
        )
    name = node.name or node.output[-1]
    intercepts = f"{name}.intercepts"
    weight = read.parameter(f"{name}.coefficients", 2)
    linear(read, node, weight, intercepts if intercepts in read.arrays else "")


def conv(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if attributes.get("group", 1) != 1 or any(d != 1 for d in attributes.get("dilations", [1, 1])):
        read.refuse("wanted group = 1 and no dilation")
    weight = read.parameter(node.input[1], 4)
    before, kernel = read.shape_of(node.input[0]), weight.sizes[2:]
    stride = attributes.get("strides", [1, 1])
    if len(before) != 3 or before[0] != weight.sizes[1]:
        read.refuse(f"its weight takes {weight.sizes[1]} channels: the data have shape {list(before)}")
    pads = padding(read, attributes, before[1:], kernel, stride)
    size = tuple((before[1 + i] + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2))
    if min(size) < 1:
        read.refuse(f"its kernel is larger than the data, {list(before)}")
    shape = (weight.sizes[0], *size)
    bias = read.bias(node.input[2], shape[:1]) if len(node.input) > 2 and node.input[2] else None
    geometry = {"kernel": kernel, "stride": tuple(stride), "pads": tuple(pads[:2])}
    read.emit(node, "conv", node.input[:1], shape, weight=weight, bias=bias, **geometry)


def padding(
    read: Reading, attributes: dict[str, Any], size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> list[int]:
    """Zeros that are put around an image: top, left, bottom, right."""
    kind = attributes.get("auto_pad", b"NOTSET")
    if kind in (b"SAME_UPPER", b"SAME_LOWER"):  # as many outputs as strides fit
        many = [max(0, (-(-size[i] // stride[i]) - 1) * stride[i] + kernel[i] - size[i]) for i in range(2)]
        less, more = [one // 2 for one in many], [-(-one // 2) for one in many]
        return less + more if kind == b"SAME_UPPER" else more + less
    pads = [0, 0, 0, 0] if kind == b"VALID" else attributes.get("pads", [0, 0, 0, 0])
    if kind not in (b"NOTSET", b"VALID") or len(pads) != 4 or min(pads) < 0:
        read.refuse(f"wanted an image with zeros around it: got auto_pad {kind.decode()}, pads {list(pads)}")
    return list(pads)


def add(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if node.output[0] in read.results:  # of a batch-norm, see `scale`
        return
    data = [name for name in node.input if name in read.results]
    shape = read.shape_of(data[0])
    if len(data) == 2:
        if any(read.shape_of(name) != shape for name in data):
            read.refuse("its operands have different shapes")
        read.emit(node, "add", data, shape)
        return
    (other,) = (name for name in node.input if name not in read.results)
    index = read.results[data[0]]
    layer = read.nodes[index - 1] if index else None
    alone = len(read.graph.users(data[0])) == 1 and data[0] != read.graph.output
    if layer is None or layer.op not in ("linear", "conv") or layer.attributes["bias"] is not None or not alone:
        read.refuse("a parameter is added to what is no matrix product or convolution without a bias")
    bias = read.bias(other, shape)
    read.nodes[index - 1] = Node(layer.op, layer.name, layer.inputs, layer.shape, {**layer.attributes, "bias": bias})
    read.results[node.output[0]] = index


def scale(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    """A factor and then a summand for each channel: what Keras makes of a batch-norm in evaluation mode."""
    users = read.graph.users(node.output[0])
    data = [name for name in node.input if name in read.results]
    if len(data) != 1 or len(users) != 1 or users[0].op_type != "Add" or read.graph.output == node.output[0]:
        read.refuse("wanted a factor for each channel, and after it a summand for each")
    shape, parts = read.shape_of(data[0]), []
    for one, result in ((node, data[0]), (users[0], node.output[0])):
        (name,) = (name for name in one.input if name != result)
        parts.append(read.bias(name, shape))
    channels = shape[0]
    values = {"gamma": parts[0], "beta": parts[1], "mean": np.zeros(channels), "deviation": np.ones(channels)}
    read.emit(node, "norm", data, shape, **values)
    read.results[users[0].output[0]] = read.results[node.output[0]]


def norm(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if attributes.get("training_mode", 0) or len([name for name in node.output if name]) > 1:
        read.refuse("it is in training mode: export the model in evaluation mode")
    gamma, beta = (read.parameter(name, 1) for name in node.input[1:3])
    mean, variance = (read.arrays.get(name) for name in node.input[3:5])
    if mean is None or variance is None or (np.asarray(variance, np.float64) < 0).any():
        read.refuse("its running statistics are not constants of the model")
    before = read.shape_of(node.input[0])
    if any(len(array) != before[0] for array in (mean, variance)) or {gamma.count, beta.count} != {before[0]}:
        read.refuse(f"it has other channels than the data, {list(before)}")
    deviation = np.sqrt(np.asarray(variance, np.float64) + attributes.get("epsilon", 1e-5))
    statistics = {"mean": np.asarray(mean, np.float64), "deviation": deviation}
    read.emit(node, "norm", node.input[:1], before, gamma=gamma, beta=beta, **statistics)


# ---------------------------------------------------------------- ReLU and pooling


def relu(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    read.emit(node, "relu", node.input[:1], read.shape_of(node.input[0]))


def pool(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    kernel = tuple(attributes["kernel_shape"])
    shape = read.shape_of(node.input[0])
    whole = len(shape) == 3 and len(kernel) == 2 and shape[1] % kernel[0] == 0 and shape[2] % kernel[1] == 0
    if (
        len(node.output) > 1
        or tuple(attributes.get("strides", [1, 1])) != kernel
        or any(attributes.get("pads", [0]))
        or any(d != 1 for d in attributes.get("dilations", [1]))
        or not whole
    ):
        read.refuse("wanted windows that do not overlap and fill the input: stride = kernel, no padding")
    op = "maxpool" if node.op_type == "MaxPool" else "avgpool"
    size = (shape[0], shape[1] // kernel[0], shape[2] // kernel[1])
    read.emit(node, op, node.input[:1], size, pool=kernel)


def global_pool(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    shape = read.shape_of(node.input[0])
    if len(shape) != 3:
        read.refuse(f"wanted [batch, channels, height, width]: the data have shape {list(shape)}")
    read.emit(node, "avgpool", node.input[:1], (shape[0], 1, 1), pool=tuple(shape[1:]))


def mean(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    """A mean over height and width."""
    shape, axes = read.shape_of(node.input[0]), axes_of(read, node, attributes)
    if len(shape) != 3 or axes is None or {axis % 4 for axis in axes} != {2, 3}:
        read.refuse("wanted a mean over height and width of [batch, channels, height, width]")
    global_pool(read, node, attributes)
    if not attributes.get("keepdims", 1):
        read.reshaped(node, node.output[0], [read.graph.batch, shape[0]])


# ---------------------------------------------------------------- shapes


def axes_of(read: Reading, node: Any, attributes: dict[str, Any]) -> list[int] | None:
    """The axes of a node: an attribute once, an input today; None if they are not known."""
    if "axes" in attributes:
        return list(attributes["axes"])
    array = read.arrays.get(node.input[1]) if len(node.input) > 1 else None
    return None if array is None else [int(axis) for axis in np.asarray(array).reshape(-1)]


def reshape(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    whole = (read.graph.batch, *read.shape_of(node.input[0]))
    wanted: Sequence[int] | np.ndarray | None = None
    if node.op_type == "Flatten":
        axis = attributes.get("axis", 1)
        if axis not in (1, 1 - len(whole)):
            read.refuse(f"its axis is {axis}: wanted 1, which keeps the samples apart")
        wanted = [whole[0], -1]
    else:
        wanted = read.arrays.get(node.input[1])
    if wanted is None:
        read.refuse("its target is not known when the model is read")
    if attributes.get("allowzero", 0) and 0 in list(wanted):
        read.refuse("with allowzero = 1 its target's 0 makes an empty tensor")
    sizes = [whole[i] if size == 0 and i < len(whole) else int(size) for i, size in enumerate(wanted)]
    known = prod(size for size in sizes if size != -1)
    if known < 1 or prod(whole) % known:
        read.refuse(f"its target {sizes} does not fit the data, {list(whole)}")
    read.reshaped(node, node.input[0], [prod(whole) // known if size == -1 else size for size in sizes])


def squeeze(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    whole = [read.graph.batch, *read.shape_of(node.input[0])]
    axes = axes_of(read, node, attributes)
    if axes is None:
        read.refuse("its axes are not known when the model is read")
    gone = {axis % len(whole) for axis in axes}
    if 0 in gone or any(whole[axis] != 1 for axis in gone):
        read.refuse(f"it drops the axes {sorted(gone)} of {whole}: wanted axes of size 1, not the batch's")
    read.reshaped(node, node.input[0], [size for axis, size in enumerate(whole) if axis not in gone])


def unsqueeze(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    whole = [read.graph.batch, *read.shape_of(node.input[0])]
    axes = axes_of(read, node, attributes)
    if axes is None:
        read.refuse("its axes are not known when the model is read")
    for axis in sorted(axis % (len(whole) + len(axes)) for axis in axes):
        whole.insert(axis, 1)
    read.reshaped(node, node.input[0], whole)


def transpose(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    axes = len(read.shape_of(node.input[0])) + 1
    order = attributes.get("perm", range(axes)[::-1])
    if sorted(order) != list(range(axes)) or order[0] != 0 or axes > 4:
        read.refuse(f"its order is {list(order)}: wanted one that leaves the batch first, of at most 4 axes")
    read.transposed(node, node.input[0], [axis - 1 for axis in order[1:]])


# ---------------------------------------------------------------- ends of a model


def cast(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if attributes.get("to") not in FLOAT_TYPES:
        read.refuse("wanted a cast from floats to floats")
    read.same(node, attributes)


def softmax(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if len(read.shape_of(node.input[0])) != 1 or attributes.get("axis", 1) not in (1, -1):
        read.refuse("wanted it over the classes of [batch, classes]")
    finish(read, node, node.op_type)
    read.same(node, attributes)


def finish(read: Reading, node: Any, ending: str) -> None:
    """Drop a softmax at a model's end: the loss is made from what goes into it."""
    if not read.graph.is_last(read.output(node)):
        read.refuse("only a softmax at the model's end, which the loss makes itself, is dropped")
    read.ending = ending


def normalizer(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    """After a softmax, whose sum is 1."""
    if read.ending != "Softmax" or attributes.get("norm", b"MAX") != b"L1":
        read.refuse("wanted one of norm L1 after a softmax at the model's end, where it changes nothing")
    read.same(node, attributes)


def zip_map(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    if not read.graph.is_last(node.output[0]):
        read.refuse("wanted it at the model's end")
    read.same(node, attributes)


OPERATORS: dict[str, Operator] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Conv": conv,
    "Relu": relu,
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalAveragePool": global_pool,
    "ReduceMean": mean,
    "BatchNormalization": norm,
    "Flatten": reshape,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Identity": Reading.same,
    "Dropout": Reading.same,
    "Cast": cast,
    "Add": add,
    "Mul": scale,
    "LinearClassifier": linear_model,
    "LinearRegressor": linear_model,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "Normalizer": normalizer,
    "ZipMap": zip_map,
}
