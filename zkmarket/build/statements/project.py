"""All circuits of a project."""

from __future__ import annotations

from ...rules import RuleSet
from .base import base_circuit
from .settlement import settlement_statement
from .statement import SALTS, Circuit


def project_circuits(logrows: int, settlement: int, rules: RuleSet, salts: int = SALTS) -> dict[str, Circuit]:
    """Every circuit of a project by name, in the order of the manifest. Args: settlement: K of its circuit."""
    return {"base": base_circuit(logrows), "settlement": settlement_statement(settlement, rules, salts)}
