"""Does a convolutional network with batch normalisation train in a market as it does by plain FedAvg in floats?

    python -m benchmarks.bench_batchnorm --seed 0 1 2 --prove --json > benchmarks/results/batchnorm.jsonl

Two runs from the same start, on the same shares of real scans, with the same seeds. `float` is FedAvg: the mean of all
updates in float64. `market` is what a market does with the same updates: they are cut to the round's norm bound, made
integers, committed to, admitted, filtered and scored by the default rules, and the sum of the accepted is opened
against its commitment; with --prove each round is proven and verified too, else its decision is the integer oracle's,
which is the circuit's (tests/circuits). The norm bound begins at its largest and follows the median.

Updates hold the weights alone: each trainer keeps the running statistics of its own module, in both runs. A row has the
accuracy on held-out scans of every trainer's module, with those statistics, after each round: the mean of the trainers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Rows, machine, measured, say
from zkmarket.backend import srs
from zkmarket.build import Build, Spec, make_build
from zkmarket.learning import Training, digits, digits_held, evaluate, initial_parameters, load_model, train
from zkmarket.progress import quiet
from zkmarket.round import (
    Decision,
    RoundId,
    admit,
    aggregate_points,
    commit_update,
    decide,
    load_submissions,
    open_aggregate,
    prove_round,
    sum_updates,
    verify_round,
)
from zkmarket.rules import Filter, next_beta

if TYPE_CHECKING:
    from torch import nn

MODEL = "benchmarks.bench_batchnorm:network"
TRAINING = Training(epochs=3, rate=0.02)
SHARES = 16
"""A trainer has a sixteenth of the scans, so that there is something left to learn."""
KAPPA, LOGROWS = 4000, 11


def network() -> nn.Module:
    """8×8 pixels → two convolutions with batch normalisation → 10 digits; 1,246 weights, and 40 statistics."""
    from torch import nn

    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(48, 10)),
    )


Round = Callable[[int, list[np.ndarray]], np.ndarray]
"""From a round's number and updates to what the model moves by."""


def plain(number: int, updates: list[np.ndarray]) -> np.ndarray:
    """FedAvg."""
    return np.asarray(np.mean(updates, axis=0))


class Market:
    """Rounds as a market has them, off chain."""

    def __init__(self, build: Build, folder: Path, prove: bool):
        self.build, self.folder, self.prove = build, folder, prove
        self.beta = build.manifest.beta_max
        self.accepted: list[int] = []

    def __call__(self, number: int, updates: list[np.ndarray]) -> np.ndarray:
        place, manifest = self.folder / f"{number}", self.build.manifest
        for i, update in enumerate(updates):
            commit_update(
                self.build, update, place / f"{i}", i + 1, RoundId(round=number), beta=self.beta, saturate=True
            )
        submissions = load_submissions(self.build, place)
        for slot, submission in enumerate(submissions, start=1):
            admit(self.build, submission, slot)
        openings = [submission.opening for submission in submissions]
        if self.prove:
            proof, _ = prove_round(self.build, submissions, self.beta)
            decision = verify_round(self.build, proof)
        else:
            values = np.stack([opening.values for opening in openings]).astype(np.int64)
            outcome = decide(manifest, [[int(v) for v in row] for row in values @ values.T], self.beta)
            commitments = [submission.commitment for submission in submissions]
            points = aggregate_points(manifest, commitments, outcome.mask)
            trainers = tuple(commitment.trainer for commitment in commitments)
            decision = Decision(trainers, outcome.mask, outcome.kept(manifest), outcome.nu, points)
        self.accepted.append(sum(decision.mask))
        self.beta = next_beta(self.beta, decision.nu, KAPPA, manifest.params, manifest.beta_max)
        return open_aggregate(self.build, decision, sum_updates(manifest, openings, decision.mask))


def play(how: Round, trainers: int, rounds: int, seed: int) -> list[float]:
    """The trainers' mean accuracy after each round."""
    models = [load_model(MODEL) for _ in range(trainers)]
    layout, theta = initial_parameters(MODEL)
    data = [digits(part=i, of=SHARES, seed=seed) for i in range(trainers)]
    held, found = digits_held(seed), []
    for number in range(1, rounds + 1):
        updates = [
            train(model, layout, theta, share, replace(TRAINING, seed=seed), number)
            for model, share in zip(models, data, strict=True)
        ]
        theta = theta + how(number, updates)
        found.append(fmean(evaluate(model, layout, theta, held).accuracy or 0.0 for model in models))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of shares and batches; default 0")
    parser.add_argument("--prove", action="store_true", help="prove and verify every round")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    n, tell = arguments.trainers, quiet if arguments.json else say
    layout, _ = initial_parameters(MODEL)
    spec = Spec(n, layout.size, Filter.default(n), logrows=LOGROWS, layout=layout)
    with tempfile.TemporaryDirectory() as place:
        build = make_build(spec, srs.generate(), Path(place) / "build", tell)
        for seed in arguments.seed:
            market = Market(build, Path(place) / f"seed-{seed}", arguments.prove)
            rows = Rows({"trainers": n, "params": layout.size, "filter": str(spec.filter), "seed": seed} | machine())
            runs: dict[str, Round] = {"float": plain, "market": market}
            for name, how in runs.items():
                tell(f"seed {seed}: {name}")
                with measured() as run:
                    found = play(how, n, arguments.rounds, seed)
                more = {"accepted": market.accepted, "proven": arguments.prove} if name == "market" else {}
                rows.add(name, [run], accuracy=[round(value, 4) for value in found], **more)


if __name__ == "__main__":
    main()
