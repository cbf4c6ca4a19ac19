"""The Fiat-Shamir transcript: keccak-256 over 32-byte big-endian words, the same in Python and Solidity.

It is *chained*: a challenge comes from a seed that has absorbed everything the prover chose before
it. With one fixed seed and labels only, a fold challenge would not depend on the fold's own claims,
and a false Gram matrix could be proven (tests/attacks does it, and what each other omission would allow).

    seed_0 = H(context ‖ points of slots 1..N+R, chunk by chunk ‖ points of slot 0 ‖ P_0..P_μ ‖ C_G)
             r_i, and the bits of rows, ← seed_0
    seed   = H(seed_0 ‖ q ‖ t_0 ‖ H(z))                 η ← seed
    seed   ← H(seed ‖ A ‖ X)                            ρ ← seed, each fold of the Gram argument
    seed   ← H(seed ‖ g_0 ‖ x)                          σ ← seed, each round of the projection's sumcheck
    seed   ← H(seed ‖ P_W ‖ P_U ‖ P_V)                  τ, y ← seed

    challenge = H(seed ‖ label ‖ index): mod p for η, σ, τ, y; its low 128 bits for r and ρ

A label is its ASCII bytes, left-aligned in a word, as Solidity's bytes32("r"). As a number it exceeds p, and so cannot
be an absorbed field element: that separates a challenge from an absorption. Vectors: tests/vectors/transcript.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eth_hash.auto import keccak

from ..errors import InputError, ProofRejected
from .bn254 import P, Point, encode_point

LOW_128 = (1 << 128) - 1
LABELS = ("r", "rho", "row", "eta", "sigma", "tau", "y")


def word(value: int | str | bytes) -> bytes:
    """One 32-byte word: an unsigned int, a label (str), or 32 bytes as they are."""
    if isinstance(value, int):
        if not 0 <= value < 1 << 256:
            raise InputError(f"a transcript word is an unsigned 256-bit integer: got {value}")
        return value.to_bytes(32, "big")
    if isinstance(value, str) and not value.isascii():
        raise InputError(f"a transcript label is ASCII: got {value!r}")
    data = value.encode("ascii") if isinstance(value, str) else value
    if len(data) > 32 or (isinstance(value, bytes) and len(data) != 32):
        raise InputError(f"a transcript word is 32 bytes: got {len(data)}")
    return data.ljust(32, b"\0")


def scalar(value: int) -> bytes:
    """A field element as a word; refused unless canonical, so that one value has one encoding."""
    if not 0 <= value < P:
        raise ProofRejected(f"field element is not canonical: wanted 0 <= x < p, got {value}")
    return word(value)


def hash_input(*values: int | str | bytes) -> bytes:
    return b"".join(word(v) for v in values)


def hash_words(*values: int | str | bytes) -> bytes:
    return keccak(hash_input(*values))


def digest_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


@dataclass
class Transcript:
    """The seed, and what is drawn from it. Prover and verifier run the same calls in the same order."""

    seed: bytes

    @classmethod
    def start(cls, context: bytes, points: Iterable[Point]) -> Transcript:
        """Absorb the context and every commitment, in the order above."""
        return cls(keccak(word(context) + b"".join(map(encode_point, points))))

    def slot_challenges(self, count: int) -> list[int]:
        """r_0..r_{N+R}: independent, 128 bits each. Powers of one r would be unsound."""
        return [self.short_challenge("r", slot) for slot in range(count)]

    def row_hash(self, row: int, counter: int) -> bytes:
        """Of these bits come the weights of one row of the projection."""
        return hash_words(self.seed, "row", row, counter)

    def short_challenge(self, label: str, index: int = 0) -> int:
        """128 bits."""
        return digest_int(hash_words(self.seed, label, index)) & LOW_128

    def challenge(self, label: str, index: int = 0) -> int:
        """A field element."""
        return digest_int(hash_words(self.seed, label, index)) % P

    def absorb(self, *scalars: int) -> None:
        """Field elements; refused unless canonical."""
        self.seed = keccak(self.seed + b"".join(scalar(v) for v in scalars))

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        """What the prover answers to the first challenges: the Gram claim, and the rows' sums."""
        self.seed = keccak(self.seed + scalar(q) + scalar(t0) + keccak(z))

    def absorb_points(self, points: Iterable[bytes]) -> None:
        """Points of 64 bytes each, as they stand in a proof."""
        self.seed = keccak(self.seed + b"".join(points))


def update_digest(
    label: str, chain_id: int, project: int, round_number: int, author: int, points: Iterable[Point]
) -> bytes:
    """What is submitted of an update ("update") or of the owner's ("root"): a digest that names its author.

    A copy of another's is worthless, and nobody sees another's points before all have submitted.
    """
    words = hash_input(label, chain_id, project, round_number, author)
    return keccak(words + b"".join(map(encode_point, points)))


def points_hash(points: Iterable[Point]) -> bytes:
    """How a contract keeps a commitment: keccak of its words."""
    return keccak(b"".join(map(encode_point, points)))


def digest_words(values: Iterable[int | str | bytes]) -> bytes:
    """Digest of a list of words of any length, bound to its length."""
    items = list(values)
    return hash_words(len(items), *items)


assert all(digest_int(word(label)) >= P for label in LABELS)  # no absorbed field element looks like a label
