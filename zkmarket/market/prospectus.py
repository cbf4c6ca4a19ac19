"""What an owner publishes before anybody joins: the initial model, and all that is needed to rebuild the keys.

One public blob: a JSON header on the first line, then Θ, the model in integers, as int64, little-endian. Its CID and
its SHA-256 are in the project's terms on chain, so that a chain, an address and a store are all that anybody needs to
take part. Nothing in it is believed: the builds that it leads to are compared with the verifiers that the project pins,
the model with the commitment that the terms name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import srs
from ..build import MAX_PARAMS, Build, Manifest, Spec, is_build, make_build
from ..documents import check_schema, parse_json
from ..errors import ArtifactError, InputError, ProofRejected
from ..files import atomic_write
from ..progress import Progress, quiet
from ..round import Theta, check_theta_bits
from ..rules import Filter, reference_slots
from ..storage import Store, cid_from_bytes
from ..updates import ParameterLayout
from .project import Project

PROSPECTUS_FORMAT = "zkmarket-prospectus/2"
HEADER_LIMIT = 1 << 20
LIMIT = HEADER_LIMIT + 8 * MAX_PARAMS
"""Largest prospectus that is fetched."""

SHARED = ("params", "score", "value_bits", "scale_bits", "logrows", "optimize")
"""What the builds of one project have in common, besides β_max and the layout."""


@dataclass(frozen=True)
class Prospectus:
    """An owner's offer to trainers, as everybody reads it.

    Attributes:
        name: in words.
        specs: what to build for each number of trainers.
        srs_id: the ceremony that all keys come from.
        theta: (D,) int64, the model before the first round, at scale 2^(s + ρ), s being that of the updates.
        theta_bits: ρ.
        owner_key: X25519 key to which aggregates are sealed for the owner, 32 bytes.
        advice: what the owner suggests for local training; nobody is bound by it.
        rule: what of the model an update holds, a name of `LAYOUT_RULES`.
    """

    name: str
    specs: Mapping[int, Spec]
    srs_id: str
    theta: np.ndarray = field(repr=False)
    theta_bits: int
    owner_key: bytes
    advice: Mapping[str, Any] = field(default_factory=dict)
    rule: str = "requires-grad"

    def __post_init__(self) -> None:
        some = next(iter(self.specs.values()))
        if self.theta.shape != (some.params,) or self.theta.dtype != np.int64:
            got = f"{self.theta.dtype}{list(self.theta.shape)}"
            raise InputError(f"the initial model is {some.params} integers of 64 bits: got {got}")
        check_theta_bits(self.theta_bits)

    @property
    def layout(self) -> ParameterLayout:
        layout = next(iter(self.specs.values())).layout
        assert layout is not None  # `from_bytes` and the project file see to it
        return layout

    def first_model(self, manifest: Manifest) -> Theta:
        """The model before the first round, with salts 0; InputError if it is none of this build."""
        return Theta.first(manifest, self.theta, self.theta_bits)

    def to_bytes(self) -> bytes:
        some = next(iter(self.specs.values()))
        header = {
            "format": PROSPECTUS_FORMAT,
            "name": self.name,
            "srs": self.srs_id,
            "owner_key": self.owner_key.hex(),
            "filters": {str(n): str(spec.filter) for n, spec in sorted(self.specs.items())},
            **{name: getattr(some, name) for name in SHARED},
            "beta_max": None if some.beta_max is None else str(some.beta_max),
            "layout": self.layout.to_json(),
            "layout_rule": self.rule,
            "advice": dict(self.advice),
            "theta_bits": self.theta_bits,
        }
        return json.dumps(header, sort_keys=True).encode() + b"\n" + self.theta.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, blob: bytes) -> Prospectus:
        """Read a stranger's blob; InputError says what is wrong with it."""
        head, _, body = blob.partition(b"\n")
        if len(head) > HEADER_LIMIT:
            raise InputError(f"a prospectus's header has at most {HEADER_LIMIT} bytes: got {len(head)}")
        try:
            value = parse_json(head)
        except ValueError as error:
            raise InputError(f"the prospectus has no JSON header: {error}") from error
        check_schema(value, "prospectus", "prospectus")
        layout = ParameterLayout.from_json(value["layout"])
        layout.check()
        if layout.size != value["params"] or len(body) != 8 * value["params"]:
            raise InputError(
                f"the prospectus is of {value['params']} parameters: its layout has {layout.size}, its model"
                f" {len(body)} bytes"
            )
        beta_max = None if value["beta_max"] is None else int(value["beta_max"])
        shared = {name: value[name] for name in SHARED}
        filters = {int(n): Filter.parse(rule) for n, rule in value["filters"].items()}
        specs = {
            n: Spec(
                n,
                filter=rule,
                beta_max=beta_max,
                layout=layout,
                most_trainers=max(filters) if "last" in reference_slots(rule, shared["score"]) else None,
                **shared,
            )
            for n, rule in sorted(filters.items())
        }
        theta = np.frombuffer(body, "<i8").astype(np.int64)
        key, bits = bytes.fromhex(value["owner_key"]), value["theta_bits"]
        made = cls(value["name"], specs, value["srs"], theta, bits, key, value["advice"], value["layout_rule"])
        if made.to_bytes() != blob:  # the terms pin its SHA-256: one text for one offer
            raise InputError("the prospectus is not in canonical form: it does not read back as it was written")
        return made


def digest_of(blob: bytes) -> bytes:
    """What the terms pin."""
    return hashlib.sha256(blob).digest()


def make_builds(prospectus: Prospectus, folder: Path, progress: Progress = quiet) -> dict[int, Build]:
    """The builds of a project, made or, where they are there already, loaded and checked.

    Raises SrsError: the ceremony is not installed here.
    """
    ceremony = srs.by_id(prospectus.srs_id)
    if ceremony.insecure:
        progress(srs.WARNING)
    builds = {}
    for n, spec in sorted(prospectus.specs.items()):
        place = folder / f"build-{n}"
        try:
            found = Build.load(place, prover=True) if is_build(place) else None
        except ArtifactError:  # damaged, or of an older version: made again
            found = None
        if found is None or not _is_of(found, spec, ceremony.id):
            progress(f"keys for a round of {n} trainers")
            found = make_build(spec, ceremony, place, progress)
        builds[n] = found
    return builds


def _is_of(found: Build, spec: Spec, srs_id: str) -> bool:
    value = found.manifest.value
    wanted = (spec.trainers, spec.params, str(spec.filter), spec.score, srs_id)
    if wanted != (value["trainers"], value["params"], value["filter"], value["score"], value["srs"]["id"]):
        return False
    manifest, point = found.manifest, found.manifest.fixed_point
    fixed = (
        (spec.logrows, manifest.logrows),
        (spec.beta_max, manifest.beta_max),
        (spec.most_trainers, manifest.most_trainers),
        (spec.value_bits, point.value_bits),
        (spec.scale_bits, point.scale_bits),
    )
    return found.manifest.layout == spec.layout and all(want in (None, got) for want, got in fixed)


def fetch_prospectus(project: Project, store: Store, path: Path) -> Prospectus:
    """The prospectus that the terms pin, into a file too. ProofRejected if the store's is another."""
    from .factory import Market

    created = Market(project.chain, project.factory()).creation_of(project)
    blob = store.get(cid_from_bytes(created.arguments["cid"]), LIMIT)
    wanted = project.terms().model
    if digest_of(blob) != wanted:
        raise ProofRejected(
            f"the prospectus is not the one that the terms pin: SHA-256 {digest_of(blob).hex()}, wanted {wanted.hex()}"
        )
    prospectus = Prospectus.from_bytes(blob)
    atomic_write(path, blob)
    return prospectus
