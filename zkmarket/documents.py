"""JSON as the project reads and writes it: canonical, limited in size and depth, checked by a schema."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from .errors import InputError
from .files import atomic_write

_Validator: type[Validator] = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)
"""JSON Schema as usual, but 7.0 is not the integer 7: both would be one value with two texts."""


@functools.cache
def _validator(name: str) -> Validator:
    schema = json.loads((Path(__file__).parent / "schemas" / f"{name}.schema.json").read_text())
    return _Validator(schema)


def check_canonical(again: Any, value: Any, what: str) -> None:
    """Raise InputError unless an object is written in the one way in which zkmarket writes it."""
    if json.dumps(again, sort_keys=True) != json.dumps(value, sort_keys=True):  # text, since 7.0 == 7
        raise InputError(f"{what} is not in canonical form: it does not read back as it was written")


def check_schema(value: Any, name: str, what: str) -> None:
    """Raise InputError with the place and the reason unless `value` fits schemas/NAME.schema.json."""
    problem = jsonschema.exceptions.best_match(_validator(name).iter_errors(value))
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path)) or "top level"
        raise InputError(f"{what} does not fit its schema at {place}: {problem.message[:300]}")


MAX_JSON = 1 << 28
MAX_RECURSION = 1000


def write_json(path: str | Path, value: Any, mode: int = 0o644) -> None:
    atomic_write(path, (json.dumps(value, indent=1) + "\n").encode(), mode)


def canonical_json(value: Any) -> str:
    """One text for one value: keys in the order in which they stand, no spaces. What is hashed and compared.

    Numbers that are equal in Python (1, 1.0, True) have texts of their own here.
    """
    return json.dumps(value, separators=(",", ":"))


def read_json(path: str | Path, what: str, limit: int = MAX_JSON) -> Any:
    """Parse a JSON file of the outside world; InputError says what is wrong with it.

    Floats are refused: no file of zkmarket holds one, and 7.0 must not pass for 7.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {what} at {path}")
    size = path.stat().st_size
    if not 0 < size <= limit:
        raise InputError(f"{what} {path} has {size} bytes: wanted 1 to {limit}")
    try:
        return parse_json(
            path.read_bytes(),
            parse_float=_refuse_float,
            parse_constant=_refuse_float,
        )
    except ValueError as error:
        raise InputError(f"{what} {path} is not JSON: {error}") from error


def parse_json(data: bytes, **hooks: Any) -> Any:
    """json.loads that raises ValueError for deep nesting, and for an object with the same key twice.

    py_ecc lifts the recursion limit so far that deep nesting would crash the process instead. Of two equal keys one
    reader takes the first and another the last: a digest of the bytes would stand for both.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, MAX_RECURSION))
    try:
        return json.loads(data, object_pairs_hook=_refuse_duplicates, **hooks)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    finally:
        sys.setrecursionlimit(limit)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("it holds the same key twice")
    return value


def _refuse_float(text: str) -> None:
    raise ValueError(f"it holds {text}, which is not an integer")
