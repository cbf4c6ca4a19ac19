"""The front end: what is read is what torch computes; what cannot be proven is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tests.circuits.utility_nets import NETS, module_of, network_named
from zkmarket import learning
from zkmarket.errors import InputError
from zkmarket.networks import Network, network_of, network_of_module, read_network
from zkmarket.updates import ParameterLayout

pytestmark = pytest.mark.unit


def network_of_torch(model: nn.Module, shape: tuple[int, ...]) -> Network:
    tensors = learning.trained_parameters(model)
    layout = ParameterLayout.of(tensors)
    theta = layout.flatten(tensors)
    return network_of_module(model, shape, layout, theta, layout.unflatten(theta))


class View(nn.Module):
    """A reshape whose target is computed, and a product whose bias is added."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x.view(x.size(0), -1), self.weight) + self.bias


@pytest.mark.parametrize("name", NETS)
def test_a_network_computes_what_torch_computes(name: str):
    network, shape = network_named(name), NETS[name][1]
    x = torch.randn(7, *shape)
    with torch.no_grad():
        wanted = module_of(name)(x).numpy()
    assert np.allclose(network.evaluate(network.theta, x.numpy()), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (View(), (2, 2, 2)),
        (nn.Sequential(nn.Unflatten(1, (2, 4, 2)), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.5)), (16,)),
        (nn.Sequential(nn.Conv2d(1, 2, (2, 3), stride=(1, 2), padding=(1, 0)), nn.ReLU(), nn.Flatten()), (1, 5, 6)),
    ],
)
def test_shapes_and_biases(model: nn.Module, shape: tuple[int, ...]):
    if not list(model.parameters()):
        model.append(nn.Linear(4, 2))
    model.eval()
    network, x = network_of_torch(model, shape), torch.randn(3, *shape)
    with torch.no_grad():
        assert np.allclose(network.evaluate(network.theta, x.numpy()), model(x).numpy(), atol=1e-5)


def test_parameters_are_in_the_order_of_the_layout():
    """θ is an update's vector: a value moved in the vector moves in the tensor of that name."""
    network = network_named("residual")
    tensors = network.layout.unflatten(network.theta + 1)
    model = NETS["residual"][0]().eval()
    model.load_state_dict({name: torch.as_tensor(value) for name, value in tensors.items()})
    with torch.no_grad():  # running statistics are constants of the network
        for name in ("running_mean", "running_var"):
            getattr(model.norm, name).copy_(getattr(module_of("residual").norm, name))
        x = torch.randn(2, 1, 4, 4)
        assert np.allclose(network.evaluate(network.theta + 1, x.numpy()), model(x).numpy(), atol=1e-3)
    used = network.layout.unflatten(network.used().astype(float))
    assert all(used[name].min() == 1 for name in ("first.weight", "norm.weight", "second.weight", "last.bias"))
    assert all(used[name].max() == 0 for name in ("norm.running_mean", "norm.running_var"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter that ezkl was tried with
def test_factories_and_files_are_read(tmp_path: Path):
    network = read_network("zkmarket.learning:digits_cnn,channels=2", (64,))
    assert [node.op for node in network.nodes][:4] == ["reshape", "conv", "relu", "maxpool"]
    assert network.layout == learning.layout_of("zkmarket.learning:digits_cnn,channels=2")
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        module_of("mlp"),
        (torch.zeros(2, 6),),
        str(path),
        dynamo=False,
        opset_version=17,
        dynamic_axes={"x": {0: "batch"}},
        input_names=["x"],
    )
    read, made = read_network(str(path), (6,)), network_named("mlp")
    assert np.array_equal(read.theta, made.theta) and read.layout.shapes == made.layout.shapes
    x = np.random.default_rng(0).normal(size=(4, 6))
    assert np.allclose(read.evaluate(read.theta, x), made.evaluate(made.theta, x))


def test_running_statistics_are_constants_and_no_parameters():
    network = network_of_torch(NETS["residual"][0]().eval(), (1, 4, 4))
    assert not any("running" in name or "tracked" in name for name in network.layout.names) and network.used().all()
    (norm,) = (node for node in network.nodes if node.op == "norm")
    assert np.allclose(norm.attributes["mean"], [0.1, -0.2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_of_any_floats_is_read(dtype: torch.dtype):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(dtype).eval()
    network, x = network_of_torch(model, (4,)), torch.randn(5, 4)
    assert next(model.parameters()).dtype == dtype
    with torch.no_grad():
        wanted = model.float()(x).numpy()
    assert np.allclose(network.evaluate(network.theta, x.numpy()), wanted, atol=1e-5)


def test_frozen_weights_are_refused():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    with pytest.raises(
        InputError, match="Gemm at node /0/Gemm .its weight '0.weight' is not a parameter that is trained"
    ):
        network_of_torch(model.eval(), (4,))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.keys, self.values = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.keys(x), -1) * self.values(x)


class Gated(nn.Module):
    """Everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x)) * torch.sigmoid(self.gate(x))
        return torch.relu(self.last(nn.functional.softplus(x))).exp()


def test_all_that_cannot_be_proven_is_said_at_once():
    with pytest.raises(InputError) as error:
        network_of_torch(Gated().eval(), (4,))
    for operator in ("Tanh", "Sigmoid", "Mul", "Softplus", "Exp"):
        assert f"{operator} at node /{operator}" in str(error.value)
    assert "Relu at node" not in str(error.value) and "The circuit knows Gemm, MatMul, Conv, Add" in str(error.value)


@pytest.mark.parametrize(
    ("model", "shape", "operator"),
    [
        (Attention(), (4,), "Softmax"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), "LayerNormalization"),
        (nn.Sequential(nn.Linear(4, 4), nn.GELU()), (4,), "Erf|Div"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (4,), "Tanh"),
        (nn.Sequential(nn.Conv2d(2, 2, 2, groups=2), nn.Flatten()), (2, 3, 3), "Conv at node .*group = 1"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(3, 1), nn.Flatten()), (1, 5, 5), "MaxPool at node .*overlap"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), nn.AvgPool2d(2, padding=1), nn.Flatten()), (1, 5, 5), "AveragePool at node"),
        (nn.Sequential(nn.Conv2d(1, 2, 2)), (1, 5, 5), "output is one vector"),
    ],
)
def test_what_cannot_be_proven_is_refused_by_name(model: nn.Module, shape: tuple[int, ...], operator: str):
    with pytest.raises(InputError, match=operator):
        network_of_torch(model.eval(), shape)


def test_samples_of_another_shape_are_refused():
    with pytest.raises(InputError, match="does not export with samples of shape"):
        network_of_torch(module_of("mlp"), (5,))
    with pytest.raises(InputError, match="one input and one output"):
        _write_and_read([helper.make_node("Add", ["x", "y"], ["z"])], ["x", "y"], {})


def test_odd_products_are_refused(tmp_path: Path):
    weight = np.ones((3, 3), np.float32)
    for attributes, reason in (({"alpha": 2.0}, "alpha = beta = 1"), ({"transA": 1}, "not transposed")):
        with pytest.raises(InputError, match=reason):
            _write_and_read([helper.make_node("Gemm", ["x", "w"], ["z"], **attributes)], ["x"], {"w": weight})
    with pytest.raises(InputError, match="a parameter is added to what is no matrix product"):
        nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Add", ["y", "w"], ["z"])]
        _write_and_read(nodes, ["x"], {"w": weight[0]})
    with pytest.raises(InputError, match="its weight takes"):
        _write_and_read([helper.make_node("MatMul", ["x", "w"], ["z"])], ["x"], {"w": np.ones((4, 2), np.float32)})


def _write_and_read(nodes: list, inputs: list[str], tensors: dict[str, np.ndarray]) -> Network:
    import tempfile

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in inputs],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    layout = ParameterLayout.of(tensors or {"w": np.ones(1, np.float32)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx.save(helper.make_model(graph), str(path))
        return network_of(path, (3,), layout, np.zeros(layout.size))
