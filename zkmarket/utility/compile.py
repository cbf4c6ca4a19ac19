"""`zkmarket compile`: from a model and validation data to the utility circuit, its keys and a report.

Scales are searched: of all scales of inputs and activations, the smallest circuit whose accuracy and loss on the
validation data differ from the float model's by no more than the tolerance. Keys are made as those of a build are,
and kept in the same cache under the hash of everything that decides them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..backend import Srs
from ..build import Build, Columns, Manifest, Spec, choose_logrows, keys_of
from ..build.statements import SALTS, VALUE_BITS
from ..circuits.plan import CircuitPlan
from ..documents import canonical_json, parse_json, write_json
from ..errors import ArtifactError, DomainError, InputError
from ..files import link_or_copy, new_folder
from ..learning import Dataset, load_dataset
from ..networks import LOSSES, Network, Sizes, evaluate, make_plan, read_network, rows_of, sizes_of
from ..progress import Progress, quiet
from ..rules import RATE_UNIT, Filter, theta_bits_for
from ..updates import ParameterLayout, load_model_file
from .batch import commit_validation, quantise_batch
from .build import MANIFEST_FILE, UTILITY_BUILD_FORMAT, UtilityBuild, loss_unit, quantise_theta, used_parameters
from .games import Method
from .onchain import OnChain, advice
from .statements import statement

INPUT_BITS = (2, 3, 4, 5, 6, 8, 10, 12)
ACTIVATION_BITS = (4, 6, 8, 9, 10, 11, 12, 13, 14, 16)
THETA_BOUND = 8.0
"""Least bound of the parameters; otherwise four times the largest that the model was read with, or what a round can
make of it, a power of two."""

# On the reference machine (2 cores), from `python -m benchmarks.bench_utility`.
SECONDS_PER_1000_ROWS, CPU_PER_1000_ROWS = 0.1, 0.16
MEMORY_GB, GB_PER_1000_ROWS = 0.5, 0.0042


@dataclass(frozen=True)
class Options:
    """What is compiled, see `zkmarket compile --help`.

    Attributes:
        output: name of the ONNX file's output that holds the scores.
        build: folder of the build whose rounds are scored: what is None below, and trainers, is as it has it.
    """

    model: str
    data: str
    trainers: int | None = None
    output: str | None = None
    build: Path | None = None
    loss: str = "cross-entropy"
    batch: int = 64
    value_bits: int | None = None
    scale_bits: int | None = None
    theta_bits: int | None = None
    beta_max: int | None = None
    logrows: int | None = None
    salts: int | None = None
    proofs: int = 64
    tolerance: float = 0.01
    theta: Path | None = None
    theta_bound: float | None = None


@dataclass(frozen=True)
class Found:
    """A plan, and how well it says what the float model says on the validation data.

    Attributes:
        accuracy, loss: of the integers and of the float model; the loss a sample, in nats or squared error.
    """

    plan: CircuitPlan
    rows: int
    accuracy: tuple[float, float]
    loss: tuple[float, float]

    def distance(self) -> tuple[float, float]:
        """From the float model: accuracy as a difference; loss relative to the float model's, where that is above 1."""
        loss = abs(self.loss[0] - self.loss[1]) / max(1.0, self.loss[1])
        return abs(self.accuracy[0] - self.accuracy[1]), loss

    def within(self, tolerance: float) -> bool:
        return max(self.distance()) <= tolerance


# ---------------------------------------------------------------- the search


def float_utility(outputs: np.ndarray, targets: np.ndarray, loss: str) -> tuple[float, float]:
    """Accuracy and mean loss of a float model's outputs (n, k)."""
    if loss == "mse":
        return 0.0, float(((outputs - targets.reshape(outputs.shape)) ** 2).mean())
    top = outputs.max(1, keepdims=True)
    total = np.log(np.exp(outputs - top).sum(1)) + top[:, 0]
    mine = outputs[np.arange(len(outputs)), targets]
    return float((mine == top[:, 0]).mean()), float((total - mine).mean())


def judge(plan: CircuitPlan, network: Network, theta: np.ndarray, data: Dataset) -> Found:
    """The integer model on all the data, beside the float model."""
    whole = replace(plan, batch=len(data))
    quantised = quantise_theta(plan, theta, used_parameters(plan))
    values = quantise_batch(whole, data.inputs, data.targets)
    evaluated = evaluate(whole, quantised, values, witness=False)
    floats = float_utility(network.evaluate(theta, data.inputs), data.targets, plan.loss)
    return Found(
        plan,
        rows_of(plan),
        (evaluated.correct / len(data), floats[0]),
        (evaluated.loss * loss_unit(plan) / len(data), floats[1]),
    )


def candidates(network: Network, options: Options, theta: np.ndarray, data: Dataset) -> Iterator[Sizes]:
    """Sizes to try: every pair of scales."""
    assert options.logrows is not None and options.scale_bits is not None and options.theta_bits is not None
    salts = SALTS if options.salts is None else options.salts
    largest = float(np.abs(theta[network.used()]).max())
    step = math.ldexp(math.sqrt(options.beta_max or 0), -options.scale_bits)  # of a round with a learning rate of 1
    least = max(4 * largest, largest + step, 1e-9)
    bound = options.theta_bound or max(THETA_BOUND, 2.0 ** math.ceil(math.log2(least)))
    reach = float(np.abs(data.inputs).max()) or 1.0
    for input_bits in INPUT_BITS:
        for activation_bits in ACTIVATION_BITS:
            yield Sizes(
                logrows=options.logrows,
                salts=salts,
                scale_bits=options.scale_bits,
                theta_bits=options.theta_bits,
                batch=options.batch,
                loss=options.loss,
                proofs=options.proofs,
                input_bits=input_bits,
                activation_bits=activation_bits,
                input_bound=math.ceil(math.ldexp(reach, input_bits)),
                theta_bound=math.ceil(math.ldexp(bound, options.scale_bits + options.theta_bits)),
                target_bound=1 << 40 if options.loss == "mse" else 0,
            )


def search(
    network: Network, options: Options, theta: np.ndarray, data: Dataset, progress: Progress = quiet
) -> tuple[Found, list[Found]]:
    """The smallest plan within the tolerance, and all that were judged, smallest first.

    Raises DomainError if none is.
    """
    plans, refusal = [], "none was tried"
    for sizes in candidates(network, options, theta, data):
        try:
            plan = make_plan(network, sizes)
        except DomainError as error:
            refusal = str(error)
            continue
        plans.append((rows_of(plan), plan.input_bits, plan))
    plans.sort(key=lambda item: item[:2])
    judged = []
    for rows, bits, plan in plans:
        verdict = judge(plan, network, theta, data)
        judged.append(verdict)
        progress(
            f"{rows} rows, {bits} bits an input: accuracy {verdict.accuracy[0]:.4f} (float {verdict.accuracy[1]:.4f}),"
            f" loss {verdict.loss[0]:.4f} (float {verdict.loss[1]:.4f})"
        )
        if verdict.within(options.tolerance):
            return verdict, judged
    closest = min((one.distance() for one in judged), key=sum, default=None)
    raise DomainError(
        f"no scales keep accuracy and loss within {options.tolerance} of the float model's:"
        f" {'the closest are {:.4f} and {:.4f} off'.format(*closest) if closest else refusal};"
        " raise --tolerance or --logrows"
    )


# ---------------------------------------------------------------- the build


@dataclass(frozen=True)
class CompiledModel:
    """A compiled model, and how it was found."""

    build: UtilityBuild
    found: Found
    judged: int
    on_chain: OnChain
    advice: str

    def report(self) -> dict[str, Any]:
        """What `zkmarket compile --json` prints."""
        build, found, rows = self.build, self.found, self.build.value["circuit"]["rows"]
        return {
            "digest": build.value["digest"],
            "insecure": build.insecure,
            "parameters": build.params,
            "chunks": build.chunks,
            "salts": build.salts,
            "logrows": build.logrows,
            "rows": rows,
            "batch": build.plan.batch,
            "theta_bits": build.theta_bits,
            "loss": build.plan.loss,
            "loss_unit": build.loss_unit,
            "input_bits": build.plan.input_bits,
            "accuracy": found.accuracy[0],
            "float_accuracy": found.accuracy[1],
            "mean_loss": found.loss[0],
            "float_mean_loss": found.loss[1],
            "scales_tried": self.judged,
            "expected_seconds": round(rows * SECONDS_PER_1000_ROWS / 1000, 1),
            "expected_cpu_seconds": round(rows * CPU_PER_1000_ROWS / 1000, 1),
            "expected_memory_gb": round(MEMORY_GB + rows * GB_PER_1000_ROWS / 1000, 1),
            "proof_bytes": build.value["circuit"]["proof_bytes"],
            "on_chain": self.on_chain.fits,
            "verifier_bytes": self.on_chain.verifier_bytes,
            "proof_gas": self.on_chain.proof_gas,
            "coalition_gas": self.on_chain.coalition_gas,
            "round_gas": self.on_chain.round_gas,
        } | ({"advice": self.advice} if self.advice else {})


def compile_model(options: Options, ceremony: Srs, folder: Path, progress: Progress = quiet) -> CompiledModel:
    """Read the model, find its scales, make keys, and write the build's folder, whole or not at all.

    Raises:
        InputError: a model or data that cannot be used, with the operator's name.
        DomainError: no scales within the tolerance.
        ArtifactError: a circuit that lost a check on its way through the compiler.
    """
    if options.loss not in LOSSES:
        raise InputError(f"--loss is {' or '.join(LOSSES)}: got {options.loss!r}")
    data = load_dataset(options.data)
    if data.labelled != (options.loss == "cross-entropy"):
        raise InputError(f"{options.loss} does not go with targets of type {data.targets.dtype}")
    if len(data) < options.batch:
        raise InputError(f"a batch of {options.batch} needs as many samples: {options.data} has {len(data)}")
    network = read_network(options.model, data.inputs.shape[1:], options.output)
    check_ending(network, options.loss)
    if options.loss == "cross-entropy" and int(data.targets.max()) >= network.outputs:
        raise InputError(f"labels reach {int(data.targets.max())}: the model has {network.outputs} outputs")
    theta = network.theta if options.theta is None else load_model_file(options.theta, network.layout)[0]
    if options.build is not None:
        options = as_build(options, Build.load(options.build).manifest, network.layout)
    options = with_defaults(options, network.layout.size)
    assert options.logrows is not None and options.salts is not None
    width = Columns(options.logrows).width
    if not SALTS <= options.salts <= width:
        raise InputError(f"a chunk has from {SALTS} to {width} salts at K = {options.logrows}: got {options.salts}")
    if network.labels:
        progress(f"labels 0 to {network.outputs - 1} are the model's {', '.join(network.labels)}")
    progress(f"{len(theta)} parameters, {len(network.nodes)} operations; searching scales")
    found, judged = search(network, options, theta, data, progress)
    assert options.trainers is not None
    game = Method("loo"), options.trainers
    there, why_not = OnChain.of(found.plan, *game), advice(network, found.plan, *game)
    progress(
        why_not
        or f"on chain: verifier {there.verifier_bytes / 1000:.1f} kB, {there.coalition_gas / 1e6:.2f}M gas a coalition,"
        f" {there.round_gas / 1e6:.1f}M a round of utility:loo with {options.trainers} accepted"
    )
    build = write_build(found.plan, network, ceremony, folder, progress)
    return CompiledModel(build, found, len(judged), there, why_not)


def check_ending(network: Network, loss: str) -> None:
    """A softmax at the end is dropped: cross-entropy makes it itself, and mean squares have none."""
    if network.ending and loss == "mse":
        raise InputError(
            f"the model ends in {network.ending}, which is proven as a part of cross-entropy alone: for mse name what"
            " goes into it, --output-name NAME"
        )


def as_build(options: Options, manifest: Manifest, layout: ParameterLayout) -> Options:
    """The options with everything that updates decide as a build has it.

    Raises InputError if an option says otherwise, or the build is of another model or not for scores by utility.
    """
    if manifest.score != "equal":
        raise InputError(
            f"{options.build} publishes {manifest.score} scores, which tell of the updates what the losses do not:"
            " build with --score utility:…"
        )
    if manifest.params != layout.size or manifest.layout not in (None, layout):
        about = layout.difference(manifest.layout) if manifest.layout else f"{layout.size}, wanted {manifest.params}"
        raise InputError(f"{options.build} is a build of other parameters than {options.model}: {about}")
    values = dict(vars(options))
    for name, wanted in {
        "trainers": manifest.trainers,
        "logrows": manifest.logrows,
        "scale_bits": manifest.fixed_point.scale_bits,
        "value_bits": manifest.fixed_point.value_bits,
        "salts": manifest.salts,
        "beta_max": manifest.beta_max,
    }.items():
        got = values[name]
        if got is None or got == wanted:
            values[name] = wanted
        else:
            raise InputError(f"--{name.replace('_', '-')} is {wanted} in {options.build}: got {got}; leave it out")
    return Options(**values)


def compile_again(
    model: str, other: Path, ceremony: Srs, folder: Path, progress: Progress = quiet, output: str | None = None
) -> UtilityBuild:
    """Make somebody's build again from one's own copy of the model, and refuse it unless it comes out the same.

    That needs no data: scales and bounds are taken from the build, they are what its plan says; operations, weights'
    places and keys are not.

    Raises ArtifactError if the build is of another model, or its keys are of another circuit.
    """
    given = UtilityBuild.load(other)
    network = read_network(model, given.plan.input_shape, output)
    check_ending(network, given.plan.loss)
    plan = make_plan(network, sizes_of(given.plan))
    if canonical_json(plan.to_json()) != canonical_json(given.value["plan"]) or network.layout != given.layout:
        about = "" if network.layout == given.layout else f", {network.layout.difference(given.layout)}"
        raise ArtifactError(f"{other} is not a build of {model}: its plan is another one{about}")
    build = write_build(plan, network, ceremony, folder, progress)
    if build.digest != given.digest:
        raise ArtifactError(
            f"{other} has other keys than its plan: digest {given.value['digest']}, wanted {build.value['digest']}"
        )
    return build


def with_defaults(options: Options, params: int) -> Options:
    """K and scale as `zkmarket build` chooses them for as many trainers and parameters, ρ as a project of theirs with a
    learning rate of 1 does."""
    assert options.trainers is not None
    values = dict(vars(options)) | {"salts": SALTS if options.salts is None else options.salts}
    value_bits = options.value_bits or VALUE_BITS
    if options.logrows is None:
        spec = Spec(options.trainers, params, Filter.default(max(3, options.trainers)), salts=values["salts"])
        values["logrows"] = choose_logrows(spec)[0]
    if options.scale_bits is None:
        values["scale_bits"] = value_bits - 1
    if options.theta_bits is None:
        values["theta_bits"] = theta_bits_for([RATE_UNIT], options.trainers)
    return Options(**values)


def write_build(
    plan: CircuitPlan, network: Network, ceremony: Srs, folder: Path, progress: Progress = quiet
) -> UtilityBuild:
    """Make or fetch the keys of a plan, and write the build."""
    circuit = statement(plan)
    source, entry = keys_of(circuit, ceremony, progress)
    value = {
        "format": UTILITY_BUILD_FORMAT,
        "versions": backend.versions(),
        "srs": {"kind": ceremony.kind, "id": ceremony.id},
        "plan": plan.to_json(),
        "layout": network.layout.to_json(),
        "circuit": entry,
    }
    value["digest"] = "0x" + UtilityBuild(Path(folder), value).digest.hex()
    with new_folder(Path(folder), replace=is_utility_build(Path(folder))) as fresh:
        (fresh / "circuit").mkdir()
        for file in entry["files"]:
            link_or_copy(source / file, fresh / "circuit" / file)
        write_json(fresh / MANIFEST_FILE, value)
    return UtilityBuild.load(folder, prover=True)


def commit_batch(build: UtilityBuild, data: str, path: Path) -> tuple[Path, Path]:
    """Commit to the first B samples; write the batch (secret: for who proves) and its commitments (public)."""
    samples, batch = load_dataset(data), build.plan.batch
    validation = commit_validation(build, samples.inputs[:batch], samples.targets[:batch])
    stem = path.with_suffix("") if path.suffix == ".npz" else path
    secret, public = (stem.with_name(stem.name + ending) for ending in (".npz", ".public.npz"))
    if secret.exists():
        raise InputError(f"{secret} exists: a batch that was published is not committed again, its salts differ")
    validation.save(secret)
    validation.public().save(public, mode=0o644)
    return secret, public


def is_utility_build(folder: Path) -> bool:
    try:
        value = parse_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and value.get("format") == UTILITY_BUILD_FORMAT
