"""What local training has come to, on disk, so that a process that is killed does not start over.

A checkpoint is of one training: it names its round, the model and the parameters that it began with, the data and every
option, and what was made by another training is never gone on from. It holds all that decides what follows: weights,
buffers, the optimiser's state, the place in the epoch and the states of torch's random generators.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import replacing, sha256_file
from ..progress import Progress, quiet
from ..updates import ParameterLayout
from .datasets import Dataset
from .streams import Stream

if TYPE_CHECKING:
    import torch

CHECKPOINT_FORMAT = "zkmarket-training/1"
EVERY = 10.0
"""Seconds between two checkpoints, at least."""
SHARE = 20
"""Writing takes one part in so many of the time, at most."""


@dataclass
class Checkpoint:
    """Where one training is kept, and how often.

    Attributes:
        names: what the model and the data are called, and whatever else a training is bound to.
        every: seconds; 0: after every batch.
    """

    path: Path
    names: Mapping[str, Any] = field(default_factory=dict)
    every: float = EVERY
    progress: Progress = quiet
    _of: str = ""
    _next: float = 0.0

    def begin(self, of: str) -> dict[str, Any] | None:
        """What an earlier process of the same training left; None: it starts at the beginning."""
        self._of = of
        self._next = time.monotonic() + self.every
        if not self.path.is_file():
            return None
        import torch

        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            mine = kept["format"] == CHECKPOINT_FORMAT and kept["of"] == of
        except Exception as error:  # torch and pickle raise a dozen kinds for a damaged file
            self.progress(f"{self.path} cannot be read, training starts over: {type(error).__name__}")
            return None
        if not mine:
            self.progress(f"{self.path} is of another training: this one starts at its beginning")
            return None
        state: dict[str, Any] = kept["state"]
        return state

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def save(self, state: Mapping[str, Any]) -> None:
        """A disk that is full ends no training: it is said."""
        import torch

        began = time.monotonic()
        try:
            with replacing(self.path, mode=0o600) as temporary, temporary.open("wb") as file:
                torch.save({"format": CHECKPOINT_FORMAT, "of": self._of, "state": dict(state)}, file)
        except (OSError, RuntimeError) as error:  # torch's own, of a write that failed
            self.progress(f"no checkpoint of the training could be written, it goes on without: {error}")
        now = time.monotonic()
        self._next = now + max(self.every, SHARE * (now - began) if self.every else 0)


def fingerprint(
    model: torch.nn.Module,
    layout: ParameterLayout,
    theta: np.ndarray,
    data: Dataset | Stream,
    training: Any,
    round_number: int,
    device: torch.device,
    names: Mapping[str, Any],
) -> str:
    """SHA-256 of all that decides a training, but for what a stream gives after its first batch."""
    import torch

    first = data.first if isinstance(data, Stream) else data
    words = {
        "torch": torch.__version__,
        "round": round_number,
        "training": asdict(training),
        "device": _hardware(device),
        "names": dict(names),
        "layout": layout.to_json(),
        "model": repr(model),
        "sources": _sources(model),
        "stream": isinstance(data, Stream),
    }
    digest = hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode())
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    for array in (theta, first.inputs, first.targets):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for weight in frozen:
        held = weight.detach().cpu().contiguous()
        digest.update(f"{held.dtype}{tuple(held.shape)}".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _hardware(device: torch.device) -> str:
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _sources(model: torch.nn.Module) -> dict[str, str]:
    """Digests of the files that the model's own classes stand in: who mends a model does not go on with the old."""
    found = {}
    for name in sorted({type(module).__module__ for module in model.modules()}):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and not name.startswith("torch.") and Path(file).is_file():
            found[name] = sha256_file(Path(file))
    return found
