"""What the owner fixes before a game is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..build import Build, Manifest
from ..build.statements import SALTS
from ..crypto import Point, digest_words, encode_point, hash_words, points_hash
from ..errors import InputError, ProofRejected
from ..round import RoundProof, combine
from ..rules import weight
from . import games
from .build import UtilityBuild
from .games import Game, Members, Method
from .proof import BatchResult, UtilityProof, verify_utility

UTILITY_ROUND_FORMAT = "zkmarket-utility/2"


@dataclass(frozen=True)
class GameTerms:
    """What prover and verifier agree on, before any coalition is proven.

    Attributes:
        build, proof, mask: the round, proven, and which slots it accepts.
        model: the compiled model that the round is scored with.
        method: how coalitions are chosen and combined.
        beacon: 32 bytes that nobody knew before the commitments were frozen.
        theta: commitment of the round's model.
        rate: learning rate of the round, in billionths.
        validation: commitment of the owner's batch, made before the round.
    """

    build: Build
    proof: RoundProof
    mask: tuple[int, ...]
    model: UtilityBuild
    method: Method
    beacon: bytes
    theta: tuple[Point, ...]
    rate: int
    validation: tuple[Point, ...]

    def __post_init__(self) -> None:
        check_builds(self.build.manifest, self.model, self.method)
        if len(self.beacon) != 32:
            raise InputError(f"a beacon is 32 bytes: got {len(self.beacon)}")

    @cached_property
    def players(self) -> tuple[int, ...]:
        """Accepted slots in order of their trainers' addresses: the order of the slots must not decide who leads."""
        accepted = [slot for slot, bit in enumerate(self.mask, start=1) if bit]
        return tuple(sorted(accepted, key=lambda slot: self.proof.commitments[slot - 1].trainer))

    @cached_property
    def seed(self) -> bytes:
        return seed_of(self.build.manifest, self.proof, self.beacon)

    @cached_property
    def weight(self) -> int:
        """w of the round, the same for every coalition: with n = |S| a member would be paid by how far it is from the
        mean of the others (`games`)."""
        return weight(self.rate, max(1, sum(self.mask)), self.model.theta_bits)

    @cached_property
    def base(self) -> bytes:
        """What all proofs of a round are bound to. The seed of the transcript has the build, the place and every
        commitment in it; that of sampled orders is added where there are any."""
        seed = [] if self.method.exact else [self.seed]
        return digest_words(
            [
                UTILITY_ROUND_FORMAT,
                self.model.digest,
                self.proof.transcript(self.build.manifest).seed,
                sum(bit << at for at, bit in enumerate(self.mask)),
                points_hash(self.theta),
                self.weight,
                points_hash(self.validation),
                *seed,
            ]
        )

    def context(self, coalition: Members) -> bytes:
        """What one coalition's proof is bound to."""
        return context_of(self.base, coalition)

    def points(self, coalition: Members) -> tuple[Point, ...]:
        """Commitment of the coalition's model, one point a chunk: no opening, anyone can compute it."""
        members = [self.proof.commitments[slot - 1].points for slot in coalition]
        return coalition_points(self.theta, members, self.weight, self.build.manifest.blinding)

    def play(self, losses: Mapping[Members, int]) -> Game:
        return games.play(self.method, self.players, self.seed, losses)

    def verify(self, coalition: Members, proof: UtilityProof) -> BatchResult:
        """What a proof says of a coalition; ProofRejected, naming it, if it is not a proof of that."""
        try:
            return verify_utility(self.model, proof, self.points(coalition), self.validation, self.context(coalition))
        except ProofRejected as error:
            raise ProofRejected(f"{name_of(coalition)}: {error}") from error


def seed_of(manifest: Manifest, proof: RoundProof, beacon: bytes) -> bytes:
    """What the orders of a round are drawn from: the frozen commitments and the beacon."""
    rid = proof.round_id
    frozen = sorted(proof.commitments, key=lambda commitment: commitment.trainer)
    words: list[int | str | bytes] = [
        UTILITY_ROUND_FORMAT,
        manifest.digest(),
        rid.chain_id,
        rid.project,
        rid.round,
        len(frozen),
    ]
    for commitment in frozen:
        words += [commitment.trainer, *words_of(commitment.points)]
    return digest_words([*words, beacon])


def words_of(points: Sequence[Point]) -> list[bytes]:
    """Coordinates, two words a point."""
    return [word for point in points for word in (encode_point(point)[:32], encode_point(point)[32:])]


def context_of(base: bytes, coalition: Members) -> bytes:
    """H(base ‖ the coalition's slots as bits, slot 1 lowest)."""
    return hash_words(base, sum(1 << slot - 1 for slot in coalition))


def coalition_points(
    theta: Sequence[Point], members: Sequence[Sequence[Point]], w: int, blinding: Point
) -> tuple[Point, ...]:
    """C_Θ + w·Σ (C_i − B) over the members, of every chunk."""
    weights = [1, *[w] * len(members)]
    return tuple(
        combine([own, *(points[chunk] for points in members)], weights, blinding) for chunk, own in enumerate(theta)
    )


def name_of(coalition: Members) -> str:
    return f"coalition {{{', '.join(map(str, coalition))}}}"


def check_builds(manifest: Manifest, model: UtilityBuild, method: Method) -> None:
    """Refuse a model that was compiled for other updates, and a build whose salts do not last."""
    method.check(manifest.trainers)
    if manifest.score != "equal":
        raise InputError(
            f"the settlement of this build publishes {manifest.score} scores, which tell of the updates what the"
            f" losses do not: build with --score {method}"
        )
    for name, got, wanted in (
        ("parameters", model.params, manifest.params),
        ("values of a chunk", model.chunk, manifest.chunk),
        ("salts of a chunk", model.salts, manifest.salts),
        ("scale bits", model.scale_bits, manifest.fixed_point.scale_bits),
    ):
        if got != wanted:
            raise InputError(f"the model is compiled for other updates: {name} {got}, the build has {wanted}")
    proofs = games.proofs_needed(method, manifest.trainers)
    if model.proofs < proofs:
        raise InputError(
            f"{method} of {manifest.trainers} trainers can need {proofs} proofs a round: the salts of this model's"
            f" validation batch last for {model.proofs}; compile with --proofs"
        )
    needed = SALTS + games.salts_needed(method, manifest.trainers)
    if manifest.salts < needed:
        raise InputError(
            f"{method} of {manifest.trainers} trainers can spend {needed} salts of a chunk: this build has"
            f" {manifest.salts}; build with --salts {needed}"
        )
