"""The main job on real data: federated training of a digit classifier with attackers, every round proven.

Eight trainers hold parts of scikit-learn's digits (1,797 real scans). Attackers submit what they like.
Each round every trainer commits and proves its range, the aggregator filters, scores, aggregates and
proves, and a *separate process*, given the build without proving keys and the round proof, verifies. The
same attackers also face a plain average, to show what the filter is worth.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import aggregator, auditor, srs
from .aggregator import Submission
from .artifacts import PROVER_FILES, Build
from .backend import Progress, quiet
from .build import Spec, build
from .commitment import COMMITMENT_FILE, OPENING_FILE, Commitment, Opening, RoundId, address_text
from .errors import BackendError, InputError, ProofRejected
from .files import write_json
from .quantise import ParameterLayout
from .round import Aggregate, Decision, RoundProof, aggregate_points
from .rules import MIN_ACCEPTED, MultiKrum, next_beta
from .trainer import commit_update

ATTACKS = ("sign-flip", "noise", "scale", "label-flip", "free-ride", "copy")
CHAIN, PROJECT = 31337, 0xD16175
AGGREGATE_FILE = "aggregate.npz"
KAPPA = 4.0
"""The norm bound follows four times the median squared norm: twice the median norm."""


@dataclass
class Timer:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def make_model():
    """The classifier: 64 pixels → 32 → 10 digits, 2,410 parameters. Also a factory for `zkmarket build --model`."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


class Digits:
    """Real scans, split among trainers, and a test set that nobody trains on."""

    def __init__(self, trainers: int, seed: int):
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(images))
        images, labels = (images[order] / 16).astype(np.float32), labels[order]
        held = len(images) // 4
        self.test = images[:held], labels[:held]
        self.parts = list(
            zip(np.array_split(images[held:], trainers), np.array_split(labels[held:], trainers), strict=True)
        )


class Learner:
    """Local training and testing of one parameter vector."""

    def __init__(self, layout: ParameterLayout):
        self.layout = layout
        self.model = make_model()

    def load(self, vector: np.ndarray) -> None:
        import torch

        tensors = self.layout.unflatten(vector)
        self.model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in tensors.items()})

    def update(self, start: np.ndarray, images: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
        """What a few epochs of SGD on one trainer's data change."""
        import torch

        self.load(start)
        x, y = torch.from_numpy(images), torch.from_numpy(labels)
        optimiser = torch.optim.SGD(self.model.parameters(), lr=0.2, momentum=0.5)
        shuffle = torch.Generator().manual_seed(seed)
        for _ in range(5):
            for batch in torch.randperm(len(x), generator=shuffle).split(32):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(self.model(x[batch]), y[batch]).backward()
                optimiser.step()
        return self.layout.flatten(self.model.state_dict()) - start

    def accuracy(self, vector: np.ndarray, images: np.ndarray, labels: np.ndarray) -> float:
        import torch

        self.load(vector)
        with torch.no_grad():
            found = self.model(torch.from_numpy(images)).argmax(1).numpy()
        return float((found == labels).mean())


def poison(attack: str, honest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An attacker's update, from the one that it would have made honestly."""
    length = np.linalg.norm(honest)
    if attack == "sign-flip":
        return -honest
    if attack == "noise":
        noise = rng.normal(size=honest.shape)
        return noise * length / np.linalg.norm(noise)
    if attack == "scale":
        return -5 * honest
    if attack == "free-ride":
        return rng.normal(size=honest.shape) * 1e-3
    return honest  # label-flip poisons the data, copy takes another's commitment


def run_demo(
    rounds: int = 3,
    trainers: int = 8,
    attackers: int = 2,
    attack: str = "sign-flip",
    reward: int = 10**18,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = quiet,
) -> tuple[dict[str, Any], str]:
    """Run the whole thing. Returns the object for --json and the tables for people."""
    rule = MultiKrum.default(trainers)
    rule.check(trainers)
    if not 0 <= attackers <= rule.f:
        raise InputError(f"{trainers} trainers bear at most {rule.f} attackers under {rule}: got {attackers}")
    if rounds < 1:
        raise InputError(f"a demo has at least one round: got {rounds}")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: a demo wants a new folder, salts are never used twice")
    with tempfile.TemporaryDirectory(prefix="zkmarket-demo-") as scratch:
        return _Demo(rounds, trainers, attackers, attack, reward, seed, folder or Path(scratch), progress).run()


class _Demo:
    def __init__(
        self,
        rounds: int,
        trainers: int,
        attackers: int,
        attack: str,
        reward: int,
        seed: int,
        folder: Path,
        progress: Progress,
    ):
        self.rounds, self.trainers, self.attackers, self.attack = rounds, trainers, attackers, attack
        self.reward, self.seed, self.folder, self.progress = reward, seed, folder, progress
        self.rng = np.random.default_rng(seed)
        self.data = Digits(trainers, seed)
        self.layout = ParameterLayout.of(make_model().state_dict())
        self.learner = Learner(self.layout)
        self.timer = Timer()
        self.addresses = [0x7A000000 + i for i in range(trainers)]
        self.builds: dict[int, Build] = {}

    def run(self) -> tuple[dict[str, Any], str]:
        theta = self.layout.flatten(make_model().state_dict())
        plain = theta.copy()
        with self.timer.step("build"):
            project = self.build_for(self.trainers)
        start = self.accuracy(theta)
        beta = project.manifest.beta_max
        reports = []
        for number in range(1, self.rounds + 1):
            self.progress(f"round {number}: training")
            with self.timer.step("train"):
                updates = [self.train(i, theta, number) for i in range(self.trainers)]
                unfiltered = [self.train(i, plain, number) for i in range(self.trainers)]
            decision, theta, rows = self.prove_round(number, theta, updates, beta)
            plain = plain + np.mean(unfiltered, axis=0)
            reports.append(
                {
                    "round": number,
                    "beta": str(beta),
                    "nu": decision.nu,
                    "trainers": rows,
                    "accuracy": self.accuracy(theta),
                    "accuracy_without_filter": self.accuracy(plain),
                }
            )
            beta = next_beta(beta, decision.nu, KAPPA, self.layout.size, project.manifest.beta_max)
        result = {
            "data": "scikit-learn digits, 1797 scans",
            "params": self.layout.size,
            "filter": str(project.manifest.filter),
            "attack": self.attack,
            "attackers": self.attackers,
            "accuracy_at_start": start,
            "rounds": reports,
            "seconds": {name: round(value, 2) for name, value in self.timer.seconds.items()},
            "insecure": project.manifest.insecure,
        }
        return result, _tables(result)

    def accuracy(self, theta: np.ndarray) -> float:
        return self.learner.accuracy(theta, *self.data.test)

    def build_for(self, n: int) -> Build:
        """A settlement circuit is of an exact N: refused submissions mean another build, with shared keys."""
        if n not in self.builds:
            spec = Spec(n, self.layout.size, MultiKrum.default(n), layout=self.layout)
            installed = srs.installed()
            chosen = installed[0] if installed and not installed[0].insecure else srs.generate()
            if chosen.insecure:
                self.progress(srs.WARNING)
            self.builds[n] = build(spec, chosen, self.folder / f"build-{n}", self.progress)
        return self.builds[n]

    def is_attacker(self, trainer: int) -> bool:
        return trainer >= self.trainers - self.attackers

    def train(self, trainer: int, theta: np.ndarray, number: int) -> np.ndarray:
        images, labels = self.data.parts[trainer]
        bad = self.is_attacker(trainer)
        if bad and self.attack == "label-flip":
            labels = 9 - labels
        honest = self.learner.update(theta, images, labels, seed=1000 * number + trainer)
        return poison(self.attack, honest, self.rng) if bad else honest

    def prove_round(
        self, number: int, theta: np.ndarray, updates: list[np.ndarray], beta: int
    ) -> tuple[Decision, np.ndarray, list[dict[str, Any]]]:
        project = self.builds[self.trainers]
        place = self.folder / f"round-{number}"
        round_id = RoundId(CHAIN, PROJECT, number)
        with self.timer.step("commit and range proofs"):
            for i, update in enumerate(updates):
                self.submit(project, update, place, i, round_id, beta)
        with self.timer.step("admit"):
            refused = self.admit(project, place)
        admitted = [i for i in range(self.trainers) if i not in refused]
        if len(admitted) < MIN_ACCEPTED:
            raise InputError(f"{len(admitted)} submissions were admitted: wanted at least {MIN_ACCEPTED}")
        with self.timer.step("build"):
            used = self.build_for(len(admitted))
        with self.timer.step("prove"):
            submissions = [self.load(used, place, i) for i in admitted]
            proof, aggregate = aggregator.prove_round(used, submissions, beta, self.progress)
            proof.save(place / "round.json")
            if aggregate is not None:
                aggregate.save(place / AGGREGATE_FILE)
        with self.timer.step("verify (separate process)"):
            decision = self.verify_elsewhere(used, place, round_id)
        if aggregate is None:
            return decision, theta, self.rows(decision, admitted, refused)
        with self.timer.step("open"):
            received = Aggregate.load(place / AGGREGATE_FILE, used.manifest)
            theta = auditor.open_aggregate(used, decision, received, theta)
        return decision, theta, self.rows(decision, admitted, refused)

    def submit(self, project: Build, update: np.ndarray, place: Path, i: int, round_id: RoundId, beta: int) -> None:
        folder = place / f"trainer-{i}"
        if self.is_attacker(i) and self.attack == "copy":
            # all that a thief can see before the deadline is public: another's points and proofs
            stolen = json.loads((place / "trainer-0" / COMMITMENT_FILE).read_text())
            write_json(folder / COMMITMENT_FILE, stolen | {"trainer": address_text(self.addresses[i])})
            return
        bound = None if self.is_attacker(i) else beta  # an attacker does not clip
        commit_update(project, update, folder, self.addresses[i], round_id, bound, "count", self.progress)

    def admit(self, project: Build, place: Path) -> dict[int, str]:
        """Range proofs are checked before anything else; who fails is out, with the reason."""
        refused = {}
        for i in range(self.trainers):
            try:
                auditor.verify_range(project, self.commitment(place, i))
            except ProofRejected as error:
                refused[i] = str(error)
        return refused

    def commitment(self, place: Path, i: int) -> Commitment:
        return Commitment.load(place / f"trainer-{i}" / COMMITMENT_FILE, self.builds[self.trainers].manifest)

    def load(self, project: Build, place: Path, i: int) -> Submission:
        opening = Opening.load(place / f"trainer-{i}" / OPENING_FILE, project.manifest)
        return Submission(self.commitment(place, i), opening)

    def verify_elsewhere(self, project: Build, place: Path, round_id: RoundId) -> Decision:
        """Another process, in a folder with the round proof and the build without its proving keys."""
        with tempfile.TemporaryDirectory(prefix="zkmarket-auditor-") as name:
            shutil.copytree(project.folder, f"{name}/build", ignore=shutil.ignore_patterns(*PROVER_FILES))
            shutil.copyfile(place / "round.json", f"{name}/round.json")
            command = [sys.executable, "-m", "zkmarket", "verify", "build", "round.json", "--json", "--quiet"]
            command += ["--chain", str(round_id.chain_id), "--round", str(round_id.round)]
            command += ["--project", address_text(round_id.project), "--reward", str(self.reward)]
            done = subprocess.run(command, cwd=name, capture_output=True, text=True)
        if done.returncode == 1:
            raise ProofRejected(done.stderr.strip())
        if done.returncode:
            raise BackendError(f"the verifying process failed: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        decision = _decision(found, RoundProof.load(place / "round.json", project.manifest), project)
        self.shares = {row["trainer"]: row["share_wei"] for row in found["trainers"]}
        return decision

    def rows(self, decision: Decision, admitted: list[int], refused: dict[int, str]) -> list[dict[str, Any]]:
        slots = {trainer: slot for slot, trainer in enumerate(admitted)}
        out = []
        for i, address in enumerate(self.addresses):
            row: dict[str, Any] = {"trainer": i, "honest": not self.is_attacker(i), "admitted": i in slots}
            if i in slots:
                row |= {
                    "accepted": bool(decision.mask[slots[i]]),
                    "score": decision.scores[slots[i]],
                    "share_wei": self.shares[address_text(address)],
                }
            else:
                row |= {"accepted": False, "score": 0, "share_wei": 0, "refused": refused[i]}
            out.append(row)
        return out


def _decision(found: dict[str, Any], proof: RoundProof, project: Build) -> Decision:
    """The other process's answer as a Decision; the aggregate's points are recomputed here."""
    mask = tuple(int(row["accepted"]) for row in found["trainers"])
    return Decision(
        tuple(int(row["trainer"], 16) for row in found["trainers"]),
        mask,
        tuple(row["score"] for row in found["trainers"]),
        found["nu"],
        aggregate_points(project.manifest, proof.commitments, mask),
    )


def _tables(result: dict[str, Any]) -> str:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(
        f"{result['data']}; {result['params']} parameters; {result['filter']};"
        f" {result['attackers']} attackers: {result['attack']}"
    )
    for report in result["rounds"]:
        table = Table(title=f"round {report['round']}, proven and verified", title_justify="left")
        for name in ("trainer", "honest", "accepted", "score", "share (wei)"):
            table.add_column(name, justify="right" if name in ("score", "share (wei)") else "left")
        for row in report["trainers"]:
            accepted = "yes" if row["accepted"] else "no" if row["admitted"] else "not admitted"
            table.add_row(
                str(row["trainer"]),
                "yes" if row["honest"] else "NO",
                accepted,
                str(row["score"]),
                str(row["share_wei"]),
            )
        console.print(table)
        refused = {row["refused"] for row in report["trainers"] if "refused" in row}
        for reason in sorted(refused):
            console.print(f"not admitted: {reason}")
        console.print(
            f"test accuracy {report['accuracy']:.1%} with the filter,"
            f" {report['accuracy_without_filter']:.1%} with a plain average (start {result['accuracy_at_start']:.1%})"
        )
    console.print("seconds: " + ", ".join(f"{name} {value}" for name, value in result["seconds"].items()))
    if result["insecure"]:
        console.print(srs.WARNING)
    return console.export_text().rstrip()
