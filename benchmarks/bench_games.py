"""What does a round scored by the model's own loss cost, and how close do the sampled games come?

    python -m benchmarks.bench_games estimate --json
    python -m benchmarks.bench_games prove --score utility:loo --workers 1 --workers 2 --json

*estimate* needs no proof: losses of all coalitions by the integer oracle, which the circuit equals bit by bit, and
for each method how many coalitions are due, the distance of its values from the exact Shapley value (relative, L2)
and the part of the reward that ends with somebody else. Trainers are the demo's on one-sided data, the last one
has wrong labels; medians over seeds of the orders.

*prove* makes a round of N trainers, from training to verified utility proofs. `prove_utilities` is what
`zkmarket prove --score` does after the round proof: witnesses here, proofs in processes, every one verified.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np

from benchmarks.measure import Rows, machine, measured, say
from zkmarket import learning
from zkmarket.backend import srs
from zkmarket.build import Spec, make_build
from zkmarket.build.statements import SALTS, VALUE_BITS
from zkmarket.learning import wrong_labels
from zkmarket.networks import evaluate, read_network
from zkmarket.progress import quiet
from zkmarket.round import Commitment, RoundId, Submission, Theta, open_with_fresh_salts, prove_round
from zkmarket.round.commitment import commit
from zkmarket.rules import RATE_UNIT, Filter, shares, weight
from zkmarket.updates import FixedPoint
from zkmarket.updates.quantise import quantise
from zkmarket.utility import (
    GameTerms,
    Members,
    Method,
    Options,
    UtilityRound,
    commit_validation,
    compile_model,
    games,
    loss_unit,
    play,
    proofs_needed,
    prove_utilities,
    quantise_batch,
    quantise_theta,
    salts_needed,
    search,
    used_parameters,
    verify_utilities,
    with_defaults,
)
from zkmarket.utility.workers import open_pool

ROUND = RoundId(31337, 1, 1)
DATA = "zkmarket.learning:digits_held"
METHODS = ["loo", "permutations:2", "permutations:8", "permutations:32", "permutations:128"]
METHODS += [f"gtg:{orders},eps={{{part}}}" for orders in (8, 32) for part in ("0.01", "0.05", "0.2")]
REWARD = 10**18


class School:
    """Trainers with one-sided shares of the digits, and a model after some rounds of all of them."""

    def __init__(self, n: int, hidden: int, seed: int, rounds: int):
        self.model_name = f"zkmarket.learning:digits_mlp,hidden={hidden}"
        self.model = learning.load_model(self.model_name)
        self.layout, self.theta = learning.initial_parameters(self.model_name)
        shares_ = [learning.digits(i, n, "dirichlet", 0.5, seed) for i in range(n)]
        self.data = [*shares_[:-1], wrong_labels(shares_[-1])]
        self.seed = seed
        for number in range(1, rounds + 1):
            self.theta = self.theta + np.mean(self.updates(number), 0)
        self.updates_now = self.updates(rounds + 1)
        self.theta = self.theta.astype(np.float32)

    def updates(self, number: int) -> np.ndarray:
        made = [
            learning.train(self.model, self.layout, self.theta, data, learning.Training(seed=i), number)
            for i, data in enumerate(self.data)
        ]
        return np.asarray(np.clip(np.stack(made), -0.99, 0.99))


def exact_shapley(losses: dict[Members, int], n: int) -> list[Fraction]:
    values = [Fraction(0)] * n
    for size in range(n):
        weight = Fraction(factorial(size) * factorial(n - 1 - size), factorial(n))
        for player in range(1, n + 1):
            for rest in combinations([p for p in range(1, n + 1) if p != player], size):
                values[player - 1] += weight * (losses[rest] - losses[tuple(sorted((*rest, player)))])
    return values


def estimate(arguments: argparse.Namespace, rows: Rows, tell: Callable[[str], None]) -> None:
    n = arguments.trainers
    school = School(n, arguments.hidden, arguments.seed, arguments.rounds)
    options = with_defaults(Options(school.model_name, DATA, n, batch=arguments.batch), len(school.theta))
    data = learning.load_dataset(DATA)
    network = read_network(school.model_name, data.inputs.shape[1:])
    plan = search(network, options, school.theta.astype(np.float64), data, tell)[0].plan
    assert options.scale_bits is not None  # with_defaults chose them
    fixed = FixedPoint(options.scale_bits, VALUE_BITS)
    updates = np.stack([quantise(u, fixed, None).values for u in school.updates_now]).astype(np.int64)
    theta = quantise_theta(plan, school.theta, used_parameters(plan))
    batch = quantise_batch(plan, data.inputs[: arguments.batch], data.targets[: arguments.batch])
    players, w = range(1, n + 1), weight(RATE_UNIT, n, plan.theta_bits)
    losses: dict[Members, int] = {}
    with measured() as run:
        for size in range(n + 1):
            for s in combinations(players, size):
                total = updates[[p - 1 for p in s]].sum(0)
                losses[s] = evaluate(plan, theta + w * total, batch, witness=False).loss
    full = losses[()] - losses[tuple(players)]
    exact = [float(v) for v in exact_shapley(losses, n)]
    unit = loss_unit(plan)
    rows.add(
        "oracle", [run], coalitions=len(losses), value_of_all=full * unit, shapley=[round(v * unit, 4) for v in exact]
    )
    right = np.array(exact)
    paid = np.array(pay(exact))
    for text in METHODS:
        epsilon = text[text.index("{") + 1 : -1] if "{" in text else ""
        spelled = text.replace(f"{{{epsilon}}}", str(round(float(epsilon) * abs(full)))) if epsilon else text
        method = Method.parse(f"{games.PREFIX}{spelled}")
        draws = 1 if method.kind == "loo" else arguments.draws
        found = [play(method, tuple(players), seed.to_bytes(32, "big"), losses) for seed in range(draws)]
        values = [np.array([float(game.value(p)) for p in players]) for game in found]
        off = [float(np.linalg.norm(v - right) / np.linalg.norm(right)) for v in values]
        moved = [float(np.abs(np.array(pay(list(v))) - paid).sum() / 2) for v in values]
        rows.add(
            "estimate",
            [run],
            method=str(method),
            epsilon_of_value=float(epsilon or 0),
            draws=draws,
            proofs=statistics.median(len(game.due) for game in found),
            salts=SALTS + salts_needed(method, n),
            value_error=round(statistics.median(off), 4),
            reward_moved=round(statistics.median(moved), 4),
            wrong_labels_paid=round(statistics.median(pay(list(v))[-1] for v in values), 4),
        )


def pay(values: list[float]) -> list[float]:
    return [share / REWARD for share in shares(REWARD, [max(0, round(v * 10**6)) for v in values])[0]]


def prove(arguments: argparse.Namespace, rows: Rows, tell: Callable[[str], None]) -> None:
    n = arguments.trainers
    method = Method.parse(arguments.score)
    salts = SALTS + salts_needed(method, n)
    school = School(n, arguments.hidden, arguments.seed, arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="zkmarket-bench-") as name:
        folder = Path(name)
        rule = Filter.parse("norm")  # everybody is accepted: the most proofs
        made = make_build(
            Spec(n, len(school.theta), rule, "equal", layout=school.layout, salts=salts),
            srs.generate(),
            folder / "build",
            tell,
        )
        manifest = made.manifest
        options = Options(
            school.model_name,
            DATA,
            n,
            batch=arguments.batch,
            scale_bits=manifest.fixed_point.scale_bits,
            beta_max=manifest.beta_max,
            logrows=manifest.logrows,
            salts=salts,
            proofs=max(64, proofs_needed(method, n)),
            theta=folder / "theta.npy",
        )
        np.save(folder / "theta.npy", school.theta)
        model = compile_model(options, srs.generate(), folder / "compiled", tell).build
        rows.common |= {"method": str(method), "params": manifest.params, "logrows": manifest.logrows}
        submissions = []
        for i, update in enumerate(school.updates_now):
            opening = open_with_fresh_salts(quantise(update, manifest.fixed_point, None).values, manifest)
            submissions.append(Submission(Commitment(ROUND, i + 1, commit(made, opening)), opening))
        data = learning.load_dataset(DATA)
        validation = commit_validation(model, data.inputs[: arguments.batch], data.targets[: arguments.batch])
        with measured() as took:
            proof, _ = prove_round(made, submissions, progress=tell)
        rows.add("round_proof", [took])
        theta = Theta.first(manifest, model.quantise_theta(school.theta), model.theta_bits)
        points, beacon = theta.points(made), b"\x2a" * 32
        terms = GameTerms(made, proof, (1,) * n, model, method, beacon, points, RATE_UNIT, validation.points)
        for workers in arguments.workers or [1]:
            with measured() as took, open_pool(workers, arguments.scheduler) as pool:
                kept = folder / f"kept-{workers}"
                proven = prove_utilities(terms, theta, submissions, validation, pool, kept, tell)
            proven.save(folder / "utility.json")
            size, count = (folder / "utility.json").stat().st_size, len(proven.proofs)
            rows.add(
                "prove_utilities", [took], size, workers=workers, proofs=count, rows=model.value["circuit"]["rows"]
            )
        with measured() as took:
            decision = verify_utilities(terms, UtilityRound.load(folder / "utility.json"))
        rows.add("verify_utilities", [took], size, proofs=count, scores=decision.scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("estimate", "prove"))
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=16, help="of the MLP 64-hidden-10")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="played before the one that is scored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=50, help="seeds of the sampled orders (estimate)")
    parser.add_argument("--score", default="utility:loo")
    parser.add_argument("--workers", type=int, action="append", help="prove with so many at a time; may be repeated")
    parser.add_argument("--scheduler", help="prove on a Dask cluster")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    names = ("trainers", "hidden", "batch", "rounds", "seed")
    rows = Rows({name: getattr(arguments, name) for name in names} | machine())
    {"estimate": estimate, "prove": prove}[arguments.step](arguments, rows, quiet if arguments.json else say)


if __name__ == "__main__":
    main()
