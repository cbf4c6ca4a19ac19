"""A development chain for each module, rolled back after each test; the contracts, compiled once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.world import Scene
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


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A factory and accepting verifiers, deployed once a module."""
    return Scene.deploy(node)


@pytest.fixture
def scene(deployed: Scene, chain: Chain) -> Scene:
    """The market before there is a project; whatever a test does is rolled back."""
    return dataclasses.replace(deployed)
