"""The base circuit of a project: its statement and rows."""

from __future__ import annotations

from ...backend import Compilation, Exportable
from ...crypto import random_scalars, to_hex
from ..columns import Columns, base_rows
from .statement import Circuit


def base_circuit(logrows: int) -> Circuit:
    """The base case of both arguments. It must hold no lookup: their zero knowledge depends on that."""
    columns = Columns(logrows)
    cells, rows = columns.length, base_rows(columns.rows, columns.width, logrows)
    numbers = {"logrows": logrows, "rows": columns.rows, "width": columns.width}

    def module() -> Exportable:
        from ...circuits.base import Base

        return Base(**numbers)

    return Circuit(
        "base.py",
        module,
        numbers,
        Compilation(logrows),
        lookups=[],
        range_checks=[],
        sorts=[],
        rows=(rows, rows),
        counted=(2 * rows, 3 * rows),
        instances=4 + 2 * logrows,
        committed=[cells, cells, cells, 2 * logrows],
        sample=lambda: [*(to_hex(random_scalars(cells)) for _ in range(3)), to_hex(random_scalars(2 * logrows))],
        blocks=3,
    )
