"""From the rules of a project to its circuits, keys and manifest."""

from .columns import MAX_LOGROWS, ROWS, Columns, base_rows
from .folder import PROVER_FILES, VERIFIER_FILES, Build, check_hash, is_build
from .keys import check_refused, compile_statement, describe, keys_of, recipe_of
from .make import make_build
from .manifest import CIRCUITS, Manifest, check_consistent, projection_shape
from .shape import CELLS_BITS, ENTRY_BITS, FLOOD_BITS, SUMS, WINDOW, WINDOWS, Z_BITS, Z_BYTES, Shape, masked_chunks
from .spec import MAX_PARAMS, Spec, candidate, choose_logrows, keys_seconds

__all__ = [
    "Build",
    "CELLS_BITS",
    "CIRCUITS",
    "Columns",
    "ENTRY_BITS",
    "FLOOD_BITS",
    "MAX_LOGROWS",
    "MAX_PARAMS",
    "Manifest",
    "PROVER_FILES",
    "ROWS",
    "SUMS",
    "Shape",
    "Spec",
    "VERIFIER_FILES",
    "WINDOW",
    "WINDOWS",
    "Z_BITS",
    "Z_BYTES",
    "base_rows",
    "candidate",
    "check_consistent",
    "check_hash",
    "check_refused",
    "choose_logrows",
    "compile_statement",
    "describe",
    "is_build",
    "keys_of",
    "keys_seconds",
    "make_build",
    "masked_chunks",
    "projection_shape",
    "recipe_of",
]
