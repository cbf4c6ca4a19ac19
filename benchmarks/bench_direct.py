"""What does the plain round circuit cost beside the folded path, for the same round?

    python -m benchmarks.bench_direct --params 1210 --params 10000 --json

For each D one round of N similar updates of one chunk, proven both ways in one run: by the folded path (base and
settlement proof, as `zkmarket prove` makes them) and by the direct circuit, with its sum committed or opened. Both
decide the same, or the run fails. A value has as many bits as the direct circuit's table allows, 13 at most. Each row
has the rows of all its circuits, and K. A direct proof that needs more than --limit seconds or more memory than
--memory is stopped and reported as such; so is one whose circuit needs more than 2^20 rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from benchmarks.measure import Measured, Rows, machine, measured, say
from zkmarket import backend
from zkmarket.backend import proofs, srs
from zkmarket.build import MAX_LOGROWS, ROWS, Build, Columns, Spec, make_build
from zkmarket.build.statements import VALUE_BITS, table_bound
from zkmarket.errors import BackendError, BackendTimeout, DomainError, ZkmarketError
from zkmarket.progress import quiet
from zkmarket.round import (
    Commitment,
    Decision,
    Outcome,
    RoundId,
    Submission,
    direct,
    open_with_fresh_salts,
    prove_round,
    verify_round,
)
from zkmarket.round.commitment import commit
from zkmarket.rules import SCORES, Filter

ROUND = RoundId(31337, 1, 1)
MOST_ROWS = 1 << MAX_LOGROWS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--params", type=int, action="append", help="default: 1210 and 10000")
    parser.add_argument("--score", choices=SCORES, default="shapley")
    parser.add_argument("--output", choices=direct.OUTPUTS, action="append", help="default: both")
    parser.add_argument("--repeat", type=int, default=1, help="runs; the median is reported")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one direct proof may take")
    parser.add_argument("--memory", type=float, default=24, help="GB that the process tree may take")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = quiet if arguments.json else say
    for params in arguments.params or [1210, 10_000]:
        with tempfile.TemporaryDirectory(prefix="zkmarket-bench-") as name:
            bench(arguments, params, Path(name), tell)


def direct_logrows(n: int, d: int, rule: Filter, score: str) -> int:
    """The smallest K whose chunk holds D and whose blocks of columns hold all comparisons."""
    for logrows in ROWS:
        if d <= Columns(logrows).values:
            try:
                direct.round_statement(logrows, n, d, d * table_bound(logrows) ** 2, rule, score, "committed")
            except DomainError:
                continue
            return logrows
    sys.exit(f"no direct round of {n} trainers and {d} parameters up to 2^{MAX_LOGROWS} rows")


def bench(arguments: argparse.Namespace, d: int, folder: Path, tell: Callable[[str], None]) -> None:
    n, rule = arguments.trainers, Filter.krum(arguments.trainers)
    logrows = direct_logrows(n, d, rule, arguments.score)
    rows = Rows({"trainers": n, "params": d} | machine())
    bits = min(VALUE_BITS, logrows - 1)
    own = make_build(Spec(n, d, rule, arguments.score, bits), srs.generate(), folder / "own", tell)
    if own.manifest.logrows != logrows:
        folded(arguments, rows, own, submit(own), "folded_own_logrows", tell)
    made = make_build(Spec(n, d, rule, arguments.score, bits, logrows=logrows), srs.generate(), folder / "build", tell)
    submissions = submit(made)
    decision = folded(arguments, rows, made, submissions, "folded", tell)

    for output in arguments.output or direct.OUTPUTS:
        try:
            plain(arguments, rows, made, submissions, output, decision, tell)
        except ZkmarketError as error:
            row = {"step": f"direct_{output}", **rows.common, "failed": f"{type(error).__name__}: {error}"[:300]}
            rows.rows.append(row)
            print(json.dumps(row), flush=True)


def folded(
    arguments: argparse.Namespace,
    rows: Rows,
    made: Build,
    submissions: list[Submission],
    step: str,
    tell: Callable[[str], None],
) -> Decision:
    """The round by the folded path: all that an aggregator does after admission, but for reading files."""
    manifest, runs = made.manifest, []
    for _ in range(arguments.repeat):
        tell(f"{step}, 2^{manifest.logrows} rows")
        with measured() as took:
            proof, _ = prove_round(made, submissions)
        runs.append(took)
    size = len(proof.base.proof.data) + len(proof.base.z) + len(proof.settlement.data)
    compiled = sum(circuit["rows"] for circuit in manifest.value["circuits"].values())
    about = {"logrows": manifest.logrows, "settlement_logrows": manifest.settlement_logrows, "chunks": manifest.chunks}
    rows.add(step, runs, size, rows=compiled, **about)
    with measured() as took:
        decision = verify_round(made, proof)
    rows.add(f"{step}_verify", [took], size, logrows=manifest.logrows)
    return decision


def submit(made: Build) -> list[Submission]:
    """N similar updates; values do not change any cost."""
    rng, d = np.random.default_rng(0), made.manifest.params
    common = rng.integers(-60, 61, d)
    out = []
    for trainer in range(made.manifest.trainers):
        opening = open_with_fresh_salts((common + rng.integers(-60, 61, d)).astype(np.int32), made.manifest)
        out.append(Submission(Commitment(ROUND, trainer, commit(made, opening)), opening))
    return out


def plain(
    arguments: argparse.Namespace,
    rows: Rows,
    made: Build,
    submissions: list[Submission],
    output: str,
    decision: Decision,
    tell: Callable[[str], None],
) -> None:
    """The direct proof of the same round; fails unless it decides what the folded path decided."""
    openings, commitments = [s.opening for s in submissions], [s.commitment for s in submissions]
    beta = made.manifest.beta_max
    with generous_deadline(arguments.limit), Watch(arguments) as watch:
        with measured() as took:
            keys = direct.round_keys(made, output, tell)
        watch.check(took)
        compiled = json.loads(keys.files.settings.read_text())["num_rows"]
        about = {
            "logrows": made.manifest.logrows,
            "rows": compiled,
            "blocks": backend.blocks_of(compiled, made.manifest.logrows),
        }
        if compiled > MOST_ROWS:
            raise DomainError(f"the circuit has {compiled} rows, wanted at most 2^{MAX_LOGROWS}")
        size = keys.files.pk.stat().st_size
        rows.add(f"direct_{output}_keys", [took], size, **about, note="layout; keys and a sample proof if not cached")
        runs, proof = [], None
        for _ in range(arguments.repeat):
            tell(f"direct, {output}")
            with measured() as took:
                proof, _ = direct.prove_direct_round(keys, openings, commitments)
            watch.check(took)
            runs.append(took)
    assert proof is not None
    rows.add(f"direct_{output}", runs, len(proof.data), instances=len(proof.instances), **about)
    with measured() as took:
        proven = direct.verify_direct_round(keys, commitments, beta, proof)
    rows.add(f"direct_{output}_verify", [took], len(proof.data), logrows=made.manifest.logrows)
    if proven.outcome != Outcome(decision.mask, decision.scores, decision.nu):
        sys.exit("the direct round and the folded path decide differently")
    if proven.point is not None and (proven.point,) != decision.aggregate:
        sys.exit("the direct round and the folded path have different aggregates")


class generous_deadline:  # noqa: N801 (a context)
    """While keys are made the sample proof has the deadline of one block of columns; a direct circuit has many."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __enter__(self) -> None:
        self.kept = backend.deadline
        proofs.deadline = lambda logrows: self.seconds

    def __exit__(self, *_: object) -> None:
        proofs.deadline = self.kept


class Watch:
    """Stops this benchmark's own children when they take too much memory; `check` says so, and when time was up."""

    def __init__(self, arguments: argparse.Namespace):
        self.limit, self.memory = arguments.limit, arguments.memory * 1e9
        self.done = threading.Event()
        self.over = 0.0

    def __enter__(self) -> Watch:
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def watch(self) -> None:
        me = psutil.Process()
        while not self.done.wait(0.2):
            children = me.children(recursive=True)
            try:
                total = sum(one.memory_info().rss for one in [me, *children])
            except psutil.NoSuchProcess:
                continue
            if total > self.memory:
                self.over = total
                for child in children:
                    child.kill()
                time.sleep(1)

    def check(self, took: Measured) -> None:
        if self.over:
            raise BackendError(f"stopped at {self.over / 1e9:.1f} GB")
        if took.seconds > self.limit:
            raise BackendTimeout(f"took {took.seconds:.0f} s, wanted at most {self.limit:.0f}")


if __name__ == "__main__":
    main()
