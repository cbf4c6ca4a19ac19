"""Each folder has modules of the same names: those of another test are forgotten."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _modules_are_forgotten() -> Iterator[None]:
    yield
    for name in ("my_model", "my_data"):
        sys.modules.pop(name, None)
