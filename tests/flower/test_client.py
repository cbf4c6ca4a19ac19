"""A Flower ClientApp is a trainer: what it is given, what it may reply, and what of it is remembered."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.support.desks import desk_of, heard
from tests.support.lessons import write_module
from tests.support.past import Past
from zkmarket.cli.trainer import _flower
from zkmarket.errors import ArtifactError, InputError
from zkmarket.learning import Lesson
from zkmarket.roles import Settings

pytestmark = pytest.mark.flower

MODULE = """
import numpy
import torch
from flwr.app import ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.client import ClientApp as OldApp, NumPyClient
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import arrays_size_mod


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(40))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        return x @ self.weight


def doubled(message, context, call_next):
    reply = call_next(message, context)
    for record in reply.content.array_records.values():
        for name, array in list(record.items()):
            record[name] = type(array)(numpy.asarray(array.numpy() * 2))
    return reply


def trains(message: Message, context: Context, net=True) -> Message:
    print("the app prints")
    model = Net()
    state = message.content["arrays"].to_torch_state_dict()
    model.load_state_dict(state)
    config = message.content["config"]
    count = context.state["seen"]["rounds"] + 1 if "seen" in context.state else 1
    context.state["seen"] = MetricRecord({"rounds": count})
    with torch.no_grad():
        model.weight += config["lr"] * context.node_config["partition-id"] + config["server-round"]
        model.steps += 1
    metrics = MetricRecord({"num-examples": 7, "rounds": count, "steps": float(model.steps)})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


app = ClientApp(mods=[])
app.train()(trains)
with_mods = ClientApp()
with_mods.train(mods=[doubled, arrays_size_mod])(trains)


def replying(change):
    made = ClientApp()

    @made.train()
    def train(message, context):
        state = message.content["arrays"].to_torch_state_dict()
        return Message(content=RecordDict({"arrays": ArrayRecord(change(state))}), reply_to=message)

    return made


nan = replying(lambda state: {"weight": state["weight"] / 0})
short = replying(lambda state: {"weight": state["weight"][1:]})
extra = replying(lambda state: state | {"bias": torch.zeros(2)})
fails = replying(lambda state: state["missing"])
refuses = ClientApp()
refuses.train()(lambda message, context: Message(Error(1, "no data today"), reply_to=message))
silent = ClientApp()
silent.train()(lambda message, context: Message(content=RecordDict(), reply_to=message))


class Old(NumPyClient):
    def fit(self, parameters, config):
        return [parameters[0] + config["server_round"] + config["lr"]], 7, {"loss": 0.5}


old = OldApp(client_fn=lambda context: Old().to_client())
"""
PYPROJECT = "[tool.flwr.app.config]\nlearning-rate = 0.5\nlocal.epochs = 3\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of flwr's own dependencies, at import
        import flwr.clientapp  # noqa: F401
    write_module(tmp_path, monkeypatch, "mine_flower", MODULE)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def learn_of(past: Past, place: Path, app: str = "app", data: str | None = None, **given: str):
    desk = desk_of(past, place)
    settings = {"project": past.address, "flower": f"mine_flower:{app}", "node_config": "partition-id=2"}
    desk.settings = Settings.of(place, ("flower", "node_config", "run_config", "model"), **(settings | given))
    learn = _flower(argparse.Namespace(data=data), desk)
    while desk.checks:
        desk.checks.pop(0)()
    return desk, learn


def lesson(number: int = 1) -> Lesson:
    return Lesson(number, np.arange(40) / 8, None)


def test_the_app_is_given_model_round_and_rate_and_its_change_is_the_update(past: Past, place: Path) -> None:
    desk, learn = learn_of(past, place, model="mine_flower:Net")
    assert np.array_equal(learn(lesson(1)), np.full(40, 0.5 * 2 + 1))
    assert np.array_equal(learn(lesson(3)), np.full(40, 0.5 * 2 + 3))
    assert heard(desk, "round 3: the ClientApp says num-examples 7, rounds 2, steps 2.0"), "state and buffers are kept"
    assert desk.settings.unproven == {}


@pytest.mark.parametrize(("given", "rate"), [({"run_config": "learning-rate=0.25"}, 0.25), ({"rate": "0.125"}, 0.125)])
def test_a_config_of_the_command_line_comes_before_pyproject(
    past: Past, place: Path, given: dict[str, str], rate: float
) -> None:
    _, learn = learn_of(past, place, model="mine_flower:Net", **given)
    assert np.array_equal(learn(lesson()), np.full(40, rate * 2 + 1))
    assert learn.run_config["local.epochs"] == 3


def test_what_the_app_prints_is_no_result(past: Past, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, learn = learn_of(past, place, model="mine_flower:Net")
    learn(lesson())
    said = capsys.readouterr()
    assert said.out == "" and "the app prints" in said.err


def test_mods_of_the_app_run(past: Past, place: Path) -> None:
    _, learn = learn_of(past, place, "with_mods", model="mine_flower:Net")
    theta = lesson().theta
    assert np.array_equal(learn(lesson()), 2 * (theta + 2) - theta)


def test_an_app_that_wraps_a_numpy_client(past: Past, place: Path) -> None:
    _, learn = learn_of(past, place, "old")
    assert np.array_equal(learn(lesson()), np.full(40, 1.5))


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("nan", "NaN or infinite values"),
        ("short", r"weight has shape \(39,\), wanted \(40,\)"),
        ("extra", r"bias has shape \(2,\), wanted no such array"),
        ("fails", "the ClientApp fails: KeyError: 'missing' .line [0-9]+ of mine_flower.py"),
        ("refuses", "replies an error: no data today"),
        ("silent", "has one ArrayRecord: got 0"),
    ],
)
def test_a_reply_that_is_no_model_is_refused(past: Past, place: Path, app: str, reason: str) -> None:
    _, learn = learn_of(past, place, app)
    with pytest.raises(InputError, match=reason):
        learn(lesson())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"app": "missing"}, "is a NoneType: wanted a flwr.clientapp.ClientApp"),
        ({"app": "Net"}, "is a type: wanted a flwr.clientapp.ClientApp"),
        ({"flower": "mine_flower"}, "is package.module:app"),
        ({"flower": "mine_nowhere:app"}, "cannot import mine_nowhere"),
        ({"node_config": "partition-id=two"}, "--node-config is 'key=value"),
        ({"model": "zkmarket.learning:digits_mlp"}, "--model is not the project's"),
        ({"data": "own.npz"}, "got --flower mine_flower:app and --data"),
        ({"rate": "fast"}, "--rate is no number"),
    ],
)
def test_what_cannot_be_used_ends_the_program_and_is_not_remembered(
    past: Past, place: Path, given: dict[str, str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        learn_of(past, place, **given)
    assert not (place / "settings.json").exists()


def test_without_the_extra_it_says_what_to_install(past: Past, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flwr.clientapp", None)
    with pytest.raises(ArtifactError, match=r"pip install 'zkmarket\[flower\]'"):
        learn_of(past, place)
