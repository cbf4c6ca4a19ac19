"""Contracts that stand in for badly behaved strangers: payees, tokens, verifiers, a source of forced coin."""

from __future__ import annotations

from typing import Any

from eth_abi import decode
from eth_hash.auto import keccak

from tests.contracts.world import Scene
from zkmarket.chain import Chain, CompiledVerifier, Receipt, compile_verifier
from zkmarket.market import Verifier

HEADER = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n\n"

WALLET = (
    HEADER
    + """contract Wallet {
    address private target;
    bytes private order;
    uint256 public payments;
    bool public reentered;
    bytes public said;

    /// Do something as this wallet, with the coin that comes along.
    function run(address to, bytes calldata data) external payable {
        (bool good, bytes memory answer) = to.call{value: msg.value}(data);
        if (!good) assembly { revert(add(answer, 0x20), mload(answer)) }
    }

    /// When it is paid it will call back, and keep what it hears.
    function onPayment(address to, bytes calldata data) external {
        (target, order) = (to, data);
    }

    receive() external payable {
        ++payments;
        if (target != address(0) && payments == 1) (reentered, said) = target.call(order);
    }
}
"""
)
"""A payee that re-enters."""


def payee(body: str) -> str:
    return HEADER + f"contract Payee {{\n    receive() external payable {{\n        {body}\n    }}\n}}\n"


REFUSES = payee("revert();")
RETURNS_A_MEGABYTE = payee("assembly { return(0, 1000000) }")
REVERTS_WITH_A_MEGABYTE = payee("assembly { revert(0, 1000000) }")
BURNS_ALL_GAS = payee("assembly { invalid() }")

TOKEN = (
    HEADER
    + """contract Token {
    enum Mood { Good, Refuses, SaysFalse, SaysNothing, TakesFee, Reenters }

    Mood public mood;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    address private target;
    bytes private order;
    bytes public said;

    constructor() {
        balanceOf[msg.sender] = 1e30;
    }

    function become(Mood mood_) external {
        mood = mood_;
    }

    function onTransfer(address to, bytes calldata data) external {
        (target, order) = (to, data);
    }

    /// Do something as this token: it may be a trainer of the project that pays in it.
    function run(address to, bytes calldata data) external payable {
        (bool good, bytes memory answer) = to.call{value: msg.value}(data);
        if (!good) assembly { revert(add(answer, 0x20), mload(answer)) }
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        require(mood != Mood.Refuses, "the token refuses");
        if (mood == Mood.SaysFalse) return false;
        balanceOf[from] -= amount;
        balanceOf[to] += mood == Mood.TakesFee ? amount - 1 : amount;
        if (mood == Mood.Reenters) (, said) = target.call(order);
        if (mood == Mood.SaysNothing) assembly { return(0, 0) }
        return true;
    }
}
"""
)
"""A good minimal ERC-20, until it is told to become something else."""

MOODS = ("good", "refuses", "says false", "says nothing", "takes a fee", "re-enters")

FORCE = (
    HEADER
    + """contract Force {
    function send(address payable to) external payable {
        selfdestruct(to);
    }
}
"""
)


BAD_VERIFIERS = {
    # EVM bytes: 60 push a byte, 5f push 0, 52 mstore, 55 sstore, f3 return, fd revert, fe invalid, 00 stop
    "says false": "60205ff3",
    "says 2": "60025f52 60205ff3",
    "says 1 in 33 bytes": "60015f52 60215ff3",
    "says 1 in 31 bytes": "60015f52 601f6001f3",
    "says nothing": "00",
    "reverts": "5f5ffd",
    "reverts with 1": "60015f52 60205ffd",
    "burns all gas": "fe",
    "writes, then says 1": "60015f55 60015f52 60205ff3",
}


def deploy(chain: Chain, source: str) -> Any:
    """A double on the chain, as a Brownie contract."""
    return chain.deploy_verifier(compile_verifier(source), chain.accounts[0])


def deploy_as_verifier(chain: Chain, code: str) -> Verifier:
    """An account with exactly this code, 1 to 32 bytes in hex."""
    runtime = bytes.fromhex(code)
    size = len(runtime)
    creation = bytes([0x5F + size, *runtime, 0x5F, 0x52, 0x60, size, 0x60, 32 - size, 0xF3])
    deployed = chain.deploy_verifier(CompiledVerifier([], creation, runtime), chain.accounts[0])
    return Verifier(deployed.address, keccak(runtime))


def questions(chain: Chain, done: Receipt) -> list[tuple[str, tuple[int, ...]]]:
    """Whom a transaction asked to verify, and with which instances, in order: for verifiers that accept everything."""
    verify = keccak(b"verifyProof(bytes,uint256[])")[:4]
    answer = chain.web3.provider.make_request("debug_traceTransaction", [done.transaction, {"tracer": "callTracer"}])

    def asked(call: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
        data = bytes.fromhex(call["input"][2:])
        own = [(call["to"], decode(["bytes", "uint256[]"], data[4:])[1])] if data[:4] == verify else []
        return own + [one for inner in call.get("calls", []) for one in asked(inner)]

    return asked(answer["result"])


def reward_token(scene: Scene, mood: str = "good") -> Any:
    """A token of which the owner has plenty, and which the factory may take."""
    token = deploy(scene.chain, TOKEN)
    token.approve(scene.market.address, 10**30, {"from": scene.owner})
    token.become(MOODS.index(mood), {"from": scene.owner})
    return token
