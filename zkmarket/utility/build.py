"""A compiled model: its folder, manifest and units."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import CircuitFiles, srs
from ..build import PROVER_FILES, VERIFIER_FILES, check_hash, describe
from ..build.statements import check_rows, check_settings
from ..circuits.plan import Channelwise, CircuitPlan, Identity, Squares, Transpose, WindowSum
from ..crypto import digest_words
from ..documents import canonical_json, parse_json, read_json
from ..errors import ArtifactError, DomainError, InputError
from ..networks import check_plan
from ..round import Theta
from ..updates import ParameterLayout, model_integers
from .statements import statement

UTILITY_BUILD_FORMAT = "zkmarket-utility-build/4"
MANIFEST_FILE = "utility.json"
MAX_LOSS = 1 << 120


@dataclass(frozen=True)
class UtilityBuild:
    """A compiled model: what `zkmarket compile` writes. `value` is the JSON object of utility.json."""

    folder: Path
    value: dict[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: Path, prover: bool = False) -> UtilityBuild:
        """Read a build and check every hash; the proving key only with `prover`.

        Raises ArtifactError if anything is missing, damaged, or not what the manifest says.
        """
        folder = Path(folder).resolve()
        try:
            value = read_json(folder / MANIFEST_FILE, "utility build")
            if not isinstance(value, dict) or value.get("format") != UTILITY_BUILD_FORMAT:
                raise InputError(f"wanted format {UTILITY_BUILD_FORMAT}, which is compiled again from the model")
            build = cls(folder, value)
            check_plan(value["plan"])
            for file in VERIFIER_FILES + (PROVER_FILES if prover else ()):
                check_hash(folder / "circuit" / file, value["circuit"]["files"][file])
            circuit, entry = statement(build.plan), value["circuit"]
            settings = parse_json((folder / "circuit" / "settings.json").read_bytes())
            check_settings(settings, circuit)
            check_rows(entry["counted_rows"], circuit, counted=True)
            build.layout.check()
            facts = {
                **{name: (entry[name], wanted) for name, wanted in describe(settings, circuit).items()},
                "digest": (value["digest"], "0x" + build.digest.hex()),
                "parameters": (build.layout.size, build.params),
                "kind of SRS": (value["srs"]["kind"], srs.by_id(value["srs"]["id"]).kind),
            }
            check_hash(build.files.srs, value["circuit"]["srs_sha256"])
        except (InputError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ArtifactError(f"{folder} is not a utility build: {error}") from error
        for name, (got, wanted) in facts.items():
            if got != wanted:
                raise ArtifactError(f"{folder}: the utility build contradicts itself: {name} is {got}, wanted {wanted}")
        return build

    @property
    def files(self) -> CircuitFiles:
        path = srs.by_id(self.value["srs"]["id"]).path(self.logrows)
        return CircuitFiles(self.folder / "circuit", path, self.value["circuit"]["proof_bytes"])

    @cached_property
    def plan(self) -> CircuitPlan:
        return CircuitPlan.from_json(self.value["plan"])

    @property
    def layout(self) -> ParameterLayout:
        return ParameterLayout.from_json(self.value["layout"])

    @cached_property
    def digest(self) -> bytes:
        """What a proof is bound to: format; SRS; keys, settings and length of proofs; layout; plan."""
        circuit = self.value["circuit"]
        return digest_words(
            [
                UTILITY_BUILD_FORMAT,
                bytes.fromhex(self.value["srs"]["id"]),
                *(bytes.fromhex(circuit["files"][file]) for file in ("vk.key", "settings.json")),
                circuit["proof_bytes"],
                _json_digest(self.value["layout"]),
                _json_digest(self.value["plan"]),
            ]
        )

    @property
    def insecure(self) -> bool:
        return bool(self.value["srs"]["kind"] == "development")

    @property
    def logrows(self) -> int:
        return self.plan.logrows

    @property
    def params(self) -> int:
        return self.plan.params

    @property
    def chunk(self) -> int:
        return self.plan.chunks["theta"][0]

    @property
    def chunks(self) -> int:
        """Chunks of the model, m, and of an update."""
        return len(self.plan.columns["theta"])

    @property
    def salts(self) -> int:
        """Salts of each of these chunks."""
        return self.plan.chunks["theta"][1]

    @property
    def proofs(self) -> int:
        """How many proofs the salts of one validation batch last for."""
        return self.plan.chunks["validation"][1]

    @property
    def scale_bits(self) -> int:
        return self.plan.scale_bits

    @property
    def theta_bits(self) -> int:
        """ρ."""
        return self.plan.theta_bits

    @property
    def loss_unit(self) -> float:
        """What one unit of a utility's loss is: nats, or squared error averaged over outputs; summed over the batch."""
        return loss_unit(self.plan)

    def quantise_theta(self, theta: np.ndarray) -> np.ndarray:
        """(D,) floats to (D,) int64 at the model's scale.

        Raises:
            InputError: another shape, NaN or infinite values.
            DomainError: a value beyond the build's bound: compile again with a larger one.
        """
        return quantise_theta(self.plan, theta, self.used)

    def check_theta(self, theta: Theta, step: int = 0) -> None:
        """Refuse a model that the circuit cannot evaluate, now or once it has moved by `step`.

        Whoever starts a round asks this with `rules.longest_step` of the round: no accepted updates make it unprovable.

        Raises:
            InputError: of other parameters, scale or salts than the build's.
            DomainError: beyond the build's bound, or it could get there.
        """
        if theta.values.shape != (self.params,) or theta.values.dtype != np.int64 or theta.bits != self.theta_bits:
            raise InputError(
                f"a model of this build has {self.params} int64 and {self.theta_bits} theta_bits: got"
                f" {theta.values.dtype}{list(theta.values.shape)} and {theta.bits}"
            )
        salts = theta.salts
        if salts.dtype != np.uint8 or salts.shape != (self.chunks, self.salts, 32):
            wanted = [self.chunks, self.salts, 32]
            raise InputError(f"its salts are uint8{wanted}: got {salts.dtype}{list(salts.shape)}")
        check_bound(self.plan, theta.values, self.used, step)

    @cached_property
    def used(self) -> np.ndarray:
        return used_parameters(self.plan)


def _json_digest(value: Any) -> bytes:
    """Of what is written, in the order in which it is written: a digest of sorted keys would stand for many texts."""
    return hashlib.sha256(canonical_json(value).encode()).digest()


def loss_unit(plan: CircuitPlan) -> float:
    if plan.loss == "cross-entropy":
        return math.log(plan.base)
    scale = target_scale(plan)
    return 1 / (scale * scale * plan.outputs)


def target_scale(plan: CircuitPlan) -> float:
    """Of the targets of mean squares."""
    step = plan.steps[-1]
    if not isinstance(step, Squares):
        raise InputError("the plan's loss is not that of targets")
    return step.scale


def used_parameters(plan: CircuitPlan) -> np.ndarray:
    """(D,) bool: what has an influence on the utility."""
    mask = np.zeros(plan.params, bool)
    for step in plan.steps:
        for term in () if isinstance(step, WindowSum | Transpose) else step.terms:
            if not isinstance(term, Identity):
                view = term.gamma if isinstance(term, Channelwise) else term.weight
                mask[view.offset : view.offset + view.count] = True
    return mask


def quantise_theta(plan: CircuitPlan, theta: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(D,) floats to integers; only what the outputs depend on has a bound."""
    exact = np.asarray(theta, np.float64)
    if exact.shape != (plan.params,) or not np.isfinite(exact).all():
        raise InputError(f"θ is {plan.params} finite numbers: got shape {list(exact.shape)}")
    values = model_integers(exact, plan.scale_bits + plan.theta_bits)
    check_bound(plan, values, used)
    return values


def check_bound(plan: CircuitPlan, values: np.ndarray, used: np.ndarray, step: int = 0) -> None:
    """Raise DomainError if a parameter that counts is beyond the plan's bound, or could be, a step away."""
    largest, bound, scale = int(np.abs(values[used]).max()), plan.bounds.theta, plan.scale_bits + plan.theta_bits
    if largest + step > bound:
        moved = f", and a round can move it by {step / 2.0**scale:.6g}" if step else ""
        raise DomainError(
            f"θ reaches {largest / 2.0**scale:.6g}{moved}: this build takes {bound / 2.0**scale:.6g};"
            " compile with a larger --theta-bound"
        )
