"""Local training: what a text names, data sets, training and its determinism, and the built-in digits."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zkmarket.errors import InputError
from zkmarket.learning import (
    MIN_ROWS,
    Dataset,
    Training,
    digit_scans,
    digits,
    digits_cnn,
    digits_held,
    digits_mlp,
    evaluate,
    initial_parameters,
    layout_of,
    load_callable,
    load_dataset,
    load_model,
    train,
    trained_parameters,
)
from zkmarket.updates import ParameterLayout

pytestmark = pytest.mark.unit

QUICK = Training(epochs=1)


def start(model: nn.Module) -> tuple[ParameterLayout, np.ndarray]:
    """The layout of what the model trains, and its values."""
    trained = trained_parameters(model)
    layout = ParameterLayout.of(trained)
    return layout, layout.flatten(trained)


def some_data(rows: int = 33, features: int = 4, classes: int = 3) -> Dataset:
    """Random rows; 33 leave a last batch of one."""
    rng = np.random.default_rng(5)
    return Dataset.of(rng.normal(size=(rows, features)), rng.integers(0, classes, rows))


def write_module(place: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    """A module in the current folder, forgotten after the test."""
    monkeypatch.chdir(place)
    monkeypatch.delitem(sys.modules, name, raising=False)
    (place / f"{name}.py").write_text(text)
    return name


@pytest.fixture(autouse=True)
def _modules_are_forgotten():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mine_"):
            del sys.modules[name]


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


# ---------------------------------------------------------------- data sets


def test_a_data_set_takes_arrays_and_tensors_of_any_real_dtype():
    for x in ([[0, 1], [2, 3]], np.array([[0, 1], [2, 3]], np.uint8), torch.tensor([[0.0, 1], [2, 3]]).double()):
        for y in ([0, 1], np.array([0, 1], np.int8), np.array([False, True]), torch.tensor([0, 1])):
            data = Dataset.of(x, y)
            assert (data.inputs.dtype, data.targets.dtype, len(data)) == (np.float32, np.int64, 2)
            assert data.inputs.tolist() == [[0, 1], [2, 3]] and data.targets.tolist() == [0, 1] and data.labelled
    real = Dataset.of(torch.ones(2, 3, requires_grad=True), [[0.5], [1.5]])
    assert real.targets.dtype == np.float32 and real.targets.tolist() == [[0.5], [1.5]] and not real.labelled


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.ones((3, 2)), np.zeros(2, int), r"one row each a sample: got shapes \(3, 2\) and \(2,\)"),
        (np.ones(()), np.zeros(1, int), r"one row each a sample: got shapes \(\)"),
        (np.ones((0, 2)), np.zeros(0, int), "at least one row"),
        (np.ones((2, 0)), np.zeros(2, int), "at least one row of at least one value"),
        ([[np.nan, 1], [np.inf, 2]], [0, 1], "2 of 4 inputs are NaN, infinite"),
        ([[1e39]], [0], "1 of 1 inputs are NaN, infinite or too large for float32"),
        ([[1.0]], [np.nan], "1 of 1 targets are NaN"),
        ([[1.0]], [[0]], r"class labels have shape \(n,\): got \(1, 1\)"),
        ([[1.0]], [-100], "class labels count from 0: got -100"),
        ([["a"]], [0], "inputs are real numbers: got dtype <U1"),
        ([[1.0]], [1j], "targets are real numbers: got dtype complex128"),
        ([[None]], [0], "inputs are real numbers: got dtype object"),
    ],
)
def test_wrong_arrays_are_refused(x: Any, y: Any, reason: str):
    with pytest.raises(InputError, match=reason):
        Dataset.of(x, y)


def test_a_data_set_itself_takes_its_own_dtypes_only():
    with pytest.raises(InputError, match="float32 inputs and float32 or int64 targets: got float64, int64"):
        Dataset(np.ones((1, 1)), np.zeros(1, np.int64))
    with pytest.raises(InputError, match="got float32, int32"):
        Dataset(np.ones((1, 1), np.float32), np.zeros(1, np.int32))


def test_an_npz_file(tmp_path: Path):
    path = tmp_path / "mine, too:late.npz"
    np.savez(path, x=np.ones((3, 2)), y=np.array([0, 1, 2], np.int32))
    data = load_dataset(str(path))
    assert data.inputs.tolist() == [[1, 1]] * 3 and data.targets.tolist() == [0, 1, 2]


class Trap:
    """What a hostile pickle does: run something when it is loaded."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.ones((3, 2))}, r"holds \['x'\]: wanted x, the inputs, and y, the targets"),
        ({"x": np.ones(3), "y": np.ones(3), "z": np.ones(3)}, r"holds \['x', 'y', 'z'\]"),
        ({"x": np.ones((3, 2)), "y": np.zeros(2)}, r"file.npz: inputs and targets have one row each"),
        ({"x": np.array([Trap()]), "y": np.zeros(1)}, "cannot be read: .*allow_pickle"),
    ],
)
def test_a_wrong_npz_file_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(InputError, match=reason):
        load_dataset(str(tmp_path / "file.npz"))


def test_a_missing_or_damaged_npz_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such file: .*nothing.npz"):
        load_dataset(str(tmp_path / "nothing.npz"))
    (tmp_path / "file.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="file.npz cannot be read"):
        load_dataset(str(tmp_path / "file.npz"))


FACTORIES = """
import numpy, torch
from torch.utils.data import Subset, TensorDataset
from zkmarket.learning import Dataset

X, Y = numpy.arange(12, dtype="float64").reshape(6, 2), numpy.arange(6) % 3

def own(): return Dataset.of(X, Y)
def pair(): return X, Y
def couple(): return [X.tolist(), Y.tolist()]
def tensors(): return torch.tensor(X), torch.tensor(Y)
def tensor_dataset(): return TensorDataset(torch.tensor(X), torch.tensor(Y))
def subset(): return Subset(tensor_dataset(), range(6))
def rows(): return [(row, int(label)) for row, label in zip(X, Y)]

class Items(torch.utils.data.Dataset):
    def __len__(self): return 6
    def __getitem__(self, i):
        if i > 5: raise AssertionError("beyond the end")
        return torch.tensor(X[i]), Y[i]

class Broken(Items):
    def __getitem__(self, i): raise OSError("disk on fire")

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self): return iter(rows())

def triples(): return [(1, 2, 3)] * 4
def ragged(): return [([1.0], 0), ([1.0, 2.0], 0), ([1.0], 0)]
def empty(): return []
def mapping(): return {"x": X, "y": Y}
def nothing(): return None
def array(): return X[:, 0]
def short(): return X, Y[:2]
"""


@pytest.mark.parametrize("name", ["own", "pair", "couple", "tensors", "tensor_dataset", "subset", "rows", "Items"])
def test_data_from_a_factory_in_the_current_folder(tmp_path: Path, monkeypatch, name: str):
    write_module(tmp_path, monkeypatch, "mine_data", FACTORIES)
    data = load_dataset(f"mine_data:{name}")
    assert data.inputs.dtype == np.float32 and data.inputs.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert data.targets.dtype == np.int64 and data.targets.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Broken", "not a data set: OSError: disk on fire .line .* of mine_data.py"),
        ("Stream", "got a Stream: wanted a Dataset, a pair of arrays or a torch Dataset"),
        ("triples", r"item 0 is a tuple: wanted a pair \(input, target\)"),
        ("ragged", "not a data set: ValueError: all input arrays must have the same shape"),
        ("empty", "at least one row: got none"),
        ("mapping", "got a dict"),
        ("nothing", "got a NoneType"),
        ("array", "item 0 is a float64"),
        ("short", r"one row each a sample: got shapes \(6, 2\) and \(2,\)"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, monkeypatch, name: str, reason: str):
    write_module(tmp_path, monkeypatch, "mine_data", FACTORIES)
    with pytest.raises(InputError, match=f"^mine_data:{name}: .*{reason}"):
        load_dataset(f"mine_data:{name}")


def test_data_are_a_file_or_a_factory():
    with pytest.raises(InputError, match="data are FILE.npz or package.module:callable.*: got 'x.csv'"):
        load_dataset("x.csv")


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": 0}, "epochs is an integer from 1: got 0"),
        ({"epochs": 1.0}, "epochs is an integer from 1: got 1.0"),
        ({"epochs": True}, "epochs is an integer from 1: got True"),
        ({"batch": 0}, "batch is an integer from 1: got 0"),
        ({"optimiser": "lbfgs"}, "optimiser is one of sgd, adam: got 'lbfgs'"),
        ({"rate": 0}, "rate is a number over 0: got 0"),
        ({"rate": float("nan")}, "rate is a number over 0: got nan"),
        ({"rate": float("inf")}, "rate is a number over 0: got inf"),
        ({"rate": "0.1"}, "rate is a number over 0: got '0.1'"),
        ({"rate": True}, "rate is a number over 0: got True"),
        ({"momentum": 1}, "momentum is a number from 0 to under 1: got 1"),
        ({"momentum": -0.1}, "momentum is a number from 0 to under 1: got -0.1"),
        ({"momentum": float("nan")}, "momentum is a number from 0 to under 1: got nan"),
        ({"loss": "hinge"}, "loss is one of auto, cross-entropy, mse: got 'hinge'"),
        ({"seed": -1}, "seed is an integer from 0: got -1"),
        ({"seed": 1.5}, "seed is an integer from 0: got 1.5"),
        ({"threads": 0}, "threads is an integer from 1: got 0"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], reason: str):
    with pytest.raises(InputError, match=reason):
        Training(**change)


def test_one_epoch_of_plain_descent_is_the_formula():
    """Full batch, no momentum: −rate · gradient of the mean loss, here of a linear model's squared error."""
    model = nn.Linear(2, 1, dtype=torch.float64)
    layout, theta = start(model)
    data = Dataset.of([[1.0, 0.5], [2.0, -1.0], [0.25, 3.0]], [1.0, 2.0, -1.0])
    x, y = data.inputs.astype(float), data.targets.astype(float)
    error = x @ theta[:2] + theta[2] - y
    gradient = 2 / 3 * np.append(error @ x, error.sum())
    update = train(model, layout, theta, data, Training(epochs=1, batch=3, rate=0.1, momentum=0), 1)
    np.testing.assert_allclose(update, -0.1 * gradient, rtol=1e-12)
    assert evaluate(model, layout, theta, data).loss == pytest.approx(np.mean(error**2), rel=1e-12)
    assert evaluate(model, layout, theta, data).accuracy is None


@pytest.mark.parametrize("momentum", [0, 0.5, 0.9])
def test_sgd_is_torchs_bit_for_bit(momentum: float):
    """On one row: the order of rows is all that torch's own optimiser would not know."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    layout, theta = start(model)
    training = Training(epochs=6, momentum=momentum)
    one_row = some_data(1)
    update = train(model, layout, theta, one_row, training, 1)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in layout.unflatten(theta).items()})
    optimiser = torch.optim.SGD(model.parameters(), lr=training.rate, momentum=momentum)
    x, y = torch.from_numpy(one_row.inputs), torch.from_numpy(one_row.targets)
    for _ in range(training.epochs):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    assert (layout.flatten(model.state_dict()) - theta).tobytes() == update.tobytes()


def accuracies(model: nn.Module, rounds: int, training: Training) -> tuple[float, float]:
    """Accuracy on held-out digits before and after some rounds of one trainer with all the data."""
    layout, theta = start(model)
    before = evaluate(model, layout, theta, digits_held())
    for number in range(1, rounds + 1):
        theta = theta + train(model, layout, theta, digits(), training, number)
    after = evaluate(model, layout, theta, digits_held())
    assert after.loss < before.loss
    assert before.accuracy is not None and after.accuracy is not None
    return before.accuracy, after.accuracy


@pytest.mark.parametrize("factory", [digits_mlp, digits_cnn])
@pytest.mark.parametrize("training", [Training(epochs=2), Training(epochs=2, optimiser="adam", rate=0.01)])
def test_digits_are_learned(factory, training: Training):
    before, after = accuracies(factory(), 2, training)
    assert before < 0.3 and after > 0.85


def test_eight_trainers_with_one_sided_shares_learn_together():
    model = digits_mlp()
    layout, theta = start(model)
    shares = [digits(part, 8, "dirichlet", 0.3) for part in range(8)]
    for number in range(1, 4):
        theta = theta + np.mean([train(model, layout, theta, data, Training(), number) for data in shares], axis=0)
    together = evaluate(model, layout, theta, digits_held()).accuracy
    alone = theta * 0 + start(digits_mlp())[1]
    for number in range(1, 4):
        alone = alone + train(model, layout, alone, shares[1], Training(), number)
    assert together > 0.75 > evaluate(model, layout, alone, digits_held()).accuracy


def test_real_targets_are_learned():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    model = nn.Linear(3, 2)
    layout, theta = start(model)
    data = Dataset.of(x, x @ rng.normal(size=(3, 2)) + 0.5)
    before = evaluate(model, layout, theta, data)
    theta = theta + train(model, layout, theta, data, Training(rate=0.05), 1)
    assert evaluate(model, layout, theta, data).loss < 0.01 * before.loss


def test_probabilities_can_be_targets_of_cross_entropy():
    labels = some_data(60)
    soft = Dataset.of(labels.inputs, np.eye(3)[labels.targets])
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    training = Training(epochs=1, loss="cross-entropy")
    np.testing.assert_allclose(
        train(model, layout, theta, soft, training, 1), train(model, layout, theta, labels, training, 1), atol=1e-6
    )
    hard = evaluate(model, layout, theta, labels)
    found = evaluate(model, layout, theta, soft, "cross-entropy")
    assert found.loss == pytest.approx(hard.loss, rel=1e-6) and found.accuracy is None and hard.accuracy is not None


def test_labels_can_be_numbers_of_mse():
    data = some_data()
    model = nn.Linear(4, 1)
    layout, theta = start(model)
    moved = theta + train(model, layout, theta, data, Training(loss="mse", rate=0.05), 1)
    before, after = (evaluate(model, layout, at, data, "mse") for at in (theta, moved))
    assert after.loss < before.loss and after.accuracy is None


class Noisy(nn.Module):
    """Dropout, batch normalisation and noise of its own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x + 0.01 * torch.randn_like(x))


def test_training_is_the_same_bit_for_bit():
    data, model = some_data(), Noisy()
    layout, theta = start(model)
    torch.manual_seed(1)
    first = train(model, layout, theta, data, Training(seed=3), 2)
    torch.manual_seed(99)
    torch.rand(7)
    assert first.tobytes() == train(model, layout, theta, data, Training(seed=3), 2).tobytes()
    assert first.tobytes() == train(Noisy(), layout, theta, data, Training(seed=3), 2).tobytes()
    for seed, number in ((2, 3), (3, 3), (4, 2)):
        assert not np.array_equal(first, train(model, layout, theta, data, Training(seed=seed), number))
    assert evaluate(model, layout, theta, data) == evaluate(model, layout, theta, data)


def test_training_is_the_same_in_another_process(tmp_path: Path):
    """The other one has as many threads as it likes, and never loads torch's compiler, which takes seconds."""
    code = (
        "import sys\nfrom zkmarket.learning import *\n"
        "layout, theta = initial_parameters('zkmarket.learning:digits_cnn')\n"
        "data = load_dataset('data.npz')\n"
        "print(train(digits_cnn(), layout, theta, data, Training(epochs=1), 4).tobytes().hex())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    data = digits(1, 8, "dirichlet")
    np.savez(tmp_path / "data.npz", x=data.inputs, y=data.targets)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    layout, theta = start(digits_cnn())
    here = train(digits_cnn(), layout, theta, data, QUICK, 4)
    assert (done.stdout.split(), done.stderr) == ([here.tobytes().hex(), "False"], "")


def test_torch_has_the_threads_that_the_settings_say():
    seen = []
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    layout, theta = start(model)
    train(model, layout, theta, some_data(3), Training(epochs=1, threads=3), 1)
    evaluate(model, layout, theta, some_data(3), threads=2)
    evaluate(model, layout, theta, some_data(3))
    assert seen == [3, 2, 1]


def test_torch_goes_on_as_if_nothing_had_happened():
    model, threads = Noisy(), torch.get_num_threads()
    layout, theta = start(model)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    for act in (
        lambda: train(model, layout, theta, some_data(), Training(threads=threads + 1), 1),
        lambda: evaluate(model, layout, theta, some_data()),
        digits_mlp,
        digits_cnn,
    ):
        torch.manual_seed(5)
        act()
        assert torch.equal(torch.rand(3), wanted) and torch.get_num_threads() == threads
    torch.manual_seed(5)
    with pytest.raises(InputError):
        train(model, layout, theta, some_data(features=5), Training(threads=threads + 1), 1)
    assert torch.equal(torch.rand(3), wanted) and torch.get_num_threads() == threads


def test_buffers_are_in_no_update_and_stay_with_the_model():
    """Running means move in the model that trains, 2 batches of 33 rows, for the last row joins."""
    model = Noisy()
    layout, theta = start(model)
    assert layout.names == tuple(f"layers.{i}.{kind}" for i in (0, 1, 4) for kind in ("weight", "bias"))
    update = train(model, layout, theta, some_data(), QUICK, 1)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    assert buffers["layers.1.running_mean"].any() and buffers["layers.1.num_batches_tracked"] == 1
    evaluate(model, layout, theta + update, some_data())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert (
        layout.flatten(trained_parameters(model)).tobytes()
        == layout.flatten(layout.unflatten(theta + update)).tobytes()
    )
    fresh = Noisy()  # with other buffers a model does otherwise: they are its own
    assert evaluate(fresh, layout, theta + update, some_data()) != evaluate(model, layout, theta + update, some_data())
    assert not dict(fresh.named_buffers())["layers.1.running_mean"].any()


def test_a_convolutional_network_with_batch_norm_learns_together():
    """Four trainers' updates, averaged; each keeps its own running statistics, and the model does well with any."""
    models = [normed_cnn() for _ in range(4)]
    layout, theta = start(models[0])
    assert not any("running" in name or "tracked" in name for name in layout.names)
    shares = [digits(part, 4) for part in range(4)]
    for number in range(1, 4):
        updates = [
            train(model, layout, theta, data, Training(rate=0.1), number)
            for model, data in zip(models, shares, strict=True)
        ]
        theta = theta + np.mean(updates, axis=0)
    assert all(evaluate(model, layout, theta, digits_held()).accuracy > 0.9 for model in models)


def normed_cnn() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def test_testing_changes_no_buffer_and_drops_nothing():
    model = Noisy().double()
    layout, theta = start(model)
    data = some_data(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, layout, theta, data)  # training with batch normalisation would refuse one row
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match="training fails.*Expected more than 1 value per channel"):
        train(model, layout, theta, data, QUICK, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_models_of_other_dtypes_are_trained(dtype: torch.dtype):
    model = nn.Linear(4, 3, dtype=dtype)
    layout, theta = start(model)
    update = train(model, layout, theta, some_data(), QUICK, 1)
    assert update.dtype == np.float64 and update.any()
    assert evaluate(model, layout, theta + update, some_data()).loss < evaluate(model, layout, theta, some_data()).loss


def test_frozen_parameters_are_in_no_update_and_stay():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    whole, _ = start(model)
    model[0].requires_grad_(False)
    layout, theta = start(model)
    assert layout.names == ("1.weight", "1.bias")
    frozen = model[0].weight.clone()
    assert train(model, layout, theta, some_data(), QUICK, 1).any() and torch.equal(model[0].weight, frozen)
    with pytest.raises(InputError, match=r"does not train 0.weight, 0.bias: frozen, or a buffer"):
        train(model, whole, np.zeros(whole.size), some_data(), QUICK, 1)
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter that can be trained"):
        train(model, layout, theta, some_data(), QUICK, 1)


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


def test_weights_that_are_shared_are_one_parameter():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    layout, theta = start(model)
    assert layout.names == ("0.weight", "0.bias", "2.bias") and layout.size == 24
    assert train(model, layout, theta, some_data(), QUICK, 1).any()


def test_a_parameter_is_of_floats():
    model = nn.Linear(4, 3, dtype=torch.complex64)
    with pytest.raises(InputError, match="weight is complex64: a parameter is one of float16, bfloat16"):
        trained_parameters(model)


def test_data_that_cannot_be_written_are_trained_on():
    data = some_data()
    data.inputs.flags.writeable = False
    flipped = Dataset(data.inputs[:, ::-1], data.targets[::-1])
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    for rows in (data, flipped):
        assert train(model, layout, theta, rows, QUICK, 1).any()  # and torch warns of nothing


def test_the_size_of_a_test_set_does_not_matter():
    """More rows than are evaluated at once, and a last piece of another size."""
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    data = some_data(2500)
    with torch.no_grad():
        outputs = model(torch.from_numpy(data.inputs))
        loss = nn.functional.cross_entropy(outputs, torch.from_numpy(data.targets))
    found = evaluate(model, layout, theta, data)
    assert found.loss == pytest.approx(float(loss), rel=1e-6)
    assert found.accuracy == (outputs.argmax(1).numpy() == data.targets).mean()


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        (Training(rate=1e20), r"diverged in epoch [1-4] of 5, .*lower rate \(1e\+20\), momentum \(0.5\) or epochs"),
        (Training(rate=1e38, epochs=1, batch=99), r"diverged in epoch 1 of 1, .*lower rate \(1e\+38\)"),
        (Training(rate=1e30, optimiser="adam"), r"lower rate \(1e\+30\) or epochs"),
    ],
)
def test_a_training_that_diverges_says_what_to_lower(training: Training, reason: str):
    data = some_data()
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    layout, theta = start(model)
    big = Dataset.of(data.inputs, 1e9 * data.inputs[:, :1])
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, big, training, 1)


def test_a_diverged_model_can_be_tested():
    model = nn.Linear(4, 1)
    layout, theta = start(model)
    assert evaluate(model, layout, theta + 1e38, Dataset.of(np.full((3, 4), 1e9), [0.0] * 3)).loss == float("inf")


class Returns(nn.Module):
    """A linear model whose output is changed."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(4, 3), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        (nn.Linear(5, 3), some_data(), r"fails on inputs of shape \(n, 4\): RuntimeError: mat1 and mat2"),
        (nn.Linear(4, 2), some_data(), r"labels want outputs .* got \(33, 2\) and a label 2, classes count from 0"),
        (Returns(lambda y: y.reshape(-1)), some_data(), r"a row for each input: got shape \(99,\), 33 inputs"),
        (Returns(lambda y: y[:, 0]), some_data(), r"labels want outputs of shape \(rows, classes\): got \(33,\)"),
        (Returns(lambda y: (y, y)), some_data(), "one tensor with a row for each input: got a tuple"),
        (Returns(lambda y: None), some_data(), "got a NoneType"),
        (
            nn.Linear(4, 1),
            Dataset.of(some_data().inputs, np.ones((33, 2))),
            r"not like the targets: got shape \(33, 1\), wanted \(33, 2\)",
        ),
        (
            Returns(lambda y: y[:, 0]),
            Dataset.of(some_data().inputs, np.ones((33, 1))),
            r"not like the targets: got shape \(33,\), wanted \(33, 1\)",
        ),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(model: nn.Module, data: Dataset, reason: str):
    layout, theta = start(model)
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, data, Training(batch=33), 1)
    with pytest.raises(InputError, match=reason):
        evaluate(model, layout, theta, data)


def test_a_model_that_cuts_its_gradient_is_refused():
    model = Returns(lambda y: y.detach())
    layout, theta = start(model)
    with pytest.raises(InputError, match="training fails .*does not require grad"):
        train(model, layout, theta, some_data(), QUICK, 1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Linear(4, 2), r"it has weight float32\[2, 4\] where the layout has weight float32\[3, 4\]"),
        (nn.Linear(4, 3, bias=False), r"it has nothing where the layout has bias float32\[3\]"),
        (nn.Linear(4, 3, dtype=torch.float64), r"it has weight float64\[3, 4\] where"),
        (nn.Sequential(nn.Linear(4, 3)), r"it has 0.weight float32\[3, 4\] where"),
    ],
)
def test_another_model_than_the_projects_is_refused(model: nn.Module, reason: str):
    layout, theta = start(nn.Linear(4, 3))
    with pytest.raises(InputError, match=f"the model is not the project's: {reason}"):
        train(model, layout, theta, some_data(), QUICK, 1)
    with pytest.raises(InputError, match=reason):
        evaluate(model, layout, theta, some_data())


def test_a_wrong_theta_is_refused():
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    for wrong, reason in (
        (theta[:-1], r"the vector has shape \(14,\): wanted \(15,\)"),
        (theta.reshape(1, -1), r"the vector has shape \(1, 15\)"),
        (np.append(theta[:-1], np.nan), "theta holds NaN or infinite values"),
        (np.append(theta[:-1], 1e39), "theta does not fit bias: a value is beyond float32"),
    ):
        with pytest.raises(InputError, match=reason):
            train(model, layout, wrong, some_data(), QUICK, 1)
        with pytest.raises(InputError, match=reason):
            evaluate(model, layout, wrong, some_data())


def test_other_wrong_arguments_are_refused():
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    with pytest.raises(InputError, match="the number of a round is an integer from 0: got -1"):
        train(model, layout, theta, some_data(), QUICK, -1)
    with pytest.raises(InputError, match="loss is one of"):
        evaluate(model, layout, theta, some_data(), "hinge")
    with pytest.raises(InputError, match="threads is an integer from 1"):
        evaluate(model, layout, theta, some_data(), threads=0)


def test_theta_is_not_changed():
    model = nn.Linear(4, 3, dtype=torch.float64)  # a view of theta would be trained
    layout, theta = start(model)
    kept = theta.copy()
    train(model, layout, theta, some_data(), QUICK, 1)
    evaluate(model, layout, theta, some_data())
    assert np.array_equal(theta, kept)


# ---------------------------------------------------------------- built in


def rows_of(*shares: Dataset) -> list[bytes]:
    return sorted(
        row.tobytes() + bytes([label]) for s in shares for row, label in zip(s.inputs, s.targets, strict=True)
    )


@pytest.mark.parametrize(
    ("split", "alpha"), [("iid", 0.5), ("dirichlet", 0.001), ("dirichlet", 0.5), ("dirichlet", 1e6)]
)
@pytest.mark.parametrize("of", [1, 3, 8])
def test_shares_are_disjoint_and_complete(of: int, split: str, alpha: float):
    from sklearn.datasets import load_digits

    shares = [digits(part, of, split, alpha, seed=2) for part in range(of)]
    images, labels = load_digits(return_X_y=True)
    everything = Dataset.of(images / 16, labels)
    assert len(set(rows_of(everything))) == len(everything) == 1797  # no scan is there twice
    assert rows_of(*shares, digits_held(seed=2)) == rows_of(everything)
    assert min(map(len, shares)) >= MIN_ROWS and len(digits_held(seed=2)) == 449


def test_the_most_shares_that_there_can_be():
    for split in ("iid", "dirichlet"):
        shares = [digits(part, 168, split, 0.001) for part in (0, 1, 167)]
        assert all(len(share) >= MIN_ROWS for share in shares)


def test_a_smaller_alpha_makes_shares_more_one_sided():
    def largest_class(**how: Any) -> float:
        shares = [digits(part, 8, **how) for part in range(8)]
        return float(np.mean([np.bincount(s.targets).max() / len(s) for s in shares]))

    found = [
        largest_class(),
        largest_class(split="dirichlet", alpha=100.0),
        largest_class(split="dirichlet", alpha=1),
        largest_class(split="dirichlet", alpha=0.1),
    ]
    assert found[0] < 0.2 and found[1] < 0.2 < found[2] < found[3] and found[3] > 0.4


def test_digits_are_64_pixels_from_0_to_1_and_the_same_each_time():
    data = digits(3, 8, "dirichlet")
    assert data.inputs.shape[1:] == (64,) and data.inputs.min() == 0 and data.inputs.max() == 1
    assert (
        rows_of(data)
        == rows_of(digits(3, 8, "dirichlet"))
        == rows_of(load_dataset("zkmarket.learning:digits,part=3,of=8,split=dirichlet"))
    )
    assert rows_of(data) != rows_of(digits(3, 8, "dirichlet", seed=1))
    assert rows_of(digits_held()) != rows_of(digits_held(seed=1))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("part=8,of=8", "parts of 8 are numbered from 0 to 7: got 8"),
        ("part=-1,of=8", "part is an integer from 0: got -1"),
        ("part=x", "part is an integer from 0: got 'x'"),
        ("of=0", "of is an integer from 1: got 0"),
        ("of=2.0", "of is an integer from 1: got 2.0"),
        ("of=169", "1348 rows make at most 168 parts of 8 rows: got of = 169"),
        ("split=even", "split is one of iid, dirichlet: got 'even'"),
        ("split=dirichlet,alpha=0", "alpha is a number from 0.001 to 1000000: got 0"),
        ("split=dirichlet,alpha=1e999", "alpha is a number from 0.001 to 1000000: got inf"),
        ("alpha=true", "alpha is a number .*: got True"),
        ("seed=-1", "seed is an integer from 0: got -1"),
    ],
)
def test_wrong_shares_are_refused(arguments: str, reason: str):
    with pytest.raises(InputError, match=reason):
        load_dataset(f"zkmarket.learning:digits,{arguments}")


def test_without_scikit_learn_the_digits_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digit_scans._read_scans.cache_clear()
    with pytest.raises(InputError, match=r"the digits need scikit-learn .*pip install 'zkmarket\[demo\]'"):
        digits_held()


@pytest.mark.parametrize(("factory", "params"), [(digits_mlp, 2410), (digits_cnn, 1898)])
def test_everybody_has_the_same_initial_model(factory, params: int):
    torch.manual_seed(11)
    _, first = start(factory())
    torch.manual_seed(12)
    layout, second = start(factory())
    assert first.tobytes() == second.tobytes() and layout.size == params
    name = f"zkmarket.learning:{factory.__name__}"
    assert initial_parameters(name)[1].tobytes() == start(load_model(name))[1].tobytes() == first.tobytes()


@pytest.mark.parametrize("text", ["digits_mlp,hidden=0", "digits_mlp,hidden=2.5", "digits_cnn,channels=0"])
def test_models_of_wrong_size_are_refused(text: str):
    with pytest.raises(InputError, match="(hidden|channels) is an integer from 1"):
        load_model(f"zkmarket.learning:{text}")


def test_importing_is_cheap():
    code = "import sys, zkmarket.learning; print(sorted({'torch', 'onnx', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
