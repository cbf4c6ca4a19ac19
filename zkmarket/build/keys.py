"""Keys of a circuit, made once and kept by what went into them."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .. import backend
from ..backend import CircuitFiles, Srs, lay_out
from ..crypto import encode_point
from ..documents import canonical_json, write_json
from ..errors import ArtifactError, StatementFalse
from ..files import cache_folder, locked, new_folder, sha256_file
from ..progress import Progress, quiet
from .statements import Circuit, check_rows, check_settings


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
    package = Path(__file__).parents[1]
    roots = {"circuits": package, "zkmarket": package.parent}  # names as they are in the source tree, in a wheel too
    statements = sorted((package / "build" / "statements").glob("*.py"))
    files = (
        "circuits/__init__.py",
        f"circuits/{circuit.source}",
        *(f"zkmarket/build/statements/{path.name}" for path in statements),
        "zkmarket/backend/placement.py",
        *circuit.code,
    )
    return {
        "numbers": circuit.numbers,
        "compilation": vars(circuit.how),
        "srs": srs.id,
        "versions": backend.versions(),
        "code": [inspect.getsource(part) for part in _MAKING],
        "files": {file: sha256_file(roots[file.partition("/")[0]] / file) for file in files},
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
