"""The command line: verbs in the order of the flow.

Results go to stdout (one object with --json), progress to stderr. Exit codes: 0 done, 1 the statement
is false, a proof is rejected or a project is not what it says, 2 wrong usage or input, 3 a tool, artifact or
SRS is missing or does not match, 4 a transaction was reverted.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..backend import srs
from ..build.statements import VALUE_BITS
from ..errors import ZkmarketError
from ..learning import ATTACKS
from ..rules import SCORES
from .aggregator import aggregator_run, aggregator_status
from .auditor import auditor_verify, auditor_watch
from .build import FILTERS, add_compile, build_verb, compile_verb
from .desk import AddVerb, account_verb, add_desk, add_loop, add_password, add_withdraw, withdraw_verb
from .output import Answer, fail, progress_on
from .owner import (
    owner_create,
    owner_end,
    owner_example,
    owner_keyring,
    owner_list,
    owner_name,
    owner_pay_in,
    owner_plan,
    owner_receive,
    owner_status,
)
from .round import add_digest, add_references, add_round, commit_verb, open_verb, prove_verb, verify_verb
from .tools import (
    add_store,
    amount,
    demo_verb,
    doctor,
    inspect_verb,
    srs_fetch,
    srs_generate,
    srs_import,
    srs_info,
    store_get,
    store_pin,
    store_put,
    store_serve,
)
from .trainer import add_keyring, add_training, trainer_join, trainer_leave, trainer_run, trainer_status, verbs_of
from .utility import add_options


def main(argv: list[str] | None = None, run: Callable[..., Answer] | None = None) -> int:
    """Run a verb; `run` in its place, if given."""
    arguments = make_parser().parse_args(argv)
    run = run or arguments.run
    try:
        with progress_on(arguments.quiet) as progress:
            result, text = run(arguments, progress)
    except ZkmarketError as error:
        return fail(arguments, error, error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the same command can be run again", file=sys.stderr)
        return 130
    except OSError as error:
        return fail(arguments, error, 3)
    except Exception as error:  # a bug: never the exit code of a rejected proof
        traceback.print_exc()
        return fail(arguments, error, 3)
    print(json.dumps(result, indent=1) if arguments.json else text)
    return int(result.get("exit_code", 0))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zkmarket", description="Zero-knowledge federated learning rounds.")
    parser.add_argument("--version", action="version", version=f"zkmarket {version('zkmarket')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Callable[..., Answer], about: str, parent: Any = verbs) -> argparse.ArgumentParser:
        made = parent.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="one JSON object on stdout")
        made.add_argument("--quiet", action="store_true", help="no progress on stderr")
        return made

    verb("doctor", doctor, "check that this machine has what zkmarket needs")

    kinds = verbs.add_parser("srs", help="the structured reference string").add_subparsers(
        dest="srs_verb", required=True, metavar="generate|fetch|import|info"
    )
    made = verb("generate", srs_generate, "make a development SRS (INSECURE: its trapdoor is public)", kinds)
    made.add_argument("--logrows", type=int, choices=range(6, 21), metavar="K", help="make the file of 2^K rows now")
    made = verb("fetch", srs_fetch, "download the ceremony's file and check its published digest", kinds)
    made.add_argument("--logrows", type=int, default=17, metavar="K", help="size, 2^K rows; serves all smaller (17)")
    made = verb("import", srs_import, "take a file; its digest must be published, or given", kinds)
    made.add_argument("file", type=Path)
    made.add_argument("--digest", help="SHA-256 that you vouch for")
    verb("info", srs_info, "what is installed", kinds)

    made = verb("build", build_verb, "compile a project into circuits and keys")
    made.add_argument("--trainers", type=int, required=True, metavar="N", help="trainers of a round, exactly")
    size = made.add_mutually_exclusive_group(required=True)
    size.add_argument("--params", type=int, metavar="D", help="number of parameters")
    size.add_argument(
        "--model", metavar="FILE.onnx|package.module:factory[,key=value]", help="take number and layout from a model"
    )
    made.add_argument("--value-bits", type=int, metavar="B", help=f"bits of a quantised value ({VALUE_BITS})")
    made.add_argument("--scale-bits", type=int, metavar="S", help="a value is x·2^S (default: value bits − 1)")
    made.add_argument("--filter", metavar="FILTER", help=FILTERS)
    made.add_argument(
        "--most-trainers", type=int, metavar="N", help="of the round before, for novel scores (default: --trainers)"
    )
    made.add_argument("--score", default="shapley", metavar="SCORE", help=f"{', '.join(SCORES)}, utility:… (shapley)")
    made.add_argument("--salts", type=int, metavar="S", help="salts of a chunk (8; for a utility score what it needs)")
    made.add_argument("--logrows", default="auto", metavar="auto|K", help="rows of a column, 2^K")
    made.add_argument("--optimize", choices=("time", "gas"), default="time", help="what auto minimises")
    made.add_argument(
        "--beta-max",
        type=int,
        metavar="INT",
        help="largest bound on squared norms (default D·Q², or what the filter holds)",
    )
    made.add_argument("--srs", choices=srs.KINDS, help="default: the most trustworthy that is installed")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="BUILD")

    add_compile(verb("compile", compile_verb, "compile a model into the circuit that scores coalitions by its loss"))

    made = verb("commit", commit_verb, "commit to an update: its points, and what opens them")
    made.add_argument("build", type=Path)
    made.add_argument("update", type=Path, help=".npy, .npz or .safetensors")
    made.add_argument(
        "--trainer", metavar="HEX", help="trainer's address, which the digest is bound to (default: random)"
    )
    add_round(made)
    made.add_argument("--beta", type=int, metavar="INT", help="clip to this squared norm of the integers")
    made.add_argument("--saturate", action="store_true", help="cut values that do not fit, and count them")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="TRAINER")

    made = verb("prove", prove_verb, "filter, score and aggregate a round, and prove it")
    made.add_argument("build", type=Path)
    made.add_argument("--updates", type=Path, required=True, metavar="DIR", help="one folder a trainer")
    made.add_argument(
        "--beta", type=int, metavar="INT", help="norm bound of the round (default: the project's largest)"
    )
    add_digest(made)
    made.add_argument("--aggregate", type=Path, metavar="FILE", help="default: beside the round proof")
    made.add_argument("--root", type=Path, metavar="DIR", help="the owner's root update, from `zkmarket commit`")
    made.add_argument("--last", type=Path, metavar="FILE", help="the last round's aggregate (default: there is none)")
    add_options(made, prover=True)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="round.json")

    made = verb("verify", verify_verb, "verify a round proof")
    made.add_argument("build", type=Path)
    made.add_argument("round_file", type=Path, metavar="round.json")
    made.add_argument("--reward", type=amount, metavar="WEI", help="also show each trainer's share")
    made.add_argument("--export", type=Path, metavar="DIR", help="write the inner proofs for `ezkl verify`")
    add_references(made)
    add_round(made, expected=True)
    add_options(made, prover=False)

    made = verb("open", open_verb, "check an aggregate against a verified round, and apply it")
    made.add_argument("build", type=Path)
    made.add_argument("round_file", type=Path, metavar="round.json")
    made.add_argument("aggregate", type=Path)
    made.add_argument("--model", type=Path, help="the round's model (default: none, the mean update is written alone)")
    made.add_argument("--rate", type=float, default=1.0, help="server learning rate (1.0)")
    add_references(made)
    add_round(made, expected=True)
    made.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: model.npz; aggregate.npz without --model"
    )

    made = verb("inspect", inspect_verb, "before you join or accept: is a project what its builds say, and your risk")
    made.add_argument("project", metavar="ADDRESS")
    made.add_argument("--rpc", required=True, metavar="URL", help="RPC address of the chain")
    made.add_argument(
        "--build",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="your own build of the project; one for each number of trainers that it settles",
    )
    made.add_argument("--verbose", action="store_true", help="list what is right, too")

    kinds = verbs.add_parser("store", help="blobs by content: a folder, or an IPFS node").add_subparsers(
        dest="store_verb", required=True, metavar="serve|put|get|pin"
    )
    made = verb("serve", store_serve, "serve a folder as a store, until it is interrupted", kinds)
    made.description = (
        "Serve a folder as a store (--store http://HOST:PORT) by add, cat and pin/add of an IPFS node's RPC."
        " There is no authentication: whoever reaches the address can read blobs and fill the disk. For other machines,"
        " put it behind a proxy that knows its users, or use an IPFS node. Blobs are checked by whoever reads them."
        " The first line on stdout is the address."
    )
    made.add_argument("folder", type=Path)
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1, this machine only)")
    made.add_argument("--port", type=int, default=0, help="0 is any that is free (0)")
    made.add_argument("--limit", type=int, default=64 << 20, metavar="BYTES", help="largest body of a put (64 MiB)")
    made.add_argument("--seconds", type=float, default=60, help="in which a request must be over (60)")
    made.add_argument("--connections", type=int, default=32, metavar="N", help="at once; more wait (32)")
    made = verb("put", store_put, "keep a file; its CID", kinds)
    made.add_argument("file", type=Path)
    add_store(made)
    made = verb("get", store_get, "fetch a blob and check it against its CID", kinds)
    made.add_argument("cid")
    add_store(made)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    made = verb("pin", store_pin, "keep a blob that may be elsewhere", kinds)
    made.add_argument("cid")
    add_store(made)

    add_verbs(verb, verbs)

    made = verb("demo", demo_verb, "a whole market on this machine, with attackers: proven, settled, paid, audited")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--trainers", type=int, default=8)
    made.add_argument("--attackers", type=int, help="default: 2; for collude, one more than Multi-Krum bears")
    made.add_argument("--attack", choices=ATTACKS, default="sign-flip")
    made.add_argument("--filter", metavar="RULE", help="as of `zkmarket build`; default: Multi-Krum, the largest f")
    made.add_argument("--score", choices=SCORES, default="shapley")
    made.add_argument("--reward", type=amount, default=10**18, metavar="WEI", help="reward of a round")
    made.add_argument("--split", choices=("iid", "dirichlet"), default="iid", help="how the data are split")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--chain", metavar="URL", help="a development node to use (default: an anvil of its own)")
    made.add_argument(
        "--store", default="folder", metavar="folder|ipfs|URL", help="ipfs: a real node of its own, on this machine"
    )
    made.add_argument("--report", type=Path, metavar="FILE", help="default: report.html")
    made.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the files (default: a temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())


# ---------------------------------------------------------------- arguments


def add_verbs(verb: AddVerb, verbs: Any) -> None:
    """Add the roles' verbs to the command line's parser."""
    made = verb("account", account_verb, "make an account: an encrypted keystore file")
    made.add_argument("keystore", type=Path)
    add_password(made)

    kinds = verbs_of(verbs, "owner", "post a project, pay it in, receive the model")
    verb("example", owner_example, "print a PROJECT.toml with every key explained", kinds)
    made = verb("plan", owner_plan, "what a PROJECT.toml costs in time, gas and money; nothing is sent", kinds)
    made.add_argument("file", type=Path, metavar="PROJECT.toml")
    made.add_argument("--gas-price", type=float, metavar="GWEI", help="also say what the gas costs")
    made.add_argument("--chain", type=int, metavar="ID", help="of the chain that it will be on: what its kind means")
    made = verb("create", owner_create, "keys, prospectus and contracts: everything but the money", kinds)
    made.add_argument("file", type=Path, metavar="PROJECT.toml")
    made.add_argument("--factory", metavar="ADDRESS", help="use this factory (default: deploy one)")
    add_desk(made)
    add_desk(verb("pay-in", owner_pay_in, "put the pool into escrow: the project is on chain then", kinds))
    add_desk(verb("status", owner_status, "where the project stands", kinds))
    made = verb("list", owner_list, "sign that trainers may join; each shows its signature when it joins", kinds)
    made.add_argument("trainer", nargs="+", metavar="ADDRESS")
    add_desk(made)
    made = verb("name", owner_name, "name a new aggregator after the old one failed", kinds)
    made.add_argument("candidate", metavar="ADDRESS")
    add_desk(made)
    add_desk(verb("end", owner_end, "end the project, after the round that is open", kinds))
    made = verb("receive", owner_receive, "verify and open every round, write the model, until the project ends", kinds)
    made.add_argument("--once", action="store_true", help="only what is there now")
    made.add_argument(
        "--root-data",
        metavar="FILE.npz|package.module:callable[,k=v]",
        help="where the rules compare with a root update: clean data, on which one is trained before every round",
    )
    add_training(made)
    add_withdraw(made)
    add_loop(made)
    made = verb("keyring", owner_keyring, "the rounds' content keys for who came later (SECRET)", kinds)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    add_desk(made)
    add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = verbs_of(verbs, "trainer", "join a project, train, be paid")
    made = verb("join", trainer_join, "inspect the project, then pay the stake in", kinds)
    made.add_argument("--membership", metavar="HEX", help="the owner's signature, where admission is by list")
    add_desk(made)
    made = verb("run", trainer_run, "train and submit each round until the project ends", kinds)
    made.add_argument("--data", metavar="FILE.npz|package.module:callable[,k=v]", help="your data; they stay here")
    add_training(made)
    made.add_argument("--join", action="store_true", help="as `trainer join`, once trainers can: pays the stake in")
    made.add_argument("--membership", metavar="HEX", help="the owner's signature; remembered in the folder")
    add_keyring(made)
    add_withdraw(made)
    add_loop(made)
    add_desk(verb("status", trainer_status, "your rounds, scores, pay and stake", kinds))
    add_desk(verb("leave", trainer_leave, "stop being a trainer; the stake becomes free", kinds))
    add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = verbs_of(verbs, "aggregator", "start rounds, check updates, prove, settle")
    made = verb("run", aggregator_run, "hold the office until the project ends", kinds)
    made.add_argument("--trainers", type=int, metavar="N", help="wait for so many before a round (default: the most)")
    add_keyring(made)
    add_withdraw(made)
    add_loop(made)
    add_desk(verb("status", aggregator_status, "office, bond, fees, refusals with their reasons", kinds))
    add_desk(verb("withdraw", withdraw_verb, "take out what is owed", kinds))

    kinds = verbs_of(verbs, "auditor", "verify settled rounds again, from chain and store alone")
    made = verb("watch", auditor_watch, "every round as it is settled, until the project ends", kinds)
    add_loop(made, account=False)
    made = verb("verify", auditor_verify, "one round", kinds)
    made.add_argument("round", type=int, metavar="ROUND")
    add_desk(made, account=False)
