"""Scores of a round by the model's own loss: prove every coalition that is due, and check that it was these.

A round is proven first (filter, mask; `aggregator.prove_round`). Its accepted updates are then the players of a utility
game (`games`), and each coalition S that the method asks for gets one proof of `utility`: the loss of the model
Θ + w·Σ_{i∈S} u_i on the owner's validation batch, w = 2^ρ·rate/n with n = all who are accepted. Both sides know the
same *terms*, and everything else follows:

    seed    = H(manifest, chain, project, round, N trainers' addresses and points in order of address, beacon)
    base    = H(model, seed_0 of the round proof, mask, H(C_Θ), w, H(validation points); seed, if orders are sampled)
    context = H(base, S as bits)                                           of one coalition's proof
    C_S,c   = C_Θ,c + w·Σ_{i∈S} (C_i,c − B)                                its model's commitment, by homomorphism

The *seed* is what the orders of a sampled game are drawn from. It has nothing in it that the prover of the round can
try again: not the mask slot, not β, not the order of the slots. The beacon is a value that nobody knew when the
commitments were frozen, such as the hash of a later block. A trainer cannot aim either: its commitment is in the
seed, but was fixed before the beacon. Who is accepted does move the orders, and follows from the commitments and β:
β must be the project's (a contract's is), not the prover's choice.

A verifier replays the game from the proven losses. It takes nothing from the prover but the proofs: a coalition that is
missing, doubled, of another round or not due is refused.

What bounds the updates in a coalition's circuit is the round proof that accepted them: ‖u‖² <= β. Whether Θ stays
within the model's bound with all of them is to be asked before the round (`UtilityBuild.check_theta`).

Proofs spend salts of every member's chunks (`games.salts_needed`), of the ℓ2 places in the salts' row of a column. A
second round proof of the same updates spends them again; therefore an interrupted
round goes on with the round proof and the coalition proofs that are on disk. The batch's salts (`--proofs` of compile)
have to last for all rounds that it is used in; only that they last for one is checked here. Losses of single trainers
and small coalitions are public in this file: two numbers of each, also in rounds whose aggregate is withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..backend import Proof
from ..documents import check_canonical, check_schema, read_json, write_json
from ..errors import InputError, ProofRejected, StatementFalse
from ..progress import Progress, quiet
from ..round import Submission, Theta, address_text, moved, sum_updates
from ..rules import RATE_UNIT, pay
from .batch import Validation
from .games import Game, Members, Method
from .proof import BatchResult, UtilityProof, prove_job, utility
from .terms import UTILITY_ROUND_FORMAT, GameTerms, name_of
from .workers import Job, Pool, proof_job, run

FLOOR = RATE_UNIT // 4
"""φ: a quarter of the reward."""


@dataclass(frozen=True)
class UtilityRound:
    """The proofs of a round's coalitions, as they are published beside the round proof."""

    method: Method
    beacon: bytes
    base: bytes
    proofs: Mapping[Members, UtilityProof]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": UTILITY_ROUND_FORMAT,
            "method": str(self.method),
            "beacon": "0x" + self.beacon.hex(),
            "context": "0x" + self.base.hex(),
            "proofs": [
                {"coalition": list(coalition), "proof": self.proofs[coalition].proof.to_json()}
                for coalition in sorted(self.proofs, key=lambda s: (len(s), s))
            ],
        }

    @classmethod
    def from_json(cls, value: Any) -> UtilityRound:
        if isinstance(value, dict) and value.get("format") == "zkmarket-utility/1":
            raise InputError(
                "the utility proofs are of a version that divided a coalition's updates by its own size: compile the"
                " model again, and have the trainers commit again"
            )
        check_schema(value, "utility", "utility proofs")
        round_ = cls(
            Method.parse(value["method"]),
            bytes.fromhex(value["beacon"][2:]),
            bytes.fromhex(value["context"][2:]),
            {tuple(row["coalition"]): UtilityProof(Proof.from_json(row["proof"])) for row in value["proofs"]},
        )
        check_canonical(round_.to_json(), value, "utility proofs")  # refuses doubles and another order
        return round_

    def save(self, path: Path) -> None:
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> UtilityRound:
        return cls.from_json(read_json(Path(path), "utility proofs"))


@dataclass(frozen=True)
class UtilityDecision:
    """What verified utility proofs say.

    Attributes:
        trainers: addresses of slots 1..N.
        mask: which of them are accepted.
        scores: max(0, value) · denominator of each slot; 0 for the rejected.
        game: values of the accepted, in units of the loss.
        utilities: of each coalition that was due.
        loss_unit: what one unit of loss is.
    """

    trainers: tuple[int, ...]
    mask: tuple[int, ...]
    scores: tuple[int, ...]
    game: Game
    utilities: Mapping[Members, BatchResult]
    loss_unit: float

    def shares(self, reward: int, floor: int = FLOOR) -> tuple[list[int], int]:
        """Pay of each slot in wei, and the dust.

        Args: floor: the part of the reward, in billionths, that the accepted share equally.
        """
        return pay(reward, self.mask, self.scores, floor)

    def to_json(self, reward: int | None = None, floor: int = FLOOR) -> dict[str, Any]:
        paid, dust = self.shares(reward or 0, floor)
        return {
            "denominator": self.game.denominator,
            "loss_unit": self.loss_unit,
            "trainers": [
                {"slot": slot, "trainer": address_text(who), "score": score, "raw": self.game.raw.get(slot, 0)}
                | ({"share_wei": pay} if reward is not None else {})
                for slot, (who, score, pay) in enumerate(zip(self.trainers, self.scores, paid, strict=True), start=1)
            ],
            "coalitions": [
                {"slots": list(s), "correct": self.utilities[s].correct, "loss": self.utilities[s].loss}
                for s in self.game.due
            ],
        } | ({"reward_wei": reward, "dust_wei": dust} if reward is not None else {})


# ---------------------------------------------------------------- prove


def prove_utilities(
    terms: GameTerms,
    theta: Theta,
    submissions: Sequence[Submission],
    validation: Validation,
    pool: Pool,
    kept: Path,
    progress: Progress = quiet,
) -> UtilityRound:
    """Prove every coalition that is due.

    Args:
        theta: the model of the round, opened.
        submissions: slots 1..N of the round proof, opened.
        validation: the owner's batch, opened.
        pool: where proofs are made.
        kept: folder for finished proofs; a run that was interrupted goes on with what is there.

    Raises:
        StatementFalse, BackendError, BackendTimeout: a proof could not be made.
        ProofRejected: a worker's proofs do not verify, again and again.
    """
    if validation.points != terms.validation:
        raise InputError("the validation batch is not the committed one: its points differ")
    if theta.points(terms.build) != terms.theta:
        raise InputError("the model is not the committed one: it opens other points")
    models = {}
    known: dict[Members, BatchResult] = {}
    while missing := terms.play({s: u.loss for s, u in known.items()}).missing:
        for coalition in missing:
            models[coalition] = model_of(terms, theta, submissions, coalition)
            known[coalition] = utility(terms.model, models[coalition], validation)
    proofs = {s: proof for s in known if (proof := _kept_proof(terms, s, kept, progress))}
    todo = [s for s in known if s not in proofs]
    progress(f"{len(known)} coalitions are due, {len(todo)} are to be proven")

    def accept(index: int, made: Any) -> None:
        coalition = todo[index]
        proof = UtilityProof(made)
        proven = terms.verify(coalition, proof)
        if proven != known[coalition]:
            raise StatementFalse(f"the circuit and the integer oracle disagree on {name_of(coalition)}: got {proven}")
        write_json(_place(terms, coalition, kept), made.to_json())
        proofs[coalition] = proof

    run(pool, [partial(_job, terms, s, models[s], validation) for s in todo], accept, progress)
    return UtilityRound(terms.method, terms.beacon, terms.base, proofs)


def model_of(terms: GameTerms, theta: Theta, submissions: Sequence[Submission], coalition: Members) -> Theta:
    """Θ + w·Σ u_i over the members, and what opens its commitment."""
    mask = [slot in coalition for slot in range(1, len(submissions) + 1)]
    return moved(theta, sum_updates(terms.build.manifest, [s.opening for s in submissions], mask), terms.weight)


def _job(terms: GameTerms, coalition: Members, model: Theta, validation: Validation) -> Job:
    job = prove_job(terms.model, model, validation, terms.context(coalition))
    return proof_job(replace(job, name=name_of(coalition)))


def _place(terms: GameTerms, coalition: Members, kept: Path) -> Path:
    return kept / f"{terms.context(coalition).hex()}.json"


def _kept_proof(terms: GameTerms, coalition: Members, kept: Path, progress: Progress) -> UtilityProof | None:
    """A proof of an earlier run, if it is there and still verifies."""
    place = _place(terms, coalition, kept)
    if not place.is_file():
        return None
    try:
        value = read_json(place, "utility proof")
        check_schema(value, "proof", "utility proof")
        proof = UtilityProof(Proof.from_json(value))
        terms.verify(coalition, proof)
    except (InputError, ProofRejected) as error:
        progress(f"{place} is not kept: {error}")
        return None
    return proof


# ---------------------------------------------------------------- verify


def verify_utilities(terms: GameTerms, made: UtilityRound, progress: Progress = quiet) -> UtilityDecision:
    """Replay the game on proven losses.

    Args:
        terms: the verifier's own; the round proof in them was verified before.

    Raises ProofRejected: other terms, or a coalition whose proof is missing, wrong, or was not due.
    """
    for name, got, wanted in (
        ("method", str(made.method), str(terms.method)),
        ("beacon", made.beacon.hex(), terms.beacon.hex()),
        ("context (round proof, model, parameters or validation batch)", made.base.hex(), terms.base.hex()),
    ):
        if got != wanted:
            raise ProofRejected(f"utility proofs are of another {name}: got {got}, wanted {wanted}")
    proven: dict[Members, BatchResult] = {}
    while missing := (game := terms.play({s: u.loss for s, u in proven.items()})).missing:
        for coalition in missing:
            if coalition not in made.proofs:
                raise ProofRejected(f"{name_of(coalition)} is due and has no proof")
            progress(f"utility proof of {name_of(coalition)}")
            proven[coalition] = terms.verify(coalition, made.proofs[coalition])
    if extra := made.proofs.keys() - proven.keys():
        raise ProofRejected(f"{name_of(min(extra))} has a proof and was not due: {len(extra)} proofs too many")
    slots = range(1, len(terms.mask) + 1)
    return UtilityDecision(
        tuple(commitment.trainer for commitment in terms.proof.commitments),
        terms.mask,
        tuple(game.score(slot) for slot in slots),
        game,
        proven,
        terms.model.loss_unit,
    )
