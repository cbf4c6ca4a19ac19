"""Where torch computes: what a text names, what is not there, and a GPU where there is one."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.lessons import some_data, start
from zkmarket.errors import InputError
from zkmarket.learning import Training, evaluate, train
from zkmarket.learning.device import WORKSPACE, alone, device_of

pytestmark = pytest.mark.unit

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU here")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """A machine that says it has so many GPUs: nothing is computed on them."""

    def say(cuda: int = 0, apple: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    monkeypatch.delenv(WORKSPACE, raising=False)
    return say


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:1000", "CPU", "cpu:0", "", None, 0])
def test_what_is_no_device_is_refused_without_torch(text: object) -> None:
    with pytest.raises(InputError, match=re.escape(f"device is one of auto, cpu, cuda, cuda:N, mps: got {text!r}")):
        Training(device=text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cuda", "apple", "text", "wanted"),
    [
        (0, False, "auto", "cpu"), (2, False, "auto", "cuda:0"), (0, True, "auto", "mps"), (2, True, "auto", "cuda:0"),
        (2, True, "cpu", "cpu"), (2, False, "cuda", "cuda:0"), (2, False, "cuda:1", "cuda:1"), (0, True, "mps", "mps"),
    ],
)  # fmt: skip
def test_a_device_that_is_there(gpus, cuda: int, apple: bool, text: str, wanted: str) -> None:
    gpus(cuda, apple)
    assert str(device_of(text)) == wanted
    assert (os.environ.get(WORKSPACE) == ":4096:8") == wanted.startswith("cuda")


@pytest.mark.parametrize(
    ("cuda", "text", "reason"),
    [
        (0, "cuda", "device cuda is not there: torch .* sees no CUDA GPU"),
        (0, "cuda:3", "device cuda:3 is not there"),
        (2, "cuda:2", "torch sees 2 CUDA GPUs, from cuda:0 to cuda:1"),
        (2, "mps", "device mps is not there: wanted an Apple GPU"),
    ],
)
def test_a_device_that_is_not_there_is_refused(gpus, cuda: int, text: str, reason: str) -> None:
    gpus(cuda)
    layout, theta = start(model := nn.Linear(4, 3))
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, some_data(), Training(device=text), 1)
    with pytest.raises(InputError, match=reason):
        evaluate(model, layout, theta, some_data(), device=text)


@needs_cuda
def test_a_gpu_learns_what_the_cpu_learns_and_the_same_each_time() -> None:
    layout, theta = start(model := nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3)))
    on_gpu = [train(model, layout, theta, some_data(), Training(device="cuda"), 1) for _ in range(2)]
    assert next(model.parameters()).is_cuda and not torch.are_deterministic_algorithms_enabled()
    assert on_gpu[0].tobytes() == on_gpu[1].tobytes()
    np.testing.assert_allclose(
        on_gpu[0], train(model, layout, theta, some_data(), Training(device="cpu"), 1), atol=1e-3
    )
    assert not next(model.parameters()).is_cuda


@needs_cuda
def test_a_gpus_generator_goes_on_as_if_nothing_had_happened() -> None:
    torch.cuda.manual_seed(5)
    wanted = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(5)
    with alone(1, 2, 1, device_of("cuda")):
        torch.rand(9, device="cuda")
    assert torch.equal(torch.rand(3, device="cuda"), wanted)
