"""Verbs of the owner."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..progress import Progress
from ..roles import learner
from .desk import Answer, address, lines, open_desk

# ---------------------------------------------------------------- owner


def owner_example(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..posting import EXAMPLE

    text = EXAMPLE.read_text()
    return {"example": text}, text.rstrip()


def owner_plan(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..posting import estimate_cost, estimate_words

    file, layout, _ = _project_file(arguments.file)
    gwei = arguments.gas_price
    found = estimate_cost(file, layout, None if gwei is None else int(gwei * 10**9), chain=arguments.chain)
    return found, estimate_words(found)


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
    return result, lines(result)


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
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        learn = learner(desk, data="root_data") if "root_data" in desk.settings.value and not arguments.once else None
        role = owner.Owner(desk, arguments.withdraw, learn)
        result = role.once() if arguments.once else role.run()
    return result, f"model after {result['rounds']} rounds in {result['model']}, θ {result['theta']}"


def owner_keyring(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import owner

    with open_desk(arguments, progress) as desk:
        keys = owner.keyring(desk)
    atomic_write(arguments.output, json.dumps(keys, indent=1).encode(), mode=0o600)
    return {
        "rounds": sorted(map(int, keys))
    }, f"keys of {len(keys)} rounds in {arguments.output}: hand it over in secret"
