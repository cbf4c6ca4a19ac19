"""`zkmarket up`: a development chain, a store and every role as processes of one terminal, with one log.

What is done is what the guide tells people to do by hand, by the same commands, which the log shows. A market that is
played anew begins on a new chain in an empty folder: salts, keys and openings of the last one are worth nothing there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..backend import srs
from ..chain import anvil_node, give_coins
from ..errors import InputError
from ..files import locked
from ..learning import Evaluation, Training, calibrate, evaluate, initial_parameters, load_model, load_source, try_out
from ..posting import ProjectFile, load_project_file
from ..progress import Progress
from ..units import COIN
from ..updates import load_model_file
from .folder import KEYS, PASSWORD_FILE, account, keystore, trainer_names
from .process import Log, Process

RUN, LOG, LOCK, PID = "run", "log", "lock", "pid"
COINS = 1000 * COIN["ether"]
"""Of each account, beside what the project itself asks of it."""


class Stopped(Exception):
    """SIGTERM: `make down`."""


def bring_up(
    folder: Path, data: str, test: str | None, training: Mapping[str, str], progress: Progress
) -> tuple[dict[str, Any], str]:
    """Play the project of a folder to its end, or until it is stopped. The object for --json, and the closing screen.

    Args:
        folder: the current folder, in which the names of model and data are looked up.
        data: `package.module:callable`, which takes `part` and `of`.
        test: held-out data, to say what the training was good for; None: it is not said.
        training: options of `zkmarket trainer run`.

    Raises:
        InputError: the folder is none of `zkmarket new`, model and data do not fit, or a market runs here already.
        BackendError: a process failed.
    """
    if not (folder / "PROJECT.toml").is_file() or not (folder / KEYS / PASSWORD_FILE).is_file():
        raise InputError(f"{folder} has no PROJECT.toml and keys: run `zkmarket new FOLDER`, and this in that folder")
    file = load_project_file(folder / "PROJECT.toml")
    names = trainer_names(file.most)
    shares = {name: f"{data},part={part},of={len(names)}" for part, name in enumerate(names)}
    _try_out(file, [*shares.values(), *([test] if test else [])], training)
    with _alone(folder), contextlib.ExitStack() as stack:
        log = stack.enter_context(contextlib.closing(Log(folder / RUN / LOG, progress)))
        market = _Market(folder, file, log)
        try:
            with _stoppable():
                market.set_up(stack)
                market.run(shares, training)
        except (Stopped, KeyboardInterrupt):
            return {"stopped": True}, f"stopped; what it came to is in {RUN}/"
        return market.result(test, shares[market.trainers[0]])


def bring_down(folder: Path) -> bool:
    """Stop the market that runs in a folder; False if none does."""
    place = folder / RUN
    with contextlib.suppress(InputError), locked(folder / KEYS / LOCK, otherwise="busy"):
        return False
    os.kill(int((place / PID).read_text()), signal.SIGTERM)
    with locked(folder / KEYS / LOCK):
        return True


def _try_out(file: ProjectFile, sources: list[str], training: Mapping[str, str]) -> None:
    """Say what does not fit before anything is started: keys take a while."""
    asked = Training(loss=training.get("loss", "auto"), device=training.get("device", "auto"))
    layout, theta = initial_parameters(file.model)
    model = load_model(file.model)
    for source in sources:
        try:
            try_out(model, layout, theta, load_source(source), asked.loss, asked.device)
        except InputError as error:
            raise InputError(f"model {file.model}, data {source}: {error}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One market at a time; each begins in an empty folder."""
    busy = f"a market runs in {folder} already: `make down` stops it"
    with locked(folder / KEYS / LOCK, otherwise=busy):
        shutil.rmtree(folder / RUN, ignore_errors=True)
        (folder / RUN).mkdir()
        (folder / RUN / PID).write_text(str(os.getpid()))
        yield


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Market:
    """Processes, and what they have come to."""

    def __init__(self, folder: Path, file: ProjectFile, log: Log):
        self.folder, self.file, self.log = folder, file, log
        self.processes: list[Process] = []
        self.trainers = trainer_names(file.most)
        self.results: dict[str, dict[str, Any]] = {}
        self.began = time.monotonic()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def start(self, name: str, *words: str) -> Process:
        process = Process(name, words, self.folder, self.log)
        self.processes.append(process)
        return process

    def role(self, name: str, *words: str) -> Process:
        """A command of a role, with what its folder has to be told."""
        return self.start(
            name,
            *words,
            *("--state", f"{RUN}/{name}", "--rpc", self.rpc, "--store", self.store),
            *("--keystore", str(keystore(Path(), name)), "--password-file", f"{KEYS}/{PASSWORD_FILE}"),
        )

    def once(self, name: str, *words: str) -> dict[str, Any]:
        return self.role(name, *words).result()

    def set_up(self, stack: contextlib.ExitStack) -> None:
        """Chain, store and coins; the owner's three commands."""
        srs.generate()
        addresses = {name: account(self.folder, name) for name in ("owner", "aggregator", *self.trainers)}
        if int(addresses["aggregator"], 16) != int(self.file.aggregator, 16):
            raise InputError(
                f"PROJECT.toml names the aggregator {self.file.aggregator}: this market plays it with the account of"
                f" {keystore(Path(), 'aggregator')}, {addresses['aggregator']}"
            )
        self.log.names = {address: name for name, address in addresses.items()} | {f"{self.folder.resolve()}/": ""}
        self.rpc = stack.enter_context(anvil_node(accounts=1, block_seconds=1))
        stack.callback(self.stop)  # before the chain ends
        self.log.line("chain", f"a development chain at {self.rpc}")
        needs = self.file.pool + self.file.bond_wei + self.file.stake_wei
        give_coins(self.rpc, list(addresses.values()), COINS + needs)
        store = self.start("store", "store", "serve", f"{RUN}/store")
        self.store = store.first_line()
        self.log.line("store", f"blobs by their content at {self.store}")
        self.once("owner", "owner", "create", "PROJECT.toml")
        self.project = self.once("owner", "owner", "pay-in")["project"]
        self.log.names[self.project] = "PROJECT"
        listed = [addresses[name] for name in self.trainers]
        signatures = self.once("owner", "owner", "list", *listed)["memberships"]
        self.memberships = {name: signatures[addresses[name]] for name in self.trainers}

    def run(self, shares: Mapping[str, str], training: Mapping[str, str]) -> None:
        """Every role, until the project ends."""
        at = ("--project", self.project, "--withdraw")
        options = [word for name, value in training.items() for word in (f"--{name}", value)]
        roles = [self.role("aggregator", "aggregator", "run", *at), self.role("owner", "owner", "receive", *at)]
        for name in self.trainers:
            own = ("--join", "--membership", self.memberships[name], "--model", self.file.model, "--data", shares[name])
            roles.append(self.role(name, "trainer", "run", *at, *own, *options))
        while any(role.running for role in roles):
            for process in self.processes:
                process.check()
            time.sleep(0.2)
        self.results = {role.name: role.result() for role in roles}

    def result(self, test: str | None, share: str) -> tuple[dict[str, Any], str]:
        owner = self.results["owner"]
        pay = {name: {row["round"]: row["pay"] for row in self.results[name]["rounds"]} for name in self.trainers}
        seconds = round(time.monotonic() - self.began, 1)
        place = Path(owner["model"])
        result = {
            "project": self.project,
            "rounds": owner["rounds"],
            "model": str(place),
            "pay": pay,
            "seconds": seconds,
        }
        lines = [f"{owner['rounds']} rounds are settled and paid, after {seconds:.0f} s"]
        lines += [f"  {name} was paid {self.amount(sum(rounds.values()))}" for name, rounds in pay.items()]
        if test:
            before, after, local = self.scores(test, share, place)
            result |= {"before": vars(before), "after": vars(after)}
            if after.accuracy is not None and before.accuracy is not None:
                lines.append(f"  accuracy on {test}: {before.accuracy:.3f} at first, {after.accuracy:.3f} now")
            lines.append(f"  loss on {test}: {before.loss:.3f} at first, {after.loss:.3f} now")
            if local:
                lines.append(f"  with running statistics that are local: here those of {share}")
        relative = place.relative_to(self.folder.resolve()) if place.is_relative_to(self.folder.resolve()) else place
        lines.append(f"the model is in {relative}, the log in {RUN}/{LOG}")
        return result, "\n".join(lines)

    def amount(self, units: int) -> str:
        return f"{units / COIN['ether']:.4f} ether" if self.file.native else str(units)

    def scores(self, test: str, share: str, place: Path) -> tuple[Evaluation, Evaluation, bool]:
        """How the model does on held-out data before the first round, and now; and whether some of it is local.

        What is local comes from a share: no other data are those of a trainer.
        """
        layout, theta = initial_parameters(self.file.model)
        model, data, own = load_model(self.file.model), load_source(test), load_source(share)
        calibrate(model, layout, theta, own)
        before = evaluate(model, layout, theta, data)
        after, _ = load_model_file(place, layout)
        local = calibrate(model, layout, after, own)
        return before, evaluate(model, layout, after, data), local
