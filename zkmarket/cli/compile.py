"""The verb `compile`: from a model to the circuit that scores coalitions by its loss."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backend import srs
from ..errors import InputError
from ..progress import Progress
from ..utility import SUPPORTED
from .options import MODEL, add_srs
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "compile",
        compile_verb,
        "make the circuit that scores coalitions of trainers by a model's own loss",
        "zkmarket compile zkmarket.learning:digits_mlp --data zkmarket.learning:digits --build BUILD -o COMPILED",
        "`zkmarket prove` and `zkmarket verify` take it as --utility. Options of updates must be those of the build:"
        " --build takes them from it.",
    )
    parser.add_argument("model", metavar=MODEL, help=f"the model, of these operators of ONNX: {SUPPORTED}")
    parser.add_argument(
        "--output-name", metavar="NAME", help="the ONNX file's output with a score for each class, if it has several"
    )
    parser.add_argument(
        "--build",
        type=Path,
        metavar="BUILD",
        help="the build whose rounds are scored: trainers, K, scale and salts are as it has them",
    )
    parser.add_argument(
        "--data", metavar="FILE.npz|package.module:callable", help="validation data, x and y, to measure the loss on"
    )
    parser.add_argument(
        "--loss", choices=("cross-entropy", "mse"), default="cross-entropy", help="loss of the model (cross-entropy)"
    )
    parser.add_argument("--batch", type=int, default=64, metavar="COUNT", help="samples that a proof is about (64)")
    parser.add_argument("--trainers", type=int, metavar="N", help="trainers of a round")
    parser.add_argument(
        "--like", type=Path, metavar="COMPILED", help="instead: make this one again from your own model, and compare"
    )
    parser.add_argument("--value-bits", type=int, metavar="BITS", help="bits of an update's value, as in build (13)")
    parser.add_argument(
        "--scale-bits", type=int, metavar="BITS", help="scale of an update's values, as in build (value bits − 1)"
    )
    parser.add_argument(
        "--theta-bits",
        type=int,
        metavar="RHO",
        help="the model's scale is 2^RHO times the updates', as in the project (by trainers, for a learning rate of 1)",
    )
    parser.add_argument(
        "--logrows",
        type=int,
        metavar="K",
        help="rows of the updates' circuits, 2^K, as in build (its choice)",
    )
    parser.add_argument("--salts", type=int, metavar="S", help="salts of a chunk, as in build (8)")
    parser.add_argument(
        "--proofs", type=int, default=64, metavar="COUNT", help="proofs, at most, that may use one batch (64)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        metavar="X",
        help="how far accuracy and loss may be from the float model's (0.01)",
    )
    parser.add_argument(
        "--theta", type=Path, metavar="FILE", help="parameters to choose the model's scales by (its own)"
    )
    parser.add_argument(
        "--theta-bound",
        type=float,
        metavar="X",
        help="largest parameter allowed (8, or 4 times the model's largest, or with --build how far a round moves it)",
    )
    parser.add_argument(
        "--commit",
        type=Path,
        metavar="FILE",
        help="also commit to the first samples: FILE.npz for the prover, FILE.public.npz for everybody",
    )
    add_srs(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="COMPILED", help="folder to make")


def compile_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..utility import Options, commit_batch, compile_again, compile_model

    if arguments.like:
        ceremony, name = srs.select(arguments.srs), arguments.output_name
        again = compile_again(arguments.model, arguments.like, ceremony, arguments.output, progress, name)
        result = {"digest": again.value["digest"], "folder": str(arguments.output), "insecure": again.insecure}
        return result, f"{arguments.like} is a build of {arguments.model}: digest {again.value['digest']}"
    if arguments.data is None or (arguments.trainers is None and arguments.build is None):
        raise InputError("compile needs --data and --trainers, --data and --build, or --like COMPILED")
    options = Options(
        model=arguments.model,
        data=arguments.data,
        trainers=arguments.trainers,
        output=arguments.output_name,
        build=arguments.build,
        loss=arguments.loss,
        batch=arguments.batch,
        value_bits=arguments.value_bits,
        scale_bits=arguments.scale_bits,
        theta_bits=arguments.theta_bits,
        logrows=arguments.logrows,
        salts=arguments.salts,
        proofs=arguments.proofs,
        tolerance=arguments.tolerance,
        theta=arguments.theta,
        theta_bound=arguments.theta_bound,
    )
    compiled = compile_model(options, srs.select(arguments.srs), arguments.output, progress)
    result = compiled.report() | {"folder": str(arguments.output)}
    if arguments.commit:
        result["validation"] = [str(path) for path in commit_batch(compiled.build, arguments.data, arguments.commit)]
    lines = [
        f"{result['parameters']} parameters in {result['chunks']} chunks, batch of {result['batch']}:"
        f" {result['rows']} rows of 2^{result['logrows']}, proof {result['proof_bytes']} bytes",
        f"  accuracy {result['accuracy']:.4f} (float {result['float_accuracy']:.4f}), mean loss"
        f" {result['mean_loss']:.4f} (float {result['float_mean_loss']:.4f}), in units of {result['loss_unit']:.3g}",
        f"  a proof takes about {result['expected_seconds']} s on 2 cores and {result['expected_memory_gb']} GB",
        result.get("advice")
        or f"  on chain: verifier {result['verifier_bytes'] / 1000:.1f} kB, {result['coalition_gas'] / 1e6:.2f}M gas a"
        f" coalition, {result['round_gas'] / 1e6:.1f}M a round of utility:loo, estimated",
        f"  digest {result['digest']}",
        *(f"  validation batch: {path}" for path in result.get("validation", [])),
    ]
    if compiled.build.insecure:
        lines.append(f"  {srs.WARNING}")
    return result, "\n".join(lines)
