"""Makes transcript.json, with nothing from zkmarket: an implementation of PROTOCOL section 8 by itself.

    python -m tests.vectors.make_transcript          # writes tests/vectors/transcript.json

Everything in the file is a 0x-string of hex digits, but small numbers, labels and names. Python and
Solidity must both reproduce it:

- ``words``: digests of lists of words: H(length ‖ words). How each word was given is in ``given``.
- ``round_contexts``: the words of a manifest's digest and of a round's context, and both digests.
- ``chunk_tags``: low 248 bits of H(chain ‖ project ‖ round ‖ chunk ‖ trainer).
- ``transcripts``: points absorbed (slots 1..N each chunk by chunk, the references, slot 0, C_G), every seed, every
  challenge. A reference that a round does not have is null, and ``blinding`` in every chunk.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak
from py_ecc.optimized_bn128 import G1, curve_order, multiply, normalize

FILE = Path(__file__).with_name("transcript.json")


def h(*words: bytes) -> bytes:
    """keccak-256 of 32-byte words (the original padding, as in Ethereum; not SHA3-256)."""
    assert all(len(word) == 32 for word in words)
    return keccak.new(digest_bits=256, data=b"".join(words)).digest()


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def label(text: str) -> bytes:
    """As Solidity's bytes32("text"): ASCII, left-aligned."""
    return text.encode("ascii") + bytes(32 - len(text))


def low(data: bytes, bits: int) -> int:
    return int.from_bytes(data, "big") % (1 << bits)


def point(scalar: int) -> tuple[bytes, bytes]:
    """x and y of scalar·G, a word each."""
    x, y = normalize(multiply(G1, scalar))
    return number(int(x)), number(int(y))


def drawn(index: int) -> int:
    """Some scalar, the same on every machine."""
    return int.from_bytes(h(label("vector"), number(index)), "big") % curve_order


def text(data: bytes | int) -> str:
    return "0x" + (number(data) if isinstance(data, int) else data).hex()


def listed(words: list[bytes]) -> bytes:
    """Digest of a list, bound to its length."""
    return h(number(len(words)), *words)


# ---------------------------------------------------------------- the four kinds


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
        "vk_sha256": {"gram": "a0" * 32, "range": "a1" * 32, "range-last": "a2" * 32, "settlement": "a3" * 32},
        "proof_bytes": {"gram": 4128, "range": 4672, "range-last": 5600, "settlement": 3104},
        "settings_sha256": {"gram": "c0" * 32, "range": "c1" * 32, "range-last": "c2" * 32, "settlement": "c3" * 32},
        "layout": [{"name": "w", "shape": [50, 50], "dtype": "float32"}],
        "trainers": 5,
        "params": 2500,
        "logrows": 10,
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
        "vk_sha256": {"gram": "b0" * 32, "range": "b1" * 32, "settlement": "b3" * 32},
        "proof_bytes": {"gram": 4128, "range": 4672, "settlement": 3104},
        "settings_sha256": {"gram": "d0" * 32, "range": "d1" * 32, "settlement": "d3" * 32},
        "layout": None,
        "trainers": 3,
        "params": 2**17 - 16,
        "logrows": 17,
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
    """Format; SRS; key and settings of each circuit, 0 for one there is not; proofs' lengths; layout; sizes; B; rules…

    The layout is hashed as JSON without spaces, keys in alphabetical order: {"dtype", "name", "shape"}, or null.
    """
    circuits = [
        bytes.fromhex(manifest[kind].get(name, "00" * 32))
        for name in ("gram", "range", "range-last", "settlement")
        for kind in ("vk_sha256", "settings_sha256")
    ]
    return [
        label("zkmarket-manifest/1"),
        bytes.fromhex(manifest["srs_id"]),
        *circuits,
        *(number(manifest["proof_bytes"].get(name, 0)) for name in ("gram", "range", "range-last", "settlement")),
        sha256(compact(manifest["layout"]).encode()).digest(),
        *(number(manifest[name]) for name in ("trainers", "params", "logrows", "salts", "settlement_logrows")),
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


def chunk_tags() -> list[dict[str, Any]]:
    most = (1 << 160) - 1
    cases = [(0, 0, 0, 0, 0), (31337, 0xABCDEF, 7, 2, 0x1001), (1, most, 2**53, 999999, most)]
    return [
        {"chain_id": c, "project": f"0x{p:040x}", "round": r, "chunk": k, "trainer": f"0x{t:040x}"}
        | {"tag": text(low(h(*map(number, (c, p, r, k, t))), 248))}
        for c, p, r, k, t in cases
    ]


def transcripts() -> list[dict[str, Any]]:
    """(N, m) with 0, 1, 2 and 3 folds; q and the claims hold the edges of the field too. Then with references."""
    most = curve_order - 1
    out = []
    for n, m, q, claims, held in (
        (3, 1, 0, [], {}),
        (3, 2, most, [(0, most)], {}),
        (5, 3, drawn(1), [(most, 0), (drawn(2), drawn(3))], {}),
        (2, 8, drawn(4), [(drawn(5), drawn(6)), (drawn(7), 1), (0, drawn(8))], {}),
        (3, 1, drawn(9), [], {"root": True}),
        (4, 2, drawn(10), [(drawn(11), drawn(12))], {"last": True}),
        (3, 3, drawn(13), [(drawn(14), 0), (1, drawn(15))], {"root": True, "last": True}),
        (3, 2, drawn(16), [(drawn(17), drawn(18))], {"root": False, "last": True}),
        (3, 2, drawn(19), [(drawn(20), drawn(21))], {"root": True, "last": False}),
    ):
        context = h(number(n), number(m))
        updates = [[point(drawn(100 * n + 10 * i + c)) for c in range(m)] for i in range(1, n + 1)]
        mask = [point(drawn(100 * n + c)) for c in range(m)]
        gram, blinding = point(drawn(99)), point(drawn(98))
        references = [
            [point(drawn(2000 + 10 * i + c)) for c in range(m)] if there else [blinding] * m
            for i, there in enumerate(held.values())
        ]

        slots = [*updates, *references, mask, [gram]]
        seed_0 = h(context, *(w for slot in slots for xy in slot for w in xy))
        seeds = [h(seed_0, number(q))]
        for a, x in claims:
            seeds.append(h(seeds[-1], number(a), number(x)))
        out.append(
            {
                "context": text(context),
                "updates": [[text(b"".join(xy)) for xy in slot] for slot in updates],
                "references": {
                    name: [text(b"".join(xy)) for xy in slot] if there else None
                    for (name, there), slot in zip(held.items(), references, strict=True)
                },
                "blinding": text(b"".join(blinding)),
                "mask": [text(b"".join(xy)) for xy in mask],
                "gram": text(b"".join(gram)),
                "seed_0": text(seed_0),
                "r": [text(low(h(seed_0, label("r"), number(i)), 128)) for i in range(len(slots) - 1)],
                "q": text(q),
                "claims": [[text(a), text(x)] for a, x in claims],
                "seeds": [text(seed) for seed in seeds],
                "rho": [text(low(h(s, label("rho"), number(t)), 128)) for t, s in enumerate(seeds[1:])],
            }
        )
    return out


def make() -> bytes:
    vectors = {
        "words": word_lists(),
        "round_contexts": round_contexts(),
        "chunk_tags": chunk_tags(),
        "transcripts": transcripts(),
    }
    return (json.dumps(vectors, indent=1) + "\n").encode()


if __name__ == "__main__":
    FILE.write_bytes(make())
