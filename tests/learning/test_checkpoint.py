"""A training that is killed goes on: the same bits as one that was not; and from no other training's checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.support.lessons import some_data, start
from zkmarket.learning import Checkpoint, Dataset, Training, train
from zkmarket.learning.streams import Stream, stream_of

pytestmark = pytest.mark.unit

DATA = some_data()
TRAINING = Training(epochs=3, batch=8, rate=0.05)
STEPS = 4
"""Batches of an epoch: 33 rows, the last one joins."""


class Killed(Exception):
    pass


class Net(nn.Module):
    """Dropout, batch normalisation, and frozen weights. It dies when it has been called so many times in training."""

    def __init__(self, dies: int = 0, frozen: float = 1.0, dropout: float = 0.5):
        super().__init__()
        torch.manual_seed(3)
        self.frozen = nn.Parameter(torch.full((4,), frozen), requires_grad=False)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 3))
        self.dies, self.calls = dies, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.dies:
            raise KeyboardInterrupt
        return self.layers(x * self.frozen)


def shuffling() -> Stream:
    """A loader that draws its order, and noise for every row, from torch's generator."""

    class Noisy(TensorDataset):
        def __getitem__(self, i: Any) -> Any:
            x, y = super().__getitem__(i)
            return x + 0.1 * torch.randn_like(x), y

    rows = Noisy(torch.tensor(DATA.inputs), torch.tensor(DATA.targets))
    return stream_of(DataLoader(rows, batch_size=8, shuffle=True, drop_last=True))


def run(net: Net, place: Path | None, data: Any = DATA, training: Training = TRAINING, **more: Any) -> np.ndarray:
    layout, theta = start(net)
    theta = theta + more.pop("moved", 0.0)
    number, said = more.pop("number", 1), more.pop("said", [])
    kept = Checkpoint(place, more.pop("names", {"data": "own"}), every=0, progress=said.append) if place else None
    return train(net, layout, theta, data, training, number, said.append, kept)


def killed(place: Path, dies: int, **more: Any) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run(Net(dies), place, **more)
    return place


@pytest.mark.parametrize(
    ("dies", "make", "optimiser"),
    [
        (2, lambda: DATA, "sgd"),
        (STEPS + 1, lambda: DATA, "sgd"),
        (STEPS + 2, shuffling, "sgd"),
        (2 * STEPS + 3, shuffling, "sgd"),
        (STEPS + 3, lambda: DATA, "adam"),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, dies: int, make, optimiser: str) -> None:
    training = replace(TRAINING, optimiser=optimiser)
    whole = run(one := Net(), None, make(), training)
    killed(tmp_path / "kept", dies, data=make(), training=training)
    said: list[str] = []
    again = run(other := Net(), tmp_path / "kept", make(), training, said=said)
    assert again.tobytes() == whole.tobytes()
    assert other.calls < one.calls and said[0].startswith("training goes on from epoch")
    for name, buffer in one.named_buffers():  # running statistics, too
        assert torch.equal(buffer, dict(other.named_buffers())[name]), name


def test_a_training_that_was_over_is_not_done_again(tmp_path: Path) -> None:
    whole = run(Net(), tmp_path / "kept")
    net = Net()
    assert run(net, tmp_path / "kept").tobytes() == whole.tobytes() and net.calls == 0


def changed_data() -> Dataset:
    return Dataset(DATA.inputs, DATA.targets[::-1].copy())


@pytest.mark.parametrize(
    ("net", "change"),
    [
        ({}, {"number": 2}),
        ({}, {"moved": 1e-3}),
        ({}, {"data": changed_data()}),
        ({}, {"names": {"data": "other"}}),
        *(({}, {"training": replace(TRAINING, **one)}) for one in (
            {"epochs": 4}, {"batch": 9}, {"rate": 0.06}, {"momentum": 0.4}, {"seed": 1},
            {"loss": "cross-entropy"}, {"threads": 2},
        )),
        ({"frozen": 2.0}, {}),
        ({"dropout": 0.4}, {}),
    ],
)  # fmt: skip
def test_no_checkpoint_of_another_training_is_gone_on_from(tmp_path: Path, net: Any, change: Any) -> None:
    killed(tmp_path / "kept", 6)
    fresh, said = Net(**net), []
    run(fresh, tmp_path / "kept", said=said, **change)
    assert fresh.calls == change.get("training", TRAINING).epochs * STEPS
    assert said[0].endswith("is of another training: this one starts at its beginning")


def test_who_mends_the_model_does_not_go_on_with_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zkmarket.learning import checkpoint

    killed(tmp_path / "kept", 6)
    monkeypatch.setattr(checkpoint, "sha256_file", lambda path: "another")
    run(Net(), tmp_path / "kept", said=(said := []))
    assert "is of another training" in said[0]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"\0" * 99, lambda data: b""])
def test_a_damaged_checkpoint_is_said_and_not_used(tmp_path: Path, damage) -> None:
    place = killed(tmp_path / "kept", 6)
    place.write_bytes(damage(place.read_bytes()))
    said: list[str] = []
    assert run(Net(), place, said=said).tobytes() == run(Net(), None).tobytes()
    assert "cannot be read, training starts over" in said[0]


def test_it_is_secret_and_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = killed(tmp_path / "kept", 6)
    before = place.read_bytes()
    assert place.stat().st_mode & 0o777 == 0o600

    def fails(value: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "no space left")

    monkeypatch.setattr(torch, "save", fails)
    said: list[str] = []
    assert run(Net(), place, said=said).tobytes() == run(Net(), None).tobytes()
    assert said[1].startswith("no checkpoint of the training could be written, it goes on without: ")
    assert place.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_it_is_not_written_more_often_than_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zkmarket.learning import checkpoint

    clock = iter_clock(step=1.0)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    kept = Checkpoint(tmp_path / "kept", every=10.0)
    kept.begin("of")
    due = [kept.due() for _ in range(12)]
    assert due.index(True) == 9
    kept.save({})  # takes a second: the next one is no sooner than 20 later
    assert [kept.due() for _ in range(25)].index(True) == 19


def iter_clock(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        now += step
        yield now


def test_epochs_that_take_a_while_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from zkmarket.learning import training

    said: list[str] = []
    run(Net(), None, said=said)
    assert said == []  # all of them in less than a second
    monkeypatch.setattr(training, "SAY_EVERY", 0.0)
    run(Net(), None, said=said)
    assert [text.partition(":")[0] for text in said] == [f"epoch {epoch} of 3" for epoch in (1, 2, 3)]
    assert all(text.partition(": ")[2].startswith("4 batches, mean loss ") for text in said)
