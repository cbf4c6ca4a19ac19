"""The auditor's program, where a settlement's proof is in no calldata: what the log says is checked all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.desks import desk_of
from tests.support.past import AGGREGATOR, Past
from zkmarket.errors import ProofRejected
from zkmarket.roles import Auditor

pytestmark = pytest.mark.unit


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
    with pytest.raises(ProofRejected, match=f"round 1: {what} is .* on chain, the rules give"):
        audit(past, tmp_path)
