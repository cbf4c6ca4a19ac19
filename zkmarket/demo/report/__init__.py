"""The report of a demo: on the screen and as one page."""

from .screen import COLUMNS, summary
from .web import check_libraries, page, write_report
from .words import OPTIONAL, REQUIRED, amount, count, fate, percent

__all__ = [
    "COLUMNS",
    "OPTIONAL",
    "REQUIRED",
    "amount",
    "check_libraries",
    "count",
    "fate",
    "page",
    "percent",
    "summary",
    "write_report",
]
