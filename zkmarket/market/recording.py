"""A project's whole life in one document, of which a browser runs every transaction again.

The contracts' own code is the verifier: whoever runs all transactions of a project in an EVM of their own, in their
order, with their senders and their blocks' times, checks every proof and computes every payment again. What is
recorded is what that needs, and what the chain said came of it, to compare with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..build import Build
from ..chain import (
    LIBRARIES,
    NOBODY,
    compile_contracts,
    compiled_code,
    encoded,
    libraries_of_creation,
    library_gap,
    own_address,
    transacting,
)
from ..errors import ChainError, InputError
from ..progress import Progress, quiet
from .factory import Market, verifier_of
from .project import Project
from .terms import check_builds

FORMAT = "zkmarket recording/1"
OURS = ("Factory", "Project", "Extension", *LIBRARIES)
"""Contracts whose functions, errors and events a reader meets."""


def record(project: Project, progress: Progress = quiet) -> dict[str, Any]:
    """All transactions of a project since its factory was deployed, and what came of them.

    Every function of ours that changes anything logs something, so the log names them all.

    Returns:
        A JSON object: `transactions`, each raw as it was signed, with its block's number and time, and what it logged;
        `code` of the contracts that were there before, by address; `views`, calls with their answers in the block of
        the last one.

    Raises:
        InputError: the reward is a token, whose contract is not ours to run.
        ChainError: another contract passed a call on, the factory was not deployed by a plain transaction, or the
            node does not give raw transactions.
    """
    chain, terms = project.chain, project.terms()
    if terms.token != NOBODY:
        raise InputError(f"the reward is paid in the token {terms.token}: wanted a project with a native reward")
    factory = project.factory()
    created = chain.creation_of(factory, "Deployed(address)")
    linked = libraries_of_creation(created) if created else None
    if linked is None:
        raise ChainError(f"the factory {factory} was not deployed by this version's code: nothing here can run it")
    plans = [project.plan(count) for count in range(terms.min_trainers, terms.max_trainers + 1)]
    known = {**linked, "base verifier": terms.base.deployed}
    if terms.scoring.method:
        known["utility verifier"] = terms.scoring.verifier.deployed
    known |= {
        f"settlement verifier, N={count}": plan.settlement.deployed
        for count, plan in enumerate(plans, terms.min_trainers)
    }
    transactions = [_told(project, factory, one, progress) for one in _hashes(project, factory)]
    return {
        "format": FORMAT,
        "chain_id": chain.id,
        "factory": factory,
        "project": project.address,
        "code": {name: {"address": where, "code": _hex(chain.code(where))} for name, where in known.items()},
        "transactions": transactions,
        "views": _views(project, terms.owner, transactions[-1]["block"]),
    }


def _hashes(project: Project, factory: str) -> list[str]:
    """Transactions that deployed the factory, made the project, or made it log something; in order."""
    chain = project.chain
    place = "0x" + project.address[2:].lower().rjust(64, "0")
    deployed, made = (Market(chain, factory)._topic(name) for name in ("Deployed", "ProjectCreated"))
    found: dict[tuple[int, int], str] = {}
    asked: tuple[tuple[str, list[str]], ...] = ((factory, [deployed]), (factory, [made, place]), (project.address, []))
    for address, topics in asked:
        where = {"address": address, "fromBlock": 0, "toBlock": "latest", "topics": topics}
        with transacting("reading events"):
            for log in chain.web3.eth.get_logs(where):
                found[log["blockNumber"], log["transactionIndex"]] = _hex(log["transactionHash"])
    return [found[at] for at in sorted(found)]


def _told(project: Project, factory: str, digest: str, progress: Progress) -> dict[str, Any]:
    """One transaction, and what the chain says of it."""
    chain = project.chain
    with transacting("reading a transaction"):
        answer = chain.web3.provider.make_request("eth_getRawTransactionByHash", [digest])
        done = chain.web3.eth.get_transaction_receipt(digest)
        block = chain.web3.eth.get_block(done["blockNumber"])
    raw = answer.get("result")
    if not isinstance(raw, str):
        raise ChainError(
            f"the node does not give the signed transaction {digest}: ask one with eth_getRawTransactionByHash"
        )
    if done["to"] is not None and done["to"] not in (project.address, factory):
        raise ChainError(f"{digest} calls {done['to']}, which passes a call on: only plain calls can be recorded")
    progress(f"recording the transactions, block {done['blockNumber']}")
    logs = [
        {"address": log["address"], "topics": [_hex(topic) for topic in log["topics"]], "data": _hex(log["data"])}
        for log in done["logs"]
    ]
    return {
        "hash": digest,
        "raw": raw,
        "block": done["blockNumber"],
        "time": block["timestamp"],
        "logs": logs,
    }


def _views(project: Project, owner: str, block: int) -> list[dict[str, str]]:
    """What everybody has to withdraw, after the last transaction."""
    chain, contract, people = project.chain, project.contract, {owner}
    for event in project.events():
        if event.name in ("Accepted", "Joined"):
            people.add(event.arguments["aggregator" if event.name == "Accepted" else "trainer"])
    calls = [
        (f"{what} of {who}", encoded(getattr(contract, what), who))
        for who in sorted(people)
        for what in ("account", "refundWei")
    ]
    out = []
    for name, data in calls:
        with transacting("reading an account"):
            answer = chain.web3.eth.call({"to": project.address, "data": _hex(data)}, block)
        out.append({"name": name, "data": _hex(data), "answer": _hex(answer)})
    return out


def _abi() -> list[dict[str, Any]]:
    """Functions, errors and events of ours, each once."""
    items: dict[str, dict[str, Any]] = {}
    for name in OURS:
        for item in compile_contracts()[name].abi:
            if item["type"] in ("function", "error", "event"):
                items.setdefault(str((item["type"], item["name"], [one["type"] for one in item["inputs"]])), item)
    return list(items.values())


def _hex(data: Any) -> str:
    return "0x" + bytes(data).hex()


def known_code(builds: Mapping[int, Build]) -> dict[str, Any]:
    """As `known_contracts`, and the verifiers of builds, by number of trainers."""
    numbers = check_builds(builds)
    known = known_contracts()
    known["code"]["base verifier"] = _digest(verifier_of(builds[numbers[0]], "base").runtime)
    for n in numbers:
        known["code"][f"settlement verifier, N={n}"] = _digest(verifier_of(builds[n], "settlement").runtime)
    return known


def known_contracts() -> dict[str, Any]:
    """What a page compares a recording with: SHA-256 of the contracts' code, and their words.

    Returns:
        `code`, by the names of `record`; where they have addresses of libraries these count as zeros.
    """
    factory, gaps = compile_contracts()["Factory"].bytecode, [library_gap(name) for name in LIBRARIES]
    links = sorted(match.start() // 2 for gap in gaps for match in re.finditer(gap, factory))
    for gap in gaps:
        factory = factory.replace(gap, "00" * 20)
    code = {"Factory": _digest(bytes.fromhex(factory), links)}
    codes = {name: compiled_code(name) for name in LIBRARIES}
    code |= {name: _digest(one, own_address(one)) for name, one in codes.items()}
    return {"code": code, "abi": _abi(), "version": f"zkmarket {version('zkmarket')}"}


def _digest(code: bytes, links: Sequence[int] = ()) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(code).hexdigest(), "links": list(links)}
