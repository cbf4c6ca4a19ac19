"""A connection to a chain, and a development chain of our own."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from ..errors import ChainError, InputError
from ..processes import dying_with_us
from .abi import innermost, transacting
from .chain import Chain
from .compiler import brownie_project
from .networks import DEVELOPMENT_CHAINS
from .tools import START_SECONDS, anvil_path

RPC_SECONDS = 60
BLOCK_GAS = 30_000_000


@contextlib.contextmanager
def connect(rpc_url: str) -> Iterator[Chain]:
    """Talk to the chain at an RPC address, until the block ends.

    Raises:
        InputError: not an http(s) address.
        ChainError: nothing answers there, or this process is connected already.
    """
    if not re.fullmatch(r"https?://\S+", rpc_url):
        raise InputError(f"an RPC address starts with http:// or https://: got {rpc_url!r}")
    brownie = brownie_project()
    from brownie._config import CONFIG
    from brownie.network.rpc import Rpc, anvil
    from web3 import HTTPProvider, Web3

    if brownie.network.web3.provider is not None:
        raise ChainError(f"already connected to {brownie.network.web3.provider.endpoint_uri}: one chain a process")
    try:
        chain = Chain(rpc_url, Web3(HTTPProvider(rpc_url, {"timeout": RPC_SECONDS})).eth.chain_id)
    except Exception as error:  # requests, web3 and urllib3 have a dozen kinds
        raise ChainError(f"no chain answers at {rpc_url}: {innermost(error)}") from error
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
        dying_with_us([anvil_path(), *words]),
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
            given = ports.get(timeout=START_SECONDS)
        except Empty:
            given = None
        if given is None:
            raise ChainError(f"anvil did not start: {''.join(said[-5:]).strip() or 'it said nothing'}")
        rpc_url = f"http://127.0.0.1:{given}"
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
    last = int(_ask(rpc_url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    if last > time.time():
        _ask(rpc_url, "evm_setTime", last + 1)


def give_coins(rpc_url: str, accounts: Iterable[str], wei: int) -> None:
    """Let accounts of an anvil own so much."""
    for account in accounts:
        _ask(rpc_url, "anvil_setBalance", account, hex(wei))


def _ask(rpc_url: str, method: str, *given: Any) -> Any:
    from urllib.request import Request, urlopen

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}).encode()
    request = Request(rpc_url, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=RPC_SECONDS) as answer:
        return json.load(answer)["result"]
