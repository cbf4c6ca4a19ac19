"""From a project's rules to circuits and keys.

A circuit depends on few numbers: base on K, settlement on (N, filter, score, domain). Its keys are made once
and kept in the cache under the hash of everything that decides their bytes, so projects share them. What
ends in a build is checked: every lookup and range check that the statement needs must be in the *compiled*
circuit, because ezkl's optimiser drops silently what no output depends on.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import backend
from .artifacts import FORMAT, Build, Manifest, describe, is_build, projection_shape
from .backend import CircuitFiles, Progress, quiet
from .columns import ROWS, Columns
from .contribution import check_score, references
from .errors import ArtifactError, DomainError, InputError, StatementFalse
from .field import INFINITY, encode_point, scalar_hex
from .files import cache_folder, canonical_json, link_or_copy, locked, new_folder, sha256_file, write_json
from .gram import masked_chunks
from .placement import lay_out
from .projection import SUMS
from .quantise import FixedPoint, ParameterLayout
from .rules import MIN_ACCEPTED, Filter, largest_beta, norm_bound, score_shift
from .srs import Srs
from .statements import (
    MAX_VALUE_BITS,
    SALTS,
    VALUE_BITS,
    Circuit,
    check_rows,
    check_settings,
    project_circuits,
    settlement_logrows,
    value_bound,
)

MAX_TRAINERS, MAX_PARAMS = 4096, 1 << 26

LEAST_CHOSEN = 13
"""The smallest K that is chosen by itself: below it a proof is hardly quicker, and points are more."""

GAS_PER_POINT = 6_200
"""One ecMul and one ecAdd of the settlement's combination of commitments."""

GAS_OF_ROWS = 810_000
"""Look-ups of 520 rows, and their tables where few blocks and a small K leave them small."""

# Milliseconds on the reference machine (2 cores), from `python -m benchmarks.bench_circuits` and `bench_round`.
BASE_MS, BASE_MS_PER_8192_ROWS = 500, 1_800
COLUMN_MS_PER_8192_ROWS = 50  # one column of arbitrary field elements, committed
COMMIT_MS, COMMIT_MS_PER_MILLION = 100, 3_600  # values of an update, committed
POSITION_MS = 1  # of the sumcheck
PRODUCTS_PER_MS = 15_000_000  # multiplications of float64
PAIRS_PER_MS = 1_700  # of chunks, whose inner products are weighted as Python's integers
VERIFY_US_PER_POINT = 420


@dataclass(frozen=True)
class Spec:
    """What a project decides. See `zkmarket build --help` for each."""

    trainers: int
    params: int
    filter: Filter
    score: str = "shapley"
    value_bits: int | None = None
    scale_bits: int | None = None
    logrows: int | None = None
    optimize: str = "time"
    beta_max: int | None = None
    layout: ParameterLayout | None = None
    most_trainers: int | None = None
    """Of the round that the last aggregate is from; where nothing is compared with it, it does not matter."""
    salts: int = SALTS


@dataclass(frozen=True)
class Candidate:
    """One choice of K, with what it is expected to cost."""

    logrows: int
    chunks: int
    aggregator_ms: int
    trainer_ms: int
    verify_ms: int
    settle_gas: int


def candidate(logrows: int, trainers: int, params: int) -> Candidate:
    """What a K is expected to cost."""
    shape = projection_shape(trainers, params, logrows, ())
    rows, blocks, cells = 1 << logrows, shape.blocks, shape.blocks * shape.values
    columns = len(masked_chunks(shape.chunks)) + len(shape.mask_positions) + 3  # masks, and W, U, V
    proof = BASE_MS + ((BASE_MS_PER_8192_ROWS + columns * COLUMN_MS_PER_8192_ROWS) * rows >> 13)
    sums = cells * (blocks + SUMS) // PRODUCTS_PER_MS + blocks**2 // PAIRS_PER_MS + (POSITION_MS << shape.rounds)
    return Candidate(
        logrows,
        shape.chunks,
        proof + sums,
        COMMIT_MS + shape.chunks * shape.values * COMMIT_MS_PER_MILLION // 10**6,
        blocks * VERIFY_US_PER_POINT // 1000,
        blocks * GAS_PER_POINT + GAS_OF_ROWS,
    )


def candidates(trainers: int, params: int) -> list[Candidate]:
    """The cost model behind ``--logrows auto``.

    The base proof's work grows with rows, so a small K is quick for the aggregator; the number of chunks m = ⌈D/C⌉
    grows as K falls, with it what the verifier and the contract do: N·m points at 6,200 gas, and in the end the
    aggregator's (N·m)² inner products too.
    """
    return [candidate(logrows, trainers, params) for logrows in ROWS]


def choose_logrows(spec: Spec, possible: Callable[[int], bool] = lambda logrows: True) -> tuple[int, list[Candidate]]:
    """K for a project, and the candidates it was chosen from.

    time: least seconds of the aggregator, one trainer and one verifier together. gas: least gas of settle.
    Ties go to the smaller K. `possible` says which K the caller can use.
    """
    if spec.optimize not in ("time", "gas"):
        raise InputError(f"--optimize is time or gas: got {spec.optimize!r}")
    table = candidates(spec.trainers, spec.params)
    if spec.logrows is not None:
        return spec.logrows, table
    fits = [
        c for c in table if c.logrows >= LEAST_CHOSEN and Columns(c.logrows).width >= spec.salts and possible(c.logrows)
    ]
    if not fits:
        raise DomainError(f"no logrows up to {table[-1].logrows} suits {spec.params} parameters and these rules")
    if spec.optimize == "gas":
        best = min(fits, key=lambda c: (c.settle_gas, c.logrows))
    else:
        best = min(fits, key=lambda c: (c.aggregator_ms + c.trainer_ms + c.verify_ms, c.logrows))
    return best.logrows, table


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
    value_bits = spec.value_bits or VALUE_BITS
    columns = Columns(logrows)
    if not SALTS <= spec.salts <= columns.width:
        raise InputError(f"a chunk has from {SALTS} to {columns.width} salts at K = {logrows}: got {spec.salts}")
    scale_bits = value_bits - 1 if spec.scale_bits is None else spec.scale_bits
    FixedPoint(scale_bits, value_bits)  # raises if it is none
    bound = value_bound(value_bits)
    longest = norm_bound(spec.params, bound)
    held = references(spec.filter, spec.score)
    most = (spec.most_trainers or spec.trainers) if "last" in held else None
    beta_max = spec.beta_max
    if beta_max is None:
        beta_max = largest_beta(spec.trainers, spec.params, bound, spec.filter, spec.score, most)
        if beta_max < longest:
            progress(f"norm bounds up to {beta_max}, not D·Q² = {longest}: the integers of {spec.filter} hold no more")
    if not 0 < beta_max <= longest:
        raise DomainError(f"--beta-max is from 1 to D·Q² = {longest}: got {beta_max}")

    n, d = spec.trainers, spec.params
    shape = projection_shape(n, d, logrows, held)
    shape.check()
    progress(f"what the projection's answers tell of an update: at most 2^-{shape.leak_bits(bound)}")
    settlement = settlement_logrows(n, d, bound, beta_max, spec.filter, spec.score, most)
    made = project_circuits(n, d, logrows, value_bits, settlement, beta_max, spec.filter, spec.score, spec.salts, most)

    entries = {}
    folders = {}
    for name, circuit in made.items():
        folders[name], entries[name] = keys_of(circuit, srs, progress)
    base_files = CircuitFiles(folders["base"], srs.path(logrows))
    blinding = backend.commit(base_files, logrows, [[scalar_hex(0)]])[0]
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
        "rows": columns.rows,
        "width": columns.width,
        "chunk": columns.values,
        "salts": spec.salts,
        "chunks": shape.chunks,
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
        "cost_model": {"optimize": spec.optimize, "candidates": [vars(c) for c in table]},
        "circuits": entries,
        "layout": spec.layout.to_json() if spec.layout else None,
    }
    if most is not None:
        value |= {"most_trainers": most, "score_shift": score_shift(n, d, bound, beta_max, spec.score, most)}
    value["digest"] = "0x" + Manifest(value).digest().hex()
    with new_folder(Path(folder), replace=is_build(Path(folder))) as fresh:
        for name, source in folders.items():
            target = fresh / "circuits" / name
            target.mkdir(parents=True)
            for file in entries[name]["files"]:
                link_or_copy(source / file, target / file)
        write_json(fresh / "manifest.json", value)
    return Build.load(Path(folder), prover=True)


def _check(spec: Spec) -> None:
    for name, value, most in (("parameters", spec.params, MAX_PARAMS), ("trainers", spec.trainers, MAX_TRAINERS)):
        if not 1 <= value <= most:
            raise InputError(f"a round has from 1 to {most} {name}: got {value}")
    if spec.value_bits is not None and spec.value_bits > MAX_VALUE_BITS:
        raise DomainError(
            f"a value has at most {MAX_VALUE_BITS} bits, as the contract's terms say: got {spec.value_bits}"
        )
    spec.filter.check(spec.trainers)
    check_score(spec.score)
    if spec.most_trainers is not None and not spec.trainers <= spec.most_trainers <= MAX_TRAINERS:
        raise InputError(f"--most-trainers is from {spec.trainers} to {MAX_TRAINERS}: got {spec.most_trainers}")


# ---------------------------------------------------------------- keys


def keys_of(circuit: Circuit, srs: Srs, progress: Progress = quiet) -> tuple[Path, dict[str, Any]]:
    """The circuit's folder in the cache, made if it is not there, and its entry for the manifest."""
    name = hashlib.sha256(canonical_json(recipe_of(circuit, srs)).encode()).hexdigest()
    folder = cache_folder() / "keys" / name[:32]
    with locked(folder.with_suffix(".lock")):
        for left in folder.parent.glob(f".{folder.name}.*"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        return _keys_in(folder, circuit, srs, progress)


def recipe_of(circuit: Circuit, srs: Srs) -> dict[str, Any]:
    """Everything that decides the bytes of a circuit's keys, and what was asserted of them when they were made."""
    circuits, engine = (Path(importlib.import_module(name).__file__).parent for name in ("circuits", __package__))
    modules = ("statements", "placement", *circuit.code)
    return {
        "numbers": circuit.numbers,
        "compilation": vars(circuit.how),
        "srs": srs.id,
        "versions": backend.versions(),
        "code": [inspect.getsource(part) for part in _MAKING],
        "files": {
            str(path.relative_to(path.parents[1])): sha256_file(path)
            for path in (
                circuits / "__init__.py",
                circuits / circuit.source,
                *(engine / f"{module}.py" for module in modules),
            )
        },
    }


def compile_statement(circuit: Circuit, folder: Path) -> tuple[dict[str, Any], int]:
    """Compile a statement with as many blocks of columns as it fills; its settings, and ezkl's own count of rows.

    A synthesis on the sample says which rows are filled, and that lookups lie among noise.

    Raises ArtifactError: the compiled circuit is not what the statement says.
    """
    with tempfile.TemporaryDirectory() as scratch:
        onnx = Path(scratch) / "circuit.onnx"
        backend.export_onnx(circuit.module(), onnx)
        layout = lay_out(onnx, circuit.how, circuit.sample())
        check_rows(layout.counted, circuit, counted=True)
        if circuit.placed:
            circuit.placed(layout.operations)
        settings = backend.compile_circuit(onnx, circuit.how, folder, layout.rows)
    check_settings(settings, circuit)
    return settings, layout.counted


def check_refused(files: CircuitFiles, what: str, inputs: list[list[str]], reason: str) -> None:
    """Raise ArtifactError unless the compiled circuit refuses these inputs, and for this reason."""
    try:
        backend.mock(files, inputs)
    except StatementFalse as error:
        if not re.search(reason, str(error)):
            raise ArtifactError(f"{what} is refused for another reason than {reason!r}: {error}") from error
    else:
        raise ArtifactError(f"{what}: accepted by the compiled circuit")


def _keys_in(folder: Path, circuit: Circuit, srs: Srs, progress: Progress) -> tuple[Path, dict[str, Any]]:
    entry_file = folder / "entry.json"
    if entry_file.is_file():
        entry = json.loads(entry_file.read_text())
        if all(
            (folder / file).is_file() and sha256_file(folder / file) == digest
            for file, digest in entry["files"].items()
        ):
            check_settings(json.loads((folder / "settings.json").read_text()), circuit)
            return folder, entry
        progress(f"cached keys of {circuit.source} are damaged: making them again")
    progress(f"{circuit.source}: 2^{circuit.how.logrows} rows, making keys")
    srs_file = srs.path(circuit.how.logrows, progress)
    shutil.rmtree(folder, ignore_errors=True)
    with new_folder(folder) as fresh:
        settings, counted = compile_statement(circuit, fresh)
        keys = CircuitFiles(fresh, srs_file)
        for what, (bad, reason) in circuit.refused().items():
            check_refused(keys, f"{circuit.source}: {what}", bad, reason)
        backend.setup(keys)
        sample = circuit.sample()
        proof = backend.prove([backend.ProofJob(f"{circuit.source} sample", keys, sample)])[0]
        for index, point in enumerate(backend.commit(keys, circuit.how.logrows, sample)):
            if proof.point(index) != encode_point(point):  # other unusable rows, or another order of the inputs
                raise ArtifactError(f"{circuit.source}: point {index} of a proof is not its input's commitment")
        files = {path.name: sha256_file(path) for path in sorted(fresh.iterdir())}
        entry = {
            **describe(settings, circuit),
            "counted_rows": counted,
            "proof_bytes": len(proof.data),
            "srs_sha256": sha256_file(srs_file),
            "files": files,
        }
        write_json(fresh / "entry.json", entry)
    return folder, entry


_MAKING = (backend.export_onnx, backend.compile_circuit, compile_statement, describe, check_refused, _keys_in)
"""What makes keys and asserts what is in them."""
