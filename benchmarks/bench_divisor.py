"""Whom does leave-one-out by the model's loss pay, by which divisor a coalition's model has, and by whose batch it is?

    python -m benchmarks.bench_divisor --json

Eight trainers of a softmax regression on synthetic classes, whose data differ a little. With one divisor for every
coalition, the number of all who are accepted, and with the coalition's own number (what `games` does not do): the
values' sum beside the value of all, how many honest trainers are paid nothing, and the pay of three who send three
times their update, or of two who send the same. With a batch of one class, which the owner trains on and the others do
not have: what it takes back of the reward, by the floor. Medians over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure import Rows, machine, measured
from zkmarket.rules import RATE_UNIT, pay
from zkmarket.utility import Method, play

TRAINERS, CLASSES, INPUTS, UNIT = 8, 6, 12, 1e6
PLAYERS = tuple(range(1, TRAINERS + 1))
Batch = tuple[np.ndarray, np.ndarray]


class School:
    """A model two rounds into its training, trainers' updates to it, and a batch."""

    def __init__(self, seed: int, niche: bool = False):
        """Args: niche: the batch is of the last class, which the last trainer, the owner, has, and nobody else."""
        rng = np.random.default_rng(seed)
        self.centres = rng.normal(0, 1, (CLASSES, INPUTS))
        even = np.full(CLASSES, 1 / CLASSES)
        last = np.eye(CLASSES)[-1]
        self.batch = self.samples(rng, 64, last if niche else even)
        parts = 0.3 * rng.dirichlet([0.5] * CLASSES, TRAINERS) + 0.7 * even
        if niche:
            parts[:, -1] = 0
            parts[-1] = last
        data = [self.samples(rng, 300, part) for part in parts]
        self.model = np.zeros((INPUTS, CLASSES))
        for _ in range(2):
            self.model = self.model + np.mean([self.step(*own) for own in data], 0)
        self.updates = [self.step(*own) for own in data]

    def samples(self, rng: np.random.Generator, count: int, part: np.ndarray) -> Batch:
        y = rng.choice(CLASSES, count, p=part / part.sum())
        return self.centres[y] + rng.normal(0, 1.5, (count, INPUTS)), y

    def probabilities(self, model: np.ndarray, x: np.ndarray) -> np.ndarray:
        e = np.exp(x @ model - (x @ model).max(1, keepdims=True))
        return np.asarray(e / e.sum(1, keepdims=True))

    def step(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        model = self.model.copy()
        for _ in range(3):
            model -= 0.1 * x.T @ (self.probabilities(model, x) - np.eye(CLASSES)[y]) / len(x)
        return np.asarray(model - self.model)

    def loss(self, model: np.ndarray) -> int:
        x, y = self.batch
        return round(-UNIT * float(np.log(self.probabilities(model, x)[np.arange(len(y)), y]).sum()))

    def values(self, updates: Sequence[np.ndarray], of_all: bool) -> tuple[list[int], int]:
        """Leave-one-out values, and that of everybody together."""
        losses = {}
        for s in play(Method("loo"), PLAYERS, bytes(32), {}).due:
            divisor = TRAINERS if of_all else len(s)
            losses[s] = self.loss(self.model + np.sum([updates[i - 1] for i in s], 0) / divisor)
        game = play(Method("loo"), PLAYERS, bytes(32), losses)
        return [game.raw[i] for i in PLAYERS], self.loss(self.model) - losses[PLAYERS]


def paid(values: Sequence[int], who: Sequence[int], floor: float = 0.0) -> float:
    """The part of the reward that these get."""
    scores = [max(0, value) for value in values]
    shares, _ = pay(10**18, [1] * len(scores), scores, round(floor * RATE_UNIT))
    return sum(shares[i] for i in who) / 10**18


def whom_it_pays(of_all: bool, seeds: Sequence[int]) -> dict[str, float]:
    rows = []
    for seed in seeds:
        school = School(seed)
        honest = school.updates
        values, everybody = school.values(honest, of_all)
        scaled = [3 * update if i < 3 else update for i, update in enumerate(honest)]
        clones = [honest[0] if i < 2 else update for i, update in enumerate(honest)]
        rows.append(
            {
                "sum_of_values": sum(values) / everybody,
                "honest_unpaid": sum(value <= 0 for value in values),
                "three_who_scale": paid(school.values(scaled, of_all)[0], range(3)),
                "two_clones": paid(school.values(clones, of_all)[0], range(2)),
            }
        )
    return medians(rows)


def what_an_owner_takes_back(floor: float, seeds: Sequence[int]) -> dict[str, float]:
    """By a batch that its own update alone serves."""
    rows = []
    for seed in seeds:
        school = School(seed, niche=True)
        values, _ = school.values(school.updates, True)
        rows.append({"owner_takes_back": paid(values, [TRAINERS - 1], floor)})
    return medians(rows)


def medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.median([row[name] for row in rows])), 4) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="for uniformity: rows are all there is")
    seeds = range(parser.parse_args().seeds)
    rows = Rows({"trainers": TRAINERS, "seeds": len(seeds)} | machine())
    for name, of_all in (("all accepted", True), ("the coalition", False)):
        with measured() as run:
            found: dict[str, Any] = dict(whom_it_pays(of_all, seeds))
        rows.add("divisor", [run], **{"divisor": name, **found})
    for floor in (0.0, 0.25):
        with measured() as run:
            found = dict(what_an_owner_takes_back(floor, seeds))
        rows.add("niche batch", [run], floor=floor, **found)


if __name__ == "__main__":
    main()
