"""A development chain for each module, rolled back after each test; the contracts, compiled once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zkmarket import market
from zkmarket.market import Chain


@pytest.fixture(scope="module")
def node() -> Iterator[Chain]:
    """One anvil a module: a process has one connection, and a test module may want its own."""
    with market.development_chain() as chain:
        yield chain


@pytest.fixture
def chain(node: Chain) -> Iterator[Chain]:
    with node.rolled_back():
        yield node


@pytest.fixture(scope="session")
def contracts() -> Any:
    return market.compile_contracts()
