"""The trainer's part: from a float update to a commitment and its opening. Nothing is proven here.

`commit_update` can be interrupted and run again: a second run goes on with the salts that the first wrote,
and never uses them for other values or another round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..build import Build
from ..documents import read_json, write_json
from ..errors import InputError, SaltReuse, demand
from ..files import locked, sweep
from ..progress import Progress, quiet
from ..updates import QuantisedUpdate, as_vector
from ..updates.quantise import quantise
from .commitment import (
    COMMITMENT_FILE,
    VALUES_FILE,
    Commitment,
    Opening,
    RoundId,
    address_text,
    commit,
    open_with_fresh_salts,
    read_address,
)

JOURNAL_FILE = "statement.json"
LOCK_FILE = ".lock"
OLD_OPENING_FILE = "opening.npz"


@dataclass(frozen=True)
class Committed:
    """What `commit_update` made: the commitment (public) and how the update was quantised."""

    commitment: Commitment
    quantised: QuantisedUpdate


def commit_update(
    build: Build,
    update: np.ndarray | Mapping[str, Any],
    folder: str | Path,
    trainer: int | str,
    round_id: RoundId | None = None,
    beta: int | None = None,
    saturate: bool = False,
    progress: Progress = quiet,
) -> Committed:
    """Quantise an update and commit to it, into ``folder``.

    Writes salts.npy and values.npy (secret, mode 0600) and, last, commitment.json.

    Args:
        update: (D,) floats, or tensors by the names of the build's model.
        trainer: address, 160 bits, as a number or in hex; the commitment's digest is worthless to any other.
        beta: the round's bound on squared norms; a longer update is clipped to it.
        saturate: cut values that do not fit, and count them; else they are refused.

    Raises:
        InputError: the update does not fit the build, or the folder is of a version that proved ranges.
        SaltReuse: the folder holds an opening of another update, trainer or round.
    """
    demand(build, Build, "the build")
    manifest = build.manifest
    folder = Path(folder)
    trainer = read_address(trainer) if isinstance(trainer, str) else trainer
    if not isinstance(trainer, int) or not 0 <= trainer < 1 << 160:
        raise InputError(f"a trainer is an address of 160 bits, as a number or in hex: got {trainer!r:.80}")
    round_id = round_id or RoundId()
    vector = as_vector(update, manifest.layout, "the update", note=progress)
    if vector.shape != (manifest.params,):
        raise InputError(f"the update has shape {vector.shape}: wanted ({manifest.params},)")
    quantised = quantise(vector, manifest.fixed_point, beta, saturate)
    with locked(folder / LOCK_FILE):  # two runs at once would overwrite each other's salts
        sweep(folder)  # what a run that was killed was writing
        opening = _opening(build, folder, quantised.values, trainer, round_id)
        progress("committing")
        commitment = Commitment(round_id, trainer, commit(build, opening))
        write_json(folder / COMMITMENT_FILE, commitment.to_json())
    return Committed(commitment, quantised)


def _opening(build: Build, folder: Path, values: np.ndarray, trainer: int, round_id: RoundId) -> Opening:
    """The opening of a fresh folder, or of an interrupted run with the very same statement."""
    journal = {
        "trainer": address_text(trainer),
        "chain_id": round_id.chain_id,
        "project": address_text(round_id.project),
        "round": round_id.round,
        "manifest_digest": build.manifest.value["digest"],
    }
    if (folder / OLD_OPENING_FILE).exists():
        raise InputError(f"{folder} was made by a version whose trainers proved ranges: commit again, in a new folder")
    if (folder / VALUES_FILE).exists():
        opening = Opening.load(folder, build.manifest)
        if read_json(folder / JOURNAL_FILE, "round of the opening") != journal:
            raise SaltReuse(f"{folder} holds an opening for another trainer, round or build: choose a new folder")
        if not np.array_equal(opening.values, values):
            raise SaltReuse(f"{folder} holds the opening of another update: its salts are spent, choose a new folder")
        return opening
    folder.mkdir(parents=True, exist_ok=True)
    opening = open_with_fresh_salts(values, build.manifest)
    write_json(folder / JOURNAL_FILE, journal)  # before the opening, so that an opening always has one
    opening.save(folder)
    return opening
