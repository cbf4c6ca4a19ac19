"""The only file that knows Brownie: contracts compiled, a chain to talk to, verifiers deployed.

Brownie is used as a library, closed in on every side: its data folder is a private temporary one, its
compiler is npm's WebAssembly solc behind contracts/solc.cjs, its chain is an anvil of our own or the
RPC address that the caller gave. It keeps one connection a process, so `connect` is not nested.

The contracts that ezkl writes to verify proofs read their arguments at fixed places of the calldata,
but hash them where the ABI's offsets point. Only the canonical encoding, which a Solidity call
always makes, lets the challenges bind what is checked; a crafted one can make a false proof pass. So
a verifier's answer counts only when a contract asked it with decoded arguments.
"""

from __future__ import annotations

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
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Empty, Queue
from types import ModuleType
from typing import Any

from .errors import ChainError, InputError, TransactionReverted
from .files import atomic_write, cache_folder, locked, sha256_file, write_json

ROOT = Path(__file__).resolve().parents[1]
"""Where contracts/, node_modules/ and brownie-config.yaml are: zkmarket runs from its source tree."""

SOLC_VERSION = "0.8.37+commit.f401782d"
"""Decides the bytes of every contract; brownie-config.yaml and package-lock.json name the same."""

DEVELOPMENT_CHAINS = (31337, 1337)
"""Chain ids that no public chain has. Time can be moved there, and insecure SRS files are accepted."""

MAX_CODE = 24_576
"""EIP-170: the most bytes of code that a contract may have."""

BLOCK_GAS = 30_000_000
COMPILE_SECONDS, START_SECONDS, RPC_SECONDS = 300, 30, 60

VERIFIER_SETTINGS = {
    # 200 runs: the same size as 1 run (range: 20,796 bytes of the 24,576 allowed; settlement: 12,990) and
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
    return hashlib.sha256(json.dumps([SOLC_VERSION, version("eth-brownie"), parts]).encode()).hexdigest()


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
    found = _run_solc("--version").rpartition("Version: ")[2].strip()
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

    @property
    def now(self) -> int:
        """Timestamp of the latest block."""
        return self.web3.eth.get_block("latest")["timestamp"]

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
        """A new contract of `compile_contracts`. Deploy the libraries that it links to first, or name them by `at`.

        A plain transaction: what Brownie's own `deploy` writes down about a public chain fails in this version.
        """
        return self.at(container, self._create(container._name, container.deploy.encode_input(*arguments), sender))

    def at(self, container: Any, address: str) -> Any:
        """A contract of `compile_contracts` that is on the chain already."""
        self._check_code(container._name, address)
        return container.at(address, persist=False)

    def deploy_verifier(self, verifier: CompiledVerifier, sender: Any) -> Any:
        """A new verifier contract with exactly this code."""
        address = self._create("the verifier", "0x" + verifier.creation.hex(), sender)
        if bytes(self.web3.eth.get_code(address)) != verifier.runtime:
            raise ChainError(f"the verifier at {address} has other code than was deployed")
        return _brownie().Contract.from_abi("Halo2Verifier", address, verifier.abi, persist=False)

    def _check_code(self, name: str, address: str) -> None:
        if not self.web3.eth.get_code(address):
            raise ChainError(f"no contract at {address} on chain {self.id}: wanted {name}")

    def _create(self, name: str, data: str, sender: Any) -> str:
        with transacting(f"deploying {name}"):
            return sender.transfer(data=data).contract_address

    def _only_development(self, what: str) -> None:
        if not self.development:
            raise InputError(f"chain {self.id} is not a development chain: {what} on {DEVELOPMENT_CHAINS} only")


@contextlib.contextmanager
def transacting(what: str) -> Iterator[None]:
    """Map what Brownie and web3 raise for calls and transactions, and keep Brownie's chatter off stdout.

    Raises:
        TransactionReverted: the contract refused; `reason` is what it said.
        ChainError: the node failed or cannot be reached.
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
        if told.get("code") == _REVERTED:
            reason = _reason(told.get("data"))
            raise TransactionReverted(f"{what} was reverted: {reason or 'no reason given'}", reason) from error
        raise ChainError(f"{what} failed: {told.get('message', error)}") from error
    except (
        Web3Exception,
        RequestException,
        ConnectionError,
        exceptions.RPCRequestError,
        exceptions.TransactionError,
    ) as error:
        raise ChainError(f"{what} failed: {error}") from error


_REVERTED = 3
"""The JSON-RPC error code for it."""


def _reason(text: str | None) -> str:
    """What the contract said: a string, or a custom error with its arguments, ``TooMuch: 11, 10``."""
    reason = (text or "").removeprefix("execution reverted").lstrip(": ").strip()
    if re.fullmatch(r"0x([0-9a-f]{2}){4,}", reason):  # of a public chain, which Brownie does not decode
        reason = _brownie().exceptions.decode_typed_error(reason)
    return "" if reason in ("Unknown typed error: 0x", "0x") else reason  # both: it said nothing


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
        raise ChainError(f"no chain answers at {rpc_url}: {error}") from error
    network = {"id": "zkmarket", "name": "zkmarket", "host": rpc_url, "timeout": RPC_SECONDS, "chainid": str(chain.id)}
    if chain.development:
        network |= {"cmd": "anvil", "cmd_settings": {}}  # "cmd" is how Brownie knows a development network
    CONFIG.networks["zkmarket"] = network
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
    with _anvil_node(accounts) as rpc_url, connect(rpc_url) as chain:
        yield chain


# The shell becomes the node. Its helper waits for the end of our pipe, which even kill -9 of this process brings.
_KEEPER = 'exec 3<&0; (read -r _ <&3; kill -9 $$) >/dev/null 2>&1 & exec 3<&- </dev/null; exec "$@"'


@contextlib.contextmanager
def _anvil_node(accounts: int, chain_id: int = DEVELOPMENT_CHAINS[0]) -> Iterator[str]:
    """Start anvil; its RPC address. It ends with the block, or with this process whatever ends that."""
    options = {
        "--host": "127.0.0.1",
        "--port": 0,  # the system chooses a free one
        "--chain-id": chain_id,
        "--accounts": accounts,
        "--block-base-fee-per-gas": 0,
        "--gas-limit": BLOCK_GAS,
        "--hardfork": "osaka",
    }
    words = [str(word) for option in options.items() for word in option]
    node = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "sh", _anvil(), *words],
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
        yield f"http://127.0.0.1:{port}"
    finally:
        node.kill()
        node.stdin.close()
        node.wait()
        reader.join(timeout=5)
        node.stdout.close()
