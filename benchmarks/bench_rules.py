"""What does each filter and score do against each attack of the demo, beside no filter at all?

    python -m benchmarks.bench_rules --json > benchmarks/results/rules.jsonl
    python -m benchmarks.bench_rules --table benchmarks/results/rules.jsonl

and which filter should be the default (`--candidates`: filters alone, all paid by Shapley value)?

    python -m benchmarks.bench_rules --candidates --split iid dirichlet --seed 0 1 2 3 4 5 --trainers 8 --json
    python -m benchmarks.bench_rules --table benchmarks/results/default-filter.jsonl

Rounds as the demo plays them, on its data (real scans; IID, or split by Dirichlet(0.5)), model, attackers and fixed
point, without proofs: decided by the integer oracles, which the circuits equal bit by bit (tests/circuits). What is
trained from the same model under two rules is trained once. The owner's root update is
trained on a share of its own, as large as a trainer's, and the first norm bound is four times the squared norm of
its first. `none` accepts everybody, of any length, and pays by Shapley
value. A row says the accuracy after the last round, how many updates of attackers and of honest trainers were
rejected, and what part of all rewards the attackers took; `fair` is their part of the trainers. `copy` is not here:
a stolen digest gets no receipt, since a digest names its author, whatever the rule.

The table says, of rows that differ in their seed only, the mean of the accuracy and of the attackers' part of the pay,
and the sums of the rejected.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.measure import Rows, machine, measured, say
from zkmarket import learning
from zkmarket.demo import MODEL, default_attackers
from zkmarket.learning import ATTACKS, Lesson, attacking, wrong_labels
from zkmarket.progress import quiet
from zkmarket.rules import (
    MIN_ACCEPTED,
    Domain,
    Filter,
    ReferenceProducts,
    RuleSet,
    accepted,
    median_squared_norm,
    next_beta,
    norm_bound,
    sample_size,
    shares,
)
from zkmarket.rules.scores import scores
from zkmarket.updates import FixedPoint
from zkmarket.updates.quantise import quantise

LOGROWS, KAPPA = 13, 4000
FIXED = FixedPoint(LOGROWS - 1, LOGROWS)
UNIT = 10**18
ATTACKS_PLAYED = ["nobody", *(attack for attack in ATTACKS if attack != "copy")]


@dataclass(frozen=True)
class Rule:
    """A filter, or None for none, and a score."""

    filter: Filter | None
    score: str

    def __str__(self) -> str:
        return f"{self.filter or 'none'} · {self.score}"


def rules(n: int) -> list[Rule]:
    krum, default = Filter.krum(n), Filter.default(n)
    filters = ["norm", str(krum), str(default), "norm,cosine:tau=0.1", f"{default},cosine:tau=0.1"]
    others = ("leave-one-out", "root", "cosine-shapley", "novel")
    return [
        Rule(None, "shapley"),
        *(Rule(Filter.parse(text), "shapley") for text in dict.fromkeys(filters)),
        *(Rule(default, score) for score in others),
        Rule(krum, "novel"),
    ]


def candidates(n: int) -> list[Rule]:
    """What the default filter could be: the norm bound alone, Multi-Krum, three-sigma over samples of several sizes."""
    krum = Filter.krum(n)
    tried = {max(MIN_ACCEPTED, n // 2): [5, 6], sample_size(n): [4, 5, 6], krum.m: [3, 4, 5]}
    if krum.m == sample_size(n):
        tried[krum.m] = [3, 4, 5, 6]
    sigmas = [Filter(krum.f, m, Fraction(sigma)) for m, of in tried.items() for sigma in of]
    return [Rule(one, "shapley") for one in (Filter(), krum, *sigmas)]


class Town:
    """Who trains on what: the same in every round of every rule."""

    def __init__(self, trainers: int, attack: str | None, seed: int, split: str = "iid"):
        self.attack, self.trainers, self.seed, self.split = attack, trainers, seed, split
        self.known: dict[tuple[int, bytes], list[np.ndarray]] = {}
        self.bad = default_attackers(attack, trainers) if attack else 0
        self.model = learning.load_model(MODEL)
        self.layout, self.start = learning.initial_parameters(MODEL)
        self.held = learning.digits_held(seed)
        # clones share data and seed; the owner's share is the last
        places = [trainers - self.bad if attack == "collude" and self.is_bad(i) else i for i in range(trainers)]
        self.learners = [self.learner(i, place) for i, place in enumerate(places)]
        self.learners.append(self.honest(self.data(trainers), trainers))

    def is_bad(self, i: int) -> bool:
        return i >= self.trainers - self.bad

    def learner(self, i: int, place: int) -> Callable[[Lesson], np.ndarray]:
        data = self.data(place)
        if self.attack == "label-flip" and self.is_bad(i):
            data = wrong_labels(data)
        honest, attack = self.honest(data, place), self.attack
        if not attack or not self.is_bad(i):
            return honest
        # an attack begun anew each round: what is sent depends on the lesson alone, not on the rules played before
        return lambda lesson: attacking(attack, honest, self.seed + i + 1000 * lesson.round)(lesson)

    def data(self, place: int) -> learning.Dataset:
        return learning.digits(place, self.trainers + 1, split=self.split, seed=self.seed)

    def honest(self, data: learning.Dataset, seed: int) -> Callable[[Lesson], np.ndarray]:
        training = learning.Training(seed=seed)
        return lambda lesson: learning.train(self.model, self.layout, lesson.theta, data, training, lesson.round)

    def updates(self, lesson: Lesson) -> list[np.ndarray]:
        """Of every trainer, then the owner's root update."""
        last = b"" if lesson.last is None else lesson.last.tobytes()
        key = lesson.round, hashlib.sha256(lesson.theta.tobytes() + last).digest()
        if key not in self.known:
            self.known[key] = [learn(lesson) for learn in self.learners]
        return self.known[key]

    def accuracy(self, theta: np.ndarray) -> float:
        return float(learning.evaluate(self.model, self.layout, theta, self.held).accuracy or 0.0)


def play(town: Town, rule: Rule, rounds: int) -> dict[str, Any]:
    """All rounds under one rule."""
    d, n = len(town.start), town.trainers
    most = norm_bound(d, FIXED.high + 1)
    penalty = Domain.of(RuleSet(n, d, FIXED.high + 1, most, rule.filter, rule.score), 13).penalty if rule.filter else 0
    first = cut(town.updates(Lesson(1, town.start, None))[n], None)
    theta, last, past, beta = town.start, None, np.zeros(d, np.int64), int(KAPPA * (first @ first) / 1000)
    paid, rejected = [0] * n, [0] * n
    for number in range(1, rounds + 1):
        lesson = Lesson(number, theta, last)
        bound = beta if rule.filter else None  # trainers shorten their update to the round's bound
        *made, root = town.updates(lesson)
        updates = np.stack([cut(update, None if town.is_bad(i) else bound) for i, update in enumerate(made)])
        gram = inner(updates, updates)
        root = cut(root, bound)
        owners = ReferenceProducts(int(root @ root), tuple(int(v) for v in updates @ root))
        before = ReferenceProducts(int(past @ past), tuple(int(v) for v in updates @ past))
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
    return quantise(update, FIXED, beta, saturate=True).values.astype(np.int64)


def inner(a: np.ndarray, b: np.ndarray) -> list[list[int]]:
    return [[int(v) for v in row] for row in a @ b.T]


def table(rows: list[dict[str, Any]]) -> str:
    """A table for each number of trainers and split: one line a rule, one column an attack."""
    places = list(dict.fromkeys((row["trainers"], row["split"]) for row in rows))
    if len(places) == 1:
        return one_table(rows)
    parts = [(n, split, [row for row in rows if (row["trainers"], row["split"]) == (n, split)]) for n, split in places]
    return "\n\n".join(f"N = {n}, {split}\n\n{one_table(part)}" for n, split, part in parts)


def one_table(rows: list[dict[str, Any]]) -> str:
    """Accuracy · rejected updates of attackers + of honest trainers · attackers' part of the pay."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["filter"], row["score"]][row["attack"]].append(row)
    scored = len({score for _, score in groups}) > 1
    head = ["filter", *(["score"] if scored else []), *attacks]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key, of in groups.items():
        cells = [*(key if scored else key[:1]), *(cell(of[attack]) if attack in of else "" for attack in attacks)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(seeds: list[dict[str, Any]]) -> str:
    """Of one filter against one attack: means, and sums of the rejected."""
    accuracy, paid = (fmean(row[key] for row in seeds) for key in ("accuracy", "paid_attackers"))
    bad, good = (sum(row[key] for row in seeds) for key in ("rejected_attackers", "rejected_honest"))
    return f"{accuracy:.1%} · {bad}+{good}" + (f" · {paid:.1%}" if seeds[0]["attackers"] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of data and attackers; default 0")
    parser.add_argument("--split", choices=learning.SPLITS, nargs="+", default=["iid"], help="default: iid")
    parser.add_argument("--attack", choices=ATTACKS_PLAYED, action="append", help="default: all")
    parser.add_argument("--candidates", action="store_true", help="what the default filter could be, not all rules")
    parser.add_argument("--filter", action="append", help="these filters, paid by Shapley value, instead of all rules")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    parser.add_argument("--table", type=Path, metavar="FILE.jsonl", help="print a file's rows as Markdown, and end")
    arguments = parser.parse_args()
    if arguments.table:
        print(table([json.loads(line) for line in arguments.table.read_text().splitlines()]))
        return
    n, tell = arguments.trainers, quiet if arguments.json else say
    played = candidates(n) if arguments.candidates else rules(n)
    if arguments.filter:
        played = [Rule(Filter.parse(text), "shapley") for text in arguments.filter]
    for split, seed, attack in product(arguments.split, arguments.seed, arguments.attack or ATTACKS_PLAYED):
        rows = Rows({"trainers": n, "rounds": arguments.rounds, "split": split, "seed": seed} | machine())
        town = Town(n, None if attack == "nobody" else attack, seed, split)
        if attack != "nobody" and not town.bad:
            tell(f"{attack}: among {n} trainers there is no attacker that Multi-Krum bears")
            continue
        for rule in played:
            tell(f"{split}, seed {seed}, {attack}: {rule}")
            with measured() as run:
                found = play(town, rule, arguments.rounds)
            rows.add("rounds", [run], **found)


if __name__ == "__main__":
    main()
