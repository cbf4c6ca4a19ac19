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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import srs
from .attacks import ATTACKS, REFUSED, attacking, wrong_labels
from .backend import Progress, quiet, versions
from .contribution import check_score, references
from .errors import BackendError, ChainError, InputError
from .rules import MIN_ACCEPTED, Filter

if TYPE_CHECKING:
    from .history import History, Settled
    from .learning import Dataset
    from .market import Project
    from .roles.trainer import Learn

MODEL = "zkmarket.learning:digits_mlp"
DATA = "scikit-learn's digits, 1,797 real scans of 8×8 pixels"
LOGROWS = 12
ETHER = 10**18
FUNDS = 100 * ETHER
STAKE, FEE_SHARE = ETHER, 10
PASSWORD = "demo"  # of keystores that hold a development chain's coins, for as long as the demo runs
PHASES = {
    "CREATED": "inspect and accept",
    "OPEN": "join and start",
    "SUBMIT": "train and commit",
    "ADMIT": "hand over, admit",
    "PROVE": "prove and settle",
    "SETTLED": "verify and open",
}
"""What a phase's time goes into; everybody works at once, on the same cores."""

SECONDS = 600
"""No phase of a demo takes longer; one that does has failed."""

PROJECT = """\
[project]
name = "digits"
rounds = {rounds}
aggregator = "{aggregator}"

[model]
factory = "{model}"

[rules]
least = {least}
most = {most}
{rules}

[keys]
logrows = {logrows}
srs = "development"

[money]
reward = "{reward} wei"
fee = "{fee} wei"
stake = "{stake} wei"
penalty = "{penalty} wei"
"""


def default_attackers(attack: str, trainers: int) -> int:
    """Two, or for clones one more than Multi-Krum bears."""
    bears = Filter.default(trainers).f
    return bears + 1 if attack == "collude" else min(2, bears)


def run_demo(
    rounds: int = 3,
    trainers: int = 8,
    attackers: int | None = None,
    attack: str = "sign-flip",
    reward: int = ETHER,
    split: str = "iid",
    seed: int = 0,
    filter: str | None = None,
    score: str = "shapley",
    chain: str | None = None,
    store: str = "folder",
    folder: Path | None = None,
    report: Path | None = None,
    progress: Progress = quiet,
) -> tuple[dict[str, Any], str]:
    """Run the whole market. Returns the object for --json and the closing screen; writes report.html.

    Args:
        attackers: default two, for `collude` one more than Multi-Krum bears.
        filter: as `zkmarket build` takes it; default `Filter.default`.
        chain: RPC address of a development node to use; default an anvil of its own.
        store: "folder", "ipfs" (a real node of its own), or the address of a store.
        folder: keeps all files of all roles; default a temporary one.
        report: where the page goes; default report.html in `folder`, or in the current folder.
    """
    rule = Filter.parse(filter) if filter else Filter.default(trainers)
    rule.check(trainers)
    check_score(score)
    if attack not in ATTACKS:
        raise InputError(f"unknown attack {attack!r}: wanted one of {', '.join(ATTACKS)}")
    attackers = default_attackers(attack, trainers) if attackers is None else attackers
    if not 0 <= attackers <= trainers:
        raise InputError(f"a demo of {trainers} trainers has from 0 to {trainers} attackers: got {attackers}")
    if attack in REFUSED and trainers - attackers < MIN_ACCEPTED:
        raise InputError(f"{attack} gets no receipt: at least {MIN_ACCEPTED} honest trainers are wanted")
    if not 1 <= rounds <= 100:
        raise InputError(f"a demo has from 1 to 100 rounds: got {rounds}")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: a demo wants a new folder, salts are never used twice")
    page = report or (folder or Path()) / "report.html"
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zkmarket-demo-")))
        cast = Cast(trainers, attackers, attack, rounds, reward, split, seed, rule if filter else None, score)
        stage = Stage(cast, place.resolve(), chain, store, progress)
        project, outputs = stage.play(stack)
        result = Account(stage, project, outputs).result()
    from .report import summary, write_report

    write_report(result, page)
    return result | {"report": str(page)}, f"{summary(result)}\nreport in {page}"


# ---------------------------------------------------------------- who takes part


@dataclass(frozen=True)
class Cast:
    """Who takes part, and what they do."""

    trainers: int
    attackers: int
    attack: str
    rounds: int
    reward: int
    split: str
    seed: int
    filter: Filter | None = None
    score: str = "shapley"

    @property
    def rooted(self) -> bool:
        """Whether the owner trains, too."""
        return "root" in references(self.filter or Filter.default(self.trainers), self.score)

    @property
    def rules(self) -> str:
        """Lines of [rules]."""
        lines = [f'score = "{self.score}"']
        if self.filter:
            lines += [f"f = {self.filter.f}", f"m = {self.filter.m}"] if self.filter.m else ["krum = false"]
            if self.filter.m:
                lines.append(f'three_sigma = "{"off" if self.filter.sigma is None else self.filter.sigma}"')
            lines += [f'cosine = "{self.filter.tau}"'] if self.filter.tau is not None else []
        return "\n".join(lines)

    @property
    def least(self) -> int:
        """Where attackers get no receipt, a round may have as many trainers as are honest."""
        return max(MIN_ACCEPTED, self.trainers - self.attackers) if self.attack in REFUSED else self.trainers

    @property
    def penalty(self) -> int:
        """The least that the factory takes."""
        return -(-self.reward // self.least)

    def is_attacker(self, i: int) -> bool:
        return i >= self.trainers - self.attackers

    def data(self, i: int) -> str:
        """Clones share one part; everybody else has one of its own, the owner the last where it trains, too."""
        part = self.trainers - self.attackers if self.attack == "collude" and self.is_attacker(i) else i
        parts = self.trainers + self.rooted
        return f"zkmarket.learning:digits,part={part},of={parts},split={self.split},seed={self.seed}"


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


class Program:
    """A `zkmarket` process of one role, with its log."""

    def __init__(self, name: str, log: Path, words: list[str], module: str = "zkmarket"):
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.output = log.with_suffix(".json")
        from .market import dying_with_us

        with log.open("ab") as errors, self.output.open("wb") as out:
            self.process = subprocess.Popen(
                dying_with_us([sys.executable, "-m", module, *words]),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                env=os.environ | {"ZKMARKET_PASSWORD": PASSWORD},
            )

    def check(self) -> None:
        """Raise BackendError if the program has failed."""
        if self.process.poll() not in (None, 0):
            last = (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise BackendError(f"{self.name} failed with exit code {self.process.returncode}: {last}")

    def result(self) -> dict[str, Any]:
        """What it came to, once it has ended."""
        try:
            self.process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise BackendError(f"{self.name} did not end within {SECONDS} s: see {self.log}") from None
        self.check()
        return json.loads(self.output.read_text())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


# ---------------------------------------------------------------- the stage


class Stage:
    """Chain, store, accounts and programs; and the clock."""

    def __init__(self, cast: Cast, folder: Path, chain: str | None, store: str, progress: Progress):
        self.cast, self.folder, self.progress = cast, folder, progress
        self.rpc, self.store = chain, store
        self.timer = Timer()
        self.programs: dict[str, Program] = {}
        self.names = [f"trainer-{i}" for i in range(cast.trainers)]

    def play(self, stack: contextlib.ExitStack) -> tuple[Project, dict[str, dict[str, Any]]]:
        """The market from its first deployment to the last withdrawal, and what each program answered.

        Chain and store stay up until the stack closes.
        """
        from .market import anvil_node, connect

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
            from .kubo import kubo_node

            self.store = stack.enter_context(kubo_node(self.folder / "ipfs"))
        elif self.store == "folder":
            self.store = str(self.folder / "store")

    def fund(self) -> dict[str, str]:
        """A fresh account for everybody, with coins from the node's own."""
        from .wallet import Wallet

        if not self.chain.development or not len(self.chain.accounts):
            raise ChainError(f"{self.rpc} is chain {self.chain.id}: a demo wants a development node with coins to give")
        found = {}
        for name in ("owner", "aggregator", *self.names):
            found[name] = Wallet.create(self.folder / name / "keystore.json", PASSWORD, light=True)
            self.chain.transact("funding", self.chain.accounts[0], found[name], b"", FUNDS)
        return found

    def words(self, name: str, *words: str) -> list[str]:
        """The command line of a role."""
        place = self.folder / name
        desk = ["--state", str(place), "--rpc", str(self.rpc), "--store", self.store, "--json"]
        return [*words, *desk, *([] if name == "auditor" else ["--keystore", str(place / "keystore.json")])]

    def once(self, name: str, *words: str) -> dict[str, Any]:
        """Run a command of a role to its end."""
        program = Program(name, self.folder / "logs" / f"{name}-{words[1]}.log", self.words(name, *words))
        try:
            return program.result()
        finally:
            program.stop()

    def set_up(self) -> Project:
        """The owner's three commands: create, pay in, list."""
        from .market import Project

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
                name, "trainer", "run", *at, *words, "--seed", str(i), "--withdraw", attacker=self.cast.is_attacker(i)
            )
        root = ["--root-data", self.cast.data(self.cast.trainers), "--model", MODEL] if self.cast.rooted else []
        self.start("owner", "owner", "receive", *root, "--withdraw")
        self.start("auditor", "auditor", "watch", *at)
        self.progress(f"{len(self.programs)} programs started, logs in {self.folder / 'logs'}")

    def start(self, name: str, *words: str, attacker: bool = False) -> None:
        log = self.folder / "logs" / f"{name}.log"
        given = self.words(name, *words)
        if attacker:
            self.programs[name] = Program(name, log, [self.cast.attack, *given[2:]], "zkmarket.roles.attacker")
        else:
            self.programs[name] = Program(name, log, given)

    # ---- the clock

    def conduct(self, project: Project) -> None:
        """Move the clock past each deadline once everybody has done what the phase is for, until the project ends."""
        from .escrow import Phase

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

    def said(self, name: str) -> str:
        return self.programs[name].log.read_text(errors="replace")

    def all_decided(self, project: Project, number: int) -> bool:
        """Only if somebody is refused does the round wait for its deadline; else the aggregator locks it itself."""
        path = self.folder / "aggregator" / "rounds" / f"{number:05d}" / "refusals.json"
        refused = json.loads(path.read_text()) if path.is_file() else {}
        return bool(refused) and all(seat["admitted"] or seat["trainer"] in refused for seat in project.seats())

    def all_received(self, project: Project, number: int) -> bool:
        """Owner and trainers have opened the aggregate, and the auditor has looked."""
        from .history import Log

        settled = Log(project.events()).settled()[-1]
        names = ["owner", *(name for name in self.names if self.addresses[name] in settled.trainers)]
        file = f"aggregates/{number:05d}.bin"
        opened = settled.withheld or all((self.folder / name / file).is_file() for name in names)
        return opened and f"round {number}: verified; aggregate" in self.said("auditor")


# ---------------------------------------------------------------- what it came to


class Account:
    """The result, read from the chain and from what the programs said."""

    def __init__(self, stage: Stage, project: Project, outputs: dict[str, dict[str, Any]]):
        from .history import Log

        self.stage, self.project, self.outputs = stage, project, outputs
        self.cast, self.chain = stage.cast, stage.chain
        self.log = Log(project.events())
        self.history = self.open_history()

    def open_history(self) -> History:
        """The owner's, read from its folder: it has opened every aggregate."""
        from .history import History
        from .prospectus import Prospectus, make_builds
        from .store import open_store

        place = self.stage.folder / "owner"
        prospectus = Prospectus.from_bytes((place / "prospectus").read_bytes())
        builds = make_builds(prospectus, place / "builds")
        return History(self.project, prospectus, builds, open_store(self.stage.store), place)

    def result(self) -> dict[str, Any]:
        terms, settled = self.project.terms(), self.log.settled()
        start, rounds = self.rounds(settled)
        trainers = [self.trainer(i, name, settled) for i, name in enumerate(self.stage.names)]
        some = next(iter(self.history.builds.values())).manifest
        deployed = json.loads((self.stage.folder / "owner" / "deployed.json").read_text())
        return {
            "data": DATA,
            "params": some.params,
            "filter": str(self.history.build_of(self.cast.trainers).manifest.filter),
            "score": some.score,
            "attack": self.cast.attack,
            "attack_means": ATTACKS[self.cast.attack],
            "chain_id": self.chain.id,
            "insecure": some.insecure,
            "accuracy_at_start": start,
            "reward_wei": terms["reward"],
            "fee_wei": terms["fee"],
            "trainers": trainers,
            "rounds": rounds,
            "money": self.money(trainers),
            "gas": self.gas(),
            "seconds": self.stage.timer.seconds,
            "addresses": {
                "factory": deployed["factory"],
                "project": self.project.address,
                "owner": self.stage.addresses["owner"],
                "aggregator": self.stage.addresses["aggregator"],
                "verifiers": deployed["verifiers"],
            },
            "cids": {"prospectus": self.stage.created["prospectus"]},
            "undefeated": undefeated(self.cast, trainers, terms["reward"] * len(settled)),
            "versions": versions(),
        }

    # ---- trainers and money

    def trainer(self, i: int, name: str, settled: list[Settled]) -> dict[str, Any]:
        address = self.stage.addresses[name]
        rows = []
        for one in settled:
            submitted = address in self.log.submitted(one.round)
            row: dict[str, Any] = {"round": one.round, "submitted": submitted, "admitted": address in one.trainers}
            row |= {"accepted": False, "score": 0, "pay_wei": 0, "reason": self.reason(address, one.round)}
            if address in one.trainers:
                slot = one.trainers.index(address)
                row |= {"accepted": bool(one.mask[slot]), "score": one.scores[slot], "pay_wei": one.pay[slot]}
            rows.append(row)
        return {
            "name": name,
            "address": address,
            "honest": not self.cast.is_attacker(i),
            "paid_wei": sum(row["pay_wei"] for row in rows),
            "withdrawn_wei": self.withdrawn(address),
            "rounds": rows,
        }

    def reason(self, address: str, number: int) -> str | None:
        """Why a trainer has no slot: what the aggregator says."""
        return self.outputs["aggregator"]["refusals"].get(f"{number:05d}", {}).get(address)

    def withdrawn(self, address: str) -> int:
        return sum(e.arguments["wei_"] for e in self.log.of("Withdrawn") if e.arguments["who"] == address)

    def money(self, trainers: list[dict[str, Any]]) -> dict[str, int]:
        addresses = self.stage.addresses
        paid = {event.transaction for name in ("Accepted", "ToppedUp") for event in self.log.of(name)}
        bond = sum(self.chain.web3.eth.get_transaction(transaction)["value"] for transaction in paid)
        return {
            "paid_in_wei": self.stage.paid["pool"],
            "paid_to_trainers_wei": sum(trainer["paid_wei"] for trainer in trainers),
            "aggregator_wei": self.withdrawn(addresses["aggregator"]) - bond,
            "owner_back_wei": self.withdrawn(addresses["owner"]),
            "burnt_wei": self.project.state().unburnt_wei,
            "left_in_contract_wei": self.chain.balance(self.project.address),
        }

    def gas(self) -> dict[str, int]:
        """Of one transaction of each kind; the median where there are several. Receipts share one."""
        steps = {
            "Accepted": "accept", "Joined": "join", "RootOffered": "offer root", "Started": "start",
            "Submitted": "submit", "Admitted": "admit", "Locked": "lock", "BaseProven": "prove base",
            "Settled": "settle", "Closed": "next", "Withdrawn": "withdraw",
        }  # fmt: skip
        found: dict[str, list[int]] = {}
        sent = {(steps[event.name], event.transaction) for event in self.log.events if event.name in steps}
        for step, transaction in sent:
            receipt = self.chain.web3.eth.get_transaction_receipt(transaction)
            found.setdefault(step, []).append(receipt["gasUsed"])
        return {"create": self.stage.paid["gas"]} | {
            name: int(np.median(found[name])) for name in steps.values() if name in found
        }

    # ---- accuracy

    def rounds(self, settled: list[Settled]) -> tuple[float, list[dict[str, Any]]]:
        """Accuracy of the initial model, and a row for every settled round."""
        from . import learning

        layout, theta = self.history.prospectus.layout, self.history.prospectus.theta
        model = learning.load_model(MODEL)
        held = learning.digits_held(self.cast.seed)

        def accuracy(parameters: np.ndarray) -> float:
            return float(learning.evaluate(model, layout, parameters, held).accuracy or 0.0)

        start = accuracy(theta)
        learners = [self.learner(i) for i in range(self.cast.trainers)]
        everything = [learning.load_dataset(self.cast.data(i)) for i in range(self.cast.trainers)]
        together = learning.Dataset(
            np.concatenate([one.inputs for one in everything]), np.concatenate([one.targets for one in everything])
        )
        plain, central, last = theta, theta, None
        rows = []
        audits = {audit["round"]: audit for audit in self.outputs["auditor"]["rounds"]}
        for one in settled:
            theta = self.history.after(one, self.log, theta)
            updates = [learn(plain, one.round, last) for learn in learners]
            last = np.mean(updates, axis=0)
            plain = plain + last
            training = learning.Training(seed=self.cast.seed)
            central = central + learning.train(model, layout, central, together, training, one.round)
            digest = theta_hex(theta)
            rows.append(
                {
                    "round": one.round,
                    "beta": one.beta,
                    "nu": audits[one.round]["nu"],
                    "accepted": sum(one.mask),
                    "withheld": one.withheld,
                    "accuracy": accuracy(theta),
                    "accuracy_unfiltered": accuracy(plain),
                    "accuracy_centralised": accuracy(central),
                    "theta": digest,
                    "cid": one.cid,
                    "transaction": one.transaction,
                    "audited": audits[one.round]["verified"] and audits[one.round]["from_calldata"],
                }
            )
        if rows and self.outputs["owner"]["theta"] != rows[-1]["theta"]:
            raise BackendError("the owner received another model than the proven aggregates make")
        return start, rows

    def learner(self, i: int) -> Any:
        """What trainer i would send where nothing filters; a thief sends what it steals, the first honest update."""
        from . import learning
        from .roles.trainer import Lesson

        attack = self.cast.attack if self.cast.is_attacker(i) else None
        data: Dataset = learning.load_dataset(self.cast.data(0 if attack == "copy" else i))
        data = wrong_labels(data) if attack == "label-flip" else data
        model, layout = learning.load_model(MODEL), self.history.prospectus.layout
        training = learning.Training(seed=0 if attack == "copy" else i)

        def honest(lesson: Lesson) -> np.ndarray:
            return learning.train(model, layout, lesson.theta, data, training, lesson.round)

        learn: Learn = attacking(attack, honest, self.cast.seed + i) if attack else honest
        return lambda theta, number, last: learn(Lesson(number, theta, last))


def theta_hex(theta: np.ndarray) -> str:
    from .prospectus import theta_digest

    return theta_digest(theta).hex()


def undefeated(cast: Cast, trainers: list[dict[str, Any]], reward: int) -> list[str]:
    """What the attackers earned, said plainly where it is anything."""
    bad = [trainer for trainer in trainers if not trainer["honest"]]
    earned = sum(trainer["paid_wei"] for trainer in bad)
    if not earned:
        return []
    share, fair = earned / reward, len(bad) / len(trainers)
    sentence = (
        f"{cast.attack} ({ATTACKS[cast.attack]}): {len(bad)} of {len(trainers)} trainers earned {share:.1%} of the"
        f" rewards; an equal share would be {fair:.1%}."
    )
    if cast.attack == "free-ride" and cast.score != "novel":
        sentence += " Nothing proves that an update comes from training: who resends the last aggregate is paid."
    if cast.attack == "collude":
        sentence += " Clones support each other: identities must be scarce, which only the owner's list makes them."
    return [sentence]


__all__ = ["ATTACKS", "run_demo"]
