"""What does each transaction of a project cost on chain, and where does the gas of a settlement go?

    python -m benchmarks.bench_gas            # measures and writes benchmarks/gas.json
    python -m benchmarks.bench_gas --check    # measures, compares with it, exits 1 if anything grew
    python -m benchmarks.bench_gas --check --project N3_m1    # only that

Real proofs against real verifiers on a fresh anvil: gas depends on the hardfork (zkmarket/chain/connection.py), on the
compiler, and by a few hundred on the zero bytes of a proof, but not on the machine. It takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, say
from tests.contracts.real import CID, Real, RealProject, made
from zkmarket.chain import SOLC_VERSION, Chain, development_chain
from zkmarket.market import Verifiers
from zkmarket.posting import RoundShape
from zkmarket.progress import quiet
from zkmarket.rules import Filter

SNAPSHOT = Path(__file__).with_name("gas.json")
TOLERANCE = 0.01

PROJECTS = {
    # name: (trainers, parameters, logrows). N3_m1 is small, for the test that measures it each time
    "N3_m1": (3, 1_800, 11),
    "N8_m1": (8, 1_210, 13),
    "N16_m1": (16, 1_210, 13),
    "N10_m13": (10, 100_000, 13),
    "N32_m8": (32, 1_000_000, 17),
}
TWICE = ("N8_m1", "N10_m13")
"""Settled by two transactions, too."""
DEFAULT = "N8_m1"
"""The projects have Multi-Krum alone, as their figures always had; this one is settled by the default filter, too."""

STEPS = ("create", "accept", "join", "start", "admit", "lock", "next", "withdraw")
"""Of N8_m1. `admit` has all receipts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with benchmarks/gas.json, write nothing")
    parser.add_argument("--project", choices=PROJECTS, action="append", help="with --check; default: all")
    parser.add_argument("--json", action="store_true", help="the result on stdout, no progress")
    arguments = parser.parse_args()
    if arguments.project and not arguments.check:
        parser.error("the snapshot is of all projects: --project goes with --check")
    with development_chain(accounts=40) as chain:
        result = measure(chain, quiet if arguments.json else say, arguments.project or PROJECTS)
    if arguments.json:
        print(json.dumps(result))
    if not arguments.check:
        SNAPSHOT.write_text(json.dumps(result, indent=1) + "\n")
        return
    differences = compared(result, json.loads(SNAPSHOT.read_text()), bool(arguments.project))
    for line in differences:
        say(line)
    sys.exit(1 if differences else 0)


def measure(chain: Chain, tell: Callable[[str], None], projects: Iterable[str] = PROJECTS) -> dict[str, Any]:
    real = Real.deploy(chain)
    deployed = {"factory+project": gas_to_deploy(chain, real.market.address)}
    deployed["libraries"] = gas_to_deploy(chain, None) - deployed["factory+project"]
    settle: dict[str, int] = {}
    parts: dict[str, Any] = {}
    submit: dict[str, int] = {}
    steps: dict[str, int] = {}
    in_two: dict[str, Any] = {}
    default: dict[str, int] = {}
    for name in projects:
        with chain.rolled_back():
            project = settled(real, name, tell)
            settle[name] = project.receipts["settle"].gas
            parts[name] = parts_of_settle(project)
            submit.setdefault("first", project.receipts["submit"].gas)
            if name == DEFAULT:
                deployed |= verifiers_to_deploy(chain, project.verifiers, 8)
                steps = finished(project)
                project.to_prove()
                submit["later"] = project.receipts["submit"].gas
    for name in [name for name in TWICE if name in projects]:
        with chain.rolled_back():
            project = settled(real, name, tell, in_two=True)
            in_two[name] = {step: project.receipts[step].gas for step in ("prove base", "settle")}
    if DEFAULT in projects:
        with chain.rolled_back():
            default = {DEFAULT: settled(real, DEFAULT, tell, Filter.default).receipts["settle"].gas}
    return {
        "about": "gas, by python -m benchmarks.bench_gas; tolerance is the part by which --check lets it differ",
        "tolerance": TOLERANCE,
        **{key: value for key, value in machine().items() if key != "numpy"},
        "solc": SOLC_VERSION,
        "node": chain.web3.client_version,
        "projects": {
            name: dict(zip(("trainers", "params", "logrows"), of, strict=True)) for name, of in PROJECTS.items()
        },
        "settle": settle,
        "settle_in_two": in_two,
        "settle_parts": parts,
        "settle_default": default,
        "submit": submit,
        "deploy": deployed,
        **steps,
    }


def settled(
    real: Real,
    name: str,
    tell: Callable[[str], None] = quiet,
    rule: Callable[[int], Filter] = Filter.krum,
    in_two: bool = False,
) -> RealProject:
    """A project of PROJECTS, its first round settled."""
    n, params, logrows = PROJECTS[name]
    tell(f"{name}: N = {n}, D = {params:,}, K = {logrows}")
    project = real.open(made(n, n, params, logrows, rule))
    submissions = project.to_prove()
    tell(f"{name}: proving the round")
    proof, aggregate = project.prove(submissions)
    settle = project.settle_in_two if in_two else project.settle
    settle(proof, CID if aggregate else b"")
    return project


def finished(project: RealProject) -> dict[str, int]:
    """Close the round and pay a trainer; gas of every other step."""
    project.next()
    project.receipts["withdraw"] = project.project.withdraw(project.members[0])
    return {step: project.receipts[step].gas for step in STEPS}


def creations(chain: Chain) -> Iterator[tuple[str, int]]:
    """Address and gas of every contract that a transaction made."""
    for number in range(chain.web3.eth.block_number + 1):
        for transaction in chain.web3.eth.get_block(number)["transactions"]:
            receipt = chain.web3.eth.get_transaction_receipt(transaction)
            if receipt["contractAddress"]:
                yield receipt["contractAddress"], receipt["gasUsed"]


def gas_to_deploy(chain: Chain, address: str | None) -> int:
    """Of one contract, or of all."""
    return sum(gas for made, gas in creations(chain) if address in (None, made))


def verifiers_to_deploy(chain: Chain, verifiers: Verifiers, n: int) -> dict[str, int]:
    parts = {"base": verifiers.base, "settlement": verifiers.settlement[n]}
    return {name: gas_to_deploy(chain, verifier.deployed) for name, verifier in parts.items()}


# ---------------------------------------------------------------- where it goes


def parts_of_settle(project: RealProject) -> dict[str, int]:
    """Where the gas of a settlement goes; `rest` is hashing, memory, storage, the log and the contract's own code.

    transaction: 21,000 and the calldata. base, settlement: the two verifiers, as called. points: multiplications
    and additions of the combination and of the aggregate, by their price. `rest` has the rows' look-ups, too.
    """
    done = project.receipts["settle"]
    data = bytes(project.chain.web3.eth.get_transaction(done.transaction)["input"])
    n, chunks = max(project.builds), project.build.manifest.chunks
    accepted = project.project.outcome().mask.bit_count()
    called = {
        call["action"]["to"]: int(call["result"]["gasUsed"], 16) for call in calls_of(project.chain, done.transaction)
    }
    parts = {
        "transaction": 21_000 + sum(16 if byte else 4 for byte in data),
        "base": called[project.verifiers.base.deployed.lower()],
        "settlement": called[project.verifiers.settlement[n].deployed.lower()],
        "points": RoundShape.of(project.build.manifest).points * 6_150 + chunks * (accepted + 1) * 150,
    }
    return parts | {"rest": done.gas - sum(parts.values())}


def calls_of(chain: Chain, transaction: str) -> Sequence[dict[str, Any]]:
    """Every call inside a transaction."""
    answer = chain.web3.provider.make_request("trace_transaction", [transaction])
    return [call for call in answer["result"] if call["type"] == "call"]


# ---------------------------------------------------------------- against the snapshot


def flat(value: dict[str, Any], path: str = "") -> dict[str, int]:
    out: dict[str, int] = {}
    for key, item in value.items():
        name = f"{path}{key}"
        if isinstance(item, dict) and key not in ("projects", "settle_parts"):
            out |= flat(item, f"{name}.")
        elif isinstance(item, int):
            out[name] = item
    return out


def compared(result: dict[str, Any], snapshot: dict[str, Any], partial: bool = False) -> list[str]:
    """What differs by more than the snapshot's tolerance, in words. What shrank counts too: the snapshot is stale.

    partial: the result is of some projects only.
    """
    new, old = flat(result), flat(snapshot)
    if partial:
        old = {name: gas for name, gas in old.items() if name in new}
    lines = [f"{name}: in one of the two only" for name in sorted(new.keys() ^ old.keys())]
    for name in sorted(new.keys() & old.keys()):
        if abs(new[name] - old[name]) > snapshot["tolerance"] * old[name]:
            verb = "grew" if new[name] > old[name] else "shrank"
            lines.append(f"{name} {verb} from {old[name]:,} to {new[name]:,} gas ({new[name] / old[name] - 1:+.1%})")
    return lines


if __name__ == "__main__":
    main()
