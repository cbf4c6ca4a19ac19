"""The Fiat-Shamir transcript: keccak-256 over 32-byte big-endian words, the same in Python and Solidity.

It is *chained*: a challenge comes from a seed that has absorbed everything the prover chose before
it. With one fixed seed and labels only, a fold challenge would not depend on the fold's own claims,
and a false Gram matrix could be proven (tests/attacks/test_transcript_attacks.py does it).

    seed_0 = H(context ‖ points of slot 1..N, chunk by chunk ‖ points of slot 0 ‖ C_G)
    r_i    = low128 H(seed_0 ‖ "r" ‖ i)
    seed_1 = H(seed_0 ‖ q)            seed_{t+1} = H(seed_t ‖ A_t ‖ X_t)
    ρ_t    = low128 H(seed_{t+1} ‖ "rho" ‖ t)

A label is its ASCII bytes, left-aligned in a word, as Solidity's bytes32("r"). Vectors: tests/vectors/transcript.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from .errors import InputError, ProofRejected
from .field import P, Point, encode_point

LOW_128 = (1 << 128) - 1
LOW_248 = (1 << 248) - 1


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


def hash_words(*values: int | str | bytes) -> bytes:
    return keccak(b"".join(word(v) for v in values))


def digest_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


@dataclass
class Transcript:
    """The seed, and what is drawn from it. Prover and verifier run the same calls in the same order."""

    seed: bytes

    @classmethod
    def start(
        cls, context: bytes, updates: Sequence[Sequence[Point]], mask: Sequence[Point], gram: Point
    ) -> Transcript:
        """Absorb the context and every commitment: slots 1..N, then the mask (slot 0), then C_G."""
        parts = [word(context)]
        parts += [encode_point(point) for slot in updates for point in slot]
        parts += [encode_point(point) for point in mask]
        return cls(keccak(b"".join(parts) + encode_point(gram)))

    def slot_challenges(self, count: int) -> list[int]:
        """r_0..r_N: independent, 128 bits each."""
        return [digest_int(hash_words(self.seed, "r", i)) & LOW_128 for i in range(count)]

    def absorb(self, *scalars: int) -> None:
        self.seed = keccak(self.seed + b"".join(scalar(v) for v in scalars))

    def fold_challenge(self, step: int) -> int:
        """ρ_t, drawn after `absorb(A_t, X_t)`."""
        return digest_int(hash_words(self.seed, "rho", step)) & LOW_128


def chunk_tag(chain_id: int, project: int, round_number: int, chunk: int, trainer: int) -> int:
    """What ties a range proof to its one trainer, round and chunk: low 248 bits, so it is a field element."""
    return digest_int(hash_words(chain_id, project, round_number, chunk, trainer)) & LOW_248


def digest_words(values: Iterable[int | str | bytes]) -> bytes:
    """Digest of a list of words of any length, bound to its length."""
    items = list(values)
    return hash_words(len(items), *items)
