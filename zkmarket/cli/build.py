"""Verbs that make circuits: build, compile."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backend import srs
from ..build import Spec, make_build
from ..errors import InputError
from ..learning import layout_of
from ..progress import Progress
from ..rules import SIGMA, SIGMA_TRAINERS, Filter
from ..updates import ParameterLayout
from ..utility import SUPPORTED
from .output import Answer
from .utility import score_and_salts


def build_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    layout = _layout(arguments.model) if arguments.model else None
    n = arguments.trainers
    score, salts = score_and_salts(arguments.score, arguments.salts, n)
    spec = Spec(
        trainers=n,
        params=layout.size if layout else arguments.params,
        filter=Filter.parse(arguments.filter) if arguments.filter else Filter.default(n),
        score=score,
        salts=salts,
        value_bits=arguments.value_bits,
        scale_bits=arguments.scale_bits,
        logrows=None if arguments.logrows == "auto" else _integer(arguments.logrows, "--logrows"),
        optimize=arguments.optimize,
        beta_max=arguments.beta_max,
        layout=layout,
        most_trainers=arguments.most_trainers,
    )
    made = make_build(spec, srs.select(arguments.srs), arguments.output, progress)
    manifest = made.manifest
    result = manifest.value
    lines = [
        f"build of {manifest.params} parameters, {manifest.trainers} trainers, {manifest.filter}, {manifest.score}",
        f"  logrows {manifest.logrows}: {manifest.chunks} chunks of {manifest.chunk} values in "
        f"[−{manifest.bound}, {manifest.bound}); settlement at logrows {manifest.settlement_logrows}",
        *(
            f"  {name}: {entry['rows']} rows in {entry['blocks']} blocks, proof {entry['proof_bytes']} bytes,"
            f" vk {entry['files']['vk.key'][:16]}"
            for name, entry in result["circuits"].items()
        ),
        f"  manifest digest {result['digest']}",
    ]
    if manifest.insecure:
        lines.append(f"  {srs.WARNING}")
    return {key: value for key, value in result.items() if key != "layout"} | {
        "folder": str(arguments.output)
    }, "\n".join(lines)


def compile_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..utility import Options, commit_batch, compile_again, compile_model

    if arguments.like:
        ceremony, name = srs.select(arguments.srs), arguments.output_name
        again = compile_again(arguments.model, arguments.like, ceremony, arguments.output, progress, name)
        result = {"digest": again.value["digest"], "folder": str(arguments.output), "insecure": again.insecure}
        return result, f"{arguments.like} is a build of {arguments.model}: digest {again.value['digest']}"
    if arguments.data is None or (arguments.trainers is None and arguments.build is None):
        raise InputError("compile needs --data and --trainers, --data and --build, or --like BUILD")
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
        beta_max=arguments.beta_max,
        logrows=arguments.logrows,
        salts=arguments.salts,
        proofs=arguments.proofs,
        tolerance=arguments.tolerance,
        theta=arguments.theta,
        theta_bound=arguments.theta_bound,
    )
    made = compile_model(options, srs.select(arguments.srs), arguments.output, progress)
    result = made.report() | {"folder": str(arguments.output)}
    if arguments.commit:
        result["validation"] = [str(path) for path in commit_batch(made.build, arguments.data, arguments.commit)]
    lines = [
        f"{result['parameters']} parameters in {result['chunks']} chunks, batch of {result['batch']}:"
        f" {result['rows']} rows of 2^{result['logrows']}, proof {result['proof_bytes']} bytes",
        f"  accuracy {result['accuracy']:.4f} (float {result['float_accuracy']:.4f}), mean loss"
        f" {result['mean_loss']:.4f} (float {result['float_mean_loss']:.4f}), in units of {result['loss_unit']:.3g}",
        f"  a proof takes about {result['expected_seconds']} s on 2 cores and {result['expected_memory_gb']} GB",
        f"  digest {result['digest']}",
        *(f"  validation batch: {path}" for path in result.get("validation", [])),
    ]
    if made.build.insecure:
        lines.append(f"  {srs.WARNING}")
    return result, "\n".join(lines)


# ---------------------------------------------------------------- arguments


FILTERS = (
    "norm, or multi-krum:f=F,m=M and, if you like, ,three-sigma:lambda=L after it; then, if you like, ,cosine:tau=T."
    f" Default: f = ⌊(N−3)/2⌋, m = ⌊(N+3)/2⌋, lambda = {SIGMA}; of more than {SIGMA_TRAINERS}"
    " trainers Multi-Krum alone with m = N − f. Multi-Krum alone rejects N − M updates every round, honest ones when"
    " nobody attacks"
)


def add_compile(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "model",
        metavar="FILE.onnx|package.module:factory[,key=value]",
        help=f"a model of these operators of ONNX: {SUPPORTED}",
    )
    made.add_argument("--output-name", metavar="NAME", help="the ONNX file's output with the scores, if it has several")
    made.add_argument(
        "--build",
        type=Path,
        metavar="BUILD",
        help="the build whose rounds are scored: trainers, K, scale, salts and norm bound are as it has them",
    )
    made.add_argument("--data", metavar="FILE.npz|package.module:callable", help="validation data, x and y")
    made.add_argument("--loss", choices=("cross-entropy", "mse"), default="cross-entropy")
    made.add_argument("--batch", type=int, default=64, metavar="B", help="samples of the batch that is proven on (64)")
    made.add_argument("--trainers", type=int, metavar="N", help="largest coalition")
    made.add_argument(
        "--like", type=Path, metavar="BUILD", help="make this build again from your own model: is it what it says?"
    )
    made.add_argument("--value-bits", type=int, metavar="B", help="bits of an update's value, as in build (13)")
    made.add_argument("--scale-bits", type=int, metavar="S", help="the updates' scale, as in build (value bits − 1)")
    made.add_argument("--beta-max", type=int, metavar="B", help="largest norm bound of the build (its default)")
    made.add_argument("--logrows", type=int, metavar="K", help="the updates' rows, 2^K (as build would choose)")
    made.add_argument("--salts", type=int, metavar="S", help="the updates' salts of a chunk, as in build (8)")
    made.add_argument("--proofs", type=int, default=64, metavar="P", help="proofs that may open one batch (64)")
    made.add_argument(
        "--tolerance", type=float, default=0.01, help="of accuracy, and of the loss, against the float model (0.01)"
    )
    made.add_argument("--theta", type=Path, metavar="FILE", help="parameters to judge scales with (the model's own)")
    made.add_argument("--theta-bound", type=float, metavar="X", help="largest parameter (8, or 4 times today's)")
    made.add_argument(
        "--commit", type=Path, metavar="FILE", help="also commit to the first B samples: FILE.npz, FILE.public.npz"
    )
    made.add_argument("--srs", choices=srs.KINDS, help="default: the most trustworthy that is installed")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="BUILD")


def _layout(model: str) -> ParameterLayout:
    try:
        return layout_of(model)
    except InputError as error:
        raise InputError(f"--model: {error}") from error


def _integer(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise InputError(f"{option} is auto or a number: got {text!r}")
    return int(text)
