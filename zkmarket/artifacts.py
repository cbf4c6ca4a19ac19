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
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from . import backend
from . import srs as srs_module
from .backend import CircuitFiles
from .columns import Columns
from .contribution import references
from .errors import ArtifactError, BackendError, InputError, ProofRejected
from .field import Point, decode_point, encode_point, scalar_hex
from .files import parse_json, read_json, sha256_file
from .projection import Shape
from .quantise import FixedPoint, ParameterLayout
from .rules import Domain, Filter, norm_bound, score_shift
from .statements import MAX_VALUE_BITS, Circuit, check_rows, check_settings, project_circuits, value_bound
from .transcript import digest_words

FORMAT = "zkmarket-manifest/2"
PROVER_FILES = ("circuit.ezkl", "pk.key")
VERIFIER_FILES = ("settings.json", "vk.key")
SCALE_OFFSET = 64  # a scale may be negative, a transcript word may not


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)
"""JSON Schema as usual, but 7.0 is not the integer 7: both would be one value with two texts."""


@functools.cache
def _validator(name: str) -> jsonschema.protocols.Validator:
    schema = json.loads((Path(__file__).parent / "schemas" / f"{name}.schema.json").read_text())
    return _Validator(schema)


def check_canonical(again: Any, value: Any, what: str) -> None:
    """Raise InputError unless an object is written in the one way in which zkmarket writes it."""
    if json.dumps(again, sort_keys=True) != json.dumps(value, sort_keys=True):  # text, since 7.0 == 7
        raise InputError(f"{what} is not in canonical form: it does not read back as it was written")


def check_schema(value: Any, name: str, what: str) -> None:
    """Raise InputError with the place and the reason unless `value` fits schemas/NAME.schema.json."""
    problem = jsonschema.exceptions.best_match(_validator(name).iter_errors(value))
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path)) or "top level"
        raise InputError(f"{what} does not fit its schema at {place}: {problem.message[:300]}")


@dataclass(frozen=True)
class Manifest:
    """What a project has fixed. `value` is the JSON object of manifest.json."""

    value: dict[str, Any]

    @property
    def trainers(self) -> int:
        return self.value["trainers"]

    @property
    def params(self) -> int:
        return self.value["params"]

    @property
    def logrows(self) -> int:
        return self.value["logrows"]

    @property
    def chunk(self) -> int:
        return self.value["chunk"]

    @property
    def salts(self) -> int:
        return self.value["salts"]

    @property
    def columns(self) -> Columns:
        """The shape of a column of the updates: ℓ1 by ℓ2."""
        return Columns(self.logrows)

    @property
    def projection(self) -> Shape:
        """What the projection argument's numbers follow from."""
        return projection_shape(self.trainers, self.params, self.logrows, self.references)

    @property
    def chunks(self) -> int:
        return self.value["chunks"]

    @property
    def bound(self) -> int:
        """Q: an honest value is in [−Q, Q), and no squared norm exceeds D·Q²."""
        return value_bound(self.fixed_point.value_bits)

    @property
    def norm_bound(self) -> int:
        """D·Q², as the settlement proves it of every squared norm."""
        return norm_bound(self.params, self.bound)

    @property
    def fixed_point(self) -> FixedPoint:
        return FixedPoint(self.value["fixed_point"]["scale_bits"], self.value["fixed_point"]["value_bits"])

    @property
    def filter(self) -> Filter:
        return Filter.parse(self.value["filter"])

    @property
    def score(self) -> str:
        return self.value["score"]

    @property
    def references(self) -> tuple[str, ...]:
        """The reference vectors that have slots of their own after the trainers': of "root", "last", in this order."""
        return references(self.filter, self.score)

    @property
    def slots(self) -> int:
        """Slots of the Gram matrix: the mask's, N trainers', and the references'."""
        return 1 + self.trainers + len(self.references)

    @property
    def most_trainers(self) -> int | None:
        """Trainers of the round that the last aggregate is from, at most; None where nothing is compared with it."""
        return self.value.get("most_trainers")

    @property
    def score_shift(self) -> int:
        """How many low bits of a proven score are dropped."""
        return self.value.get("score_shift", 0)

    @property
    def beta_max(self) -> int:
        return int(self.value["beta_max"])

    @property
    def min_accepted(self) -> int:
        return self.value["min_accepted"]

    @property
    def insecure(self) -> bool:
        return self.value["insecure"]

    @property
    def settlement_logrows(self) -> int:
        return self.value["circuits"]["settlement"]["logrows"]

    @property
    def domain(self) -> Domain:
        value = self.value["domain"]
        bounds = {name: int(bound) for name, bound in value["bounds"].items()}
        return Domain(bounds, int(value["penalty"]), value["digit_bits"], value["digits"])

    @property
    def array_limits(self) -> dict[str, int]:
        """Largest sizes in bytes of the arrays of an opening or an aggregate."""
        return {"values": 8 * self.params, "salts": 32 * self.salts * self.chunks}

    @property
    def commitment_limit(self) -> int:
        """Largest size in bytes of a commitment's JSON."""
        return 4096 + 256 * self.chunks

    @property
    def round_limit(self) -> int:
        """Largest size in bytes of a round proof's JSON."""
        return (1 << 18) + (self.trainers + 4) * 2 * self.commitment_limit

    def circuits(self) -> dict[str, Circuit]:
        """The statements that this manifest's numbers stand for."""
        return project_circuits(
            self.trainers,
            self.params,
            self.logrows,
            self.fixed_point.value_bits,
            self.settlement_logrows,
            self.beta_max,
            self.filter,
            self.score,
            self.salts,
            self.most_trainers,
        )

    @property
    def blinding(self) -> Point:
        """B = Com(0) at the chunks' K: the unusable rows of a column hold 1."""
        return decode_point(bytes.fromhex(self.value["blinding_point"][2:]))

    @property
    def layout(self) -> ParameterLayout | None:
        rows = self.value["layout"]
        return ParameterLayout.from_json(rows) if rows else None

    def digest(self) -> bytes:
        """Everything that a proof is bound to besides the round: one word of the transcript's context.

        Words: format; SRS id; SHA-256 of verifying key and settings of base and settlement; their proofs' lengths;
        SHA-256 of the layout; N, D, K, ℓ1, S; settlement's K; B; β_max;
        minimum accepted; filter (name, f, m); score; scale bits + 64; value bits. If the filter is more than
        Multi-Krum or there are references: λ and τ (numerator and denominator, 0 where there is none), most trainers
        of the last round, score shift.
        """
        circuits = self.value["circuits"]
        keys = [circuits[name]["files"][file] for name in CIRCUITS for file in ("vk.key", "settings.json")]
        lengths = [circuits[name]["proof_bytes"] for name in CIRCUITS]
        layout = json.dumps(self.value["layout"], sort_keys=True, separators=(",", ":"))
        blinding = encode_point(self.blinding)
        return digest_words(
            [
                FORMAT,
                bytes.fromhex(self.value["srs"]["id"]),
                *map(bytes.fromhex, keys),
                *lengths,
                hashlib.sha256(layout.encode()).digest(),
                self.trainers,
                self.params,
                self.logrows,
                self.columns.rows,
                self.salts,
                self.settlement_logrows,
                blinding[:32],
                blinding[32:],
                self.beta_max,
                self.min_accepted,
                "multi-krum" if self.filter.m else "norm",
                self.filter.f,
                self.filter.m,
                self.score,
                self.fixed_point.scale_bits + SCALE_OFFSET,
                self.fixed_point.value_bits,
                *self._further_words(),
            ]
        )

    def _further_words(self) -> list[int]:
        if self.filter.only_krum and not self.references:
            return []
        ratios = [(0, 0) if r is None else r.as_integer_ratio() for r in (self.filter.sigma, self.filter.tau)]
        return [*ratios[0], *ratios[1], self.most_trainers or 0, self.score_shift]


CIRCUITS = ("base", "settlement")


@dataclass(frozen=True)
class Build:
    """A loaded build. Its files were checked against the manifest's hashes."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path, prover: bool = False) -> Build:
        """Read a build and check every hash; proving keys only with `prover` (they are large).

        Raises ArtifactError if anything is missing, damaged, or not what the manifest says.
        """
        folder = Path(folder).resolve()
        try:
            value = read_json(folder / "manifest.json", "manifest")
            check_schema(value, "manifest", "manifest")
            build = cls(folder, Manifest(value))
            _check_consistent(build.manifest)
        except (InputError, ProofRejected) as error:
            raise ArtifactError(f"{folder} is not a build: {error}") from error
        wanted = VERIFIER_FILES + (PROVER_FILES if prover else ())
        for name, circuit in value["circuits"].items():
            for file in wanted:
                check_hash(folder / "circuits" / name / file, circuit["files"][file])
        _check_circuits(build)
        kind = srs_module.by_id(value["srs"]["id"]).kind
        if kind != value["srs"]["kind"]:
            raise ArtifactError(f"manifest says its SRS is of kind {value['srs']['kind']}: here it is {kind}")
        try:
            zero = backend.commit(build.files("base"), build.manifest.logrows, [[scalar_hex(0)]])[0]
        except BackendError as error:
            raise ArtifactError(f"ezkl cannot read the build's settings or verifying key: {error}") from error
        if build.manifest.blinding != zero:
            raise ArtifactError("manifest's blinding point is not the commitment of zero")
        return build

    def files(self, name: str) -> CircuitFiles:
        circuit = self.manifest.value["circuits"][name]
        srs_file = _srs_file(self.manifest.value["srs"]["id"], circuit["logrows"], circuit["srs_sha256"])
        return CircuitFiles(self.folder / "circuits" / name, srs_file, circuit["proof_bytes"])

    def missing_prover_files(self) -> Iterable[Path]:
        for name in self.manifest.value["circuits"]:
            for file in PROVER_FILES:
                path = self.folder / "circuits" / name / file
                if not path.exists():
                    yield path


def projection_shape(trainers: int, params: int, logrows: int, held: Sequence[str]) -> Shape:
    """Of a project's updates; a root reference has data blocks as a trainer has, the last aggregate has none."""
    columns = Columns(logrows)
    slots = trainers + ("root" in held)
    return Shape(slots, columns.chunks(params), params, columns.rows, columns.width)


def is_build(folder: Path) -> bool:
    """Whether a folder holds a build, of whatever state: it may then be replaced by a new one."""
    try:
        value = parse_json((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def check_hash(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: build again, or copy it from the project's build")
    actual = sha256_file(path)
    if actual != digest:
        raise ArtifactError(f"{path} is not the file of this build: got SHA-256 {actual}, wanted {digest}")


@functools.lru_cache(maxsize=64)
def _srs_file(identity: str, logrows: int, digest: str) -> Path:
    path = srs_module.by_id(identity).path(logrows)
    if srs_module.read_logrows(path) != logrows or srs_module.identity_of(path) != identity:
        raise ArtifactError(f"{path} is not the SRS of 2^{logrows} rows of ceremony {identity[:8]}: delete it")
    check_hash(path, digest)
    return path


def _check_consistent(manifest: Manifest) -> None:
    """Recompute what the manifest derives; a verifier must not trust its arithmetic."""
    value = manifest.value
    columns = Columns(manifest.logrows)
    shape = projection_shape(manifest.trainers, manifest.params, manifest.logrows, manifest.references)
    shape.check()
    facts = {
        "rows": (value["rows"], columns.rows),
        "width": (value["width"], columns.width),
        "chunk": (manifest.chunk, columns.values),
        "chunks": (manifest.chunks, shape.chunks),
        "salts": (manifest.salts, min(manifest.salts, columns.width)),
        "value_bits": (manifest.fixed_point.value_bits, min(manifest.fixed_point.value_bits, MAX_VALUE_BITS)),
        "value_bound": (value["value_bound"], manifest.bound),
        "beta_max": (manifest.beta_max, min(manifest.beta_max, manifest.norm_bound)),
        "digit_bits": (value["domain"]["digit_bits"], manifest.settlement_logrows - 1),
        "insecure": (manifest.insecure, value["srs"]["kind"] == "development"),
    }
    manifest.filter.check(manifest.trainers)
    domain = Domain.of(
        manifest.trainers,
        manifest.params,
        manifest.bound,
        manifest.beta_max,
        manifest.filter,
        manifest.score,
        value["domain"]["digit_bits"],
        manifest.most_trainers,
    )
    facts["domain"] = (manifest.domain, domain)
    facts["filter"] = (value["filter"], str(manifest.filter))
    if "last" in manifest.references:
        numbers = manifest.trainers, manifest.params, manifest.bound, manifest.beta_max, manifest.score
        most = value.get("most_trainers", 0)
        facts["most trainers"] = (most, max(most, manifest.trainers))
        facts["score_shift"] = (value.get("score_shift"), score_shift(*numbers, most))
    else:
        facts["most_trainers and score_shift"] = (value.keys() & {"most_trainers", "score_shift"}, set())
    if manifest.layout is not None:
        manifest.layout.check()
        facts["parameters of the layout"] = (manifest.layout.size, manifest.params)
    facts["digest"] = (value["digest"], "0x" + manifest.digest().hex())
    for name, (got, wanted) in facts.items():
        if got != wanted:
            raise ArtifactError(f"manifest contradicts itself: {name} is {got}, wanted {wanted}")


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


def describe(settings: dict[str, Any], circuit: Circuit) -> dict[str, Any]:
    """What a compiled circuit really enforces, as the manifest records it."""
    how = circuit.how
    return {
        "logrows": how.logrows,
        "rows": settings["num_rows"],
        "blocks": backend.blocks_of(settings["num_rows"], how.logrows),
        "lookups": [json.dumps(lookup, sort_keys=True) for lookup in settings["required_lookups"]],
        "lookup_range": list(how.lookup_range) if how.lookup_range else None,
        "range_checks": settings["required_range_checks"],
        "instances": circuit.instances,
        "committed": circuit.committed,
    }
