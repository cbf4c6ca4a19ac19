"""An account with a key of its own that sends every transaction once, whatever happens on the way.

A process may be killed at any moment, and a node may drop a transaction, mine it late, restart, or
reorganise. What keeps a call from being paid twice is its nonce: of all transactions with one nonce a
chain takes one. So the signed transaction is written to a file, the outbox, before any node sees it,
and leaves the file when there is a receipt. Whoever opens the wallet next finishes what it finds
there, with the same nonce, before anything else is sent.

Only what a node has said of a hash counts: it is asked directly, past web3's and Brownie's caches.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ..documents import parse_json, read_json
from ..errors import ChainError, InputError
from ..files import atomic_write, locked
from .node import DEADLINE_SECONDS, PACE, Node, NodeAway, NodeRefused, NonceTaken, genesis_hash, pauses

BUMP_SECONDS = 60.0
"""After so long a transaction is replaced by one that pays a quarter more."""

LOOK_SECONDS = 2.0
"""Between two looks whether the node still knows the transaction, and whether its nonce is still free."""

TAKEN_LOOKS = 3
"""A nonce counts as used by another transaction when so many looks have found it used, and no receipt."""

LIGHT_ITERATIONS = 1024
"""scrypt's N for keys of development chains: 3 ms instead of a second."""

_KNOWN = re.compile(r"already (known|imported|exists|in )|known transaction", re.I)
_IMPOSSIBLE = re.compile(
    r"insufficient funds|intrinsic gas|exceeds block gas|gas limit (too high|reached)|exceeds the configured cap"
    r"|tx fee .* exceeds|invalid (chain|sender|signature)|chain id|not supported|oversized|initcode",
    re.I,
)
"""What no repetition changes. Other refusals may pass: a full pool, a fee that is too low for the moment."""


# ---------------------------------------------------------------- the outbox


@dataclass(frozen=True)
class _Entry:
    """A transaction that may be on its way.

    Attributes:
        genesis: hash of the chain's first block; development chains share their ids.
        fields: what is signed, of the newest version.
        signed: hash and raw transaction of every version: all have the same nonce and make the same call.
    """

    what: str
    chain: int
    genesis: str
    account: str
    fields: dict[str, Any]
    signed: tuple[tuple[str, str], ...]

    @property
    def nonce(self) -> int:
        return int(self.fields["nonce"])

    @property
    def hashes(self) -> tuple[str, ...]:
        """The newest first: it is the likeliest."""
        return tuple(one for one, _ in reversed(self.signed))

    def makes(self, to: str | None, data: bytes, value: int) -> bool:
        """Whether it is this call."""
        have = (self.fields.get("to"), self.fields["data"], self.fields["value"])
        return have == (to, "0x" + data.hex(), value)

    def to_json(self) -> bytes:
        signed = [{"hash": one, "raw": raw} for one, raw in self.signed]
        return json.dumps({**self.__dict__, "signed": signed}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, value: Any) -> _Entry:
        """KeyError, TypeError or ValueError: it is none."""
        signed = tuple((one["hash"], one["raw"]) for one in value["signed"])
        names = ("what", "chain", "genesis", "account", "fields")
        if set(value) != {*names, "signed"} or not signed or not isinstance(value["fields"], dict):
            raise ValueError("it has other fields")
        for one, raw in signed:
            if one != "0x" + keccak(bytes.fromhex(raw[2:])).hex():
                raise ValueError("a transaction has not its hash")
        return cls(**{name: value[name] for name in names}, signed=signed)


# ---------------------------------------------------------------- the wallet


class Wallet:
    """A keystore's account. `market.Chain.transact` sends with it, `market.sign` signs with it."""

    def __init__(
        self, account: Any, outbox: Path | None = None, bump_after: float = BUMP_SECONDS,
        deadline: float = DEADLINE_SECONDS,
    ):  # fmt: skip
        self._account = account  # of eth_account: it does not show its key either
        self.address: str = account.address
        self.outbox = outbox
        self.bump_after = bump_after
        self.deadline = deadline
        self.sent_block = 0
        """Of the last transaction that this process has sent; before it the chain does not show what was done."""
        self.on_receipt: Callable[[Any], None] = lambda receipt: None
        """Told of every transaction that came into the chain."""

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    def __reduce__(self) -> Any:
        raise TypeError("a wallet is not copied: it holds a key")

    @classmethod
    def create(cls, path: Path, password: str, light: bool = False) -> str:
        """Write a keystore file with a new key, and return its address.

        Args:
            light: quick to open, and quick to guess the password of: for development chains only.

        Raises InputError: there is a file already.
        """
        from eth_account import Account

        key = secrets.token_bytes(32)
        value = Account.encrypt(key, password, kdf="scrypt", iterations=LIGHT_ITERATIONS if light else None)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(mode=0o600, exist_ok=False)  # the name is ours now, whoever else creates
        except FileExistsError:
            raise InputError(f"{path} exists: a keystore is never overwritten; choose another name") from None
        atomic_write(path, (json.dumps(value) + "\n").encode(), mode=0o600)
        return str(Account.from_key(key).address)

    @classmethod
    def open(
        cls, path: Path, password: str, outbox: Path | None = None, bump_after: float = BUMP_SECONDS,
        deadline: float = DEADLINE_SECONDS,
    ) -> Wallet:  # fmt: skip
        """An account from an encrypted keystore file. The key stays in this process.

        Args:
            outbox: where a transaction is kept while it is on its way. Without one, nothing is known of it
                once this process has ended: for commands that somebody watches.
            bump_after: seconds after which a transaction that is not mined pays more.
            deadline: seconds after which waiting ends.

        Raises InputError: no such file, not a keystore, or the wrong password.
        """
        from eth_account import Account

        try:
            account = Account.from_key(Account.decrypt(parse_json(Path(path).read_bytes()), password))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
            reason = "wrong password" if str(error) == "MAC mismatch" else error
            raise InputError(f"{path} cannot be opened as a keystore: {reason}") from error
        return cls(account, None if outbox is None else Path(outbox), bump_after, deadline)

    def sign_typed(self, message: dict[str, Any]) -> bytes:
        """The EIP-712 signature of a full message, 65 bytes."""
        return bytes(self._account.sign_typed_data(full_message=message).signature)

    def send(
        self, web3: Any, what: str, to: str | None, data: bytes, value: int = 0, gas: int | None = None,
        pace: float = PACE,
    ) -> Any:  # fmt: skip
        """Make a call, once, and wait until it is in the chain; web3's receipt, of a failed one too.

        What an earlier process left in the outbox is finished first. If that is this very call, its
        receipt is the answer. Wallets with one outbox take turns.

        Args:
            what: in words, for messages.
            to: None creates a contract.
            gas: default what the node estimates, and a tenth more.
            pace: the longest pause between two questions for a receipt, in seconds.

        Raises:
            NodeRefused: the contract would revert, or the node refuses for good; nothing is on its way.
            ChainError: no answer before anything was sent; another program used the nonce; or no receipt
                within the deadline, and then the outbox keeps the transaction.
            InputError: the outbox is damaged, or of another account or chain.
        """
        to = None if to is None else to_checksum_address(to)
        data = bytes(data)
        with self._turn():
            node = Node(web3, pace)
            left = self._left(node)
            if left is not None:
                done = self._settle(node, left, asked_again=left.makes(to, data, value))
                if done is not None and left.makes(to, data, value):
                    return done
            entry = self._sign(node, what, to, data, value, gas)
            self._keep(entry)
            return self._finish(node, entry, fresh=True)

    def settle_outbox(self, web3: Any, pace: float = PACE) -> Any | None:
        """Finish what an earlier process left in the outbox. Do so before looking at the chain.

        Returns its receipt; None if there was nothing, or if it can no longer be mined.
        """
        with self._turn():
            node = Node(web3, pace)
            left = self._left(node)
            return None if left is None else self._settle(node, left, asked_again=False)

    # ---- steps

    def _turn(self) -> Any:
        if self.outbox is None:
            return contextlib.nullcontext()
        return locked(self.outbox.with_name(self.outbox.name + ".lock"))

    def _settle(self, node: Node, left: _Entry, asked_again: bool) -> Any | None:
        try:
            return self._finish(node, left, fresh=False)
        except NonceTaken:
            if asked_again:
                raise
        except NodeRefused:  # it is not on its way, and will never be
            pass
        return None

    def _sign(
        self, node: Node, what: str, to: str | None, data: bytes, value: int, gas: int | None
    ) -> _Entry:  # fmt: skip
        gas = node.gas(self.address, to, data, value) if gas is None else gas  # first: it says why a call would fail
        fields: dict[str, Any] = {"chainId": node.number("eth_chainId"), "nonce": node.count(self.address)}
        fields |= {**node.fees(), "gas": gas, "value": value, "data": "0x" + data.hex()}
        fields |= {} if to is None else {"to": to}
        genesis = "" if self.outbox is None else genesis_hash(node)
        return _Entry(what, fields["chainId"], genesis, self.address, fields, (self._signed(fields),))

    def _signed(self, fields: dict[str, Any]) -> tuple[str, str]:
        """Hash and raw transaction; the same for the same fields."""
        signed = self._account.sign_transaction(fields)
        return "0x" + bytes(signed.hash).hex(), "0x" + bytes(signed.raw_transaction).hex()

    def _finish(self, node: Node, entry: _Entry, fresh: bool) -> Any:
        """Broadcast where needed, wait, replace; the receipt of whichever version was mined.

        Args:
            fresh: nothing can have been broadcast yet.
        """
        started = newest = look = time.monotonic()
        first, taken, told = True, 0, ""
        for _ in pauses(node.pace):
            try:
                done = None if fresh and first else node.receipt(*entry.hashes)
                if done is not None:
                    self.sent_block = done["blockNumber"]
                    self.on_receipt(done)
                    self._close()
                    return done
                now = time.monotonic()
                if now >= look:
                    look = now + LOOK_SECONDS
                    free = (fresh and first) or node.count(self.address) <= entry.nonce
                    taken = 0 if free else taken + 1
                    if taken == TAKEN_LOOKS:
                        self._close()
                        raise NonceTaken(
                            f"{entry.what}: another program uses account {self.address}: a transaction of it has nonce"
                            f" {entry.nonce}, so that transaction {entry.hashes[0]} can no longer be mined. Let one"
                            " program send for an account, or programs that share an outbox; then run the command again"
                        )
                    if free and now - newest > self.bump_after:
                        entry, newest = self._dearer(node, entry), now
                        self._keep(entry)
                        self._broadcast(node, entry)
                    elif free and ((fresh and first) or not node.knows(*entry.hashes)):
                        self._broadcast(node, entry)
                    first, told = False, ""
            except NodeAway as error:
                first, told = False, f"; {error}"
            except NodeRefused as error:
                refusal = str(error.args[0].get("message"))
                if first and _IMPOSSIBLE.search(refusal):
                    self._close()
                    raise
                first, told = False, f"; the node says: {refusal}"
            if time.monotonic() - started > self.deadline:
                raise ChainError(self._too_late(entry) + told)
        raise AssertionError("unreachable")

    def _broadcast(self, node: Node, entry: _Entry) -> None:
        """The newest version, or the newest that the node takes. NodeRefused: it takes none."""
        refusals = []
        for _, raw in reversed(entry.signed):
            try:
                node.ask("eth_sendRawTransaction", raw)
                return
            except NodeRefused as error:
                if _KNOWN.search(str(error.args[0].get("message"))):
                    return
                refusals.append(error)
        raise refusals[0]

    def _dearer(self, node: Node, entry: _Entry) -> _Entry:
        """With one more version, which pays a quarter more, or as much as is usual now."""
        usual = node.fees()
        names = [name for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas") if name in entry.fields]
        pay = {name: max(entry.fields[name] * 5 // 4 + 1, usual.get(name, 0)) for name in names}
        fields = entry.fields | pay
        return replace(entry, fields=fields, signed=(*entry.signed, self._signed(fields)))

    def _too_late(self, entry: _Entry) -> str:
        reasons = (
            f"{entry.what}: transaction {entry.hashes[0]} with nonce {entry.nonce} of {self.address} was not mined"
            f" within {self.deadline:.0f} s. It may still be"
        )
        if self.outbox is None:
            return f"{reasons}: look for it before you send it again"
        return f"{reasons}; run the same command again: it goes on with this transaction and sends no other"

    # ---- the file

    def _keep(self, entry: _Entry) -> None:
        if self.outbox is not None:
            atomic_write(self.outbox, entry.to_json(), mode=0o600)

    def _close(self) -> None:
        if self.outbox is not None:
            self.outbox.unlink(missing_ok=True)

    def _left(self, node: Node) -> _Entry | None:
        """What is in the outbox, checked: it must be what this key signs, for this chain."""
        if self.outbox is None or not self.outbox.exists():
            return None
        what_to_do = f"see what {self.address} sent last, then remove the file"
        try:
            entry = _Entry.from_json(read_json(self.outbox, "outbox"))
            if entry.account != self.address:
                raise InputError(f"outbox {self.outbox} is of account {entry.account}: wanted {self.address}")
            if self._signed(entry.fields) != entry.signed[-1]:
                raise ValueError("the transaction is not what its fields say")
        except InputError as error:
            raise InputError(f"{error}; {what_to_do}") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(f"outbox {self.outbox} is damaged: {error}; {what_to_do}") from error
        here = (node.number("eth_chainId"), genesis_hash(node))
        if (entry.chain, entry.genesis) != here:
            raise InputError(
                f"outbox {self.outbox} has a transaction for chain {entry.chain} with genesis {entry.genesis}: this is"
                f" chain {here[0]} with genesis {here[1]}. If that chain is gone, remove the file"
            )
        return entry
