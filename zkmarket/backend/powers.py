"""The powers of tau inside an SRS file: read, checked, derived."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..crypto import GENERATOR, INFINITY, Jacobian, P, Point, Q, add, double, is_on_curve, to_affine
from ..errors import SrsError

T = TypeVar("T")
R = TypeVar("R")

MIN_LOGROWS, MAX_LOGROWS = 6, 26
_MONTGOMERY = pow(2, 256, Q)
_UNMONTGOMERY = pow(_MONTGOMERY, -1, Q)
_G2_BYTES = 256
_TWO_ADICITY = 28
_ROOT = pow(7, (P - 1) >> _TWO_ADICITY, P)  # 7 generates the multiplicative group of F_p, as in halo2curves

DEVELOPMENT_TAU = (
    int.from_bytes(hashlib.sha256(b"zkmarket development SRS: insecure, tau is public").digest(), "big") % P
)


def ceremony_id(g2: bytes) -> str:
    return hashlib.sha256(g2).hexdigest()


def identity_of(path: Path) -> str:
    """The ceremony's id, read from an SRS file."""
    return ceremony_id(read_g2(path))


def read_logrows(path: Path) -> int:
    with path.open("rb") as file:
        logrows = int.from_bytes(file.read(4), "little")
    size = path.stat().st_size
    if not 1 <= logrows <= MAX_LOGROWS or size != 4 + 128 * 2**logrows + _G2_BYTES:
        raise SrsError(f"not an SRS file, or cut short: {path} ({size} bytes, says 2^{logrows} rows)")
    return logrows


def development_g2() -> bytes:
    """G2 ‖ τ·G2 of the development SRS, in the file's format."""
    limit = sys.getrecursionlimit()
    from py_ecc.optimized_bn128.optimized_curve import G2, multiply, normalize

    sys.setrecursionlimit(limit)  # py_ecc raises it so far that a deeply nested JSON file would crash the process

    out = b""
    for point in (G2, multiply(G2, DEVELOPMENT_TAU)):
        for coordinate in normalize(point):
            out += b"".join(_raw(int(c)) for c in coordinate.coeffs)
    return out


def _raw(value: int) -> bytes:
    return (value * _MONTGOMERY % Q).to_bytes(32, "little")


def _raw_point(point: Point) -> bytes:
    return _raw(point[0]) + _raw(point[1])


def _read_points(path: Path, start: int, count: int) -> list[Point]:
    with path.open("rb") as file:
        file.seek(4 + 64 * start)
        data = file.read(64 * count)
    numbers = [int.from_bytes(data[i : i + 32], "little") * _UNMONTGOMERY % Q for i in range(0, len(data), 32)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def read_g2(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-_G2_BYTES, 2)
        return file.read()


def check_structure(path: Path, logrows: int) -> None:
    """Cheap sanity: the first point is G, the second on the curve and not G. The digest says the rest."""
    first, second = _read_points(path, 0, 2)
    if first != GENERATOR or second in (GENERATOR, INFINITY) or not is_on_curve(second):
        raise SrsError(f"not a KZG SRS of BN254: {path}")


def _root_of_unity(logrows: int) -> int:
    return pow(_ROOT, 1 << (_TWO_ADICITY - logrows), P)


def powers_file(logrows: int, tau: int) -> Iterator[bytes]:
    """A whole SRS file from its trapdoor. L_i(τ) = ω^i (τ^n − 1) / (n (τ − ω^i))."""
    n = 1 << logrows
    powers, value = [], 1
    for _ in range(n):
        powers.append(value)
        value = value * tau % P
    omega, root, roots = _root_of_unity(logrows), 1, []
    for _ in range(n):
        roots.append(root)
        root = root * omega % P
    inverses = _invert_all([n * (tau - root) % P for root in roots])
    vanishing = (value - 1) % P
    lagrange = [root * vanishing % P * inverse % P for root, inverse in zip(roots, inverses, strict=True)]
    yield logrows.to_bytes(4, "little")
    yield from _in_processes(_fixed_base, powers + lagrange)
    yield development_g2()


def _invert_all(values: list[int]) -> list[int]:
    prefix, total = [], 1
    for value in values:
        prefix.append(total)
        total = total * value % P
    inverse = pow(total, -1, P)
    out = [0] * len(values)
    for i in range(len(values) - 1, -1, -1):
        out[i] = inverse * prefix[i] % P
        inverse = inverse * values[i] % P
    return out


def _in_processes(work: Callable[[list[T]], R], items: list[T]) -> Iterator[R]:
    """Map a list in order over the machine's cores, in slices."""
    size = 4096
    slices = [items[i : i + size] for i in range(0, len(items), size)]
    if len(slices) == 1:
        yield work(slices[0])
        return
    with ProcessPoolExecutor() as pool:
        yield from pool.map(work, slices)


def _fixed_base(scalars: list[int]) -> bytes:
    """scalar·G for many scalars, as raw points: one addition a byte of scalar."""
    from ..crypto import add_affine

    rows: list[list[Point]] = []
    base: Jacobian = (GENERATOR[0], GENERATOR[1], 1)
    for _ in range(32):
        multiples: list[Jacobian] = [(1, 1, 0)]
        for _ in range(255):
            multiples.append(add(multiples[-1], base))
        rows.append(to_affine(multiples))
        base = add(multiples[-1], base)
    out = []
    for value in scalars:
        total: Jacobian = (1, 1, 0)
        for row, digit in zip(rows, value.to_bytes(32, "little"), strict=True):
            if digit:
                total = add_affine(total, row[digit])
        out.append(total)
    return b"".join(_raw_point(point) for point in to_affine(out))


def derive(path: Path, logrows: int) -> Iterator[bytes]:
    """A smaller SRS file of the same ceremony."""
    n = 1 << logrows
    powers = _read_points(path, 0, n)
    yield logrows.to_bytes(4, "little")
    yield b"".join(_raw_point(p) for p in powers)
    yield b"".join(_raw_point(p) for p in lagrange_points(powers))
    yield read_g2(path)


def lagrange_points(powers: Sequence[Point]) -> list[Point]:
    """L_i(τ)·G from τ^i·G: the inverse discrete Fourier transform in the group, n log n scalar products."""
    n = len(powers)
    logrows = n.bit_length() - 1
    inverse_root = pow(_root_of_unity(logrows), -1, P)
    # decimation in frequency: natural order in, bit-reversed order out
    current: list[Jacobian] = [(x, y, 1) if (x, y) != INFINITY else (1, 1, 0) for x, y in powers]
    length = n
    while length > 1:
        half = length // 2
        step = pow(inverse_root, n // length, P)
        twiddles = [1]
        for _ in range(half - 1):
            twiddles.append(twiddles[-1] * step % P)
        differences, factors = [], []
        for start in range(0, n, length):
            for k in range(half):
                a, b = current[start + k], current[start + half + k]
                current[start + k] = add(a, b)
                differences.append(add(a, (b[0], -b[1] % Q, b[2])))
                factors.append(twiddles[k])
        products: list[Jacobian] = []
        for part in _in_processes(_multiply_all, list(zip(differences, factors, strict=True))):
            products += part
        at = 0
        for start in range(0, n, length):
            for k in range(half):
                current[start + half + k] = products[at]
                at += 1
        length = half
    scale = pow(n, -1, P)
    scaled: list[Jacobian] = []
    for part in _in_processes(_multiply_all, [(p, scale) for p in current]):
        scaled += part
    natural = [scaled[int(format(i, f"0{logrows}b")[::-1], 2)] if logrows else scaled[0] for i in range(n)]
    return to_affine(natural)


def _multiply_all(pairs: list[tuple[Jacobian, int]]) -> list[Jacobian]:
    """scalar·point for each pair, 4-bit windows."""
    out = []
    for point, scalar in pairs:
        if scalar == 1 or not point[2]:
            out.append(point)
            continue
        table: list[Jacobian] = [(1, 1, 0), point]
        for _ in range(14):
            table.append(add(table[-1], point))
        total: Jacobian = (1, 1, 0)
        for digit in scalar.to_bytes(32, "big").hex():
            total = double(double(double(double(total))))
            if digit != "0":
                total = add(total, table[int(digit, 16)])
        out.append(total)
    return out
