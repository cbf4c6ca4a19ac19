"""Scores by the model's own loss: utility proofs and the games that need them."""

from ..networks import SUPPORTED
from .batch import Validation, commit_validation, quantise_batch
from .build import UtilityBuild, loss_unit, quantise_theta, target_scale, used_parameters
from .compile import (
    Options,
    commit_batch,
    compile_again,
    compile_model,
    float_utility,
    search,
    with_defaults,
    write_build,
)
from .games import PREFIX, Game, Members, Method, order_of, play, proofs_needed, salts_needed, shuffled
from .proof import BatchResult, UtilityProof, prove_job, prove_utility, utility, verify_utility
from .score import UtilityRound, coalition_of, prove_utilities, verify_utilities
from .statements import (
    Coalition,
    check_names,
    check_placement,
    columns_of,
    last_column,
    public_values,
    statement,
    witness_cells,
)
from .terms import GameTerms, check_builds, words_of

__all__ = [
    "Coalition",
    "Game",
    "GameTerms",
    "Members",
    "Method",
    "Options",
    "PREFIX",
    "SUPPORTED",
    "BatchResult",
    "UtilityBuild",
    "UtilityProof",
    "UtilityRound",
    "Validation",
    "check_builds",
    "check_names",
    "check_placement",
    "coalition_of",
    "columns_of",
    "commit_batch",
    "commit_validation",
    "compile_again",
    "compile_model",
    "float_utility",
    "last_column",
    "loss_unit",
    "order_of",
    "play",
    "proofs_needed",
    "prove_job",
    "prove_utilities",
    "prove_utility",
    "public_values",
    "quantise_batch",
    "quantise_theta",
    "salts_needed",
    "search",
    "shuffled",
    "statement",
    "target_scale",
    "used_parameters",
    "utility",
    "verify_utilities",
    "verify_utility",
    "with_defaults",
    "witness_cells",
    "words_of",
    "write_build",
]
