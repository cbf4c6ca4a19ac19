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

import ast
import atexit
import contextlib
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Empty, Queue
from types import ModuleType
from typing import Any

import eth_abi
from eth_abi.codec import ABICodec
from eth_abi.decoding import ByteStringDecoder, decode_uint_256
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry
from eth_hash.auto import keccak
from eth_utils import to_checksum_address
from eth_utils.abi import (
    collapse_if_tuple,
    event_abi_to_log_topic,
    event_signature_to_log_topic,
    function_abi_to_4byte_selector,
)

from . import backend
from .artifacts import Build, Manifest
from .backend import Progress, quiet
from .chains import DEVELOPMENT_CHAINS
from .commitment import Commitment, RoundId
from .errors import ArtifactError, ChainError, InputError, PassedOn, TransactionReverted
from .escrow import (
    NOBODY,
    Offer,
    Phase,
    Verifier,
    Verifiers,
    address_of,
    base_words,
    check_builds,
    decision_words,
    last_seed,
    membership_message,
    plan_words,
    proofs_hash,
    publication_message,
    receipt_message,
    round_proof_of,
    submission_word,
    terms_words,
)
from .field import Point
from .files import atomic_write, cache_folder, locked, sha256_file, write_json
from .round import References, RoundProof
from .wallet import PACE, NodeAway, Wallet, send_from_node

ROOT = Path(__file__).resolve().parents[1]
"""Where contracts/, node_modules/ and brownie-config.yaml are: zkmarket runs from its source tree."""

SOLC_VERSION = "0.8.37+commit.f401782d"
"""Decides the bytes of every contract; brownie-config.yaml and package-lock.json name the same."""

MAX_CODE = 24_576
"""EIP-170: the most bytes of code that a contract may have."""

BLOCK_GAS = 30_000_000
COMPILE_SECONDS, START_SECONDS, RPC_SECONDS = 300, 30, 60

VERIFIER_SETTINGS = {
    # 200 runs: the same size as 1 run and
    # 0.05 % less gas. 1,000,000 runs inline the curve operations: 2 % to 4 % less gas, but the range
    # verifier grows to 33,432 bytes and cannot be deployed.
    "optimizer": {"enabled": True, "runs": 200},
    "evmVersion": "cancun",
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},  # no file names in the code: the same everywhere
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


# ---------------------------------------------------------------- tools


def _solc() -> Path:
    """contracts/solc.cjs under the name that Brownie looks for."""
    link = ROOT / ".build" / "solc" / f"solc-v{SOLC_VERSION.partition('+')[0]}"
    if not (ROOT / "node_modules" / "solc").is_dir() or shutil.which("node") is None:
        raise ChainError(
            "the Solidity compiler is missing: install Node.js 20 or later and run `npm ci --ignore-scripts`"
        )
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(os.path.relpath(ROOT / "contracts" / "solc.cjs", link.parent))
    return link


def _anvil() -> str:
    local = ROOT / "node_modules" / ".bin" / "anvil"
    found = str(local) if local.exists() else shutil.which("anvil")
    if found is None:
        raise ChainError("anvil is missing: run `npm ci --ignore-scripts`, or put anvil 1.7.1 on the PATH")
    return found


def tools() -> str:
    """Versions of the compiler and of the development chain; ChainError if one is missing."""
    solc = _solc_version()
    try:
        done = subprocess.run(
            [_anvil(), "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ChainError(f"anvil does not run: {error}") from error
    return f"solc {solc}, {done.stdout.splitlines()[0].replace(' Version:', '')}"


@functools.cache
def _brownie() -> ModuleType:
    """Import Brownie: it reads HOME and makes its data folder there, once, at import."""
    os.environ["SOLCX_BINARY_PATH"] = str(_solc().parent)
    home = tempfile.mkdtemp(prefix=f"zkmarket-{os.getpid()}-")  # of a killed process: `backend` sweeps it away
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    saved = os.environ.get("HOME")
    os.environ["HOME"] = home
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
            from hypothesis import settings

            profile = settings._current_profile
            import brownie
    finally:
        if saved is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = saved
    settings.load_profile(profile)  # Brownie puts its own in its place
    # its compiled callers have no Python frame, so it takes itself for the user
    warnings.filterwarnings("ignore", r"rpc\.\w+ should not be called directly", FutureWarning)
    return brownie


# ---------------------------------------------------------------- contracts


@functools.cache
def compile_contracts(folder: Path = ROOT) -> Any:
    """The contracts of `folder`/contracts as Brownie containers, by name: ``compile_contracts()["Factory"]``.

    Compiled when anything that they depend on has changed, under a lock, so that processes may ask at
    once; what is built is kept in .build/. What changed is decided here: Brownie does not see a change
    in a file that holds no contract, and fails where a dependency has the name of one of ours.

    Raises:
        ChainError: a compiler error, with the compiler's message, or no compiler.
    """
    brownie = _brownie()
    built = folder / ".build" / "brownie"
    stamp = built / "recipe"
    name = "Zkmarket" + hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    # the working directory: imports from npm are remapped to a path relative to it
    with locked(folder / ".build" / "lock"), contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        recipe = _contracts_recipe(folder)
        fresh = not stamp.is_file() or stamp.read_text() != recipe
        if fresh:
            shutil.rmtree(built, ignore_errors=True)
        try:
            project = brownie.project.load(folder, name=name, compile=fresh)
        except Exception as error:
            raise ChainError(f"the contracts of {folder} do not compile: {error}") from error
        atomic_write(stamp, recipe.encode())
    return project


def _contracts_recipe(folder: Path) -> str:
    """Hash of everything that decides what is built."""
    libraries = folder / "node_modules" / "@openzeppelin" / "contracts" / "package.json"
    files = [*sorted((folder / "contracts").rglob("*.sol")), folder / "brownie-config.yaml", libraries]
    parts = [(str(path.relative_to(folder)), sha256_file(path)) for path in files if path.is_file()]
    parts.append(("solc.cjs", sha256_file(ROOT / "contracts" / "solc.cjs")))
    return hashlib.sha256(json.dumps([SOLC_VERSION, version("eth-brownie"), parts]).encode()).hexdigest()


def compiled_code(name: str) -> bytes:
    """Code that a contract of ours has on chain; where it names a library there are zeros."""
    build = compile_contracts()[name]._build
    text = build["deployedBytecode"]
    for links in build.get("deployedLinkReferences", {}).values():
        for start in (2 * place["start"] for places in links.values() for place in places):
            text = text[:start] + "0" * 40 + text[start + 40 :]
    return bytes.fromhex(text)


def library_of_creation(name: str, library: str, given: bytes) -> str | None:
    """The library that was linked in, if `given` is what creates a contract of ours; None if it is anything else."""
    text = compile_contracts()[name].bytecode
    gap = f"__{library:_<38}"  # as Brownie writes it
    at = text.index(gap)
    address = given.hex()[at : at + 40]
    return to_checksum_address(address) if given.hex() == text.replace(gap, address) and len(address) == 40 else None


def verifier_of(build: Build, circuit: str) -> CompiledVerifier:
    """The verifier contract of a build's circuit."""
    return compile_verifier(backend.verifier_source(build.files(circuit)))


@dataclass(frozen=True)
class CompiledVerifier:
    """A verifier contract: the same bytes on every machine for the same source.

    Attributes:
        creation: what a deployment sends.
        runtime: what then is the contract's code; its hash identifies the verifying key on chain.
    """

    abi: list[dict[str, Any]]
    creation: bytes
    runtime: bytes


def compile_verifier(source: str) -> CompiledVerifier:
    """Compile the one contract of a Solidity source, such as `backend.verifier_source` gives.

    Kept in the cache by the hash of the source, the compiler and its settings; a damaged entry is made again.

    Raises:
        ChainError: a compiler error, no compiler or another version of it, or code beyond EIP-170.
    """
    recipe = json.dumps([source, SOLC_VERSION, VERIFIER_SETTINGS], sort_keys=True).encode()
    path = cache_folder() / "verifiers" / f"{hashlib.sha256(recipe).hexdigest()[:32]}.json"
    made = _cached_verifier(path)
    if made is None:
        made = _compile_verifier(source)
        value = {"abi": made.abi, "creation": made.creation.hex(), "runtime": made.runtime.hex()}
        write_json(path, {**value, "sha256": _digest(value)})
    return made


def _cached_verifier(path: Path) -> CompiledVerifier | None:
    try:
        value = json.loads(path.read_bytes())
        digest = value.pop("sha256")
        if digest != _digest(value):
            return None
        return CompiledVerifier(value["abi"], bytes.fromhex(value["creation"]), bytes.fromhex(value["runtime"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _compile_verifier(source: str) -> CompiledVerifier:
    found = _solc_version()
    if not found.startswith(SOLC_VERSION):
        raise ChainError(f"the Solidity compiler is {found}: wanted {SOLC_VERSION}; run `npm ci --ignore-scripts`")
    given = {"language": "Solidity", "sources": {"v.sol": {"content": source}}, "settings": VERIFIER_SETTINGS}
    answer = json.loads(_run_solc("--standard-json", given=json.dumps(given)))
    errors = [error["formattedMessage"] for error in answer.get("errors", []) if error["severity"] == "error"]
    if errors:
        raise ChainError("the verifier contract does not compile: " + "\n".join(errors))
    contracts = list(answer["contracts"].get("v.sol", {}).values())
    if len(contracts) != 1:
        raise ChainError(f"the source of a verifier has one contract: got {len(contracts)}")
    evm = contracts[0]["evm"]
    creation, runtime = (bytes.fromhex(evm[part]["object"]) for part in ("bytecode", "deployedBytecode"))
    if not 0 < len(runtime) <= MAX_CODE:
        raise ChainError(f"the verifier contract has {len(runtime)} bytes of code: a chain takes from 1 to {MAX_CODE}")
    return CompiledVerifier(contracts[0]["abi"], creation, runtime)


def _solc_version() -> str:
    return _run_solc("--version").rpartition("Version: ")[2].strip()


def _run_solc(*words: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            [_solc(), *words], input=given, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise ChainError(f"the Solidity compiler gave no answer for {COMPILE_SECONDS} s and was stopped") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise ChainError(f"the Solidity compiler failed: {getattr(error, 'stderr', None) or error}") from error
    return done.stdout


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
        return _brownie().accounts

    @property
    def web3(self) -> Any:
        return _brownie().web3

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
            return self.web3.eth.get_block("latest")["timestamp"]

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
            return self.web3.eth.get_balance(str(who))

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
        from web3.utils.address import get_create_address

        return get_create_address(account, nonce)

    def pass_time(self, seconds: int) -> None:
        """Move the clock of a development chain and mine a block at the new time."""
        self._only_development("its clock can be moved")
        _brownie().chain.sleep(seconds)
        _brownie().chain.mine()

    @contextlib.contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Undo on leaving whatever happened on a development chain inside the block. Can be nested."""
        self._only_development("it can be rolled back")
        chain = _brownie().chain
        mark = chain._take_snapshot()
        try:
            yield
        finally:
            chain._revert(mark)

    def deploy(self, container: Any, sender: Any, *arguments: Any) -> Any:
        """A new contract of `compile_contracts`. Deploy the libraries that it links to first, or name them by `at`."""
        return self.at(container, self._create(container._name, _encoded(container.deploy, *arguments), sender))

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
            return _brownie().Contract.from_abi(name, address, abi, persist=False)

    def _check_code(self, name: str, address: str) -> None:
        if not self.code(address):
            raise ChainError(f"no contract at {address} on chain {self.id}: wanted {name}")

    def _create(self, name: str, data: bytes, sender: Any) -> str:
        return self.transact(f"deploying {name}", sender, None, data)["contractAddress"]

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
                trace = self.web3.provider.make_request("debug_traceTransaction", [transaction, _CALLS_ONLY])
                output = (trace.get("result") or {}).get("output", "0x")
                if len(output) > 2:
                    raise ValueError({"code": _REVERTED, "data": output})
            sent = self.web3.eth.get_transaction(transaction)
            names = ("from", "to", "value", "gas", "input")
            self.web3.eth.call({name: sent[name] for name in names if name in sent}, block - 1)
        raise TransactionReverted(f"{what} was reverted: transaction {transaction}")

    def _only_development(self, what: str) -> None:
        if not self.development:
            raise InputError(f"chain {self.id} is not a development chain: {what} on {DEVELOPMENT_CHAINS} only")


@contextlib.contextmanager
def transacting(what: str) -> Iterator[None]:
    """Map what Brownie and web3 raise for calls and transactions, and keep Brownie's chatter off stdout.

    Raises:
        TransactionReverted: the contract refused; `reason` is what it said.
        ChainError: the node failed; NodeAway if it cannot be reached.
    """
    brownie = _brownie()
    from requests import RequestException
    from web3.exceptions import ContractLogicError, Web3Exception

    exceptions = brownie.exceptions
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except exceptions.VirtualMachineError as error:
        reason = _reason(error.revert_msg)
        raise TransactionReverted(f"{what} was reverted: {reason or 'no reason given'}", reason) from error
    except ContractLogicError as error:
        reason = _reason(error.message)
        raise TransactionReverted(f"{what} was reverted: {reason or 'no reason given'}", reason) from error
    except ValueError as error:  # the node's refusals, as Brownie passes them on
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        if told.get("code") == _REVERTED or "execution reverted" in str(told.get("message")):
            reason = _reason(told.get("data") or told.get("message"))
            raise TransactionReverted(f"{what} was reverted: {reason or 'no reason given'}", reason) from error
        raise ChainError(f"{what} failed: {told.get('message', error)}") from error
    except (RequestException, ConnectionError) as error:
        raise NodeAway(f"{what} failed: {_innermost(error)}") from error
    except (Web3Exception, exceptions.RPCRequestError, exceptions.TransactionError) as error:
        raise ChainError(f"{what} failed: {error}") from error


def _innermost(error: BaseException) -> str:
    """What went wrong with a connection, without the layers of requests and urllib3 around it."""
    inner = [getattr(error, "reason", None), *error.args, error.__cause__]
    below = next((one for one in inner if isinstance(one, BaseException)), None)
    return str(error) if below is None else _innermost(below)


_REVERTED = 3
"""The JSON-RPC error code for it."""

_CALLS_ONLY = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
"""Without the steps, which take minutes in a verifier."""


def _reason(text: str | None) -> str:
    """What the contract said: a string, or a custom error with its arguments, ``WrongPhase(have=OPEN, want=PROVE)``."""
    reason = (text or "").removeprefix("execution reverted").lstrip(": ").strip()
    if re.fullmatch(r"0x([0-9a-f]{2}){4,}", reason):  # of a public chain, which Brownie does not decode
        reason = _brownie().exceptions.decode_typed_error(reason)
    if reason in ("Unknown typed error: 0x", "0x"):  # both: it said nothing
        return ""
    name, _, values = reason.partition(":")
    if not values.strip():  # an error without arguments, or a string
        return name
    inputs, values = _errors().get(name), values.strip()
    if inputs is None or len(inputs) != len(values.split(", ")):
        return reason
    pairs = zip(inputs, values.split(", "), strict=True)
    said = [f"{item['name']}={_readable(item, value)}" for item, value in pairs]
    return f"{name}({', '.join(said)})"


def _readable(item: dict[str, Any], value: str) -> str:
    """One argument of an error: labels as text, other words in hex, phases by name."""
    if item["type"] == "bytes32" and value[:2] in ("b'", 'b"'):  # Brownie prints bytes as Python does
        word = ast.literal_eval(value)
        label = item["name"] in ("what", "proof")
        return word.rstrip(b"\0").decode("ascii", "replace") if label else "0x" + word.hex()
    return Phase(int(value)).name if item.get("internalType") == "enum Phase" else value


@functools.cache
def _errors() -> dict[str, list[dict[str, Any]]]:
    """Arguments of the custom errors of our contracts, by name."""
    items = [item for container in compile_contracts() for item in container.abi]
    return {item["name"]: item["inputs"] for item in items if item["type"] == "error" and item["inputs"]}


@contextlib.contextmanager
def connect(rpc_url: str) -> Iterator[Chain]:
    """Talk to the chain at an RPC address, until the block ends.

    Raises:
        InputError: not an http(s) address.
        ChainError: nothing answers there, or this process is connected already.
    """
    if not re.fullmatch(r"https?://\S+", rpc_url):
        raise InputError(f"an RPC address starts with http:// or https://: got {rpc_url!r}")
    brownie = _brownie()
    from brownie._config import CONFIG
    from brownie.network.rpc import Rpc, anvil
    from web3 import HTTPProvider, Web3

    if brownie.network.web3.provider is not None:
        raise ChainError(f"already connected to {brownie.network.web3.provider.endpoint_uri}: one chain a process")
    try:
        chain = Chain(rpc_url, Web3(HTTPProvider(rpc_url, {"timeout": RPC_SECONDS})).eth.chain_id)
    except Exception as error:  # requests, web3 and urllib3 have a dozen kinds
        raise ChainError(f"no chain answers at {rpc_url}: {_innermost(error)}") from error
    network = {"id": "zkmarket", "name": "zkmarket", "host": rpc_url, "timeout": RPC_SECONDS, "chainid": str(chain.id)}
    if chain.development:
        network |= {"cmd": "anvil", "cmd_settings": {}}  # "cmd" is how Brownie knows a development network
    CONFIG.networks["zkmarket"] = network
    CONFIG.settings["eager_caching"] = False  # it answers with a block that is some seconds old
    try:
        with transacting(f"connecting to {rpc_url}"):
            brownie.network.connect("zkmarket", launch_rpc=False)
            if chain.development:
                Rpc().backend = anvil
                brownie.chain._network_connected()
        yield chain
    finally:
        with contextlib.suppress(Exception):  # the node may be gone
            brownie.network.disconnect(kill_rpc=False)
        CONFIG.clear_active()
        brownie.network.web3.disconnect()
        brownie.chain._network_disconnected()
        del CONFIG.networks["zkmarket"]


@contextlib.contextmanager
def development_chain(accounts: int = 20) -> Iterator[Chain]:
    """A fresh anvil of our own on a free port, with funded accounts, connected until the block ends."""
    with anvil_node(accounts) as rpc_url, connect(rpc_url) as chain:
        yield chain


# The shell becomes the command. Its helper waits for the end of our pipe, which even kill -9 of this process brings.
_KEEPER = 'exec 3<&0; (read -r _ <&3; kill -9 $$) >/dev/null 2>&1 & exec 3<&- </dev/null; exec "$@"'


def dying_with_us(command: list[str]) -> list[str]:
    """A command to start with ``stdin=PIPE``: it ends when this process does, whatever ends that."""
    return ["/bin/sh", "-c", _KEEPER, "sh", *command]


@contextlib.contextmanager
def anvil_node(
    accounts: int = 20,
    chain_id: int = DEVELOPMENT_CHAINS[0],
    state: Path | None = None,
    port: int = 0,
    block_seconds: int | None = None,
) -> Iterator[str]:
    """Start anvil; its RPC address. It ends with the block, or with this process whatever ends that.

    Args:
        state: a file that the chain is written to every second, and read from if it is there: a node that
            is started again goes on with its chain, but for the last second if it was killed.
        port: 0 lets the system choose a free one.
        block_seconds: mine a block every so many seconds, and one for every transaction; default the latter.
    """
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--chain-id": chain_id,
        "--accounts": accounts,
        "--block-base-fee-per-gas": 0,
        "--gas-limit": BLOCK_GAS,
        "--hardfork": "osaka",
    }
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
        # blocks in the past can still be read after a restart; what does not fit memory stays beside the file
        options |= {"--state": state, "--state-interval": 1, "--cache-path": state.with_name(state.name + ".cache")}
    if block_seconds is not None:
        options["--block-time"] = block_seconds
    words = [str(word) for option in options.items() for word in option]
    words += ["--preserve-historical-states"] if state is not None else []
    words += ["--mixed-mining"] if block_seconds is not None else []
    node = subprocess.Popen(
        dying_with_us([_anvil(), *words]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert node.stdin and node.stdout
    ports: Queue[str | None] = Queue()
    said: list[str] = []

    def drain(stream: io.TextIOBase) -> None:
        for line in stream:  # read to its end, or anvil would wait for room in the pipe
            if ports.empty():
                said.append(line)
                if match := re.match(r"Listening on 127\.0\.0\.1:(\d+)$", line):
                    ports.put(match[1])
        ports.put(None)

    reader = threading.Thread(target=drain, args=(node.stdout,), daemon=True)
    reader.start()
    try:
        try:
            port = ports.get(timeout=START_SECONDS)
        except Empty:
            port = None
        if port is None:
            raise ChainError(f"anvil did not start: {''.join(said[-5:]).strip() or 'it said nothing'}")
        rpc_url = f"http://127.0.0.1:{port}"
        if state is not None:
            _turn_clock_on(rpc_url)
        yield rpc_url
    finally:
        node.kill()
        node.stdin.close()
        node.wait()
        reader.join(timeout=5)
        node.stdout.close()


def _turn_clock_on(rpc_url: str) -> None:
    """To the time of the latest block at least: anvil forgets that its clock was moved, and would step back."""
    from urllib.request import Request, urlopen

    def ask(method: str, *given: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}).encode()
        request = Request(rpc_url, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=RPC_SECONDS) as answer:
            return json.load(answer)["result"]

    last = int(ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    if last > time.time():
        ask("evm_setTime", last + 1)


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


@dataclass(frozen=True)
class State:
    """Where a project stands, read at one block; in the order of Types.sol.

    Attributes:
        phase: by the clock.
        now: the block's time, which decides the phase.
        deadline: of the phase; ADMIT's own.
        round: number of the round that was started last; failed ones count.
        settled, voids: rounds paid, and rounds that came to nothing.
        aggregator: its address; `NOBODY` while there is none.
        beta: norm bound of the round, or of the next one.
        pool: not yet owed, in the reward's unit.
        claimed: the aggregate of the last round counts as not served.
        block: its number.
    """

    phase: Phase
    now: int
    deadline: int
    round: int
    settled: int
    voids: int
    aggregator: str
    beta: int
    pool: int
    bond_wei: int
    unburnt_wei: int
    ending: bool
    claimed: bool
    block: int


def _named(outputs: list[dict[str, Any]], values: Any) -> dict[str, Any]:
    """ABI values by the names of their components, structs and arrays of structs as dicts."""
    named = {}
    for item, value in zip(outputs, values, strict=True):
        if item["type"] == "tuple":
            value = _named(item["components"], value)
        elif item["type"] == "tuple[]":
            value = [_named(item["components"], one) for one in value]
        elif item["type"].startswith("bytes") and not item["type"].endswith("]"):
            value = bytes.fromhex(str(value)[2:]) if isinstance(value, str) else bytes(value)
        elif isinstance(value, tuple):
            value = list(value)
        named[item["name"]] = value
    return named


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


class _Deployed:
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
            data = _encoded(getattr(self.contract, method), *arguments)
        done = self.chain.transact(what, sender, self.address, data, value)
        transaction = "0x" + bytes(done["transactionHash"]).hex()
        return Receipt(what, transaction, done["blockNumber"], done["gasUsed"], self._decoded(done["logs"]))

    def _call(self, method: str, *arguments: Any, block: int | None = None) -> Any:
        try:
            with transacting(f"reading {method}"):
                return _plain(getattr(self.contract, method).call(*arguments, block_identifier=block))
        except TransactionReverted as error:
            if error.reason:
                raise
            message = f"the contract at {self.address} does not answer {method}: is it a {self.name} of zkmarket?"
            raise ChainError(message) from error

    def _read(self, method: str, *arguments: Any) -> Any:
        """A view that returns one struct, or an array of them, as dicts."""
        item = next(item for item in self.container.abi if item.get("name") == method)
        output = dict(item["outputs"][0], name="value")
        return _named([output], [self._call(method, *arguments)])["value"]

    def _decoded(self, logs: Any) -> tuple[Event, ...]:
        contract = self.chain.web3.eth.contract(self.address, abi=self.container.abi)
        events = []
        for log in logs:
            item = self._topics.get("0x" + bytes(log["topics"][0]).hex()) if log["topics"] else None
            if item is None or log["address"] != self.address:
                continue
            found = contract.events[item["name"]]().process_log(log)["args"]
            values = [found[part["name"]] for part in item["inputs"]]
            events.append(
                Event(
                    item["name"],
                    _named(item["inputs"], [_plain(value) for value in values]),
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
                found = self.events(from_block, last)
                with transacting("reading the block number"):
                    known = self.chain.web3.eth.block_number >= last
                if known:  # else another node answered, which has not these blocks yet
                    yield from found
                    from_block = last + 1
            time.sleep(poll)


def _encoded(method: Any, *arguments: Any) -> bytes:
    """Calldata of a Brownie contract's method, or what creates the contract."""
    return bytes.fromhex(method.encode_input(*arguments).removeprefix("0x"))


def _plain(value: Any) -> Any:
    """What Brownie and web3 make of ABI values, as int, str, bytes and tuples."""
    if isinstance(value, Mapping):
        return tuple(_plain(one) for one in value.values())
    if isinstance(value, list | tuple):
        return tuple(_plain(one) for one in value)
    if isinstance(value, int):
        return bool(value) if isinstance(value, bool) else int(value)
    if isinstance(value, bytes):
        return bytes(value)
    return str(value)


# ---------------------------------------------------------------- the market


class Market(_Deployed):
    """The factory on a chain: makes projects."""

    def __init__(self, chain: Chain, address: str):
        super().__init__(chain, "Factory", address)

    @classmethod
    def deploy(cls, chain: Chain, sender: Any) -> Market:
        """A new factory, with the library and the code that all of its projects share."""
        chain.deploy(compile_contracts()["Proofs"], sender)
        return cls(chain, chain.deploy(compile_contracts()["Factory"], sender).address)

    def is_project(self, address: str) -> bool:
        """Whether this factory made it."""
        return self._call("isProject", address)

    def implementation(self) -> str:
        """The contract whose code its projects share."""
        return self._call("implementation")

    def deploy_verifiers(self, builds: Mapping[int, Build], sender: Any, progress: Progress = quiet) -> Verifiers:
        """The verifiers of a project: one of the base proof, and a settlement for every N.

        Raises:
            ArtifactError: the builds are not of one project, or were made with a development SRS and the
                chain is not a development chain.
        """
        numbers = check_builds(builds)
        refuse_insecure(self.chain, builds)
        first = builds[numbers[0]]

        def deployed(build: Build, name: str) -> Verifier:
            progress(f"verifier of {name}, N={build.manifest.trainers}: compiling and deploying")
            return self.deploy_verifier(build, name, sender)

        return Verifiers(deployed(first, "base"), {n: deployed(builds[n], "settlement") for n in numbers})

    def deploy_verifier(self, build: Build, circuit: str, sender: Any) -> Verifier:
        """The verifier of one circuit of a build, newly deployed."""
        made = verifier_of(build, circuit)
        return Verifier(self.chain.deploy_verifier(made, sender).address, keccak(made.runtime))

    def verifier_at(self, address: str | None, build: Build, circuit: str) -> Verifier | None:
        """The verifier at an address, if it is the one of this circuit; else None."""
        if address is None:
            return None
        code = verifier_of(build, circuit).runtime
        return Verifier(address, keccak(code)) if self.chain.code(address) == code else None

    def deployed_at(self) -> int:
        """The time of the block in which it was deployed."""
        (event,) = self._logged(0, "latest", [self._topic("Deployed")])
        with transacting("reading a block"):
            return self.chain.web3.eth.get_block(event.block)["timestamp"]

    def projects_of(self, owner: str) -> list[str]:
        """Addresses of the projects that this factory made for an owner, in order."""
        topic = self._topic("ProjectCreated")
        found = self._logged(0, "latest", [topic, None, "0x" + owner[2:].lower().rjust(64, "0")])
        return [event.arguments["project"] for event in found]

    def creation_of(self, project: Project) -> Event:
        """The log entry of a project's creation: terms, plans, rates, and the prospectus's CID."""
        topic = self._topic("ProjectCreated")
        logged = self._logged(0, "latest", [topic, "0x" + project.address[2:].lower().rjust(64, "0")])
        if not logged:
            raise ChainError(f"the factory {self.address} logged no creation of {project.address}")
        return logged[0]

    def address_of_logged(self, said: Mapping[str, Any]) -> str:
        """Where a project that was made of what ProjectCreated logged stands: the address commits to all of it."""
        names = ("terms", "plans", "rates", "cid", "nonce")
        return self._call("addressOf", *(_words(said[name]) for name in names))

    def create(self, offer: Offer, builds: Mapping[int, Build], verifiers: Verifiers, sender: Any) -> Project:
        """A project with its whole pool in escrow; the sender is its owner. A token's pool is approved first.

        Raises TransactionReverted if the sender has created the very same before: `Offer.nonce` tells two apart.
        """
        refuse_insecure(self.chain, builds)
        terms = terms_words(offer, str(sender), builds, verifiers)
        words = (terms, plan_words(builds, verifiers), offer.rates, offer.cid, offer.nonce)
        value = offer.pool
        if offer.token != NOBODY:
            token = self.chain.contract("IERC20", offer.token, compile_contracts()["IERC20"].abi)
            data = _encoded(token.approve, self.address, offer.pool)
            self.chain.transact("approving the pool", sender, offer.token, data)
            value = 0
        wanted = self._call("addressOf", *words)
        done = self._send("create", "create", *words, sender=sender, value=value)
        address = done.event("ProjectCreated").arguments["project"]
        if address != wanted:
            raise ChainError(f"the project was created at {address}: its terms commit to {wanted}; do not use it")
        project = Project(self.chain, address)
        project.created = done
        return project


def _words(value: Any) -> Any:
    """What `_named` made of ABI values, as it was sent: structs as tuples."""
    if isinstance(value, Mapping):
        return tuple(_words(one) for one in value.values())
    return [_words(one) for one in value] if isinstance(value, list) else value


def refuse_insecure(chain: Chain, builds: Mapping[int, Build]) -> None:
    """ArtifactError for keys of a development SRS on a chain where something of value may be."""
    if not chain.development and any(build.manifest.insecure for build in builds.values()):
        raise ArtifactError(
            "the build is made with a development SRS, whose trapdoor is public: it is not deployed on chain"
            f" {chain.id}. Build with the ceremony's SRS (zkmarket srs fetch), or use a development chain, one of"
            f" {DEVELOPMENT_CHAINS}"
        )


def _encryption_key(key: bytes) -> bytes:
    """Brownie would fill a shorter one up with zeros."""
    if len(key) != 32:
        raise InputError(f"an encryption key has 32 bytes: got {len(key)}")
    return key


class _Bytes(ByteStringDecoder):
    """Takes any padding, as a contract does. eth_abi is strict within structs whatever it is told."""

    def read_data_from_stream(self, stream: Any) -> bytes:
        length = decode_uint_256(stream)
        data = stream.read(length)
        if len(data) < length:
            raise eth_abi.exceptions.InsufficientDataBytes(f"a byte string of {length} bytes has {len(data)}")
        return data


@functools.cache
def _codec() -> ABICodec:
    """Reads calldata as contracts do."""
    registry = default_registry.copy()
    registry.unregister_decoder("bytes")
    registry.register_decoder(BaseEquals("bytes", with_sub=False), _Bytes, label="bytes")
    return ABICodec(registry)


def _points(words: Sequence[int]) -> tuple[Point, ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


@dataclass(frozen=True)
class Submitted:
    """What the log says of a submission.

    Attributes:
        trainer: its address; `NOBODY` for a root update.
        digest: of the commitment's points.
        cid: where the ciphertext of points and opening will be.
    """

    trainer: str
    digest: bytes
    cid: bytes

    @property
    def word(self) -> bytes:
        """What a receipt signs."""
        return submission_word(self.digest, self.cid)


class Project(_Deployed):
    """A project on a chain. Each method sends one transaction of `sender`, or reads.

    All raise TransactionReverted with the contract's reason, and ChainError if the node fails.
    """

    created: Receipt | None = None

    def __init__(self, chain: Chain, address: str):
        super().__init__(chain, "Project", address)

    # ---- reading

    def state(self, depth: int = 0) -> State:
        """Where the project stands, in one call.

        Args:
            depth: blocks below the latest one. A reorganisation of fewer cannot take back what is read there.

        Raises:
            ChainError: the project was not there yet, or the node does not know that block.
        """
        with transacting("reading the block number"):
            block = max(0, self.chain.web3.eth.block_number - depth)
        try:
            phase, *rest = self._call("state", block=block)
        except ChainError:
            with transacting("reading code"):
                if self.chain.web3.eth.get_code(self.address, block):
                    raise
            raise ChainError(
                f"no project at {self.address} at block {block} yet: wait, or read less than {depth} blocks deep"
            ) from None
        return State(Phase(phase), *rest, block)

    def factory(self) -> str:
        """Who made the project; believe it only if that factory lists it."""
        return self._call("factory")

    def terms(self) -> dict[str, Any]:
        """What the owner fixed at creation, by the names of Types.sol."""
        return self._read("terms")

    def plan(self, trainers: int) -> dict[str, Any]:
        return self._read("plan", trainers)

    def rates(self) -> list[int]:
        return list(self._call("rates"))

    def account(self, who: Any) -> dict[str, Any]:
        """A trainer's standing: credit, stakeWei, lastRound, voidsSeen, skipped; and its refundWei."""
        return self._read("account", str(who)) | {"refundWei": self._call("refundWei", str(who))}

    def seats(self) -> list[dict[str, Any]]:
        """Submissions of the current round in the order of slots; once locked, the admitted only.

        Of each: trainer, admitted, and submission, the word that a receipt signs.
        """
        return self._read("seats")

    def root(self) -> dict[str, Any]:
        """The owner's root update: the round that it is offered for, the last round that has one, and its word."""
        return dict(zip(("offered", "admitted", "submission"), self._call("root"), strict=True))

    def is_proven(self, seed: bytes) -> bool:
        """Whether `prove_base` has been accepted for a transcript that ends with this seed, of whatever round."""
        return self._call("entry", seed) != bytes(32)

    def outcome(self) -> dict[str, Any]:
        """What the last settled round decided."""
        return self._read("outcome")

    def round_id(self, round_number: int | None = None) -> RoundId:
        """What commitments and proofs of a round are bound to; default the current one."""
        number = self._call("round") if round_number is None else round_number
        return RoundId(self.chain.id, int(self.address, 16), number)

    # ---- auditing: from the log and from calldata alone

    def submissions(self, round_number: int) -> list[Submitted]:
        """What was submitted to a round, in order: digests, for no update shows before the round is settled."""
        found = [event.arguments for event in self._of_round("Submitted", round_number)]
        return [Submitted(said["trainer"], said["digest"], said["cid"]) for said in found]

    def offered_root(self, round_number: int) -> Submitted | None:
        """The root update that the owner offers for a round; of several the last one counts."""
        found = [event.arguments for event in self._of_round("RootOffered", round_number)]
        return Submitted(NOBODY, found[-1]["digest"], found[-1]["cid"]) if found else None

    def commitments(self, round_number: int) -> list[Commitment]:
        """Of the trainers whose updates a round was settled with, in the order of slots.

        Raises:
            ChainError: the round was not settled: the chain has digests only.
        """
        said = self._settled(round_number).arguments["settlement"]
        slots = self._slots(said["points"])
        round_id = self.round_id(round_number)
        return [Commitment(round_id, int(who, 16), own) for who, own in zip(said["trainers"], slots, strict=False)]

    def root_commitment(self, round_number: int) -> Commitment | None:
        """The owner's root update that a round was settled with, if the aggregator gave a receipt for it; else None."""
        said = self._settled(round_number).arguments["settlement"]
        if not self._of_round("RootAdmitted", round_number):
            return None
        owner, slots = self.terms()["owner"], self._slots(said["points"])
        return Commitment(self.round_id(round_number), int(owner, 16), slots[len(said["trainers"])])

    def _settled(self, round_number: int) -> Event:
        settled = self._of_round("Settled", round_number)
        if not settled:
            raise ChainError(f"round {round_number} of {self.address} was not settled")
        return settled[0]

    def _slots(self, words: Sequence[int]) -> list[tuple[Point, ...]]:
        """What a settlement logs of points, by as many as a slot has; what stands behind the slots is cut anyhow."""
        points, chunks = _points(words), self.terms()["chunks"]
        return [points[at : at + chunks] for at in range(0, len(points), chunks)]

    def last_aggregate(self, round_number: int) -> tuple[Point, ...]:
        """Commitment of the aggregate that a round refers to as the last one: of the round settled before it.

        Empty if there is none: no round was settled, its aggregate was withheld, or counted as not served.
        """
        closed = [event.arguments for event in self._logged(0, "latest", [self._topic("Closed")])]
        before = [said for said in closed if said["round"] < round_number]
        if not before or before[-1]["skipped"]:
            return ()
        settled = self._of_round("Settled", before[-1]["round"])[0].arguments["settlement"]
        return _points(settled["aggregate"])

    def references(self, manifest: Manifest, round_number: int) -> References:
        """What updates of a round are compared with, where the rules of a manifest compare with anything."""
        return References(
            self.root_commitment(round_number) if "root" in manifest.references else None,
            (self.last_aggregate(round_number) or None) if "last" in manifest.references else None,
        )

    def _reference_points(self, proof: RoundProof) -> list[tuple[Point, ...]]:
        """Of every reference slot: the blinding point in each chunk, the zero vector's, where a round has none."""
        bits = self.plan(len(proof.commitments))["references"]
        if not bits:
            return []
        terms = self.terms()
        absent = ((terms["blinding"]["x"], terms["blinding"]["y"]),) * terms["chunks"]
        held = (proof.references.root.points if proof.references.root else None, proof.references.last)
        return [points or absent for at, points in enumerate(held) if bits >> at & 1]

    def round_proof(self, manifest: Manifest, round_number: int) -> RoundProof:
        """The proof that settled a round, for `auditor.verify_round` to check again.

        Args:
            manifest: of the build for as many trainers as were admitted.

        Raises:
            ChainError: the round was not settled.
            PassedOn: the transaction was passed on by another contract, or is not the one that was verified.
        """
        settled = self._settled(round_number)
        said = settled.arguments["settlement"]
        beta = self._of_round("Started", round_number)[0].arguments["beta"]
        try:
            base, decision, *_ = self._calldata(settled, "settle")
            first = bytes(base[-1])
        except PassedOn:
            seed, *_, decision, _, _ = self._calldata(settled, "settleProven")
            base, first = self._proven_base(round_number, seed), b""
        if proofs_hash(first, decision[-1]) != said["proofs"]:
            raise PassedOn(f"transaction {settled.transaction} has calldata with other proofs than it logged")
        trainers = [int(who, 16) for who in said["trainers"]]
        references = self.references(manifest, round_number)
        return round_proof_of(base, decision, manifest, self.round_id(round_number), beta, trainers, references)

    def _proven_base(self, round_number: int, seed: bytes) -> Sequence[Any]:
        """`BaseProof` of Types.sol as `prove_base` sent it. PassedOn if nobody sent it in a transaction of its own."""
        for event in self._of_round("BaseProven", round_number):
            if event.arguments["seed"] == seed:
                with contextlib.suppress(PassedOn):  # the same may have been sent again
                    return self._calldata(event, "proveBase")[0]
        raise PassedOn(f"the base proof of round {round_number} was passed on by another contract: no calldata of it")

    def _of_round(self, name: str, round_number: int) -> list[Event]:
        topic = self._topic(name)
        return list(self._logged(0, "latest", [topic, f"0x{round_number:064x}"]))

    def _calldata(self, event: Event, method: str) -> tuple[Any, ...]:
        """Arguments of the call that logged an event, read as the contract reads them: it takes any padding.

        PassedOn if that call is not the transaction's own: another contract made it, or this one called another
        (by a payment, say) that called back.
        """
        with transacting("reading a transaction"):
            sent = self.chain.web3.eth.get_transaction(event.transaction)
        item = next(item for item in self.container.abi if item.get("name") == method)
        data, selector = bytes(sent["input"]), function_abi_to_4byte_selector(item)
        if sent["to"] != self.address or not data.startswith(selector):
            raise PassedOn(
                f"transaction {event.transaction} was passed on by another contract: no calldata of {method}"
            )
        types = [collapse_if_tuple(part) for part in item["inputs"]]
        try:
            return tuple(_plain(value) for value in _codec().decode(types, data[4:], strict=False))
        except eth_abi.exceptions.DecodingError as error:
            raise PassedOn(f"transaction {event.transaction} has calldata that cannot be read: {error}") from error

    # ---- signing

    def sign_membership(self, owner: Any, trainer: Any) -> bytes:
        """The owner lists a trainer."""
        return sign(self.chain, owner, membership_message(self.chain.id, self.address, str(trainer)))

    def sign_receipt(self, aggregator: Any, trainer: Any | None, submission: bytes) -> bytes:
        """The aggregator says that it received an update of the current round, and that it opens.

        Args:
            trainer: None stands for the owner's root update.
            submission: the word that `seats` or `root` gives.
        """
        number, who = self._call("round"), NOBODY if trainer is None else str(trainer)
        message = receipt_message(self.chain.id, self.address, str(aggregator), number, who, submission)
        return sign(self.chain, aggregator, message)

    def sign_publication(self, aggregator: Any, manifest: Manifest, proof: RoundProof, cid: bytes) -> bytes:
        """The aggregator says where the aggregate of exactly this proof is served."""
        return sign(self.chain, aggregator, publication_message(manifest, proof, cid))

    # ---- aggregator

    def accept(self, sender: Any, encryption_key: bytes = bytes(32)) -> Receipt:
        """Take the office of the aggregator and pay the bond.

        Args:
            encryption_key: 32 bytes; the owner seals its root updates to it, where the rules use them.
        """
        value = self.terms()["bondWei"]
        return self._send("accept", "accept", _encryption_key(encryption_key), sender=sender, value=value)

    def top_up(self, sender: Any) -> Receipt:
        """Fill the bond up."""
        missing = self.terms()["bondWei"] - self._call("bondWei")
        return self._send("top up", "topUp", sender=sender, value=missing)

    def start(self, sender: Any, encryption_key: bytes, keyring: bytes = b"") -> Receipt:
        """Start a round.

        Args:
            encryption_key: 32 bytes; trainers seal their updates to it.
            keyring: CID of a sealed keyring with which members open the aggregates of earlier rounds.
        """
        return self._send("start", "start", _encryption_key(encryption_key), keyring, sender=sender)

    # ---- trainers

    def join(self, sender: Any, membership: bytes = b"", encryption_key: bytes = bytes(32)) -> Receipt:
        """Become a trainer, or fill one's stake up, or change one's key.

        Args:
            membership: the owner's signature, unless anyone may join.
            encryption_key: X25519, 32 bytes; aggregates are sealed to it. The one given last counts: zeros
                take back an earlier one.
        """
        key = _encryption_key(encryption_key)
        own = self.account(sender)
        if own["stakeWei"] and own["voidsSeen"] < self._call("voidRounds"):
            self._send("refresh", "refresh", str(sender), sender=sender)  # penalties that are not taken yet
            own = self.account(sender)
        missing = self.terms()["stakeWei"] - own["stakeWei"]
        return self._send("join", "join", membership, key, sender=sender, value=missing)

    def leave(self, sender: Any) -> Receipt:
        return self._send("leave", "leaveProject", sender=sender)

    def submit(self, sender: Any, commitment: Commitment, cid: bytes) -> Receipt:
        """Commit to an update by its digest, and say where its ciphertext will be."""
        return self._send("submit", "submit", commitment.digest(), cid, sender=sender)

    # ---- admission and settlement

    def admit(self, sender: Any, receipts: Mapping[Any | None, bytes]) -> Receipt:
        """Show the aggregator's receipts for submissions, in one transaction.

        Args:
            receipts: by trainer; None stands for the owner's root update. Who is admitted already is passed over.
        """
        trainers = [NOBODY if who is None else str(who) for who in receipts]
        return self._send("admit", "admit", trainers, list(receipts.values()), sender=sender)

    def lock(self, sender: Any) -> Receipt:
        """Freeze the admitted set: the reward is owed."""
        return self._send("lock", "lock", sender=sender)

    def settle(self, sender: Any, proof: RoundProof, cid: bytes, publication: bytes) -> Receipt:
        """Have a round verified and paid; anyone may."""
        words = self._base_words(proof), decision_words(proof), cid, publication
        return self._send("settle", "settle", *words, sender=sender)

    def prove_base(self, sender: Any, proof: RoundProof) -> Receipt:
        """The first half of a settlement that one transaction does not hold; anyone may."""
        return self._send("prove base", "proveBase", self._base_words(proof), sender=sender)

    def settle_proven(self, sender: Any, proof: RoundProof, cid: bytes, publication: bytes) -> Receipt:
        """The second half, for a round proof whose base proof was accepted before; anyone may."""
        points, cids, q, *_ = self._base_words(proof)
        seed = last_seed(proof, self._reference_points(proof))
        words = seed, points, cids, q, decision_words(proof), cid, publication
        return self._send("settle", "settleProven", *words, sender=sender)

    def _base_words(self, proof: RoundProof) -> tuple[Any, ...]:
        """With the CIDs that the round's submissions named: the contract has them as hashes only."""
        number = proof.round_id.round
        named = {int(one.trainer, 16): one.cid for one in self.submissions(number)}
        strangers = [address_of(one.trainer) for one in proof.commitments if one.trainer not in named]
        if strangers:
            raise ChainError(f"the log has no submission of {strangers[0]} to round {number} of {self.address}")
        cids = [named[commitment.trainer] for commitment in proof.commitments]
        if self.root()["admitted"] == number:
            cids.append(self.offered_root(number).cid)
        return base_words(proof, cids, self._reference_points(proof))

    def claim(self, sender: Any) -> Receipt:
        """Say that the aggregate is not served."""
        return self._send("claim", "claim", sender=sender)

    def unclaim(self, sender: Any) -> Receipt:
        return self._send("unclaim", "unclaim", sender=sender)

    # ---- owner

    def offer_root(self, sender: Any, commitment: Commitment, cid: bytes) -> Receipt:
        """Offer a root update for the next round, or one in its place before the start.

        The first offer pays a deposit of p, which is lost if the aggregator gives no receipt for the update.

        Args:
            cid: where points and opening are, sealed to the key that the aggregator accepted with.
        """
        value = 0 if self.root()["offered"] else self.terms()["penaltyWei"]
        return self._send("offer root", "offerRoot", commitment.digest("root"), cid, sender=sender, value=value)

    def name_aggregator(self, sender: Any, candidate: Any) -> Receipt:
        return self._send("name", "nameAggregator", str(candidate), sender=sender)

    def announce_end(self, sender: Any) -> Receipt:
        return self._send("announce end", "announceEnd", sender=sender)

    def end(self, sender: Any) -> Receipt:
        return self._send("end", "end", sender=sender)

    # ---- time-outs, by anyone

    def cancel(self, sender: Any) -> Receipt:
        return self._send("cancel", "cancel", sender=sender)

    def skip(self, sender: Any) -> Receipt:
        return self._send("skip", "skip", sender=sender)

    def void_round(self, sender: Any) -> Receipt:
        return self._send("void", "voidRound", sender=sender)

    def fail_admission(self, sender: Any) -> Receipt:
        return self._send("fail admission", "failAdmission", sender=sender)

    def fail(self, sender: Any) -> Receipt:
        return self._send("fail", "fail", sender=sender)

    def next(self, sender: Any) -> Receipt:
        """Close a settled round."""
        return self._send("next", "next", sender=sender)

    # ---- money out

    def withdraw(self, sender: Any, to: Any | None = None) -> Receipt:
        """Everything in native coin that the sender may take; to itself by default."""
        return self._send("withdraw", "withdraw", str(to or sender), sender=sender)

    def withdraw_token(self, sender: Any, to: Any | None = None) -> Receipt:
        """The reward where it is a token."""
        return self._send("withdraw token", "withdrawToken", str(to or sender), sender=sender)

    def burn(self, sender: Any) -> Receipt:
        """Send what was burnt to the burn address."""
        return self._send("burn", "burn", sender=sender)
