"""Equations mod p that forgers solve."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from zkmarket.crypto import P, dot


def uniform_in_kernel(rows: list[list[int]]) -> list[int]:
    """Gaussian elimination mod p; the free unknowns are drawn."""
    rows, pivots = [list(row) for row in rows], []
    for column in range(len(rows[0])):
        at = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if at is None:
            continue
        top = len(pivots)
        rows[top], rows[at] = rows[at], rows[top]
        inverse = pow(rows[top][column], -1, P)
        rows[top] = [value * inverse % P for value in rows[top]]
        for i, row in enumerate(rows):
            if i != top and row[column]:
                rows[i] = [(a - row[column] * b) % P for a, b in zip(row, rows[top], strict=True)]
        pivots.append(column)
    out = [0 if column in pivots else secrets.randbelow(P) for column in range(len(rows[0]))]
    for row, column in zip(rows, pivots, strict=False):
        out[column] = -dot(row, out) % P
    return out


def short_solution(eta: int, target: int) -> list[int]:
    """(z_1, z_2, z_3) of about 2^86 with η z_1 + η² z_2 + η³ z_3 = target mod p: LLL, and Babai's rounding."""
    eta2, eta3 = eta * eta % P, pow(eta, 3, P)
    basis = [[P, 0, 0], [-eta2 * pow(eta, -1, P) % P, 1, 0], [-eta3 * pow(eta, -1, P) % P, 0, 1]]
    basis = lll(basis)
    at = [Fraction(target * pow(eta, -1, P) % P), Fraction(0), Fraction(0)]
    left = list(at)
    for vector, orthogonal in reversed(list(zip(basis, gram_schmidt(basis), strict=True))):
        k = round(product(left, orthogonal) / product(orthogonal, orthogonal))
        left = [a - k * b for a, b in zip(left, vector, strict=True)]
    out = [int(value) for value in left]
    assert (eta * out[0] + eta2 * out[1] + eta3 * out[2] - target) % P == 0
    return out


def product(a: Sequence[Any], b: Sequence[Any]) -> Fraction:
    return sum((Fraction(x) * y for x, y in zip(a, b, strict=True)), Fraction(0))


def gram_schmidt(basis: list[list[int]]) -> list[list[Fraction]]:
    out: list[list[Fraction]] = []
    for vector in basis:
        left = [Fraction(value) for value in vector]
        for other in out:
            k = product(vector, other) / product(other, other)
            left = [a - k * b for a, b in zip(left, other, strict=True)]
        out.append(left)
    return out


def lll(basis: list[list[int]]) -> list[list[int]]:
    """The textbook's, which is quick enough in three dimensions."""
    k = 1
    while k < len(basis):
        for j in reversed(range(k)):
            other = gram_schmidt(basis)[j]
            times = round(product(basis[k], other) / product(other, other))
            basis[k] = [a - times * b for a, b in zip(basis[k], basis[j], strict=True)]
        orthogonal = gram_schmidt(basis)
        before = product(orthogonal[k - 1], orthogonal[k - 1])
        mu = product(basis[k], orthogonal[k - 1]) / before
        if product(orthogonal[k], orthogonal[k]) >= (Fraction(3, 4) - mu * mu) * before:
            k += 1
        else:
            basis[k - 1], basis[k] = basis[k], basis[k - 1]
            k = max(k - 1, 1)
    return basis


def isotropic(v: list[int], w: list[int], amount: int) -> list[int]:
    """Some e with <e, v> = amount, <e, w> = 0 and <e, e> = 0.

    Two linear equations and a quadratic one, in four cells.
    """
    while True:
        cells = random.sample(range(len(v)), 4)
        a, b = [v[c] for c in cells], [w[c] for c in cells]
        determinant = (a[0] * b[1] - a[1] * b[0]) % P
        if not determinant:
            continue

        inverse = pow(determinant, -1, P)

        def completed(third: int, fourth: int, amount: int, a=a, b=b, inverse=inverse) -> list[int]:
            """The first two of four, given the others."""
            right = (amount - a[2] * third - a[3] * fourth), (-b[2] * third - b[3] * fourth)
            first = (right[0] * b[1] - a[1] * right[1]) * inverse % P
            return [first, (a[0] * right[1] - right[0] * b[0]) * inverse % P, third, fourth]

        start, along = completed(0, secrets.randbelow(P), amount), completed(1, 0, 0)
        root = square_root((dot(start, along) ** 2 - dot(along, along) * dot(start, start)) % P)
        if root is None or not dot(along, along):
            continue
        s = (root - dot(start, along)) * pow(dot(along, along), -1, P) % P
        out = [0] * len(v)
        for cell, one, two in zip(cells, start, along, strict=True):
            out[cell] = (one + s * two) % P
        assert (dot(out, v), dot(out, w), dot(out, out)) == (amount, 0, 0)
        return out


def square_root(n: int) -> int | None:
    """Mod p, by Cipolla's algorithm; None of what is no square."""
    if pow(n, (P - 1) // 2, P) != 1:
        return None
    a = next(a for a in range(1, 1000) if pow(a * a - n, (P - 1) // 2, P) == P - 1)
    square = (a * a - n) % P

    def times(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
        return (x[0] * y[0] + x[1] * y[1] * square) % P, (x[0] * y[1] + x[1] * y[0]) % P

    out, base = (1, 0), (a, 1)
    for bit in bin((P + 1) // 2)[:1:-1]:
        out = times(out, base) if bit == "1" else out
        base = times(base, base)
    assert out[0] * out[0] % P == n
    return out[0]
