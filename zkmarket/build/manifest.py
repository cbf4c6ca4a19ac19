"""The manifest of a build: every number that circuits, provers and contracts agree on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..crypto import Point, decode_point, digest_words, encode_point
from ..errors import ArtifactError
from ..rules import Domain, Filter, RuleSet, norm_bound, reference_slots, score_shift
from ..updates import FixedPoint, ParameterLayout
from .columns import Columns
from .shape import Shape
from .statements import MAX_VALUE_BITS, Circuit, project_circuits, value_bound

MANIFEST_FORMAT = "zkmarket-manifest/2"
SCALE_OFFSET = 64  # a scale may be negative, a transcript word may not


@dataclass(frozen=True)
class Manifest:
    """What a project has fixed. `value` is the JSON object of manifest.json."""

    value: dict[str, Any]

    def __repr__(self) -> str:
        names = ("trainers", "params", "logrows", "filter", "score", "digest")
        return "Manifest(" + ", ".join(f"{name} {self.value.get(name)!s:.40}" for name in names) + ")"

    @property
    def trainers(self) -> int:
        return int(self.value["trainers"])

    @property
    def params(self) -> int:
        return int(self.value["params"])

    @property
    def logrows(self) -> int:
        return int(self.value["logrows"])

    @property
    def chunk(self) -> int:
        return int(self.value["chunk"])

    @property
    def salts(self) -> int:
        return int(self.value["salts"])

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
        return int(self.value["chunks"])

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
        return str(self.value["score"])

    @property
    def references(self) -> tuple[str, ...]:
        """The reference vectors that have slots of their own after the trainers': of "root", "last", in this order."""
        return reference_slots(self.filter, self.score)

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
        return int(self.value.get("score_shift", 0))

    @property
    def beta_max(self) -> int:
        return int(self.value["beta_max"])

    @property
    def min_accepted(self) -> int:
        return int(self.value["min_accepted"])

    @property
    def insecure(self) -> bool:
        return bool(self.value["insecure"])

    @property
    def settlement_logrows(self) -> int:
        return int(self.value["circuits"]["settlement"]["logrows"])

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
        return project_circuits(self.logrows, self.settlement_logrows, self.rules, self.salts)

    @property
    def rules(self) -> RuleSet:
        return RuleSet(
            self.trainers, self.params, self.bound, self.beta_max, self.filter, self.score, self.most_trainers
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
                MANIFEST_FORMAT,
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


def projection_shape(trainers: int, params: int, logrows: int, held: Sequence[str]) -> Shape:
    """Of a project's updates; a root reference has data blocks as a trainer has, the last aggregate has none."""
    columns = Columns(logrows)
    slots = trainers + ("root" in held)
    return Shape(slots, columns.chunks(params), params, columns.rows, columns.width)


def check_consistent(manifest: Manifest) -> None:
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
    facts["domain"] = (manifest.domain, Domain.of(manifest.rules, value["domain"]["digit_bits"]))
    facts["filter"] = (value["filter"], str(manifest.filter))
    if "last" in manifest.references:
        most = value.get("most_trainers", 0)
        facts["most trainers"] = (most, max(most, manifest.trainers))
        facts["score_shift"] = (value.get("score_shift"), score_shift(manifest.rules))
    else:
        facts["most_trainers and score_shift"] = (value.keys() & {"most_trainers", "score_shift"}, set())
    if manifest.layout is not None:
        manifest.layout.check()
        facts["parameters of the layout"] = (manifest.layout.size, manifest.params)
    facts["digest"] = (value["digest"], "0x" + manifest.digest().hex())
    for name, (got, wanted) in facts.items():
        if got != wanted:
            raise ArtifactError(f"manifest contradicts itself: {name} is {got}, wanted {wanted}")
