"""Verbs of one round: commit, prove, verify, open."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..backend import srs
from ..build import Build
from ..crypto import decode_point, encode_point
from ..documents import read_json
from ..errors import ArtifactError, InputError
from ..progress import Progress
from ..round import (
    COMMITMENT_FILE,
    JOURNAL_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Aggregate,
    Commitment,
    KnownReferences,
    RoundId,
    RoundProof,
    Submission,
    address_text,
    admit,
    commit_update,
    export,
    load_submission,
    load_submissions,
    prove_round,
    random_address,
    read_address,
    sum_updates,
    verify_round,
)
from ..updates import load_update
from .opened import opened
from .options import add_build, amount, rate
from .output import Answer
from .utility import Scoring, add_options, kept_round, prove, verify
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "commit",
        commit_verb,
        "commit to an update: quantise it, and write its points and what opens them",
        "zkmarket commit BUILD update.npz -o updates/trainer-0",
        "Nothing is proven here. What opens the commitment is for the aggregator alone.",
    )
    add_build(parser)
    parser.add_argument("update", type=Path, metavar="UPDATE", help="the update: .npy, .npz or .safetensors")
    parser.add_argument(
        "--trainer", metavar="HEX", help="address of the trainer, which the digest is bound to (default: random)"
    )
    _add_round(parser)
    parser.add_argument("--beta", type=int, metavar="INT", help="clip to this squared norm of the integers")
    parser.add_argument("--saturate", action="store_true", help="cut values that do not fit, and count them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TRAINER", help="the trainer's folder")

    parser = verbs.add(
        "prove",
        prove_verb,
        "filter, score and aggregate the updates of a round, and prove it",
        "zkmarket prove BUILD --updates updates -o round.json",
    )
    add_build(parser)
    parser.add_argument(
        "--updates",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with one folder of `zkmarket commit` a trainer",
    )
    parser.add_argument(
        "--beta", type=int, metavar="INT", help="norm bound of the round (default: the build's largest)"
    )
    _add_digest(parser)
    parser.add_argument(
        "--aggregate", type=Path, metavar="FILE", help="where the aggregate goes (default: beside the round proof)"
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="the owner's root update, from `zkmarket commit`")
    parser.add_argument("--last", type=Path, metavar="FILE", help="the last round's aggregate (default: there is none)")
    add_options(parser, prover=True)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="round.json", help="where the round proof goes"
    )

    parser = verbs.add(
        "verify",
        verify_verb,
        "verify a round proof and show who is accepted, with which score",
        "zkmarket verify BUILD round.json --reward 1000000000000000000",
        "It needs neither an update nor a proving key.",
    )
    add_build(parser)
    _add_proof(parser)
    parser.add_argument(
        "--reward", type=amount, metavar="WEI", help="reward of the round, to show each trainer's share"
    )
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the inner proofs here, for ezkl alone")
    _add_references(parser)
    _add_round(parser, expected=True)
    add_options(parser, prover=False)

    parser = verbs.add(
        "open",
        open_verb,
        "check an aggregate against a verified round, and apply it to a model",
        "zkmarket open BUILD round.json round.aggregate.npz --model BEFORE.npz -o model.npz",
        "The model moves in integers: model.theta.npz has them, and what opens their commitment, for the next round and"
        " for `zkmarket auditor model`; model.npz shows them as floats.",
    )
    add_build(parser)
    _add_proof(parser)
    parser.add_argument("aggregate", type=Path, metavar="AGGREGATE", help="the aggregate that `zkmarket prove` wrote")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="the model before the round: integers, as this verb and `zkmarket owner receive` write them, or the"
        " parameters that the first round begins with (default: none)",
    )
    parser.add_argument(
        "--rate", type=rate, default="1", metavar="X", help="server learning rate, exact to a billionth (1)"
    )
    parser.add_argument(
        "--theta-bits",
        type=int,
        metavar="RHO",
        help="of parameters to begin with: the model's scale is 2^RHO times the updates' (by rate and trainers)",
    )
    parser.add_argument(
        "--commitment",
        metavar="HEX",
        help="hash of the commitment of the model after the round, as the chain has it: refuse another model",
    )
    _add_references(parser)
    _add_round(parser, expected=True)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where the model after the round goes (model.npz); without --model the mean update (aggregate.npz)",
    )


def _add_proof(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("round_file", type=Path, metavar="round.json", help="the round proof")


def _add_round(parser: argparse.ArgumentParser, expected: bool = False) -> None:
    """Which round it is: what a commitment is bound to, or what a proof is expected to be of."""
    _add_digest(parser)
    chain, project, number = (
        ("refuse a proof of another chain id", "refuse a proof of another project", "refuse a proof of another round")
        if expected
        else ("chain id that the digest is bound to (0)", "project that it is bound to (0)", "round it is bound to (0)")
    )
    default = None if expected else 0
    parser.add_argument("--chain", type=int, default=default, metavar="ID", help=chain)
    parser.add_argument("--project", metavar="ADDRESS", help=project)
    parser.add_argument("--round", type=int, default=default, metavar="ROUND", help=number)


def _add_references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, metavar="FILE", help="commitment.json of the owner's root update (default: there is none)"
    )
    parser.add_argument(
        "--last", type=Path, metavar="FILE", help="what `verify --json` said of the last round (default: there is none)"
    )


def _add_digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--digest", metavar="HEX", help="refuse a build that has another manifest digest")


def commit_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    build = _load_build(arguments, prover=True)
    who = read_address(arguments.trainer) if arguments.trainer else _kept_address(arguments.output)
    committed = commit_update(
        build,
        load_update(arguments.update, build.manifest.layout, progress),
        arguments.output,
        who,
        _round_id(arguments),
        arguments.beta,
        arguments.saturate,
        progress,
    )
    report = committed.quantised.report()
    result = {
        "trainer": address_text(who),
        "digest": "0x" + committed.commitment.digest().hex(),
        "points": ["0x" + encode_point(point).hex() for point in committed.commitment.points],
        "quantisation": report,
        "folder": str(arguments.output),
        "insecure": build.manifest.insecure,
    }
    text = (
        f"committed {report['params']} parameters as {address_text(who)} in {arguments.output}"
        f" (max error {report['max_error']:.3g}, relative L2 error {report['relative_l2_error']:.3g},"
        f" {report['saturated']} saturated, clipped by {report['clipped']:.3g})\n"
        f"  digest {result['digest']}\n"
        f"  the aggregator needs {COMMITMENT_FILE}, {VALUES_FILE} and {SALTS_FILE}; keep the last two from all others"
    )
    return result, text


def prove_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    build = _load_build(arguments, prover=True)
    submissions = load_submissions(build, arguments.updates)
    for slot, submission in enumerate(submissions, start=1):
        progress(f"admitting slot {slot}")
        admit(build, submission, slot)
    given = _given_references(arguments, build, progress)
    scoring = Scoring.of(arguments, build, arguments.output, prover=True)
    proof, aggregate = _prove_once(arguments, build, submissions, given, progress, scoring)
    place = arguments.aggregate or arguments.output.with_suffix(".aggregate.npz")
    if aggregate is None:
        place.unlink(missing_ok=True)  # of an earlier run
    else:
        aggregate.save(place)
    proof.save(arguments.output)
    served = None if aggregate is None else str(place)
    result = {"round": str(arguments.output), "aggregate": served, "insecure": build.manifest.insecure}
    text = f"round proof in {arguments.output}, " + (
        f"aggregate in {place}" if served else "no aggregate: too few updates are accepted, it would reveal them"
    )
    if scoring:
        more, about = prove(scoring, arguments, build, submissions, proof, progress)
        result, text = result | more, f"{text}\n{about}"
    return result, text


def _given_references(arguments: argparse.Namespace, build: Build, progress: Progress) -> dict[str, Any]:
    """What `prove_round` compares with: the owner's folder, admitted like a trainer's, and the last aggregate."""
    root = last = None
    if arguments.root:
        progress("admitting the root update")
        root = load_submission(build, arguments.root)
        admit(build, root)
    if arguments.last:
        last = Aggregate.load(arguments.last, build.manifest)
    return {"root": root, "last": last}


def _known_references(arguments: argparse.Namespace, build: Build) -> KnownReferences:
    """What a verifier knows of a round's references: the owner's commitment, and the last round's verified answer."""
    root = Commitment.load(arguments.root, build.manifest) if arguments.root else None
    last = None
    if arguments.last:
        answer = read_json(arguments.last, "answer of `zkmarket verify --json`")
        points = answer.get("aggregate") if isinstance(answer, dict) else None
        if not isinstance(points, list) or not all(isinstance(point, str) for point in points):
            raise InputError(f"{arguments.last} is not what `zkmarket verify --json` said of the last round")
        try:
            last = tuple(decode_point(bytes.fromhex(point.removeprefix("0x"))) for point in points) or None
        except ValueError as error:
            raise InputError(f"{arguments.last}: a point of the aggregate is not hex: {error}") from error
    return KnownReferences(root, last)


def _prove_once(
    arguments: argparse.Namespace,
    build: Build,
    submissions: list[Submission],
    given: dict[str, Any],
    progress: Progress,
    scoring: Scoring | None,
) -> tuple[RoundProof, Aggregate | None]:
    """Prove a round, or, to go on with its coalitions, take the proof that is there."""
    kept = None
    if scoring:
        kept = kept_round(scoring, arguments.output, build, submissions, arguments.beta, given)
    if kept is None:
        return prove_round(build, submissions, arguments.beta, progress, **given)
    proof, decision = kept
    progress(f"round proof in {arguments.output} is of these updates: kept")
    if not decision.aggregate:
        return proof, None
    return proof, sum_updates(build.manifest, [s.opening for s in submissions], decision.mask)


def verify_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    build = _load_build(arguments)
    manifest = build.manifest
    proof = RoundProof.load(arguments.round_file, manifest)
    scoring = Scoring.of(arguments, build, arguments.round_file, prover=False)
    known = _known_references(arguments, build)
    decision = verify_round(build, proof, progress, _expected_round(arguments, proof), known)
    rid = proof.round_id
    reward = None if scoring else arguments.reward  # by utility then, below
    result = decision.to_json(reward) | {
        "chain_id": rid.chain_id,
        "project": address_text(rid.project),
        "round": rid.round,
        "beta": str(proof.beta),
        "manifest_digest": manifest.value["digest"],
        "insecure": manifest.insecure,
    }
    lines = [
        "slot  trainer                                     accepted  score"
        + ("  share (wei)" if reward is not None else ""),
        *(
            f"{row['slot']:4}  {row['trainer']}  {'yes' if row['accepted'] else 'no ':8}  {row['score']}"
            + (f"  {row['share_wei']}" if reward is not None else "")
            for row in result["trainers"]
        ),
        f"median squared norm {decision.nu}; norm bound {proof.beta}",
        f"round {rid.round} of project {address_text(rid.project)} on chain {rid.chain_id}",
        "verified",
    ]
    if scoring:
        more, about = verify(scoring, build, proof, decision, arguments.reward, progress)
        result, lines = result | more, lines + about
    if arguments.export:
        exported = export(build, proof, arguments.export)
        code = _check_by_ezkl([str(place) for _, place in exported])
        result |= {"exported": [str(place) for _, place in exported], "python": code}
        lines += [
            f"{len(exported)} proofs in {arguments.export}; this Python checks them with ezkl {version('ezkl')} alone:",
            *(f"    {line}" for line in code.splitlines()),
        ]
    if build.manifest.insecure:
        lines.append(srs.WARNING)
    return result, "\n".join(lines)


def _check_by_ezkl(folders: list[str]) -> str:
    """Python that verifies exported proofs and knows nothing of ours."""
    return f"""\
import ezkl

for place in {folders}:
    files = [f"{{place}}/{{name}}" for name in ("proof.json", "settings.json", "vk.key", "kzg.srs")]
    print(place, ezkl.verify(*files))"""


def open_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    build = _load_build(arguments)
    manifest = build.manifest
    proof = RoundProof.load(arguments.round_file, manifest)
    known = _known_references(arguments, build)
    decision = verify_round(build, proof, progress, _expected_round(arguments, proof), known)
    return opened(arguments, build, decision, progress)


def _round_id(arguments: argparse.Namespace) -> RoundId:
    project = read_address(arguments.project) if arguments.project else 0
    return RoundId(arguments.chain, project, arguments.round)


def _expected_round(arguments: argparse.Namespace, proof: RoundProof) -> RoundId:
    """What the caller expects; what it does not name is taken from the proof."""
    claimed = proof.round_id
    return RoundId(
        claimed.chain_id if arguments.chain is None else arguments.chain,
        claimed.project if arguments.project is None else read_address(arguments.project),
        claimed.round if arguments.round is None else arguments.round,
    )


def _kept_address(folder: Path) -> int:
    """The random identity of an interrupted commit, or a new one."""
    journal = folder / JOURNAL_FILE
    if not journal.exists():
        return random_address()
    value = read_json(journal, "statement of the opening")
    if not isinstance(value, dict) or not isinstance(value.get("trainer"), str):
        raise InputError(f"{journal} does not name a trainer: choose a new folder")
    return read_address(value["trainer"])


def _load_build(arguments: argparse.Namespace, prover: bool = False) -> Build:
    """Load a build; with --digest, only the one that the project pinned."""
    build = Build.load(arguments.build, prover)
    digest = build.manifest.value["digest"]
    if arguments.digest and arguments.digest.lower().removeprefix("0x") != digest[2:]:
        raise ArtifactError(f"the build is not the pinned one: its digest is {digest}, wanted {arguments.digest}")
    return build
