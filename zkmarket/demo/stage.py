"""The main job on one machine: a whole market, every role a process of its own, on a real chain with real proofs.

An owner posts a classifier of scikit-learn's digits, eight trainers hold parts of the data, some of them attack, an
aggregator proves and settles every round, an auditor verifies from the outside, everybody withdraws. The demo itself
is only the stage: it starts chain, store and programs, moves the development chain's clock when everybody has done
what a phase is for, and reads the result from the chain. For comparison it also trains what there would be without
a filter (the same attackers, a plain average) and with all data in one place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import srs
from ..errors import BackendError, ChainError
from ..progress import Progress
from .cast import ETHER, FEE_SHARE, FUNDS, LOGROWS, MODEL, PASSWORD, PHASES, PROJECT, SECONDS, STAKE, Cast

if TYPE_CHECKING:
    from ..market import Project

ON_CPU = ("--device", "cpu")
"""Ten processes that train small models would share one GPU."""


@dataclass
class Timer:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 2)


def events_in(log: Path) -> list[dict[str, Any]]:
    """The events among a program's progress (see ../progress.py)."""
    lines = log.read_text(errors="replace").split("\n")[:-1]  # without one that is being written
    return [json.loads(line) for line in lines if line.startswith('{"event"')]


class Program:
    """A `zkmarket` process of one role, with its log."""

    def __init__(self, name: str, log: Path, words: list[str], secrets: dict[str, str], module: str = "zkmarket"):
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.output = log.with_suffix(".json")
        from ..processes import dying_with_us

        with log.open("ab") as errors, self.output.open("wb") as out:
            self.process = subprocess.Popen(
                dying_with_us([sys.executable, "-m", module, *words]),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                env=os.environ | secrets,
            )

    def check(self) -> None:
        """Raise BackendError if the program has failed."""
        if self.process.poll() not in (None, 0):
            last = (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise BackendError(f"{self.name} failed with exit code {self.process.returncode}: {last}")

    def told(self, event: str, number: int) -> list[dict[str, Any]]:
        """What it has told of a round so far."""
        return [one for one in events_in(self.log) if (one["event"], one["round"]) == (event, number)]

    def result(self) -> dict[str, Any]:
        """What it came to, once it has ended."""
        try:
            self.process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise BackendError(f"{self.name} did not end within {SECONDS} s: see {self.log}") from None
        self.check()
        output: dict[str, Any] = json.loads(self.output.read_text())
        return output

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


# ---------------------------------------------------------------- the stage


class Stage:
    """Chain, store, accounts and programs; and the clock."""

    def __init__(
        self, cast: Cast, folder: Path, chain: str | None, store: str, store_token: str | None, progress: Progress
    ):
        self.cast, self.folder, self.progress = cast, folder, progress
        self.rpc, self.store, self.store_token = chain, store, store_token
        self.secrets = {"ZKMARKET_PASSWORD": PASSWORD} | ({"ZKMARKET_STORE_TOKEN": store_token} if store_token else {})
        self.timer = Timer()
        self.programs: dict[str, Program] = {}
        self.names = [f"trainer-{i}" for i in range(cast.trainers)]

    def play(self, stack: contextlib.ExitStack) -> tuple[Project, dict[str, dict[str, Any]]]:
        """The market from its first deployment to the last withdrawal, and what each program answered.

        Chain and store stay up until the stack closes.
        """
        from ..chain import anvil_node, connect

        began = time.monotonic()
        self.progress(srs.WARNING)
        srs.generate()
        rpc = self.rpc or stack.enter_context(anvil_node())
        self.open_store(stack)
        stack.callback(self.stop)
        self.chain, self.rpc = stack.enter_context(connect(rpc)), rpc
        self.addresses = self.fund()
        project = self.set_up()
        self.start_programs()
        self.conduct(project)
        with self.timer.step("withdraw"):
            outputs = {name: program.result() for name, program in self.programs.items()}
        self.timer.add("total", time.monotonic() - began)
        return project, outputs

    def stop(self) -> None:
        for program in self.programs.values():
            program.stop()

    def open_store(self, stack: contextlib.ExitStack) -> None:
        if self.store == "ipfs":
            from ..storage import kubo_node

            self.store = stack.enter_context(kubo_node(self.folder / "ipfs"))
        elif self.store == "folder":
            self.store = str(self.folder / "store")

    def fund(self) -> dict[str, str]:
        """A fresh account for everybody, with coins from the node's own."""
        from ..chain import Wallet

        if not self.chain.development or not len(self.chain.accounts):
            raise ChainError(f"{self.rpc} is chain {self.chain.id}: a demo wants a development node with coins to give")
        accounts = {}
        for name in ("owner", "aggregator", *self.names):
            accounts[name] = Wallet.create(self.folder / name / "keystore.json", PASSWORD, light=True)
            self.chain.transact("funding", self.chain.accounts[0], accounts[name], b"", FUNDS)
        return accounts

    def words(self, name: str, *words: str) -> list[str]:
        """The command line of a role."""
        place = self.folder / name
        desk = ["--state", str(place), "--rpc", str(self.rpc), "--store", self.store, "--json"]
        return [*words, *desk, *([] if name == "auditor" else ["--keystore", str(place / "keystore.json")])]

    def checks(self, rounds: Iterable[int]) -> list[str]:
        """Command lines that look at the market from the outside, as they can be pasted into a shell."""
        at = ["--rpc", str(self.rpc), "--store", self.store, "--project", self.paid["project"]]
        auditor = str(self.folder / "your-own-audit")
        commands = [["auditor", "verify", str(number), "--state", auditor, *at] for number in rounds]
        for role, place in (("owner", "owner"), ("aggregator", "aggregator"), ("trainer", self.names[0])):
            commands.append([role, "status", "--state", str(self.folder / place)])
        return [shlex.join(["zkmarket", *words]) for words in commands]

    def once(self, name: str, *words: str) -> dict[str, Any]:
        """Run a command of a role to its end."""
        program = Program(name, self.folder / "logs" / f"{name}-{words[1]}.log", self.words(name, *words), self.secrets)
        try:
            return program.result()
        finally:
            program.stop()

    def set_up(self) -> Project:
        """The owner's three commands: create, pay in, list."""
        from ..market import Project

        cast = self.cast
        text = PROJECT.format(
            rounds=cast.rounds,
            aggregator=self.addresses["aggregator"],
            model=MODEL,
            least=cast.least,
            most=cast.trainers,
            rules=cast.rules,
            logrows=LOGROWS,
            reward=cast.reward,
            fee=cast.reward // FEE_SHARE,
            stake=max(STAKE, cast.penalty),
            penalty=cast.penalty,
        )
        file = self.folder / "PROJECT.toml"
        file.write_text(text)
        self.progress("owner: keys, prospectus, contracts")
        with self.timer.step("keys and contracts"):
            self.created = self.once("owner", "owner", "create", str(file))
        with self.timer.step("pay in, list"):
            self.paid = self.once("owner", "owner", "pay-in")
            self.progress(f"owner: {self.paid['pool'] / ETHER:g} ether in escrow of {self.paid['project']}")
            listed = self.once("owner", "owner", "list", *(self.addresses[name] for name in self.names))
        self.memberships = listed["memberships"]
        return Project(self.chain, self.paid["project"])

    def start_programs(self) -> None:
        """Everybody at once: the aggregator accepts, the trainers join and wait, owner and auditor watch."""
        at = ["--project", self.paid["project"]]
        self.start("aggregator", "aggregator", "run", *at, "--withdraw")
        for i, name in enumerate(self.names):
            membership = self.memberships[self.addresses[name]]
            words = ["--join", "--membership", membership, "--model", MODEL, "--data", self.cast.data(i)]
            self.start(
                name,
                "trainer",
                "run",
                *at,
                *words,
                "--seed",
                str(i),
                *ON_CPU,
                "--withdraw",
                attacker=self.cast.is_attacker(i),
            )
        own = ["--root-data", self.cast.data(self.cast.trainers), "--model", MODEL, *ON_CPU]
        root = own if self.cast.rooted else []
        self.start("owner", "owner", "receive", *root, "--withdraw")
        self.start("auditor", "auditor", "watch", *at)
        self.progress(f"{len(self.programs)} programs started, logs in {self.folder / 'logs'}")

    def start(self, name: str, *words: str, attacker: bool = False) -> None:
        log = self.folder / "logs" / f"{name}.log"
        given = self.words(name, *words)
        if attacker:
            attack = [self.cast.attack, *given[2:]]
            self.programs[name] = Program(name, log, attack, self.secrets, "zkmarket.cli.attacker")
        else:
            self.programs[name] = Program(name, log, given, self.secrets)

    # ---- the clock

    def conduct(self, project: Project) -> None:
        """Move the clock past each deadline once everybody has done what the phase is for, until the project ends."""
        from ..chain import Phase

        seen = None
        since = time.monotonic()
        while True:
            for program in self.programs.values():
                program.check()
            state = project.state()
            if (state.phase, state.round) != seen:
                if seen is not None:
                    self.timer.add(PHASES[seen[0].name], time.monotonic() - since)
                seen, since = (state.phase, state.round), time.monotonic()
                self.progress(f"round {state.round}: {state.phase.name}")
            if state.phase == Phase.ENDED:
                return
            # SUBMIT ends by itself, when everybody has a seat
            done = {Phase.ADMIT: self.all_decided, Phase.SETTLED: self.all_received}.get(state.phase)
            if done and state.now <= state.deadline and done(project, state.round):
                self.chain.pass_time(state.deadline + 1 - state.now)
            elif time.monotonic() - since > SECONDS:
                raise BackendError(f"round {state.round} is {state.phase.name} for {SECONDS} s: see {self.folder}/logs")
            time.sleep(0.2)

    def all_decided(self, project: Project, number: int) -> bool:
        """Only if somebody is refused does the round wait for its deadline; else the aggregator locks it itself."""
        refused = [event["trainer"] for event in self.programs["aggregator"].told("refused", number)]
        return bool(refused) and all(seat.admitted or seat.trainer in refused for seat in project.seats())

    def all_received(self, project: Project, number: int) -> bool:
        """Owner and trainers have opened the aggregate, and the auditor has looked."""
        from ..market import Log

        settled = Log(project.events()).settled()[-1]
        names = ["owner", *(name for name in self.names if self.addresses[name] in settled.trainers)]
        received = all(self.programs[name].told("received", number) for name in names)
        return received and bool(self.programs["auditor"].told("verified", number))
