"""Help pages: what a verb is for, an example that it takes, no option without a word; and every verb in one group."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zkmarket.cli import make_parser

pytestmark = pytest.mark.unit


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(kinds[0].choices) if kinds else {}


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for other in subparsers(parser).values():
        yield from walk(other)


PROGRAM = make_parser()
PARSERS = {parser.prog: parser for parser in walk(PROGRAM)}
every_parser = pytest.mark.parametrize("name", PARSERS)


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """Command lines under `example:` at the end of a help page, without what the shell does with their output."""
    _, _, last = parser.format_help().rpartition("\n\n")
    title, *lines = last.splitlines()
    assert title == "example:", f"{parser.prog} --help does not end with an example"
    return [line.strip().partition(" > ")[0] for line in lines]


def test_the_walk_sees_verbs_of_verbs() -> None:
    assert {"zkmarket", "zkmarket build", "zkmarket owner", "zkmarket owner create", "zkmarket srs fetch"} <= set(
        PARSERS
    )
    assert len(PARSERS) > 40


@every_parser
def test_it_begins_with_what_it_is_for(name: str) -> None:
    about = PARSERS[name].description or ""
    assert re.match(r"[A-Z].{15,}\.$", about, re.S), about
    assert " ".join(about.split()[:3]) in PARSERS[name].format_help()


@every_parser
def test_it_ends_with_an_example_that_it_takes(name: str) -> None:
    (example,) = examples(PARSERS[name])
    assert f"{example} ".startswith(f"{name} ")
    arguments = PROGRAM.parse_args(shlex.split(example)[1:])
    assert callable(arguments.run)


@every_parser
def test_no_option_is_without_help(name: str) -> None:
    silent = [action.dest for action in PARSERS[name]._actions if len(action.help or "") < 4]
    assert silent == []


@every_parser
def test_what_is_listed_is_what_it_is_for(name: str) -> None:
    """The line of a verb in a list is the first sentence of its own page."""
    text = " ".join(PARSERS[name].format_help().split())
    for verb, parser in subparsers(PARSERS[name]).items():
        purpose, _, _ = (parser.description or "").partition(". ")
        purpose = purpose.removesuffix(".")
        assert f" {verb} {purpose[0].lower()}{purpose[1:]}" in text


def test_the_program_names_every_verb_in_one_group() -> None:
    text = PROGRAM.format_help()
    sections = dict(re.findall(r"^(engine|market|tools|letters|exit codes)\b.*:\n((?:  .*\n?)+)", text, re.M))
    listed = [
        verb for group in ("engine", "market", "tools") for verb in re.findall(r"^  (\S+)", sections[group], re.M)
    ]
    assert sorted(listed) == sorted(subparsers(PROGRAM))
    assert re.findall(r"^  (\S+)", sections["letters"], re.M) == ["N", "D", "K", "m", "S"]
    assert re.findall(r"^  (\S+)", sections["exit codes"], re.M) == ["0", "1", "2", "3", "4", "130", "141"]


def test_letters_are_those_of_the_program() -> None:
    """A letter is no name for another thing in an option: N trainers, D parameters, 2^K rows, S salts."""
    found = {
        (action.metavar, action.dest)
        for parser in PARSERS.values()
        for action in parser._actions
        if isinstance(action.metavar, str) and len(action.metavar) == 1 and action.metavar != "X"
    }
    wanted = {("N", "trainers"), ("N", "most_trainers"), ("D", "params"), ("K", "logrows"), ("S", "salts")}
    assert found == wanted


def test_help_loads_nothing_that_only_running_needs():
    """It comes at once: what talks to chains and stores is loaded by the verb that does."""
    heavy = (
        "brownie",
        "eth_utils",
        "ezkl",
        "flwr",
        "nacl",
        "requests",
        "rich",
        "torch",
        "zkmarket.market",
        "zkmarket.roles",
    )
    code = (
        "import sys\nfrom zkmarket.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]")
