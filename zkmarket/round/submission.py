"""Submissions as files: a commitment with its opening, loaded and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..build import Build
from ..errors import InputError, ProofRejected, SaltReuse, demand
from .commitment import COMMITMENT_FILE, VALUES_FILE, Commitment, Opening


@dataclass(frozen=True)
class Submission:
    """What the aggregator holds of one trainer."""

    commitment: Commitment
    opening: Opening


def load_submissions(build: Build, folder: str | Path) -> list[Submission]:
    """Read one folder a trainer, in order of their names.

    Raises InputError naming the trainer's folder.
    """
    demand(build, Build, "the build")
    folders = sorted(path for path in Path(folder).glob("*") if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"{folder} holds no trainers' folders, each with {COMMITMENT_FILE} and {VALUES_FILE}")
    return [load_submission(build, place) for place in folders]


def load_submission(build: Build, folder: str | Path) -> Submission:
    """Read one folder that `zkmarket commit` wrote; errors name it."""
    demand(build, Build, "the build")
    folder = Path(folder)
    try:
        commitment = Commitment.load(folder / COMMITMENT_FILE, build.manifest)
        return Submission(commitment, Opening.load(folder, build.manifest))
    except (InputError, ProofRejected) as error:
        raise type(error)(f"{folder.name}: {error}") from error


def check_salts_once(opening: Opening, slot: int | None = None) -> None:
    """Raise SaltReuse if an opening uses a salt twice."""
    salts = opening.salts.reshape(-1, 32)
    if len({salt.tobytes() for salt in salts}) != len(salts):
        who = f"slot {slot}: " if slot else ""
        raise SaltReuse(f"{who}the opening uses a salt twice: every salt must be fresh")
