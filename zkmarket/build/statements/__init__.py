"""What each circuit of a project states, and how many rows it takes."""

from .base import base_circuit
from .project import project_circuits
from .settings import check_rows, check_settings
from .settlement import settlement_logrows, settlement_rows, settlement_statement
from .statement import (
    ARGUMENT_BITS,
    HISTOGRAM_BITS,
    MAX_VALUE_BITS,
    SALTS,
    VALUE_BITS,
    Circuit,
    Inputs,
    comparisons,
    noise_covers,
    noise_entropy,
    sorted_noise,
    table_bound,
    value_bound,
)

__all__ = [
    "ARGUMENT_BITS",
    "Circuit",
    "HISTOGRAM_BITS",
    "Inputs",
    "MAX_VALUE_BITS",
    "SALTS",
    "VALUE_BITS",
    "base_circuit",
    "check_rows",
    "check_settings",
    "comparisons",
    "noise_covers",
    "noise_entropy",
    "project_circuits",
    "settlement_logrows",
    "settlement_rows",
    "settlement_statement",
    "sorted_noise",
    "table_bound",
    "value_bound",
]
