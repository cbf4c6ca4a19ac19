"""The slopes of zkmarket/plan.py that benchmarks/gas.json does not hold, measured with verifiers that accept all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.contracts.world import Scene
from tests.unit.test_project_file import DIGITS, load
from zkmarket.plan import (
    ADMIT_SEAT_GAS,
    CREATE_MODEL_GAS,
    CREATE_PLAN_GAS,
    CREATE_RANGE_GAS,
    CREATE_RATES_GAS,
    LOCK_SEAT_GAS,
    ROOT_GAS,
    plan,
    root_gas,
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


def test_a_verifier_of_full_chunks_and_a_model(scene: Scene) -> None:
    nobody = {"range": ("0x" + "00" * 20, bytes(32))}
    small = {"params": 1000, "chunks": 1, "betaMin": 1000}
    without = scene.create(rates=(RATE,), **small, **nobody).gas
    assert scene.create(rates=(RATE,), **small).gas - without == pytest.approx(CREATE_RANGE_GAS, rel=TOLERANCE)
    bare = scene.create(rates=(RATE,), **small, **nobody, model=bytes(32)).gas
    assert without - bare == pytest.approx(CREATE_MODEL_GAS, rel=TOLERANCE)


def test_admit_and_lock(scene: Scene) -> None:
    members = scene.chain.accounts[2:10]
    locks, last = {}, {}
    for n in (3, 8):
        own = dataclasses.replace(scene, trainers=list(members[:n]))
        own.open(minTrainers=n, maxTrainers=n)
        own.to_admit()
        admitted = [own.project.admit(own.stranger, trainer, own.receipt(trainer)).gas for trainer in own.trainers]
        last[n] = admitted[-1]
        locks[n] = own.project.lock(own.stranger).gas
        assert admitted[-1] - admitted[0] == pytest.approx((n - 1) * ADMIT_SEAT_GAS, rel=TOLERANCE)
    assert (locks[8] - locks[3]) / 5 == pytest.approx(LOCK_SEAT_GAS, rel=TOLERANCE)
    assert (last[8] - last[3]) / 5 == pytest.approx(ADMIT_SEAT_GAS, rel=TOLERANCE)


@pytest.mark.parametrize("chunks, params", [(1, 1000), (4, 4000)])
def test_references(scene: Scene, chunks: int, params: int) -> None:
    """A root update costs what a submission does, less its seat; each reference has its points in a settlement."""
    settled = {}
    for references in (0, 1, 3):
        own = dataclasses.replace(scene, references=references, trainers=list(scene.trainers[:3]))
        own.open(chunks=chunks, params=params, betaMin=params)
        own.to_prove().settle()
        own.pass_deadline()
        own.project.next(own.stranger)
        root = own.offer_root().gas if references & 1 else None
        own.start()
        submitted = [own.submit(trainer).gas for trainer in own.trainers]
        if root is not None:
            assert root - submitted[-1] == pytest.approx(ROOT_GAS, rel=TOLERANCE)
        own.pass_deadline()
        own.admit_all()
        own.project.lock(own.stranger)
        settled[references] = own.settle().gas
    for references, held in ((1, 1), (3, 2)):
        want = settle_gas(3, chunks, held) - settle_gas(3, chunks)
        assert settled[references] - settled[0] == pytest.approx(want, rel=2 * TOLERANCE)


def test_the_plan_of_a_project_with_references(tmp_path: Path) -> None:
    """The owner pays for a root update every round, the aggregator for two slots more."""
    plain = plan(load(tmp_path), DIGITS)
    found = plan(load(tmp_path, rules__krum="false", rules__cosine="0.1", rules__score='"novel"'), DIGITS)
    n, chunks = found["trainers"]["most"], found["chunks"]
    root = root_gas(chunks)
    assert found["gas"]["offer root"] == found["cost"]["gas"]["owner, a round"] == root
    assert "offer root" not in plain["gas"] and "owner, a round" not in plain["cost"]["gas"]
    assert found["gas"]["settle"]["most"] == settle_gas(n, chunks, 2) > plain["gas"]["settle"]["most"]
    more = {name: found["cost"]["gas"][name] - plain["cost"]["gas"][name] for name in plain["cost"]["gas"]}
    settle = settle_gas(n, chunks, 2) - settle_gas(n, chunks)
    assert more["aggregator, a round of the most"] == settle
    assert more["all together"] == found["rounds"] * (root + settle) and more["owner, once"] == 0
    said = set(found["warnings"]) - set(plain["warnings"])
    assert len(said) == 2 and all("compared with" in text for text in said)
