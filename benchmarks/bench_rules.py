"""What does each filter and score do against each attack of the demo, beside no filter at all?

    python -m benchmarks.bench_rules --json > benchmarks/results/rules.jsonl
    python -m benchmarks.bench_rules --table benchmarks/results/rules.jsonl

Rounds as the demo plays them, on its data (real scans, IID), model, attackers and fixed point, without proofs:
decided by the integer oracles, which the circuits equal bit by bit (tests/circuits). The owner's root update is
trained on a share of its own, as large as a trainer's, and the first norm bound is four times the squared norm of
its first. `none` accepts everybody, of any length, and pays by Shapley
value. A row says the accuracy after the last round, how many updates of attackers and of honest trainers were
rejected, and what part of all rewards the attackers took; `fair` is their part of the trainers. `copy` is not here:
stolen commitments are refused at submission, by the tag of their range proofs, whatever the rule.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Rows, machine, measured, say
from zkmarket import learning
from zkmarket.attacks import ATTACKS, attacking, wrong_labels
from zkmarket.backend import quiet
from zkmarket.contribution import scores, shares
from zkmarket.demo import MODEL, default_attackers
from zkmarket.quantise import FixedPoint, quantise
from zkmarket.roles.trainer import Lesson
from zkmarket.rules import MIN_ACCEPTED, Domain, Filter, Reference, accepted, median_squared_norm, next_beta
from zkmarket.statements import value_bound

LOGROWS, KAPPA = 13, 4.0
FIXED = FixedPoint(LOGROWS - 1, LOGROWS)
UNIT = 10**18


@dataclass(frozen=True)
class Rule:
    """A filter, or None for none, and a score."""

    filter: Filter | None
    score: str

    def __str__(self) -> str:
        return f"{self.filter or 'none'} · {self.score}"


def rules(n: int) -> list[Rule]:
    krum = Filter.default(n)
    sigma = f"multi-krum:f={krum.f},m={max(MIN_ACCEPTED, n // 2)},three-sigma:lambda=3"
    filters = ["norm", str(krum), sigma, "norm,cosine:tau=0.1", f"{krum},cosine:tau=0.1"]
    others = ("leave-one-out", "root", "cosine-shapley", "novel")
    return [
        Rule(None, "shapley"),
        *(Rule(Filter.parse(text), "shapley") for text in filters),
        *(Rule(krum, score) for score in others),
    ]


class Town:
    """Who trains on what: the same in every round of every rule."""

    def __init__(self, trainers: int, attack: str | None, seed: int):
        self.attack, self.trainers, self.seed = attack, trainers, seed
        self.bad = default_attackers(attack, trainers) if attack else 0
        self.model = learning.load_model(MODEL)
        self.layout, self.start = learning.initial_parameters(MODEL)
        self.held = learning.digits_held(seed)
        # clones share data and seed; the owner's share is the last
        places = [trainers - self.bad if attack == "collude" and self.is_bad(i) else i for i in range(trainers)]
        self.learners = [self.learner(i, place) for i, place in enumerate(places)]
        self.owner = self.honest(learning.digits(trainers, trainers + 1, seed=seed), trainers)

    def is_bad(self, i: int) -> bool:
        return i >= self.trainers - self.bad

    def learner(self, i: int, place: int) -> Callable[[Lesson], np.ndarray]:
        data = learning.digits(place, self.trainers + 1, seed=self.seed)
        if self.attack == "label-flip" and self.is_bad(i):
            data = wrong_labels(data)
        honest = self.honest(data, place)
        return attacking(self.attack, honest, self.seed + i) if self.attack and self.is_bad(i) else honest

    def honest(self, data: learning.Dataset, seed: int) -> Callable[[Lesson], np.ndarray]:
        training = learning.Training(seed=seed)
        return lambda lesson: learning.train(self.model, self.layout, lesson.theta, data, training, lesson.round)

    def accuracy(self, theta: np.ndarray) -> float:
        return float(learning.evaluate(self.model, self.layout, theta, self.held).accuracy or 0.0)


def play(town: Town, rule: Rule, rounds: int) -> dict[str, Any]:
    """All rounds under one rule."""
    d, n = len(town.start), town.trainers
    most = d * value_bound(LOGROWS) ** 2
    penalty = Domain.of(n, d, value_bound(LOGROWS), most, rule.filter, rule.score, 13).penalty if rule.filter else 0
    first = cut(town.owner(Lesson(1, town.start, None)), None)
    theta, last, past, beta = town.start, None, np.zeros(d, np.int64), int(KAPPA * (first @ first))
    paid, rejected = [0] * n, [0] * n
    for number in range(1, rounds + 1):
        lesson = Lesson(number, theta, last)
        bound = beta if rule.filter else None  # trainers shorten their update to the round's bound
        made = [cut(learn(lesson), None if town.is_bad(i) else bound) for i, learn in enumerate(town.learners)]
        updates = np.stack(made)
        gram = inner(updates, updates)
        root = cut(town.owner(lesson), bound)
        owners = Reference(int(root @ root), tuple(int(v) for v in updates @ root))
        before = Reference(int(past @ past), tuple(int(v) for v in updates @ past))
        mask = accepted(gram, rule.filter, beta, penalty, owners) if rule.filter else [1] * n
        for i, share in enumerate(shares(UNIT, scores(gram, mask, rule.score, owners, before))[0]):
            paid[i] += share
            rejected[i] += 1 - mask[i]
        beta = next_beta(beta, median_squared_norm(gram), KAPPA, d, most)
        if sum(mask) >= MIN_ACCEPTED:
            past = updates[np.array(mask, bool)].sum(0)
            last = past / sum(mask) / 2.0**FIXED.scale_bits
            theta = theta + last
        else:
            past = np.zeros(d, np.int64)
    bad = [i for i in range(n) if town.is_bad(i)]
    return {
        "attack": town.attack or "nobody",
        "filter": str(rule.filter) if rule.filter else "none",
        "score": rule.score,
        "attackers": len(bad),
        "accuracy": round(town.accuracy(theta), 4),
        "rejected_attackers": sum(rejected[i] for i in bad),
        "rejected_honest": sum(rejected) - sum(rejected[i] for i in bad),
        "paid_attackers": round(sum(paid[i] for i in bad) / (rounds * UNIT), 4),
        "fair": round(len(bad) / n, 4),
    }


def cut(update: np.ndarray, beta: int | None) -> np.ndarray:
    """(D,) int64 in fixed point; values out of range are cut, as an attacker who wants to be admitted must."""
    return quantise(update, FIXED, beta, saturate="count").values.astype(np.int64)


def inner(a: np.ndarray, b: np.ndarray) -> list[list[int]]:
    return [[int(v) for v in row] for row in a @ b.T]


def table(rows: list[dict[str, Any]]) -> str:
    """One line a rule, one column an attack: accuracy / attackers' part of the pay, and rejected updates."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        rejected = f"{row['rejected_attackers']}+{row['rejected_honest']}"
        cells[row["filter"], row["score"]][row["attack"]] = f"{row['accuracy']:.1%} · {rejected}" + (
            f" · {row['paid_attackers']:.1%}" if row["attackers"] else ""
        )
    head = ["filter", "score", *attacks]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join([*key, *(of.get(a, "") for a in attacks)]) + " |" for key, of in cells.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attack", choices=[a for a in ATTACKS if a != "copy"], action="append", help="default: all")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    parser.add_argument("--table", type=Path, metavar="FILE.jsonl", help="print a file's rows as Markdown, and end")
    arguments = parser.parse_args()
    if arguments.table:
        print(table([json.loads(line) for line in arguments.table.read_text().splitlines()]))
        return
    tell = quiet if arguments.json else say
    rows = Rows({"trainers": arguments.trainers, "rounds": arguments.rounds, "seed": arguments.seed} | machine())
    for attack in arguments.attack or [None, *(a for a in ATTACKS if a != "copy")]:
        town = Town(arguments.trainers, attack, arguments.seed)
        for rule in rules(arguments.trainers):
            tell(f"{attack or 'nobody attacks'}: {rule}")
            with measured() as run:
                found = play(town, rule, arguments.rounds)
            rows.add("rounds", [run], **found)


if __name__ == "__main__":
    main()
