"""What does each step of one round cost, and who pays it?

    python -m benchmarks.bench_round --trainers 10 --params 100000 --filter multi-krum:f=3,m=7 --json

Each trainer's update is a file of its own; values do not change any cost. They are random but similar to the others',
or with --uniform anything in [−Q, Q). The aggregator's total runs in a fresh process, from the trainers' files to the
files of the round proof, as `zkmarket prove` does after admission. Peak memory is of the process tree.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import Measured, Rows, machine, measured, say
from zkmarket import backend
from zkmarket.backend import srs
from zkmarket.build import Build, Spec, make_build
from zkmarket.progress import quiet
from zkmarket.round import (
    Digits,
    RoundId,
    RoundProof,
    Submission,
    admit,
    base,
    commit_update,
    gram,
    load_submission,
    load_submissions,
    prove_round,
    settlement,
    start_transcript,
    verify_round,
)
from zkmarket.rules import SCORES, Filter
from zkmarket.updates import FixedPoint, load_update

ROUND = RoundId(31337, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=10)
    parser.add_argument("--params", type=int, default=100_000)
    parser.add_argument("--logrows", type=int, help="default: the cost model's choice")
    parser.add_argument("--optimize", choices=("time", "gas"), default="time")
    parser.add_argument("--filter", help="as `zkmarket build` takes it; default its default")
    parser.add_argument("--score", choices=SCORES, default="shapley")
    parser.add_argument("--uniform", action="store_true", help="updates uniform in [−Q, Q)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the aggregator's work; the median is reported")
    parser.add_argument("--admissions", type=int, default=1 << 16, help="check only so many updates, at least one")
    parser.add_argument("--skip", action="append", default=[], choices=("steps",), help="leave a part out")
    parser.add_argument("--folder", type=Path, help="where the updates go; default a temporary folder")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = quiet if arguments.json else say
    with tempfile.TemporaryDirectory(prefix="zkmarket-bench-", dir=arguments.folder) as name:
        bench(arguments, Path(name), tell)


def bench(arguments: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> None:
    n, d, repeat = arguments.trainers, arguments.params, arguments.repeat
    rule = Filter.parse(arguments.filter) if arguments.filter else Filter.default(n)
    spec = Spec(n, d, rule, arguments.score, logrows=arguments.logrows, optimize=arguments.optimize)
    with measured() as took:
        made = make_build(spec, srs.generate(), folder / "build", tell)
    manifest = made.manifest
    about = {"trainers": n, "params": d, "filter": str(rule), "logrows": manifest.logrows, "chunks": manifest.chunks}
    rows = Rows(about | machine())
    rows.add("build", [took], note="keys come from the cache if they are there")

    updates = folder / "updates"
    commit_runs, admit_runs = [], []
    for trainer in range(n):
        tell(f"trainer {trainer + 1} of {n}")
        floats = folder / "update.npy"
        write_update(floats, trainer, d, manifest.fixed_point, arguments.uniform)
        place = updates / f"trainer-{trainer:04d}"
        with measured() as took:
            commit_update(made, load_update(floats), place, trainer + 1, ROUND)
        commit_runs.append(took)
        floats.unlink()
        if trainer < arguments.admissions:
            submission = load_submission(made, place)
            with measured() as took:
                admit(made, submission)
            admit_runs.append(took)
    rows.add("commit_one_trainer", commit_runs, 64 * manifest.chunks)
    rows.add("admit_one_trainer", admit_runs, 64 * manifest.chunks)

    if "steps" not in arguments.skip:
        steps(rows, made, load_submissions(made, updates), repeat, tell)

    totals, round_file = [], folder / "round.json"
    for _ in range(repeat):
        tell("aggregator, from files to round proof, in a fresh process")
        totals.append(in_fresh_process(made.folder, updates, round_file))
    proof = RoundProof.load(round_file, manifest)
    rows.add("aggregator_total", totals, on_chain_bytes(proof), file_bytes=round_file.stat().st_size)

    runs = []
    for _ in range(repeat):
        with measured() as took:
            checked = Build.load(made.folder)
            verify_round(checked, RoundProof.load(round_file, checked.manifest))
        runs.append(took)
    rows.add("verify", runs, on_chain_bytes(proof))


def write_update(path: Path, trainer: int, params: int, fixed_point: FixedPoint, uniform: bool) -> None:
    """A file of float32."""
    rng = np.random.default_rng(1 + trainer)
    if uniform:
        integers = rng.integers(fixed_point.low, fixed_point.high + 1, params, dtype=np.int32)
        np.save(path, np.ldexp(integers.astype(np.float32), -fixed_point.scale_bits))
        return
    common = np.random.default_rng(0).normal(scale=0.02, size=params)
    np.save(path, np.clip(common + rng.normal(scale=0.02, size=params), -0.9, 0.9).astype(np.float32))


def on_chain_bytes(proof: RoundProof) -> int:
    """Of the proof as a contract takes it: points, claims, z and both proofs, in their own bytes."""
    points = len(proof.mask_points) + len(proof.projection_points) + 1
    points += sum(len(commitment.points) for commitment in proof.commitments)
    numbers = 3 + 2 * len(proof.base.claims) + 2 * len(proof.base.rounds)  # q, t_0, o_2
    decided = 1 + len(proof.commitments)  # mask, scores, ν
    sent = 64 * points + 32 * (numbers + decided + 1) + len(proof.base.z)
    return sent + len(proof.base.proof.data) + len(proof.settlement.data)


def steps(rows: Rows, made: Build, submissions: list[Submission], repeat: int, tell: Callable[[str], None]) -> None:
    """The aggregator's parts one by one."""
    manifest = made.manifest
    openings = [s.opening for s in submissions]
    trainers = [s.commitment.trainer for s in submissions]
    beta = manifest.beta_max
    masked, multiplied, native, based, settled = [], [], [], [], []
    for _ in range(repeat):
        with measured() as took:
            attempt = base.Attempt.fresh(made)
        masked.append(took)
        with measured() as took:
            digits = [Digits.of(opening.values) for opening in openings]
            products = gram.Products.of(digits, attempt.mask, manifest.chunk, manifest.chunks)
            matrix = products.gram()
        multiplied.append(took)
        with measured() as took:
            committed = settlement.commit_gram(made, matrix)
            slots = tuple(s.commitment.points for s in submissions)
            points = base.Points(slots, attempt.mask_points, attempt.projection_points)
            transcript = start_transcript(manifest, ROUND, beta, trainers, points, committed.point)
            r = transcript.slot_challenges(manifest.slots)
            q = settlement.combined(matrix, r)
            unproven = base.prove_job(
                made, base.Slots(openings, digits, products, points), attempt, transcript, r, q, tell
            )
        native.append(took)
        tell("base proof")
        with measured() as took:
            proof = backend.prove([unproven.job])[0]
        based.append(took)
        tell("settlement proof")
        with measured() as took:
            last = backend.prove([settlement.prove_job(made, committed, r, beta)])[0]
        settled.append(took)
    rows.add("masks", masked)
    rows.add("inner_products", multiplied)
    rows.add("projection_and_folds", native)
    rows.add("base_proof", based, len(proof.data))
    rows.add("settlement_proof", settled, len(last.data), settlement_logrows=manifest.settlement_logrows)


def in_fresh_process(folder: Path, updates: Path, output: Path) -> Measured:
    """The aggregator's whole work; measured from outside, so that imports and loading count."""
    process = multiprocessing.get_context("spawn").Process(target=aggregate, args=(folder, updates, output))
    with measured() as took:
        process.start()
        process.join()
    if process.exitcode:
        sys.exit(f"the aggregator failed with exit code {process.exitcode}")
    took.peak_rss_mb -= took.start_rss_mb  # of the children only
    return took


def aggregate(folder: Path, updates: Path, output: Path) -> None:
    made = Build.load(folder, prover=True)
    proof, total = prove_round(made, load_submissions(made, updates))
    if total is not None:  # fewer than three accepted: it is withheld
        total.save(output.with_suffix(".aggregate.npz"))
    proof.save(output)


if __name__ == "__main__":
    main()
