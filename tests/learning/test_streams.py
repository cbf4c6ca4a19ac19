"""Data that do not fit memory: read anew in every epoch, with the results of the same rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.support.lessons import some_data, start, write_module
from zkmarket.errors import InputError
from zkmarket.learning import (
    Dataset,
    Stream,
    Training,
    calibrate,
    evaluate,
    evaluation,
    load_source,
    train,
    try_out,
    wrong_labels,
)
from zkmarket.learning.streams import is_stream, stream_of

pytestmark = pytest.mark.unit

DATA = some_data()
ROWS = list(zip(DATA.inputs, DATA.targets, strict=True))


class Batches:
    """Batches of a user's own: eight rows each, in order. It counts how often it is read."""

    def __init__(self, rows: list[Any] = ROWS):
        self.rows, self.passes = rows, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        for at in range(0, len(self.rows), 8):
            x, y = zip(*self.rows[at : at + 8], strict=True)
            yield np.stack(x), np.array(y)


class Rows(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(ROWS)


def loader() -> DataLoader:
    return DataLoader(TensorDataset(torch.tensor(DATA.inputs), torch.tensor(DATA.targets)), batch_size=8, shuffle=True)


def test_every_epoch_reads_it_anew_and_steps_are_its_batches():
    """Plain descent over the batches in order, as a loop of one's own does it."""
    source = Batches(ROWS[:24])
    stream = stream_of(source)
    layout, theta = start(model := nn.Linear(4, 3, dtype=torch.float64))
    found = train(model, layout, theta, stream, Training(epochs=2, rate=0.1, momentum=0), 1)
    assert source.passes == 3  # once to see what it is like
    own = nn.Linear(4, 3, dtype=torch.float64)
    own.load_state_dict({name: torch.from_numpy(value) for name, value in layout.unflatten(theta).items()})
    for _ in range(2):
        for x, y in Batches(ROWS[:24]):
            own.zero_grad()
            nn.functional.cross_entropy(own(torch.tensor(x, dtype=torch.float64)), torch.tensor(y)).backward()
            with torch.no_grad():
                for weight in own.parameters():
                    weight -= 0.1 * weight.grad
    np.testing.assert_allclose(found, layout.flatten(own.state_dict()) - theta, rtol=1e-12)


@pytest.mark.parametrize("make", [loader, Batches, Rows])
def test_training_is_the_same_bit_for_bit(make):
    layout, theta = start(model := nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)))
    torch.manual_seed(1)
    first = train(model, layout, theta, stream_of(make()), Training(), 1)
    torch.manual_seed(2)
    assert first.any() and first.tobytes() == train(model, layout, theta, stream_of(make()), Training(), 1).tobytes()


def test_a_loader_that_shuffles_has_another_order_in_each_round():
    layout, theta = start(model := nn.Linear(4, 3))
    first, second = (train(model, layout, theta, stream_of(loader()), Training(), number) for number in (1, 2))
    assert not np.array_equal(first, second)


def test_it_is_worth_what_the_same_rows_in_memory_are_worth():
    layout, theta = start(model := nn.Linear(4, 3))
    found, wanted = (evaluate(model, layout, theta, data) for data in (stream_of(Rows()), DATA))
    assert (found.accuracy, found.rows) == (wanted.accuracy, 33) and found.loss == pytest.approx(wanted.loss)


def test_only_the_first_rows_of_a_long_one_are_evaluated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "STREAM_ROWS", 10)
    layout, theta = start(model := nn.Linear(4, 3))
    assert evaluate(model, layout, theta, stream_of(Batches())).rows == 16
    assert evaluate(model, layout, theta, DATA).rows == 33


@pytest.mark.parametrize(
    ("size", "wanted"), [(8, [8, 8, 8, 9]), (16, [16, 17]), (1, [1] * 33), (40, [33]), (11, [11] * 3)]
)
def test_a_last_row_alone_joins_the_batch_before_it(size: int, wanted: list[int]):
    """Batch normalisation needs two."""
    batches = list(stream_of(Rows()).batches(size))
    assert [len(batch) for batch in batches] == wanted
    assert np.array_equal(np.concatenate([batch.inputs for batch in batches]), DATA.inputs)


def test_local_statistics_are_moved_by_a_stream():
    layout, theta = start(model := nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)))
    assert calibrate(model, layout, theta, stream_of(Batches(ROWS[:24])))
    np.testing.assert_allclose(model[0].running_mean, DATA.inputs[:24].mean(0), atol=0.3)
    assert model[0].num_batches_tracked == evaluation.CALIBRATION_STEPS


def test_what_does_not_fit_is_seen_at_its_first_batch():
    layout, theta = start(model := nn.Linear(5, 3))
    with pytest.raises(InputError, match=r"evaluation fails on inputs of shape \(n, 4\)"):
        try_out(model, layout, theta, stream_of(Batches()), "auto")


FACTORIES = """
import numpy, torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

class Rows(IterableDataset):
    def __iter__(self): yield from [(numpy.ones(2), 0), (numpy.zeros(2), 1)]
class Empty(IterableDataset):
    def __iter__(self): return iter(())
class Odd:
    def __init__(self, second): self.second = second
    def __iter__(self):
        yield numpy.ones((2, 2)), numpy.zeros(2, int)
        if self.second == "raises": raise OSError("disk on fire")
        yield {
            "wide": (numpy.ones((2, 3)), numpy.zeros(2, int)), "real": (numpy.ones((2, 2)), numpy.zeros(2)),
            "nan": (numpy.full((2, 2), numpy.nan), numpy.zeros(2, int)), "triple": (1, 2, 3),
        }[self.second]
def loader(): return DataLoader(TensorDataset(torch.ones(6, 2), torch.arange(6)), batch_size=4)
def once(): return (pair for pair in [(numpy.ones((2, 2)), numpy.zeros(2))])
def in_memory(): return TensorDataset(torch.ones(6, 2), torch.arange(6))
"""


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return write_module(tmp_path, monkeypatch, "mine_streams", FACTORIES)


def test_a_factory_may_return_one(named: str):
    loader, rows = load_source(f"{named}:loader"), load_source(f"{named}:Rows")
    assert isinstance(loader, Stream) and isinstance(rows, Stream)
    assert (loader.shape, loader.labelled, len(loader.first)) == ((2,), True, 4)
    assert [len(batch) for batch in loader.batches(1)] == [4, 2]  # the loader's own size
    assert isinstance(load_source(f"{named}:in_memory"), Dataset)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("Empty", "a data loader gives at least one batch: got none"),
        ("once", "got a generator, which can be read once"),
    ],
)
def test_a_factory_of_none_is_refused(named: str, call: str, reason: str):
    with pytest.raises(InputError, match=f"{named}:{call}: {reason}"):
        load_source(f"{named}:{call}")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("raises", "the data loader fails at batch 1: OSError: disk on fire"),
        ("wide", r"batch 1 of the data loader has rows of \(3,\)"),
        ("real", "with float32 targets"),
        ("nan", "4 of 4 inputs are NaN"),
        ("triple", r"a batch is a tuple: wanted a pair \(inputs, targets\)"),
    ],
)
def test_a_batch_that_does_not_fit_ends_the_training(named: str, second: str, reason: str):
    layout, theta = start(model := nn.Linear(2, 2))
    stream = load_source(f"{named}:Odd,second={second}")
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, stream, Training(), 1)


def test_what_has_rows_by_number_is_no_stream():
    assert is_stream(Batches()) and is_stream(Rows()) and is_stream(loader())
    for made in ([1], (1, 2), {"x": 1}, {1}, "text", np.ones(3), DATA, TensorDataset(torch.ones(1)), 7, None):
        assert not is_stream(made)


def test_labels_of_a_stream_are_not_flipped():
    with pytest.raises(InputError, match="label-flip needs class labels of rows in memory"):
        wrong_labels(stream_of(Batches()))
