"""The market on a chain: contracts compiled, verifiers deployed, projects created, rounds settled.

The only file that knows Brownie. First the tools, then the chain, then `Market` and `Project`.
Brownie compiles, encodes and reads; what is sent goes through wallet.py.

Brownie is used as a library, closed in on every side: its data folder is a private temporary one, its
compiler is npm's WebAssembly solc behind contracts/solc.cjs, its chain is an anvil of our own or the
RPC address that the caller gave. It keeps one connection a process, so `connect` is not nested.

The contracts that ezkl writes to verify proofs read their arguments at fixed places of the calldata,
but hash them where the ABI's offsets point. Only the canonical encoding, which a Solidity call
always makes, lets the challenges bind what is checked; a crafted one can make a false proof pass. So
a verifier's answer counts only when a contract asked it with decoded arguments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.abi import event_signature_to_log_topic
from eth_utils.address import to_checksum_address

from ..errors import ChainError, InputError, TransactionReverted
from .abi import CALLS_ONLY, REVERTED, encoded, transacting
from .compiler import CompiledVerifier, brownie_project, compile_contracts, forget_reverted
from .networks import DEVELOPMENT_CHAINS
from .node import PACE, send_from_node
from .wallet import Wallet

# ---------------------------------------------------------------- chains


@dataclass(frozen=True)
class Chain:
    """The chain that this process is connected to.

    Attributes:
        rpc_url: its address.
        id: its chain id.
    """

    rpc_url: str
    id: int

    @property
    def development(self) -> bool:
        """Whether nothing of value is on it: decided by its id alone."""
        return self.id in DEVELOPMENT_CHAINS

    @property
    def accounts(self) -> Any:
        """Brownie's accounts: on a development chain those that its node signs for."""
        return brownie_project().accounts

    @property
    def web3(self) -> Any:
        return brownie_project().web3

    def tip(self) -> tuple[int, bytes]:
        """Number and hash of the latest block: whether anything has happened, for one call."""
        with transacting("reading the latest block"):
            block = self.web3.eth.get_block("latest")
            return block["number"], bytes(block["hash"])

    def block_hash(self, number: int) -> bytes | None:
        """Hash of a block; None if the chain has not come to it."""
        from web3.exceptions import BlockNotFound

        with transacting("reading a block"):
            try:
                return bytes(self.web3.eth.get_block(number)["hash"])
            except BlockNotFound:
                return None

    @property
    def now(self) -> int:
        """Timestamp of the latest block."""
        with transacting("reading the latest block"):
            return int(self.web3.eth.get_block("latest")["timestamp"])

    def wallet(self, path: Path, password: str, outbox: Path | None = None) -> Wallet:
        """An account from an encrypted keystore file, to send and sign with. The key stays in this process.

        Args:
            outbox: where a transaction is kept while it is on its way, so that no restart sends it twice.

        Raises InputError: no such file, not a keystore, or the wrong password.
        """
        return Wallet.open(path, password, outbox)

    def code(self, address: str | bytes) -> bytes:
        """Code of an account; empty if it has none."""
        with transacting("reading code"):
            return bytes(self.web3.eth.get_code(to_checksum_address(address)))

    def balance(self, who: Any) -> int:
        """Native coin of an account, in wei."""
        with transacting("reading a balance"):
            return int(self.web3.eth.get_balance(str(who)))

    def token_balance(self, token: str, who: Any) -> int:
        """What an ERC-20 says that an account has."""
        with transacting("reading a balance"):
            return int(self.contract("IERC20", token, compile_contracts()["IERC20"].abi).balanceOf(str(who)))

    def creation_of(self, address: str, event: str) -> bytes | None:
        """What created a contract: the data of a plain deployment, found by the event that its constructor logs.

        None if it was not deployed by a plain transaction, or not by the one that logged the event.
        """
        where = {
            "address": address,
            "fromBlock": 0,
            "toBlock": "latest",
            "topics": ["0x" + event_signature_to_log_topic(event).hex()],
        }
        with transacting("reading how a contract was deployed"):
            for log in self.web3.eth.get_logs(where):
                sent = self.web3.eth.get_transaction(log["transactionHash"])
                done = self.web3.eth.get_transaction_receipt(log["transactionHash"])
                if sent.get("to") is None and done["contractAddress"] == address:
                    return bytes(sent["input"])
        return None

    @staticmethod
    def address_of_creation(account: str, nonce: int) -> str:
        """Of the contract that an account creates with a nonce."""
        from eth_typing import HexAddress, HexStr
        from web3.types import Nonce
        from web3.utils.address import get_create_address

        return get_create_address(HexAddress(HexStr(account)), Nonce(nonce))

    def pass_time(self, seconds: int) -> None:
        """Move the clock of a development chain and mine a block at the new time."""
        self._only_development("its clock can be moved")
        self._control("evm_increaseTime", seconds)
        self._control("evm_mine")

    @contextlib.contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Undo on leaving whatever happened on a development chain inside the block. Can be nested."""
        self._only_development("it can be rolled back")
        mark = self._control("evm_snapshot")
        try:
            yield
        finally:
            self._control("evm_revert", mark)
            forget_reverted(self.web3.eth.block_number)

    def _control(self, method: str, *given: Any) -> Any:
        """A call that only a development chain's node answers. Brownie's own look through the whole stack each time."""
        with transacting("controlling the development chain"):
            answer = self.web3.provider.make_request(method, list(given))
        if "error" in answer:
            raise ChainError(f"{method} failed: {answer['error']}")
        return answer["result"]

    def deploy(self, container: Any, sender: Any, *arguments: Any) -> Any:
        """A new contract of `compile_contracts`. Deploy the libraries that it links to first, or name them by `at`."""
        return self.at(container, self._create(container._name, encoded(container.deploy, *arguments), sender))

    def at(self, container: Any, address: str) -> Any:
        """A contract of `compile_contracts` that is on the chain already."""
        self._check_code(container._name, address)
        with transacting("reading code"):
            return container.at(address, persist=False)

    def deploy_verifier(self, verifier: CompiledVerifier, sender: Any) -> Any:
        """A new verifier contract with exactly this code."""
        address = self._create("the verifier", verifier.creation, sender)
        if self.code(address) != verifier.runtime:
            raise ChainError(f"the verifier at {address} has other code than was deployed")
        return self.contract("Halo2Verifier", address, verifier.abi)

    def contract(self, name: str, address: str, abi: list[dict[str, Any]]) -> Any:
        """A contract of any ABI that is on the chain already."""
        self._check_code(name, address)
        with transacting("reading code"):
            return brownie_project().Contract.from_abi(name, address, abi, persist=False)

    def _check_code(self, name: str, address: str) -> None:
        if not self.code(address):
            raise ChainError(f"no contract at {address} on chain {self.id}: wanted {name}")

    def _create(self, name: str, data: bytes, sender: Any) -> str:
        return str(self.transact(f"deploying {name}", sender, None, data)["contractAddress"])

    def transact(self, what: str, sender: Any, to: str | None, data: bytes, value: int = 0) -> Any:
        """Send a transaction and wait until it is in the chain: the one way in which this package sends any.

        Args:
            what: in words, for messages.
            sender: a `Wallet`, or an account that the chain's node signs for.
            to: None creates a contract.
            value: in wei.

        Returns:
            web3's receipt.

        Raises:
            TransactionReverted: the contract refuses, before it is sent or after.
            ChainError: see `Wallet.send`.
        """
        with transacting(what):
            if isinstance(sender, Wallet):
                done = sender.send(self.web3, what, to, data, value, pace=self._pace)
            else:
                gas, price = self._development_gas() if self.development else (None, None)
                done = send_from_node(self.web3, what, str(sender), to, data, value, gas, price, pace=self._pace)
        if done["status"] != 1:
            self._ask_why(what, "0x" + bytes(done["transactionHash"]).hex(), done["blockNumber"])
        return done

    def settle_outbox(self, wallet: Wallet) -> Any | None:
        """Finish what an earlier process of a wallet left on its way: to be done before the chain is looked at.

        Returns its receipt, of a failed one too; None if there was nothing.
        """
        with transacting("finishing what is in the outbox"):
            return wallet.settle_outbox(self.web3, pace=self._pace)

    def _development_gas(self) -> tuple[int, int]:
        """As much as a block has, for no more than the chain takes: nothing, on ours.

        Not estimated: an estimate does not see what time the chain was told that its next block has.
        """
        block = self.web3.eth.get_block("latest")
        return block["gasLimit"], 2 * block.get("baseFeePerGas", 0)

    @property
    def _pace(self) -> float:
        return 0.1 if self.development else PACE

    def _ask_why(self, what: str, transaction: str, block: int) -> None:
        """TransactionReverted with what the contract said when it was mined, or says where it stood before."""
        with transacting(what):
            if self.development:  # its node can run the transaction again as it was; others do not always offer that
                trace = self.web3.provider.make_request("debug_traceTransaction", [transaction, CALLS_ONLY])
                output = (trace.get("result") or {}).get("output", "0x")
                if len(output) > 2:
                    raise ValueError({"code": REVERTED, "data": output})
            sent = self.web3.eth.get_transaction(transaction)
            names = ("from", "to", "value", "gas", "input")
            self.web3.eth.call({name: sent[name] for name in names if name in sent}, block - 1)
        raise TransactionReverted(f"{what} was reverted: transaction {transaction}")

    def _only_development(self, what: str) -> None:
        if not self.development:
            raise InputError(f"chain {self.id} is not a development chain: {what} on {DEVELOPMENT_CHAINS} only")
