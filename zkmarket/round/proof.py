"""A round: what it is bound to, its proof, and what the proof decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Proof
from ..build import Build, Manifest
from ..crypto import Point, Transcript, decode_point, digest_words, encode_point
from ..documents import check_canonical, check_schema, read_json, write_json
from ..errors import InputError, ProofRejected, demand
from ..files import load_npz, save_npz
from ..rules import shares
from .base import BaseProof, Points
from .commitment import Commitment, RoundId, address_text, check_salts, combine

ROUND_PROOF_FORMAT = "zkmarket-round/2"


@dataclass(frozen=True)
class KnownReferences:
    """The reference vectors of a round, as everybody knows them. None is the zero vector: the round has none.

    Attributes:
        root: the owner's commitment to its root update for this round.
        last: commitment points of the last settled aggregate, one a chunk. It is a sum of accepted updates, whose
            entries are small: it has no blocks in the projection argument.
    """

    root: Commitment | None = None
    last: tuple[Point, ...] | None = field(default=None, repr=False)

    def points(self, manifest: Manifest) -> list[tuple[Point, ...]]:
        """Of each reference slot of a build, in order. The zero vector with salts 0 has the blinding point."""
        known = {"root": self.root.points if self.root else None, "last": self.last}
        return [known[name] or (manifest.blinding,) * manifest.chunks for name in manifest.references]

    def check(self, manifest: Manifest, round_id: RoundId) -> None:
        """Raise ProofRejected unless a round of this build can have them."""
        known = {"root": self.root.points if self.root else None, "last": self.last}
        for name, points in known.items():
            if points is not None and name not in manifest.references:
                raise ProofRejected(f"{manifest.filter} with {manifest.score} scores uses no {name} reference: got one")
            if points is not None and len(points) != manifest.chunks:
                raise ProofRejected(f"the {name} reference has {len(points)} points: wanted {manifest.chunks}")
        if self.root is not None and self.root.round_id != round_id:
            raise ProofRejected(f"the root update is of another round: got {self.root.round_id}, wanted {round_id}")

    def check_known(self, known: KnownReferences) -> None:
        """Raise ProofRejected unless these, which a proof claims, are those that the verifier knows."""
        for name, mine, claimed in (
            ("last aggregate", known.last, self.last),
            ("root update", _identity(known.root), _identity(self.root)),
        ):
            if mine != claimed:
                side = "verifier" if mine is None else "proof"
                why = "they differ" if mine and claimed else f"the {side} has none"
                raise ProofRejected(f"round proof compares with another {name} than the known one: {why}")

    def to_json(self) -> dict[str, Any]:
        root = {} if self.root is None else {"root": self.root.to_json()}
        return root | ({} if self.last is None else {"last": ["0x" + encode_point(p).hex() for p in self.last]})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> KnownReferences:
        return cls(
            Commitment.from_json(value["root"]) if "root" in value else None,
            tuple(decode_point(bytes.fromhex(point[2:])) for point in value["last"]) if "last" in value else None,
        )


NO_REFERENCES = KnownReferences()


def _identity(root: Commitment | None) -> tuple[Any, ...] | None:
    """Whose commitment, for which round, to what."""
    return None if root is None else (root.trainer, root.round_id, root.points)


@dataclass(frozen=True)
class RoundProof:
    """Everything that a verifier, or a contract, needs besides the build.

    Attributes:
        manifest_digest: of the build it was made with.
        round_id, beta: the round and its bound on squared norms.
        commitments: of slots 1..N, in order.
        mask_points, projection_points, gram_point: of slot 0's chunks, P_0..P_μ, and C_G.
        base: the Gram and the projection argument. settlement: what follows from the Gram matrix.
        references: what the prover compared with. A verifier compares them with what it knows itself.
    """

    manifest_digest: bytes
    round_id: RoundId
    beta: int
    commitments: tuple[Commitment, ...]
    mask_points: tuple[Point, ...]
    projection_points: tuple[Point, ...]
    gram_point: Point
    base: BaseProof
    settlement: Proof
    references: KnownReferences = NO_REFERENCES

    def __repr__(self) -> str:
        rid = self.round_id
        place = f"round {rid.round} of {address_text(rid.project)} on chain {rid.chain_id}"
        return f"RoundProof({place}, {len(self.commitments)} trainers, build {self.manifest_digest.hex()[:16]})"

    def to_json(self) -> dict[str, Any]:
        return {
            "format": ROUND_PROOF_FORMAT,
            "manifest_digest": "0x" + self.manifest_digest.hex(),
            "chain_id": self.round_id.chain_id,
            "project": address_text(self.round_id.project),
            "round": self.round_id.round,
            "beta": str(self.beta),
            "commitments": [commitment.to_json() for commitment in self.commitments],
            "mask_points": ["0x" + encode_point(point).hex() for point in self.mask_points],
            "projection_points": ["0x" + encode_point(point).hex() for point in self.projection_points],
            "gram_point": "0x" + encode_point(self.gram_point).hex(),
            "base": self.base.to_json(),
            "settlement": self.settlement.to_json(),
        } | ({"references": self.references.to_json()} if self.references != NO_REFERENCES else {})

    @classmethod
    def from_json(cls, value: Any) -> RoundProof:
        check_schema(value, "round", "round proof")
        proof = cls(
            bytes.fromhex(value["manifest_digest"][2:]),
            RoundId(value["chain_id"], int(value["project"], 16), value["round"]),
            int(value["beta"]),
            tuple(Commitment.from_json(commitment) for commitment in value["commitments"]),
            tuple(decode_point(bytes.fromhex(point[2:])) for point in value["mask_points"]),
            tuple(decode_point(bytes.fromhex(point[2:])) for point in value["projection_points"]),
            decode_point(bytes.fromhex(value["gram_point"][2:])),
            BaseProof.from_json(value["base"]),
            Proof.from_json(value["settlement"]),
            KnownReferences.from_json(value.get("references", {})),
        )
        check_canonical(proof.to_json(), value, "round proof")
        return proof

    def transcript(self, manifest: Manifest) -> Transcript:
        """The transcript as it is when the slots' challenges are drawn."""
        trainers = [commitment.trainer for commitment in self.commitments]
        return start_transcript(manifest, self.round_id, self.beta, trainers, self.points(manifest), self.gram_point)

    def points(self, manifest: Manifest) -> Points:
        slots = (*(commitment.points for commitment in self.commitments), *self.references.points(manifest))
        return Points(slots, self.mask_points, self.projection_points)

    def save(self, path: str | Path) -> None:
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path, manifest: Manifest) -> RoundProof:
        demand(manifest, Manifest, "the manifest of a build")
        return cls.from_json(read_json(path, "round proof", manifest.round_limit))


@dataclass(frozen=True)
class Decision:
    """What a verified round proof says.

    Attributes:
        trainers: addresses of slots 1..N.
        mask, scores: of each slot; scores without the low bits that the project drops.
        aggregate: commitment points of Agg = Σ mask_i u_i, one a chunk; empty where it is withheld.
        nu: lower median of the squared norms.
    """

    trainers: tuple[int, ...]
    mask: tuple[int, ...]
    scores: tuple[int, ...]
    nu: int
    aggregate: tuple[Point, ...]

    def __repr__(self) -> str:
        return f"Decision({sum(self.mask)} of {len(self.mask)} accepted, mask {list(self.mask)!r:.80}, nu {self.nu})"

    def shares(self, reward: int) -> tuple[list[int], int]:
        """Pay of each slot in wei, and the dust."""
        return shares(reward, self.scores)

    def to_json(self, reward: int | None = None) -> dict[str, Any]:
        paid, dust = self.shares(reward or 0)
        return {
            "verified": True,
            "trainers": [
                {"slot": slot, "trainer": address_text(who), "accepted": bool(bit), "score": score}
                | ({"share_wei": pay} if reward is not None else {})
                for slot, (who, bit, score, pay) in enumerate(
                    zip(self.trainers, self.mask, self.scores, paid, strict=True), start=1
                )
            ],
            "accepted": sum(self.mask),
            "nu": self.nu,
            "aggregate": ["0x" + encode_point(point).hex() for point in self.aggregate],
        } | ({"reward_wei": reward, "dust_wei": dust} if reward is not None else {})


@dataclass(frozen=True)
class Aggregate:
    """Agg = Σ mask_i u_i with the sum of the salts: opens the aggregate's commitment.

    Attributes:
        values: (D,) int64.
        salts: (m, S, 32) uint8.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write with mode 0600: whoever holds it knows the sum of the accepted updates."""
        save_npz(path, {"values": self.values, "salts": self.salts}, mode=0o600)

    @classmethod
    def load(cls, path: str | Path, manifest: Manifest) -> Aggregate:
        """Read an aggregate; InputError if it does not fit the manifest."""
        demand(manifest, Manifest, "the manifest of a build")
        aggregate = cls(**load_npz(path, "aggregate", manifest.array_limits))
        if aggregate.values.dtype.kind != "i" or aggregate.values.shape != (manifest.params,):
            raise InputError(
                f"an aggregate holds {manifest.params} integers:"
                f" got {aggregate.values.dtype}{list(aggregate.values.shape)}"
            )
        check_salts(aggregate.salts, manifest)
        return aggregate


def context(manifest: Manifest, round_id: RoundId, beta: int, slots: Sequence[int]) -> bytes:
    """What the transcript starts from. Words: manifest digest, chain id, project, round, β, N addresses."""
    return digest_words([manifest.digest(), round_id.chain_id, round_id.project, round_id.round, beta, *slots])


def start_transcript(
    manifest: Manifest, round_id: RoundId, beta: int, trainers: Sequence[int], points: Points, gram_point: Point
) -> Transcript:
    """A transcript that has absorbed the context and all points: of the slots, the masks, and C_G."""
    return Transcript.start(context(manifest, round_id, beta, trainers), [*points.flat(), gram_point])


def is_withheld(manifest: Manifest, mask: Sequence[int]) -> bool:
    """Whether the round has no aggregate: with fewer accepted than the minimum it would reveal them to each other.

    The round is proven and paid all the same. Were it not provable, a majority of too long updates could stop
    it and take the aggregator's bond.
    """
    return sum(mask) < manifest.min_accepted


def aggregate_points(manifest: Manifest, commitments: Sequence[Commitment], mask: Sequence[int]) -> tuple[Point, ...]:
    """C_Agg = Σ mask_i C_i − (Σ mask_i − 1)·B of every chunk: no circuit, anyone can compute it. () if withheld."""
    if is_withheld(manifest, mask):
        return ()
    accepted = [c.points for c, bit in zip(commitments, mask, strict=True) if bit]
    return tuple(
        combine([points[chunk] for points in accepted], [1] * len(accepted), manifest.blinding)
        for chunk in range(manifest.chunks)
    )


def check_slots(build: Build, commitments: Sequence[Commitment], round_id: RoundId) -> None:
    """Refuse a wrong number of slots, a trainer in two slots, or a commitment of another round.

    Equal commitments are not refused: a digest names its author, so that whoever made two slots equal
    owns both, and refusing would let it stop the round.
    """
    manifest = build.manifest
    if len(commitments) != manifest.trainers:
        raise ProofRejected(f"this build settles exactly N={manifest.trainers} trainers: got {len(commitments)}")
    seen: dict[int, int] = {}
    for slot, commitment in enumerate(commitments, start=1):
        if commitment.round_id != round_id:
            raise ProofRejected(
                f"slot {slot}: commitment is of another round: got {commitment.round_id}, wanted {round_id}"
            )
        if len(commitment.points) != manifest.chunks:
            raise ProofRejected(
                f"slot {slot}: commitment has {len(commitment.points)} points: wanted {manifest.chunks}"
            )
        if commitment.trainer in seen:
            raise ProofRejected(f"slots {seen[commitment.trainer]} and {slot}: the same trainer twice")
        seen[commitment.trainer] = slot
