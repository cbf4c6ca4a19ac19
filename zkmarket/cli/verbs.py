"""How a verb gets on the command line: a purpose, an example and two options that every verb has."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .output import Answer


class HelpPage(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and leaves those with indented lines (examples, tables) alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.split("\n\n")
        return "\n\n".join(part if "\n " in part else fill(part, width, indent) for part in paragraphs)


class Verbs:
    """The verbs of the program, or of a role.

    Attributes:
        purposes: what each verb is for, in the order in which they were added.
    """

    def __init__(self, parsers: Any, listed: bool = True):
        """`listed`: argparse lists the verbs with their purposes; the program lists its own, by groups."""
        self._parsers, self._listed = parsers, listed
        self.purposes: dict[str, str] = {}

    def add(
        self, name: str, run: Callable[..., Answer], purpose: str, example: str, more: str = ""
    ) -> argparse.ArgumentParser:
        """Add a verb; its own options are for the caller to add.

        Args:
            run: takes the arguments and a progress callback.
            purpose: what the verb is for, a sentence without capital and full stop.
            example: a command line that this verb takes.
            more: further sentences for the verb's own help.
        """
        parser = self._parser(name, purpose, example, more)
        parser.set_defaults(run=run)
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        parser.add_argument("--quiet", action="store_true", help="print no progress on stderr")
        return parser

    def group(self, name: str, purpose: str, example: str) -> Verbs:
        """Add a verb that has verbs of its own, such as `zkmarket owner`."""
        parser = self._parser(name, purpose, example, "")
        about = f"`{parser.prog} VERB --help` says more, with an example"
        return Verbs(
            parser.add_subparsers(dest=f"{name}_verb", required=True, metavar="VERB", title="verbs", help=about)
        )

    def _parser(self, name: str, purpose: str, example: str, more: str) -> argparse.ArgumentParser:
        self.purposes[name] = purpose
        parser: argparse.ArgumentParser = self._parsers.add_parser(
            name,
            **({"help": purpose} if self._listed else {}),
            description=f"{purpose[0].upper()}{purpose[1:]}.{f' {more}' if more else ''}",
            epilog=f"example:\n  {example}",
            formatter_class=HelpPage,
        )
        return parser
