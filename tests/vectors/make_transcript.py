"""Makes transcript.json, with nothing from zkmarket: an implementation of the protocol's transcript by itself.

    python -m tests.vectors.make_transcript          # writes tests/vectors/transcript.json

Everything in the file is a 0x-string of hex digits, but small numbers, labels, bits and names. Python and
Solidity must both reproduce it:

- ``words``: digests of lists of words: H(length ‖ words). How each word was given is in ``given``.
- ``round_contexts``: the words of a manifest's digest and of a round's context, and both digests.
- ``digests``: of updates (labels "update" and "root"), and the word of a submission, H(digest ‖ H(cid)).
- ``transcripts``: a whole transcript each, from the points to the coefficients of their combination: every seed, every
  challenge, both arguments' claims, positions and weights of blocks, bits of some rows, and V at y (o_4), which is
  evaluated here from its definition, value by value. ``points`` of the text are slots 1..N each chunk by chunk, the
  references, slot 0 (``mask``), P_0..P_μ (``projection``), C_G (``gram``). A reference that a round does not have is
  null, and ``blinding`` in every chunk.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.vectors.whole_transcript import transcripts
from tests.vectors.words import drawn, flat, h, hashed, label, listed, number, point, shown, text

FILE = Path(__file__).with_name("transcript.json")


# ---------------------------------------------------------------- words, manifests, digests


def word_lists() -> list[dict[str, Any]]:
    """A given word is a number in decimal, a label between quotes, or 0x and 32 bytes."""
    edge = (1 << 256) - 1
    cases = [
        ([], []),
        (["0"], [number(0)]),
        (["1", "'r'"], [number(1), label("r")]),
        ([str(edge), "'" + "L" * 32 + "'", "''"], [number(edge), label("L" * 32), bytes(32)]),
        ([text(bytes(range(32))), "255"], [bytes(range(32)), number(255)]),
    ]
    return [{"given": given, "words": [text(w) for w in ws], "digest": text(listed(ws))} for given, ws in cases]


MANIFESTS = [
    {
        "srs_id": "11" * 32,
        "vk_sha256": {"base": "a0" * 32, "settlement": "a3" * 32},
        "proof_bytes": {"base": 4992, "settlement": 3104},
        "settings_sha256": {"base": "c0" * 32, "settlement": "c3" * 32},
        "layout": [{"name": "w", "shape": [50, 50], "dtype": "float32"}],
        "trainers": 5,
        "params": 2500,
        "logrows": 10,
        "rows": 29,
        "salts": 8,
        "settlement_logrows": 12,
        "blinding": 77,
        "beta_max": 10**12,
        "min_accepted": 3,
        "f": 1,
        "m": 4,
        "score": "shapley",
        "scale_bits": 16,
        "value_bits": 10,
    },
    {
        "srs_id": "ff" * 32,
        "vk_sha256": {"base": "b0" * 32, "settlement": "b3" * 32},
        "proof_bytes": {"base": 5120, "settlement": 3104},
        "settings_sha256": {"base": "d0" * 32, "settlement": "d3" * 32},
        "layout": None,
        "trainers": 3,
        "params": 2**17 - 16,
        "logrows": 17,
        "rows": 254,
        "salts": 8,
        "settlement_logrows": 17,
        "blinding": 78,
        "beta_max": 2**119,
        "min_accepted": 3,
        "f": 0,
        "m": 3,
        "score": "leave-one-out",
        "scale_bits": -32,
        "value_bits": 17,
    },
]


def compact(layout: list[dict[str, Any]] | None) -> str:
    if layout is None:
        return "null"
    rows = [
        f'{{"dtype":"{row["dtype"]}","name":"{row["name"]}","shape":[{",".join(map(str, row["shape"]))}]}}'
        for row in layout
    ]
    return "[" + ",".join(rows) + "]"


def manifest_words(manifest: dict[str, Any]) -> list[bytes]:
    """Format; SRS; key and settings of each circuit; proofs' lengths; layout; N, D, K, ℓ1, S; settlement's K; B; rules…

    The layout is hashed as JSON without spaces, keys in alphabetical order: {"dtype", "name", "shape"}, or null.
    """
    circuits = [
        bytes.fromhex(manifest[kind][name])
        for name in ("base", "settlement")
        for kind in ("vk_sha256", "settings_sha256")
    ]
    return [
        label("zkmarket-manifest/2"),
        bytes.fromhex(manifest["srs_id"]),
        *circuits,
        *(number(manifest["proof_bytes"][name]) for name in ("base", "settlement")),
        sha256(compact(manifest["layout"]).encode()).digest(),
        *(number(manifest[name]) for name in ("trainers", "params", "logrows", "rows", "salts", "settlement_logrows")),
        *point(manifest["blinding"]),
        *(number(manifest[name]) for name in ("beta_max", "min_accepted")),
        label("multi-krum"),
        number(manifest["f"]),
        number(manifest["m"]),
        label(manifest["score"]),
        number(manifest["scale_bits"] + 64),
        number(manifest["value_bits"]),
    ]


def round_contexts() -> list[dict[str, Any]]:
    rounds = [(31337, 0xABCDEF, 7, 10**9), (0, 0, 0, 0)]
    out = []
    for manifest, (chain_id, project, round_number, beta) in zip(MANIFESTS, rounds, strict=True):
        slots = [0x1000 + i for i in range(manifest["trainers"])]
        digest = listed(manifest_words(manifest))
        words = [digest, *map(number, (chain_id, project, round_number, beta, *slots))]
        shown = {"beta_max": str(manifest["beta_max"]), "blinding": text(b"".join(point(manifest["blinding"])))}
        out.append(
            {
                "manifest": manifest | shown,
                "manifest_words": [text(w) for w in manifest_words(manifest)],
                "manifest_digest": text(digest),
                "chain_id": chain_id,
                "project": f"0x{project:040x}",
                "round": round_number,
                "beta": str(beta),
                "slots": [f"0x{slot:040x}" for slot in slots],
                "context_words": [text(w) for w in words],
                "context": text(listed(words)),
            }
        )
    return out


def digests() -> list[dict[str, Any]]:
    """Words: label, chain id, project, round, author; then the points. A submission binds the CID of the ciphertext."""
    most = (1 << 160) - 1
    cases = [
        ("update", 0, 0, 0, 0, 1),
        ("update", 31337, 0xABCDEF, 7, 0x1001, 3),
        ("root", 31337, 0xABCDEF, 7, 0x1001, 3),
        ("update", (1 << 53) - 1, most, (1 << 53) - 1, most, 2),
    ]
    out = []
    for at, (name, chain_id, project, round_number, author, chunks) in enumerate(cases):
        points = [point(drawn(3000 + chunk)) for chunk in range(chunks)]
        cid = bytes.fromhex("01551220") + h(number(at))
        digest = h(label(name), *map(number, (chain_id, project, round_number, author)), *flat(points))
        out.append(
            {
                "label": name,
                "chain_id": chain_id,
                "project": f"0x{project:040x}",
                "round": round_number,
                "author": f"0x{author:040x}",
                "points": shown(points),
                "digest": text(digest),
                "cid": text(cid),
                "submission": text(h(digest, hashed(cid))),
            }
        )
    return out


def make() -> bytes:
    vectors = {
        "words": word_lists(),
        "round_contexts": round_contexts(),
        "digests": digests(),
        "transcripts": transcripts(),
    }
    return (json.dumps(vectors, indent=1) + "\n").encode()


if __name__ == "__main__":
    FILE.write_bytes(make())
