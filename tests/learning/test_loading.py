"""What a text names: callables and their arguments, models and layouts."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.lessons import write_module
from zkmarket.errors import InputError
from zkmarket.learning import (
    initial_parameters,
    layout_of,
    layout_rule,
    load_callable,
    load_model,
    trained_parameters,
)
from zkmarket.updates import ParameterLayout

pytestmark = pytest.mark.unit


# ---------------------------------------------------------------- what a text names


ARGUMENTS = "def make(**arguments):\n    return arguments\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("+007", 7),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 1e-3),
        ("-2E+2", -200.0),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1_000", "1_000"),
        ("²", "²"),
        ("0x10", "0x10"),
        ("a=b", "a=b"),
        ("data/part 0.csv", "data/part 0.csv"),
    ],
)
def test_arguments_have_the_type_that_they_look_like(tmp_path: Path, monkeypatch, text: str, value: Any):
    write_module(tmp_path, monkeypatch, "mine_arguments", ARGUMENTS)
    found = load_callable(f"mine_arguments:make,key={text}")()["key"]
    assert (type(found), found) == (type(value), value)


def test_a_callable_takes_several_arguments_and_is_called_each_time(tmp_path: Path, monkeypatch):
    write_module(tmp_path, monkeypatch, "mine_arguments", ARGUMENTS)
    function = load_callable("mine_arguments:make,a=1,b=two,c=3.5")
    assert function() == {"a": 1, "b": "two", "c": 3.5}
    assert function() is not function()
    assert pickle.loads(pickle.dumps(function))() == function()
    assert load_callable("mine_arguments:make")() == {}


def test_modules_of_the_current_folder_can_be_named_also_while_they_run(tmp_path: Path, monkeypatch):
    text = "def make():\n    import mine_helper\n    return mine_helper.VALUE\n"
    write_module(tmp_path, monkeypatch, "mine_late", text)
    (tmp_path / "mine_helper.py").write_text("VALUE = 41\n")
    before = list(sys.path)
    function = load_callable("mine_late:make")
    assert sys.path == before
    assert function() == 41
    assert sys.path == before


def test_a_module_of_a_package(tmp_path: Path, monkeypatch):
    (tmp_path / "mine_package").mkdir()
    (tmp_path / "mine_package/__init__.py").write_text("")
    (tmp_path / "mine_package/part.py").write_text("def make(n):\n    return n\n")
    monkeypatch.chdir(tmp_path)
    assert load_callable("mine_package.part:make,n=3")() == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"wanted package.module:callable\[,key=value…\]: got ''"),
        ("json", "wanted package.module:callable.*: got 'json'"),
        (":loads", "wanted package.module:callable"),
        ("json:", "wanted package.module:callable"),
        (".json:loads", "wanted package.module:callable"),
        ("json..decoder:loads", "wanted package.module:callable"),
        ("json:loads:x", "wanted package.module:callable"),
        ("a/b.py:make", "wanted package.module:callable"),
        ("no_such_module:make", "cannot import no_such_module: ModuleNotFoundError: No module named 'no_such_module'"),
        ("json.nothing:make", "cannot import json.nothing: ModuleNotFoundError"),
        ("json:nothing", "json has no callable 'nothing'"),
        ("json:__name__", "json has no callable '__name__'"),
        ("mine_wrong:make,size", "an argument is key=value: got 'size'"),
        ("mine_wrong:make,size=", "an argument is key=value: got 'size='"),
        ("mine_wrong:make,=3", "an argument is key=value: got '=3'"),
        ("mine_wrong:make,", "an argument is key=value: got ''"),
        ("mine_wrong:make,a b=3", "an argument is key=value: got 'a b=3'"),
        ("mine_wrong:make,size=3,size=3", "size is given twice"),
        ("mine_wrong:make,size=" + "9" * 5000, "size: ValueError: Exceeds the limit"),
        ("mine_wrong:make,size=2,wide=3", r"unexpected keyword argument 'wide'; it takes \(size\)"),
        ("mine_wrong:make", r"missing a required argument: 'size'; it takes \(size\)"),
    ],
)
def test_a_wrong_text_is_refused_before_anything_is_called(tmp_path: Path, monkeypatch, text: str, reason: str):
    write_module(tmp_path, monkeypatch, "mine_wrong", "def make(size):\n    open('called', 'w').close()\n")
    with pytest.raises(InputError, match=reason):
        load_callable(text)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("def make(:\n", "cannot import mine_broken: SyntaxError"),
        ("x = 1\nimport no_such_thing\n", r"No module named 'no_such_thing' \(line 2 of mine_broken.py\)"),
        ("raise SystemExit('usage')\n", r"cannot import mine_broken: SystemExit: usage \(line 1 of mine_broken.py\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_blamed(tmp_path: Path, monkeypatch, module: str, reason: str):
    write_module(tmp_path, monkeypatch, "mine_broken", module)
    with pytest.raises(InputError, match=reason):
        load_callable("mine_broken:make")


@pytest.mark.parametrize("raised", ["TypeError('no\\nmatter')", "ValueError('no matter')", "KeyError('no matter')"])
def test_what_a_callable_raises_is_one_line_that_says_where(tmp_path: Path, monkeypatch, raised: str):
    write_module(tmp_path, monkeypatch, "mine_raising", f"def make():\n    raise {raised}\n")
    function = load_callable("mine_raising:make")
    name = raised.partition("(")[0]
    with pytest.raises(
        InputError, match=rf"^mine_raising:make fails: {name}: '?no matter'? \(line 2 of mine_rais.*\)$"
    ):
        function()


def test_a_callable_of_c_that_has_no_signature_tells_when_it_is_called():
    function = load_callable("builtins:dict,a=1")
    assert function() == {"a": 1}
    with pytest.raises(InputError, match="builtins:range fails: TypeError"):
        load_callable("builtins:range")()


# ---------------------------------------------------------------- models and layouts


def test_models_and_layouts_of_factories():
    model = load_model("zkmarket.learning:digits_mlp,hidden=5")
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 64), (5,), (10, 5), (10,)]
    assert layout_of("zkmarket.learning:digits_mlp,hidden=5") == ParameterLayout.of(model.state_dict())
    linear = layout_of("torch.nn:Linear,in_features=3,out_features=2,bias=false")
    assert linear.shapes == ((2, 3),)


def test_a_layout_of_arrays_by_name(tmp_path: Path, monkeypatch):
    write_module(
        tmp_path, monkeypatch, "mine_arrays", "import numpy\ndef make():\n    return {'w': numpy.ones((2, 3))}\n"
    )
    assert layout_of("mine_arrays:make") == ParameterLayout(("w",), ((2, 3),), ("float64",))
    with pytest.raises(InputError, match="mine_arrays:make returns a dict: wanted a torch.nn.Module"):
        load_model("mine_arrays:make")
    write_module(
        tmp_path,
        monkeypatch,
        "mine_state",
        "import torch\n\n\ndef make():\n    return dict(torch.nn.BatchNorm1d(2).bfloat16().state_dict())\n",
    )
    state = layout_of("mine_state:make")  # a state dict says no more than this: counters are not trained
    assert state.names == ("weight", "bias", "running_mean", "running_var") and set(state.dtypes) == {"bfloat16"}
    rules = {text: layout_rule(text) for text in ("mine_state:make", "x.onnx", "zkmarket.learning:digits_mlp")}
    assert list(rules.values()) == ["floats", "floats", "requires-grad"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("builtins:object", "builtins:object returns a object: wanted a torch module, or arrays by name"),
        ("builtins:dict", "a model has at least one parameter: got none"),
        ("builtins:dict,w=text", "w: dtype <U4 is not a parameter's"),
        ("torch.nn:LazyLinear,out_features=2", "has no layout: "),
        ("digits", r"a model is FILE.onnx or package.module:factory\[,key=value…\]: got 'digits'"),
        ("nothing.onnx", "no model at nothing.onnx"),
    ],
)
def test_what_has_no_layout_is_refused(text: str, reason: str):
    for read in (layout_of, initial_parameters):
        with pytest.raises(InputError, match=reason):
            read(text)


def test_an_onnx_file_gives_its_floats(tmp_path: Path):
    from onnx import TensorProto, helper, numpy_helper, save

    w, shape = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([3, 2], np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["w", "shape"], ["y"]),
            helper.make_node("BatchNormalization", ["y", "one", "one", "mean", "variance"], ["z"]),
        ],
        "tiny",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [3, 2])],
        [
            numpy_helper.from_array(w, "w"),
            numpy_helper.from_array(shape, "shape"),
            numpy_helper.from_array(w[0, :2], "mean"),
            numpy_helper.from_array(w[1, :2], "variance"),
        ],
    )
    path = tmp_path / "tiny.onnx"
    save(helper.make_model(graph), path)
    assert layout_of(str(path)) == ParameterLayout(("w",), ((2, 3),), ("float32",))
    layout, theta = initial_parameters(str(path))
    assert layout == layout_of(str(path)) and theta.tolist() == [0, 1, 2, 3, 4, 5]
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match="tiny.onnx is not an ONNX model"):
        layout_of(str(path))


def test_initial_parameters_are_the_same_each_time_though_a_factory_draws_them():
    text = "torch.nn:Linear,in_features=3,out_features=2"
    assert not torch.equal(load_callable(text)().weight, load_callable(text)().weight)
    assert torch.equal(load_model(text).weight, load_model(text).weight)  # frozen layers are in no update
    state = torch.get_rng_state()
    (layout, first), (_, second) = initial_parameters(text), initial_parameters(text)
    assert torch.equal(torch.get_rng_state(), state)
    assert layout == layout_of(text) and np.array_equal(first, second) and len(set(first)) == 8


def test_initial_parameters_are_finite(tmp_path: Path, monkeypatch):
    write_module(
        tmp_path, monkeypatch, "mine_nan", "import numpy\ndef make():\n    return {'w': numpy.array([numpy.nan])}\n"
    )
    with pytest.raises(InputError, match="mine_nan:make starts with NaN or infinite values"):
        initial_parameters("mine_nan:make")


def test_frozen_layers_are_the_same_for_everybody(tmp_path: Path, monkeypatch):
    """A factory draws them at random, and no update brings them together."""
    write_module(
        tmp_path,
        monkeypatch,
        "mine_frozen",
        "from torch import nn\n\n\ndef make():\n    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))\n"
        "    net[0].requires_grad_(False)\n    return net\n",
    )
    assert layout_of("mine_frozen:make").names == ("1.weight", "1.bias")
    first, second = load_model("mine_frozen:make"), load_model("mine_frozen:make")
    assert torch.equal(first[0].weight, second[0].weight) and first[0].weight.any()


def test_a_parameter_is_of_floats():
    model = nn.Linear(4, 3, dtype=torch.complex64)
    with pytest.raises(InputError, match="weight is complex64: a parameter is one of float16, bfloat16"):
        trained_parameters(model)
