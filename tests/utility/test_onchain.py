"""What a model costs on chain, from its plan: near what ezkl and anvil say, and advice that fits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks import bench_utility
from tests.circuits.utility_nets import NETS, network_named, sizes
from zkmarket.learning import initial_parameters
from zkmarket.networks import Network, Sizes, make_plan, read_network
from zkmarket.utility import Method, OnChain, advice

pytestmark = pytest.mark.unit

LOO = Method("loo")

MEASURED = {
    # network, batch: bytes of the verifier, of a proof, gas of a proof without its calldata
    ("linear", 3): (10_633, 2_304, 411_372),
    ("linear", 40): (21_977, 5_088, 738_142),
    ("mlp", 24): (22_236, 5_216, 745_819),
    ("residual", 3): (25_964, 6_144, None),
    ("residual", 6): (37_548, 9_216, None),
    ("mlp", 100): (64_113, 16_256, None),
    ("regression", 40): (18_283, 4_160, 633_120),
}


@pytest.mark.parametrize("name, batch", MEASURED, ids=str)
def test_estimates_are_within_two_percent(name: str, batch: int) -> None:
    code, proof, gas = MEASURED[name, batch]
    found = OnChain.of(make_plan(network_named(name), sizes(NETS[name][2], batch=batch)), LOO, 8)
    assert found.verifier_bytes == pytest.approx(code, rel=0.02)
    assert found.proof_bytes == pytest.approx(proof, rel=0.02)
    assert gas is None or found.proof_gas == pytest.approx(gas, rel=0.02)
    assert found.fits == (code <= 24_576)


def cnn() -> tuple[Network, Sizes]:
    network = read_network(f"{bench_utility.HERE}:cnn", (64,))
    assert len(initial_parameters(f"{bench_utility.HERE}:cnn")[1]) == 58_558
    return network, Sizes(
        logrows=14, salts=32, scale_bits=12, theta_bits=9, batch=16, loss="cross-entropy", proofs=64, input_bits=2,
        activation_bits=4, input_bound=4, theta_bound=8 << 21,
    )  # fmt: skip


def test_advice_says_what_to_change_and_that_fits() -> None:
    network, given = network_named("mlp"), sizes("cross-entropy", batch=100)
    text = advice(network, make_plan(network, given), LOO, 8)
    found = re.search(r"take a batch of (\d+) or K = (\d+), or fewer or smaller layers", text)
    assert found, text
    for change in ({"batch": int(found[1])}, {"logrows": int(found[2])}):
        changed = replace(given, **change)
        assert OnChain.of(make_plan(network, changed), LOO, 8).fits
        assert advice(network, make_plan(network, changed), LOO, 8) == ""
    for change in ({"batch": 2 * int(found[1])}, {"logrows": int(found[2]) - 1}):
        assert not OnChain.of(make_plan(network, replace(given, **change)), LOO, 8).fits


def test_a_model_that_fits_with_no_batch() -> None:
    """The CNN of the benchmark: its weights alone take too many rows at the K of its project."""
    network, given = cnn()
    text = advice(network, make_plan(network, given), LOO, 8)
    assert re.search(
        r"verifier has about 100.\d kB of at most 24.6.*; take K = 17, or fewer or smaller layers", text
    ), text
    assert OnChain.of(make_plan(network, replace(given, logrows=17)), LOO, 8).fits


def test_a_round_is_as_dear_as_its_proofs() -> None:
    plan = make_plan(network_named("mlp"), sizes("cross-entropy"))
    eight, five = OnChain.of(plan, LOO, 8), OnChain.of(plan, Method("shapley"), 5)
    assert eight.round_gas == 9 * eight.coalition_gas and five.round_gas == 32 * five.coalition_gas
    assert eight.coalition_gas == OnChain.of(plan, LOO, 64).coalition_gas  # who is in it is not sent
    assert five.coalition_gas - eight.coalition_gas == 16 * 64 + 3_000  # one more is left out
