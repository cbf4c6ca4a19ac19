"""Modules that tests write are forgotten."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _modules_are_forgotten():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mine_"):
            del sys.modules[name]
