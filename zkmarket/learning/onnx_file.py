"""What can be trained in an ONNX file: its tensors of floats, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

FLOATS = ("float16", "bfloat16", "float32", "float64")
LINEAR_MODELS = ("LinearClassifier", "LinearRegressor")
"""Operators of ai.onnx.ml, scikit-learn's, that keep their weights in attributes."""


def load_onnx(path: Path) -> Any:
    """The model of an ONNX file, with the tensors that lie in files beside it."""
    import onnx

    if not path.is_file():
        raise InputError(f"no model at {path}")
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's own exceptions, and a file beside it that is missing
        raise InputError(f"{path} is not an ONNX model: {error}") from error


def trained_tensors(model: Any) -> dict[str, np.ndarray]:
    """Every tensor of floats, in the file's order, then the weights of linear models.

    An ONNX file does not say what is trained. The running statistics of a batch-norm are not: nobody's gradient
    moves them.
    """
    from onnx import numpy_helper

    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    tensors = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    out = {name: array for name, array in tensors.items() if str(array.dtype) in FLOATS and name not in statistics}
    for node in model.graph.node:
        if node.op_type in LINEAR_MODELS:
            out |= linear_weights(node)
    return out


def linear_weights(node: Any) -> dict[str, np.ndarray]:
    """`NODE.coefficients` (outputs, features) and `NODE.intercepts` (outputs,) of a linear model, float32."""
    from onnx import helper

    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    name = node.name or node.output[-1]
    coefficients = np.array(attributes.get("coefficients", ()), np.float32)
    intercepts = np.array(attributes.get("intercepts", ()), np.float32)
    rows = len(intercepts) or len(attributes.get("classlabels_ints") or attributes.get("classlabels_strings") or [0])
    if not len(coefficients) or len(coefficients) % rows:
        raise InputError(f"{node.op_type} at node {name} has {len(coefficients)} coefficients for {rows} outputs")
    out = {f"{name}.coefficients": coefficients.reshape(rows, -1)}
    return out | ({f"{name}.intercepts": intercepts} if len(intercepts) else {})
