"""The built-in digits, their shares, and the built-in models."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.lessons import start
from zkmarket.errors import InputError
from zkmarket.learning import (
    MIN_ROWS,
    Dataset,
    digit_scans,
    digits,
    digits_cnn,
    digits_held,
    digits_mlp,
    initial_parameters,
    load_dataset,
    load_model,
)

pytestmark = pytest.mark.unit


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
