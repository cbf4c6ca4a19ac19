"""One deployed contract: calls, transactions, its log."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eth_utils.abi import event_abi_to_log_topic

from ..errors import ChainError, TransactionReverted
from .abi import encoded, named, plain, transacting
from .chain import Chain
from .compiler import compile_contracts
from .wallet import Wallet

# ---------------------------------------------------------------- what the chain says


@dataclass(frozen=True)
class Event:
    """A log entry of a contract, with its arguments by name; structs are dicts."""

    name: str
    arguments: dict[str, Any]
    block: int
    transaction: str


@dataclass(frozen=True)
class Receipt:
    """A transaction that was mined.

    Attributes:
        what: in words, such as "submit".
        transaction: its hash.
        gas: used.
        events: of the contract that was called, in order.
    """

    what: str
    transaction: str
    block: int
    gas: int
    events: tuple[Event, ...]

    def event(self, name: str) -> Event:
        """The first event of that name; ChainError if there is none."""
        for event in self.events:
            if event.name == name:
                return event
        raise ChainError(f"{self.what}: transaction {self.transaction} logged no {name}")


def sign(chain: Chain, account: Any, message: dict[str, Any]) -> bytes:
    """An account's EIP-712 signature, 65 bytes: with its key, or by the node that holds it."""
    if isinstance(account, Wallet):
        return account.sign_typed(message)
    plain = json.loads(json.dumps(message, default=lambda value: "0x" + bytes(value).hex()))
    with transacting("signing"):
        answer = chain.web3.provider.make_request("eth_signTypedData_v4", [str(account), plain])
    if "error" in answer:
        raise ChainError(f"the node does not sign for {account}: {answer['error'].get('message')}")
    return bytes.fromhex(answer["result"][2:])


class Contract:
    """A contract of contracts/ at an address."""

    def __init__(self, chain: Chain, name: str, address: str):
        self.chain = chain
        self.name = name
        self.container = compile_contracts()[name]
        self.contract = chain.contract(name, address, self.container.abi)
        self.address: str = self.contract.address
        events = [item for item in self.container.abi if item["type"] == "event"]
        self._topics = {"0x" + event_abi_to_log_topic(item).hex(): item for item in events}

    def _topic(self, name: str) -> str:
        """What marks an event of that name in the log."""
        return next(topic for topic, item in self._topics.items() if item["name"] == name)

    def _send(self, what: str, method: str, *arguments: Any, sender: Any, value: int = 0) -> Receipt:
        with transacting(what):
            data = encoded(getattr(self.contract, method), *arguments)
        done = self.chain.transact(what, sender, self.address, data, value)
        transaction = "0x" + bytes(done["transactionHash"]).hex()
        return Receipt(what, transaction, done["blockNumber"], done["gasUsed"], self._decoded(done["logs"]))

    def _call(self, method: str, *arguments: Any, block: int | None = None) -> Any:
        try:
            with transacting(f"reading {method}"):
                return plain(getattr(self.contract, method).call(*arguments, block_identifier=block))
        except TransactionReverted as error:
            if error.reason:
                raise
            message = f"the contract at {self.address} does not answer {method}: is it a {self.name} of zkmarket?"
            raise ChainError(message) from error

    def _read(self, method: str, *arguments: Any, block: int | None = None) -> Any:
        """A view that returns one struct, or an array of them, as dicts."""
        item = next(item for item in self.container.abi if item.get("name") == method)
        output = dict(item["outputs"][0], name="value")
        return named([output], [self._call(method, *arguments, block=block)])["value"]

    @functools.cached_property
    def _decoder(self) -> Any:
        """web3's view of the contract. It is made once: that takes longer than to decode a log."""
        return self.chain.web3.eth.contract(self.address, abi=self.container.abi)

    def _decoded(self, logs: Any) -> tuple[Event, ...]:
        events = []
        for log in logs:
            item = self._topics.get("0x" + bytes(log["topics"][0]).hex()) if log["topics"] else None
            if item is None or log["address"] != self.address:
                continue
            found = self._decoder.events[item["name"]]().process_log(log)["args"]
            values = [found[part["name"]] for part in item["inputs"]]
            events.append(
                Event(
                    item["name"],
                    named(item["inputs"], [plain(value) for value in values]),
                    log["blockNumber"],
                    "0x" + bytes(log["transactionHash"]).hex(),
                )
            )
        return tuple(events)

    def events(self, from_block: int = 0, to_block: int | str = "latest") -> tuple[Event, ...]:
        """All that the contract logged, in order; nothing if the chain has not come to `from_block` yet."""
        with transacting("reading the block number"):
            if to_block == "latest" and from_block > self.chain.web3.eth.block_number:
                return ()
        return self._logged(from_block, to_block, [])

    def _logged(self, from_block: int, to_block: int | str, topics: list[str | None]) -> tuple[Event, ...]:
        where = {"address": self.address, "fromBlock": from_block, "toBlock": to_block, "topics": topics}
        with transacting("reading events"):
            return self._decoded(self.chain.web3.eth.get_logs(where))

    def follow(self, from_block: int = 0, confirmations: int = 0, poll: float = 1.0) -> Iterator[Event]:
        """Events as they are logged, in order, for ever.

        Args:
            confirmations: blocks on top of an event before it is told; a reorganisation of fewer cannot take
                back what was told. On a public chain give some.
            poll: seconds between two looks at the chain.
        """
        while True:
            with transacting("reading the block number"):
                last = self.chain.web3.eth.block_number - confirmations
            if last >= from_block:
                events = self.events(from_block, last)
                with transacting("reading the block number"):
                    known = self.chain.web3.eth.block_number >= last
                if known:  # else another node answered, which has not these blocks yet
                    yield from events
                    from_block = last + 1
            time.sleep(poll)
