"""A model as a list of layers: shapes, operators, patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..circuits.plan import View
from ..updates import ParameterLayout


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        op: linear, conv, norm, relu, maxpool, avgpool, reshape, transpose, add.
        name: of the ONNX node, for messages.
        inputs: indices of earlier results; 0 is the model's input, node i makes result i + 1.
        shape: of the result, without the batch: (features,) or (channels, height, width).
        attributes: views, kernel, stride, pads (top, left), order of axes, and arrays of constants.
    """

    op: str
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Network:
    """A model that can be proven.

    Attributes:
        input_shape: of one sample.
        nodes: in the order of evaluation; the last one makes the outputs, (n,).
        layout: of the parameters' vector.
        theta: (D,) float64, the parameters that the model was read with.
        ending: Softmax or LogSoftmax if the model ends in one; it is no node, the loss makes it.
        labels: what the model calls its outputs; empty if it does not say.
    """

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    layout: ParameterLayout
    theta: np.ndarray
    ending: str = ""
    labels: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        return self.nodes[-1].shape[0]

    def used(self) -> np.ndarray:
        """(D,) bool: which parameters have an influence on the outputs."""
        mask = np.zeros(self.layout.size, bool)
        for node in self.nodes:
            for view in node.attributes.values():
                if isinstance(view, View):
                    mask[view.offset : view.offset + view.count] = True
        return mask

    def evaluate(self, theta: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """(B, …) floats to (B, n) outputs, in float64."""
        theta = np.asarray(theta, np.float64)
        results = [np.asarray(inputs, np.float64).reshape(len(inputs), *self.input_shape)]
        for node in self.nodes:
            values = [results[index] for index in node.inputs]
            results.append(_EVALUATE[node.op](node, theta, *values).reshape(len(inputs), *node.shape))
        return results[-1]


# ---------------------------------------------------------------- evaluation, of floats or integers


def patches(
    x: np.ndarray, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int], out: Sequence[int]
) -> np.ndarray:
    """(B, C, H, W) to (B, out height · out width, C · kernel): what a convolution multiplies with its weight."""
    batch, channels, height, width = x.shape
    need = [(out[i] - 1) * stride[i] + kernel[i] for i in range(2)]
    wide = np.zeros((batch, channels, max(need[0], height + pads[0]), max(need[1], width + pads[1])), x.dtype)
    wide[:, :, pads[0] : pads[0] + height, pads[1] : pads[1] + width] = x
    parts = [
        wide[:, :, dy : dy + stride[0] * out[0] : stride[0], dx : dx + stride[1] * out[1] : stride[1]]
        for dy in range(kernel[0])
        for dx in range(kernel[1])
    ]
    stacked = np.stack(parts, 2)  # (B, C, kernel, oh, ow)
    return stacked.transpose(0, 3, 4, 1, 2).reshape(batch, out[0] * out[1], channels * len(parts))


def convolve(x: np.ndarray, weight: np.ndarray, attributes: dict[str, Any], shape: Sequence[int]) -> np.ndarray:
    """A convolution without its bias: (B, out channels, height, width)."""
    rows = patches(x, attributes["kernel"], attributes["stride"], attributes["pads"], shape[1:])
    product = rows @ weight.reshape(weight.shape[0], -1).T
    return np.asarray(product.transpose(0, 2, 1).reshape(len(x), *shape))


def windows(x: np.ndarray, pool: Sequence[int]) -> np.ndarray:
    """(B, C, H, W) to (B, C, H/ph, W/pw, ph · pw)."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // pool[0], pool[0], width // pool[1], pool[1])
    return cut.transpose(0, 1, 2, 4, 3, 5).reshape(*cut.shape[:3], cut.shape[4], -1)


def transpose(x: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Samples with their axes in another order."""
    return x.transpose(0, *(axis + 1 for axis in order))


def per_channel(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return values.reshape(-1, *[1] * (len(shape) - 1))


def _linear(node: Node, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _with_bias(node, theta, x @ node.attributes["weight"].of(theta).T)


def _conv(node: Node, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _with_bias(node, theta, convolve(x, node.attributes["weight"].of(theta), node.attributes, node.shape))


def _with_bias(node: Node, theta: np.ndarray, value: np.ndarray) -> np.ndarray:
    bias = node.attributes.get("bias")
    return value if bias is None else value + per_channel(bias.of(theta), node.shape)


def _norm(node: Node, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    mean, deviation = (per_channel(node.attributes[name], node.shape) for name in ("mean", "deviation"))
    gamma, beta = (per_channel(node.attributes[name].of(theta), node.shape) for name in ("gamma", "beta"))
    return np.asarray((x - mean) / deviation * gamma + beta)


_EVALUATE: dict[str, Callable[..., np.ndarray]] = {
    "linear": _linear,
    "conv": _conv,
    "norm": _norm,
    "relu": lambda node, theta, x: np.maximum(x, 0),
    "maxpool": lambda node, theta, x: windows(x, node.attributes["pool"]).max(-1),
    "avgpool": lambda node, theta, x: windows(x, node.attributes["pool"]).mean(-1),
    "reshape": lambda node, theta, x: x,
    "transpose": lambda node, theta, x: transpose(x, node.attributes["order"]),
    "add": lambda node, theta, x, y: x + y,
}
