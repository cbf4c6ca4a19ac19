"""A chain without the precompiles that proofs are checked with: no factory is deployed there, and no sum is taken.

No development chain can be told to leave them out. But where there is none is an account without code, and so it is
done here: the sources as they are, but for the address of one precompile, at which nothing stands.

Precompiles.check, which the factory's constructor asks
    when one is missing
        it should refuse: WrongPrecompile
    when one gives another answer
        it should refuse: WrongPrecompile
Bn254.add, mulAdd
    when the precompile is missing
        it should refuse, and not return the sum as it was
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.contracts.doubles import HEADER
from tests.contracts.test_chain import write_project
from tests.contracts.test_libraries import Harness, Refused, times
from tests.contracts.world import refused
from zkmarket.chain import LIBRARIES, Chain, compile_contracts
from zkmarket.crypto import GENERATOR
from zkmarket.processes import SOURCE_TREE

pytestmark = pytest.mark.chain

PRECOMPILES = {"MOD_EXP": 5, "ADD": 6, "MUL": 7, "PAIRING": 8}
IDENTITY, EMPTY, EMPTY_SHORT = 4, 0x1000, 0x40
"""The precompile that gives back what it is given; accounts without code are from here on; one of a single byte."""

CALLER = """
import {{Bn254{suffix}}} from "./Bn254{suffix}.sol";
import {{Precompiles{suffix}}} from "./Precompiles{suffix}.sol";

contract Caller{suffix} {{
    using Bn254{suffix} for uint256[5];

    function check() external view returns (bool) {{
        Precompiles{suffix}.check();
        return true;
    }}

    function add(uint256[2] calldata start, uint256 x, uint256 y) external view returns (uint256, uint256) {{
        uint256[5] memory sum;
        (sum[0], sum[1]) = (start[0], start[1]);
        sum.add(x, y);
        return (sum[0], sum[1]);
    }}

    function mulAdd(uint256[2] calldata start, uint256 x, uint256 y, uint256 k)
        external
        view
        returns (uint256, uint256)
    {{
        uint256[5] memory sum;
        (sum[0], sum[1]) = (start[0], start[1]);
        sum.mulAdd(x, y, k);
        return (sum[0], sum[1]);
    }}
}}
"""


def moved(source: str, name: str, to: int) -> str:
    """A library's source with one precompile looked for at another address."""
    return re.sub(rf"(constant {name} = ){PRECOMPILES[name]};", rf"\g<1>{to};", source)


def library(name: str) -> str:
    return (SOURCE_TREE / "contracts" / "lib" / f"{name}.sol").read_text()


@pytest.fixture(scope="module")
def callers(node: Chain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Harness]]:
    """By what is moved: "" nothing, "ADD" to an empty account, "ADD wrong" to the identity."""
    kinds = {"": ("", 0)}
    kinds |= {name: (name, EMPTY + at) for name, at in PRECOMPILES.items()}
    kinds |= {f"{name} wrong": (name, IDENTITY) for name in PRECOMPILES}
    sources = {}
    for at, (name, to) in enumerate(kinds.values()):
        for part in ("Bn254", "Precompiles"):
            text = moved(library(part), name, to) if name else library(part)
            sources[f"{part}{at}"] = re.sub(r"\b(Bn254|Precompiles)\b", rf"\g<1>{at}", text)
        sources[f"Caller{at}"] = HEADER + CALLER.format(suffix=at)
        assert not name or sum(
            f"constant {name} = {to};" in sources[f"{part}{at}"] for part in ("Bn254", "Precompiles")
        )
    made = compile_contracts(write_project(tmp_path_factory.mktemp("projects") / "callers", **sources))
    found = {}
    for at, kind in enumerate(kinds):
        container = made[f"Caller{at}"]
        errors = [
            item for name in ("Bn254", "Precompiles") for item in made[f"{name}{at}"].abi if item["type"] == "error"
        ]
        found[kind] = Harness(node, node.deploy(container, node.accounts[0]), [*container.abi, *errors])
    yield found


@pytest.mark.parametrize("name", PRECOMPILES)
def test_attack_a_chain_without_one_gets_no_factory(callers: dict[str, Harness], name: str) -> None:
    with pytest.raises(Refused) as caught:
        callers[name].check()
    assert caught.value.args[0] == "WrongPrecompile"
    assert caught.value.args[1] == EMPTY + PRECOMPILES[name]
    assert callers[""].check() is True


@pytest.mark.parametrize("name", PRECOMPILES)
def test_a_wrong_answer_is_none(callers: dict[str, Harness], name: str) -> None:
    with pytest.raises(Refused) as caught:
        callers[f"{name} wrong"].check()
    assert caught.value.args == ("WrongPrecompile", IDENTITY)


def test_attack_a_sum_is_not_what_it_was_where_nothing_adds(callers: dict[str, Harness]) -> None:
    """A folded commitment that stays at infinity, whatever the points: any proof that begins with it would fit."""
    a, b = times(77), times(78)
    for call in (lambda: callers["ADD"].add(a, *b), lambda: callers["ADD"].mulAdd(a, *b, 5)):
        with pytest.raises(Refused, match="PointNotOnCurve"):
            call()
    assert callers[""].add(a, *b) == times(155) and callers[""].mulAdd(a, *b, 5) == times(77 + 5 * 78)


def test_attack_a_product_is_not_its_point_where_nothing_multiplies(callers: dict[str, Harness]) -> None:
    """Without it every coefficient would be 1: challenges would bind nothing."""
    with pytest.raises(Refused, match="PointNotOnCurve"):
        callers["MUL"].mulAdd(times(77), *GENERATOR, 5)


def test_an_answer_of_another_length_is_none(callers: dict[str, Harness]) -> None:
    """The identity gives back four words, or three, where two are wanted."""
    for call in (
        lambda: callers["ADD wrong"].add(times(77), *GENERATOR),
        lambda: callers["ADD wrong"].mulAdd(times(77), *GENERATOR, 5),
        lambda: callers["MUL wrong"].mulAdd(times(77), *GENERATOR, 5),
    ):
        with pytest.raises(Refused, match="PointNotOnCurve"):
            call()


@pytest.mark.parametrize("name", PRECOMPILES)
def test_the_factory_itself_asks(node: Chain, name: str) -> None:
    """The code that deploys it, as it is compiled, but for one call: PUSH1 address, GAS, STATICCALL."""
    for library_name in LIBRARIES:
        node.deploy(compile_contracts()[library_name], node.accounts[0])
    code = compile_contracts()["Factory"].deploy.encode_input()
    asked, nobody = (f"60{at:02x}5afa" for at in (PRECOMPILES[name], EMPTY_SHORT))
    assert code.count(asked) == 1
    with refused(f"WrongPrecompile(which={PRECOMPILES[name]})"):
        node._create("Factory", bytes.fromhex(code.replace(asked, nobody)), node.accounts[0])
    assert node.code(node._create("Factory", bytes.fromhex(code), node.accounts[0]))  # its twin: nothing is moved
