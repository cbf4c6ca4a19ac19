"""A build on disk: the manifest, the circuits and their keys. Loading checks every hash.

A build is a folder:

    manifest.json                      everything that a verifier must know, and nothing else
    circuits/NAME/settings.json        what ezkl was told, canonical
    circuits/NAME/circuit.ezkl         the compiled circuit (prover)
    circuits/NAME/vk.key, pk.key       verifying and proving key

NAME is base or settlement. A verifier needs the
manifest, settings and verifying keys; proving keys may be deleted on its machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import backend
from ..backend import CircuitFiles, identity_of, read_logrows, srs
from ..crypto import scalar_hex
from ..documents import check_schema, parse_json, read_json
from ..errors import ArtifactError, BackendError, InputError, ProofRejected
from ..files import sha256_file
from .keys import describe
from .manifest import MANIFEST_FORMAT, Manifest, check_consistent
from .statements import check_rows, check_settings

PROVER_FILES = ("circuit.ezkl", "pk.key")
VERIFIER_FILES = ("settings.json", "vk.key")


@dataclass(frozen=True)
class Build:
    """A loaded build. Its files were checked against the manifest's hashes."""

    folder: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return f"Build({self.folder}, {self.manifest!r})"

    @classmethod
    def load(cls, folder: str | Path, prover: bool = False) -> Build:
        """Read a build and check every hash; proving keys only with `prover` (they are large).

        Raises ArtifactError if anything is missing, damaged, or not what the manifest says.
        """
        folder = Path(folder).resolve()
        try:
            value = read_json(folder / "manifest.json", "manifest")
            check_schema(value, "manifest", "manifest")
            build = cls(folder, Manifest(value))
            check_consistent(build.manifest)
        except (InputError, ProofRejected) as error:
            raise ArtifactError(f"{folder} is not a build: {error}") from error
        wanted = VERIFIER_FILES + (PROVER_FILES if prover else ())
        for name, circuit in value["circuits"].items():
            for file in wanted:
                check_hash(folder / "circuits" / name / file, circuit["files"][file])
        _check_circuits(build)
        kind = srs.by_id(value["srs"]["id"]).kind
        if kind != value["srs"]["kind"]:
            raise ArtifactError(f"manifest says its SRS is of kind {value['srs']['kind']}: here it is {kind}")
        try:
            zero = backend.commit(build.files["base"], build.manifest.logrows, [[scalar_hex(0)]])[0]
        except BackendError as error:
            raise ArtifactError(f"ezkl cannot read the build's settings or verifying key: {error}") from error
        if build.manifest.blinding != zero:
            raise ArtifactError("manifest's blinding point is not the commitment of zero")
        return build

    @functools.cached_property
    def files(self) -> Mapping[str, CircuitFiles]:
        """Of each circuit, with the SRS that its keys are of. `load` finds and checks them once."""
        identity = self.manifest.value["srs"]["id"]
        return {
            name: CircuitFiles(
                self.folder / "circuits" / name,
                _srs_file(identity, circuit["logrows"], circuit["srs_sha256"]),
                circuit["proof_bytes"],
            )
            for name, circuit in self.manifest.value["circuits"].items()
        }

    def missing_prover_files(self) -> Iterable[Path]:
        for name in self.manifest.value["circuits"]:
            for file in PROVER_FILES:
                path = self.folder / "circuits" / name / file
                if not path.exists():
                    yield path


def is_build(folder: Path) -> bool:
    """Whether a folder holds a build, of whatever state: it may then be replaced by a new one."""
    try:
        value = parse_json((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and value.get("format") == MANIFEST_FORMAT


def check_hash(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: build again, or copy it from the project's build")
    actual = sha256_file(path)
    if actual != digest:
        raise ArtifactError(f"{path} is not the file of this build: got SHA-256 {actual}, wanted {digest}")


@functools.lru_cache(maxsize=64)
def _srs_file(identity: str, logrows: int, digest: str) -> Path:
    path = srs.by_id(identity).path(logrows)
    if read_logrows(path) != logrows or identity_of(path) != identity:
        raise ArtifactError(f"{path} is not the SRS of 2^{logrows} rows of ceremony {identity[:8]}: delete it")
    check_hash(path, digest)
    return path


def _check_circuits(build: Build) -> None:
    """The compiled circuits are those of the manifest's numbers, with every check in them."""
    expected = build.manifest.circuits()
    entries = build.manifest.value["circuits"]
    if set(entries) != set(expected):
        raise ArtifactError(f"manifest has the circuits {sorted(entries)}: wanted {sorted(expected)}")
    for name, circuit in expected.items():
        path = build.folder / "circuits" / name / "settings.json"
        try:
            settings = parse_json(path.read_bytes())
            check_settings(settings, circuit)
            check_rows(entries[name]["counted_rows"], circuit, counted=True)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is not the settings of a circuit: {error!r}") from error
        facts = describe(settings, circuit)
        for key, wanted in facts.items():
            if entries[name][key] != wanted:
                raise ArtifactError(
                    f"manifest contradicts itself: {name} has {key} {entries[name][key]}, wanted {wanted}"
                )
