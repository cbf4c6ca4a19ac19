"""The auditor's part: check a round with nothing but the build, the commitments and the proof."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..build import Build, masked_chunks
from ..documents import write_json
from ..errors import DomainError, ProofRejected, demand
from ..files import link_or_copy, new_folder
from ..progress import Progress, quiet
from . import base, settlement
from .commitment import RoundId
from .proof import NO_REFERENCES, Decision, KnownReferences, RoundProof, aggregate_points, check_slots


def verify_round(
    build: Build,
    proof: RoundProof,
    progress: Progress = quiet,
    expected: RoundId | None = None,
    references: KnownReferences = NO_REFERENCES,
) -> Decision:
    """Verify a whole round: that every update is well-formed, and that the decision follows.

    Needs no update and no key but the verifying ones. Returns the decision or raises ProofRejected
    with the reason; there is no other way to fail.

    Args:
        expected: the chain, project and round that the caller asks about. Without it the proof's own
            are taken, and the caller must look at them: a proof of last week's round is a valid proof.
        references: the owner's root update and the last aggregate as the caller knows them; never the proof's own.
    """
    demand(build, Build, "the build")
    demand(proof, RoundProof, "the round proof")
    manifest = build.manifest
    if expected is not None and proof.round_id != expected:
        raise ProofRejected(f"round proof is of another round: got {proof.round_id}, wanted {expected}")
    if proof.manifest_digest != manifest.digest():
        raise ProofRejected(
            f"round proof is of another build: got manifest digest {proof.manifest_digest.hex()[:16]},"
            f" wanted {manifest.digest().hex()[:16]}"
        )
    check_slots(build, proof.commitments, proof.round_id)
    for name, points, wanted in (
        ("mask", proof.mask_points, len(masked_chunks(manifest.chunks))),
        ("projection", proof.projection_points, len(manifest.projection.mask_positions)),
    ):
        if len(points) != wanted:
            raise ProofRejected(f"round proof has {len(points)} {name} points: wanted {wanted}")
    try:
        settlement.check_beta(manifest, proof.beta)
    except DomainError as error:
        raise ProofRejected(str(error)) from error
    proof.references.check(manifest, proof.round_id)
    proof.references.check_known(references)
    transcript = proof.transcript(manifest)
    r = transcript.slot_challenges(manifest.slots)
    progress("settlement proof")
    q, outcome = settlement.verify(build, proof.settlement, proof.gram_point, r, proof.beta)
    progress("base proof")
    base.verify(build, proof.base, proof.points(manifest), transcript, r, q)
    return Decision(
        tuple(commitment.trainer for commitment in proof.commitments),
        outcome.mask,
        outcome.kept(manifest),
        outcome.nu,
        aggregate_points(manifest, proof.commitments, outcome.mask),
    )


def export(build: Build, proof: RoundProof, folder: str | Path) -> list[tuple[str, Path]]:
    """Write every inner proof with its key and settings, so that ezkl alone can check it.

    Returns (what, folder) of each; every folder has proof.json, vk.key, settings.json and kzg.srs.
    """
    demand(build, Build, "the build")
    demand(proof, RoundProof, "the round proof")
    inner = [("base", proof.base.proof), ("settlement", proof.settlement)]
    copies: dict[Path, Path] = {}
    with new_folder(Path(folder), replace=(Path(folder) / "base" / "proof.json").exists()) as fresh:
        for name, item in inner:
            place = fresh / name
            place.mkdir()
            files = build.files[name]
            write_json(place / "proof.json", item.to_ezkl())
            for source, target in ((files.vk, "vk.key"), (files.settings, "settings.json"), (files.srs, "kzg.srs")):
                if source in copies:  # one copy a circuit; none is shared with the build or the cache
                    link_or_copy(copies[source], place / target)
                else:
                    copies[source] = Path(shutil.copyfile(source, place / target))
    return [(name, Path(folder) / name) for name, _ in inner]
