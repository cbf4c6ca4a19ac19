"""A contract that offers the internal functions of contracts/lib, one by one, and calls to it from Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from hypothesis import HealthCheck
from hypothesis import strategies as st

from tests.contracts.test_chain import write_project
from tests.support.tiers import examples
from zkmarket.chain import Chain, compile_contracts
from zkmarket.crypto import P
from zkmarket.processes import SOURCE_TREE

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "transcript.json").read_text())
EDGES = [0, 1, 2, P - 2, P - 1]

quick = examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
scalars = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))
seeds = st.binary(min_size=32, max_size=32)


class Harness:
    """``harness.fold(seed, q, folds, chunks)``: one eth_call, its value, or `Refused` with the error's words."""

    def __init__(self, chain: Chain, contract: Any, abi: list[dict[str, Any]]):
        self.chain, self.address = chain, contract.address
        self.functions = {item["name"]: item for item in abi if item["type"] == "function"}
        self.errors = {selector(item): item for item in abi if item["type"] == "error"}

    def __getattr__(self, name: str) -> Any:
        if name not in self.functions:
            raise AttributeError(name)
        item = self.functions[name]
        inputs = [collapse_if_tuple(part) for part in item["inputs"]]
        outputs = [collapse_if_tuple(part) for part in item["outputs"]]

        def call(*arguments: Any) -> Any:
            data = selector(item) + encode(inputs, arguments)
            request = {"to": self.address, "data": "0x" + data.hex(), "gas": hex(25_000_000)}
            answer = self.chain.web3.provider.make_request("eth_call", [request, "latest"])
            if "error" in answer:
                raise self.refused(bytes.fromhex(answer["error"].get("data", "0x")[2:]))
            values = decode(outputs, bytes.fromhex(answer["result"][2:]))
            return values[0] if len(values) == 1 else values or None

        return call

    def refused(self, data: bytes) -> Refused:
        item = self.errors.get(data[:4])
        if item is None:
            return Refused("0x" + data.hex())
        return Refused(item["name"], *decode([collapse_if_tuple(part) for part in item["inputs"]], data[4:]))


class Refused(Exception):
    """A custom error: its name, then its arguments."""


def selector(item: dict[str, Any]) -> bytes:
    return keccak(abi_to_signature(item).encode())[:4]


def compile_harness(folder: Path) -> Any:
    """Harness.sol beside a copy of contracts/lib."""
    place = write_project(folder / "harness")
    ours = SOURCE_TREE / "contracts"
    for name in ("lib", "interfaces"):
        shutil.copytree(ours / name, place / "contracts" / name)
    for name in ("MarketErrors.sol", "Types.sol"):
        shutil.copy(ours / name, place / "contracts")
    shutil.copy(Path(__file__).parent / "sol" / "Harness.sol", place / "contracts")
    return compile_contracts(place)


def deploy_harness(node: Chain, compiled: Any) -> Harness:
    names = ("Bn254", "MarketErrors", "Projection")
    errors = [item for name in names for item in compiled[name].abi if item["type"] == "error"]
    return Harness(node, node.deploy(compiled["Harness"], node.accounts[0]), [*compiled["Harness"].abi, *errors])


# ---------------------------------------------------------------- vectors


def number(text: str) -> int:
    return int(text, 16)


def numbers(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(map(number, texts))


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def label(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")


def words_of(points: Sequence[str]) -> list[int]:
    """Points as words x, y, …"""
    return [int(text[2 + 64 * half : 66 + 64 * half], 16) for text in points for half in (0, 1)]


def points_of(vector: dict[str, Any]) -> list[str]:
    """A transcript's points in order, C_G not among them. A reference that there is not is B in every chunk."""
    absent = [vector["blinding"]] * vector["chunks"]
    slots = [*vector["updates"], *(points or absent for points in vector["references"].values())]
    return [*(point for slot in slots for point in slot), *vector["mask"], *vector["projection"]]


def name_of(vector: dict[str, Any]) -> str:
    return f"K{vector['logrows']}N{len(vector['updates'])}m{vector['chunks']}{'-'.join(vector['references'])}"
