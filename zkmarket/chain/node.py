"""One node's JSON-RPC, with patience for a node that is away."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ChainError

DEADLINE_SECONDS = 600.0

PACE = 2.0
"""The longest pause between two questions for a receipt, in seconds."""


class NodeAway(ChainError):
    """The node cannot be reached, or its answer cannot be read."""


class NodeRefused(ValueError):
    """The node's answer is an error: ``args[0]`` has its code, message and data. `market.transacting` maps it."""


class NonceTaken(ChainError):
    pass


# ---------------------------------------------------------------- the node


@dataclass(frozen=True)
class Node:
    web3: Any
    pace: float

    def ask(self, method: str, *parameters: Any) -> Any:
        with _answering():
            answer = self.web3.provider.make_request(method, list(parameters))
            refusal = answer.get("error")
        if refusal is not None:
            raise NodeRefused(refusal if isinstance(refusal, dict) else {"message": str(refusal)})
        return answer["result"]

    def number(self, method: str, *parameters: Any) -> int:
        return int(self.ask(method, *parameters), 16)

    def count(self, address: str) -> int:
        """Transactions of an account in the chain: its next nonce."""
        return self.number("eth_getTransactionCount", address, "latest")

    def receipt(self, *hashes: str) -> Any | None:
        """Of the one that is in the chain, as web3 gives it."""
        from web3.exceptions import TransactionNotFound

        for one in hashes:
            with _answering():
                try:
                    receipt = self.web3.eth.get_transaction_receipt(one)
                except TransactionNotFound:
                    continue
            if receipt["blockNumber"] is not None:
                return receipt
        return None

    def knows(self, *hashes: str) -> bool:
        return any(self.ask("eth_getTransactionByHash", one) is not None for one in hashes)

    def fees(self) -> dict[str, int]:
        """What a transaction pays: room for a doubled base fee (EIP-1559), or the gas price of an older chain."""
        base = self.ask("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        if base is None:
            return {"gasPrice": self.number("eth_gasPrice")}
        try:
            tip = self.number("eth_maxPriorityFeePerGas")
        except NodeRefused:  # not every node has it
            tip = max(0, self.number("eth_gasPrice") - int(base, 16))
        return {"type": 2, "maxFeePerGas": 2 * int(base, 16) + tip, "maxPriorityFeePerGas": tip}

    def gas(self, sender: str, to: str | None, data: bytes, value: int) -> int:
        """What the node says that it takes, and a tenth more. NodeRefused carries the reason of a revert."""
        return self.number("eth_estimateGas", _request(sender, to, data, value)) * 11 // 10


def _request(sender: str, to: str | None, data: bytes, value: int) -> dict[str, str]:
    request = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
    return request if to is None else request | {"to": to}


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """NodeAway for whatever web3, requests and urllib3 raise when there is no answer."""
    from web3.exceptions import Web3Exception

    try:
        yield
    except (OSError, Web3Exception, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise NodeAway(f"the node does not answer: {error}") from error


def pauses(longest: float) -> Iterator[None]:
    """Sleep between two rounds of a loop: a few milliseconds at first, then longer and longer."""
    pause = 0.002
    while True:
        yield
        time.sleep(pause)
        pause = min(1.5 * pause, longest)


def send_from_node(
    web3: Any, what: str, sender: str, to: str | None, data: bytes, value: int, gas: int | None = None,
    price: int | None = None, pace: float = PACE, deadline: float = DEADLINE_SECONDS,
) -> Any:  # fmt: skip
    """Have the node sign and send for an account whose key it has; the receipt. Nothing is kept of it here.

    Args:
        gas: default what the node estimates, and a tenth more.
        price: of gas, in wei; default what the node takes.

    Raises:
        NodeRefused: the contract refuses, or the node does.
        ChainError: no answer, or no receipt within the deadline.
    """
    node = Node(web3, pace)
    gas = node.gas(sender, to, data, value) if gas is None else gas
    pays = {"gas": hex(gas)} | ({} if price is None else {"gasPrice": hex(price)})
    sent = node.ask("eth_sendTransaction", _request(sender, to, data, value) | pays)
    end = time.monotonic() + deadline
    for _ in pauses(pace):
        told = ""
        try:
            done = node.receipt(sent)
            if done is not None:
                return done
        except NodeAway as error:
            told = f"; {error}"
        if time.monotonic() > end:
            raise ChainError(f"{what}: transaction {sent} was not mined within {deadline:.0f} s{told}")
    raise AssertionError("unreachable")


def genesis_hash(node: Node) -> str:
    block = node.ask("eth_getBlockByNumber", "0x0", False)
    return block["hash"] if block else ""
