"""A development chain for each module, rolled back after each test; the contracts, compiled once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import build_for
from tests.contracts.harness import Harness, compile_harness, deploy_harness
from tests.contracts.real import THETA_BITS, first_model
from tests.contracts.world import ETHER, Scene
from zkmarket.build import Build
from zkmarket.chain import Chain, compile_contracts, development_chain
from zkmarket.market import Offer, Verifiers, points_hash
from zkmarket.rules import MultiKrum


@pytest.fixture(scope="module")
def node() -> Iterator[Chain]:
    """One anvil a module: a process has one connection, and a test module may want its own."""
    with development_chain() as chain:
        provider = chain.web3.provider  # web3 asks for the chain's id before nearly every other request
        provider.cache_allowed_requests, provider.cacheable_requests = True, {"eth_chainId"}
        yield chain


@pytest.fixture
def chain(node: Chain) -> Iterator[Chain]:
    with node.rolled_back():
        yield node


@pytest.fixture(scope="session")
def contracts() -> Any:
    return compile_contracts()


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A factory and accepting verifiers, deployed once a module."""
    return Scene.deploy(node)


@pytest.fixture
def scene(deployed: Scene, chain: Chain) -> Scene:
    """The market before there is a project; whatever a test does is rolled back."""
    return dataclasses.replace(deployed)


@pytest.fixture(scope="session")
def harness_code(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compile_harness(tmp_path_factory.mktemp("projects"))


@pytest.fixture(scope="module")
def harness(node: Chain, harness_code: Any) -> Harness:
    """The internal functions of contracts/lib."""
    return deploy_harness(node, harness_code)


# ---------------------------------------------------------------- real builds

PARAMS, LOGROWS = 2000, 11  # two chunks


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Build]:
    """For 3 and 4 trainers: two settlements, everything else shared."""
    folder = tmp_path_factory.mktemp("builds")
    return {
        n: build_for(folder / str(n), trainers=n, params=PARAMS, logrows=LOGROWS, filter=MultiKrum(0, n))
        for n in (3, 4)
    }


@pytest.fixture(scope="module")
def verifiers(deployed: Scene, builds: dict[int, Build]) -> Verifiers:
    """Their verifiers, on the module's chain."""
    return deployed.market.deploy_verifiers(builds, deployed.owner)


@pytest.fixture
def offer(scene: Scene, builds: dict[int, Build]) -> Offer:
    return Offer(
        aggregator=str(scene.aggregator),
        rounds=2,
        reward=ETHER,
        fee=ETHER // 10,
        stake_wei=ETHER,
        bond_wei=3 * ETHER,
        penalty_wei=ETHER // 2,
        beta=10**6,
        beta_min=PARAMS,
        beta_max=10**9,
        theta_bits=THETA_BITS,
        theta=points_hash(first_model(builds[3])[1]),
    )
