"""Utility of a coalition: the user's own model, evaluated in a circuit on a committed validation batch.

    parameters = θ + Agg_S / |S|        Agg_S = Σ_{i in S} u_i, whose commitment is homomorphic

The proof says how many predictions are correct and what the loss is, in integer units of `UtilityBuild.loss_unit`.
What both are, exactly, is said in zkmarket/integers.py, and computed there; the circuit is circuits/utility.py.

The proof's first points are commitments: θ (public, without salts), Agg_S, the validation batch, the prover's
witness, and a last input of public values and noise. The verifier knows all but the witness's and the last. The
challenges come from a transcript that has absorbed the context, the build's digest, |S| and every point but the last,

    seed = H("utility" ‖ context ‖ digest ‖ |S| ‖ points)          challenge = low128 H(seed ‖ name)

and the circuit echoes every public value, so that the verifier compares them with its own.

Each proof opens every column that it takes: it spends one salt of each member's chunks and of each validation chunk,
retries included. Whoever proves knows the coalition's sum, its salts and the batch, as an aggregator does.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import backend, srs
from .artifacts import PROVER_FILES, VERIFIER_FILES, check_hash, describe
from .backend import CircuitFiles, Compilation, Progress, Proof, ProofJob, quiet, usable_rows
from .errors import ArtifactError, BackendError, DomainError, InputError, OpeningMismatch, ProofRejected
from .field import P, Point, decode_point, encode_point, random_scalars, scalar_hex, small_hex, to_hex
from .files import canonical_json, load_npz, parse_json, read_json, save_npz
from .integers import check_plan, evaluate, rows_of
from .native import squared_length
from .placement import WITHOUT_LOOKUP, Operation, check_every_block, check_table
from .quantise import ParameterLayout
from .statements import Circuit, Inputs, check_rows, check_settings
from .transcript import LOW_128, digest_int, digest_words, hash_words

FORMAT = "zkmarket-utility-build/3"
PROOF_FORMAT = "zkmarket-utility-proof/1"
MANIFEST_FILE = "utility.json"
MAX_LOSS = 1 << 120
KINDS = ("theta", "update", "validation", "witness")
MAX_VALIDATION = 1 << 31


@dataclass(frozen=True)
class Utility:
    """What a proof says of a coalition: correct predictions of the batch, and the batch's summed loss in units."""

    correct: int
    loss: int


@dataclass(frozen=True)
class Coalition:
    """Members' updates added up. Secret, like the aggregate that it is.

    Attributes:
        values: (D,) int64, the sum of the members' updates.
        salts: (m, S, 32) uint8, the sum of their salts mod p.
        size: how many members; 0 is the empty coalition, whose values and salts are 0.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)
    size: int


@dataclass(frozen=True)
class Validation:
    """The owner's batch, as it was committed before the round. The points are public, the rest is for provers.

    Attributes:
        values: (n,) int64: the inputs sample by sample, then the labels, or targets.
        salts: (chunks, salts, 32) uint8.
        points: commitments, one a chunk. Whoever verifies has these alone, see `public`.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)
    points: tuple[Point, ...]

    def save(self, path: Path, mode: int = 0o600) -> None:
        points = b"".join(encode_point(point) for point in self.points)
        arrays = {"values": self.values, "salts": self.salts, "points": np.frombuffer(points, np.uint8)}
        save_npz(Path(path), arrays, mode=mode)

    def public(self) -> Validation:
        """The commitments alone, for whoever verifies."""
        return Validation(np.zeros(0, np.int64), np.zeros((0, 0, 32), np.uint8), self.points)

    @classmethod
    def load(cls, path: Path) -> Validation:
        """Read a batch; InputError if it is none. Whether it is a build's, and opens its points, `utility` looks."""
        arrays = load_npz(Path(path), "validation batch", dict.fromkeys(("values", "salts", "points"), MAX_VALIDATION))
        values, salts, points = arrays["values"], arrays["salts"], arrays["points"]
        if values.dtype != np.int64 or values.ndim != 1 or salts.dtype != np.uint8 or salts.ndim != 3:
            raise InputError(f"{path} is no validation batch: wanted int64 values and uint8 salts")
        if points.dtype != np.uint8 or points.ndim != 1 or len(points) % 64 or not len(points) or salts.shape[2] != 32:
            raise InputError(f"{path} is no validation batch: wanted points of 64 bytes and salts of 32")
        try:
            made = tuple(decode_point(points[i : i + 64].tobytes()) for i in range(0, len(points), 64))
        except ProofRejected as error:
            raise InputError(f"{path} is no validation batch: {error}") from error
        return cls(values, salts, made)


@dataclass(frozen=True)
class UtilityProof:
    """One Halo2 proof; its first points are the commitments of θ, Agg_S, validation, witness, and the last input."""

    proof: Proof

    def to_json(self) -> dict[str, Any]:
        return {"format": PROOF_FORMAT, **self.proof.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> UtilityProof:
        word = re.compile("0x[0-9a-f]{64}")
        fits = isinstance(value, dict) and set(value) == {"format", "proof", "instances"}
        if not fits or value["format"] != PROOF_FORMAT or not isinstance(value["proof"], str):
            raise InputError(f"not a utility proof: wanted an object of format {PROOF_FORMAT}")
        if not re.fullmatch("0x(?:[0-9a-f]{2})+", value["proof"]):
            raise InputError("not a utility proof: its bytes are not hex")
        numbers = value["instances"]
        if not isinstance(numbers, list) or not all(isinstance(n, str) and word.fullmatch(n) for n in numbers):
            raise InputError("not a utility proof: its instances are not 32-byte words")
        return cls(Proof.from_json(value))


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
            if not isinstance(value, dict) or value.get("format") != FORMAT:
                raise InputError(f"wanted format {FORMAT}, which is compiled again from the model")
            build = cls(folder, value)
            check_plan(build.plan)
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

    @property
    def plan(self) -> dict[str, Any]:
        return self.value["plan"]

    @property
    def layout(self) -> ParameterLayout:
        return ParameterLayout.from_json(self.value["layout"])

    @cached_property
    def digest(self) -> bytes:
        """What a proof is bound to: format; SRS; keys, settings and length of proofs; layout; plan."""
        circuit = self.value["circuit"]
        return digest_words(
            [
                FORMAT,
                bytes.fromhex(self.value["srs"]["id"]),
                *(bytes.fromhex(circuit["files"][file]) for file in ("vk.key", "settings.json")),
                circuit["proof_bytes"],
                _json_digest(self.value["layout"]),
                _json_digest(self.plan),
            ]
        )

    @property
    def insecure(self) -> bool:
        return self.value["srs"]["kind"] == "development"

    @property
    def logrows(self) -> int:
        return self.plan["logrows"]

    @property
    def params(self) -> int:
        return self.plan["params"]

    @property
    def chunk(self) -> int:
        return self.plan["chunks"]["update"][0]

    @property
    def chunks(self) -> int:
        """Chunks of an update, m."""
        return len(self.plan["columns"]["update"])

    @property
    def salts(self) -> int:
        """Salts of each chunk of an update."""
        return self.plan["chunks"]["update"][1]

    @property
    def trainers(self) -> int:
        """The largest coalition."""
        return self.plan["trainers"]

    @property
    def proofs(self) -> int:
        """How many proofs the salts of one validation batch last for."""
        return self.plan["chunks"]["validation"][1]

    @property
    def scale_bits(self) -> int:
        return self.plan["scale_bits"]

    @property
    def update_bound(self) -> int:
        """⌈√β_max⌉: no accepted update may be longer."""
        return self.plan["bounds"]["update"]

    @property
    def loss_unit(self) -> float:
        """What one unit of a utility's loss is: nats, or squared error averaged over outputs; summed over the batch."""
        return loss_unit(self.plan)

    def quantise_theta(self, theta: np.ndarray) -> np.ndarray:
        """(D,) floats to (D,) int64 at the updates' scale; what the circuit does not use is 0.

        Raises:
            InputError: another shape, NaN or infinite values.
            DomainError: a value beyond the build's bound: compile again with a larger one.
        """
        return quantise_theta(self.plan, theta, self.used)

    @property
    def used(self) -> np.ndarray:
        return used_parameters(self.plan)


def _json_digest(value: Any) -> bytes:
    """Of what is written, in the order in which it is written: a digest of sorted keys would stand for many texts."""
    return hashlib.sha256(canonical_json(value).encode()).digest()


def loss_unit(plan: dict[str, Any]) -> float:
    if plan["loss"] == "cross-entropy":
        return math.log(float.fromhex(plan["base"]))
    scale = float.fromhex(plan["steps"][-1]["scale"])
    return 1 / (scale * scale * plan["outputs"])


def used_parameters(plan: dict[str, Any]) -> np.ndarray:
    """(D,) bool: what has an influence on the utility."""
    mask = np.zeros(plan["params"], bool)
    for step in plan["steps"]:
        for term in step.get("terms", ()):
            for view in (term.get("weight"), term.get("gamma")):
                if view is not None:
                    mask[view["offset"] : view["offset"] + view["count"]] = True
    return mask


def quantise_theta(plan: dict[str, Any], theta: np.ndarray, used: np.ndarray) -> np.ndarray:
    exact = np.asarray(theta, np.float64)
    if exact.shape != (plan["params"],) or not np.isfinite(exact).all():
        raise InputError(f"θ is {plan['params']} finite numbers: got shape {list(exact.shape)}")
    with np.errstate(over="ignore"):
        scaled = np.where(used, np.rint(np.ldexp(exact, plan["scale_bits"])), 0)
    bound = plan["bounds"]["theta"]
    if np.abs(scaled).max() > bound:
        raise DomainError(
            f"θ reaches {np.abs(exact[used]).max():.6g}: this build takes {bound / 2.0 ** plan['scale_bits']:.6g};"
            " compile with a larger --theta-bound"
        )
    return scaled.astype(np.int64)


# ---------------------------------------------------------------- the statement


def check_names(plan: dict[str, Any]) -> list[str]:
    """What each output that must be 0 checks, in the circuit's order."""
    names = []
    for step in plan["steps"]:
        name = step.get("name", "")
        if step["op"] == "stage":
            names += [f"{name}: bit of ReLU"] * step["relu"] + [f"{name}: maximum is a value"] * (
                step["pool"] is not None
            )
            names.append(f"{name}: linear part and quotient")
        elif step["op"] == "cross-entropy":
            names += ["logits: cap", "logits: linear part and quotient", "logits: maximum is a logit", "logits: label"]
            names += ["loss: λ is enough", "loss: λ − 1 is not", "prediction"]
        elif step["op"] == "mse":
            names.append("outputs: linear part and quotient")
    return names


def statement(plan: dict[str, Any]) -> Circuit:
    """The utility circuit of a plan."""
    bound = plan["radix"] // 2
    instances = plan["public"]["noise"][0] + 1 + len(check_names(plan)) + 2
    check_every_block(plan["sequence"], plan["first_lookup"], plan["logrows"])

    def module():
        from circuits.utility import Utility as Module

        return Module(plan)

    rows, inputs = rows_of(plan), sum(plan["lengths"])
    return Circuit(
        "utility.py",
        module,
        {"plan": plan},
        Compilation(plan["logrows"], lookup_range=(-bound, bound - 1)),
        lookups=[{"Exp": {"scale": 1.0, "base": float(str(np.float32(float.fromhex(plan["base"]))))}}],
        range_checks=[],
        sorts=[],
        rows=(rows * 92 // 100, rows * 108 // 100 + 64),
        counted=(rows * 92 // 100 + inputs, rows * 108 // 100 + 64 + inputs),
        instances=instances,
        committed=plan["lengths"],
        sample=lambda: sample_inputs(plan),
        refused=lambda: _refused(plan),
        placed=lambda placed: check_placement(plan, placed),
        code=("utility", "integers"),
    )


def check_placement(plan: dict[str, Any], placed: Sequence[Operation]) -> None:
    """Raise ArtifactError unless one operation, of the plan's size and place, looks something up.

    The rows are those of a synthesis: there the plan has put noise into every block of columns.
    """
    looked = [op for op in placed if op.name not in WITHOUT_LOOKUP]
    if len(looked) != 1:
        raise ArtifactError(f"the circuit looks up in {[op.name for op in looked][:5]}: wanted one exponential")
    check_table(looked, "EXP", plan["first_lookup"], plan["sequence"], plan["logrows"])


def sample_inputs(plan: dict[str, Any]) -> Inputs:
    """Honest inputs: zeros everywhere, challenges that nothing was absorbed for."""
    empty = np.zeros(plan["params"], np.int64)
    values = np.zeros(plan["counts"]["validation"], np.int64)
    columns = (
        columns_of(plan, "theta", empty) + columns_of(plan, "update", empty) + columns_of(plan, "validation", values)
    )
    columns += columns_of(plan, "witness", witness_cells(plan, evaluate(plan, empty, empty, 0, values).cells))
    return [*columns, last_column(plan, public_values(plan, 0, b"\0" * 32))]


def _refused(plan: dict[str, Any]) -> dict[str, tuple[Inputs, str]]:
    """Noise outside the table, in every block at once: each block's own lookup argument must refuse it, in its row."""
    inputs, usable = sample_inputs(plan), usable_rows(plan["logrows"])
    row, reasons = plan["first_lookup"], []
    for kind, start, count in plan["sequence"]:
        if kind == "noise":
            inputs[-1][plan["public"]["noise"][0] + start] = scalar_hex(plan["radix"] // 2)
            reasons.append(rf"(?=.*Lookup \(index: {row // usable}\)[^\n]* offset {row % usable}\b)")
        row += count
    return {"noise outside the table": (inputs, "(?s)" + "".join(reasons))}


# ---------------------------------------------------------------- columns


def public_values(plan: dict[str, Any], size: int, seed: bytes) -> list[int]:
    """Everything that the circuit echoes: L/|S|, constants, statistics of batch-norms, powers of the challenges.

    Each value goes where the circuit reads it, by its index: the order of a plan's names must not decide what a
    verifier takes a public value for.
    """
    public = plan["public"]
    values: list[int | None] = [None] * public["noise"][0]

    def put(start: int, given: Sequence[int]) -> None:
        place = slice(start, start + len(given))
        if values[place] != [None] * len(given):
            raise ArtifactError(f"the plan puts two public values in one place, or one beyond the last: at {start}")
        values[place] = [value % P for value in given]

    put(public["factor"][0], [plan["lcm"] // size if size else 0])
    for text, at in plan["constants"].items():
        put(at, [int(text)])
    for name, vector in plan["vectors"].items():
        put(public[name][0], vector)
    for name in ("a", "c", "e", "f"):
        start, count = public[name]
        put(start, _powers(_challenge(seed, name), count))
    if "tie" in public:
        tie = _challenge(seed, "tie")
        put(public["tie"][0], [tie])
        put(public["ties"][0], [tie * k for k in range(public["ties"][1])])
    filled = [value for value in values if value is not None]
    if len(filled) < len(values):
        raise ArtifactError(f"the plan says what {len(filled)} of its {len(values)} public values are")
    return filled


def _powers(challenge: int, count: int) -> list[int]:
    out, power = [], 1
    for _ in range(count):
        out.append(power)
        power = power * challenge % P
    return out


def _challenge(seed: bytes, name: str) -> int:
    return digest_int(hash_words(seed, name)) & LOW_128


def _seed(build: UtilityBuild, context: bytes, size: int, points: Sequence[Point]) -> bytes:
    words = [part for point in points for part in point]
    return hash_words("utility", context, build.digest, size, *words)


def last_column(plan: dict[str, Any], public: Sequence[int]) -> list[str]:
    """The last input: public values ‖ noise that is drawn here and never used again ‖ salts."""
    bound = plan["radix"] // 2
    start, count = plan["public"]["noise"]
    assert len(public) == start
    noise = [scalar_hex(secrets.randbelow(2 * bound) - bound) for _ in range(count)]
    salts = random_scalars(plan["lengths"][-1] - start - count)
    return [scalar_hex(value) for value in public] + noise + to_hex(salts)


def columns_of(
    plan: dict[str, Any], kind: str, values: np.ndarray | list[str], salts: np.ndarray | None = None
) -> list[list[str]]:
    """Values (int64, or field strings) in chunks, each with its salts; fresh ones where none are given."""
    size, count = plan["chunks"][kind]
    if salts is None:
        many = len(plan["columns"][kind])
        salts = random_scalars(many * count).reshape(many, count, 32)
    columns = []
    for at, chunk in enumerate(salts):
        part = values[at * size : (at + 1) * size]
        part = part if isinstance(part, list) else small_hex(part)
        if kind == "update":
            part = part + [scalar_hex(0)] * (size - len(part))
        columns.append(part + to_hex(chunk))
    return columns


def witness_cells(plan: dict[str, Any], cells: dict[str, np.ndarray]) -> list[str]:
    """The witness column by the plan's order of names; the inverse of each t_label is added (0 where it is 0)."""
    if "label_gap" in cells:
        inverses = [pow(int(gap), -1, P) if gap else 0 for gap in cells["label_gap"]]
    out: list[str] = []
    for name, (_, count) in plan["witness"].items():
        part = [scalar_hex(v) for v in inverses] if name == "inverse" else small_hex(cells[name])
        assert len(part) == count, f"{name} has {len(part)} cells, wanted {count}"
        out += part
    return out


# ---------------------------------------------------------------- commitments


def theta_points(build: UtilityBuild, theta_q: np.ndarray) -> tuple[Point, ...]:
    """Commitments of the quantised parameters, without salts: anybody recomputes them."""
    return tuple(backend.commit(build.files, build.logrows, columns_of(build.plan, "theta", theta_q)))


def commit_validation(build: UtilityBuild, inputs: np.ndarray, labels: np.ndarray) -> Validation:
    """Quantise a batch, draw salts and commit.

    Args:
        inputs: (B, …) floats.
        labels: (B,) classes; for mse (B, outputs) floats.

    Raises:
        InputError: another number of samples or values than the build's.
        DomainError: a value beyond the build's bounds.
    """
    plan = build.plan
    values = quantise_batch(plan, inputs, labels)
    chunks, salts = len(plan["columns"]["validation"]), plan["chunks"]["validation"][1]
    drawn = random_scalars(chunks * salts).reshape(chunks, salts, 32)
    points = backend.commit(build.files, build.logrows, columns_of(plan, "validation", values, drawn))
    return Validation(values, drawn, tuple(points))


def quantise_batch(plan: dict[str, Any], inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(B·inputs + labels,) int64."""
    batch, bounds = plan["batch"], plan["bounds"]
    exact = np.asarray(inputs, np.float64)
    if len(exact) != batch or exact.size != batch * plan["inputs"] or not np.isfinite(exact).all():
        raise InputError(f"a batch is {batch} samples of {plan['inputs']} finite values: got shape {list(exact.shape)}")
    scaled = np.rint(np.ldexp(exact.reshape(-1), plan["input_bits"]))
    if np.abs(scaled).max() > bounds["input"]:
        most = math.ldexp(bounds["input"], -plan["input_bits"])
        raise DomainError(f"inputs reach {np.abs(exact).max():.6g}: this build takes up to {most:.6g}")
    labels = np.asarray(labels)
    if plan["loss"] == "cross-entropy":
        good = labels.shape == (batch,) and labels.dtype.kind in "iu"
        if not good or labels.min() < 0 or labels.max() >= plan["outputs"]:
            raise InputError(
                f"labels are {batch} classes from 0 to {plan['outputs'] - 1}: got shape {list(labels.shape)}"
            )
        return np.concatenate([scaled, labels]).astype(np.int64)
    targets = labels.astype(np.float64).reshape(-1)
    if targets.size != batch * plan["outputs"] or not np.isfinite(targets).all():
        raise InputError(f"targets are {batch} × {plan['outputs']} finite numbers: got shape {list(labels.shape)}")
    targets = np.rint(targets * float.fromhex(plan["steps"][-1]["scale"]))
    if np.abs(targets).max() > bounds["target"]:
        raise DomainError(f"targets reach {np.abs(labels).max():.6g}, beyond this build's bound")
    return np.concatenate([scaled, targets]).astype(np.int64)


# ---------------------------------------------------------------- prove


def utility(build: UtilityBuild, theta: np.ndarray, coalition: Coalition, validation: Validation) -> Utility:
    """The definition, in integers; bit by bit what the circuit proves. Fast, no proof.

    Raises InputError or DomainError for what is not the build's.
    """
    theta_q = build.quantise_theta(theta)
    _check_coalition(build, coalition)
    _check_validation(build, validation)
    made = evaluate(build.plan, theta_q, coalition.values, coalition.size, validation.values, witness=False)
    return Utility(made.correct, made.loss)


def _check_coalition(build: UtilityBuild, coalition: Coalition) -> None:
    values, salts, size = coalition.values, coalition.salts, coalition.size
    if type(size) is not int or not 0 <= size <= build.trainers:
        raise InputError(f"a coalition has 0 to {build.trainers} members: got {size!r}")
    if values.shape != (build.params,) or values.dtype.kind != "i":
        raise InputError(f"a coalition's sum has {build.params} integers: got {values.dtype}{list(values.shape)}")
    if salts.dtype != np.uint8 or salts.shape != (build.chunks, build.salts, 32):
        raise InputError(f"its salts are uint8{[build.chunks, build.salts, 32]}: got {salts.dtype}{list(salts.shape)}")
    bound = size * build.update_bound
    largest = max(-int(values.min()), int(values.max()))
    square = largest * largest if largest > bound else squared_length(values)
    if square > bound * bound:
        raise DomainError(
            f"the sum of {size} accepted updates has at most the length {bound}: got {math.isqrt(square)} or more;"
            " compile with a larger --beta-max"
        )


def _check_validation(build: UtilityBuild, validation: Validation) -> None:
    plan = build.plan
    count = plan["counts"]["validation"]
    shape = (len(plan["columns"]["validation"]), plan["chunks"]["validation"][1], 32)
    if validation.values.shape != (count,) or validation.salts.shape != shape or len(validation.points) != shape[0]:
        raise InputError(f"the validation batch is not of this build: wanted {count} values, salts {list(shape)}")
    inputs = validation.values[: plan["batch"] * plan["inputs"]]
    rest = validation.values[plan["batch"] * plan["inputs"] :]
    most = plan["outputs"] - 1 if plan["loss"] == "cross-entropy" else plan["bounds"]["target"]
    least = 0 if plan["loss"] == "cross-entropy" else -most
    if np.abs(inputs).max() > plan["bounds"]["input"] or rest.min() < least or rest.max() > most:
        raise DomainError("a value of the validation batch is beyond the build's bounds")


def prove_job(
    build: UtilityBuild, theta: np.ndarray, coalition: Coalition, validation: Validation, context: bytes
) -> ProofJob:
    """What `backend.prove` needs to prove one coalition's utility: for callers that spread proofs over workers.

    Every call draws salts, noise and so challenges of its own. The result is to be checked with `verify_utility`.
    """
    plan = build.plan
    theta_q = build.quantise_theta(theta)
    _check_coalition(build, coalition)
    _check_validation(build, validation)
    made = evaluate(plan, theta_q, coalition.values, coalition.size, validation.values)
    columns = columns_of(plan, "theta", theta_q)
    columns += columns_of(plan, "update", coalition.values, coalition.salts)
    columns += columns_of(plan, "validation", validation.values, validation.salts)
    columns += columns_of(plan, "witness", witness_cells(plan, made.cells))
    points = backend.commit(build.files, build.logrows, columns)
    first = len(plan["columns"]["theta"]) + build.chunks
    if points[first : first + len(validation.points)] != list(validation.points):
        raise OpeningMismatch("the validation batch does not open its own points")
    public = public_values(plan, coalition.size, _seed(build, context, coalition.size, points))
    return ProofJob("utility proof", build.files, [*columns, last_column(plan, public)])


def prove_utility(
    build: UtilityBuild,
    theta: np.ndarray,
    coalition: Coalition,
    validation: Validation,
    context: bytes,
    progress: Progress = quiet,
) -> UtilityProof:
    """Prove one coalition's utility.

    Args:
        theta: (D,) float32.
        context: 32 bytes that the proof is bound to.

    Each call spends one salt of every member's chunks and of every validation chunk.

    Raises:
        InputError, DomainError: what is given is not the build's.
        OpeningMismatch: the validation batch does not open its points.
    """
    job = prove_job(build, theta, coalition, validation, context)
    progress("utility proof: witness committed")
    proof = UtilityProof(backend.prove([job], progress)[0])
    update = backend.commit(
        build.files, build.logrows, columns_of(build.plan, "update", coalition.values, coalition.salts)
    )
    known = theta_points(build, build.quantise_theta(theta))
    found = _read(build, proof, known, update, coalition.size, validation.points, context)
    wanted = utility(build, theta, coalition, validation)
    if found != wanted:
        raise BackendError(f"the circuit and the integer oracle disagree: got {found}, wanted {wanted}")
    return proof


# ---------------------------------------------------------------- verify


def verify_utility(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: np.ndarray,
    coalition_points: Sequence[Point],
    size: int,
    validation_points: Sequence[Point],
    context: bytes,
) -> Utility:
    """Check a proof against commitments.

    Args:
        theta: (D,) float32, the round's parameters.
        coalition_points: of the sum of the coalition's updates, one a chunk, by homomorphism: these must be
            accepted by a verified round, which proves ‖u‖² <= β, and β at most what the model was compiled for.
        size: |S|.
        validation_points: as the owner published them before the round.
        context: 32 bytes that the proof must be bound to.

    Raises ProofRejected with the reason.
    """
    if type(size) is not int or not 0 <= size <= build.trainers:
        raise ProofRejected(f"a coalition has 0 to {build.trainers} members: got {size!r}")
    known = theta_points(build, build.quantise_theta(theta))
    found = _read(build, proof, known, coalition_points, size, validation_points, context)
    backend.verify(build.files, proof.proof, "utility proof")
    return found


def _read(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: Sequence[Point],
    update: Sequence[Point],
    size: int,
    validation: Sequence[Point],
    context: bytes,
) -> Utility:
    """Everything that is checked of a proof besides the proof itself."""
    plan, what, inner = build.plan, "utility proof", proof.proof
    names = check_names(plan)
    start = plan["public"]["noise"][0]
    if len(inner.instances) != start + 1 + len(names) + 2:
        raise ProofRejected(f"{what} has {len(inner.instances)} instances: wanted {start + 1 + len(names) + 2}")
    at, points = 0, []
    for kind, given in (("theta", theta), ("update", update), ("validation", validation)):
        many = len(plan["columns"][kind])
        if len(given) != many:
            raise ProofRejected(f"{what} takes {many} commitments of {kind}: got {len(given)}")
        for chunk, point in enumerate(given):
            if inner.point(at) != encode_point(point):
                raise ProofRejected(f"{what} is of another {kind} than the committed one (chunk {chunk})")
            points.append(point)
            at += 1
    points += [decode_point(inner.point(at + i)) for i in range(len(plan["columns"]["witness"]))]
    wanted = public_values(plan, size, _seed(build, context, size, points))
    for index, (got, value) in enumerate(zip(inner.instances, wanted, strict=False)):
        if got != value:
            name = next((n for n, (first, count) in plan["public"].items() if first <= index < first + count), "?")
            raise ProofRejected(f"{what} uses another {name}: got {got:#x}, wanted {value:#x} (public value {index})")
    known, *checks = inner.instances[start : start + 1 + len(names)]
    if known != 1:
        raise ProofRejected(f"{what}: E(0) is {known}, wanted 1")
    for name, value in zip(names, checks, strict=True):
        if value != 0:
            raise ProofRejected(f"{what}: the check of {name} fails")
    correct, loss = inner.instances[-2:]
    if correct > plan["batch"] or loss >= MAX_LOSS:
        raise ProofRejected(f"{what}: {correct} correct predictions and a loss of {loss} are no result of a batch")
    return Utility(correct, loss)
