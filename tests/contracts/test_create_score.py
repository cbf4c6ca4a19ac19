"""What the factory demands of a project that pays by the model's loss.

create(terms, …) with a method
├── when the method is unknown, shapley has more than five trainers, φ is above 1, or the window is out of bounds
├── when there is no descriptor or no batch
├── when the salts of the batch do not last for two proofs of every coalition of T + V rounds
├── when those of an update's chunk do not last for its coalitions of one round
├── when one transaction does not hold a proof
│   └── it should revert with OutOfBounds
├── when the verifier is another, none, or can be exchanged
│   └── it should revert with VerifierChanged, VerifierDelegates
└── at the edges it should pass
"""

from __future__ import annotations

from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.scoring import LOO, SALTS, SHAPLEY
from tests.contracts.world import CID, ETHER, Scene, refused, refused_like
from zkmarket.chain import Chain, transacting
from zkmarket.market import Verifier

pytestmark = pytest.mark.chain

WORD, U32, YEAR = (1 << 256) - 1, (1 << 32) - 1, 366 * 24 * 3600
ATTEMPTS = 3 + 3
"""T + V of the scene."""


def gas(proof: int, instances: int, chunks: int, left: int, trainers: int) -> int:
    """As Scores.sol estimates it."""
    return 400_000 + 160 * proof + 1200 * instances + 30_000 * chunks + 6_000 * left + 40_000 * trainers


FITS = (14_000_000 - gas(0, 0, 2, 2, 5)) // 1200

REFUSED: dict[str, tuple[dict[str, Any], str, int, int, int]] = {
    "method 3": ({"scoring": {"method": 3}}, "score method", 3, 1, 2),
    "shapley of six": ({"scoring": {"method": SHAPLEY}, "maxTrainers": 6}, "trainers of shapley", 6, 3, 5),
    "no window": ({"scoring": {"window": 0}}, "score window", 0, 1, YEAR),
    "more than a year": ({"scoring": {"window": YEAR + 1}}, "score window", YEAR + 1, 1, YEAR),
    "more than all": ({"scoring": {"floor": 10**9 + 1}}, "floor", 10**9 + 1, 0, 10**9),
    "no descriptor": ({"scoring": {"descriptor": bytes(32)}}, "descriptor", 0, 1, WORD),
    "no batch": ({"scoring": {"batch": bytes(32)}}, "batch", 0, 1, WORD),
    "a salt of the batch less": (
        {"scoring": {"salts": 2 * ATTEMPTS * 6 - 1}},
        "salts of the batch",
        2 * ATTEMPTS * 6 - 1,
        2 * ATTEMPTS * 6,
        U32,
    ),
    "a salt of shapley's batch less": (
        {"scoring": {"method": SHAPLEY, "salts": 2 * ATTEMPTS * 32 - 1}, "salts": 24},
        "salts of the batch",
        2 * ATTEMPTS * 32 - 1,
        2 * ATTEMPTS * 32,
        U32,
    ),
    "a salt of an update less": ({"salts": SALTS - 1}, "salts", SALTS - 1, SALTS, WORD),
    "a salt of shapley's less": ({"scoring": {"method": SHAPLEY}, "salts": 23}, "salts", 23, 24, WORD),
    "a proof of 64 kB": (
        {"scoring": {"proof_bytes": 65_535 - 4_000 - 256 + 1}},
        "calldata of proveUtility",
        65_536,
        0,
        65_535,
    ),
    "too many instances": (
        {"scoring": {"proof_bytes": 0, "instances": FITS + 1}},
        "gas of proveUtility",
        gas(0, FITS + 1, 2, 2, 5),
        0,
        14_000_000,
    ),
}

PASSED: dict[str, dict[str, Any]] = {
    "shapley of five": {"scoring": {"method": SHAPLEY, "salts": 2 * ATTEMPTS * 32}, "salts": 24},
    "just enough of all": {
        "scoring": {"floor": 10**9, "window": 1, "salts": 2 * ATTEMPTS * 6, "proof_bytes": 61_279, "instances": 0},
        "salts": SALTS,
    },
    "no floor, a year": {"scoring": {"floor": 0, "window": YEAR, "proof_bytes": 0, "instances": FITS}},
    "loo of six": {"maxTrainers": 6, "salts": 14},
}


@pytest.mark.parametrize(("changes", "what", "have", "least", "most"), REFUSED.values(), ids=REFUSED.keys())
def test_what_could_not_be_paid_by(
    scene: Scene, changes: dict[str, Any], what: str, have: int, least: int, most: int
) -> None:
    """Attack (salts_run_out, and a project whose rounds end in time-outs that burn the bond)."""
    with refused(f"OutOfBounds(what={what}, have={have}, least={least}, most={most})"):
        scene.create(**scene.by_loss(**changes))


@pytest.mark.parametrize("changes", PASSED.values(), ids=PASSED.keys())
def test_the_edges_pass(scene: Scene, changes: dict[str, Any]) -> None:
    scene.create(**scene.by_loss(**changes))
    kept = scene.project.terms().scoring
    assert kept.method == changes.get("scoring", {}).get("method", LOO)
    assert kept.verifier == scene.mocks[0]


def test_no_window_is_shorter_than_an_hour_on_a_public_chain(scene: Scene, chain: Chain) -> None:
    """As a call: the node signs for its own chain only."""
    ask = chain.web3.provider.make_request
    terms = scene.terms(**scene.by_loss(scoring={"window": 3599}, windows=(3600,) * 9))
    words = (tuple(terms.values()), scene.plans(terms), [1], CID, 0)
    ask("anvil_setChainId", [31338])
    try:
        with refused(f"OutOfBounds(what=score window, have=3599, least=3600, most={YEAR})"), transacting("create"):
            scene.market.contract.create.call(*words, {"from": scene.owner, "value": 3 * (ETHER + ETHER // 5)})
    finally:
        ask("anvil_setChainId", [chain.id])


@pytest.mark.parametrize("kind", ["another hash", "no code", "delegates"])
def test_a_verifier_that_is_not_the_one_pinned(scene: Scene, kind: str) -> None:
    """Attack (foreign and metamorphic verifiers), as for the others."""
    good = scene.mocks[0]
    if kind == "delegates":
        code = bytes.fromhex("ef0100" + "11" * 20)
        where = str(scene.chain.accounts[8])
        scene.chain.web3.provider.make_request("anvil_setCode", [where, "0x" + code.hex()])
        wrong = Verifier(where, keccak(code))
    else:
        wrong = Verifier(good.deployed, bytes(32)) if kind == "another hash" else Verifier("0x" + "77" * 20, bytes(32))
    with refused_like(r"Verifier(Changed|Delegates)\(.*\)"):
        scene.create(**scene.by_loss(wrong))


def test_without_a_method_nothing_of_it_is_read(scene: Scene) -> None:
    scene.create(salts=8)
    assert scene.project.terms().scoring.method == 0
