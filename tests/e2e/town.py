"""A small market for tests: three trainers, real proofs, every role a real process with its own folder and account.

Role processes are forked from a server that has everything imported (multiprocessing's forkserver), which is all that
distinguishes them from `zkmarket …` in a shell; they are killed with -9 and started again at will. The chain is an
anvil of the town's own; the test moves its clock. `crash` patches a process to kill itself at a named point.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zkmarket.backend import srs
from zkmarket.chain import Chain, Phase, Wallet, anvil_node, connect
from zkmarket.market import Log, Project, State

PASSWORD = "test"
ETHER = 10**18
SECONDS = 120
MODEL = "zkmarket.learning:digits_mlp,hidden=16"  # 1,210 parameters: one chunk at K = 11
TRAINERS = ("ann", "bob", "cyd")

PROJECT = """\
[project]
name = "town"
rounds = {rounds}
aggregator = "{aggregator}"
[model]
factory = "{model}"
[rules]
least = {least}
most = {most}
{rules}
[keys]
logrows = 11
srs = "development"
[money]
reward = "1 ether"
fee = "0.1 ether"
stake = "1 ether"
penalty = "0.4 ether"
[windows]
{windows}
"""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.e2e.preload"])


def _child(words: Sequence[str], log: str, environment: Mapping[str, str], prepare: Callable[[], None] | None) -> None:
    """The forked process: its own session and streams, then the command line."""
    os.setsid()
    for stream, path in ((1, f"{log}.out"), (2, log)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    os.environ |= environment
    if prepare is not None:
        prepare()
    from zkmarket.cli import attacker, parser

    main = attacker.main if words[0] == "attack" else parser.main
    try:
        code = main(list(words[1:] if words[0] == "attack" else words))
    except SystemExit as error:
        code = int(error.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass
class Role:
    """A running or ended process."""

    name: str
    log: Path
    process: Any

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def result(self, seconds: float = SECONDS) -> dict[str, Any]:
        """The JSON object of a process that ended well."""
        assert self.wait(seconds) == 0, self.said()[-3000:]
        return json.loads(Path(f"{self.log}.out").read_text())

    def wait(self, seconds: float = SECONDS) -> int:
        self.process.join(seconds)
        assert self.code is not None, f"{self.name} still runs after {seconds} s: {self.said()[-3000:]}"
        return self.code

    def kill(self) -> None:
        """kill -9 of its whole process group, provers included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.join()


@dataclass
class Town:
    """One project and everybody in it."""

    folder: Path
    chain: Chain
    addresses: dict[str, str]
    store: str
    project: Project
    memberships: dict[str, str]
    roles: list[Role] = field(default_factory=list)
    rpc: str = ""

    # ---- processes

    def start(
        self, name: str, *words: object, prepare: Callable[[], None] | None = None, folder: str | None = None,
        **environment: str,
    ) -> Role:  # fmt: skip
        """Start `zkmarket WORDS` as a role; its folder is the one of its name unless said otherwise."""
        place = self.folder / (folder or name)
        at = ["--state", place, "--rpc", self.rpc or self.chain.rpc_url, "--json"]
        at += [] if "--store" in words else ["--store", self.store]
        at += [] if words[0] == "auditor" else ["--keystore", self.folder / name / "keystore.json"]
        return self.run(name, [*map(str, words), *map(str, at)], prepare, environment)

    def run(
        self, name: str, words: Sequence[str], prepare: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Role:  # fmt: skip
        log = self.folder / "logs" / f"{name}-{len(self.roles)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        given = {"ZKMARKET_PASSWORD": PASSWORD} | dict(environment or {})
        process = _context.Process(target=_child, args=(list(words), str(log), given, prepare))
        process.start()
        self.roles.append(Role(name, log, process))
        return self.roles[-1]

    def aggregator(self, *words: object, **more: Any) -> Role:
        words = ("aggregator", "run", "--project", self.project.address, "--withdraw", *words)
        return self.start("aggregator", *words, **more)

    def trainer(self, name: str, *words: object, attack: str | None = None, **more: Any) -> Role:
        """A trainer that joins, and holds one third of the digits."""
        part = (*TRAINERS, *sorted(set(self.addresses) - set(TRAINERS))).index(name) % len(TRAINERS)
        data = f"zkmarket.learning:digits,part={part},of={len(TRAINERS)}"
        at = ("--project", self.project.address, "--join", "--membership", self.memberships[name], "--withdraw")
        command = ("attack", attack) if attack else ("trainer", "run")
        return self.start(name, *command, *at, "--model", MODEL, "--data", data, "--epochs", 1, *words, **more)

    def owner(self, *words: object, **more: Any) -> Role:
        return self.start("owner", "owner", *(words or ("receive", "--withdraw")), **more)

    def auditor(self, *words: object, **more: Any) -> Role:
        return self.start("auditor", "auditor", *(words or ("watch",)), "--project", self.project.address, **more)

    def everybody(self) -> dict[str, Role]:
        roles = {"aggregator": self.aggregator(), "owner": self.owner(), "auditor": self.auditor()}
        return roles | {name: self.trainer(name) for name in TRAINERS}

    # ---- the chain

    def log(self) -> Log:
        return Log(self.project.events())

    def until(self, what: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait until something is true, and return it; what every role said last if it never is."""
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                state = self.project.state() if self.project else None
                last = [f"{role.name} ({role.code}): {role.said()[-400:]}" for role in self.roles]
                raise AssertionError(f"not within {seconds} s; the project is {state}\n" + "\n".join(last))
            time.sleep(0.05)
        return found

    def until_phase(self, phase: Phase, seconds: float = SECONDS) -> None:
        self.until(lambda: self.project.state().phase == phase, seconds)

    def pass_deadline(self, state: State | None = None) -> None:
        """Move the clock just past the phase's deadline: the current phase's, or the one that was looked at."""
        state = state or self.project.state()
        if state.now <= state.deadline:
            self.chain.pass_time(state.deadline + 1 - state.now)

    def submitted(self, count: int = len(TRAINERS)) -> bool:
        """Whether the open round has so many submissions; with all seats taken its phase is ADMIT already."""
        state = self.project.state()
        return state.phase in (Phase.SUBMIT, Phase.ADMIT) and len(self.project.seats()) == count

    def close_submissions(self, count: int = len(TRAINERS)) -> None:
        """Wait for so many submissions, and move the clock past the deadline unless the last seat is taken."""
        self.until(lambda: self.submitted(count))
        state = self.project.state()
        if state.phase == Phase.SUBMIT:
            self.pass_deadline(state)

    def opened(self, number: int, *names: str) -> bool:
        """Whether these have opened the aggregate of a round."""
        return all((self.folder / name / f"aggregates/{number:05d}.bin").is_file() for name in names)

    def conduct(self, readers: Sequence[str] = ("owner", *TRAINERS), until: Phase = Phase.ENDED) -> None:
        """Move the clock whenever everybody has done what a phase is for, until the project is in a phase."""
        trainers = max(len(TRAINERS), len(set(readers) - {"owner"}))
        seats = self.project.terms().max_trainers

        def step() -> bool:
            state = self.project.state()
            if state.phase == until:
                return True
            received = state.phase == Phase.SETTLED and self.opened(state.round, *readers)
            if (state.phase == Phase.SUBMIT and trainers < seats and self.submitted(trainers)) or received:
                self.pass_deadline(state)
            return False

        self.until(step, 4 * SECONDS)

    def pay(self) -> dict[str, int]:
        """What each trainer was credited by settlements."""
        found: dict[str, int] = {}
        for settled in self.log().settled():
            for who, pay in zip(settled.trainers, settled.pay, strict=True):
                found[who] = found.get(who, 0) + pay
        return found

    def close(self) -> None:
        for role in self.roles:
            role.kill()


@contextlib.contextmanager
def town(
    folder: Path, chain: Chain, rounds: int = 1, least: int = 3, most: int = 3, others: Sequence[str] = (),
    windows: str = "", store: str | None = None, deployed: Path | None = None, rules: str = "",
) -> Iterator[Town]:  # fmt: skip
    """A paid-in project with nobody in it yet. `deployed` keeps contracts between towns on one chain.

    `windows` and `rules` are more lines of those sections.
    """
    addresses = {}
    for name in ("owner", "aggregator", *TRAINERS, *others):
        addresses[name] = Wallet.create(folder / name / "keystore.json", PASSWORD, light=True)
        chain.transact("funding", chain.accounts[0], addresses[name], b"", 100 * ETHER)
    text = PROJECT.format(
        rounds=rounds, aggregator=addresses["aggregator"], model=MODEL, least=least, most=most, windows=windows,
        rules=rules,
    )  # fmt: skip
    (folder / "PROJECT.toml").write_text(text)
    place = Town(folder, chain, addresses, store or str(folder / "store"), None, {})  # type: ignore[arg-type]
    try:
        kept = folder / "owner" / "deployed.json"
        if deployed and deployed.exists():
            kept.write_bytes(deployed.read_bytes())
        place.owner("create", folder / "PROJECT.toml").result()
        if deployed:
            deployed.write_bytes(kept.read_bytes())
        place.project = Project(chain, place.owner("pay-in").result()["project"])
        listed = place.owner("list", *(addresses[name] for name in (*TRAINERS, *others))).result()["memberships"]
        place.memberships = {name: listed[addresses[name]] for name in (*TRAINERS, *others)}
        yield place
    finally:
        place.close()


@contextlib.contextmanager
def town_chain(**options: Any) -> Iterator[Chain]:
    """An anvil for towns; options as of `anvil_node`. The development SRS is made where there is none."""
    srs.generate()
    with anvil_node(**options) as rpc, connect(rpc) as chain:
        yield chain
