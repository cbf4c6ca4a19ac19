"""What does each step of one round cost, and who pays it?

    python -m benchmarks.bench_round --trainers 10 --params 100000 --filter multi-krum:f=3,m=7 --json

Each trainer's update is random but similar to the others'; values do not change any cost. The aggregator's
total runs in a fresh process, from the trainers' files to the files of the round proof, as `zkmarket
prove` does after admission. Peak memory is of the process tree.
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
from zkmarket import aggregator, auditor, backend, gram, settlement, srs
from zkmarket.aggregator import Submission
from zkmarket.artifacts import Build
from zkmarket.build import Spec, build
from zkmarket.commitment import (
    COMMITMENT_FILE,
    OPENING_FILE,
    Commitment,
    RoundId,
    commit,
    open_with_fresh_salts,
    prove_range,
)
from zkmarket.contribution import SCORES
from zkmarket.files import write_json
from zkmarket.quantise import quantise
from zkmarket.round import RoundProof, start_transcript
from zkmarket.rules import Filter

ROUND = RoundId(31337, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=10)
    parser.add_argument("--params", type=int, default=100_000)
    parser.add_argument("--logrows", type=int, help="default: the cost model's choice")
    parser.add_argument("--optimize", choices=("time", "gas"), default="time")
    parser.add_argument("--filter", help="as `zkmarket build` takes it; default its default")
    parser.add_argument("--score", choices=SCORES, default="shapley")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the short steps; the median is reported")
    parser.add_argument("--skip", action="append", default=[], choices=("range",), help="leave a step out")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = backend.quiet if arguments.json else say
    with tempfile.TemporaryDirectory(prefix="zkmarket-bench-") as name:
        bench(arguments, Path(name), tell)


def bench(arguments: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> None:
    n, d, repeat = arguments.trainers, arguments.params, arguments.repeat
    rule = Filter.parse(arguments.filter) if arguments.filter else Filter.default(n)
    spec = Spec(n, d, rule, arguments.score, logrows=arguments.logrows, optimize=arguments.optimize)
    with measured() as took:
        made = build(spec, srs.generate(), folder / "build", tell)
    manifest = made.manifest
    about = {"trainers": n, "params": d, "filter": str(rule), "logrows": manifest.logrows, "chunks": manifest.chunks}
    rows = Rows(about | machine())
    rows.add("build", [took], note="keys come from the cache if they are there")

    updates = folder / "updates"
    commit_runs, range_runs, admit_runs = [], [], []
    rng = np.random.default_rng(0)
    common = rng.normal(scale=0.02, size=d)
    for trainer in range(n):
        floats = np.clip(common + rng.normal(scale=0.02, size=d), -0.9, 0.9)
        with measured() as took:
            values = quantise(floats, manifest.fixed_point).values
            opening = open_with_fresh_salts(values, manifest)
            points = commit(made, opening)
        commit_runs.append(took)
        proofs = ()
        if "range" not in arguments.skip:
            tell(f"range proofs of trainer {trainer}")
            with measured() as took:
                chunks = list(range(manifest.chunks))
                proofs = tuple(proof for _, proof in prove_range(made, opening, ROUND, trainer, chunks))
            range_runs.append(took)
        commitment = Commitment(ROUND, trainer, points, proofs)
        place = updates / f"trainer-{trainer:04d}"
        opening.save(folder / "opening.npz")
        place.mkdir(parents=True)
        (folder / "opening.npz").rename(place / OPENING_FILE)
        write_json(place / COMMITMENT_FILE, commitment.to_json())
        if proofs:
            with measured() as took:
                auditor.verify_range(made, commitment)
            admit_runs.append(took)
    rows.add("commit_one_trainer", commit_runs, 64 * manifest.chunks)
    if range_runs:
        size = sum(len(proof.data) for proof in proofs)
        median = sorted(run.seconds for run in range_runs)[len(range_runs) // 2]
        rows.add("range_one_trainer", range_runs, size, ms_per_value=round(1000 * median / d, 4))
        rows.add("admit_one_trainer", admit_runs, size)

    steps(rows, made, aggregator.load_submissions(made, updates), repeat, tell)

    totals, round_file = [], folder / "round.json"
    for _ in range(repeat):
        tell("aggregator, from files to round proof, in a fresh process")
        totals.append(in_fresh_process(made.folder, updates, round_file))
    rows.add("aggregator_total", totals, round_file.stat().st_size)

    verified = auditor.verify_round if range_runs else auditor.verify_settlement
    runs = []
    for _ in range(repeat):
        with measured() as took:
            checked = Build.load(made.folder)
            verified(checked, RoundProof.load(round_file, checked.manifest))
        runs.append(took)
    rows.add("verify", runs, round_file.stat().st_size, range_proofs=n * manifest.chunks if range_runs else 0)


def steps(rows: Rows, made: Build, submissions: list[Submission], repeat: int, tell: Callable[[str], None]) -> None:
    """The aggregator's parts one by one."""
    manifest = made.manifest
    openings = [s.opening for s in submissions]
    commitments = [s.commitment for s in submissions]
    points = [c.points for c in commitments]
    native, based, settled = [], [], []
    for _ in range(repeat):
        with measured() as took:
            mask = gram.Mask.fresh(made)
            mask_points = mask.commit(made)
            matrix = gram.matrix(openings, mask, manifest.chunk)
            committed = settlement.commit_gram(made, matrix)
            transcript = start_transcript(manifest, ROUND, manifest.beta_max, commitments, mask_points, committed.point)
            r = transcript.slot_challenges(len(openings) + 1)
            q = settlement.combined(matrix, r)
            _, job = gram.prove_job(made, openings, points, mask, mask_points, transcript, q)
        native.append(took)
        tell("gram proof")
        with measured() as took:
            base = backend.prove([job])[0]
        based.append(took)
        tell("settlement proof")
        with measured() as took:
            proof = backend.prove([settlement.prove_job(made, committed, r, manifest.beta_max)])[0]
        settled.append(took)
    rows.add("gram_native", native)
    rows.add("gram_proof", based, len(base.data))
    rows.add("settlement_proof", settled, len(proof.data), settlement_logrows=manifest.settlement_logrows)


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
    proof, total = aggregator.prove_round(made, aggregator.load_submissions(made, updates))
    total.save(output.with_suffix(".aggregate.npz"))
    proof.save(output)


if __name__ == "__main__":
    main()
