"""All circuits of a project."""

from __future__ import annotations

from ...rules import Filter
from .base import base_circuit
from .settlement import settlement_statement
from .statement import SALTS, Circuit, value_bound


def project_circuits(
    n: int,
    d: int,
    logrows: int,
    value_bits: int,
    settlement: int,
    beta_max: int,
    rule: Filter,
    score: str,
    salts: int = SALTS,
    most: int | None = None,
) -> dict[str, Circuit]:
    """Every circuit of a project by name, in the order of the manifest."""
    return {
        "base": base_circuit(logrows),
        "settlement": settlement_statement(
            settlement, n, d, value_bound(value_bits), beta_max, rule, score, salts, most
        ),
    }
