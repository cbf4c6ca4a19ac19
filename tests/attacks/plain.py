"""A prover of both arguments from their definitions, with a place for every lie.

Everything is a list of Python integers, so that a column may hold any field elements, as a malicious trainer and an
aggregator may choose them together. What is honest here is what the two arguments are defined to be; what a forger does
otherwise overrides one method. The verifier is the engine's, base.verify, with the transcript that a test gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.ideal import Ideal, Sent, Update, started
from zkmarket.build import FLOOD_BITS, Z_BITS, masked_chunks
from zkmarket.crypto import P, Transcript, dot, random_scalars, to_ints
from zkmarket.round import BaseProof, Points, Weights, gram, powers_of, projection

Column = list[int]
Entries = Mapping[tuple[int, int, int], int]
CENTRE = P // 2


class Prover:
    """One attempt.

    Attributes:
        kind: the transcript, weak where a test says so.
        slots: m columns of C + S field elements each, of slots 1..N+R.
    """

    kind: type[Transcript] = Transcript

    def __init__(self, ideal: Ideal, updates: Sequence[Update], entries: Entries | None = None):
        """Args: entries: of data blocks, by slot, chunk and cell, in the place of the updates' own."""
        self.ideal, self.shape = ideal, ideal.shape
        self.slots = [update.columns(ideal) for update in updates]
        for (slot, chunk, cell), value in (entries or {}).items():
            self.slots[slot - 1][chunk][cell] = value % P
        size = self.shape.values + ideal.salts
        self.mask = {chunk: to_ints(random_scalars(size)) for chunk in masked_chunks(self.shape.chunks)}
        self.masks = [to_ints(random_scalars(size)) for _ in self.shape.mask_positions]
        flood = [value % (2 << FLOOD_BITS) - (1 << FLOOD_BITS) for value in self.masks[0][: self.shape.sums]]
        self.masks[0][: self.shape.sums] = [value % P for value in flood]
        self.points = Points(
            tuple(tuple(map(ideal.point, slot)) for slot in self.slots),
            tuple(map(ideal.point, self.mask.values())),
            tuple(map(ideal.point, self.masks)),
        )

    # ------------------------------------------------------------ what a forger may do otherwise

    def weights(self, transcript: Transcript) -> Weights:
        return Weights.of(self.shape, transcript)

    def tail_factor(self, slot: int, eta: int) -> int:
        """What the padding of a slot counts, the first cell of it."""
        first, size = self.shape.tail
        return pow(eta, self.shape.sums + 1 + slot * (size - first), P)

    def q(self, q: int) -> int:
        return q

    def answers(self, true: list[int], transcript: Transcript) -> list[int]:
        return true

    def first_mask_claim(self, t0: int, true: list[int], sent: list[int], transcript: Transcript) -> int:
        return t0

    def message(self, g0: int, x: int, g1: int, claim: int, step: int, transcript: Transcript) -> tuple[int, int]:
        """g0, x, g1 are the true ones; the claim is g0 + g1 if nothing before was false."""
        return g0, x

    def columns(self, w: Column, u: Column, v: Column, claim: int, transcript: Transcript) -> list[Column]:
        """The base proof's columns, given the true ones; the claim is <U, V> if nothing before was false."""
        return [w, u, v]

    # ------------------------------------------------------------ the two arguments

    def started(self) -> tuple[Transcript, list[int]]:
        return started(self.ideal, self.points, self.kind)

    def blocks(self) -> dict[int, Column]:
        """U_b by position."""
        shape = self.shape
        data = [column for slot in self.slots[: shape.slots] for column in slot]
        return dict(zip(shape.data_positions, data, strict=True)) | dict(
            zip(shape.mask_positions, self.masks, strict=True)
        )

    def row(self, weights: Weights, row: int) -> int:
        """y_j + Σ_b s_{j,b} a_jᵀ U_b b_j, centred mod p."""
        total, width = self.masks[0][row], self.shape.width
        down, along = weights.left[:, row].nonzero()[0].tolist(), weights.right[:, row].nonzero()[0].tolist()
        blocks = self.blocks()
        for at, bit in zip(self.shape.data_positions, weights.blocks[row].tolist(), strict=True):
            if bit:
                total += sum(blocks[at][d1 * width + d2] for d1 in down for d2 in along)
        return (total + CENTRE) % P - CENTRE

    def public_blocks(self, weights: Weights, eta: int) -> dict[int, Column]:
        """V_b by position."""
        shape = self.shape
        cells = self.ideal.cells
        out = {at: [0] * cells for at in shape.mask_positions + shape.data_positions}
        for row in range(shape.sums):
            power = pow(eta, row + 1, P)
            down, along = weights.left[:, row].nonzero()[0].tolist(), weights.right[:, row].nonzero()[0].tolist()
            for at, bit in zip(shape.data_positions, weights.blocks[row].tolist(), strict=True):
                if bit:
                    for d1 in down:
                        for d2 in along:
                            out[at][d1 * shape.width + d2] += power
            out[0][row] += power
        first, size = shape.tail
        for slot, block in enumerate(shape.last_chunks):
            factor = self.tail_factor(slot, eta)
            for cell in range(first, size):
                out[shape.data_positions[block]][cell] += factor * pow(eta, cell - first, P)
        for t, at in enumerate(shape.mask_positions):
            out[at][shape.sums + t] += 1
        return out

    def combined(self, r: Sequence[int]) -> list[Column]:
        """w_c = Σ_i r_i u_{i,c} of every chunk."""
        out = []
        for chunk in range(self.shape.chunks):
            parts = [(k, slot[chunk]) for k, slot in zip(r[1:], self.slots, strict=True)]
            parts += [(r[0], self.mask[chunk])] if chunk in self.mask else []
            size = len(self.slots[0][0])
            out.append([sum(k * part[cell] for k, part in parts) % P for cell in range(size)])
        return out

    def fold(self, columns: list[Column], q: int, transcript: Transcript) -> tuple[gram.Claims, Column]:
        size, claims, claim = self.shape.values, [], q
        for step, half in enumerate(gram.halves(len(columns))):
            zeros = [0] * len(columns[0])
            low, high = columns[:half], [*columns[half:], *[zeros] * (2 * half - len(columns))]
            a = sum(dot(w[:size], w[:size]) for w in low) % P
            x = sum(dot(lo[:size], hi[:size]) for lo, hi in zip(low, high, strict=True)) % P
            transcript.absorb(a, x)
            rho = transcript.short_challenge("rho", step)
            columns = [add(lo, hi, rho) for lo, hi in zip(low, high, strict=True)]
            claim = gram.next_claim(claim, a, x, rho)
            claims.append((a, x))
        return tuple(claims), columns[0]

    def sent(self) -> Sent:
        shape, ideal = self.shape, self.ideal
        transcript, r = self.started()
        weights = self.weights(transcript)
        combined = self.combined(r)
        q = self.q(sum(dot(w[: shape.values], w[: shape.values]) for w in combined) % P)
        self.sent_q = q
        true = [self.row(weights, row) for row in range(shape.sums)]
        answers = self.answers(true, transcript)
        t0 = sum(mask[shape.sums + t] for t, mask in enumerate(self.masks)) % P
        t0 = self.first_mask_claim(t0, true, answers, transcript)
        z = projection.pack(answers)
        transcript.absorb_projection(q, t0, z)
        eta = transcript.challenge("eta")
        claims, w = self.fold(combined, q, transcript)

        blocks, public = self.blocks(), self.public_blocks(weights, eta)
        zeros = [0] * ideal.cells
        own = [pad(blocks.get(at, []), ideal.cells) for at in range(1 << shape.rounds)]
        other = [public.get(at, zeros) for at in range(1 << shape.rounds)]
        claim = projection.first_claim(shape, z, t0, eta)
        rounds = []
        while len(own) > 1:
            half = len(own) // 2
            g0 = inner(own[:half], other[:half])
            x = (inner(own[:half], other[half:]) + inner(own[half:], other[:half])) % P
            g0, x = self.message(g0, x, inner(own[half:], other[half:]), claim, len(rounds), transcript)
            transcript.absorb(g0, x)
            sigma = transcript.challenge("sigma", len(rounds))
            claim = projection.next_claim(claim, g0, x, sigma)
            own = [mix(lo, hi, sigma) for lo, hi in zip(own[:half], own[half:], strict=True)]
            other = [mix(lo, hi, sigma) for lo, hi in zip(other[:half], other[half:], strict=True)]
            rounds.append((g0, x))

        columns = self.columns(pad(w, ideal.cells), own[0], other[0], claim, transcript)
        transcript.absorb_points(ideal.points(columns))
        y = transcript.challenge("y")
        proof = ideal.prove_columns([*columns, powers_of(y, ideal.manifest.logrows)])
        return Sent(self.points, BaseProof(t0, z, claims, tuple(rounds), proof), q)


class Clamped(Prover):
    """Sends 5 for every answer that is too large."""

    def answers(self, true: list[int], transcript: Transcript) -> list[int]:
        return [value if abs(value) < 1 << Z_BITS else 5 for value in true]


def pad(column: Sequence[int], cells: int) -> Column:
    return [*column, *[0] * (cells - len(column))]


def add(low: Column, high: Column, factor: int) -> Column:
    """low + factor·high."""
    return [(a + factor * b) % P for a, b in zip(low, high, strict=True)]


def mix(low: Column, high: Column, sigma: int) -> Column:
    """low + σ·(high − low)."""
    return [(a + sigma * (b - a)) % P for a, b in zip(low, high, strict=True)]


def inner(left: Sequence[Column], right: Sequence[Column]) -> int:
    return sum(dot(a, b) for a, b in zip(left, right, strict=True)) % P
