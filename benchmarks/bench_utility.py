"""What does the proof of one coalition's utility cost: compile, prove, verify?

    python -m benchmarks.bench_utility --model linear --model mlp --model cnn --json

Models on scikit-learn's digits, trained for a moment so that scales are judged on a model that means something:
`linear` (64 → 10), `mlp` (64 → 16 → 10), `cnn` (two convolutions with pooling and two dense layers: 58,558 parameters).
A model that carries salts, as one of a coalition does.
Keys come from the cache if they are there: the row of compile says what it took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Rows, machine, measured, say
from zkmarket import backend, utility
from zkmarket.backend import Proof, srs
from zkmarket.chain import compile_verifier, development_chain, encoded
from zkmarket.crypto import random_scalars
from zkmarket.progress import quiet
from zkmarket.round import Theta
from zkmarket.utility import Method, OnChain, Options, UtilityBuild, compile_model

TRAINERS = 8
HERE = "benchmarks.bench_utility"
MODELS = {"linear": f"{HERE}:linear", "mlp": "zkmarket.learning:digits_mlp,hidden=16", "cnn": f"{HERE}:cnn"}
BATCHES = {"linear": 64, "mlp": 64, "cnn": 16}


def linear() -> Any:
    from torch import nn

    return nn.Linear(64, 10)


def cnn() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 764),
        nn.ReLU(),
        nn.Linear(764, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append", help="default: linear and mlp")
    parser.add_argument("--batch", type=int, help="default: 64, for cnn 16")
    parser.add_argument("--logrows", type=int, help="default: as zkmarket build would choose")
    parser.add_argument("--repeat", type=int, default=1, help="runs; the median is reported")
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = quiet if arguments.json else say
    for model in arguments.model or ["linear", "mlp"]:
        with tempfile.TemporaryDirectory(prefix="zkmarket-bench-") as name:
            bench(arguments, model, Path(name), tell)


def trained(model: str, folder: Path) -> tuple[Path, Path]:
    """Parameters after a moment of training on the digits, and the rest of the digits as validation data."""
    import torch
    from sklearn.datasets import load_digits

    from zkmarket.learning import load_model

    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    torch.manual_seed(0)
    net = load_model(MODELS[model])
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(x[:1200])), torch.tensor(y[:1200])).backward()
        optimiser.step()
    theta, data = folder / "theta.npz", folder / "validation.npz"
    np.savez(theta, **{name: tensor.numpy() for name, tensor in net.state_dict().items()})
    np.savez(data, x=x[1200:], y=y[1200:])
    return theta, data


def bench(arguments: argparse.Namespace, model: str, folder: Path, tell: Callable[[str], None]) -> None:
    batch = arguments.batch or BATCHES[model]
    theta_file, data = trained(model, folder)
    rows = Rows({"model": model, "batch": batch, "trainers": TRAINERS} | machine())
    options = Options(MODELS[model], str(data), TRAINERS, batch=batch, theta=theta_file, logrows=arguments.logrows)
    with measured() as run:
        made = compile_model(replace(options, salts=32), srs.generate(), folder / "build", tell)
    build, report = made.build, made.report()
    keep: tuple[str, ...] = (
        "parameters",
        "chunks",
        "logrows",
        "rows",
        "accuracy",
        "float_accuracy",
        "mean_loss",
        "float_mean_loss",
    )
    keep += ("verifier_bytes", "coalition_gas", "on_chain")
    rows.add("compile", [run], sum(f.stat().st_size for f in build.folder.rglob("*")), **{k: report[k] for k in keep})

    theta = build.layout.flatten(dict(np.load(theta_file))).astype(np.float32)
    samples = np.load(data)
    validation = utility.commit_validation(build, samples["x"][:batch], samples["y"][:batch])
    given = model_of(build, theta)
    common = {"rows": build.value["circuit"]["rows"], "logrows": build.logrows, "parameters": build.params}
    proofs, runs = [], []
    for _ in range(arguments.repeat):
        with measured() as run:
            proofs.append(utility.prove_utility(build, given, validation, b"\1" * 32, tell))
        runs.append(run)
    rows.add("prove", runs, len(proofs[0].proof.data), **common)

    points = utility.theta_points(build, given)
    runs = []
    for proof in proofs:
        with measured() as run:
            found = utility.verify_utility(build, proof, points, validation.points, b"\1" * 32)
        runs.append(run)
    if found != utility.utility(build, given, validation):
        sys.exit("the proof says something else than the oracle")
    rows.add("verify", runs, len(proofs[0].proof.data), **common)
    if report["on_chain"]:
        with measured() as run:
            there = on_chain(build, proofs[0].proof)
        rows.add("on chain", [run], len(proofs[0].proof.data), **common | there)


def on_chain(build: UtilityBuild, proof: Proof) -> dict[str, Any]:
    """The verifier's bytes, and the gas of a transaction that calls it; of the call alone, without 21,000 and calldata,
    of which a contract builds the instances itself."""
    verifier = compile_verifier(backend.verifier_source(build.files))
    with development_chain(accounts=1) as chain:
        who = chain.accounts[0]
        there = chain.deploy_verifier(verifier, who)
        data = encoded(there.verifyProof, proof.data, list(proof.instances))
        done = chain.transact("verifying a proof", who, there.address, data)
        calldata = sum(16 if byte else 4 for byte in data)
    estimate = OnChain.of(build.plan, Method("loo"), TRAINERS)
    gas = int(done["gasUsed"])
    return {"verifier_bytes": len(verifier.runtime), "gas": gas, "proof_gas": gas - 21_000 - calldata} | {
        "estimated_bytes": estimate.verifier_bytes,
        "estimated_proof_gas": estimate.proof_gas,
    }


def model_of(build: UtilityBuild, theta: np.ndarray) -> Theta:
    """The model as integers, with salts."""
    salts = random_scalars(build.chunks * build.salts).reshape(build.chunks, build.salts, 32)
    return Theta(build.quantise_theta(theta), salts, build.theta_bits)


if __name__ == "__main__":
    main()
