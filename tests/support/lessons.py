"""Small models, data and modules to learn with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from zkmarket.learning import (
    Dataset,
    Training,
    trained_parameters,
)
from zkmarket.updates import ParameterLayout

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
