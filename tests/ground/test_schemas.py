"""The JSON schemas: valid themselves, and closed: one way to write a document, and nothing besides."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import zkmarket
from tests.support import documents
from zkmarket.build import Manifest
from zkmarket.documents import check_schema
from zkmarket.errors import InputError
from zkmarket.round import Commitment, RoundProof
from zkmarket.utility import UtilityRound

pytestmark = pytest.mark.unit

FOLDER = Path(zkmarket.__file__).parent / "schemas"
DOCUMENTS = {
    "manifest": documents.manifest(),
    "commitment": documents.commitment().to_json(),
    "round": documents.round_proof().to_json(),
    "proof": documents.proof(5, 6).to_json(),
    "utility": documents.utility_round().to_json(),
}
OPEN_OBJECTS = [("versions",), ("domain", "bounds")]  # maps of names, not records
EACH = pytest.mark.parametrize("name", DOCUMENTS)


def places(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Every value in a document, with the way to it."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(name: str, path: tuple, value: Any) -> Any:
    document = copy.deepcopy(DOCUMENTS[name])
    if not path:
        return value
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return document


def refused(document: Any, name: str, reason: str = "") -> None:
    with pytest.raises(InputError, match=f"the document does not fit its schema at .*{reason}"):
        check_schema(document, name, "the document")


def hex_places(name: str) -> list[tuple[tuple, str]]:
    return [(path, value) for path, value in places(DOCUMENTS[name]) if isinstance(value, str) and value[:2] == "0x"]


# ---------------------------------------------------------------- the schemas themselves


def test_there_is_a_schema_for_each_document():
    elsewhere = ("project", "prospectus")  # test_project_file, test_prospectus
    wanted = sorted(f"{name}.schema.json" for name in (*DOCUMENTS, *elsewhere))
    assert sorted(path.name for path in FOLDER.iterdir()) == wanted


@EACH
def test_a_schema_is_a_valid_one_of_its_draft(name: str):
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.SchemaError):  # the check does check
        jsonschema.Draft202012Validator.check_schema(schema | {"type": "nonsense"})


OPTIONAL = {
    ("manifest",): {"most_trainers", "score_shift"},
    ("round",): {"references"},
    ("round", "references"): {"root", "last"},
}
"""Fields of what a project need not have: it is written where it has it, and nowhere else."""


@EACH
def test_every_record_of_a_schema_is_closed(name: str):
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    records = [(path, v) for path, v in places(schema) if isinstance(v, dict) and "properties" in v and "type" in v]
    assert records
    for path, record in records:
        assert record["additionalProperties"] is False, path
        left_out = set(record["properties"]) - set(record.get("required", ()))
        assert left_out <= OPTIONAL.get((name, *path[-1:]), set()), path


@EACH
def test_the_honest_document_fits(name: str):
    check_schema(DOCUMENTS[name], name, "the document")
    check_schema(json.loads(json.dumps(DOCUMENTS[name])), name, "the document")


def test_documents_come_back():
    assert Commitment.from_json(DOCUMENTS["commitment"]) == documents.commitment()
    assert RoundProof.from_json(DOCUMENTS["round"]) == documents.round_proof()
    assert UtilityRound.from_json(DOCUMENTS["utility"]) == documents.utility_round()


# ---------------------------------------------------------------- what does not fit


@EACH
def test_an_unknown_field_is_refused_in_every_record(name: str):
    records = [(path, value) for path, value in places(DOCUMENTS[name]) if isinstance(value, dict)]
    for path, record in records:
        if path not in OPEN_OBJECTS:
            refused(changed(name, path, record | {"more": "1"}), name, "'more' (was|does not)")


@EACH
def test_a_missing_field_is_refused_in_every_record(name: str):
    records = [(path, value) for path, value in places(DOCUMENTS[name]) if isinstance(value, dict)]
    for path, record in records:
        for key in record:
            if path in OPEN_OBJECTS:
                continue
            less = {k: v for k, v in record.items() if k != key}
            refused(changed(name, path, less), name, f"'{key}' is a required property")


@EACH
def test_hexadecimal_has_one_form(name: str):
    """Lower case, with 0x, of the full length."""
    assert hex_places(name)
    for path, value in hex_places(name):
        reason = "does not match" if len(value) < 1000 else ""  # a message has so much room
        for other in (value[2:], "0X" + value[2:], value[:-1], value + "0", value[:-1] + "g", " " + value, value[:2]):
            refused(changed(name, path, other), name, reason)
        if value != value.upper().replace("X", "x"):
            refused(changed(name, path, "0x" + value[2:].upper()), name, reason)


def test_digests_have_one_form():
    for path, value in places(DOCUMENTS["manifest"]):
        if isinstance(value, str) and len(value) == 64:
            for other in ("0x" + value, value[:-1] + "A", value[:-1], value + "0"):
                refused(changed("manifest", path, other), "manifest", "does not match")


@EACH
def test_another_type_is_refused_everywhere(name: str):
    for path, value in places(DOCUMENTS[name]):
        for other in (None, True, -1, 0.5, "", "x", [], {}, [None]):
            allowed = (
                type(other) is type(value)
                or (path[:1] == ("layout",) and len(path) == 1 and other in (None, []))
                or (path[-1:] == ("lookup_range",) and other is None)
                or path[-1:] == ("lookups",)
            )
            if not allowed:
                refused(changed(name, path, other), name)


@pytest.mark.parametrize("name", ["manifest", "commitment", "round", "utility"])
def test_another_format_is_refused(name: str):
    format = DOCUMENTS[name]["format"]
    older = f"{format[:-1]}{int(format[-1]) - 1}"
    for other in (older, format + "0", f"zkmarket-{name}", "zkmarket-manifest/2" if name != "manifest" else ""):
        refused(changed(name, ("format",), other), name, "was expected")


@pytest.mark.parametrize("text", ["-1", "01", "1e9", "0x10", "1.0", " 1", "9" * 79])
def test_a_large_number_is_decimal(text: str):
    for name, path in (("round", ("beta",)), ("manifest", ("beta_max",)), ("manifest", ("domain", "penalty"))):
        refused(changed(name, path, text), name, "does not match")
        check_schema(changed(name, path, "0"), name, "the document")


# ---------------------------------------------------------------- what the schemas let pass, and reading does not

READ = {"commitment": Commitment.from_json, "round": RoundProof.from_json}


@pytest.mark.parametrize("name", READ)
def test_a_newline_after_a_value_is_refused(name: str):
    """To JSON schema $ matches before a last newline, and int() and fromhex() skip it: two encodings of one proof."""
    for path, value in places(DOCUMENTS[name]):
        if isinstance(value, str) and path[-1] != "format":
            with pytest.raises(InputError, match="does not match" if len(value) < 1000 else "schema at base/z"):
                READ[name](changed(name, path, value + "\n"))


@pytest.mark.parametrize("number", ["1.0", "1e0"])
def test_a_whole_number_with_a_point_is_refused_in_a_file(tmp_path: Path, number: str):
    """To JSON schema 1.0 is an integer; in the transcript it would be no word."""
    manifest = Manifest(DOCUMENTS["manifest"])
    for name, load in (("commitment", Commitment.load), ("round", RoundProof.load)):
        path = tmp_path / f"{name}.json"
        honest = json.dumps(DOCUMENTS[name])
        path.write_text(honest)
        assert load(path, manifest) == READ[name](DOCUMENTS[name])
        path.write_text(honest.replace('"chain_id": 1,', f'"chain_id": {number},'))
        with pytest.raises(InputError, match=f"is not JSON: it holds {number}, which is not an integer"):
            load(path, manifest)


@pytest.mark.parametrize("name", READ)
def test_a_whole_number_with_a_point_is_refused_in_an_object(name: str):
    for path, value in places(DOCUMENTS[name]):
        if type(value) is int:
            with pytest.raises(InputError, match=r"is an integer from 0 to|is not of type 'integer'"):
                READ[name](changed(name, path, float(value)))
