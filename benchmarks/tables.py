"""Rows as a Markdown table, for the README.

python -m benchmarks.tables benchmarks/results/round-10-100000.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("step", "trainers", "params", "logrows", "chunks", "seconds", "cpu_seconds", "peak_rss_mb", "bytes", "runs")


def table(rows: list[dict[str, Any]]) -> str:
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(f"{row.get(name, '')}" for name in columns) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(table([json.loads(line) for line in Path(name).read_text().splitlines()]))
