"""The folded Gram argument: all inner products of N committed updates, with one small proof.

Slots 1..N are updates of m chunks of C small integers, slots after them, if a project's rules need any, the reference
vectors that updates are compared with; slot 0 is the aggregator's *mask*. The commitments and C_G, a commitment to the
Gram matrix of all slots, come first; then:

    r_0..r_{N+R} ← transcript                   independent, 128 bits (powers of one r are unsound)
    w_c       = Σ_i r_i u_{i,c}                 claim: Σ_c <w_c, w_c> = q = Σ_ij r_i r_j G_ij =: T
    while chunks are left to pair (h = half of the next power of two):
        A = Σ_{c<h} <w_c, w_c>,  X = Σ_{c<h} <w_c, w_{c+h}>    sent, absorbed
        ρ ← transcript
        w_c ← w_c + ρ·w_{c+h},   T ← A + 2ρX + ρ²(T − A)

One column W = Σ k_{i,c} u_{i,c} is left, k_{i,c} being r_i times the ρ's that multiplied chunk c. The base proof
(base.py) shows that <W, W> over its values is T, and that W is this combination of the commitments. That q is right
for the G inside C_G is settlement.py's part.

Soundness error: at most 2/2^128 a challenge, times the prover's hash queries, plus binding of KZG.

Zero knowledge: the mask has chunks at the positions 0 and 2^s, uniform over the field in every value and salt, fresh
for each attempt. Those are enough: with W and the later masks given, what a fold sends is a bijective affine image of
two inner products of that fold's own mask, and W itself is uniform (tests/round/test_hidden.py counts the rank).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..build import masked_chunks
from ..crypto import P, Transcript, random_scalars
from ..errors import BackendError, ProofRejected
from .native import DIGIT_BITS, LIMB_BITS, LIMBS, Digits, inner_products

Claims = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Mask:
    """Slot 0. Secret, and used for one attempt only.

    Attributes:
        columns: by the chunk that it masks, (C + S, 32) uint8, uniform field elements.
    """

    columns: dict[int, np.ndarray] = field(repr=False)

    @classmethod
    def fresh(cls, chunks: int, size: int) -> Mask:
        """Args: size: C + S."""
        return cls({chunk: random_scalars(size) for chunk in masked_chunks(chunks)})


# ---------------------------------------------------------------- prove


@dataclass(frozen=True)
class Products:
    """Inner products of all chunks of all slots: what the Gram matrix and the folds are made of.

    Attributes:
        matrix, starts: as `native.inner_products` gives them.
        counts: digits of each slot's vector, slots 1..N+R.
        masked: chunks that slot 0 has.
    """

    matrix: np.ndarray = field(repr=False)
    starts: list[int]
    counts: tuple[int, ...]
    masked: tuple[int, ...]

    @classmethod
    def of(cls, vectors: Sequence[Digits], mask: Mask, size: int, chunks: int) -> Products:
        """Args: size: C."""
        masks = {chunk: column[:size] for chunk, column in mask.columns.items()}
        counts = tuple(vector.count for vector in vectors)
        return cls(*inner_products(vectors, masks, size, chunks), counts, tuple(masks))

    def _weights(self, r: Sequence[int]) -> np.ndarray:
        """What each row of `matrix` counts for in Σ_i r_i u_i."""
        own = [r[slot] << (DIGIT_BITS * k) for slot, count in enumerate(self.counts, start=1) for k in range(count)]
        limbs = [r[0] << (LIMB_BITS * k) for k in range(LIMBS)]
        chunks = range(len(self.starts) - 1)
        return np.array([w % P for c in chunks for w in own + (limbs if c in self.masked else [])], object)

    def gram(self) -> list[list[int]]:
        """Gram matrix of slots 0..N+R: integers, but field elements in row and column 0."""
        n, own = len(self.counts), sum(self.counts)
        slots = np.zeros((own, n), object)
        at = 0
        for slot, count in enumerate(self.counts):
            slots[at : at + count, slot] = [1 << (DIGIT_BITS * k) for k in range(count)]
            at += count
        limbs = np.array([1 << (LIMB_BITS * k) for k in range(LIMBS)], object)
        inner, cross, square = np.zeros((own, own), object), np.zeros(own, object), 0
        for chunk, start in enumerate(self.starts[:-1]):
            block = self.matrix[start : self.starts[chunk + 1], start : self.starts[chunk + 1]].astype(object)
            inner += block[:own, :own]
            if chunk in self.masked:
                cross += block[:own, own:] @ limbs
                square += limbs @ block[own:, own:] @ limbs
        inner, cross = slots.T @ inner @ slots, slots.T @ cross
        top = [int(square) % P, *(int(v) % P for v in cross)]
        return [top, *([top[i + 1], *map(int, inner[i])] for i in range(n))]

    def of_chunks(self, r: Sequence[int]) -> np.ndarray:
        """<w_c, w_c'> for all pairs of chunks: (m, m) field elements."""
        weights = self._weights(r)
        segments = list(zip(self.starts[:-1], self.starts[1:], strict=True))
        out = np.zeros((len(segments), len(segments)), object)
        for column, (start, stop) in enumerate(segments):
            along = weights * (self.matrix[:, start:stop].astype(object) @ weights[start:stop] % P)
            out[:, column] = np.add.reduceat(along, self.starts[:-1]) % P
        return out


def fold(products: np.ndarray, q: int, transcript: Transcript) -> tuple[Claims, tuple[int, ...], int]:
    """Fold the chunks, given their inner products (m, m); `transcript` has absorbed q.

    Returns the claims (A, X) and challenges of each fold, and the last claim T.
    """
    claims, rhos, claim = [], [], q
    for step, half in enumerate(halves(len(products))):
        padded = np.zeros((2 * half, 2 * half), object)
        padded[: len(products), : len(products)] = products  # a chunk without a partner pairs with zeros
        low, cross, high = padded[:half, :half], padded[:half, half:], padded[half:, half:]
        a, x = int(low.trace()) % P, int(cross.trace()) % P
        transcript.absorb(a, x)
        rho = transcript.short_challenge("rho", step)
        claim = next_claim(claim, a, x, rho)
        products = (low + rho * (cross + cross.T) + rho * rho * high) % P
        claims.append((a, x))
        rhos.append(rho)
    if int(products[0, 0]) != claim:
        raise BackendError("the last claim is not the folded column's inner product: the native arithmetic is wrong")
    return tuple(claims), tuple(rhos), claim


# ---------------------------------------------------------------- verify


def check_folds(claims: Claims, q: int, chunks: int, rhos: Sequence[int]) -> int:
    """The last claim T, which the base proof must show; `rhos` are the folds' challenges.

    Raises ProofRejected for a wrong number of folds.
    """
    steps = len(halves(chunks))
    if len(claims) != steps:
        raise ProofRejected(f"base proof has {len(claims)} fold claims: wanted {steps} for m={chunks}")
    claim = q
    for (a, x), rho in zip(claims, rhos, strict=True):
        claim = next_claim(claim, a, x, rho)
    return claim


# ---------------------------------------------------------------- both


def halves(chunks: int) -> list[int]:
    """Sizes of the lower half in each fold: m padded to a power of two, halved until one chunk is left."""
    return [1 << s for s in reversed(range((chunks - 1).bit_length()))]


def next_claim(claim: int, a: int, x: int, rho: int) -> int:
    """T ← A + 2ρX + ρ²(T − A)."""
    return (a + 2 * rho * x + rho * rho * (claim - a)) % P


def chunk_factors(chunks: int, rhos: Sequence[int]) -> list[int]:
    """For every chunk the product of the ρ's that multiplied it: of the folds whose half is a bit of its number."""
    out = []
    for chunk in range(chunks):
        product = 1
        for half, rho in zip(halves(chunks), rhos, strict=True):
            if chunk & half:
                product = product * rho % P
        out.append(product)
    return out
