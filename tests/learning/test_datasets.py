"""Data sets from files and from what a factory returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.lessons import write_module
from zkmarket.errors import InputError
from zkmarket.learning import (
    Dataset,
    load_dataset,
)

pytestmark = pytest.mark.unit


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
    with pytest.raises(InputError, match="inputs and targets of a data set are float32 or int64: got float64, int64"):
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
