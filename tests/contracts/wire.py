"""A quick line to the development chain for test_invariants.py, which asks some ten thousand times: Brownie is
ten times slower. One transaction a block, at a timestamp that the caller chooses; all that shows in one call.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import abi_to_signature

from tests.contracts.model import Model
from tests.contracts.world import Scene
from zkmarket.chain import chain, compile_contracts, compile_verifier, transacting
from zkmarket.market import Project

BURN = "0x000000000000000000000000000000000000dEaD"
TRAINERS = ("t0", "t1", "t2", "t3", "t4", "t5")
ACTORS = ("owner", "aggregator", "deputy", "stranger", *TRAINERS)
GAS = 12_000_000

TOKEN = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract Token {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    error Short();

    constructor() {
        balanceOf[msg.sender] = 1 << 200;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        if (balanceOf[msg.sender] < amount) revert Short();
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        if (allowance[from][msg.sender] < amount || balanceOf[from] < amount) revert Short();
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}
"""
"""A good ERC-20, all of it its maker's at first."""

LENS = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract Lens {
    function look(address[] calldata to, bytes[] calldata data, address[] calldata who)
        external
        view
        returns (bytes[] memory told, uint256[] memory coin)
    {
        (told, coin) = (new bytes[](to.length), new uint256[](who.length));
        for (uint256 i; i < to.length; ++i) (, told[i]) = to[i].staticcall(data[i]);
        for (uint256 i; i < who.length; ++i) coin[i] = who[i].balance;
    }
}
"""
"""Many views and balances in one call."""


@dataclass(frozen=True)
class Said:
    """A log entry: its name, indexed words, other words."""

    name: str
    topics: tuple[int, ...]
    words: tuple[int, ...]


@dataclass(frozen=True)
class Done:
    """A transaction: the name of the error if it was refused."""

    error: str
    events: tuple[Said, ...]


@dataclass
class Seen:
    """All that shows of a project: its state, each account, coin and tokens by holder."""

    state: dict[str, Any]
    people: dict[str, dict[str, int]]
    coin: dict[str, int]
    tokens: dict[str, int] = field(default_factory=dict)

    def claim_of(self, who: str) -> int:
        """Coin that an account has in the project, rewards apart."""
        own = self.people[who]
        bond = self.state["bond"] if self.state["aggregator"] == who else 0
        return own["stake"] + own["refund"] + bond


class Stage:
    """What all examples share: the market, the people, a token, and what was taken."""

    def __init__(self, scene: Scene):
        self.scene = dataclasses.replace(scene)
        self.line = http.client.HTTPConnection(scene.chain.rpc_url.removeprefix("http://"), timeout=60)
        accounts = scene.chain.accounts
        self.addresses = {name: str(accounts[index]) for index, name in enumerate(ACTORS)}
        self.names = {address: name for name, address in self.addresses.items()}
        self.accounts = {str(accounts[index]): accounts[index] for index in range(len(ACTORS))}
        token, lens = compile_verifier(TOKEN), compile_verifier(LENS)
        self.token = scene.chain.deploy_verifier(token, accounts[0])
        with transacting("approving"):
            self.token.approve(scene.market.address, 2**255, {"from": accounts[0]})
        self.lens: str = scene.chain.deploy_verifier(lens, accounts[0]).address
        self.projects: dict[str, Project] = {}
        self.signed: dict[Any, bytes] = {}
        self.tally: Counter[str] = Counter()
        items = [item for made in (*compile_contracts(), token, lens) for item in made.abi]
        items.append({"type": "error", "name": "Panic", "inputs": [{"type": "uint256"}]})
        by_topic = {keccak(abi_to_signature(item).encode()): item for item in items if "name" in item}
        self.errors = {"0x" + t[:4].hex(): i["name"] for t, i in by_topic.items() if i["type"] == "error"}
        self.events = {"0x" + t.hex(): i["name"] for t, i in by_topic.items() if i["type"] == "event"}
        self.selectors = {i["name"]: t[:4] for t, i in by_topic.items() if i["type"] == "function"}

    def rpc(self, *calls: tuple[Any, ...]) -> list[dict[str, Any]]:
        body = [{"jsonrpc": "2.0", "id": i, "method": c[0], "params": list(c[1:])} for i, c in enumerate(calls)]
        self.line.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        answers = json.loads(self.line.getresponse().read())
        return sorted(answers, key=lambda answer: answer["id"])

    def send(self, sender: str, to: str | None, data: str, value: int, at: int) -> Done:
        """Mined alone, in a block with exactly this timestamp."""
        call = {"from": sender, "data": data, "value": hex(value), "gas": hex(GAS), "gasPrice": "0x0"}
        if to is not None:
            call["to"] = to
        clock, answer = self.rpc(("evm_setNextBlockTimestamp", at), ("eth_sendTransactionSync", call))
        assert "error" not in clock and "error" not in answer, (clock, answer)
        receipt = answer["result"]
        assert receipt["blockTimestamp"] == at
        if receipt["status"] == "0x1":
            return Done("", tuple(self._said(log) for log in receipt["logs"]))
        told = self.rpc(("eth_call", call, "latest"))[0]["error"]
        return Done(self.errors.get((told.get("data") or "")[:10], f"unknown {told}"), ())

    def _said(self, log: dict[str, Any]) -> Said:
        topics = tuple(int(topic, 16) for topic in log["topics"][1:])
        return Said(self.events.get(log["topics"][0], ""), topics, words_of(bytes.fromhex(log["data"][2:])))

    def look(self, project: str, model: Model) -> Seen:
        """All that shows of a project; of the model only what to ask for: which round, which unit."""
        state = ("phase", "deadline", "round", "settled", "voids", "aggregator", "beta", "pool", "ending")
        names = (*state, "bondWei", "unburntWei", "isClaimed", "outcome", "state", "seats", "root", "proven")
        people = list(self.names)
        holders = [*people, project] if not model.native else [project]
        calls = [(project, self.selectors[name]) for name in names]
        views = ("account", "refundWei")
        calls += [(project, self.selectors[view] + address_word(who)) for who in people for view in views]
        calls += [(self.token.address, self.selectors["balanceOf"] + address_word(who)) for who in holders]
        told, coin = self._read(calls, [*people, project, BURN])
        found: dict[str, Any] = {name: words[0] for name, words in zip(names, told, strict=False)}
        found |= {"bond": found["bondWei"], "unburnt": found["unburntWei"], "aggregator": address(told[5][0])}
        found |= {"outcome": told[12], "ending": bool(found["ending"]), "isClaimed": bool(found["isClaimed"])}
        found["state"] = told[13]
        seats = told[14]
        found["seats"] = [(address(seats[2 + 3 * i]), bool(seats[3 + 3 * i])) for i in range(seats[1])]
        found["offered"], found["admitted"], _ = told[15]
        (found["proven"],) = told[16]
        fields = ("credit", "stake", "last_round", "voids_seen", "skipped")
        rest = iter(told[17:])
        standing = {who: dict(zip(fields, next(rest), strict=True)) | {"refund": next(rest)[0]} for who in people}
        tokens = {who: words[0] for who, words in zip(holders, rest, strict=True)}
        return Seen(found, standing, dict(zip([*people, project, BURN], coin, strict=True)), tokens)

    def _read(
        self, calls: Sequence[tuple[str, bytes]], who: Sequence[str]
    ) -> tuple[list[tuple[int, ...]], Sequence[int]]:
        to, data = zip(*calls, strict=True)
        words = self.selectors["look"] + encode(["address[]", "bytes[]", "address[]"], [to, data, who])
        answer = self.rpc(("eth_call", {"to": self.lens, "data": "0x" + words.hex()}, "latest"))[0]["result"]
        told, coin = decode(["bytes[]", "uint256[]"], bytes.fromhex(answer[2:]))
        return [words_of(one) for one in told], coin

    def project(self, where: str) -> Project:
        """The same for each example: a clone's address depends on the factory's nonce alone."""
        if where not in self.projects:
            self.projects[where] = Project(self.scene.chain, where)
        return self.projects[where]

    def membership(self, signer: str, trainer: str) -> bytes:
        key = (self.scene.project.address, signer, trainer)
        if key not in self.signed:
            self.signed[key] = self.scene.project.sign_membership(self.accounts[signer], trainer)
        return self.signed[key]

    def receipt(self, signer: str, round_number: int, trainer: str) -> bytes:
        """Of the round that is open now, for "" of its root update; signed once: it is the same in each example.

        Nobody signs zeros.
        """
        if signer not in self.accounts:
            return bytes(65)
        key = (self.scene.project.address, self.scene.values["chunks"], signer, round_number, trainer)
        if key not in self.signed:
            self.signed[key] = self.scene.receipt(trainer or None, self.accounts[signer])
        return self.signed[key]


def words_of(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32))


def address_word(where: str) -> bytes:
    return bytes(12) + bytes.fromhex(where[2:])


def address(word: int) -> str:
    return chain.to_checksum_address(word.to_bytes(20, "big"))
