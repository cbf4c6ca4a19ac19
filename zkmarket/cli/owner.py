"""Verbs of the owner."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..progress import Progress
from .account import add_withdraw_verb
from .desk import add_desk, add_loop, add_training, add_withdraw, address, open_desk
from .output import Answer
from .standing import counted, owner_text
from .verbs import Verbs

EXAMPLE_ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def add(verbs: Verbs) -> None:
    kinds = verbs.group("owner", "post a project, pay for it and receive its model", "zkmarket owner plan PROJECT.toml")
    parser = kinds.add(
        "example",
        owner_example,
        "print a PROJECT.toml with every key explained",
        "zkmarket owner example --development 3 > PROJECT.toml",
    )
    parser.add_argument(
        "--development",
        type=int,
        metavar="TRAINERS",
        help="for a chain of your own: exactly as many trainers as you will list, and windows of minutes",
    )
    parser = kinds.add(
        "plan",
        owner_plan,
        "say what a PROJECT.toml costs in time, gas and money, and send nothing",
        "zkmarket owner plan PROJECT.toml --gas-price 10",
    )
    _add_project_file(parser)
    parser.add_argument("--gas-price", type=float, metavar="GWEI", help="price of gas, to say what the gas costs")
    parser.add_argument(
        "--chain", type=int, metavar="ID", help="chain that the project will be on, to say what holds on its kind"
    )
    parser = kinds.add(
        "create",
        owner_create,
        "make a project's keys, prospectus and contracts: everything but the payment",
        "zkmarket owner create PROJECT.toml --state owner --rpc http://127.0.0.1:8545 --store STORE --keystore my.json",
        "It can be interrupted and run again.",
    )
    _add_project_file(parser)
    parser.add_argument(
        "--factory", metavar="ADDRESS", help="factory to use (default: deploy one); remembered in the folder"
    )
    add_desk(parser)
    parser = kinds.add(
        "pay-in",
        owner_pay_in,
        "put the whole pool into escrow, which opens the project",
        "zkmarket owner pay-in --state owner",
    )
    add_desk(parser)
    add_desk(kinds.add("status", owner_status, "say where the project stands", "zkmarket owner status --state owner"))
    parser = kinds.add(
        "list",
        owner_list,
        "sign for each trainer that it may join",
        f"zkmarket owner list {EXAMPLE_ADDRESS} --state owner",
        "A trainer shows its signature when it joins: hand it over.",
    )
    parser.add_argument("trainer", nargs="+", metavar="ADDRESS", help="account of a trainer")
    add_desk(parser)
    parser = kinds.add(
        "name",
        owner_name,
        "name a new aggregator after the old one has failed",
        f"zkmarket owner name {EXAMPLE_ADDRESS} --state owner",
    )
    parser.add_argument("candidate", metavar="ADDRESS", help="account of the new aggregator")
    add_desk(parser)
    parser = kinds.add(
        "end", owner_end, "end the project, after the round that is open", "zkmarket owner end --state owner"
    )
    add_desk(parser)
    parser = kinds.add(
        "receive",
        owner_receive,
        "verify every round and write the model after it, until the project ends",
        "zkmarket owner receive --state owner",
    )
    parser.add_argument("--once", action="store_true", help="take what is there now, and end")
    parser.add_argument(
        "--root-data",
        metavar="FILE.npz|package.module:callable[,k=v]",
        help="clean data, where the rules compare with a root update: one is trained on them before every round",
    )
    add_training(parser)
    add_withdraw(parser)
    add_loop(parser)
    parser = kinds.add(
        "keyring",
        owner_keyring,
        "write the content keys of past rounds (SECRET) for who came later",
        "zkmarket owner keyring --state owner -o keyring.json",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    add_desk(parser)
    add_withdraw_verb(kinds, "owner")


def _add_project_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, metavar="PROJECT.toml", help="the project, as `zkmarket owner example` explains it"
    )


def owner_example(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..posting import example

    text = example(arguments.development)
    return {"example": text}, text.rstrip()


def owner_plan(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..posting import estimate_cost, estimate_words

    file, layout, _ = _project_file(arguments.file)
    gwei = arguments.gas_price
    estimate = estimate_cost(file, layout, None if gwei is None else int(gwei * 10**9), chain=arguments.chain)
    return estimate, estimate_words(estimate)


def _project_file(path: Path) -> tuple[Any, Any, Any]:
    """The file, the model's layout, and its initial parameters."""
    from ..learning import initial_parameters
    from ..posting import load_project_file

    file = load_project_file(path)
    layout, theta = initial_parameters(file.model)
    return file, layout, theta


def owner_create(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..backend import srs
    from ..roles import create

    file, layout, theta = _project_file(arguments.file)
    with open_desk(arguments, progress) as desk:
        result = create(desk, file, layout, theta, srs.select(file.srs))
    lines = [
        f"prospectus {result['prospectus']}, factory {result['factory']}, {len(result['verifiers'])} verifiers",
        f"no money has moved yet. To pay the pool in: zkmarket owner pay-in --state {arguments.state}",
    ]
    return result, "\n".join(lines)


def owner_pay_in(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import pay_in

    with open_desk(arguments, progress) as desk:
        result = pay_in(desk)
    paid = "its pool is in escrow" if result["paid"] else "it was paid in before"
    return result, f"project {result['project']}: {paid}"


def owner_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        result = owner.status(desk)
    return result, owner_text(result)


def owner_list(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        result = owner.memberships(desk, [address(who) for who in arguments.trainer])
    lines = [f"{who} joins with --membership {signature}" for who, signature in result.items()]
    return {"memberships": result}, "\n".join(lines)


def owner_name(arguments: argparse.Namespace, progress: Progress) -> Answer:
    candidate = address(arguments.candidate)
    with open_desk(arguments, progress) as desk:
        desk.project.name_aggregator(desk.wallet, candidate)
    return {"aggregator": candidate}, f"{candidate} may accept the office now: zkmarket aggregator run"


def owner_end(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        text = owner.end(desk)
    return {"end": text}, text


def owner_receive(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..market import until_text
    from ..roles import learner, owner

    with open_desk(arguments, progress) as desk:
        learn = learner(desk, data="root_data") if "root_data" in desk.settings.value and not arguments.once else None
        role = owner.Owner(desk, arguments.withdraw, learn)
        result = role.once() if arguments.once else role.run()
    text = (
        f"model after {counted(result['rounds'], 'closed round')} in {result['model']}; its integers in"
        f" {result['integers']} open the chain's commitment {result['theta']}"
    )
    if result["provisional"]:
        text += (
            f"\nmodel after round {result['round']} in {result['provisional']}: it becomes the other one when the time"
            f" to claim its aggregate is over, {until_text(result['deadline'], result['now'])}"
        )
    if result["missing"]:
        text += f"\nnot all rounds could be opened: {result['missing']}"
    return result, text


def owner_keyring(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        keys = owner.keyring(desk)
    atomic_write(arguments.output, json.dumps(keys, indent=1).encode(), mode=0o600)
    return {
        "rounds": sorted(map(int, keys))
    }, f"keys of {len(keys)} rounds in {arguments.output}: hand it over in secret"
