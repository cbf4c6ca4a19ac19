"""The projection argument's block V from its definition: all of its cells, from bits that are read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

import numpy as np
from eth_hash.auto import keccak

from tests.contracts.harness import label
from zkmarket.crypto import P

SUMS = 520


@dataclass(frozen=True)
class Case:
    """A shape: slots with data blocks, m, d0, ℓ1 − 1 and ℓ2."""

    slots: int
    chunks: int
    start: int
    height: int
    width: int

    @property
    def blocks(self) -> int:
        return self.slots * self.chunks

    @property
    def values(self) -> int:
        return self.height * self.width

    @property
    def rounds(self) -> int:
        mu = 1
        while 2**mu - (mu + 1) < self.blocks:
            mu += 1
        return mu

    @property
    def masks(self) -> list[int]:
        return [0, *(2**t for t in range(self.rounds))]

    @property
    def data(self) -> list[int]:
        return [at for at in range(2**self.rounds) if at not in self.masks][: self.blocks]

    @property
    def words(self) -> tuple[int, ...]:
        """As the library has it."""
        return self.slots, self.chunks, self.blocks, self.rounds, self.start, self.height, self.width


def bits_of(seed: bytes, row: int, sizes: Sequence[int]) -> list[list[int]]:
    """Bits of one row: each part begins with a new window of 6, and 42 windows are a hash, the lowest bits first."""
    windows = (window for word in count() for window in windows_of(seed, row, word))
    return [list(chain(*islice(windows, -(-size // 6))))[:size] for size in sizes]


def windows_of(seed: bytes, row: int, word: int) -> list[list[int]]:
    digest = keccak(seed + label("row") + row.to_bytes(32, "big") + word.to_bytes(32, "big"))
    bits = [int(bit) for bit in reversed(f"{int.from_bytes(digest, 'big'):0256b}")]
    return [bits[at : at + 6] for at in range(0, 252, 6)]


def equality(at: int, sigmas: list[int]) -> int:
    out = 1
    for k, sigma in enumerate(sigmas):
        out = out * (sigma if at >> len(sigmas) - 1 - k & 1 else 1 - sigma) % P
    return out


def dense(case: Case, seed: bytes, eta: int, sigmas: list[int]) -> list[int]:
    """V = Σ_b eq_b·V_b, all of its cells."""
    eq = {at: equality(at, sigmas) for at in [*case.masks, *case.data]}
    cells = np.zeros((case.height, case.width), object)
    for row in range(1, SUMS + 1):
        s, a, b = bits_of(seed, row, (case.blocks, case.height, case.width))
        weight = pow(eta, row, P) * sum(bit * eq[at] for bit, at in zip(s, case.data, strict=True)) % P
        cells[np.ix_(np.flatnonzero(a), np.flatnonzero(b))] += weight
    out = cells.reshape(-1).tolist()
    for slot in range(case.slots):
        weight = eq[case.data[(slot + 1) * case.chunks - 1]]
        for d in range(case.start, case.values):
            power = SUMS + 1 + slot * (case.values - case.start) + d - case.start
            out[d] += weight * pow(eta, power, P)
    for row in range(1, SUMS + 1):
        out[row - 1] += eq[0] * pow(eta, row, P)
    for t, at in enumerate(case.masks):
        out[SUMS + t] += eq[at]
    return out


def at_point(values: list[int], y: int) -> int:
    total = 0
    for value in reversed(values):
        total = (total * y + value) % P
    return total
