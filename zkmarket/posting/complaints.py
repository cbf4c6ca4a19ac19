"""Everything wrong with a project file at once, each with its line."""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema

from ..errors import InputError

FILE_LIMIT = 1 << 18
"""Largest file that is read, in bytes."""

Place = tuple[str, ...]


# ---------------------------------------------------------------- lines and complaints

# What may hold a bracket or a line's end that means nothing, and what means something.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)",
    re.DOTALL,
)
_PART = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_STATEMENT = re.compile(rf"\s*(?:\[\[?[ \t]*(?P<header>{_KEY})[ \t]*\]|(?P<key>{_KEY})[ \t]*=)")


def lines_of(text: str) -> dict[Place, int]:
    """The line of every section and key of a valid TOML text, which tomllib does not tell."""
    lines: dict[Place, int] = {}
    section: Place = ()
    for line, statement in _statements(text):
        match = _STATEMENT.match(statement)
        if not match:
            continue
        if match["header"]:
            section = _parts(match["header"])
        place = section if match["header"] else section + _parts(match["key"])
        for length in range(1, len(place) + 1):  # the first line of a section that is never opened by itself
            lines.setdefault(place[:length], line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each statement: up to a line's end outside strings, comments and brackets."""
    start = depth = 0
    for token in _TOKEN.finditer(text + "\n"):
        depth += bool(token["open"]) - bool(token["close"])
        if token["end"] and not depth:
            statement = text[start : token.start()]
            blank = len(statement) - len(statement.lstrip())
            yield text.count("\n", 0, start + blank) + 1, statement
            start = token.end()


def _parts(key: str) -> Place:
    return tuple(tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part for part in re.findall(_PART, key))


@dataclass
class Complaints:
    """What is wrong with a file, by line, until it is raised as one InputError."""

    name: str
    lines: Mapping[Place, int]
    entries: list[tuple[int, str]] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)

    def at(self, place: Place, message: str, *others: Place) -> None:
        """Complain of the value at `place`, or if it is not in the file, of the first of `others` that is."""
        known = [where for where in (place, *others) if where in self.lines]
        where = known[0] if known else place
        while where and where not in self.lines:
            where = where[:-1]
        self.places.add(place)
        entry = (self.lines.get(where, 1), message)
        if entry not in self.entries:
            self.entries.append(entry)

    def stop(self) -> None:
        """Raise InputError if there was anything."""
        if self.entries:
            raise InputError("\n".join(f"{self.name}:{line}: {message}" for line, message in sorted(self.entries)))


def label(place: Place) -> str:
    return f"[{place[0]}] {' '.join(place[1:])}".rstrip()


def shown(value: Any) -> str:
    """A value as a TOML file has it, cut where it is long."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key} = {shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(map(shown, value)) + "]"
    elif isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def parsed(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > FILE_LIMIT:
        raise InputError(f"{path} has {len(data)} bytes: a project file has at most {FILE_LIMIT}")
    try:
        text = data.decode().replace("\r\n", "\n")
        value = tomllib.loads(text, parse_float=Decimal)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: a project file is UTF-8 text: {error.reason}") from error
    except RecursionError as error:
        raise InputError(f"{path}:1: arrays or tables are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        position = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", str(error), re.DOTALL)
        if position:
            raise InputError(f"{path}:{position[2]}: not TOML: {position[1]} (column {position[3]})") from error
        last = text.rstrip("\n").count("\n") + 1
        raise InputError(f"{path}:{last}: not TOML: {error}") from error
    return value, lines_of(text)


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((Path(__file__).parents[1] / "schemas" / "project.schema.json").read_text())
    return schema


def description(place: Place) -> str:
    """What the schema says that a value is."""
    schema = _schema()
    for key in place:
        schema = schema["properties"].get(key) or schema["additionalProperties"]
    while "description" not in schema:
        schema = _schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    text: str = schema["description"]
    return text


def check_schema(value: dict[str, Any], complaints: Complaints) -> None:
    sections = _schema()["properties"]
    for error in jsonschema.Draft202012Validator(_schema()).iter_errors(value):
        place = tuple(map(str, error.absolute_path))
        if error.validator == "required" and len(place) <= 1:
            for key in error.validator_value:
                if key not in error.instance:
                    complaints.at((*place, key), _missing((*place, key)))
        elif error.validator == "additionalProperties" and error.validator_value is False:
            for key in error.instance:
                if key not in error.schema["properties"]:
                    complaints.at((*place, key), _unknown((*place, key), sections))
        elif len(place) == 1 and error.validator == "type":
            complaints.at(place, f"[{place[0]}] is a section with keys of its own: got {shown(error.instance)}")
        elif len(place) == 1:
            complaints.at(place, f"[{place[0]}]: {error.message[:200]}")
        else:
            complaints.at(place[:2], f"{label(place[:2])} is {description(place[:2])}: got {shown(error.instance)}")


def _missing(place: Place) -> str:
    if len(place) == 1:
        return f"the section [{place[0]}] is missing: it has at least {description(place)}"
    return f"[{place[0]}] needs a key {place[1]}: {description(place)}"


def _unknown(place: Place, sections: Mapping[str, Any]) -> str:
    key = place[-1]
    known = sections if len(place) == 1 else sections[place[0]]["properties"]
    homes = [name for name, section in sections.items() if key in section["properties"]]
    nearest = difflib.get_close_matches(key, known, 1)
    what = f"there is no section or key {json.dumps(key)}" if len(place) == 1 else f"[{place[0]}] has no key {key}"
    if nearest:
        return f"{what}: did you mean {nearest[0]}?"
    if homes:
        return f"{what}: it belongs in [{homes[0]}]"
    return f"{what}: it has {', '.join(known)}"
