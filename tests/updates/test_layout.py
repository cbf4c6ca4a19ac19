"""ParameterLayout: any model's parameters as one vector and back, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zkmarket.errors import InputError
from zkmarket.updates import ParameterLayout

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(3)
TENSORS = {
    "weight": RNG.normal(size=(2, 3)).astype(np.float32),
    "bias": RNG.normal(size=3).astype(np.float16),
    "scale": np.float64(1) / 3,
    "empty": np.zeros((0, 4), np.float32),
    "steps": np.array(2**53, np.int64),
    "flags": np.array([True, False]),
}


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(array)
    return str(array.dtype), array.shape, array.tobytes()


def round_trip(tensors: dict) -> dict[str, np.ndarray]:
    layout = ParameterLayout.of(tensors)
    return layout.unflatten(layout.flatten(tensors))


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_come_back_bit_for_bit(dtype: str):
    """Smallest, subnormal, largest, negative zero, and values that no shorter type holds."""
    info = np.finfo(dtype)
    edges = np.array([info.tiny, info.smallest_subnormal, info.max, info.min, -0.0, 1 + info.eps, 0.1], dtype)
    assert bits(round_trip({"w": edges})["w"]) == bits(edges)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "bool"])
def test_small_integers_come_back_bit_for_bit(dtype: str):
    edges = np.array([0, 1] if dtype == "bool" else [np.iinfo(dtype).min, 1, np.iinfo(dtype).max], dtype)
    assert bits(round_trip({"n": edges})["n"]) == bits(edges)


def test_int64_counters_come_back_as_long_as_float64_holds_them():
    counters = np.array([0, -1, 2**53, -(2**53)], np.int64)
    assert bits(round_trip({"n": counters})["n"]) == bits(counters)
    for beyond in (2**53 + 2, -(2**53) - 2, 2**63 - 1, -(2**63)):
        with pytest.raises(InputError, match=r"n: an integer beyond 2\^53 has no exact float"):
            round_trip({"n": np.array([beyond], np.int64)})


@pytest.mark.parametrize("beyond", [2**53 + 1, -(2**53) - 1])
def test_the_first_int64_that_is_not_exact_is_refused(beyond: int):
    with pytest.raises(InputError, match=r"n: an integer beyond 2\^53 has no exact float"):
        round_trip({"n": np.array([beyond], np.int64)})


def test_bfloat16_comes_back_as_the_float32_that_holds_it():
    edges = torch.tensor([1.0, -0.0, 0.1, 3e38, 1e-40], dtype=torch.bfloat16)
    assert ParameterLayout.of({"w": edges}).dtypes == ("bfloat16",)
    back = round_trip({"w": edges})["w"]
    assert bits(back) == bits(edges.float().numpy())
    assert torch.equal(torch.from_numpy(back).to(torch.bfloat16).view(torch.int16), edges.view(torch.int16))


def test_a_mixed_model_lies_in_the_vector_in_its_own_order():
    layout = ParameterLayout.of(TENSORS)
    assert layout.offsets == (0, 6, 9, 10, 10, 11, 13)
    assert layout.size == 13
    assert layout.dtypes == ("float32", "float16", "float64", "float32", "int64", "bool")
    vector = layout.flatten(TENSORS)
    assert (vector.dtype, vector[9], vector[10]) == (np.float64, 1 / 3, 2**53)
    back = layout.unflatten(vector)
    assert list(back) == list(TENSORS)
    assert {name: bits(value) for name, value in back.items()} == {name: bits(v) for name, v in TENSORS.items()}


def test_a_real_state_dict_comes_back_into_its_model():
    """Convolution, batch norm with its int64 counter, and parameters that require a gradient."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(4, 2))
    model(torch.randn(3, 1, 6, 6))  # moves the running statistics and the counter
    layout = ParameterLayout.of(model.state_dict())
    assert "1.num_batches_tracked" in layout.names
    back = layout.unflatten(layout.flatten(dict(model.state_dict(keep_vars=True))))
    assert {name: bits(value) for name, value in back.items()} == {
        name: bits(value.numpy()) for name, value in model.state_dict().items()
    }
    model.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in back.items()})


def test_a_layout_survives_json():
    layout = ParameterLayout.of(TENSORS)
    assert ParameterLayout.from_json(layout.to_json()) == layout
    assert layout.to_json()[0] == {"name": "weight", "shape": [2, 3], "dtype": "float32"}
    assert layout.to_json()[2] == {"name": "scale", "shape": [], "dtype": "float64"}


def test_fractions_for_an_integer_tensor_are_rounded():
    """A mean of counters need not be whole."""
    layout = ParameterLayout.of({"n": np.array([1, 2, 3], np.int64)})
    assert layout.unflatten(np.array([1.4, 1.6, -2.5]))["n"].tolist() == [1, 2, -2]


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": TENSORS["weight"].T}, r"weight: got float32\[3, 2\], wanted float32\[2, 3\]"),
        ({"weight": TENSORS["weight"].astype(np.float64)}, r"weight: got float64\[2, 3\], wanted float32\[2, 3\]"),
        ({"other": np.ones(1)}, "tensors are not those of the layout: got .*'other'"),
        ({"scale": np.ones(1)}, r"scale: got float64\[1\], wanted float64\[\]"),
    ],
)
def test_another_models_tensors_are_refused(change: dict, reason: str):
    with pytest.raises(InputError, match=reason):
        ParameterLayout.of(TENSORS).flatten(TENSORS | change)


def test_missing_and_reordered_tensors_are_refused():
    layout = ParameterLayout.of(TENSORS)
    for names in (list(TENSORS)[1:], list(TENSORS)[::-1]):
        with pytest.raises(InputError, match="tensors are not those of the layout"):
            layout.flatten({name: TENSORS[name] for name in names})


@pytest.mark.parametrize("shape", [(12,), (14,), (1, 13), ()])
def test_a_vector_of_another_shape_is_refused(shape: tuple[int, ...]):
    with pytest.raises(InputError, match=r"the vector has shape .* wanted \(13,\)"):
        ParameterLayout.of(TENSORS).unflatten(np.zeros(shape))


@pytest.mark.parametrize("value", [np.array([1j]), np.array(["a"]), np.array([None]), np.array([1], np.uint64)])
def test_a_dtype_that_is_no_parameters_is_refused(value: np.ndarray):
    with pytest.raises(InputError, match="w: dtype .* is not a parameter's"):
        ParameterLayout.of({"w": value})


@pytest.mark.parametrize("tensors", [{}, {"w": np.zeros((0, 2))}])
def test_a_model_without_parameters_is_refused(tensors: dict):
    with pytest.raises(InputError, match="a model has at least one parameter"):
        ParameterLayout.of(tensors)


def test_names_need_not_be_text():
    assert round_trip({0: np.ones(2), 1: np.zeros(1)})["0"].tolist() == [1, 1]
