"""`--score utility:…` of `zkmarket prove` and `zkmarket verify`: options, and what the two verbs do with them."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..build import Build
from ..build.statements import SALTS
from ..crypto import encode_point
from ..errors import InputError, ProofRejected, SaltReuse
from ..progress import Progress
from ..round import Decision, RoundProof, Submission, Theta, is_theta_file, references_of, verify_round
from ..rules import longest_step
from ..updates import load_model_file
from ..utility import PREFIX, Method, salts_needed
from ..utility.workers import open_pool
from .options import part, rate

Lines = list[str]


def score_and_salts(score: str, salts: int | None, trainers: int) -> tuple[str, int]:
    """Score and salts of a build: where a utility scores the round, settlement only says who is accepted."""
    if not score.startswith(PREFIX):
        return score, SALTS if salts is None else salts
    needed = SALTS + salts_needed(Method.parse(score), trainers)
    return "equal", needed if salts is None else salts


def add_options(parser: argparse.ArgumentParser, prover: bool) -> None:
    """The options that both sides need to agree on the game, and the prover's workers."""
    group = parser.add_argument_group("scores by the model's own loss (all of them with --score)")
    group.add_argument(
        "--score",
        metavar="utility:…",
        help="the game: utility:loo, utility:shapley, utility:permutations:R or utility:gtg:R,eps=E",
    )
    group.add_argument("--utility", type=Path, metavar="COMPILED", help="the model, from `zkmarket compile`")
    group.add_argument(
        "--theta",
        type=Path,
        metavar="FILE",
        help="the model before the round: its parameters, or the integers that an earlier round has left",
    )
    group.add_argument(
        "--rate", type=rate, default="1", metavar="X", help="learning rate of the round, to a billionth (1)"
    )
    about = "the owner's batch" if prover else "the owner's commitment to its batch"
    group.add_argument("--validation", type=Path, metavar="FILE", help=f"{about}, from `zkmarket compile --commit`")
    group.add_argument(
        "--beacon",
        metavar="HEX",
        help="32 bytes that nobody knew before the commitments, such as a later block's hash: they draw the orders",
    )
    group.add_argument(
        "--coalitions", type=Path, metavar="FILE", help="the utility proofs (default: beside the round proof)"
    )
    if not prover:
        group.add_argument(
            "--floor",
            type=part,
            default="0.25",
            metavar="PART",
            help="part of the reward that the accepted share equally, the rest is by score (0.25)",
        )
    if prover:
        group.add_argument(
            "--workers", type=int, default=1, metavar="COUNT", help="proofs at a time on this machine (1)"
        )
        group.add_argument(
            "--scheduler",
            metavar="tcp://HOST:PORT",
            help="Dask cluster to prove on; it must be your own, for it learns the updates (needs zkmarket[dask])",
        )


@dataclass(frozen=True)
class Scoring:
    """The options, read and checked."""

    method: Method
    model: Any
    theta: Theta
    rate: int
    floor: int
    validation: Any
    beacon: bytes
    file: Path

    @classmethod
    def of(cls, arguments: argparse.Namespace, build: Build, round_file: Path, prover: bool) -> Scoring | None:
        """None without --score. Reads everything first: a round proof that cannot be scored would be wasted."""
        names = ("utility", "theta", "validation", "beacon")
        given = [f"--{name}" for name in names if getattr(arguments, name) is not None]
        if arguments.score is None:
            if given:
                raise InputError(f"{', '.join(given)} only with --score utility:…")
            return None
        if len(given) < len(names):
            missing = [f"--{name}" for name in names if getattr(arguments, name) is None]
            raise InputError(f"--score {arguments.score} needs {', '.join(missing)}")
        from ..utility import (  # the model's libraries would slow other verbs down
            UtilityBuild,
            Validation,
            check_builds,
        )

        method = Method.parse(arguments.score)
        model = UtilityBuild.load(arguments.utility, prover)
        check_builds(build.manifest, model, method)
        theta = read_theta(arguments.theta, build, model)
        if prover:  # or a coalition could turn out unprovable, with salts spent
            beta = build.manifest.beta_max if arguments.beta is None else arguments.beta
            most, bits = build.manifest.trainers, model.theta_bits
            model.check_theta(theta, longest_step(arguments.rate, most, bits, beta))
        validation = Validation.load(arguments.validation)
        place = arguments.coalitions or round_file.with_suffix(".utility.json")
        beacon = read_beacon(arguments.beacon)
        floor = 0 if prover else arguments.floor  # of a prover there is no pay
        return cls(method, model, theta, arguments.rate, floor, validation, beacon, place)

    @property
    def parts(self) -> Path:
        """Folder of the proofs of an unfinished run. Nobody else has seen these."""
        return self.file.with_suffix(".parts")

    def terms(self, build: Build, proof: RoundProof, decision: Decision) -> Any:
        from ..utility import GameTerms

        return GameTerms(
            build,
            proof,
            decision.mask,
            self.model,
            self.method,
            self.beacon,
            self.theta.points(build),
            self.rate,
            self.validation.points,
        )


def read_theta(path: Path, build: Build, model: Any) -> Theta:
    """A model file, of integers or of parameters to begin with."""
    if is_theta_file(path):
        return Theta.load(path, build.manifest)
    parameters = load_model_file(path, build.manifest.layout)[0]
    return Theta.first(build.manifest, model.quantise_theta(parameters), model.theta_bits)


def read_beacon(text: str) -> bytes:
    digits = text.removeprefix("0x")
    with suppress(ValueError):
        if len(digits) == 64 and digits.isalnum():
            return bytes.fromhex(digits)
    raise InputError(f"--beacon is 32 bytes of hex: got {text!r}")


def kept_round(
    scoring: Scoring,
    round_file: Path,
    build: Build,
    submissions: Sequence[Submission],
    beta: int | None,
    given: Mapping[str, Any],
) -> tuple[RoundProof, Decision] | None:
    """The round proof of an interrupted run, if it is there, is of these updates and verifies.

    Another one would have another mask, and every coalition would be proven again with salts that are spent. Without
    one, the utility proofs of earlier rounds beside it are removed.

    Raises SaltReuse if coalitions of these updates were proven with a round proof of other terms.
    """
    beta = build.manifest.beta_max if beta is None else beta
    commitments = tuple(s.commitment for s in submissions)
    proof = None
    with suppress(InputError, ProofRejected):
        proof = RoundProof.load(round_file, build.manifest)
    if proof and proof.commitments == commitments and proof.beta == beta:
        with suppress(ProofRejected):
            return proof, verify_round(build, proof, references=references_of(build, proof.round_id, **given))
    same = {c.points for c in commitments} & {c.points for c in proof.commitments} if proof else set()
    if same and scoring.file.exists():
        raise SaltReuse(
            f"{scoring.file} holds utility proofs of {len(same)} of these updates, made with {round_file}, whose norm"
            " bound, references or trainers are others: proving again would spend salts that are spent; give the"
            " same terms, or let the trainers commit again"
        )
    scoring.file.unlink(missing_ok=True)
    shutil.rmtree(scoring.parts, ignore_errors=True)
    return None


def prove(
    scoring: Scoring,
    arguments: argparse.Namespace,
    build: Build,
    submissions: Sequence[Submission],
    proof: RoundProof,
    progress: Progress,
) -> tuple[dict[str, Any], str]:
    """Prove the coalitions of a proven round and write them beside it."""
    from ..utility import UtilityRound, prove_utilities, verify_utilities

    terms = scoring.terms(build, proof, verify_round(build, proof, references=proof.references))
    if scoring.file.exists():  # of a run that came to its end
        try:
            utilities = UtilityRound.load(scoring.file)
            decision = verify_utilities(terms, utilities)
        except (InputError, ProofRejected) as error:
            raise SaltReuse(
                f"{scoring.file} holds utility proofs that are not of these terms ({error}): proving again would spend"
                " salts that are spent; give the same terms, let the trainers commit again, or, if they are of"
                " other updates, move them away"
            ) from error
        progress(f"utility proofs in {scoring.file} are of this round: kept")
        return _answer(scoring, utilities, decision)
    with open_pool(arguments.workers, arguments.scheduler) as pool:
        utilities = prove_utilities(
            terms, scoring.theta, submissions, scoring.validation, pool, scoring.parts, progress
        )
    decision = verify_utilities(terms, utilities)
    utilities.save(scoring.file)
    shutil.rmtree(scoring.parts, ignore_errors=True)
    return _answer(scoring, utilities, decision)


def _answer(scoring: Scoring, utilities: Any, decision: Any) -> tuple[dict[str, Any], str]:
    result = {"utilities": str(scoring.file), "utility": decision.to_json()}
    return result, f"{len(utilities.proofs)} utility proofs in {scoring.file}"


def verify(
    scoring: Scoring,
    build: Build,
    proof: RoundProof,
    decision: Decision,
    reward: int | None,
    progress: Progress,
) -> tuple[dict[str, Any], Lines]:
    """Verify the coalitions of a verified round; scores and shares by utility."""
    from ..utility import UtilityRound, verify_utilities

    scored = verify_utilities(scoring.terms(build, proof, decision), UtilityRound.load(scoring.file), progress)
    result = scored.to_json(reward, scoring.floor)
    unit = scored.loss_unit
    lines = [
        f"{scoring.method}: {len(scored.game.due)} coalitions are due and proven; losses in units of {unit:.3g}",
        "slot  value (loss)  score" + ("  share (wei)" if reward is not None else ""),
        *(
            f"{row['slot']:4}  {row['raw'] / scored.game.denominator * unit:12.6f}  {row['score']}"
            + (f"  {row['share_wei']}" if reward is not None else "")
            for row in result["trainers"]
        ),
    ]
    provenance = {
        "method": str(scoring.method),
        "beacon": "0x" + scoring.beacon.hex(),
        "model_digest": "0x" + scoring.model.digest.hex(),
        "validation": ["0x" + encode_point(point).hex() for point in scoring.validation.points],
        "insecure": scoring.model.insecure,
    }
    lines += [f"model {provenance['model_digest']}, beacon {provenance['beacon']}: compare them with the project's"]
    return {"utility": result | provenance}, lines
