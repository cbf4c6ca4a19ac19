"""A user's model as a list of a few operations: read from ONNX or a torch module, and evaluated in floats.

The front end knows the operations that the utility circuit can prove. Everything else is refused, all at once, with
operators and names of nodes: a model is never evaluated as something that it is not.

Parameters lie in one vector in the order of `learning.layout_of` (a module's trained parameters, or an ONNX file's
tensors of floats), which is the order of every update. A weight is a *view* of that vector. A batch-norm's running
statistics are not in it: they are taken as they are when the model is read, as constants of the circuit.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..circuits.plan import View
from ..errors import InputError
from ..learning import initial_parameters, load_model, load_onnx
from ..updates import ParameterLayout
from .graph import FLOAT_TYPES, graph_of
from .layers import Network
from .operators import OPERATORS
from .reading import Reading
from .refusals import Refusal, Refused, refusal


def read_network(text: str, input_shape: Sequence[int], output: str | None = None) -> Network:
    """The model that `FILE.onnx` or `package.module:factory[,key=value…]` names, for samples of this shape.

    Args:
        output: name of an ONNX file's output, or of a value inside, that holds the scores; None if there is but one.

    Raises InputError naming all operators and nodes that cannot be proven.
    """
    layout, theta = initial_parameters(text)
    if text.endswith(".onnx"):
        return network_of(Path(text), input_shape, layout, theta, output)
    if output is not None:
        raise InputError(f"{text} is no ONNX file: a torch module has one output, without a name")
    model = load_model(text)
    tensors = layout.unflatten(theta)
    return network_of_module(model, input_shape, layout, theta, tensors)


def network_of_module(
    model: Any, input_shape: Sequence[int], layout: ParameterLayout, theta: np.ndarray, tensors: dict[str, Any]
) -> Network:
    """The network of a torch module, in evaluation mode, with these parameters; its buffers are taken as they are."""
    import torch

    model.load_state_dict({name: torch.as_tensor(np.array(value)) for name, value in tensors.items()}, strict=False)
    if any(weight.dtype != torch.float32 for weight in model.parameters()):
        model = copy.deepcopy(model).float()  # the exporter is asked for operators, values are theta's
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


def network_of(
    path: Path, input_shape: Sequence[int], layout: ParameterLayout, theta: np.ndarray, output: str | None = None
) -> Network:
    """The network of an ONNX file, whose parameters are tensors of the layout."""
    graph = graph_of(load_onnx(path), output)
    sizes = graph.sizes
    if len(sizes) != len(input_shape) + 1 or any(
        size not in (0, wanted) for size, wanted in zip(sizes[1:], input_shape, strict=True)
    ):
        raise InputError(f"the model takes {list(sizes[1:])} (0: any) a sample: the data have {list(input_shape)}")
    read, refusals = Reading(graph, tuple(input_shape), layout), []
    for node in graph.nodes:
        try:
            _read_node(read, node)
        except Refused as error:
            refusals.append(Refusal(node, str(error)))
            read.unknown |= set(node.output)
    if refusals:
        raise refusal(graph, refusals)
    if graph.output not in read.results or not read.nodes or read.results[graph.output] != len(read.nodes):
        raise InputError("the model's output is not the last result that is computed from its input")
    if len(read.nodes[-1].shape) != 1 or read.nodes[-1].shape[0] < 1:
        raise InputError(f"the model's output is one vector a sample: got shape {list(read.nodes[-1].shape)}")
    return Network(tuple(input_shape), tuple(read.nodes), layout, theta, read.ending, graph.labels)


# ---------------------------------------------------------------- one node


def _read_node(read: Reading, node: Any) -> None:
    """Add a node to what is read; Refused if it cannot be proven."""
    from onnx import helper

    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if read.unknown & set(node.input):
        _read_unknown(read, node)
    elif not read.results.keys() & set(node.input):
        _read_constant(read, node, attributes)
    elif node.op_type == "Shape":
        sizes = [read.graph.batch, *read.shape_of(node.input[0])]
        read.arrays[node.output[0]] = np.array(sizes[attributes.get("start", 0) : attributes.get("end")])
    elif node.op_type not in OPERATORS:
        raise Refused
    else:
        OPERATORS[node.op_type](read, node, attributes)


def _read_unknown(read: Reading, node: Any) -> None:
    """A node after one that was refused: what can be said of it without shapes."""
    if node.op_type == "Shape":
        return
    data = [name for name in node.input if name in read.unknown or name in read.results]
    products = node.op_type in ("MatMul", "Gemm", "Mul") and len(data) > 1
    if node.op_type not in OPERATORS or products:
        raise Refused("it multiplies two results" if products else "")
    if node.op_type == "Softmax" and not read.graph.is_last(node.output[0]):
        raise Refused("it is not at the model's end")
    read.unknown |= set(node.output)


def _read_constant(read: Reading, node: Any, attributes: dict[str, Any]) -> None:
    """What does not depend on data: constants, and parameters in another order of axes or another shape."""
    from onnx import numpy_helper

    source, made = node.input[0] if node.input else "", node.output[0]
    if node.op_type == "Constant":
        tensor = attributes.get("value")
        value = next(iter(attributes.values())) if tensor is None else numpy_helper.to_array(tensor)
        read.arrays[made] = np.asarray(value)
    elif node.op_type == "Transpose" and source in read.views:
        view = read.views[source]
        read.views[made] = view.transposed(attributes.get("perm", range(len(view.sizes))[::-1]))
    elif node.op_type in ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze") and source in read.views:
        view = read.views[source]
        array = _computed(read, node)
        floats = node.op_type != "Cast" or attributes.get("to") in FLOAT_TYPES
        if array is not None and floats and list(view.order) == sorted(view.order):
            read.views[made] = View(view.offset, array.shape, tuple(range(array.ndim)))
            read.arrays[made] = array
    elif node.op_type == "Identity" and source in read.arrays:
        read.arrays[made] = read.arrays[source]  # a running statistic
    elif all(read.arrays[name].dtype.kind in "iub" for name in node.input if name in read.arrays):
        array = _computed(read, node)  # a target of a reshape
        if array is not None:
            read.arrays[made] = array


def _computed(read: Reading, node: Any) -> np.ndarray | None:
    """What a node makes of constants; None where it needs more than those."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    given = {name: read.arrays[name] for name in node.input if name in read.arrays}
    if any(name and name not in given for name in node.input) or len(node.output) != 1:
        return None
    values = [helper.make_tensor_value_info(name, 0, None) for name in given]
    graph = helper.make_graph([node], "constant", values, [helper.make_tensor_value_info(node.output[0], 0, None)])
    model = helper.make_model(graph, opset_imports=read.graph.opsets)
    try:
        results: Any = ReferenceEvaluator(model).run(None, given)
        return np.asarray(results[0])
    except Exception:  # an operator that the evaluator does not know: then the node that needs it says so
        return None
