"""A whole project from creation to the last withdrawal: the states in order, and the money to the last wei."""

from __future__ import annotations

import pytest

from tests.contracts.world import ETHER, Scene
from zkmarket.chain import Phase

pytestmark = pytest.mark.chain


def test_three_rounds_and_everybody_withdraws(scene: Scene) -> None:
    scene.open()
    project, values = scene.project, scene.values
    paid = {str(trainer): 0 for trainer in scene.trainers}
    dust = 0
    for number in range(3):
        assert scene.phase == Phase.OPEN
        scene.start()
        assert scene.phase == Phase.SUBMIT
        scene.submit_all()
        scene.pass_deadline()
        assert scene.phase == Phase.ADMIT
        scene.admit_all()
        project.lock(scene.stranger)
        assert scene.phase == Phase.PROVE
        scores = [3, 0, 5, 7 + number, 1]
        event = scene.settle(mask=[1, 0, 1, 1, 1], scores=scores).event("Settled")
        pay, left = scene.pays(scores)
        assert event.arguments["settlement"]["pay"] == pay
        for trainer, amount in zip(scene.trainers, pay, strict=True):
            paid[str(trainer)] += amount
        dust += left
        assert scene.phase == Phase.SETTLED
        assert scene.holdings() == scene.balance(project.address)
        scene.pass_deadline()
        project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
    for trainer in scene.trainers:
        before = scene.balance(trainer)
        project.withdraw(trainer)
        assert scene.balance(trainer) == before + paid[str(trainer)] + values["stakeWei"]
    before = scene.balance(scene.aggregator)
    project.withdraw(scene.aggregator)
    assert scene.balance(scene.aggregator) == before + 3 * values["fee"] + values["bondWei"]
    if dust:
        project.withdraw(scene.owner)
    assert scene.balance(project.address) == 0
    assert sum(paid.values()) + dust == 3 * ETHER
