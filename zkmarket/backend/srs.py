"""The structured reference string: where it comes from, and that it is what it says.

An SRS file is halo2's raw format: K as 4 bytes little-endian; 2^K points τ^i·G; 2^K points L_i(τ)·G;
then G2 and τ·G2. Whoever knows τ can prove anything, so the kind of an SRS is part of everything
that is made with it:

- ``ceremony``: a file whose SHA-256 is in ezkl's published list (perpetual powers of tau).
- ``imported``: a file whose digest the user vouched for.
- ``development``: τ is a public constant. Insecure by design, the same on every machine, so that
  development keys are reproducible. Never accepted as anything else.

Files of one ceremony share τ·G2; the SHA-256 of the two G2 points is the ceremony's ``id``. A store
holds one folder a ceremony. A smaller size is derived from a larger one where it is missing: the
powers are a prefix, the Lagrange points are their inverse group FFT.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackendError, InputError, SrsError
from ..files import atomic_write, cache_folder, replacing, sha256_file
from ..progress import Progress, quiet
from .ezkl import fetch_srs
from .powers import (
    DEVELOPMENT_TAU,
    ceremony_id,
    check_structure,
    derive,
    development_g2,
    powers_file,
    read_g2,
    read_logrows,
)

KINDS = ("ceremony", "imported", "development")

WARNING = "INSECURE development SRS: its trapdoor is public, anyone can forge proofs made with it"


@dataclass(frozen=True)
class Srs:
    """One ceremony in the local store."""

    kind: str
    id: str
    folder: Path

    @property
    def insecure(self) -> bool:
        return self.kind == "development"

    def sizes(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("kzg")) for path in self.folder.glob("kzg*.srs"))

    def path(self, logrows: int, progress: Progress = quiet) -> Path:
        """The file of exactly this size, made from what is there if need be."""
        path = self.folder / f"kzg{logrows}.srs"
        if not path.exists():
            if self.kind == "development":
                progress(f"development SRS of 2^{logrows} rows")
                atomic_write(path, b"".join(powers_file(logrows, DEVELOPMENT_TAU)))
            else:
                larger = [size for size in self.sizes() if size > logrows]
                if not larger:
                    raise SrsError(
                        f"the {self.kind} SRS {self.id[:8]} has no file of 2^{logrows} rows or more (it has"
                        f" {self.sizes()}): run `zkmarket srs fetch --logrows {logrows}` or `zkmarket srs import FILE`"
                    )
                progress(f"deriving the SRS of 2^{logrows} rows from 2^{larger[0]}: group FFT, once")
                atomic_write(path, b"".join(derive(self.folder / f"kzg{larger[0]}.srs", logrows)))
        return path


def store() -> Path:
    return cache_folder() / "srs"


def installed() -> list[Srs]:
    """Every ceremony in the store, the most trustworthy kind first."""
    ceremonies = []
    for info in store().glob("*/srs.json"):
        try:
            value = json.loads(info.read_text())
            ceremonies.append(Srs(KINDS[KINDS.index(value["kind"])], str(value["id"]), info.parent))
        except (ValueError, KeyError, TypeError) as error:
            raise SrsError(f"{info} is damaged ({error!r}): delete its folder and install the SRS again") from error
    return sorted(ceremonies, key=lambda srs: KINDS.index(srs.kind))


def select(kind: str | None = None) -> Srs:
    """The SRS to build with: of the kind asked for, or the most trustworthy there is."""
    for srs in installed():
        if kind in (None, srs.kind):
            return srs
    raise SrsError(
        f"no {kind or ''} SRS is installed in {store()}: run `zkmarket srs fetch` (ceremony),"
        " `zkmarket srs import FILE`, or `zkmarket srs generate` (development, insecure)".replace("no  SRS", "no SRS")
    )


def by_id(identity: str) -> Srs:
    for srs in installed():
        if srs.id == identity:
            return srs
    if identity == ceremony_id(development_g2()):
        return generate()
    raise SrsError(
        f"the SRS {identity[:8]} of this build is not in {store()}: run `zkmarket srs fetch` or `zkmarket srs import`"
    )


def generate(logrows: int | None = None, progress: Progress = quiet) -> Srs:
    """The development SRS, made here from its public trapdoor; files of each size as they are needed."""
    srs = _register("development", ceremony_id(development_g2()))
    if logrows is not None:
        srs.path(logrows, progress)
    return srs


def fetch(logrows: int, progress: Progress = quiet) -> Srs:
    """Download the ceremony's file of one size and check it against ezkl's published digest."""
    published = published_digests()
    if str(logrows) not in published:
        raise InputError(f"the ceremony has files of 2^1 to 2^26 rows: got logrows {logrows}")
    store().mkdir(parents=True, exist_ok=True)
    partial = store() / f"download-{os.getpid()}.srs"
    try:
        progress(f"downloading the ceremony's file of 2^{logrows} rows")
        try:
            fetch_srs(logrows, partial)
        except BackendError as error:
            raise SrsError(
                f"the ceremony's file of 2^{logrows} rows could not be downloaded ({error}):"
                " bring it from another machine and run `zkmarket srs import FILE`"
            ) from error
        return import_file(partial)
    finally:
        partial.unlink(missing_ok=True)


def import_file(path: Path, digest: str | None = None) -> Srs:
    """Take a file into the store, if its SHA-256 is the published one of its size or the one given.

    Raises:
        SrsError: damaged, of an unknown digest, or the development SRS under another name.
    """
    if not path.is_file():
        raise SrsError(f"no such SRS file: {path}")
    logrows = read_logrows(path)
    actual = sha256_file(path)
    published = published_digests().get(str(logrows))
    if digest is not None and actual != digest.lower().removeprefix("0x"):
        raise SrsError(f"SRS digest is not the one given: got {actual}, wanted {digest}")
    if actual == published:
        kind = "ceremony"
    elif digest is not None:
        kind = "imported"
    else:
        raise SrsError(
            f"SRS digest is not the published one for 2^{logrows} rows: got {actual}, wanted {published};"
            " if you trust this file, give its digest with --digest"
        )
    check_structure(path, logrows)
    g2 = read_g2(path)
    if g2 == development_g2():
        kind = "development"
    srs = _register(kind, ceremony_id(g2))
    target = srs.folder / f"kzg{logrows}.srs"
    if not target.exists():
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            if sha256_file(temporary) != actual:
                raise SrsError(f"{path} changed while it was imported: try again")
    return srs


def published_digests() -> dict[str, str]:
    """SHA-256 of the ceremony's files by logrows, as ezkl publishes them."""
    digests: dict[str, str] = json.loads((Path(__file__).parent / "ceremony.json").read_text())["sha256"]
    return digests


# ---------------------------------------------------------------- inside


def _register(kind: str, identity: str) -> Srs:
    folder = store() / f"{kind}-{identity[:16]}"
    info = folder / "srs.json"
    if not info.exists():
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(info, json.dumps({"kind": kind, "id": identity}).encode())
    return Srs(kind, identity, folder)
