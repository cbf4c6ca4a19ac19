"""The command line: every verb with its options."""

from .parser import main, make_parser
from .utility import Scoring, read_beacon, score_and_salts

__all__ = [
    "Scoring",
    "main",
    "make_parser",
    "read_beacon",
    "score_and_salts",
]
