"""A project's life as one document, of which a browser runs every transaction again.

record(project)
├── it should have every transaction that the project logged, from the factory's deployment on, as it was signed
├── it should have nothing of another project of the same factory
├── it should have code of library and verifiers, and what everybody may withdraw
├── when another contract passed a call on
│   └── it should refuse
├── when the reward is a token
│   └── it should refuse
└── when the node keeps no signed transactions
    └── it should refuse
known_code: see tests/e2e/test_demo.py, where a browser compares it
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from eth_account import Account

from tests.contracts import doubles
from tests.contracts.world import Scene
from zkmarket.chain import LIBRARIES, Chain, Phase, encoded
from zkmarket.errors import ChainError, InputError
from zkmarket.market import record

pytestmark = pytest.mark.chain


@pytest.fixture
def settled(scene: Scene) -> Scene:
    scene.reach(Phase.PROVE)
    scene.settle()
    scene.project.withdraw(scene.trainers[0])
    return scene


def test_every_transaction_of_the_project_as_it_was_signed(settled: Scene, chain: Chain) -> None:
    other = dataclasses.replace(settled)
    other.reach(Phase.OPEN, nonce=77)
    assert other.project.address != settled.project.address
    recording = json.loads(json.dumps(record(settled.project)))
    told = recording["transactions"]
    logged = {event.transaction for event in settled.project.events()}
    deployed, created, *rest = told
    assert {one["hash"] for one in rest} <= logged and len(rest) >= len(logged) - 1
    assert [one["block"] for one in told] == sorted(one["block"] for one in told)
    for one in told:
        sent = chain.web3.eth.get_transaction(one["hash"])
        assert Account.recover_transaction(one["raw"]) == sent["from"]
        assert chain.web3.eth.get_block(one["block"])["timestamp"] == one["time"]
    assert chain.web3.eth.get_transaction(deployed["hash"])["to"] is None
    assert chain.web3.eth.get_transaction(created["hash"])["to"] == recording["factory"]
    assert {log["address"] for one in rest for log in one["logs"]} == {settled.project.address}
    assert other.project.address not in json.dumps(recording)


def test_code_and_credits(settled: Scene, chain: Chain) -> None:
    recording = record(settled.project)
    terms = settled.project.terms()
    assert set(recording["code"]) == {
        *LIBRARIES,
        "base verifier",
        *(f"settlement verifier, N={n}" for n in range(terms.min_trainers, terms.max_trainers + 1)),
    }
    for one in recording["code"].values():
        assert bytes.fromhex(one["code"][2:]) == chain.code(one["address"])
    views = {view["name"]: view["answer"] for view in recording["views"]}
    for who in settled.trainers:
        account = settled.project.account(who)
        assert int(views[f"account of {who}"][2:66], 16) == account.credit
        assert int(views[f"refundWei of {who}"], 16) == account.refund_wei


def test_a_call_that_was_passed_on_cannot_be_recorded(scene: Scene) -> None:
    """The other contract's state is not in the recording: its call could not be run again."""
    wallet = doubles.deploy(scene.chain, doubles.WALLET)
    scene.open()
    data = encoded(scene.project.contract.join, scene.project.sign_membership(scene.owner, wallet.address), bytes(32))
    stake = scene.project.terms().stake_wei
    call = encoded(wallet.run, scene.project.address, data)
    scene.chain.transact("joining", scene.stranger, wallet.address, call, stake)
    with pytest.raises(ChainError, match=f"calls {wallet.address}, which passes a call on"):
        record(scene.project)


def test_a_token_is_not_ours_to_run(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = dataclasses.replace(settled.project.terms(), token="0x" + "11" * 20)
    monkeypatch.setattr(settled.project, "terms", lambda: terms)
    with pytest.raises(InputError, match="wanted a project with a native reward"):
        record(settled.project)


def test_a_node_that_keeps_no_signed_transactions(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = settled.chain.web3.provider.make_request

    def poor(method: str, given: Any) -> Any:
        return {"error": {"code": -32601}} if method == "eth_getRawTransactionByHash" else ask(method, given)

    monkeypatch.setattr(settled.chain.web3.provider, "make_request", poor)
    with pytest.raises(ChainError, match="ask one with eth_getRawTransactionByHash"):
        record(settled.project)
