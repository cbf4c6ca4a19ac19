"""The trainer's part: from a float update to a commitment, its opening, and its range proofs.

`commit_update` can be interrupted and run again: salts are written before anything is proven with
them, each range proof is kept as it is made, and a second run goes on where the first stopped. It
never draws new noise for a proof that exists, and never uses salts for other values or another round.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .artifacts import Build, check_schema
from .backend import Progress, Proof, quiet
from .commitment import (
    COMMITMENT_FILE,
    OPENING_FILE,
    Commitment,
    Opening,
    RoundId,
    address_text,
    commit,
    open_with_fresh_salts,
    prove_range,
    verify_range,
)
from .errors import InputError, SaltReuse
from .files import locked, read_json, write_json
from .quantise import QuantisedUpdate, quantise

PROOFS_FOLDER = "range-proofs"
JOURNAL_FILE = "statement.json"
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Committed:
    """What `commit_update` made: the commitment (public) and how the update was quantised."""

    commitment: Commitment
    quantised: QuantisedUpdate


def commit_update(
    build: Build,
    update: np.ndarray,
    folder: Path,
    trainer: int,
    round_id: RoundId | None = None,
    beta: int | None = None,
    saturate: str = "refuse",
    progress: Progress = quiet,
) -> Committed:
    """Quantise, commit and prove an update, into ``folder``.

    Writes opening.npz (secret, mode 0600), range-proofs/ and, last, commitment.json.

    Args:
        update: (D,) floats.
        trainer: address, 160 bits; the range proofs are worthless to any other.
        beta: the round's bound on squared norms; a longer update is clipped to it.
        saturate: "refuse" or "count" values that do not fit.

    Raises:
        InputError: the update does not fit the build.
        SaltReuse: the folder holds an opening of another update, trainer or round.
    """
    manifest = build.manifest
    folder = Path(folder)
    round_id = round_id or RoundId()
    if np.shape(update) != (manifest.params,):
        raise InputError(f"the update has shape {np.shape(update)}: wanted ({manifest.params},)")
    quantised = quantise(update, manifest.fixed_point, beta, saturate)
    bound = manifest.range_bound
    values = np.clip(quantised.values, -bound, bound - 1)
    if (values != quantised.values).any() and saturate == "refuse":
        raise InputError(
            f"values lie in [−{bound}, {bound}) at 2^{manifest.logrows} rows: lower the scale,"
            " clip, or allow saturation"
        )
    with locked(folder / LOCK_FILE):  # two runs at once would overwrite each other's salts
        opening = _opening(build, folder, values, trainer, round_id)
        progress("committing")
        points = commit(build, opening)

        proofs: dict[int, Proof] = {}
        missing = []
        for chunk in range(manifest.chunks):
            path = _proof_path(folder, chunk)
            if path.exists():
                proofs[chunk] = _kept_proof(path)
            else:
                missing.append(chunk)
        for chunk, proof in prove_range(build, opening, round_id, trainer, missing, progress):
            write_json(_proof_path(folder, chunk), proof.to_json())
            proofs[chunk] = proof
        ordered = tuple(proofs[chunk] for chunk in range(manifest.chunks))
        commitment = Commitment(round_id, trainer, points, ordered)
        verify_range(build, commitment)  # what is published is what a contract will accept
        write_json(folder / COMMITMENT_FILE, commitment.to_json())
    return Committed(commitment, quantised)


def _kept_proof(path: Path) -> Proof:
    """A range proof of an interrupted run."""
    value = read_json(path, "range proof")
    check_schema(value, "proof", f"range proof {path}")
    return Proof.from_json(value)


def _proof_path(folder: Path, chunk: int) -> Path:
    return folder / PROOFS_FOLDER / f"{chunk:06d}.json"


def _opening(build: Build, folder: Path, values: np.ndarray, trainer: int, round_id: RoundId) -> Opening:
    """The opening of a fresh folder, or of an interrupted run with the very same statement."""
    journal = {
        "trainer": address_text(trainer),
        "chain_id": round_id.chain_id,
        "project": address_text(round_id.project),
        "round": round_id.round,
        "manifest_digest": build.manifest.value["digest"],
    }
    path = folder / OPENING_FILE
    if path.exists():
        opening = Opening.load(path, build.manifest)
        if read_json(folder / JOURNAL_FILE, "round of the opening") != journal:
            raise SaltReuse(f"{folder} holds an opening for another trainer, round or build: choose a new folder")
        if not np.array_equal(opening.values, values):
            raise SaltReuse(f"{folder} holds the opening of another update: its salts are spent, choose a new folder")
        return opening
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / PROOFS_FOLDER, ignore_errors=True)  # of an opening that is lost
    opening = open_with_fresh_salts(values, build.manifest)
    write_json(folder / JOURNAL_FILE, journal)  # before the opening, so that an opening always has one
    opening.save(path)
    return opening
