"""What a running role tells Prometheus.

Metrics
├── of a look at the chain it should tell phase, round, deadline, block
├── of a transaction it should count status, gas and fee
├── of a failure it should count the kind
│   └── it should not tell the text, unless a contract said it: an address may hold a key of its user
└── /healthz
    ├── it should be 200 while the chain is looked at, and while a round is proven
    └── it should be 503 after a long silence
Loop: it should tell every look and every failure
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desks import state_of
from zkmarket.chain import Phase
from zkmarket.errors import ChainError, TransactionReverted
from zkmarket.roles import metrics as module
from zkmarket.roles.metrics import Metrics
from zkmarket.serving import serving

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("aggregator")


@pytest.fixture
def place(metrics: Metrics) -> Iterator[str]:
    with serving(metrics.app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


def asked(url: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def lines(url: str) -> set[str]:
    status, text = asked(f"{url}/metrics")
    assert status == 200
    return set(text.splitlines())


def test_a_look_at_the_chain(metrics: Metrics, place: str) -> None:
    metrics.saw(state_of(Phase.PROVE, round=7, settled=6, now=100, deadline=160, block=12))
    found = lines(place)
    assert found >= {
        'zkmarket_phase{zkmarket_phase="PROVE"} 1.0',
        'zkmarket_phase{zkmarket_phase="OPEN"} 0.0',
        "zkmarket_round 7.0",
        "zkmarket_rounds_settled 6.0",
        "zkmarket_seconds_to_deadline 60.0",
        "zkmarket_block 12.0",
        'zkmarket_role_info{role="aggregator"} 1.0',
    }


def test_what_was_sent(metrics: Metrics, place: str) -> None:
    for status in (1, 1, 0):
        metrics.sent({"status": status, "gasUsed": 50_000, "effectiveGasPrice": 3})
    assert lines(place) >= {
        'zkmarket_transactions_total{status="done"} 2.0',
        'zkmarket_transactions_total{status="refused"} 1.0',
        "zkmarket_gas_used_total 150000.0",
        "zkmarket_fees_wei_total 450000.0",
    }


def test_what_failed_without_what_an_address_may_hold(metrics: Metrics, place: str) -> None:
    metrics.failed(ChainError("no answer from https://node.example/v3/SECRET"))
    found = lines(place)
    assert 'zkmarket_failures_total{kind="ChainError"} 1.0' in found
    assert not any("SECRET" in line for line in found)
    metrics.failed(TransactionReverted("lock was reverted: WrongPhase", "WrongPhase"))
    assert 'zkmarket_last_failure_info{kind="TransactionReverted",text="lock was reverted: WrongPhase"} 1.0' in lines(
        place
    )


def test_proofs_and_their_seconds(metrics: Metrics, place: str) -> None:
    with metrics.proving():
        assert "zkmarket_proof_seconds_count 0.0" in lines(place)
    assert "zkmarket_proof_seconds_count 1.0" in lines(place)


def test_whether_it_is_well(metrics: Metrics, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(f"{place}/healthz") == (200, "well\n")
    monkeypatch.setattr(module, "SILENCE", 0.0)
    assert asked(f"{place}/healthz") == (503, "no look at the chain for 0 s\n")
    with metrics.proving():
        assert asked(f"{place}/healthz")[0] == 200
    monkeypatch.undo()
    assert asked(f"{place}/healthz")[0] == 200


def test_other_requests(place: str) -> None:
    assert asked(f"{place}/else") == (404, "wanted /metrics or /healthz\n")
    assert asked(f"{place}/metrics", "POST") == (405, "wanted GET\n")
    assert asked(f"{place}/healthz", "HEAD") == (200, "")


def test_the_dashboard_asks_for_what_there_is(metrics: Metrics) -> None:
    metrics.failed(ChainError(""))
    there = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    panels = json.loads((ROOT / "docs" / "grafana.json").read_text())["panels"]
    asked_for = {name for panel in panels for name in re.findall(r"\bzkmarket_\w+", panel["targets"][0]["expr"])}
    assert len(asked_for) >= 8 and asked_for <= there
