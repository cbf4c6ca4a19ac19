"""Wallets on a real anvil: transactions that are dropped, late, replaced, reverted or reorganised, nodes and processes
that are killed, and after all of it exactly one transaction.

The wallet under test talks to the node with a plain web3, as a program without Brownie would; what goes through
`Chain.transact` is tested with Brownie's.
"""

from __future__ import annotations

import json
import logging
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.contracts.test_chain import kill_node, wait_until
from zkmarket.chain import (
    NOBODY,
    Chain,
    Node,
    NodeAway,
    NodeRefused,
    Wallet,
    anvil_node,
    compile_verifier,
    connect,
    encoded,
    send_from_node,
    transacting,
    wallet,
)
from zkmarket.errors import ChainError, InputError, TransactionReverted
from zkmarket.market import membership_message
from zkmarket.processes import SOURCE_TREE

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    from web3 import HTTPProvider, Web3

pytestmark = pytest.mark.chain

ETHER = 10**18
GWEI = 10**9
KEY = "0x" + "42" * 32
SOMEBODY = "0x" + "aa" * 20
OTHER = "0x" + "bb" * 20

ONCE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract Once {
    error Taken(address by);

    address public by;

    function take() external payable {
        if (by != address(0)) revert Taken(by);
        by = msg.sender;
    }
}
"""


@dataclass
class Bank:
    """A node, and a wallet with money on it."""

    rpc_url: str
    folder: Path

    def __post_init__(self) -> None:
        self.web3 = Web3(HTTPProvider(self.rpc_url, {"timeout": 10}))
        self.wallet = self.open()
        self.outbox = self.folder / "outbox.json"
        self.ask("anvil_setBalance", self.wallet.address, hex(100 * ETHER))

    def open(self, outbox: str = "outbox.json", **options: Any) -> Wallet:
        """The wallet again, as another process has it."""
        return Wallet(Account.from_key(KEY), self.folder / outbox, **{"deadline": 40, **options})

    def ask(self, method: str, *parameters: Any) -> Any:
        answer = self.web3.provider.make_request(method, list(parameters))
        assert "error" not in answer, answer
        return answer["result"]

    def pay(self, value: int = 1, to: str = SOMEBODY, by: Wallet | None = None, **options: Any) -> Any:
        return (by or self.wallet).send(self.web3, "paying", to, b"", value, pace=0.1, **options)

    def got(self, who: str = SOMEBODY) -> int:
        return self.web3.eth.get_balance(Web3.to_checksum_address(who))

    @property
    def nonce(self) -> int:
        """How many transactions of the wallet are in the chain."""
        return self.web3.eth.get_transaction_count(self.wallet.address)

    def pending(self) -> list[str]:
        """Hashes of the wallet's transactions that wait in the node."""
        waiting = self.ask("txpool_content")["pending"]
        mine = [
            one for who, some in waiting.items() if who.lower() == self.wallet.address.lower() for one in some.values()
        ]
        return [one["hash"] for one in mine]

    def hold(self) -> None:
        """Mine nothing from now on."""
        self.ask("evm_setAutomine", False)

    def mine(self) -> None:
        self.ask("evm_mine")

    def kept(self) -> dict[str, Any]:
        return json.loads(self.outbox.read_text())

    def kept_hashes(self) -> list[str]:
        return [one["hash"] for one in self.kept()["signed"]] if self.outbox.exists() else []


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with anvil_node(3) as rpc_url:
        yield rpc_url


@pytest.fixture
def bank(node: str, tmp_path: Path) -> Iterator[Bank]:
    """Rolled back after the test, and mining at once again."""
    made = Bank(node, tmp_path)
    mark = made.ask("evm_snapshot")
    yield made
    made.ask("anvil_dropAllTransactions")
    made.ask("evm_revert", mark)
    made.ask("evm_setAutomine", True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after the transaction five times a second."""
    monkeypatch.setattr(wallet, "LOOK_SECONDS", 0.2)


@pytest.fixture
def beside() -> Iterator[Callable[..., Future]]:
    """Run something in another thread."""
    with ThreadPoolExecutor(4) as threads:
        yield threads.submit


def hash_of(receipt: Any) -> str:
    return "0x" + bytes(receipt["transactionHash"]).hex()


# ---------------------------------------------------------------- keystore


def test_a_new_keystore_opens_with_its_password_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "owner.json"
    address = Wallet.create(path, "secret", light=True)
    assert Web3.is_checksum_address(address) and path.stat().st_mode & 0o777 == 0o600
    opened = Wallet.open(path, "secret")
    assert str(opened) == opened.address == address and opened.outbox is None
    message = membership_message(5, SOMEBODY, OTHER)
    signature = opened.sign_typed(message)
    from eth_account.messages import encode_typed_data

    assert len(signature) == 65
    assert Account.recover_message(encode_typed_data(full_message=message), signature=signature) == address
    for wrong in ("", "Secret", "secret "):
        with pytest.raises(InputError, match="owner.json cannot be opened as a keystore"):
            Wallet.open(path, wrong)


def test_a_keystore_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    Wallet.create(path, "secret", light=True)
    before = path.read_bytes()
    with pytest.raises(InputError, match="owner.json exists: a keystore is never overwritten"):
        Wallet.create(path, "other", light=True)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["owner.json"]
    assert Wallet.create(tmp_path / "second.json", "secret", light=True) != json.loads(before)["address"]


def test_a_keystore_is_expensive_to_guess_unless_it_is_light(tmp_path: Path) -> None:
    costs = []
    for light in (True, False):
        Wallet.create(tmp_path / f"{light}.json", "secret", light)
        costs.append(json.loads((tmp_path / f"{light}.json").read_text())["crypto"]["kdfparams"]["n"])
    assert costs == [1024, 2**18]


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '"a"', "{}", '{"version": 9}', '{"version": 3, "crypto": 1}'])
def test_what_is_not_a_keystore(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.json").write_text(text)
    with pytest.raises(InputError, match="key.json cannot be opened as a keystore"):
        Wallet.open(tmp_path / "key.json", "secret")
    with pytest.raises(InputError, match="none.json cannot be opened as a keystore"):
        Wallet.open(tmp_path / "none.json", "secret")


def test_the_key_is_nowhere_to_be_seen(bank: Bank, caplog: pytest.LogCaptureFixture, quick: None, beside: Any) -> None:
    caplog.set_level(logging.DEBUG)
    seen = [repr(bank.wallet), str(bank.wallet), f"{bank.wallet!r:>80}", repr(vars(bank.wallet))]
    bank.hold()
    with pytest.raises(ChainError) as late:
        bank.pay(by=bank.open(deadline=0.3))
    seen += [str(late.value), bank.outbox.read_text()]
    with pytest.raises(InputError) as damaged:
        bank.outbox.write_text("{")
        bank.pay()
    seen += [str(damaged.value), caplog.text]
    with pytest.raises(TypeError, match="is not copied"):
        pickle.dumps(bank.wallet)
    for text in seen:
        assert "42" * 32 not in text and str(int(KEY, 16)) not in text and "B" * 32 not in text
    assert "eth_sendRawTransaction" in caplog.text  # so something was logged


# ---------------------------------------------------------------- a quiet chain


def test_a_transaction_and_its_receipt(bank: Bank) -> None:
    before = bank.nonce
    done = bank.pay(7)
    sent = bank.web3.eth.get_transaction(done["transactionHash"])
    assert (done["status"], sent["to"].lower(), sent["value"], sent["type"], sent["nonce"]) == (
        1,
        SOMEBODY,
        7,
        2,
        before,
    )
    assert bank.got() == 7 and bank.nonce == before + 1
    assert sent["gas"] == 21_000 * 11 // 10
    assert not bank.outbox.exists()
    again = bank.pay(7)  # nothing is open: the same call is another payment
    assert bank.got() == 14 and hash_of(again) != hash_of(done)


def test_the_outbox_is_written_before_the_node_hears_of_it(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = bank.web3.provider.make_request

    def make_request(method: str, given: Any) -> Any:
        if method == "eth_sendRawTransaction":
            seen.append((bank.kept(), given[0], bank.outbox.stat().st_mode & 0o777))
        return real(method, given)

    monkeypatch.setattr(bank.web3.provider, "make_request", make_request)
    done = bank.pay(7)
    ((kept, raw, mode),) = seen
    assert mode == 0o600 and kept["signed"] == [{"hash": hash_of(done), "raw": raw}]
    assert (kept["what"], kept["chain"], kept["account"]) == ("paying", 31337, bank.wallet.address)
    assert (kept["fields"]["to"].lower(), kept["fields"]["value"], kept["fields"]["data"]) == (SOMEBODY, 7, "0x")


def test_the_fee_follows_the_base_fee(bank: Bank) -> None:
    bank.ask("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
    bank.mine()
    done = bank.pay()
    sent = bank.web3.eth.get_transaction(done["transactionHash"])
    base = bank.web3.eth.get_block(done["blockNumber"] - 1)["baseFeePerGas"]
    tip = sent["maxPriorityFeePerGas"]
    assert base == 30 * GWEI and tip > 0
    assert sent["maxFeePerGas"] == 2 * base + tip and done["effectiveGasPrice"] > base // 2
    bank.ask("anvil_setNextBlockBaseFeePerGas", "0x0")


def test_the_fee_on_an_older_chain(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bank.web3.provider.make_request

    def make_request(method: str, given: Any) -> Any:
        answer = real(method, given)
        if method == "eth_getBlockByNumber":
            answer["result"].pop("baseFeePerGas")
        return answer

    monkeypatch.setattr(bank.web3.provider, "make_request", make_request)
    done = bank.pay(3)
    sent = bank.web3.eth.get_transaction(done["transactionHash"])
    assert sent["type"] == 0 and sent["gasPrice"] == int(bank.ask("eth_gasPrice"), 16) and bank.got() == 3


def test_a_node_that_knows_no_usual_tip(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bank.web3.provider.make_request
    refusal = {"error": {"code": -32601, "message": "the method does not exist"}}

    def make_request(method: str, given: Any) -> Any:
        return refusal if method == "eth_maxPriorityFeePerGas" else real(method, given)

    monkeypatch.setattr(bank.web3.provider, "make_request", make_request)
    assert bank.web3.eth.get_transaction(bank.pay()["transactionHash"])["maxPriorityFeePerGas"] == GWEI


def test_what_the_node_refuses_for_good_leaves_nothing(bank: Bank) -> None:
    for _ in range(2):
        with pytest.raises(NodeRefused, match="nsufficient funds"):
            bank.pay(1000 * ETHER, gas=21_000)  # without an estimate: refused when it is broadcast
        assert not bank.outbox.exists()
    bank.pay(1)
    assert bank.got() == 1


def test_a_node_that_is_away_at_the_start_is_an_error(bank: Bank) -> None:
    nobody = Web3(HTTPProvider("http://127.0.0.1:9", exception_retry_configuration=None))
    with pytest.raises(NodeAway, match="the node does not answer"):
        bank.wallet.send(nobody, "paying", SOMEBODY, b"", 1)
    assert not bank.outbox.exists()


# ---------------------------------------------------------------- through the chain


@pytest.fixture
def connected(bank: Bank) -> Iterator[Chain]:
    with connect(bank.rpc_url) as chain:
        yield chain


def once(chain: Chain, sender: Any) -> Any:
    return chain.deploy_verifier(compile_verifier(ONCE), sender)


def take(chain: Chain, contract: Any, sender: Any, value: int = 0) -> Any:
    return chain.transact("taking", sender, contract.address, encoded(contract.take), value)


def test_a_wallet_deploys_calls_and_is_refused(bank: Bank, connected: Chain) -> None:
    contract = once(connected, bank.wallet)
    assert take(connected, contract, bank.wallet, 5)["status"] == 1
    assert contract.by() == bank.wallet.address and connected.balance(contract.address) == 5
    count = bank.nonce
    with pytest.raises(TransactionReverted) as refused:
        take(connected, contract, bank.wallet)
    assert refused.value.reason == f"Taken: {bank.wallet.address.lower()}"
    assert bank.nonce == count and not bank.outbox.exists()  # it was not sent
    with pytest.raises(ChainError, match="^paying failed: .*nsufficient funds"):
        connected.transact("paying", bank.wallet, SOMEBODY, b"", 1000 * ETHER)
    assert connected.settle_outbox(bank.wallet) is None


def test_a_transaction_that_is_mined_and_fails_says_why(bank: Bank, connected: Chain, beside: Any) -> None:
    """Somebody else is first, in the same block: the estimate could not know."""
    contract = once(connected, bank.wallet)
    bank.hold()
    taking = beside(take, connected, contract, bank.wallet)
    assert wait_until(lambda: bank.pending())
    first = {
        "from": connected.accounts[0].address,
        "to": contract.address,
        "gas": hex(100_000),
        "gasPrice": hex(10**12),
    }
    bank.ask("eth_sendTransaction", first | {"data": "0x" + encoded(contract.take).hex()})
    bank.mine()
    with pytest.raises(TransactionReverted) as refused:
        taking.result(30)
    assert refused.value.reason == f"Taken: {first['from'].lower()}"
    assert str(refused.value) == f"taking was reverted: {refused.value.reason}"
    assert not bank.outbox.exists()


def test_an_account_of_the_node_is_waited_for(bank: Bank, connected: Chain, beside: Any) -> None:
    bank.hold()
    paying = beside(connected.transact, "paying", connected.accounts[0], SOMEBODY, b"", 3)
    time.sleep(1)
    assert not paying.done()
    bank.mine()
    assert paying.result(30)["status"] == 1 and bank.got() == 3
    who = connected.accounts[0].address
    with pytest.raises(ChainError, match=r"paying: transaction 0x\w{64} was not mined within 1 s"):
        send_from_node(bank.web3, "paying", who, SOMEBODY, b"", 1, pace=0.1, deadline=1)


@pytest.mark.parametrize("chain_id", [31337, 5], ids=["development", "public"])
def test_a_connection_survives_its_node(tmp_path: Path, chain_id: int) -> None:
    state, port = tmp_path / "state.json", free_port()
    with anvil_node(2, chain_id, state, port) as rpc_url, connect(rpc_url) as chain:
        owner = chain.accounts[0]
        contract = once(chain, owner)
        block = chain.web3.eth.block_number
        take(chain, contract, owner, 5)
        assert wait_until(lambda: saved_block(state) == block + 1)
        kill_node(rpc_url)
        with pytest.raises(ChainError, match="asking failed"), transacting("asking"):
            contract.by()
        with pytest.raises(ChainError):
            chain.code(contract.address)
        with anvil_node(2, chain_id, state, port) as again:
            assert again == rpc_url and contract.by() == owner.address
            assert chain.web3.eth.block_number == block + 1 and chain.balance(contract.address) == 5
            with transacting("asking"):  # what was before can be read
                assert contract.by.call(block_identifier=block) == NOBODY
            assert once(chain, owner).by() == NOBODY
            assert chain.web3.eth.get_logs({"fromBlock": 0, "toBlock": "latest"}) == []


# ---------------------------------------------------------------- a chain with troubles


def test_a_late_transaction(bank: Bank, beside: Any, quick: None) -> None:
    bank.hold()
    paying = beside(bank.pay)
    assert wait_until(lambda: bank.pending() and bank.pending() == bank.kept_hashes())
    time.sleep(1)
    assert not paying.done() and len(bank.pending()) == 1
    bank.mine()
    done = paying.result(10)
    assert bank.got() == 1 and not bank.outbox.exists() and done["status"] == 1


def test_a_dropped_transaction_is_broadcast_again_and_mined_once(bank: Bank, beside: Any, quick: None) -> None:
    bank.hold()
    count = bank.nonce
    paying = beside(bank.pay)
    for _ in range(2):
        assert wait_until(lambda: bank.pending())
        (one,) = bank.pending()
        bank.ask("anvil_dropTransaction", one)
    assert wait_until(lambda: bank.pending() == [one])
    bank.mine()
    assert hash_of(paying.result(10)) == one
    assert bank.got() == 1 and bank.nonce == count + 1


def test_a_transaction_that_pays_too_little_is_replaced(bank: Bank, beside: Any, quick: None) -> None:
    bank.hold()
    count = bank.nonce
    paying = beside(bank.pay, by=bank.open(bump_after=1))
    assert wait_until(lambda: len(bank.kept_hashes()) == 3, 20)
    assert wait_until(lambda: bank.pending() == bank.kept_hashes()[2:])
    kept = bank.kept()
    versions = [Account.recover_transaction(one["raw"]) for one in kept["signed"]]
    assert versions == [bank.wallet.address] * 3
    assert kept["fields"]["nonce"] == count and kept["fields"]["maxPriorityFeePerGas"] > 1.5 * GWEI
    bank.mine()
    done = paying.result(10)
    assert hash_of(done) == kept["signed"][2]["hash"]
    bank.mine()
    assert bank.got() == 1 and bank.nonce == count + 1 and not bank.pending()


def test_an_older_version_counts_too(bank: Bank, beside: Any, quick: None) -> None:
    """A miner need not have heard of the newest."""
    bank.hold()
    paying = beside(bank.pay, by=bank.open(bump_after=1))
    assert wait_until(lambda: len(bank.kept_hashes()) == 2 and bank.pending() == bank.kept_hashes()[1:])
    first = bank.kept()["signed"][0]
    bank.ask("anvil_dropAllTransactions")
    bank.ask("eth_sendRawTransaction", first["raw"])
    bank.mine()
    assert hash_of(paying.result(10)) == first["hash"] and bank.got() == 1


def replace_by_another(bank: Bank, nonce: int) -> None:
    """Another program with the same key pays more, and is mined."""
    price = 2 * bank.kept()["fields"]["maxFeePerGas"]
    fields = {
        "chainId": 31337,
        "nonce": nonce,
        "gas": 21_000,
        "gasPrice": price,
        "to": Web3.to_checksum_address(OTHER),
        "value": 9,
    }
    raw = Account.from_key(KEY).sign_transaction(fields).raw_transaction
    bank.ask("eth_sendRawTransaction", "0x" + bytes(raw).hex())
    bank.mine()


def test_a_nonce_that_another_program_used(bank: Bank, beside: Any, quick: None) -> None:
    bank.hold()
    count = bank.nonce
    paying = beside(bank.pay)
    assert wait_until(lambda: bank.pending())
    replace_by_another(bank, count)
    with pytest.raises(
        ChainError, match=f"^paying: another program uses account {bank.wallet.address}: .* nonce {count}"
    ):
        paying.result(20)
    assert not bank.outbox.exists() and bank.got() == 0 and bank.got(OTHER) == 9
    bank.ask("evm_setAutomine", True)
    bank.pay()
    assert bank.got() == 1


def test_a_nonce_that_was_used_while_the_program_was_dead(bank: Bank, quick: None) -> None:
    for ask, answer in (("the same", ChainError), ("another", None), ("nothing", None)):
        bank.hold()
        count, before = bank.nonce, bank.got()
        with pytest.raises(ChainError, match="was not mined within"):
            bank.pay(by=bank.open(deadline=0.1))
        replace_by_another(bank, count)
        bank.ask("evm_setAutomine", True)
        if ask == "the same":
            with pytest.raises(answer, match="another program uses account"):
                bank.pay()
        elif ask == "another":
            bank.pay(2, to="0x" + "cc" * 20)
            assert bank.got("0x" + "cc" * 20) == 2
        else:
            assert bank.wallet.settle_outbox(bank.web3, pace=0.1) is None
        assert bank.got() == before and not bank.outbox.exists()


@pytest.mark.parametrize("how", ["anvil_reorg", "evm_revert"])
def test_a_reorganisation_after_the_receipt(bank: Bank, how: str) -> None:
    mark = bank.ask("evm_snapshot")
    first = bank.pay()
    count = bank.nonce
    bank.ask("anvil_reorg", 1, []) if how == "anvil_reorg" else bank.ask("evm_revert", mark)
    assert bank.nonce == count - 1 and bank.got() == 0
    second = bank.pay(2)
    assert bank.web3.eth.get_transaction(second["transactionHash"])["nonce"] == count - 1
    assert bank.got() == 2 and hash_of(second) != hash_of(first)


def test_a_reorganisation_while_waiting(bank: Bank, beside: Any, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was mined, but nobody had seen the receipt; then it is in no block and in no pool."""
    real, blind = Node.receipt, [True]
    monkeypatch.setattr(Node, "receipt", lambda node, *hashes: None if blind[0] else real(node, *hashes))
    paying = beside(bank.pay)
    assert wait_until(lambda: bank.got() == 1)
    bank.hold()
    bank.ask("anvil_reorg", 1, [])
    blind[0] = False
    assert wait_until(lambda: bank.pending() == bank.kept_hashes())
    bank.mine()
    assert paying.result(10)["status"] == 1 and bank.got() == 1


def test_the_deadline_leaves_the_transaction_in_the_outbox(bank: Bank, quick: None) -> None:
    bank.hold()
    count = bank.nonce
    with pytest.raises(ChainError) as late:
        bank.pay(by=bank.open(deadline=1))
    (one,) = bank.kept_hashes()
    assert f"paying: transaction {one} with nonce {count} of {bank.wallet.address} was not mined within 1 s" in str(
        late.value
    )
    assert "run the same command again" in str(late.value)
    bank.ask("evm_setAutomine", True)
    bank.mine()
    assert hash_of(bank.pay()) == one and bank.got() == 1
    bank.hold()
    forgetful = Wallet(Account.from_key(KEY), deadline=0.1)
    with pytest.raises(ChainError, match="look for it before you send it again"):
        bank.pay(by=forgetful)


def test_a_node_is_killed_and_started_again_while_waiting(tmp_path: Path, beside: Any, quick: None) -> None:
    state, port = tmp_path / "state.json", free_port()
    with anvil_node(2, state=state, port=port) as rpc_url:
        bank = Bank(rpc_url, tmp_path)
        bank.pay(1)
        bank.ask("evm_increaseTime", 10_000)
        bank.mine()
        block, now = bank.web3.eth.block_number, bank.web3.eth.get_block("latest")["timestamp"]
        assert wait_until(lambda: saved_block(state) == block)
        bank.hold()
        paying = beside(bank.pay, 2)
        assert wait_until(lambda: bank.pending())
        kill_node(rpc_url)
    time.sleep(1)
    assert not paying.done()
    with anvil_node(2, state=state, port=port):
        done = paying.result(30)
        assert bank.got() == 3 and bank.nonce == 2 and not bank.outbox.exists()
        assert done["blockNumber"] == block + 1
        assert bank.web3.eth.get_block("latest")["timestamp"] > now  # the clock was not turned back


def test_a_node_that_mines_by_the_clock() -> None:
    with anvil_node(2, block_seconds=1) as rpc_url:
        web3 = Web3(HTTPProvider(rpc_url))
        who = web3.eth.accounts[0]
        started, block = time.monotonic(), web3.eth.block_number
        for _ in range(3):
            send_from_node(web3, "paying", who, SOMEBODY, b"", 1, pace=0.1)
        assert web3.eth.get_balance(Web3.to_checksum_address(SOMEBODY)) == 3 and time.monotonic() - started < 2.5
        assert wait_until(lambda: web3.eth.block_number >= block + 3 + 2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def saved_block(state: Path) -> int | None:
    """Number of the latest block in anvil's file."""
    try:
        number = json.loads(state.read_text())["block"]["number"]
    except (OSError, ValueError):
        return None
    return int(number, 16) if isinstance(number, str) else number


# ---------------------------------------------------------------- processes that are killed

CHILD = """
import os, signal, sys
from pathlib import Path
from eth_account import Account
from web3 import HTTPProvider, Web3
from zkmarket.chain import Wallet, wallet
from zkmarket.errors import ChainError

rpc_url, key, outbox, to, moment, *values = sys.argv[1:]
broadcast = Wallet._broadcast


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def broadcast_and_die(*given):
    broadcast(*given)
    die()


if moment == "before the broadcast":
    Wallet._broadcast = die
if moment == "after the broadcast":
    Wallet._broadcast = broadcast_and_die
if moment == "after the receipt":
    Wallet._close = die
wallet.LOOK_SECONDS = 0.2
sender = Wallet(Account.from_key(key), Path(outbox))
for value in values:
    try:
        done = sender.send(Web3(HTTPProvider(rpc_url)), "paying", to, b"", int(value), pace=0.1)
        print(value, "0x" + bytes(done["transactionHash"]).hex(), flush=True)
    except ChainError as error:
        print(value, error, flush=True)
"""


def child(bank: Bank, *values: int, moment: str = "", outbox: str = "outbox.json") -> subprocess.Popen:
    given = [bank.rpc_url, KEY, str(bank.folder / outbox), SOMEBODY, moment, *map(str, values)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SOURCE_TREE,
    )


def said(process: subprocess.Popen) -> list[tuple[int, str]]:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return [(int(value), rest) for value, _, rest in (line.partition(" ") for line in out.splitlines())]


def kill_a_child(bank: Bank, moment: str) -> str:
    """The hash of what it leaves in the outbox."""
    process = child(bank, 1, moment=moment)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    (one,) = bank.kept_hashes()
    return one


@pytest.mark.exhaustive("other moments", but=5)
@pytest.mark.parametrize("then", ["the same", "another", "nothing"])
@pytest.mark.parametrize(
    "moment",
    ["before the broadcast", "after the broadcast", "mined", "dropped", "after the receipt"],
)
def test_a_killed_process_and_its_successor_send_once(bank: Bank, moment: str, then: str, beside: Any) -> None:
    """The successor asks for the same call, for another one, or only finishes what it finds."""
    count = bank.nonce
    held = moment in ("after the broadcast", "dropped")
    if held:
        bank.hold()
    one = kill_a_child(bank, "after the broadcast" if moment in ("mined", "dropped") else moment)
    sent = moment in ("mined", "after the receipt")
    if sent:
        assert wait_until(lambda: bank.got() == 1)
    if moment == "after the broadcast":
        assert bank.pending() == [one]
    if moment == "dropped":
        bank.ask("anvil_dropTransaction", one)
    assert (bank.got(), bank.nonce) == ((1, count + 1) if sent else (0, count))

    if then == "nothing":
        finishing = beside(bank.open().settle_outbox, bank.web3, pace=0.1)
    else:
        finishing = beside(bank.pay, 1 if then == "the same" else 5)
    if held:
        assert wait_until(lambda: bank.pending() == [one])
        bank.ask("evm_setAutomine", True)
        bank.mine()
    done = finishing.result(30)
    assert (hash_of(done) == one) == (then != "another") and done["status"] == 1
    assert bank.got() == (6 if then == "another" else 1)
    assert bank.nonce == count + (2 if then == "another" else 1)
    assert not bank.outbox.exists()
    assert bank.open().settle_outbox(bank.web3) is None
    bank.mine()
    assert not bank.pending()


def test_what_can_no_longer_be_paid_does_not_stand_in_the_way(bank: Bank) -> None:
    kill_a_child(bank, "before the broadcast")
    bank.ask("anvil_setBalance", bank.wallet.address, "0x0")
    assert bank.wallet.settle_outbox(bank.web3) is None and not bank.outbox.exists()
    bank.ask("anvil_setBalance", bank.wallet.address, hex(ETHER))
    bank.pay(2)
    assert bank.got() == 2


def test_two_processes_with_one_key_and_an_outbox_each(bank: Bank) -> None:
    """They collide; what a process takes for sent has been sent, and nothing else."""
    count = bank.nonce
    both = [child(bank, *values, outbox=f"{values[0]}.json") for values in ((1, 2, 4, 8), (16, 32, 64, 128))]
    answers = [answer for process in both for answer in said(process)]
    mined = [value for value, text in answers if text.startswith("0x")]
    refused = [text for _, text in answers if not text.startswith("0x")]
    assert len(answers) == 8 and all("another program uses account" in text for text in refused)
    assert bank.got() == sum(mined) and bank.nonce == count + len(mined)
    assert not list(bank.folder.glob("*.json"))


def test_two_processes_with_one_key_collide_for_certain(bank: Bank, beside: Any, quick: None) -> None:
    bank.hold()
    count = bank.nonce
    first = beside(bank.pay, 1)
    assert wait_until(lambda: bank.pending())
    second = beside(bank.pay, 2, by=bank.open("second.json"))
    assert wait_until(lambda: (bank.folder / "second.json").exists())
    time.sleep(0.5)
    bank.mine()
    assert first.result(10)["status"] == 1
    with pytest.raises(ChainError, match="another program uses account"):
        second.result(10)
    assert bank.got() == 1 and bank.nonce == count + 1


def test_two_processes_with_one_outbox_take_turns(bank: Bank) -> None:
    count = bank.nonce
    both = [child(bank, *values) for values in ((1, 2, 4, 8), (16, 32, 64, 128))]
    answers = [answer for process in both for answer in said(process)]
    assert all(text.startswith("0x") for _, text in answers) and len({text for _, text in answers}) == 8
    assert bank.got() == 255 and bank.nonce == count + 8 and not bank.outbox.exists()


# ---------------------------------------------------------------- outboxes that cannot be used


def test_a_damaged_outbox_stops_everything(bank: Bank) -> None:
    kill_a_child(bank, "before the broadcast")
    kept = bank.outbox.read_text()
    value = json.loads(kept)

    def changed(**fields: Any) -> str:
        return json.dumps(value | fields)

    raw = value["signed"][0]["raw"]
    cases = {
        "": "0 bytes",
        "{": "not JSON",
        "[]": "damaged",
        "{}": "damaged",
        kept[: len(kept) // 2]: "not JSON",
        changed(signed=[]): "damaged: it has other fields",
        changed(more=1): "damaged: it has other fields",
        changed(signed=[{"hash": "0x" + "00" * 32, "raw": raw}]): "damaged: a transaction has not its hash",
        changed(signed=[{"hash": 1, "raw": 2}]): "damaged",
        changed(fields=[]): "damaged",
        changed(fields={}): "damaged",
        changed(fields=value["fields"] | {"value": 2}): "not what its fields say",
        changed(account=SOMEBODY): f"is of account {SOMEBODY}: wanted {bank.wallet.address}",
        changed(chain=5): "is for chain 5|transaction for chain 5",
        changed(genesis="0x00"): "has a transaction for chain 31337 with genesis 0x00: this is",
    }
    for text, reason in cases.items():
        bank.outbox.write_text(text)
        for ask in (bank.pay, lambda: bank.wallet.settle_outbox(bank.web3)):
            with pytest.raises(InputError, match=reason) as stopped:
                ask()
            assert "remove the file" in str(stopped.value) and str(bank.outbox) in str(stopped.value)
        assert bank.outbox.read_text() == text and bank.got() == 0
    bank.outbox.write_text(kept)
    bank.pay()
    assert bank.got() == 1
