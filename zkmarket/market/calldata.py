"""Proofs and numbers in the order in which the contracts take them, and read back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from eth_hash.auto import keccak

from ..backend import Proof
from ..build import Manifest, masked_chunks
from ..crypto import Point, Transcript, digest_words
from ..round import (
    NO_REFERENCES,
    BaseProof,
    Challenges,
    Commitment,
    KnownReferences,
    Points,
    RoundId,
    RoundProof,
    replay,
    start_transcript,
)

# ---------------------------------------------------------------- calldata


def point_words(points: Sequence[Point]) -> list[int]:
    """x, y, x, y, …"""
    return [coordinate for point in points for coordinate in point]


def submission_word(digest: bytes, cid: bytes) -> bytes:
    """What a seat holds, and a receipt signs: digest and CID of an update as one word."""
    return keccak(digest + keccak(cid))


def base_words(proof: RoundProof, cids: Sequence[bytes], references: Sequence[Sequence[Point]] = ()) -> tuple[Any, ...]:
    """`BaseProof` of Types.sol: what the contract does not know itself.

    Args:
        cids: that were submitted, of slots 1..N, and then of the root update if one was admitted.
        references: points of every reference slot, as `KnownReferences.points` gives them.
    """
    base = proof.base
    return (
        point_words(all_points(proof, references)),
        [keccak(cid) for cid in cids],
        proof.settlement.instances[0],
        base.t0,
        base.z,
        [word for claim in base.claims for word in claim],
        [word for message in base.rounds for word in message],
        base.salt_square,
        base.proof.data,
    )


def all_points(proof: RoundProof, references: Sequence[Sequence[Point]] = ()) -> list[Point]:
    """In the order in which they are absorbed: slots 1..N, the references', slot 0's, P_0..P_μ, C_G."""
    slots = [commitment.points for commitment in proof.commitments] + list(references)
    points = [point for slot in slots for point in slot]
    return [*points, *proof.mask_points, *proof.projection_points, proof.gram_point]


def decision_words(proof: RoundProof, theta: Sequence[Point]) -> tuple[Any, ...]:
    """`Decision` of Types.sol.

    Args:
        theta: commitment of the model before the round, of which the contract has a hash.
    """
    n, instances = len(proof.commitments), proof.settlement.instances
    mask = sum(bit << slot for slot, bit in enumerate(mask_of(proof)))
    return mask, list(instances[-n - 1 : -1]), instances[-1], point_words(theta), proof.settlement.data


def utility_words(
    coalition: int,
    descriptor: Sequence[int],
    model: Sequence[Point],
    left: Sequence[tuple[Sequence[Point], bytes]],
    claim: tuple[int, int],
    proof: bytes,
) -> tuple[Any, ...]:
    """`UtilityProof` of Types.sol.

    Args:
        coalition: its slots as bits, slot 1 lowest.
        descriptor: words of the compiled model's description.
        model: commitment of the model of all accepted, which is the next round's.
        left: of every accepted slot that is not in the coalition, in order, its points and its submission's CID.
        claim: correct predictions and loss.
    """
    words = [word for points, _ in left for word in point_words(points)]
    return coalition, list(descriptor), point_words(model), words, [keccak(cid) for _, cid in left], *claim, proof


def proofs_hash(base: bytes, settlement: bytes) -> bytes:
    """How a project logs the proofs that settled a round. `base` is empty where it was proven before."""
    return keccak((keccak(base) if base else bytes(32)) + keccak(settlement))


def mask_of(proof: RoundProof) -> tuple[int, ...]:
    """Which slots a settlement accepts: its instances end with the mask, the scores and ν."""
    n = len(proof.commitments)
    return proof.settlement.instances[-2 * n - 1 : -n - 1]


def round_proof_of(
    base: Sequence[Any],
    decision: Sequence[Any],
    manifest: Manifest,
    round_id: RoundId,
    beta: int,
    trainers: Sequence[int],
    references: KnownReferences = NO_REFERENCES,
) -> RoundProof:
    """The round proof behind `base_words` and `decision_words`: what the contract computes is computed again.

    Args:
        base, decision: of Types.sol, from calldata that the contract has verified.
        beta: norm bound of the round.
        trainers: addresses of the admitted, in the order of slots.
        references: of the round; the contract has compared those in `base` with them.
    """
    words, _, q, t0, z, folds, rounds, salt_square, base_proof = base
    mask, scores, nu, _, settlement_proof = decision
    points = list(zip(words[::2], words[1::2], strict=True))
    n, chunks = len(trainers), manifest.chunks
    slots = [tuple(points[at * chunks : (at + 1) * chunks]) for at in range(n + len(manifest.references))]
    rest = points[len(slots) * chunks : -1]
    own = len(masked_chunks(chunks))
    all_points = Points(tuple(slots), tuple(rest[:own]), tuple(rest[own:]))
    transcript = start_transcript(manifest, round_id, beta, trainers, all_points, points[-1])
    r = transcript.slot_challenges(manifest.slots)
    sent = BaseProof(t0, bytes(z), _pairs(folds), _pairs(rounds), Proof(bytes(base_proof), ()))
    outputs = replay(manifest, transcript, q, sent).outputs(salt_square, manifest.logrows)
    return RoundProof(
        manifest.digest(),
        round_id,
        beta,
        tuple(Commitment(round_id, who, own) for who, own in zip(trainers, slots, strict=False)),
        all_points.mask,
        all_points.projection,
        points[-1],
        dataclasses.replace(sent, proof=Proof(sent.proof.data, outputs)),
        Proof(bytes(settlement_proof), (q, *r, beta, *(mask >> at & 1 for at in range(n)), *scores, nu)),
        references,
    )


def _pairs(words: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


def last_seed(proof: RoundProof, references: Sequence[Sequence[Point]] = ()) -> bytes:
    """The transcript's seed when it has absorbed all that the prover sent: what names a base proof on chain.

    Args:
        references: points of every reference slot, as `KnownReferences.points` gives them.
    """
    rid = proof.round_id
    trainers = [commitment.trainer for commitment in proof.commitments]
    context = digest_words([proof.manifest_digest, rid.chain_id, rid.project, rid.round, proof.beta, *trainers])
    transcript = Transcript.start(context, all_points(proof, references))
    Challenges.replayed(transcript, proof.settlement.instances[0], proof.base)
    return transcript.seed
