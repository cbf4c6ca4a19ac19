"""Contracts to bytecode: solc through Brownie, and the generated verifiers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from eth_utils.address import to_checksum_address

from ..documents import write_json
from ..errors import ChainError
from ..files import atomic_write, cache_folder, locked, sha256_file
from .tools import COMPILED, SOLC_VERSION, solc_folder, solc_path, tree

MAX_CODE = 24_576
"""EIP-170: the most bytes of code that a contract may have."""
COMPILE_SECONDS = 300

LIBRARIES = ("Proofs", "Scores", "Limits")
"""What our contracts link to: deployed before the factory, which holds the code of all of them."""

VERIFIER_SETTINGS = {
    # 200 runs: the same size as 1 run and
    # 0.05 % less gas. 1,000,000 runs inline the curve operations: 2 % to 4 % less gas, but the range
    # verifier grows to 33,432 bytes and cannot be deployed.
    "optimizer": {"enabled": True, "runs": 200},
    "evmVersion": "cancun",
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},  # no file names in the code: the same everywhere
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


# ---------------------------------------------------------------- Brownie


@functools.cache
def brownie_project() -> ModuleType:
    """Import Brownie: it reads HOME and makes its data folder there, once, at import."""
    os.environ["SOLCX_BINARY_PATH"] = str(solc_folder())
    home = tempfile.mkdtemp(prefix=f"zkmarket-{os.getpid()}-")  # of a killed process: `backend` sweeps it away
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    saved = os.environ.get("HOME")
    os.environ["HOME"] = home
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
            from hypothesis import settings

            # hypothesis has no public name for it
            profile = settings._current_profile  # type: ignore[attr-defined]
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


def forget_reverted(height: int) -> None:
    """Have Brownie forget contracts of later blocks: others may come to their addresses.

    As its own `_notify_registry` does, which collects all garbage first: that takes longer than many a test.
    """
    from brownie.network import state

    for reference in list(state._revert_refs):
        if (kept := reference()) is not None:
            kept._revert(height)


# ---------------------------------------------------------------- contracts


@functools.cache
def compile_contracts(folder: Path | None = None) -> Any:
    """The contracts of `folder`/contracts as Brownie containers, by name: ``compile_contracts()["Factory"]``.

    Compiled when anything that they depend on has changed, under a lock, so that processes may ask at
    once; what is built is kept in .build/, and a wheel brings it. What changed is decided here: Brownie does not see a
    change in a file that holds no contract, and fails where a dependency has the name of one of ours.

    Args:
        folder: default where ours are, `tree()`.

    Raises:
        ChainError: a compiler error, with the compiler's message, or no compiler.
    """
    brownie = brownie_project()
    folder = folder or tree()
    built = folder / COMPILED
    stamp = built / "recipe"
    name = "Zkmarket" + hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    # the working directory: imports from npm are remapped to a path relative to it
    with locked(folder / ".build" / "lock"), contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        recipe = _contracts_recipe(folder)
        fresh = not stamp.is_file() or stamp.read_text() != recipe
        if fresh:
            solc_path()  # ChainError if there is none; what is compiled needs none
            shutil.rmtree(built, ignore_errors=True)
        try:
            project = brownie.project.load(folder, name=name, compile=fresh)
        except Exception as error:
            raise ChainError(f"the contracts of {folder} do not compile: {error}") from error
        atomic_write(stamp, recipe.encode())
    return project


def _contracts_recipe(folder: Path) -> str:
    """Hash of everything that decides what is built."""
    files = [*sorted((folder / "contracts").rglob("*.sol")), folder / "brownie-config.yaml"]
    parts = [(str(path.relative_to(folder)), sha256_file(path)) for path in files]
    parts.append(("solc.cjs", sha256_file(tree() / "contracts" / "solc.cjs")))
    locked_packages = json.loads((tree() / "package-lock.json").read_bytes())["packages"]
    parts.append(("OpenZeppelin", locked_packages["node_modules/@openzeppelin/contracts"]["integrity"]))
    return hashlib.sha256(json.dumps([SOLC_VERSION, version("eth-brownie"), parts]).encode()).hexdigest()


def compiled_code(name: str) -> bytes:
    """Code that a contract of ours has on chain; where it names a library there are zeros."""
    build = compile_contracts()[name]._build
    text = build["deployedBytecode"]
    for links in build.get("deployedLinkReferences", {}).values():
        for start in (2 * place["start"] for places in links.values() for place in places):
            text = text[:start] + "0" * 40 + text[start + 40 :]
    return bytes.fromhex(text)


def library_code(name: str, address: str) -> bytes:
    """Code that a library of ours has at an address."""
    code = compiled_code(name)
    for start in own_address(code):
        code = code[:start] + bytes.fromhex(address[2:]) + code[start + 20 :]
    return code


def own_address(code: bytes) -> list[int]:
    """Where compiled code has zeros for its own address: once, in a library that writes, which refuses to be called
    directly by it (ADDRESS, PUSH32, EQ)."""
    mark = b"\x30\x7f" + bytes(32) + b"\x14"
    return [code.index(mark) + 14] if code.count(mark) == 1 else []


def library_gap(library: str) -> str:
    """What stands in a contract's bytecode where the library's address belongs, as Brownie writes it."""
    return f"__{library:_<38}"


def libraries_of_creation(given: bytes) -> dict[str, str] | None:
    """The libraries that were linked in, if `given` is what creates our factory; None if it is anything else."""
    text: str = compile_contracts()["Factory"].bytecode
    found: dict[str, str] = {}
    for library in LIBRARIES:
        gap = library_gap(library)
        at = text.index(gap)
        address = given.hex()[at : at + 40]
        if len(address) < 40:
            return None
        text, found[library] = text.replace(gap, address), to_checksum_address(address)
    return found if given.hex() == text else None


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
    verifier = _cached_verifier(path)
    if verifier is None:
        verifier = _compile_verifier(source)
        value = {"abi": verifier.abi, "creation": verifier.creation.hex(), "runtime": verifier.runtime.hex()}
        write_json(path, {**value, "sha256": _digest(value)})
    return verifier


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
    version = solc_version()
    if not version.startswith(SOLC_VERSION):
        raise ChainError(f"the Solidity compiler is {version}: wanted {SOLC_VERSION}; run `npm ci --ignore-scripts`")
    given = {"language": "Solidity", "sources": {"v.sol": {"content": source}}, "settings": VERIFIER_SETTINGS}
    answer = json.loads(run_solc("--standard-json", given=json.dumps(given)))
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


def solc_version() -> str:
    return run_solc("--version").rpartition("Version: ")[2].strip()


def run_solc(*words: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            [solc_path(), *words], input=given, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise ChainError(f"the Solidity compiler gave no answer for {COMPILE_SECONDS} s and was stopped") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise ChainError(f"the Solidity compiler failed: {getattr(error, 'stderr', None) or error}") from error
    return done.stdout
