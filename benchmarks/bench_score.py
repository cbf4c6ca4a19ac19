"""What does a round cost that is paid by the model's own loss: gas of every transaction, seconds of every proof?

    python -m benchmarks.bench_score --model mlp --trainers 8 --json

A real round on anvil of digits models, leave-one-out: submissions, the settlement, one proof a coalition. Two rows:
`round`, with what comes before the losses, and `losses`. Updates are small and random: who gets how much is not the
question here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.bench_utility import BATCHES, MODELS, trained
from benchmarks.measure import Rows, machine, measured, say
from tests.contracts.real_losses import compiled, opened, proven
from zkmarket.chain import Chain, development_chain
from zkmarket.progress import Progress, quiet
from zkmarket.utility import Method, OnChain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[name for name in MODELS if name != "cnn"], default="mlp")
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--batch", type=int, help="default: 64")
    parser.add_argument("--logrows", type=int, help="default: as zkmarket build would choose")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = quiet if arguments.json else say
    with tempfile.TemporaryDirectory(prefix="zkmarket-bench-") as name, development_chain(accounts=40) as chain:
        bench(arguments, Path(name), chain, tell)


def bench(arguments: argparse.Namespace, folder: Path, chain: Chain, tell: Progress) -> None:
    n, batch = arguments.trainers, arguments.batch or BATCHES[arguments.model]
    _, data = trained(arguments.model, folder)
    tell("compiling the model")
    own = compiled(folder, n, MODELS[arguments.model], str(data), batch, logrows=arguments.logrows)
    steps = [np.random.default_rng(i).integers(-40, 41, own.build.manifest.params) for i in range(n)]
    project = opened(chain, own, steps)
    rows = Rows({"model": arguments.model, "batch": batch, "trainers": n} | machine())
    submissions = project.to_prove()
    submit = project.receipts["submit"].gas
    with measured() as run:
        proof, _ = project.prove(submissions)
    settle = project.settle(proof).gas
    before = {name: project.receipts[name].gas for name in ("start", "admit", "lock")}
    rows.add("round", [run], len(proof.settlement.data), submit=submit, settle=settle, **before)
    tell("proving the losses")
    with measured() as run:
        losses = proven(project, submissions, proof)
    gas = [losses.send(coalition).gas for coalition in losses.proofs]
    estimate = OnChain.of(own.model.plan, Method("loo"), n)
    rows.add(
        "losses",
        [run],
        len(next(iter(losses.proofs.values()))),
        proofs=len(gas),
        coalition_gas=int(statistics.median(gas)),
        first_and_last=[gas[0], gas[-1]],
        losses_gas=sum(gas),
        round_gas=n * submit + sum(before.values()) + settle + sum(gas),
        estimated_coalition_gas=estimate.coalition_gas,
        verifier_bytes=estimate.verifier_bytes,
    )


if __name__ == "__main__":
    main()
