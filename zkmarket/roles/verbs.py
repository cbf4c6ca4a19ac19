"""The command line of the roles. Options are remembered in the role's folder, so later commands need only --state."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import Progress
from ..commitment import read_address
from ..errors import InputError
from ..files import atomic_write

if TYPE_CHECKING:
    from .desk import Desk

Answer = tuple[dict[str, Any], str]
AddVerb = Callable[..., argparse.ArgumentParser]

TRAINING = ("epochs", "batch", "optimiser", "rate", "momentum", "loss", "seed")
REMEMBERED = (
    "rpc",
    "store",
    "keystore",
    "project",
    "membership",
    "factory",
    "confirmations",
    "model",
    "data",
    "root_data",
    *TRAINING,
)
PASSWORD_VARIABLE = "ZKMARKET_PASSWORD"


# ---------------------------------------------------------------- from arguments to a desk


def open_desk(arguments: argparse.Namespace, progress: Progress, account: bool = True) -> AbstractContextManager[Desk]:
    from .desk import Settings, at_desk  # Brownie takes a second to import

    given = {name: getattr(arguments, name, None) for name in REMEMBERED}
    for name in ("project", "factory"):
        if given[name]:
            given[name] = _address(given[name])
    if given["keystore"]:
        given["keystore"] = str(Path(given["keystore"]).resolve())
    if given["store"] and not given["store"].startswith(("http://", "https://")):
        given["store"] = str(Path(given["store"]).resolve())
    settings = Settings.of(arguments.state.resolve(), **given)
    options = {name: getattr(arguments, name) for name in ("poll", "patience", "grace") if hasattr(arguments, name)}
    options = {name: value for name, value in options.items() if value is not None}
    ask = (lambda path: read_password(path, arguments.password_file)) if account else None
    return at_desk(settings, ask, progress, **options)


def _address(text: str) -> str:
    from ..escrow import address_of

    return address_of(read_address(text))


def read_password(keystore: Path, file: Path | None) -> str:
    """From a file, from $ZKMARKET_PASSWORD, or asked for; never from an argument, which other users can see.

    The variable is taken out of the environment: provers and compilers are children of ours, and need no password.
    """
    given = os.environ.pop(PASSWORD_VARIABLE, None)
    if file is not None:
        try:
            return file.read_text().rstrip("\r\n")
        except OSError as error:
            raise InputError(f"no password can be read from {file}: {error}") from error
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(f"{keystore} needs a password: give --password-file, or set {PASSWORD_VARIABLE}")
    return getpass.getpass(f"password of {keystore}: ")


def _lines(result: dict[str, Any]) -> str:
    return "\n".join(f"{name:14} {value}" for name, value in result.items())


# ---------------------------------------------------------------- account


def account_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..wallet import Wallet

    password = read_password(arguments.keystore, arguments.password_file)
    if not password:
        raise InputError("a keystore wants a password: it was empty")
    address = Wallet.create(arguments.keystore, password)
    return {"address": address, "keystore": str(arguments.keystore)}, f"{address}, key in {arguments.keystore}"


# ---------------------------------------------------------------- owner


def owner_example(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..project_file import EXAMPLE

    text = EXAMPLE.read_text()
    return {"example": text}, text.rstrip()


def owner_plan(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..plan import plan, plan_text

    file, layout, _ = _project_file(arguments.file)
    gwei = arguments.gas_price
    found = plan(file, layout, None if gwei is None else int(gwei * 10**9), chain=arguments.chain)
    return found, plan_text(found)


def _project_file(path: Path) -> tuple[Any, Any, Any]:
    """The file, the model's layout, and its initial parameters."""
    from ..learning import initial_parameters
    from ..project_file import load_project_file

    file = load_project_file(path)
    layout, theta = initial_parameters(file.model)
    return file, layout, theta


def owner_create(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from .. import srs
    from . import owner

    file, layout, theta = _project_file(arguments.file)
    with open_desk(arguments, progress) as desk:
        result = owner.create(desk, file, layout, theta, srs.select(file.srs))
    lines = [
        f"prospectus {result['prospectus']}, factory {result['factory']}, {len(result['verifiers'])} verifiers",
        f"no money has moved yet. To pay the pool in: zkmarket owner pay-in --state {arguments.state}",
    ]
    return result, "\n".join(lines)


def owner_pay_in(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        result = owner.pay_in(desk)
    paid = "its pool is in escrow" if result["paid"] else "it was paid in before"
    return result, f"project {result['project']}: {paid}"


def owner_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        result = owner.status(desk)
    return result, _lines(result)


def owner_list(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        result = owner.memberships(desk, [_address(who) for who in arguments.trainer])
    lines = [f"{who} joins with --membership {signature}" for who, signature in result.items()]
    return {"memberships": result}, "\n".join(lines)


def owner_name(arguments: argparse.Namespace, progress: Progress) -> Answer:
    candidate = _address(arguments.candidate)
    with open_desk(arguments, progress) as desk:
        desk.project.name_aggregator(desk.wallet, candidate)
    return {"aggregator": candidate}, f"{candidate} may accept the office now: zkmarket aggregator run"


def owner_end(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        text = owner.end(desk)
    return {"end": text}, text


def owner_receive(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        learn = learner(desk, data="root_data") if "root_data" in desk.settings.value and not arguments.once else None
        role = owner.Owner(desk, arguments.withdraw, learn)
        result = role.once() if arguments.once else role.run()
    return result, f"model after {result['rounds']} rounds in {result['model']}, θ {result['theta']}"


def owner_keyring(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import owner

    with open_desk(arguments, progress) as desk:
        keys = owner.keyring(desk)
    atomic_write(arguments.output, json.dumps(keys, indent=1).encode(), mode=0o600)
    return {
        "rounds": sorted(map(int, keys))
    }, f"keys of {len(keys)} rounds in {arguments.output}: hand it over in secret"


# ---------------------------------------------------------------- trainer


def trainer_join(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import trainer

    with open_desk(arguments, progress) as desk:
        done = trainer.join(desk)
        result = {"project": desk.project.address, "trainer": desk.me, "joined": done is not None}
        if done:
            result |= {"gas": done.gas, "transaction": done.transaction}
    return result, f"{result['trainer']} is a trainer of {result['project']}"


def trainer_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import trainer

    with open_desk(arguments, progress) as desk:
        learn = learner(desk)
        import_keyring(arguments, desk)
        result = trainer.Trainer(desk, learn, arguments.join, arguments.withdraw).run()
    return result, _trainer_text(result)


def learner(desk: Desk, change: Callable[[Any], Any] | None = None, data: str = "data") -> Callable[[Any], Any]:
    """Local training with the model and the data that the role's settings name; `change` is applied to the data."""
    from ..learning import Training, load_dataset, load_model, train

    model, own = load_model(desk.settings["model"]), load_dataset(desk.settings[data])
    own = change(own) if change else own
    given = {name: desk.settings.get(name) for name in TRAINING}
    training = Training(**{name: _number(name, value) for name, value in given.items() if value is not None})
    return lambda lesson: train(model, desk.prospectus.layout, lesson.theta, own, training, lesson.round)


def _number(name: str, text: str) -> Any:
    """A training option in its own type; settings hold text."""
    kinds = {"epochs": int, "batch": int, "seed": int, "rate": float, "momentum": float}
    try:
        return kinds.get(name, str)(text)
    except ValueError:
        raise InputError(f"--{name} is a number: got {text!r}") from None


def trainer_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import trainer

    with open_desk(arguments, progress) as desk:
        result = trainer.status(desk)
    return result, _trainer_text(result)


def _trainer_text(result: dict[str, Any]) -> str:
    head = {name: value for name, value in result.items() if name != "rounds"}
    rows = [
        f"round {row['round']}: {'accepted' if row['accepted'] else 'rejected'}, score {row['score']},"
        f" paid {row['pay']}"
        for row in result["rounds"]
    ]
    return "\n".join([_lines(head), *rows])


def trainer_leave(arguments: argparse.Namespace, progress: Progress) -> Answer:
    with open_desk(arguments, progress) as desk:
        done = desk.project.leave(desk.wallet)
        result = {"trainer": desk.me, "refund_wei": done.event("Left").arguments["refundWei"]}
    return result, f"{result['trainer']} has left; {result['refund_wei']} wei can be withdrawn"


def withdraw_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import trainer

    with open_desk(arguments, progress) as desk:
        result = {"account": desk.me, "withdrawn_wei": trainer.withdraw(desk)}
    return result, f"{result['withdrawn_wei']} wei withdrawn to {result['account']}"


# ---------------------------------------------------------------- aggregator, auditor


def aggregator_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import aggregator

    with open_desk(arguments, progress) as desk:
        import_keyring(arguments, desk)
        result = aggregator.Aggregator(desk, arguments.trainers, arguments.withdraw).run()
    return result, _lines(result)


def aggregator_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import aggregator

    with open_desk(arguments, progress) as desk:
        result = aggregator.status(desk)
    return result, _lines(result)


def import_keyring(arguments: argparse.Namespace, desk: Desk) -> None:
    if arguments.keyring is not None:
        desk.history.import_keyring(arguments.keyring)


def auditor_watch(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import auditor

    with open_desk(arguments, progress, account=False) as desk:
        result = auditor.Auditor(desk).run()
    return result, "\n".join(map(_audit_text, result["rounds"])) or "no round was settled"


def auditor_verify(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import auditor

    with open_desk(arguments, progress, account=False) as desk:
        result = auditor.Auditor(desk).verify(arguments.round)
    return result, _audit_text(result)


def _audit_text(row: dict[str, Any]) -> str:
    accepted = sum(trainer["accepted"] for trainer in row["trainers"])
    how = "verified from calldata" if row["from_calldata"] else "taken on the contract's word"
    root = {None: "", True: ", compared with the owner's root update", False: ", without a root update"}[row["root"]]
    who = f"{accepted} of {len(row['trainers'])} accepted{root}"
    return f"round {row['round']}: {how}, {who}, aggregate {row['aggregate']}"


# ---------------------------------------------------------------- arguments


def add_verbs(verb: AddVerb, verbs: Any) -> None:
    """Add the roles' verbs to the command line's parser."""
    made = verb("account", account_verb, "make an account: an encrypted keystore file")
    made.add_argument("keystore", type=Path)
    _add_password(made)

    kinds = _kinds(verbs, "owner", "post a project, pay it in, receive the model")
    verb("example", owner_example, "print a PROJECT.toml with every key explained", kinds)
    made = verb("plan", owner_plan, "what a PROJECT.toml costs in time, gas and money; nothing is sent", kinds)
    made.add_argument("file", type=Path, metavar="PROJECT.toml")
    made.add_argument("--gas-price", type=float, metavar="GWEI", help="also say what the gas costs")
    made.add_argument("--chain", type=int, metavar="ID", help="of the chain that it will be on: what its kind means")
    made = verb("create", owner_create, "keys, prospectus and contracts: everything but the money", kinds)
    made.add_argument("file", type=Path, metavar="PROJECT.toml")
    made.add_argument("--factory", metavar="ADDRESS", help="use this factory (default: deploy one)")
    _add_desk(made)
    _add_desk(verb("pay-in", owner_pay_in, "put the pool into escrow: the project is on chain then", kinds))
    _add_desk(verb("status", owner_status, "where the project stands", kinds))
    made = verb("list", owner_list, "sign that trainers may join; each shows its signature when it joins", kinds)
    made.add_argument("trainer", nargs="+", metavar="ADDRESS")
    _add_desk(made)
    made = verb("name", owner_name, "name a new aggregator after the old one failed", kinds)
    made.add_argument("candidate", metavar="ADDRESS")
    _add_desk(made)
    _add_desk(verb("end", owner_end, "end the project, after the round that is open", kinds))
    made = verb("receive", owner_receive, "verify and open every round, write the model, until the project ends", kinds)
    made.add_argument("--once", action="store_true", help="only what is there now")
    made.add_argument(
        "--root-data",
        metavar="FILE.npz|package.module:callable[,k=v]",
        help="where the rules compare with a root update: clean data, on which one is trained before every round",
    )
    _add_training(made)
    _add_withdraw(made)
    _add_loop(made)
    made = verb("keyring", owner_keyring, "the rounds' content keys for who came later (SECRET)", kinds)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    _add_desk(made)
    _add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = _kinds(verbs, "trainer", "join a project, train, be paid")
    made = verb("join", trainer_join, "inspect the project, then pay the stake in", kinds)
    made.add_argument("--membership", metavar="HEX", help="the owner's signature, where admission is by list")
    _add_desk(made)
    made = verb("run", trainer_run, "train and submit each round until the project ends", kinds)
    made.add_argument("--data", metavar="FILE.npz|package.module:callable[,k=v]", help="your data; they stay here")
    _add_training(made)
    made.add_argument("--join", action="store_true", help="as `trainer join`, once trainers can: pays the stake in")
    made.add_argument("--membership", metavar="HEX", help="the owner's signature; remembered in the folder")
    _add_keyring(made)
    _add_withdraw(made)
    _add_loop(made)
    _add_desk(verb("status", trainer_status, "your rounds, scores, pay and stake", kinds))
    _add_desk(verb("leave", trainer_leave, "stop being a trainer; the stake becomes free", kinds))
    _add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = _kinds(verbs, "aggregator", "start rounds, check updates, prove, settle")
    made = verb("run", aggregator_run, "hold the office until the project ends", kinds)
    made.add_argument("--trainers", type=int, metavar="N", help="wait for so many before a round (default: the most)")
    _add_keyring(made)
    _add_withdraw(made)
    _add_loop(made)
    _add_desk(verb("status", aggregator_status, "office, bond, fees, refusals with their reasons", kinds))
    _add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = _kinds(verbs, "auditor", "verify settled rounds again, from chain and store alone")
    made = verb("watch", auditor_watch, "every round as it is settled, until the project ends", kinds)
    _add_loop(made, account=False)
    made = verb("verify", auditor_verify, "one round", kinds)
    made.add_argument("round", type=int, metavar="ROUND")
    _add_desk(made, account=False)


def _kinds(verbs: Any, role: str, about: str) -> Any:
    parser = verbs.add_parser(role, help=about, description=about)
    return parser.add_subparsers(dest=f"{role}_verb", required=True, metavar="VERB")


def _add_desk(parser: argparse.ArgumentParser, account: bool = True) -> None:
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="this role's folder: secrets are in it"
    )
    once = "remembered in the folder"
    parser.add_argument("--rpc", metavar="URL", help=f"the chain; {once}")
    parser.add_argument("--store", metavar="WHERE", help=f"a folder, or http://… of a store or IPFS node; {once}")
    parser.add_argument("--project", metavar="ADDRESS", help=f"the project; {once}")
    parser.add_argument(
        "--confirmations", metavar="BLOCKS", help=f"blocks on top of what is believed (2; development chains 0); {once}"
    )
    if account:
        parser.add_argument("--keystore", metavar="FILE", help=f"the account; {once}")
        _add_password(parser)


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help=f"default: ${PASSWORD_VARIABLE}, or it is asked for"
    )


def _add_loop(parser: argparse.ArgumentParser, account: bool = True) -> None:
    _add_desk(parser, account)
    parser.add_argument("--poll", type=float, metavar="SECONDS", help="between two looks at the chain")
    parser.add_argument("--patience", type=float, metavar="SECONDS", help="for a chain or store that fails (3600)")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="for others to call a time-out first")


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="package.module:factory[,k=v]", help="makes the torch module")
    parser.add_argument("--epochs", help="local epochs a round (5)")
    parser.add_argument("--batch", help="batch size (32)")
    parser.add_argument("--optimiser", choices=("sgd", "adam"), help="(sgd)")
    parser.add_argument("--rate", help="local learning rate (0.2)")
    parser.add_argument("--momentum", help="of sgd (0.5)")
    parser.add_argument("--loss", choices=("auto", "cross-entropy", "mse"), help="(auto: by the targets)")
    parser.add_argument("--seed", help="of batches and dropout (0)")


def _add_keyring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keyring", metavar="FILE|CID", help="from the owner: keys of rounds that you cannot open; a file is read anew"
    )


def _add_withdraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--withdraw", action="store_true", help="take out what is owed when the project has ended")
