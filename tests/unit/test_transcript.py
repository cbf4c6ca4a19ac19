"""The transcript against vectors of another implementation, and that every challenge depends on all before it."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.vectors import make_transcript
from zkmarket.artifacts import CIRCUITS, Manifest
from zkmarket.commitment import Commitment, RoundId
from zkmarket.errors import InputError, ProofRejected
from zkmarket.field import P, decode_point
from zkmarket.round import References, context
from zkmarket.transcript import Transcript, chunk_tag, digest_words, hash_words, scalar, word

pytestmark = pytest.mark.unit

VECTORS = json.loads(make_transcript.FILE.read_bytes())


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def points(texts: list[str]) -> list[tuple[int, int]]:
    return [decode_point(raw(text)) for text in texts]


def references(case: dict[str, Any]) -> list[tuple[tuple[int, int], ...]]:
    """Points of the reference slots, as prover and verifier put them behind the trainers'."""
    held = {name: tuple(points(slot)) if slot else None for name, slot in case["references"].items()}
    root = Commitment(RoundId(), 1, held["root"]) if held.get("root") else None
    blinding = decode_point(raw(case["blinding"]))
    manifest: Any = SimpleNamespace(references=tuple(held), blinding=blinding, chunks=len(case["mask"]))
    return References(root, held.get("last")).points(manifest)


def started(case: dict[str, Any]) -> Transcript:
    slots = [*(points(slot) for slot in case["updates"]), *references(case)]
    return Transcript.start(raw(case["context"]), slots, points(case["mask"]), decode_point(raw(case["gram"])))


def challenges(case: dict[str, Any]) -> tuple[list[int], list[int]]:
    """r and ρ, by the same calls that prover and verifier make."""
    transcript = started(case)
    r = transcript.slot_challenges(len(case["updates"]) + len(case["references"]) + 1)
    transcript.absorb(int(case["q"], 16))
    rho = []
    for step, (a, x) in enumerate(case["claims"]):
        transcript.absorb(int(a, 16), int(x, 16))
        rho.append(transcript.fold_challenge(step))
    return r, rho


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


@pytest.mark.parametrize(
    "case", VECTORS["transcripts"], ids=lambda case: f"m={len(case['mask'])},R={len(case['references'])}"
)
def test_transcripts(case: dict[str, Any]):
    transcript = started(case)
    assert transcript.seed == raw(case["seed_0"])
    transcript.absorb(int(case["q"], 16))
    seeds = [transcript.seed]
    for a, x in case["claims"]:
        transcript.absorb(int(a, 16), int(x, 16))
        seeds.append(transcript.seed)
    assert seeds == [raw(seed) for seed in case["seeds"]]
    assert challenges(case) == ([int(r, 16) for r in case["r"]], [int(rho, 16) for rho in case["rho"]])
    assert max(int(challenge, 16) for challenge in case["r"] + case["rho"]) < 2**128


@pytest.mark.parametrize("case", VECTORS["chunk_tags"], ids=lambda case: str(case["chain_id"]))
def test_chunk_tags(case: dict[str, Any]):
    numbers = [case["chain_id"], int(case["project"], 16), case["round"], case["chunk"], int(case["trainer"], 16)]
    tag = chunk_tag(*numbers)
    assert tag == int(case["tag"], 16) < 2**248 < P
    for at in range(5):
        assert chunk_tag(*(n + (i == at) for i, n in enumerate(numbers))) != tag


@pytest.mark.parametrize("case", VECTORS["round_contexts"], ids=lambda case: case["manifest"]["score"])
def test_round_contexts(case: dict[str, Any]):
    manifest = manifest_of(case)
    assert manifest.digest() == raw(case["manifest_digest"]) == digest_words(map(raw, case["manifest_words"]))
    round_id = RoundId(case["chain_id"], int(case["project"], 16), case["round"])
    slots = [int(slot, 16) for slot in case["slots"]]
    assert context(manifest, round_id, int(case["beta"]), slots) == raw(case["context"])
    assert digest_words(map(raw, case["context_words"])) == raw(case["context"])


# ---------------------------------------------------------------- binding


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("which", [0, 1], ids=["A", "X"])
def test_changing_a_claim_changes_every_later_rho_and_no_earlier_one(step: int, which: int):
    case = VECTORS["transcripts"][3]
    r, rho = challenges(case)
    other = copy.deepcopy(case)
    other["claims"][step][which] = hex((int(case["claims"][step][which], 16) + 1) % P)
    r_other, rho_other = challenges(other)
    assert len(rho) == 3
    assert (r_other, rho_other[:step]) == (r, rho[:step])
    assert not set(rho_other[step:]) & set(rho[step:])


def test_changing_q_changes_every_rho():
    case = VECTORS["transcripts"][3]
    r, rho = challenges(case)
    r_other, rho_other = challenges(case | {"q": hex(int(case["q"], 16) ^ 1)})
    assert r_other == r
    assert not set(rho_other) & set(rho)


def test_swapping_or_moving_a_commitment_changes_every_challenge():
    case = VECTORS["transcripts"][2]
    a, b, *others = case["updates"]
    swapped_slots = case | {"updates": [b, a, *others]}
    swapped_chunks = case | {"updates": [a[::-1], b, *others]}
    swapped_kinds = case | {"updates": [case["mask"], b, *others], "mask": a}
    other_gram = case | {"gram": a[0]}
    seen = set(challenges(case)[0])
    for changed in (swapped_slots, swapped_chunks, swapped_kinds, other_gram):
        r = set(challenges(changed)[0])
        assert not r & seen
        seen |= r


def test_every_reference_is_absorbed_in_its_place():
    """Root and last exchanged, another one, or one that is said not to be there."""
    case = VECTORS["transcripts"][6]
    root, last = case["references"]["root"], case["references"]["last"]
    others = [{"root": last, "last": root}, {"root": root, "last": None}, {"root": None, "last": last}]
    others.append({"root": root, "last": [*last[:-1], root[0]]})
    seen = set(challenges(case)[0])
    for changed in others:
        r = set(challenges(case | {"references": changed})[0])
        assert len(r) == 3 + 2 + 1 and not r & seen
        seen |= r


def test_challenges_of_one_seed_are_distinct_and_not_powers():
    transcript = Transcript(hash_words("seed"))
    r = transcript.slot_challenges(100)
    assert len(set(r)) == 100
    assert r[2] * r[0] % P != r[1] * r[1] % P
    assert transcript.slot_challenges(3) == r[:3]  # drawing does not absorb
    assert {transcript.fold_challenge(t) for t in range(100)}.isdisjoint(r)


CONTEXT_CHANGES: list[dict[str, Any]] = [
    {"srs": {"kind": "imported", "id": "12" * 32}},
    {"trainers": 6},
    {"params": 2501},
    {"logrows": 11},
    {"salts": 9},
    {"beta_max": "1000000000001"},
    {"min_accepted": 4},
    {"filter": "multi-krum:f=2,m=4"},
    {"filter": "multi-krum:f=1,m=5"},
    {"score": "leave-one-out"},
    {"blinding_point": VECTORS["transcripts"][0]["gram"]},
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
    assert transcript.seed == bytes(32)  # nothing was absorbed
    transcript.absorb(0, P - 1)
    assert transcript.seed == hash_words(bytes(32), 0, P - 1)
    assert scalar(P - 1) == word(P - 1)


def test_a_label_that_is_not_ascii_is_refused():
    with pytest.raises(InputError, match="a transcript label is ASCII: got 'ρ'"):
        word("ρ")
