"""Every field of round.json, changed one at a time, is refused for a reason, and nothing else is raised."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.attacks.forger import check
from tests.conftest import Round
from zkmarket.crypto import P, Q
from zkmarket.errors import InputError, ProofRejected

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

Path = tuple[str | int, ...]

SCHEMA = "does not fit its schema"
CHANGED = "not the folded claim T|not the sumcheck's last claim|at another point|not the block that"
"""Every challenge after a changed word is another: the base proof answers the old ones."""

REASONS = [  # of a value that is well formed and wrong; the first pattern that fits a place counts
    (r"^manifest_digest$", "round proof is of another build"),
    (r"^(chain_id|project|round)$", "round proof is of another round"),
    (r"^beta$", "norm bound|other challenges"),
    (r"^commitments/\d/(chain_id|project|round)$", "commitment is of another round"),
    (r"^commitments/\d/trainer$", "other challenges|the same trainer twice"),
    (r"^commitments/\d/points/\d$", "not on BN254|not reduced|other challenges"),
    (r"^commitments/\d/points$", "wanted 3|other challenges"),
    (r"^commitments$", "settles exactly N=5|the same trainer twice|other challenges"),
    (r"^mask_points", "mask points: wanted 3|not on BN254|not reduced|other challenges"),
    (r"^projection_points", "projection points: wanted 6|not on BN254|not reduced|other challenges"),
    (r"^gram_point$", "not on BN254|not reduced|other challenges"),
    (r"^base/t0$", CHANGED + "|not canonical"),
    (r"^base/z$", CHANGED + "|z has .* bytes, wanted 7280|out of range|" + SCHEMA),
    (r"^base/claims$", "fold claims: wanted 2|" + CHANGED),
    (r"^base/claims/\d$", SCHEMA + "|" + CHANGED),
    (r"^base/claims/", CHANGED + "|not canonical"),
    (r"^base/rounds$", "rounds of the sumcheck: wanted 5|" + CHANGED),
    (r"^base/rounds/\d$", SCHEMA + "|" + CHANGED),
    (r"^base/rounds/", CHANGED + "|not canonical"),
    (r"^base/proof/proof$", CHANGED + "|does not verify|bytes: wanted|too short"),
    (r"^base/proof/instances", "instances: wanted 24|instance that is not a canonical|" + CHANGED),
    (r"^settlement/proof$", "another Gram matrix|does not verify|bytes: wanted"),
    (
        r"^settlement/instances",
        "instances: wanted 19|does not verify|other challenges|another norm bound|neither 0 nor 1|not below|canonical",
    ),
]


def reason(place: Path) -> str:
    name = "/".join(map(str, place))
    return next(text for pattern, text in REASONS if re.search(pattern, name))


def walk(value: Any, place: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every node of a JSON value but the top, parents first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*place, key), item
        yield from walk(item, (*place, key))


def put(value: Any, place: Path, new: Any) -> Any:
    """A copy of `value` with another node at `place`."""
    out = copy.deepcopy(value)
    node = out
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = new
    return out


def flip(text: str, byte: int, bit: int = 1) -> str:
    data = bytearray.fromhex(text[2:])
    data[byte] ^= bit
    return "0x" + data.hex()


def words_plus(text: str, index: int, amount: int) -> str | None:
    """The same bytes with `amount` added to one 32-byte word: another encoding of the same number mod amount."""
    data = bytearray.fromhex(text[2:])
    number = int.from_bytes(data[32 * index : 32 * index + 32], "big") + amount
    if number >= 1 << 256:
        return None
    data[32 * index : 32 * index + 32] = number.to_bytes(32, "big")
    return "0x" + data.hex()


def leaf_mutants(item: Any) -> Iterator[tuple[str, Any, str]]:
    """(what, new value, reason or "" for the place's own) of one leaf."""
    yield "null", None, SCHEMA
    yield "list", [item], SCHEMA
    if isinstance(item, int):
        yield "+1", item + 1, ""
        yield "-1", item - 1, ""
        yield "negative", -1, SCHEMA
        yield "beyond 2^53", 2**53 + 1, SCHEMA
        yield "half", item + 0.5, SCHEMA
        yield "text", str(item), SCHEMA
        yield "true", True, SCHEMA
        return
    yield "empty", "", SCHEMA
    yield "space", " " + item, SCHEMA
    if not item.startswith("0x"):
        if item.isdigit():
            yield "+1", str(int(item) + 1), ""
            yield "-1", str(int(item) - 1), ""
            yield "leading zero", "0" + item, SCHEMA
            yield "signed", "+" + item, SCHEMA
            yield "other digits", item.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")), SCHEMA
        else:
            yield "other format", item[:-1] + "1", SCHEMA
        return
    size = len(item) // 2 - 1
    for byte in (0, size // 2, size - 1):
        yield f"byte {byte}", flip(item, byte), ""
    yield "no prefix", item[2:], SCHEMA
    yield "capitals", "0x" + (item[2:].upper() if item[2:].upper() != item[2:] else "A" * (len(item) - 2)), SCHEMA
    if size == 32:
        yield "x + p", f"0x{int(item, 16) + P:064x}", ""
    if size > 128:
        yield "cut by a byte", item[:-2], ""
        yield "cut by a word", item[:-64], ""
        yield "cut to two words", item[: 2 + 128], ""
        yield "a byte more", item + "00", ""
        yield "a word more", item + "00" * 32, ""
        yield "twice", item + item[2:], ""
    else:
        yield "cut by a byte", item[:-2], SCHEMA
        yield "a byte more", item + "00", SCHEMA


def list_mutants(items: list) -> Iterator[tuple[str, list, str]]:
    fewer = "" if len(items) > 1 else SCHEMA
    yield "no items", [], f"{SCHEMA}|has 0 (fold claims|rounds)"
    yield "first dropped", items[1:], fewer
    yield "last dropped", items[:-1], fewer
    yield "first doubled", [items[0], *items], ""
    yield "appended", [*items, items[0]], ""
    if len(items) > 1:
        yield "two swapped", [items[1], items[0], *items[2:]], ""
        yield "second replaced", [items[0], items[0], *items[2:]], ""


def object_mutants(item: dict) -> Iterator[tuple[str, dict, str]]:
    for key in item:
        rest = {name: value for name, value in item.items() if name != key}
        yield f"no {key}", rest, SCHEMA
        yield f"{key} renamed", rest | {key + "_": item[key]}, SCHEMA
    yield "a field more", item | {"extra": 0}, SCHEMA


def mutants(value: dict, top: str) -> Iterator[tuple[str, dict, str]]:
    """Every mutant of one top-level field: (name, round.json, reason)."""
    for place, item in walk({top: value[top]}):
        makers: Callable = leaf_mutants
        if isinstance(item, (list, dict)):
            makers = list_mutants if isinstance(item, list) else object_mutants
        for what, new, why in makers(item):
            if new == item:
                continue
            yield "/".join(map(str, place)) + ": " + what, put(value, place, new), why or reason(place)


def outcome(build, value: Any, why: str) -> str:
    """Empty if the mutant is refused for the reason; else what happened."""
    try:
        check(build, value)
    except (ProofRejected, InputError) as error:
        return "" if re.search(why, str(error)) else f"refused for another reason: {error}; wanted {why}"
    except Exception as error:
        return f"{type(error).__name__} escaped: {error}"
    return "accepted"


def survivors(build, cases: Iterator[tuple[str, Any, str]], least: int) -> list[str]:
    """The mutants that were not refused as they should be. At least `least` must have been tried."""
    found = Counter()
    wrong = []
    for name, value, why in cases:
        found["tried"] += 1
        happened = outcome(build, value, why)
        if happened:
            wrong.append(f"{name}: {happened}")
    assert found["tried"] >= least
    return wrong


TOP = {  # fields of round.json, and how many mutants of it there are at least
    "format": 5, "manifest_digest": 9, "chain_id": 9, "project": 9, "round": 9, "beta": 8, "commitments": 250,
    "mask_points": 30, "projection_points": 60, "gram_point": 9, "base": 450, "settlement": 200,
}  # fmt: skip


def test_honest_twin(honest_round: Round, remembered: set) -> None:
    """The round that all mutants come from is accepted, every one of its proofs really checked."""
    check(honest_round.build, honest_round.json())
    assert len(remembered) == 2


def test_table_names_every_field(honest_round: Round) -> None:
    assert list(honest_round.json()) == list(TOP)


@pytest.mark.parametrize("top", TOP)
def test_every_field_changed(honest_round: Round, top: str) -> None:
    assert survivors(honest_round.build, mutants(honest_round.json(), top), TOP[top]) == []


def test_top_level_fields(honest_round: Round) -> None:
    """Removed, renamed, added; or no object at all."""
    value = honest_round.json()
    cases = [(name, item, SCHEMA) for name, item, _ in object_mutants(value)]
    cases += [(repr(other)[:9], other, SCHEMA) for other in (None, [], [value], "round", 1, True, {})]
    assert survivors(honest_round.build, iter(cases), 2 * len(TOP) + 8) == []


@pytest.mark.parametrize("place", [("base", "proof", "proof"), ("settlement", "proof")], ids=lambda place: place[0])
def test_every_word_of_a_proof(honest_round: Round, place: Path) -> None:
    """One bit of each 32-byte word; and words plus p or q, which are the same number if it were reduced."""
    value = honest_round.json()
    text = value
    for key in place:
        text = text[key]
    words = (len(text) - 2) // 64

    def cases() -> Iterator[tuple[str, Any, str]]:
        for index in range(words):
            yield f"word {index} bit", put(value, place, flip(text, 32 * index + 31)), reason(place)
            for modulus in (P, Q)[index % 2 :]:  # q on every word, p on every second
                changed = words_plus(text, index, modulus)
                if changed is not None:
                    yield f"word {index} + {modulus % 100}", put(value, place, changed), reason(place)

    assert survivors(honest_round.build, cases(), 2 * words - 1) == []


@pytest.mark.exhaustive("test_every_word_of_a_proof; test_rows.py")
def test_every_row_of_the_projection(honest_round: Round) -> None:
    """One bit of each of the 520 answers, and the bits that no answer has."""
    value, place = honest_round.json(), ("base", "z")
    text = value["base"]["z"]

    def cases() -> Iterator[tuple[str, Any, str]]:
        for row in range(0, 520, 3):
            yield f"row {row}, low", put(value, place, flip(text, 14 * row + 13)), reason(place)
            yield f"row {row}, high", put(value, place, flip(text, 14 * row, 0x80)), f"row {row + 1} .* out of range"

    assert survivors(honest_round.build, cases(), 2 * 520 // 3) == []


# ---------------------------------------------------------------- other encodings of the same round


def strings(value: Any) -> Iterator[tuple[Path, str]]:
    return ((place, item) for place, item in walk(value) if isinstance(item, str))


def test_newline_after_a_string(honest_round: Round) -> None:
    """A pattern that ends in $ lets a newline through; reading back what was written does not."""
    value = honest_round.json()
    why = f"{SCHEMA}|is not in canonical form"
    cases = [("/".join(map(str, at)), put(value, at, text + "\n"), why) for at, text in strings(value)]
    assert survivors(honest_round.build, iter(cases), 50) == []


def test_integer_written_as_a_float(honest_round: Round) -> None:
    """7.0 is an integer to JSON schema, and equal to 7: it is neither here, in files and objects alike."""
    value = honest_round.json()
    whole = [(at, item) for at, item in walk(value) if isinstance(item, int)]
    why = f"{SCHEMA}|is not in canonical form|is an integer from 0 to 2"
    cases = [("/".join(map(str, at)), put(value, at, float(item)), why) for at, item in whole]
    assert survivors(honest_round.build, iter(cases), 12) == []
