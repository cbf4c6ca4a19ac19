"""The verb `build`: from the rules of a round to circuits and keys."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backend import srs
from ..build import Spec, make_build
from ..build.statements import VALUE_BITS
from ..errors import InputError
from ..learning import layout_of
from ..progress import Progress
from ..rules import SCORES, SIGMA, SIGMA_TRAINERS, Filter
from ..updates import ParameterLayout
from .options import MODEL, add_srs
from .output import Answer
from .utility import score_and_salts
from .verbs import Verbs

FILTERS = (
    "norm, or multi-krum:f=F,m=M and, if you like, ,three-sigma:lambda=L after it; then, if you like, ,cosine:tau=T."
    f" Default: f = ⌊(N−3)/2⌋, m = ⌊(N+3)/2⌋, lambda = {SIGMA}; of more than {SIGMA_TRAINERS}"
    " trainers Multi-Krum alone with m = N − f. Multi-Krum alone rejects N − M updates every round, honest ones when"
    " nobody attacks"
)


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "build",
        build_verb,
        "make the circuits and keys of a round from its rules",
        "zkmarket build --trainers 8 --params 100000 -o BUILD",
        "The same rules and the same SRS give the same keys and the same digest on every machine.",
    )
    parser.add_argument(
        "--trainers", type=int, required=True, metavar="N", help="trainers of a round: a build is for exactly N"
    )
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--params", type=int, metavar="D", help="number of parameters of the model")
    size.add_argument("--model", metavar=MODEL, help="take number and layout of the parameters from this model")
    parser.add_argument(
        "--value-bits", type=int, metavar="BITS", help=f"bits of a quantised value ({VALUE_BITS}; 19 at most)"
    )
    parser.add_argument(
        "--scale-bits", type=int, metavar="BITS", help="x is quantised as x·2^BITS (default: value bits − 1)"
    )
    parser.add_argument("--filter", metavar="FILTER", help=f"who is accepted: {FILTERS}")
    parser.add_argument(
        "--most-trainers",
        type=int,
        metavar="N",
        help="trainers, at most, of the round before, with whose aggregate novel scores compare (default: --trainers)",
    )
    parser.add_argument(
        "--score",
        default="shapley",
        metavar="SCORE",
        help=f"what an accepted update is worth: {', '.join(SCORES)} or utility:… (shapley)",
    )
    parser.add_argument(
        "--salts", type=int, metavar="S", help="salts of a chunk (8; for a utility score as many as it needs)"
    )
    parser.add_argument(
        "--logrows", default="auto", metavar="auto|K", help="rows of a circuit, 2^K (auto: what --optimize says)"
    )
    parser.add_argument(
        "--optimize", choices=("time", "gas"), default="time", help="what --logrows auto keeps small (time)"
    )
    parser.add_argument(
        "--beta-max",
        type=int,
        metavar="INT",
        help="largest bound on squared norms (default: D·Q², where Q is the largest value, or what the filter holds)",
    )
    add_srs(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUILD", help="folder to make")


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
    build = make_build(spec, srs.select(arguments.srs), arguments.output, progress)
    manifest = build.manifest
    result = manifest.value
    lines = [
        f"build of {manifest.params} parameters, {manifest.trainers} trainers, {manifest.filter}, {manifest.score}",
        f"  logrows {manifest.logrows}: {manifest.chunks} chunks of {manifest.chunk} values in "
        f"[−{manifest.bound}, {manifest.bound}); settlement at logrows {manifest.settlement_logrows}",
        f"  an update has {manifest.fixed_point}; --scale-bits moves them, `commit --saturate` cuts what is outside",
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


def _layout(model: str) -> ParameterLayout:
    try:
        return layout_of(model)
    except InputError as error:
        raise InputError(f"--model: {error}") from error


def _integer(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise InputError(f"{option} is auto or a number: got {text!r}")
    return int(text)
