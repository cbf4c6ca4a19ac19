"""The settlement argument: from the Gram matrix inside C_G to mask, scores and ν, in zero knowledge.

The circuit (circuits/settlement.py) computes the decision from a committed Gram matrix and outputs q,
which gram.py ties to the committed updates. Prove and verify stand side by side here; so does the
integer oracle, which must agree in every bit.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import backend
from ..backend import Proof, ProofJob
from ..build import Build, Manifest
from ..build.statements import sorted_noise
from ..circuits import NOISE
from ..crypto import P, Point, encode_point, from_ints, random_scalars, scalar_hex, to_hex
from ..errors import DomainError, ProofRejected
from ..rules import SCORE_LIMIT, Gram, ReferenceProducts, accepted, median_squared_norm, reference_slots
from ..rules.scores import scores


@dataclass(frozen=True)
class Outcome:
    """What a settlement proof says: mask and scores of slots 1..N, and the median squared norm ν.

    Scores are as they are proven; `kept` gives those that are kept, in 64 bits.
    """

    mask: tuple[int, ...]
    scores: tuple[int, ...]
    nu: int

    def kept(self, manifest: Manifest) -> tuple[int, ...]:
        """The scores without the low bits that the project drops."""
        return tuple(score >> manifest.score_shift for score in self.scores)


def decide(manifest: Manifest, gram: Gram, beta: int) -> Outcome:
    """The integer oracle. `gram` is of the trainers' slots and then the references', without the mask's row."""
    references = reference_slots(manifest.filter, manifest.score)
    n = len(gram) - len(references)
    own = [row[:n] for row in gram[:n]]
    along = {
        name: ReferenceProducts(int(gram[slot][slot]), tuple(int(gram[i][slot]) for i in range(n)))
        for slot, name in enumerate(references, start=n)
    }
    mask = accepted(own, manifest.filter, beta, manifest.domain.penalty, along.get("root"))
    return Outcome(tuple(mask), tuple(scores(own, mask, manifest.score, **along)), median_squared_norm(own))


def combined(gram: Sequence[Sequence[int]], r: Sequence[int]) -> int:
    """q = Σ_ij r_i r_j G_ij mod p, over slots 0..N."""
    rows = (sum(value * challenge for value, challenge in zip(row, r, strict=True)) for row in gram)
    return sum(challenge * row for challenge, row in zip(r, rows, strict=True)) % P


@dataclass(frozen=True)
class CommittedGram:
    """The first input of the circuit, T entries ‖ S salts as ezkl strings, and its commitment C_G."""

    column: list[str] = field(repr=False)
    point: Point


def commit_gram(build: Build, gram: Sequence[Sequence[int]]) -> CommittedGram:
    """Commit to the upper triangle of the matrix of all slots, row by row, with fresh salts."""
    upper = [gram[i][j] for i in range(len(gram)) for j in range(i, len(gram))]
    column = to_hex(from_ints(upper)) + to_hex(random_scalars(build.manifest.salts))
    point = backend.commit(build.files["settlement"], build.manifest.settlement_logrows, [column])[0]
    return CommittedGram(column, point)


def prove_job(build: Build, gram: CommittedGram, r: Sequence[int], beta: int, scores: Sequence[int] = ()) -> ProofJob:
    """The settlement proof as a job for `backend.prove`, with noise that is used once.

    `scores` are the outcome's: the circuit checks cosine-shapley scores, which it cannot compute, and computes others.
    """
    second = public_and_noise(build.manifest, r, beta, scores)
    return ProofJob("settlement proof", build.files["settlement"], [gram.column, second])


def public_and_noise(manifest: Manifest, r: Sequence[int], beta: int, scores: Sequence[int] = ()) -> list[str]:
    """The second input: r of every slot ‖ β ‖ scores, if they are cosine-shapley's ‖ noise ‖ salts.

    The noise: 128 values of either sign, uniform over all digits. Those that are sorted along have one bit less, so
    that their differences have digits too.
    """
    claimed = scores if manifest.score == "cosine-shapley" else ()
    bits = manifest.domain.bits
    short = sorted_noise(bits)
    noise = [secrets.choice((-1, 1)) * secrets.randbelow(1 << (bits - (at < short))) for at in range(NOISE)]
    return [scalar_hex(v) for v in (*r, beta, *claimed, *noise)] + to_hex(random_scalars(manifest.salts))


def check_beta(manifest: Manifest, beta: int) -> None:
    if not 0 <= beta <= manifest.beta_max:
        raise DomainError(f"the norm bound is from 0 to beta_max = {manifest.beta_max}: got {beta}")


def verify(build: Build, proof: Proof, gram_point: Point, r: Sequence[int], beta: int) -> tuple[int, Outcome]:
    """Check a settlement proof and return q and what was decided, scores as they are proven.

    Raises ProofRejected: other challenges or β than the round's, another Gram matrix than the one
    absorbed, an output out of its range, or a proof that does not verify.
    """
    manifest = build.manifest
    n, slots = manifest.trainers, manifest.slots
    wanted = slots + 2 * n + 3
    if len(proof.instances) != wanted:
        raise ProofRejected(f"settlement proof has {len(proof.instances)} instances: wanted {wanted} for N={n}")
    q, echoed, rest = proof.instances[0], proof.instances[1 : slots + 1], proof.instances[slots + 1 :]
    if echoed != tuple(r):
        raise ProofRejected("settlement proof answers other challenges r than the transcript's")
    if rest[0] != beta:
        raise ProofRejected(f"settlement proof uses another norm bound: got {rest[0]}, wanted {beta}")
    if proof.point(0) != encode_point(gram_point):
        raise ProofRejected("settlement proof is of another Gram matrix than the one committed before the challenges")
    outcome = Outcome(rest[1 : n + 1], rest[n + 1 : 2 * n + 1], rest[-1])
    if any(bit not in (0, 1) for bit in outcome.mask):
        raise ProofRejected("settlement proof: a mask entry is neither 0 nor 1")
    if any(value >= SCORE_LIMIT for value in (*outcome.kept(manifest), outcome.nu)):
        raise ProofRejected("settlement proof: a score or ν is not below 2^64")
    backend.verify(build.files["settlement"], proof, "settlement proof")
    return q, outcome
