"""Files as exporters write them, in tests/support/onnx with the script that made them: read as what they compute, or
refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from zkmarket.errors import InputError
from zkmarket.learning import Dataset, layout_of
from zkmarket.networks import SUPPORTED, Network, Sizes, make_plan, read_network
from zkmarket.utility import compile as compiling

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[1] / "support" / "onnx"
REFUSED = {
    "torch-legacy-lstm-static": r"LSTM: LSTM at node /lstm/LSTM",
    "torch-dynamo-lstm-static": r"LSTM: LSTM at node node_lstm__2",
    "torch-legacy-transformer-static": r"LayerNorm: LayerNormalization at node /block/norm1.* node /block/norm2.*"
    r"attention: MatMul at node \S+ \(it multiplies two results\), Softmax at node \S+ .*, MatMul at node",
    "torch-dynamo-transformer-static": r"LayerNorm: LayerNormalization at .*attention: MatMul at .*Softmax at .*MatMul",
    "sklearn-logistic-two-zipmap": r"LinearClassifier at node LinearClassifier \(its post_transform is LOGISTIC",
    "sklearn-logistic-other-classes-zipmap": r"the model's classes are 1, 3, 5: number them 0, 1, …",
}
READ = sorted({path.stem for path in FOLDER.glob("*.onnx")} - set(REFUSED))


def shape_of(model: Any) -> list[int]:
    """Of the input, 0 where any size fits."""
    return [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]


def read(name: str) -> tuple[Any, Network]:
    model = onnx.load(str(FOLDER / f"{name}.onnx"))
    return model, read_network(str(FOLDER / f"{name}.onnx"), shape_of(model)[1:])


def outputs_of(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the file computes, by somebody else's program; a ZipMap's rows as an array."""
    names, feed = [item.name for item in model.graph.output], {model.graph.input[0].name: x}
    try:
        from onnxruntime import InferenceSession

        values = InferenceSession(model.SerializeToString()).run(None, feed)
    except Exception:  # it is not installed, or has no convolution of doubles
        values = ReferenceEvaluator(without_maps(model)).run(None, feed)
    rows = [[list(row.values()) for row in value] if isinstance(value, list) else value for value in values]
    return dict(zip(names, map(np.asarray, rows), strict=True))


def without_maps(model: Any) -> Any:
    """The reference evaluator has no ZipMap, which gives names to columns."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for node in out.graph.node:
        if node.op_type == "ZipMap":
            node.CopyFrom(helper.make_node("Identity", list(node.input), list(node.output)))
    return out


def samples(model: Any, count: int = 5) -> np.ndarray:
    sizes, kind = shape_of(model), model.graph.input[0].type.tensor_type.elem_type
    x = np.random.default_rng(3).normal(size=(sizes[0] or count, *sizes[1:]))
    return x.astype(helper.tensor_dtype_to_np_dtype(kind))


def test_every_exporter_is_here():
    assert len(READ) >= 45
    for exporter in ("torch-legacy", "torch-dynamo", "tf2onnx"):
        for model in ("mlp", "cnn", "mlp-softmax"):
            assert {f"{exporter}-{model}-static", f"{exporter}-{model}-dynamic"} <= set(READ)
    for name in ("sklearn-mlp-zipmap", "sklearn-mlp-tensor", "sklearn-logistic-zipmap", "keras-mlp", "keras-cnn"):
        assert name in READ
    assert sum(path.stat().st_size for path in FOLDER.glob("*.onnx")) < 150_000


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_what_it_computes(name: str):
    model, network = read(name)
    x = samples(model)
    found, made = outputs_of(model, x), network.evaluate(network.theta, x)
    (scores,) = (value for value in found.values() if value.dtype.kind == "f" and value.ndim == 2)
    if network.ending:
        made = np.exp(made - np.log(np.exp(made).sum(1, keepdims=True)))
        made = np.log(made) if network.ending == "LogSoftmax" else made
    assert made.shape == scores.shape
    assert np.allclose(made, scores, atol=2e-3 if x.dtype == np.float16 else 1e-5)
    for labels in found.values():
        if labels.ndim == 1:  # a label is the place of the largest score
            assert [network.labels[place] for place in made.argmax(1)] == [str(label) for label in labels.tolist()]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_proven_is_refused_by_the_name_that_people_know(name: str):
    with pytest.raises(InputError, match=REFUSED[name]) as error:
        read(name)
    assert "classes are" in str(error.value) or str(error.value).endswith(f"The circuit knows {SUPPORTED}")


@pytest.mark.parametrize(
    "name",
    [
        "torch-dynamo-cnn-dynamic",
        "sklearn-mlp-zipmap",
        "sklearn-logistic-tensor",
        "keras-cnn-norm",
        "keras-cnn-colours",
    ],
)
def test_a_file_is_compiled(name: str):
    """Its integers say what its floats say."""
    model, network = read(name)
    x = samples(model, 40)
    data = Dataset.of(np.asarray(x, np.float32), np.arange(len(x)) % network.outputs)
    sizes = Sizes(
        logrows=10, salts=8, scale_bits=9, theta_bits=4, batch=4, loss="cross-entropy", proofs=8, input_bits=8,
        activation_bits=12, input_bound=1 << 10, theta_bound=1 << 16,
    )  # fmt: skip
    found = compiling.judge(make_plan(network, sizes), network, network.theta, data)
    assert found.within(0.06)


def test_a_half_and_a_double_file_have_layouts_of_their_own():
    for name, dtype in (("half-opset20", "float16"), ("double-opset11", "float64"), ("norm-dynamic", "float32")):
        layout = layout_of(str(FOLDER / f"torch-legacy-cnn-{name}.onnx"))
        assert set(layout.dtypes) == {dtype} and not any("running" in one for one in layout.names)
    assert "norm.weight" in layout.names
    linear = layout_of(str(FOLDER / "sklearn-logistic-zipmap.onnx"))
    assert linear.names == ("LinearClassifier.coefficients", "LinearClassifier.intercepts")
    assert linear.shapes == ((3, 8), (3,))


# ---------------------------------------------------------------- outputs


def test_an_output_is_chosen_by_name():
    path = str(FOLDER / "sklearn-mlp-zipmap.onnx")
    whole, scores = read_network(path, (8,)), read_network(path, (8,), "add_result1")
    assert (whole.ending, scores.ending) == ("Softmax", "")
    x = np.random.default_rng(0).normal(size=(3, 8))
    assert np.array_equal(whole.evaluate(whole.theta, x), scores.evaluate(scores.theta, x))
    hidden = read_network(path, (8,), "next_activations")
    assert hidden.outputs == 6 and not hidden.used().all()  # the last layer is in the layout, and of no influence
    with pytest.raises(InputError, match="no output 'scores': its outputs are output_label, output_probability"):
        read_network(path, (8,), "scores")
    with pytest.raises(InputError, match="ArgMax at node ArgMax.*ArrayFeatureExtractor"):
        read_network(path, (8,), "output_label")
    with pytest.raises(InputError, match="'label' holds labels: wanted scores"):
        read_network(str(FOLDER / "sklearn-logistic-tensor.onnx"), (8,), "label")
    with pytest.raises(InputError, match="is no ONNX file"):
        read_network("zkmarket.learning:digits_mlp", (64,), "scores")


def test_two_outputs_of_floats_want_a_name(tmp_path: Path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("MatMul", ["x", "v"], ["z"])]
    path = write(tmp_path, nodes, {"w": np.eye(3), "v": 2 * np.eye(3)}, outputs=("y", "z"))
    with pytest.raises(InputError, match="2 outputs of floats, y, z; name the one .*--output-name"):
        read_network(path, (3,))
    network = read_network(path, (3,), "z")
    assert network.evaluate(network.theta, np.ones((1, 3))).tolist() == [[2, 2, 2]]
    assert network.used().tolist() == [False] * 9 + [True] * 9


def test_mean_squares_do_not_drop_a_softmax():
    network = read("sklearn-mlp-zipmap")[1]
    compiling.check_ending(network, "cross-entropy")
    with pytest.raises(InputError, match="ends in Softmax, .* --output-name"):
        compiling.check_ending(network, "mse")


# ---------------------------------------------------------------- single nodes


def write(
    folder: Path,
    nodes: list[Any],
    tensors: dict[str, np.ndarray],
    shape: tuple[int, ...] = (3,),
    outputs: tuple[str, ...] = ("z",),
    constants: dict[str, np.ndarray] | None = None,
) -> str:
    arrays = {name: np.asarray(value, np.float32) for name, value in tensors.items()} | (constants or {})
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph), str(folder / "m.onnx"))
    return str(folder / "m.onnx")


def agree(path: str, shape: tuple[int, ...]) -> Network:
    """The network, which computes what the file computes."""
    network, model = read_network(path, shape), onnx.load(path)
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.allclose(network.evaluate(network.theta, x), wanted, atol=1e-5)
    return network


@pytest.mark.parametrize("bias", [(2,), (1, 2)])
def test_a_bias_may_have_axes_of_size_one(tmp_path: Path, bias: tuple[int, ...]):
    w, b = np.arange(6).reshape(3, 2), np.ones(bias)
    agree(write(tmp_path, [helper.make_node("Gemm", ["x", "w", "b"], ["z"])], {"w": w, "b": b}), (3,))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["b", "y"], ["z"])]
    agree(write(tmp_path, nodes, {"w": w, "b": b}), (3,))


@pytest.mark.parametrize("bias", [(2, 1, 1), (1, 2, 1, 1)])
def test_a_convolution_takes_its_bias_from_an_add(tmp_path: Path, bias: tuple[int, ...]):
    tensors = {"w": np.random.default_rng(0).normal(size=(2, 1, 2, 2)), "b": np.array([1.0, -2]).reshape(bias)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "b"], ["t"]),
        helper.make_node("Flatten", ["t"], ["z"]),
    ]
    network = agree(write(tmp_path, nodes, tensors, (1, 3, 3)), (1, 3, 3))
    assert [node.op for node in network.nodes] == ["conv", "reshape"]
    tensors["b"] = np.ones((1, 1, 1, 2))  # along the width
    with pytest.raises(InputError, match=r"'b' has the shape \[1, 1, 1, 2\]: wanted \[2, 1, 1\]"):
        read_network(write(tmp_path, nodes, tensors, (1, 3, 3)), (1, 3, 3))


@pytest.mark.parametrize("pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_that_is_named(tmp_path: Path, pad: str, stride: int):
    w = np.random.default_rng(0).normal(size=(2, 1, 2, 3))
    conv = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=pad, strides=[stride, stride])
    agree(write(tmp_path, [conv, helper.make_node("Flatten", ["y"], ["z"])], {"w": w}, (1, 5, 6)), (1, 5, 6))


def test_casts_between_floats_and_changes_of_shape(tmp_path: Path):
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["b", "one"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["d", "last"], ["e"]),
        helper.make_node("Transpose", ["e"], ["f"], perm=[0, 2, 1]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["g", "w"], ["z"]),
    ]
    half = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float16)
    constants = {"one": np.array([1]), "last": np.array([3]), "half": half}
    network = agree(write(tmp_path, nodes, {}, (2, 3), constants=constants), (2, 3))
    assert network.layout.dtypes == ("float16",)
    assert [node.op for node in network.nodes] == ["reshape", "reshape", "reshape", "transpose", "reshape", "linear"]


@pytest.mark.parametrize(
    ("node", "tensors", "reason"),
    [
        (helper.make_node("Reshape", ["y", "zero"], ["z"], allowzero=1), {}, "Reshape at .* allowzero = 1"),
        (helper.make_node("Reshape", ["y", "odd"], ["z"]), {}, r"Reshape at .*its target \[-1, 4\] does not fit"),
        (helper.make_node("Cast", ["y"], ["z"], to=TensorProto.INT64), {}, "Cast at .* from floats to floats"),
        (helper.make_node("Flatten", ["y"], ["z"], axis=0), {}, "Flatten at .*its axis is 0"),
        (helper.make_node("Transpose", ["y"], ["z"], perm=[1, 0]), {}, "Transpose at .* leaves the batch first"),
        (helper.make_node("Squeeze", ["y", "first"], ["z"]), {}, "Squeeze at .* not the batch's"),
        (helper.make_node("Mul", ["y", "v"], ["z"]), {"v": np.ones(3)}, "Mul at .* a factor for each channel"),
        (helper.make_node("ReduceMean", ["y", "first"], ["z"]), {}, "ReduceMean at .* over height and width"),
        (helper.make_node("Add", ["y", "v"], ["z"]), {"v": np.ones((3, 3))}, r"Add at .*'v' has the shape \[3, 3\]"),
        (helper.make_node("MatMul", ["y", "x"], ["z"]), {}, "MatMul at .* a parameter as the second"),
    ],
)
def test_what_a_node_may_not_be(tmp_path: Path, node: Any, tensors: dict[str, np.ndarray], reason: str):
    constants = {"zero": np.array([0, 3]), "odd": np.array([-1, 4]), "first": np.array([0])}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), node]
    with pytest.raises(InputError, match=reason):
        read_network(write(tmp_path, nodes, {"w": np.eye(3), **tensors}, constants=constants), (3,))


def test_a_zero_of_a_target_is_a_size_that_stays(tmp_path: Path):
    nodes = [helper.make_node("Reshape", ["x", "same"], ["y"]), helper.make_node("MatMul", ["y", "w"], ["z"])]
    agree(write(tmp_path, nodes, {"w": np.eye(3)}, constants={"same": np.array([0, 0])}), (3,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter
@pytest.mark.parametrize("version", [11, 13, 17])
def test_a_layer_norm_is_named_however_it_is_written(tmp_path: Path, version: int):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)).eval()
    path = tmp_path / "m.onnx"
    torch.onnx.export(model, (torch.zeros(1, 4),), str(path), dynamo=False, opset_version=version)
    with pytest.raises(InputError, match="the model cannot be proven: LayerNorm: "):
        read_network(str(path), (4,))


def test_a_file_beside_the_file_that_is_missing(tmp_path: Path):
    model = onnx.load(str(FOLDER / "torch-dynamo-mlp-dynamic.onnx"))
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="m.data", size_threshold=0)
    assert read_network(str(path), (8,)).outputs == 3
    (tmp_path / "m.data").unlink()
    with pytest.raises(InputError, match=re.escape(f"{path} is not an ONNX model")):
        read_network(str(path), (8,))
