"""The slopes of zkmarket/posting/gas.py that benchmarks/gas.json does not hold, with verifiers that accept all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.contracts.world import CID, Scene
from tests.support.project_files import DIGITS, load
from zkmarket.build import Columns
from zkmarket.posting import (
    ADMIT_GAS,
    CREATE_MODEL_GAS,
    CREATE_PLAN_GAS,
    CREATE_RATES_GAS,
    GAS,
    LOCK_SEAT_GAS,
    POINT_AGAIN_GAS,
    RECEIPT_GAS,
    ROOT_GAS,
    SECOND_GAS,
    SLOT_AGAIN_GAS,
    RoundShape,
    estimate_cost,
    settle_gas,
)

pytestmark = pytest.mark.chain

TOLERANCE = 0.05
RATE = 10**9


def test_create(scene: Scene) -> None:
    def gas(rates: int = 1, **changes: object) -> int:
        return scene.create(rates=(RATE,) * rates, **(changes | {"rounds": 8})).gas

    one = gas(minTrainers=5, maxTrainers=5)
    assert (gas(minTrainers=3, maxTrainers=5) - one) / 2 == pytest.approx(CREATE_PLAN_GAS, rel=TOLERANCE)
    more = gas(rates=5, minTrainers=5, maxTrainers=5)
    assert more - one == pytest.approx(CREATE_RATES_GAS, rel=TOLERANCE)


def test_a_model(scene: Scene) -> None:
    bare = scene.create(rates=(RATE,), model=bytes(32)).gas
    assert scene.create(rates=(RATE,)).gas - bare == pytest.approx(CREATE_MODEL_GAS, rel=TOLERANCE)


def test_admit_and_lock(scene: Scene) -> None:
    """All receipts in one transaction."""
    members = scene.chain.accounts[2:10]
    locks, admits = {}, {}
    for n in (3, 8):
        own = dataclasses.replace(scene, trainers=list(members[:n]))
        own.open(minTrainers=n, maxTrainers=n)
        own.to_admit()
        receipts = {str(trainer): own.receipt(trainer) for trainer in own.trainers}
        admits[n] = own.project.admit(own.stranger, receipts).gas
        locks[n] = own.project.lock(own.stranger).gas
    assert (locks[8] - locks[3]) / 5 == pytest.approx(LOCK_SEAT_GAS, rel=TOLERANCE)
    assert (admits[8] - admits[3]) / 5 == pytest.approx(RECEIPT_GAS, rel=TOLERANCE)
    assert admits[8] - 8 * RECEIPT_GAS == pytest.approx(ADMIT_GAS, rel=TOLERANCE)


def test_a_root_update(scene: Scene) -> None:
    """Beside a later submission: it has a seat of its own, and a deposit."""
    own = dataclasses.replace(scene, references=1, trainers=list(scene.trainers[:3]))
    own.open()
    offered = [own.offer_root().gas]
    own.to_prove().settle()
    own.pass_deadline()
    own.project.next(own.stranger)
    offered.append(own.offer_root().gas)
    assert offered[-1] - GAS["submit.later"] == pytest.approx(ROOT_GAS, abs=5_000)


def test_the_plan_of_a_project_with_references(tmp_path: Path) -> None:
    """The owner pays for a root update every round, the aggregator for two slots more."""
    plain = estimate_cost(load(tmp_path), DIGITS)
    found = estimate_cost(load(tmp_path, rules__krum="false", rules__cosine="0.1", rules__score='"novel"'), DIGITS)
    n, logrows = found["trainers"]["most"], found["logrows"]
    root = GAS["submit.later"] + ROOT_GAS
    assert found["gas"]["offer root"] == found["cost"]["gas"]["owner, a round"] == root
    assert "offer root" not in plain["gas"] and "owner, a round" not in plain["cost"]["gas"]
    settle = settle_gas(RoundShape(n, 2410, logrows, ("root", "last")))
    assert found["gas"]["settle"]["most"] == settle > plain["gas"]["settle"]["most"]
    more = {name: found["cost"]["gas"][name] - plain["cost"]["gas"][name] for name in plain["cost"]["gas"]}
    added = settle - settle_gas(RoundShape(n, 2410, logrows)) + RECEIPT_GAS
    assert more["aggregator, a round of the most"] == added
    assert more["all together"] == found["rounds"] * (root + added) and more["owner, once"] == 0
    said = set(found["warnings"]) - set(plain["warnings"])
    assert len(said) == 2 and all("compared with" in text for text in said)


SHAPES = ((3, 1, 11), (8, 1, 13), (16, 1, 13), (8, 4, 13), (8, 1, 15))


def test_the_slopes_of_a_settlement(scene: Scene) -> None:
    """N, m and K: what a settlement by verifiers that accept all costs, less what the formula has for real ones."""
    one, two = {}, {}
    for n, chunks, logrows in SHAPES:
        columns = Columns(logrows)
        params = chunks * columns.values - 100
        own = dataclasses.replace(scene, trainers=list(scene.chain.accounts[2 : 2 + n]), offered={})
        own.stranger = scene.chain.accounts[19]
        shape = {"params": params, "chunks": chunks, "logrows": logrows, "rows": columns.rows}
        own.open(minTrainers=n, maxTrainers=n, **shape, betaMin=params, beta=params, betaMax=params)
        own.to_prove()
        proof, of = own.proof(nu=1), RoundShape(n, params, logrows)
        with scene.chain.rolled_back():
            whole = own.settle(proof).gas
        one[of] = whole - settle_gas(of)
        base = own.project.prove_base(own.stranger, proof).gas
        parts = own.project.settle_proven(own.stranger, proof, own.theta(), CID, own.publication(proof)).gas
        two[of] = base + parts - whole - SECOND_GAS - n * SLOT_AGAIN_GAS - of.points * POINT_AGAIN_GAS
    verifiers = -sum(one.values()) / len(one)  # and the bytes of their proofs
    assert 1_200_000 < verifiers < 1_400_000
    for of, rest in one.items():
        assert rest == pytest.approx(-verifiers, abs=TOLERANCE * settle_gas(of)), of
    assert all(abs(rest) < 20_000 for rest in two.values()), two
