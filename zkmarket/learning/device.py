"""Where torch computes, and that what it does there depends on the seed alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import torch

DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS reads it once, before its first sum: without it sums are taken in an order that differs from run to run."""


def check_device(text: object) -> None:
    if not isinstance(text, str) or not DEVICE.fullmatch(text):
        raise InputError(f"device is one of auto, cpu, cuda, cuda:N, mps: got {text!r}")


def device_of(text: str) -> torch.device:
    """The device that a text names; `auto` is a GPU where torch has one, else the CPU.

    Raises InputError where this machine, or this torch, has no such device.
    """
    import torch

    check_device(text)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = torch.backends.mps.is_available()
    if text == "auto":
        text = "cuda" if gpus else "mps" if apple else "cpu"
    if text == "mps" and not apple:
        raise InputError("device mps is not there: wanted an Apple GPU and a torch that is built for it; or take cpu")
    if text.startswith("cuda"):
        if not gpus:
            raise InputError(
                f"device {text} is not there: torch {torch.__version__} sees no CUDA GPU (`nvidia-smi` lists those of"
                " the machine; the wheels of PyTorch's index for CUDA use them); or take cpu"
            )
        number = int(text.partition(":")[2] or 0)
        if number >= gpus:
            raise InputError(f"device {text} is not there: torch sees {gpus} CUDA GPUs, from cuda:0 to cuda:{gpus - 1}")
        os.environ.setdefault(WORKSPACE, ":4096:8")
        return torch.device("cuda", number)
    return torch.device(text)


@contextmanager
def alone(seed: int, round_number: int, threads: int, device: torch.device) -> Iterator[None]:
    """Inside, what torch does depends on these alone; outside, it goes on as if nothing had happened.

    On a GPU torch is asked for its deterministic algorithms: it warns where an operation has none.
    """
    import torch

    # a sequence of two, so that (1, 2) and (2, 1) are different and neighbours have nothing in common
    state = int(np.random.SeedSequence((seed, round_number)).generate_state(1, np.uint64)[0])
    before = torch.get_num_threads()
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(torch.random.fork_rng(devices=[]))
        else:
            stack.enter_context(torch.random.fork_rng(devices=[device.index or 0], device_type=device.type))
            stack.enter_context(_deterministic())
        torch.manual_seed(state >> 1)
        torch.set_num_threads(threads)
        stack.callback(torch.set_num_threads, before)
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    """Not for the CPU, where one thread adds in one order anyway: it loads torch's compiler, which takes seconds."""
    import torch

    asked, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tuned = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warned)
        torch.backends.cudnn.benchmark = tuned


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Of all generators that a training draws from: the CPU's, and the device's own."""
    import torch

    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def restore_random_states(device: torch.device, states: list[torch.Tensor]) -> None:
    import torch

    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
