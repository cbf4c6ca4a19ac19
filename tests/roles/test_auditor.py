"""The auditor's program, where a settlement's proof is in no calldata: what the log says is checked all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.desks import desk_of
from tests.support.past import AGGREGATOR, BUILD, MANIFEST, TERMS, Past, aggregate_of, commits, points_of
from zkmarket.errors import InputError, OpeningMismatch, ProofRejected
from zkmarket.files import save_npz
from zkmarket.market import Inspection, points_hash
from zkmarket.roles import Auditor, Desk
from zkmarket.round import Theta, moved_points
from zkmarket.rules import weight

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["commits"]  # the fixture


@pytest.fixture
def past() -> Past:
    past = Past()
    past.started(1)
    past.settled(1, AGGREGATOR)
    return past


def audit(past: Past, folder: Path) -> dict[str, Any]:
    desk = desk_of(past, folder, account=False)
    log = desk.history.log()
    return Auditor(desk).audit(log.settled()[0], log)


def settlement(past: Past) -> dict[str, Any]:
    (event,) = [event for event in past.logged if event.name == "Settled"]
    return event.arguments["settlement"]


def test_a_settlement_that_was_passed_on_is_audited(past: Past, tmp_path: Path) -> None:
    row = audit(past, tmp_path)
    assert (row["from_calldata"], row["nu"], row["next_beta"]) == (False, 500, 1000)


@pytest.mark.parametrize(
    "name, wrong, what",
    [("beta", 1001, "next norm bound"), ("nu", 400, "next norm bound"), ("rate", 7, "learning rate")],
)
def test_attack_a_settlement_is_passed_on_so_that_nobody_checks_the_next_norm_bound(
    past: Past, tmp_path: Path, name: str, wrong: int, what: str
) -> None:
    settlement(past)[name] = wrong
    if name == "rate":  # and everything follows from it
        moved = moved_points(
            Past().theta, points_of(aggregate_of(1)), weight(wrong, 3, TERMS.theta_bits), TERMS.blinding
        )
        settlement(past)["theta"] = past.logged[-1].arguments["theta"] = points_hash(moved)
    with pytest.raises(ProofRejected, match=f"round 1: {what} is .* on chain, the rules give"):
        audit(past, tmp_path)


@pytest.mark.parametrize("event", ["Settled", "Closed"])
def test_attack_a_contract_moves_the_model_otherwise(past: Past, tmp_path: Path, event: str) -> None:
    """As if its code were another's: what follows from proven aggregates is computed again each round."""
    assert audit(past, tmp_path / "before")["theta"] == points_hash(past.theta).hex()
    said = settlement(past) if event == "Settled" else past.logged[-1].arguments
    said["theta"] = TERMS.theta  # as if nothing had moved
    verb = event.lower()
    with pytest.raises(ProofRejected, match=f"round 1: as it was {verb} the model's commitment is {TERMS.theta.hex()}"):
        audit(past, tmp_path / "after")


# ---------------------------------------------------------------- a file of the model


@pytest.fixture
def auditor(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    past.started(2)
    past.settled(2, AGGREGATOR)
    monkeypatch.setattr(Desk, "inspected", lambda self: Inspection(self.project.address))
    return Auditor(desk_of(past, tmp_path, account=False))


def model_of(*rounds: int) -> Theta:
    """What these rounds make, as the statement has it."""
    values = sum((aggregate_of(number).values for number in rounds), np.zeros(MANIFEST.params, np.int64)) * 171
    salts = np.zeros((MANIFEST.chunks, MANIFEST.salts, 32), np.uint8)
    salts[..., :2] = list((171 * sum(rounds)).to_bytes(2, "little"))  # of round n each salt is n
    return Theta(values, salts, TERMS.theta_bits)


def test_a_file_of_the_model_opens_what_the_chain_has(auditor: Auditor, tmp_path: Path) -> None:
    path, view = tmp_path / "theta.npz", tmp_path / "model.npz"
    for rounds, number in (((1, 2), None), ((1,), 1), ((1, 2), 2)):
        model_of(*rounds).save(path)
        save_npz(view, {"weight": model_of(*rounds).floats(MANIFEST).astype(np.float32)})
        found = auditor.model(path, view, number)
        assert (found["round"], found["opens"]) == (number or 2, True)
        assert found["theta"] == points_hash(model_of(*rounds).points(BUILD)).hex()
    with pytest.raises(InputError, match=r"after rounds that were closed, \[1, 2\]: got round 3"):
        auditor.model(path, None, 3)


def test_attack_a_file_that_is_not_the_chains_model(auditor: Auditor, tmp_path: Path) -> None:
    """Of another round, with one integer, salt or the scale changed, and floats that are not the integers'."""
    path, view, right = tmp_path / "theta.npz", tmp_path / "model.npz", model_of(1, 2)
    values, salts = right.values.copy(), right.salts.copy()
    values[-1] += 1
    salts[0, 0, 0] ^= 1
    for wrong in (model_of(1), replace(right, values=values), replace(right, salts=salts)):
        wrong.save(path)
        with pytest.raises(OpeningMismatch, match="does not open the model's commitment"):
            auditor.model(path, None, None)
    replace(right, bits=right.bits + 1).save(path)  # the same integers mean half as much
    with pytest.raises(OpeningMismatch, match="has 10 theta_bits: the project has 9"):
        auditor.model(path, None, None)
    right.save(path)
    shown = right.floats(MANIFEST).astype(np.float32)
    shown[0] += np.float32(2.0**-20)
    save_npz(view, {"weight": shown})
    with pytest.raises(OpeningMismatch, match="a parameter differs"):
        auditor.model(path, view, None)
