"""What a proof tells of its lookups, for whoever reads it: the tools of an attacker who has the proof and the SRS.

ezkl's lookup argument (logarithmic derivatives) commits to the multiplicity of every table row, without
blinding, one commitment for every table and block of columns. What was found by trying it, and is asserted in
test_histogram_attack.py:

- the table is filled from row 0 in ascending order, and the rest of the usable rows with its first value again;
  of equal rows the last one counts: the first value is at the last usable row;
- every usable row of a block looks something up: where no value does, the table's first value;
- the unusable rows of the multiplicities are 0 (those of a committed input are 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zkmarket.backend import Proof, usable_rows
from zkmarket.crypto import Jacobian, P, Point, Q, add_affine, is_on_curve, multiply_add, to_affine

_UNMONTGOMERY = pow(pow(2, 256, Q), -1, Q)


def points_of(proof: Proof) -> list[Point]:
    """Every commitment of a proof: points come first, then evaluations (which are no points of the curve)."""
    out: list[Point] = []
    while True:
        part = proof.data[64 * len(out) : 64 * len(out) + 64]
        point = (int.from_bytes(part[:32], "big"), int.from_bytes(part[32:], "big"))
        if len(part) < 64 or max(point) >= Q or not is_on_curve(point):
            return out
        out.append(point)


@dataclass(frozen=True)
class Basis:
    """The Lagrange points of an SRS file: what a value in a row adds to a column's commitment."""

    path: Path
    logrows: int

    @cached_property
    def points(self) -> list[Point]:
        n = 1 << self.logrows
        data = self.path.read_bytes()[4 + 64 * n : 4 + 128 * n]
        numbers = [int.from_bytes(data[i : i + 32], "little") * _UNMONTGOMERY % Q for i in range(0, len(data), 32)]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    @property
    def last(self) -> int:
        return usable_rows(self.logrows) - 1

    def commit(self, rows: dict[int, int]) -> Point:
        return multiply_add([self.points[row] for row in rows], list(rows.values()))


@dataclass(frozen=True)
class Table:
    """One lookup table of consecutive integers, in one column."""

    basis: Basis
    first: int
    size: int

    def row(self, value: int) -> int:
        assert self.first <= value < self.first + self.size
        return self.basis.last if value == self.first else value - self.first

    def multiplicities(self, values: Iterable[int]) -> Counter[int]:
        """Table row to count, for one block of columns: these values, and the first value in all other rows."""
        rows = Counter(self.row(value) for value in values)
        rows[self.basis.last] += self.basis.last + 1 - rows.total()
        return rows

    def commit(self, values: Iterable[int]) -> Point:
        return self.basis.commit(self.multiplicities(values))

    def recover_two(self, points: Sequence[Point], known: Sequence[int]) -> list[tuple[int, int]]:
        """The two values that were looked up beside the known ones, for each point that is such a commitment.

        Meet in the middle: point − Com(known, and two rows short) − L_a is some L_b.
        """
        rows = self.multiplicities(known)
        rows[self.basis.last] -= 2
        minus = negated(self.basis.commit(rows))
        values = range(self.first, self.first + self.size)
        row_points = {self.basis.points[self.row(value)]: value for value in values}
        negative = [negated(self.basis.points[self.row(value)]) for value in values]
        found = []
        for point in points:
            target = add_affine((*point, 1), minus)
            rest = to_affine([add_affine(target, other) for other in negative])
            found += [(a, row_points[b]) for a, b in zip(values, rest, strict=True) if row_points.get(b, a - 1) >= a]
        return found


def negated(point: Point) -> Point:
    return point[0], -point[1] % Q


def sign_counts(basis: Basis, proofs: Sequence[Iterable[Point]], most: int) -> list[list[tuple[int, int]]]:
    """(zeros, ones) of each point of each proof that commits to the multiplicities of the table −1, 0, 1.

    Brute force over all small counts, once for all proofs.
    """
    table = Table(basis, -1, 3)
    step = multiply_add([basis.points[table.row(1)], basis.points[table.row(-1)]], [1, P - 1])
    counts: dict[Point, tuple[int, int]] = {}
    for zeros in range(8):
        line: list[Jacobian] = [(*table.commit([0] * zeros), 1)]
        for _ in range(most):
            line.append(add_affine(line[-1], step))
        counts |= {point: (zeros, ones) for ones, point in enumerate(to_affine(line))}
    return [[counts[point] for point in points if point in counts] for points in proofs]
