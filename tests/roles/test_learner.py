"""Model and data that a trainer names: what does not fit the project ends its program before anything is done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.desks import desk_of, heard
from tests.support.lessons import write_module
from tests.support.past import MANIFEST, PROSPECTUS, Past, state_of
from zkmarket.chain import Phase
from zkmarket.errors import InputError, StoreError
from zkmarket.learning import Lesson
from zkmarket.roles import Desk, Settings, learner, trainer

pytestmark = pytest.mark.unit

MODULE = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, params=40, name="weight"):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.zeros(params)))

    def forward(self, x):
        return x @ next(self.parameters()).reshape(-1, 10)

class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(40))
        self.bias = nn.Parameter(torch.zeros(10))
"""
assert MANIFEST.params == 40


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_module(tmp_path, monkeypatch, "mine_learner", MODULE)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 4)), np.arange(20) % 10
    np.savez(tmp_path / "own.npz", x=x, y=y)
    np.savez(tmp_path / "wide.npz", x=rng.normal(size=(20, 5)), y=y)
    np.savez(tmp_path / "many.npz", x=x, y=np.arange(20) % 11)
    return tmp_path


def told(past: Past, place: Path, **given: str) -> Desk:
    """A desk whose folder knows its project and an old rate; `given` comes on top, as from a command line."""
    kept = {"project": past.address, "rate": "0.1"}
    (place / "settings.json").write_text(json.dumps(kept))
    made = desk_of(past, place)
    made.settings = Settings.of(place, ("model", "data", "rate"), **given)
    made.settings.save()  # as `at_desk` does
    return made


def kept(place: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((place / "settings.json").read_text())
    return found


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        ("mine_learner:Mine,params=50", "own.npz", "it has weight float32[50] where the layout has weight float32[40]"),
        ("mine_learner:Mine,name=w", "own.npz", "it has w float32[40] where the layout has weight float32[40]"),
        ("mine_learner:Dropping", "own.npz", "it has bias float32[10] where the layout has nothing"),
        ("mine_learner:Mine", "wide.npz", "evaluation fails on inputs of shape (n, 5)"),
        ("mine_learner:Mine", "many.npz", "got (2, 10) and a label 10"),
    ],
)
def test_what_does_not_fit_ends_the_program_and_is_not_remembered(
    past: Past, place: Path, model: str, data: str, reason: str
) -> None:
    desk = told(past, place, model=model, data=data, rate="0.7")
    learner(desk)
    steps: list[object] = []
    past.state = lambda depth: state_of(Phase.SUBMIT)  # type: ignore[attr-defined]
    with pytest.raises(InputError) as caught:
        desk.run(lambda state: steps.append(state))
    message = str(caught.value)
    assert message.startswith(f"--model {model}, --data {data}: ") and reason in message
    assert "hold the parameters with requires_grad" in message
    assert not steps and not past.sent
    assert kept(place) == {"project": past.address, "rate": "0.1"}


def test_what_fits_is_remembered_and_trained_with(past: Past, place: Path) -> None:
    """The honest twin."""
    desk = told(past, place, model="mine_learner:Mine", data="own.npz", rate="0.7")
    learn = learner(desk)
    assert "model" not in kept(place)
    past.state = lambda depth: state_of(Phase.SUBMIT)  # type: ignore[attr-defined]
    desk.run(lambda state: None)
    assert kept(place) == {
        "project": past.address, "model": "mine_learner:Mine", "data": "own.npz", "rate": "0.7"
    }  # fmt: skip
    assert learn(Lesson(1, PROSPECTUS.theta, None)).any()


def test_who_has_data_says_what_each_model_is_worth_on_them_once(past: Past, place: Path, commits: None) -> None:
    desk = told(past, place, model="mine_learner:Mine", data="own.npz", epochs="30")
    role = trainer.Trainer(desk, learner(desk))
    past.started(1)
    role.learn(role.lesson(desk.history.log(), 1))
    past.settled(1, desk.sealing_key, closed=False)
    for _ in range(2):
        role.step(state_of(Phase.SETTLED))
    past.closed(1)
    role.learn(role.lesson(desk.history.log(), 2))  # from the model that was told of a moment ago
    number = r"\d+\.\d{4}, accuracy (\d+\.\d) % on the 20 rows here"
    said = [text for text in desk.progress if "has loss" in text]  # type: ignore[attr-defined]
    assert said.pop().startswith("round 2: after local training it has loss ")
    first, trained, after = (re.fullmatch(rf"round 1: (.*) has loss {number}", text) for text in said)
    assert first and trained and after
    assert (first[1], first[2]) == ("the model before it", "10.0")  # zeros: always the first of ten classes
    assert trained[1] == "after local training it" and float(trained[2]) > 30
    assert after[1] == "the model after it"


def test_a_model_that_cannot_be_evaluated_is_said_and_ends_nothing(past: Past, place: Path) -> None:
    desk = told(past, place, model="mine_learner:Mine", data="own.npz")
    learner(desk).evaluate("it", np.full(40, 1e300))
    assert heard(desk, "it cannot be evaluated: theta does not fit weight: a value is beyond float32")


def test_a_store_that_fails_is_waited_for_before_the_model_is_tried(past: Past, place: Path) -> None:
    desk = told(past, place, model="mine_learner:Mine", data="own.npz")
    learner(desk)
    tries: list[int] = []

    def fails_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise StoreError("500")

    desk.checks.insert(0, fails_once)
    past.state = lambda depth: state_of(Phase.SUBMIT)  # type: ignore[attr-defined]
    desk.run(lambda state: None)
    assert len(tries) == 2 and kept(place)["model"] == "mine_learner:Mine"
