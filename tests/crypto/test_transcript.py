"""The transcript against vectors of another implementation, and that every challenge depends on all before it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from eth_hash.auto import keccak

from tests.vectors import make_transcript
from zkmarket.build import CIRCUITS, ROWS, Columns, Manifest, Shape, masked_chunks
from zkmarket.crypto import (
    LABELS,
    P,
    Point,
    Transcript,
    decode_point,
    digest_int,
    digest_words,
    encode_point,
    hash_words,
    multiply_add,
    scalar,
    update_digest,
    word,
)
from zkmarket.errors import InputError, ProofRejected
from zkmarket.round import (
    Coefficients,
    Commitment,
    KnownReferences,
    Points,
    RoundId,
    Weights,
    context,
    gram,
    projection,
)
from zkmarket.round import base as round_base

pytestmark = pytest.mark.unit

VECTORS = json.loads(make_transcript.FILE.read_bytes())
TRANSCRIPTS = VECTORS["transcripts"]


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def points(texts: list[str]) -> tuple[Point, ...]:
    return tuple(decode_point(raw(text)) for text in texts)


def numbers(texts: list[str]) -> list[int]:
    return [int(text, 16) for text in texts]


def pairs(texts: list[list[str]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(a, 16), int(x, 16)) for a, x in texts)


def name_of(case: dict[str, Any]) -> str:
    references = ",".join(f"{name}:{'yes' if held else 'no'}" for name, held in case["references"].items())
    return f"N={len(case['updates'])},m={case['chunks']},K={case['logrows']},{references}"


def shape_of(case: dict[str, Any]) -> Shape:
    return Shape(case["slots"], case["chunks"], case["params"], case["rows"], case["width"])


def references(case: dict[str, Any]) -> list[tuple[Point, ...]]:
    """Points of the reference slots, as prover and verifier put them behind the trainers'."""
    held = {name: points(slot) if slot else None for name, slot in case["references"].items()}
    root = Commitment(RoundId(), 1, held["root"]) if held.get("root") else None
    blinding = decode_point(raw(case["blinding"]))
    manifest: Any = SimpleNamespace(references=tuple(held), blinding=blinding, chunks=case["chunks"])
    return KnownReferences(root, held.get("last")).points(manifest)


def all_points(case: dict[str, Any]) -> Points:
    slots = (*(points(slot) for slot in case["updates"]), *references(case))
    return Points(slots, points(case["mask"]), points(case["projection"]))


def started(case: dict[str, Any]) -> Transcript:
    absorbed = [*all_points(case).flat(), decode_point(raw(case["gram"]))]
    return Transcript.start(raw(case["context"]), absorbed)


@dataclass(frozen=True)
class Challenges:
    """What a transcript gives, in order."""

    r: list[int]
    rows: bytes
    eta: int
    rhos: tuple[int, ...]
    sigmas: tuple[int, ...]
    tau: int
    y: int
    folded: int
    claim: int
    seed: bytes

    def drawn(self) -> list[Any]:
        return [*self.r, self.rows, self.eta, *self.rhos, *self.sigmas, self.tau, self.y]


def replayed(case: dict[str, Any]) -> Challenges:
    """By the same calls that prover and verifier make."""
    shape = shape_of(case)
    transcript = started(case)
    r = transcript.slot_challenges(len(case["updates"]) + len(case["references"]) + 1)
    rows = transcript.row_hash(1, 0)
    q, t0, z = int(case["q"], 16), int(case["t0"], 16), raw(case["z"])
    claims, rounds = pairs(case["claims"]), pairs(case["rounds"])
    sent = SimpleNamespace(t0=t0, z=z, claims=claims, rounds=rounds, columns=[*map(raw, case["committed"])])
    asked = round_base.Challenges.replayed(transcript, q, sent)
    folded = gram.check_folds(claims, q, case["chunks"], asked.rhos)
    claim = projection.check_rounds(rounds, projection.first_claim(shape, z, t0, asked.eta), shape, asked.sigmas)
    drawn = (asked.eta, asked.rhos, asked.sigmas, asked.tau, asked.y)
    return Challenges(r, rows, *drawn, folded, claim, transcript.seed)


def manifest_of(case: dict[str, Any]) -> Manifest:
    """A manifest with what its digest is made of, and nothing else."""
    given = case["manifest"]
    same = ("trainers", "params", "logrows", "salts", "min_accepted", "score", "beta_max", "layout")
    circuits: dict[str, Any] = {
        name: {
            "files": {"vk.key": key, "settings.json": given["settings_sha256"][name]},
            "proof_bytes": given["proof_bytes"][name],
        }
        for name, key in given["vk_sha256"].items()
    }
    circuits["settlement"]["logrows"] = given["settlement_logrows"]
    return Manifest(
        {name: given[name] for name in same}
        | {"srs": {"kind": "imported", "id": given["srs_id"]}, "circuits": circuits}
        | {"blinding_point": given["blinding"], "filter": f"multi-krum:f={given['f']},m={given['m']}"}
        | {"fixed_point": {name: given[name] for name in ("scale_bits", "value_bits")}}
    )


# ---------------------------------------------------------------- the vectors


@pytest.mark.exhaustive("the file is compared with our transcript; its maker changes with the protocol only")
def test_the_file_is_what_its_maker_makes():
    assert make_transcript.FILE.read_bytes() == make_transcript.make()


def test_the_hash_is_ethereums_keccak():
    """Known to everybody: of nothing, and of one word 0 (the first slot of a Solidity mapping)."""
    assert hash_words().hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert hash_words(0).hex() == "290decd9548b62a8d60345a988386fc84ba6bc95484008f6362f93160ef3e563"


@pytest.mark.parametrize("case", VECTORS["words"], ids=lambda case: str(len(case["words"])))
def test_word_lists(case: dict[str, Any]):
    def read(given: str) -> int | str | bytes:
        if given.startswith("'"):
            return given.strip("'")
        return raw(given) if given.startswith("0x") else int(given)

    assert [word(read(g)) for g in case["given"]] == [raw(w) for w in case["words"]]
    assert digest_words(map(read, case["given"])) == raw(case["digest"])


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=name_of)
def test_seeds_and_challenges(case: dict[str, Any]):
    """Every seed, step by step; then all challenges as the verifier draws them, and the claims that follow."""
    transcript = started(case)
    assert transcript.seed == raw(case["seed_0"])
    assert keccak(raw(case["z"])) == raw(case["z_hash"])
    transcript.absorb_projection(int(case["q"], 16), int(case["t0"], 16), raw(case["z"]))
    assert transcript.seed == raw(case["seed"])
    steps = zip(case["claims"] + case["rounds"], case["fold_seeds"] + case["round_seeds"], strict=True)
    for pair, seed in steps:
        transcript.absorb(*numbers(pair))
        assert transcript.seed == raw(seed)
    transcript.absorb_points(map(raw, case["committed"]))
    assert transcript.seed == raw(case["last_seed"])

    got = replayed(case)
    assert got.seed == raw(case["last_seed"])
    assert (got.r, list(got.rhos)) == (numbers(case["r"]), numbers(case["rho"]))
    assert max([*got.r, *got.rhos]) < 2**128
    assert [got.eta, *got.sigmas, got.tau, got.y] == numbers([case["eta"], *case["sigma"], case["tau"], case["y"]])
    assert (got.folded, got.claim) == (int(case["folded"], 16), int(case["last_claim"], 16))
    first = projection.first_claim(shape_of(case), raw(case["z"]), int(case["t0"], 16), got.eta)
    assert first == int(case["first_claim"], 16)


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=name_of)
def test_shapes_and_positions(case: dict[str, Any]):
    shape = shape_of(case)
    shape.check()
    columns = Columns(case["logrows"])
    assert (shape.rows, shape.width, shape.values) == (columns.rows, columns.width, columns.values)
    assert (shape.blocks, shape.rounds) == (case["blocks"], len(case["rounds"]))
    assert shape.mask_positions == case["mask_positions"]
    assert shape.data_positions == case["data_positions"]
    assert columns.chunks(shape.params) == shape.chunks
    assert len(case["mask"]) == len(masked_chunks(shape.chunks))
    assert len(case["projection"]) == len(shape.mask_positions)


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=name_of)
def test_bits_of_rows(case: dict[str, Any]):
    weights = Weights.of(shape_of(case), started(case))
    for row, wanted in case["bits"].items():
        at = int(row) - 1
        parts = [weights.blocks[at], weights.left[:, at], weights.right[:, at]]
        assert ["".join(map(str, part)) for part in parts] == wanted
    assert keccak(np.hstack([weights.blocks, weights.left.T, weights.right.T]).tobytes()) == raw(case["all_bits"])


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=name_of)
def test_answers_are_packed_as_they_are_read(case: dict[str, Any]):
    answers = projection.unpack(raw(case["z"]))
    assert projection.pack(answers) == raw(case["z"])
    assert (answers[0], answers[1], answers[-1]) == (1 - 2**110, 2**110 - 1, 0)


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=name_of)
def test_what_is_computed_of_the_challenges(case: dict[str, Any]):
    """Factors of chunks, weights of blocks, V at y, and the combination of all commitments."""
    shape, got = shape_of(case), replayed(case)
    assert gram.chunk_factors(shape.chunks, got.rhos) == numbers(case["factors"])
    eq = projection.equalities(got.sigmas)
    assert [eq[at] for at in shape.mask_positions] == numbers(case["mask_weights"])
    assert [eq[at] for at in shape.data_positions] == numbers(case["data_weights"])
    value = projection.evaluate(shape, Weights.of(shape, started(case)), got.sigmas, got.eta, got.y)
    assert value == int(case["value"], 16)
    together = Coefficients.of(shape, len(got.r), got.r, got.rhos, got.sigmas).together(got.tau)
    assert together == numbers(case["coefficients"])
    of_blinding = (1 + got.tau - sum(together)) % P
    assert of_blinding == int(case["of_blinding"], 16)
    sum_of_points = multiply_add(
        [*all_points(case).flat(), decode_point(raw(case["blinding"]))], [*together, of_blinding]
    )
    assert encode_point(sum_of_points) == raw(case["combination"])


def test_the_vectors_meet_every_border():
    """No fold and several, every position taken and positions left, no padding, one value and one cell of it; bits of
    one hash, of exactly one for the blocks, and of several."""
    assert {len(case["claims"]) for case in TRANSCRIPTS} == {0, 1, 2, 3}
    left_over = {(1 << len(case["rounds"])) - case["blocks"] - len(case["projection"]) for case in TRANSCRIPTS}
    assert 0 in left_over and max(left_over) > 1
    tails = {shape_of(case).tail for case in TRANSCRIPTS}
    assert any(first == size for first, size in tails) and {first for first, _ in tails} >= {1, 895, 896}
    blocks = {case["blocks"] for case in TRANSCRIPTS}
    assert 3 in blocks and 252 in blocks and max(blocks) > 252
    assert any((case["logrows"], case["rows"], case["width"]) == (13, ROWS[13], 128) for case in TRANSCRIPTS)


@pytest.mark.parametrize("case", VECTORS["digests"], ids=lambda case: f"{case['label']},{case['chain_id']}")
def test_digests_of_updates(case: dict[str, Any]):
    round_id = RoundId(case["chain_id"], int(case["project"], 16), case["round"])
    commitment = Commitment(round_id, int(case["author"], 16), points(case["points"]))
    digest = commitment.digest(case["label"])
    assert digest == raw(case["digest"])
    assert hash_words(digest, keccak(raw(case["cid"]))) == raw(case["submission"])


def test_a_digest_names_all_that_it_is_of():
    """Label, chain, project, round, author, and every point in its place: each change gives another digest."""
    held = points(VECTORS["digests"][1]["points"])
    same: tuple[Any, ...] = ("update", 1, 2, 3, 4, held)
    others = [("root", 1, 2, 3, 4, held)]
    others += [(*same[:at], 9, *same[at + 1 :]) for at in range(1, 5)]
    others += [(*same[:5], changed) for changed in (held[::-1], held[:2], (*held, held[0]), ())]
    assert len({update_digest(*given) for given in (same, *others)}) == 1 + len(others)


@pytest.mark.parametrize("case", VECTORS["round_contexts"], ids=lambda case: case["manifest"]["score"])
def test_round_contexts(case: dict[str, Any]):
    manifest = manifest_of(case)
    assert manifest.digest() == raw(case["manifest_digest"]) == digest_words(map(raw, case["manifest_words"]))
    round_id = RoundId(case["chain_id"], int(case["project"], 16), case["round"])
    slots = [int(slot, 16) for slot in case["slots"]]
    assert context(manifest, round_id, int(case["beta"]), slots) == raw(case["context"])
    assert digest_words(map(raw, case["context_words"])) == raw(case["context"])


# ---------------------------------------------------------------- binding


BOUND = TRANSCRIPTS[5]  # three folds, two slots


def after(which: str) -> int:
    """Where in `Challenges.drawn` the first challenge stands that is drawn after something is absorbed."""
    slots = len(BOUND["updates"]) + 1
    order = {"seed_0": 0, "projection": slots + 1, "points": slots + 2 + 3 + len(BOUND["rounds"])}
    order |= {f"fold{s}": slots + 2 + s for s in range(3)}
    return (order | {f"round{s}": slots + 2 + 3 + s for s in range(len(BOUND["rounds"]))})[which]


def changes() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every absorbed word, changed: where it is absorbed, and the other case."""
    out: dict[str, tuple[str, dict[str, Any]]] = {"context": ("seed_0", {"context": "0x" + "11" * 32})}
    other = BOUND["gram"]
    for name in ("mask", "projection"):
        for at in range(len(BOUND[name])):
            out[f"{name}{at}"] = ("seed_0", {name: [*BOUND[name][:at], other, *BOUND[name][at + 1 :]]})
    for slot, held in enumerate(BOUND["updates"]):
        for at in range(len(held)):
            changed = copy.deepcopy(BOUND["updates"])
            changed[slot][at] = other
            out[f"slot{slot}.{at}"] = ("seed_0", {"updates": changed})
    out["gram"] = ("seed_0", {"gram": BOUND["mask"][0]})
    for name in ("q", "t0"):
        out[name] = ("projection", {name: hex((int(BOUND[name], 16) + 1) % P)})
    for at in (0, 259, 519):
        answers = bytearray(raw(BOUND["z"]))
        answers[14 * at + 13] ^= 2
        out[f"z{at}"] = ("projection", {"z": "0x" + answers.hex()})
    for name, stage in (("claims", "fold"), ("rounds", "round")):
        for step in range(len(BOUND[name])):
            for which in (0, 1):
                changed = copy.deepcopy(BOUND[name])
                changed[step][which] = hex((int(changed[step][which], 16) + 1) % P)
                out[f"{name}{step}.{which}"] = (f"{stage}{step}", {name: changed})
    for at in range(3):
        changed = [*BOUND["committed"][:at], other, *BOUND["committed"][at + 1 :]]
        out[f"committed{at}"] = ("points", {"committed": changed})
    return out


CHANGES = changes()


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_word_changes_every_later_challenge_and_no_earlier_one(what: str):
    where, change = CHANGES[what]
    honest, other = replayed(BOUND).drawn(), replayed(BOUND | change).drawn()
    at = after(where)
    assert honest[:at] == other[:at]
    assert len(honest) == len(other) > at
    assert not set(honest[at:]) & set(other[at:])


def test_swapping_or_moving_a_commitment_changes_every_challenge():
    case = TRANSCRIPTS[1]
    a, b, *others = case["updates"]
    p, mask, projected = case["projection"], case["mask"], case["projection"]
    variants = [
        case | {"updates": [b, a, *others]},
        case | {"updates": [a[::-1], b, *others]},
        case | {"updates": [mask, b, *others], "mask": a},
        case | {"mask": projected[:2], "projection": [*mask, *projected[2:]]},
        case | {"projection": [p[1], p[0], *p[2:]]},
        case | {"gram": a[0]},
    ]
    seen = set(replayed(case).drawn())
    for changed in variants:
        drawn = set(replayed(changed).drawn())
        assert not drawn & seen
        seen |= drawn


def test_every_reference_is_absorbed_in_its_place():
    """Root and last exchanged, another one, or one that is said not to be there."""
    case = TRANSCRIPTS[8]
    root, last = case["references"]["root"], case["references"]["last"]
    others = [{"root": last, "last": root}, {"root": root, "last": None}, {"root": None, "last": last}]
    others.append({"root": root, "last": [*last[:-1], root[0]]})
    seen = set(replayed(case).r)
    for changed in others:
        r = set(replayed(case | {"references": changed}).r)
        assert len(r) == 3 + 2 + 1 and not r & seen
        seen |= r


def test_challenges_of_one_seed_are_distinct_and_not_powers():
    transcript = Transcript(hash_words("seed"))
    r = transcript.slot_challenges(100)
    assert len(set(r)) == 100
    assert r[2] * r[0] % P != r[1] * r[1] % P
    assert transcript.slot_challenges(3) == r[:3]  # drawing does not absorb
    drawn = [transcript.challenge(label, index) for label in LABELS for index in range(30)]
    assert len({*drawn, *r}) == len(drawn) + len(r)


def test_a_label_is_no_field_element():
    """So a challenge, or a row's hash, is never an absorption of the same length: those hold words below p."""
    for label in LABELS:
        assert digest_int(word(label)) >= P
        with pytest.raises(ProofRejected, match="field element is not canonical"):
            scalar(digest_int(word(label)))


CONTEXT_CHANGES: list[dict[str, Any]] = [
    {"srs": {"kind": "imported", "id": "12" * 32}},
    {"trainers": 6},
    {"params": 2501},
    {"logrows": 11},
    {"logrows": 12},
    {"salts": 9},
    {"beta_max": "1000000000001"},
    {"min_accepted": 4},
    {"filter": "multi-krum:f=2,m=4"},
    {"filter": "multi-krum:f=1,m=5"},
    {"score": "leave-one-out"},
    {"blinding_point": TRANSCRIPTS[0]["gram"]},
    {"fixed_point": {"scale_bits": 17, "value_bits": 10}},
    {"fixed_point": {"scale_bits": 16, "value_bits": 11}},
    *({"circuit": (name, file)} for name in CIRCUITS for file in ("vk.key", "settings.json")),
    *({"length": name} for name in CIRCUITS),
    {"layout": None},
    {"layout": [{"name": "w", "shape": [2500], "dtype": "float32"}]},
    {"layout": [{"name": "v", "shape": [50, 50], "dtype": "float32"}]},
    {"layout": [{"name": "w", "shape": [50, 50], "dtype": "float16"}]},
    {"settlement_logrows": 13},
]


@pytest.mark.parametrize("change", CONTEXT_CHANGES, ids=lambda change: next(iter(change)))
def test_every_field_of_the_manifest_is_in_its_digest(change: dict[str, Any]):
    manifest = manifest_of(VECTORS["round_contexts"][0])
    other = copy.deepcopy(manifest.value)
    if "circuit" in change:
        name, file = change["circuit"]
        other["circuits"][name]["files"][file] = "99" * 32
    elif "length" in change:
        other["circuits"][change["length"]]["proof_bytes"] += 32
    elif "settlement_logrows" in change:
        other["circuits"]["settlement"]["logrows"] = change["settlement_logrows"]
    else:
        other |= change
    assert other != manifest.value
    assert Manifest(other).digest() != manifest.digest()


def test_every_part_of_the_round_is_in_its_context():
    manifest = manifest_of(VECTORS["round_contexts"][0])
    rounds = [(RoundId(1, 2, 3), 4, (5, 6, 7)), (RoundId(9, 2, 3), 4, (5, 6, 7)), (RoundId(1, 9, 3), 4, (5, 6, 7))]
    rounds += [(RoundId(1, 2, 9), 4, (5, 6, 7)), (RoundId(1, 2, 3), 9, (5, 6, 7)), (RoundId(1, 2, 3), 4, (6, 5, 7))]
    rounds += [(RoundId(1, 2, 3), 4, (5, 6, 7, 0)), (RoundId(1, 2, 3), 4, (5, 6))]
    assert len({context(manifest, *part) for part in rounds}) == len(rounds)


# ---------------------------------------------------------------- misuse


@pytest.mark.parametrize("value", [-1, 2**256])
def test_a_number_that_is_no_word_is_refused(value: int):
    with pytest.raises(InputError, match="a transcript word is an unsigned 256-bit integer"):
        word(value)
    assert word(2**256 - 1) == b"\xff" * 32


@pytest.mark.parametrize("value", ["L" * 33, b"", b"\0" * 31, b"\0" * 33])
def test_a_label_or_bytes_of_another_length_are_refused(value: str | bytes):
    with pytest.raises(InputError, match=f"a transcript word is 32 bytes: got {len(value)}"):
        hash_words(value)


def test_a_scalar_that_is_not_canonical_is_refused():
    transcript = Transcript(bytes(32))
    for value in (P, P + 1, 2**256, -1):
        with pytest.raises(ProofRejected, match="field element is not canonical: wanted 0 <= x < p"):
            transcript.absorb(0, value)
        for q, t0 in ((value, 0), (0, value)):
            with pytest.raises(ProofRejected, match="field element is not canonical: wanted 0 <= x < p"):
                transcript.absorb_projection(q, t0, b"")
    assert transcript.seed == bytes(32)  # nothing was absorbed
    transcript.absorb(0, P - 1)
    assert transcript.seed == hash_words(bytes(32), 0, P - 1)
    assert scalar(P - 1) == word(P - 1)


def test_a_label_that_is_not_ascii_is_refused():
    with pytest.raises(InputError, match="a transcript label is ASCII: got 'ρ'"):
        word("ρ")
