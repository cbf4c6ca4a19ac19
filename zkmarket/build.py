"""From a project's rules to circuits and keys.

A circuit depends on few numbers: gram and range on (K, S), range-last on (K, S, D mod C), settlement
on (N, filter, score, domain). Its keys are made once and kept in the cache under the hash of
everything that decides their bytes, so projects share them. What ends in a build is checked: every
lookup and range check that the statement needs must be in the *compiled* circuit, because ezkl's
optimiser drops silently what no output depends on.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuits import NOISE

from . import backend
from .artifacts import CIRCUITS, FORMAT, Build, Manifest
from .backend import CircuitFiles, Compilation, Progress, quiet
from .contribution import check_score
from .errors import ArtifactError, DomainError, InputError, StatementFalse
from .field import INFINITY, encode_point, random_scalars, scalar_hex, to_hex
from .files import cache_folder, link_or_copy, locked, new_folder, sha256_file, write_json
from .quantise import FixedPoint, ParameterLayout
from .rules import MIN_ACCEPTED, Domain, MultiKrum
from .srs import Srs

SALTS = 8
MIN_LOGROWS, MAX_LOGROWS = 10, 20
"""Below 2^10 rows 128 noise values do not cover what a range proof reveals: see `noise_entropy`."""

REVEALED_BITS = 508
"""What a proof says of a lookup's multiplicities: one commitment and one evaluation, 254 bits each."""

GAS_PER_POINT = 6_200
"""One ecMul and one ecAdd of the settlement's folded commitment."""

# Seconds on the reference machine (2 cores), from `python -m benchmarks.bench_circuits`.
SECONDS_PER_ROW_GRAM = 1.0 / 2**13
SECONDS_PER_ROW_RANGE = 1.6 / 2**13
SECONDS_VERIFY_RANGE = 0.010
GAS_RANGE_PROOF = 700_000


@dataclass(frozen=True)
class Spec:
    """What a project decides. See `zkmarket build --help` for each."""

    trainers: int
    params: int
    filter: MultiKrum
    score: str = "shapley"
    value_bits: int | None = None
    scale_bits: int | None = None
    logrows: int | None = None
    optimize: str = "time"
    beta_max: int | None = None
    layout: ParameterLayout | None = None


@dataclass(frozen=True)
class Candidate:
    """One choice of K, with what it is expected to cost."""

    logrows: int
    chunks: int
    aggregator_seconds: float
    trainer_seconds: float
    verify_seconds: float
    settle_gas: int
    submit_gas: int

    def to_json(self) -> dict[str, Any]:
        return {key: round(value, 3) for key, value in vars(self).items()}


def chunk_size(logrows: int, salts: int = SALTS) -> int:
    """C: 2^K rows less 8 (6 unusable, 2 spare) and the salts."""
    return (1 << logrows) - 8 - salts


def value_bound(logrows: int) -> int:
    """Q: the one-column table holds [−Q, Q)."""
    return (1 << (logrows - 1)) - 4


def candidates(trainers: int, params: int) -> list[Candidate]:
    """The cost model behind ``--logrows auto``.

    Work grows with rows, so a small K is quick for the aggregator and the trainer (less padding, two
    cores better used); the number of chunks m = ⌈D/C⌉ grows as K falls, and with it what the
    verifier and the contract do: N·m points at 6,200 gas and N·m range proofs.
    """
    out = []
    for logrows in range(MIN_LOGROWS, 18):
        chunks = -(-params // chunk_size(logrows))
        rows = 1 << logrows
        out.append(
            Candidate(
                logrows,
                chunks,
                rows * SECONDS_PER_ROW_GRAM,
                chunks * (rows * SECONDS_PER_ROW_RANGE + 0.2),
                trainers * chunks * SECONDS_VERIFY_RANGE,
                trainers * chunks * GAS_PER_POINT,
                chunks * GAS_RANGE_PROOF,
            )
        )
    return out


def choose_logrows(spec: Spec) -> tuple[int, list[Candidate]]:
    """K for a project, and the candidates it was chosen from.

    time: least seconds of the aggregator, one trainer and one verifier together. gas: least gas of
    settle and all submits. Ties go to the smaller K. K is never below the value bits.
    """
    if spec.optimize not in ("time", "gas"):
        raise InputError(f"--optimize is time or gas: got {spec.optimize!r}")
    table = candidates(spec.trainers, spec.params)
    if spec.logrows is not None:
        return spec.logrows, table
    fits = [c for c in table if spec.value_bits is None or c.logrows >= spec.value_bits]
    if spec.value_bits is None:
        fits = [c for c in fits if c.logrows >= 13]  # 13 bits a value unless asked for less
    if spec.optimize == "gas":
        best = min(fits, key=lambda c: (c.settle_gas + spec.trainers * c.submit_gas, c.logrows))
    else:
        best = min(fits, key=lambda c: (c.aggregator_seconds + c.trainer_seconds + c.verify_seconds, c.logrows))
    return best.logrows, table


def noise_entropy(values: int, table: int) -> float:
    """Bits of entropy (a lower bound) in the histogram of `values` uniform draws from `table` rows."""
    return values * math.log2(table) - math.lgamma(values + 1) / math.log(2)


def build(spec: Spec, srs: Srs, folder: Path, progress: Progress = quiet) -> Build:
    """Compile the circuits of a project, make or fetch their keys, and write the build.

    The folder appears whole or not at all; an interrupted build is run again and finds the keys that
    were finished in the cache.

    Raises:
        InputError, RuleError, DomainError: a rule or size that cannot be proven, and what to lower.
        ArtifactError: a circuit lost a check on its way through the compiler.
    """
    _check(spec)
    logrows, table = choose_logrows(spec)
    bound = value_bound(logrows)
    value_bits = spec.value_bits or logrows
    if value_bits > logrows:
        raise DomainError(f"{value_bits} bits a value need logrows >= {value_bits}: got {logrows}")
    if not MIN_LOGROWS <= logrows <= MAX_LOGROWS:
        raise DomainError(f"logrows is from {MIN_LOGROWS} to {MAX_LOGROWS}: got {logrows}")
    scale_bits = value_bits - 1 if spec.scale_bits is None else spec.scale_bits
    FixedPoint(scale_bits, value_bits)  # raises if it is none
    beta_max = spec.params * bound * bound if spec.beta_max is None else spec.beta_max
    if not 0 < beta_max <= spec.params * bound * bound:
        raise DomainError(f"--beta-max is from 1 to D·Q² = {spec.params * bound * bound}: got {beta_max}")

    chunk = chunk_size(logrows)
    made: dict[str, Circuit] = {"gram": gram_circuit(logrows, SALTS)}
    if spec.params % chunk:
        made["range-last"] = range_circuit(logrows, SALTS, spec.params % chunk)
    if spec.params >= chunk:
        made["range"] = range_circuit(logrows, SALTS)
    made["settlement"] = settlement_circuit(spec, bound, beta_max)

    entries = {}
    folders = {}
    for name in CIRCUITS:
        if name in made:
            folders[name], entries[name] = keys_of(made[name], srs, progress)
    gram_files = CircuitFiles(folders["gram"], srs.path(logrows))
    blinding = backend.commit(gram_files, logrows, [[scalar_hex(0)]])[0]
    if blinding == INFINITY:
        raise ArtifactError("the commitment of zero is the point at infinity: the unusable rows are not what they were")
    domain = made["settlement"].domain
    assert domain is not None
    value = {
        "format": FORMAT,
        "insecure": srs.insecure,
        "versions": backend.versions(),
        "srs": {"kind": srs.kind, "id": srs.id},
        "trainers": spec.trainers,
        "params": spec.params,
        "logrows": logrows,
        "chunk": chunk,
        "salts": SALTS,
        "chunks": -(-spec.params // chunk),
        "value_bound": bound,
        "fixed_point": {"scale_bits": scale_bits, "value_bits": value_bits},
        "filter": str(spec.filter),
        "score": spec.score,
        "min_accepted": MIN_ACCEPTED,
        "beta_max": str(beta_max),
        "domain": {
            "bounds": {name: str(limit) for name, limit in domain.bounds.items()},
            "penalty": str(domain.penalty),
            "digit_bits": domain.digit_bits,
            "digits": domain.digits,
        },
        "blinding_point": "0x" + encode_point(blinding).hex(),
        "cost_model": {"optimize": spec.optimize, "candidates": [c.to_json() for c in table]},
        "circuits": entries,
        "layout": spec.layout.to_json() if spec.layout else None,
    }
    value["digest"] = "0x" + Manifest(value).digest().hex()
    with new_folder(Path(folder)) as fresh:
        for name, source in folders.items():
            target = fresh / "circuits" / name
            target.mkdir(parents=True)
            for file in entries[name]["files"]:
                link_or_copy(source / file, target / file)
        write_json(fresh / "manifest.json", value)
    return Build.load(Path(folder), prover=True)


def _check(spec: Spec) -> None:
    if spec.params < 1:
        raise InputError(f"a model has at least one parameter: got D={spec.params}")
    if spec.trainers < 1:
        raise InputError(f"a round has trainers: got N={spec.trainers}")
    spec.filter.check(spec.trainers)
    check_score(spec.score)


# ---------------------------------------------------------------- circuits


@dataclass(frozen=True)
class Circuit:
    """A statement with its numbers: what to export, how to compile it, what must be in it then.

    Attributes:
        source: file in circuits/ that holds the torch module.
        numbers: the arguments of the module; with the source and versions they decide the circuit.
        lookups: static lookups that must be in the compiled circuit.
        range_checks: range-check tables that must be.
        min_rows: rows that it cannot have fewer of, if no check was dropped.
        instances: number of public outputs.
        committed: lengths of the committed inputs.
        sample: honest inputs, proven once when the keys are made: the keys work, and a proof's length is known.
        refused: inputs by name that the compiled circuit must refuse.
    """

    source: str
    module: Callable[[], Any]
    numbers: dict[str, Any]
    how: Compilation
    lookups: int
    range_checks: list[list[int]]
    min_rows: int
    instances: int
    committed: list[int]
    sample: Callable[[], list[list[str]]]
    refused: Callable[[], dict[str, list[list[str]]]] = dict
    domain: Domain | None = None


def gram_circuit(logrows: int, salts: int) -> Circuit:
    chunk = chunk_size(logrows, salts)

    def module():
        from circuits.inner_product import InnerProduct

        return InnerProduct(chunk, salts)

    return Circuit(
        "inner_product.py",
        module,
        {"chunk": chunk, "salts": salts},
        Compilation(logrows),
        lookups=0,
        range_checks=[],
        min_rows=chunk,
        instances=1,
        committed=[chunk + salts],
        sample=lambda: [to_hex(random_scalars(chunk + salts))],
    )


def range_circuit(logrows: int, salts: int, used: int | None = None) -> Circuit:
    chunk, bound = chunk_size(logrows, salts), value_bound(logrows)
    if noise_entropy(NOISE, 2 * bound) < REVEALED_BITS:
        raise DomainError(f"{NOISE} noise values do not cover what a range proof of 2^{logrows} rows reveals")

    def module():
        from circuits.range_check import RangeCheck

        return RangeCheck(chunk, salts, used)

    def inputs(first: int = -bound, last: int = bound - 1, noise: int = 0) -> list[list[str]]:
        size = used or chunk
        values = [first] + [0] * (size - 2) + [last] if size > 1 else [first if last == bound - 1 else last]
        column = [scalar_hex(v) for v in values + [0] * (chunk - size)] + to_hex(random_scalars(salts))
        return [column, [scalar_hex(v) for v in [1] + [noise] * NOISE] + to_hex(random_scalars(salts))]

    return Circuit(
        "range_check.py",
        module,
        {"chunk": chunk, "salts": salts, "used": used},
        Compilation(logrows, lookup_range=(-bound, bound - 1)),
        lookups=1,
        range_checks=[],
        min_rows=3 * (chunk + NOISE),
        instances=1 if used is None else 2,
        committed=[chunk + salts, 1 + NOISE + salts],
        sample=lambda: inputs(),
        refused=lambda: {
            "a first value of −Q−1": inputs(first=-bound - 1),
            "a last value of Q": inputs(last=bound),
            "a noise value of Q": inputs(noise=bound),
        },
    )


def settlement_circuit(spec: Spec, bound: int, beta_max: int) -> Circuit:
    """The settlement circuit of exactly N trainers, at the smallest K where it fits.

    ``gas`` wants one block of columns, since columns are what a verifier on chain pays for; ``time``
    allows two, which halves the rows that the prover transforms. Digits are as wide as the table
    allows: fewer of them make fewer cells.
    """
    n, rule = spec.trainers, spec.filter
    blocks = 1 if spec.optimize == "gas" else 2
    for logrows in range(11, MAX_LOGROWS + 1):
        digit_bits = logrows - 1
        domain = Domain.of(n, spec.params, bound, beta_max, rule, spec.score, digit_bits)
        rows = settlement_rows(n, domain.digits)
        if rows <= blocks * backend.usable_rows(logrows):
            break
    else:
        raise DomainError(f"the settlement of {n} trainers needs {rows} rows: more than 2^{MAX_LOGROWS}; lower N")
    if noise_entropy(NOISE * domain.digits, 1 << digit_bits) < REVEALED_BITS:
        raise DomainError(f"{NOISE} noise values do not cover what the settlement proof of {n} trainers reveals")
    numbers = {
        "n": n, "f": rule.f, "m": rule.m, "penalty": domain.penalty, "score": spec.score, "salts": SALTS,
    }  # fmt: skip

    def module():
        from circuits.settlement import Settlement

        return Settlement(**numbers)

    def inputs(norm: int = 0) -> list[list[str]]:
        entries = (n + 1) * (n + 2) // 2
        upper = [norm if at == entries - 1 else 0 for at in range(entries)]  # the last entry is G_NN
        return [
            [scalar_hex(v) for v in upper] + to_hex(random_scalars(SALTS)),
            [scalar_hex(v) for v in [1] * (n + 2 + NOISE)] + to_hex(random_scalars(SALTS)),
        ]

    return Circuit(
        "settlement.py",
        module,
        numbers,
        Compilation(logrows, decomp_base=1 << digit_bits, decomp_legs=domain.digits),
        lookups=0,
        range_checks=[[-1, 1], [0, (1 << digit_bits) - 1]],
        min_rows=comparisons(n) * (domain.digits * 3 + 8),
        instances=3 * n + 4,
        committed=[(n + 1) * (n + 2) // 2 + SALTS, n + 2 + NOISE + SALTS],
        sample=lambda: inputs(),
        refused=lambda: {"a squared norm beyond all digits": inputs(norm=1 << digit_bits * domain.digits)},
        domain=domain,
    )


def comparisons(n: int) -> int:
    """Decompositions in the settlement circuit: sorting N rows of N−1, two vectors of N; 6N signs; noise."""
    return n * (n - 2) + 2 * (n - 1) + 6 * n + NOISE


def settlement_rows(n: int, digits: int) -> int:
    """An upper estimate of the circuit's rows, fitted to compiled circuits (tests/circuits checks it)."""
    return comparisons(n) * (3 * digits + 14) + 20 * n * n + 40 * n + 400


def check_settings(settings: dict[str, Any], circuit: Circuit) -> None:
    """Assert that the compiled circuit still holds every check of its statement.

    Raises ArtifactError: this is the line of defence against an optimiser that drops checks silently.
    """
    found = {
        "static lookups": (len(settings["required_lookups"]), circuit.lookups),
        "range checks": (settings["required_range_checks"], circuit.range_checks),
        "public outputs": (sum(math.prod(shape) for shape in settings["model_instance_shapes"]), circuit.instances),
        "committed inputs": (settings["module_sizes"]["polycommit"], circuit.committed),
        "logrows": (settings["run_args"]["logrows"], circuit.how.logrows),
    }
    if circuit.how.lookup_range is not None:
        found["lookup range"] = (tuple(settings["run_args"]["lookup_range"]), circuit.how.lookup_range)
    for name, (got, wanted) in found.items():
        if got != wanted:
            raise ArtifactError(f"{circuit.source}: compiled circuit has {name} {got}, wanted {wanted}")
    if settings["num_rows"] < circuit.min_rows:
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has {settings['num_rows']} rows, wanted at least {circuit.min_rows}:"
            " a check was dropped"
        )


def keys_of(circuit: Circuit, srs: Srs, progress: Progress = quiet) -> tuple[Path, dict[str, Any]]:
    """The circuit's folder in the cache, made if it is not there, and its entry for the manifest."""
    source = Path(importlib.import_module("circuits").__file__).parent / circuit.source
    recipe = {
        "source": sha256_file(source),
        "numbers": circuit.numbers,
        "compilation": vars(circuit.how),
        "srs": srs.id,
        "versions": backend.versions(),
        "code": [inspect.getsource(part) for part in (backend.export_onnx, backend.compile_circuit, _keys_in)],
    }
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "keys" / name[:32]
    with locked(folder.with_suffix(".lock")):
        return _keys_in(folder, circuit, srs, progress)


def _keys_in(folder: Path, circuit: Circuit, srs: Srs, progress: Progress) -> tuple[Path, dict[str, Any]]:
    entry_file = folder / "entry.json"
    if entry_file.is_file():
        entry = json.loads(entry_file.read_text())
        if all(
            (folder / file).is_file() and sha256_file(folder / file) == digest
            for file, digest in entry["files"].items()
        ):
            return folder, entry
        progress(f"cached keys of {circuit.source} are damaged: making them again")
    progress(f"{circuit.source}: 2^{circuit.how.logrows} rows, making keys")
    srs_file = srs.path(circuit.how.logrows, progress)
    with new_folder(folder) as fresh, tempfile.TemporaryDirectory() as scratch:
        onnx = Path(scratch) / "circuit.onnx"
        backend.export_onnx(circuit.module(), onnx)
        settings = backend.compile_circuit(onnx, circuit.how, fresh)
        check_settings(settings, circuit)
        keys = CircuitFiles(fresh, srs_file)
        for what, bad in circuit.refused().items():
            try:
                backend.mock(keys, bad)
            except StatementFalse:
                continue
            raise ArtifactError(f"{circuit.source}: the compiled circuit accepts {what}")
        backend.setup(keys)
        sample = circuit.sample()
        proof = backend.prove([backend.ProofJob(f"{circuit.source} sample", keys, sample)])[0]
        for index, point in enumerate(backend.commit(keys, circuit.how.logrows, sample)):
            if proof.point(index) != encode_point(point):  # other unusable rows, or another order of the inputs
                raise ArtifactError(f"{circuit.source}: point {index} of a proof is not its input's commitment")
        files = {path.name: sha256_file(path) for path in sorted(fresh.iterdir())}
        entry = {
            "logrows": circuit.how.logrows,
            "rows": settings["num_rows"],
            "lookups": settings["required_lookups"],
            "lookup_range": list(circuit.how.lookup_range) if circuit.how.lookup_range else None,
            "range_checks": settings["required_range_checks"],
            "instances": circuit.instances,
            "committed": circuit.committed,
            "proof_bytes": len(proof.data),
            "srs_sha256": sha256_file(srs_file),
            "vk_sha256": files["vk.key"],
            "files": files,
        }
        write_json(fresh / "entry.json", entry)
    return folder, entry
