"""The structured reference string: where it comes from, and that it is what it says.

An SRS file is halo2's raw format: K as 4 bytes little-endian; 2^K points τ^i·G; 2^K points L_i(τ)·G;
then G2 and τ·G2. Whoever knows τ can prove anything, so the kind of an SRS is part of everything
that is made with it:

- ``ceremony``: a file whose SHA-256 is in ezkl's published list (perpetual powers of tau).
- ``imported``: a file whose digest the user vouched for.
- ``development``: τ is a public constant. Insecure by design, the same on every machine, so that
  development keys are reproducible. Never accepted as anything else.

Files of one ceremony share τ·G2; the SHA-256 of the two G2 points is the ceremony's ``id``. A store
holds one folder a ceremony. A smaller size is derived from a larger one where it is missing: the
powers are a prefix, the Lagrange points are their inverse group FFT.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import backend
from .errors import InputError, SrsError
from .field import GENERATOR, INFINITY, Jacobian, P, Point, Q, _add, _double, is_on_curve, to_affine
from .files import atomic_write, cache_folder, replacing, sha256_file

KINDS = ("ceremony", "imported", "development")
MIN_LOGROWS, MAX_LOGROWS = 6, 26
_MONTGOMERY = pow(2, 256, Q)
_UNMONTGOMERY = pow(_MONTGOMERY, -1, Q)
_G2_BYTES = 256
_TWO_ADICITY = 28
_ROOT = pow(7, (P - 1) >> _TWO_ADICITY, P)  # 7 generates the multiplicative group of F_p, as in halo2curves

DEVELOPMENT_TAU = (
    int.from_bytes(hashlib.sha256(b"zkmarket development SRS: insecure, tau is public").digest(), "big") % P
)

WARNING = "INSECURE development SRS: its trapdoor is public, anyone can forge proofs made with it"


@dataclass(frozen=True)
class Srs:
    """One ceremony in the local store."""

    kind: str
    id: str
    folder: Path

    @property
    def insecure(self) -> bool:
        return self.kind == "development"

    def sizes(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("kzg")) for path in self.folder.glob("kzg*.srs"))

    def path(self, logrows: int, progress: backend.Progress = backend.quiet) -> Path:
        """The file of exactly this size, made from what is there if need be."""
        path = self.folder / f"kzg{logrows}.srs"
        if not path.exists():
            if self.kind == "development":
                progress(f"development SRS of 2^{logrows} rows")
                atomic_write(path, b"".join(_powers_file(logrows, DEVELOPMENT_TAU)))
            else:
                larger = [size for size in self.sizes() if size > logrows]
                if not larger:
                    raise SrsError(
                        f"the {self.kind} SRS {self.id[:8]} has no file of 2^{logrows} rows or more (it has"
                        f" {self.sizes()}): run `zkmarket srs fetch --logrows {logrows}` or `zkmarket srs import FILE`"
                    )
                progress(f"deriving the SRS of 2^{logrows} rows from 2^{larger[0]}: group FFT, once")
                atomic_write(path, b"".join(_derive(self.folder / f"kzg{larger[0]}.srs", logrows)))
        return path


def store() -> Path:
    return cache_folder() / "srs"


def installed() -> list[Srs]:
    """Every ceremony in the store, the most trustworthy kind first."""
    found = []
    for info in store().glob("*/srs.json"):
        try:
            value = json.loads(info.read_text())
            found.append(Srs(KINDS[KINDS.index(value["kind"])], str(value["id"]), info.parent))
        except (ValueError, KeyError, TypeError) as error:
            raise SrsError(f"{info} is damaged ({error!r}): delete its folder and install the SRS again") from error
    return sorted(found, key=lambda srs: KINDS.index(srs.kind))


def select(kind: str | None = None) -> Srs:
    """The SRS to build with: of the kind asked for, or the most trustworthy there is."""
    for srs in installed():
        if kind in (None, srs.kind):
            return srs
    raise SrsError(
        f"no {kind or ''} SRS is installed in {store()}: run `zkmarket srs fetch` (ceremony),"
        " `zkmarket srs import FILE`, or `zkmarket srs generate` (development, insecure)".replace("no  SRS", "no SRS")
    )


def by_id(identity: str) -> Srs:
    for srs in installed():
        if srs.id == identity:
            return srs
    if identity == ceremony_id(development_g2()):
        return generate()
    raise SrsError(
        f"the SRS {identity[:8]} of this build is not in {store()}: run `zkmarket srs fetch` or `zkmarket srs import`"
    )


def generate(logrows: int | None = None, progress: backend.Progress = backend.quiet) -> Srs:
    """The development SRS, made here from its public trapdoor; files of each size as they are needed."""
    srs = _register("development", ceremony_id(development_g2()))
    if logrows is not None:
        srs.path(logrows, progress)
    return srs


def fetch(logrows: int, progress: backend.Progress = backend.quiet) -> Srs:
    """Download the ceremony's file of one size and check it against ezkl's published digest."""
    published = published_digests()
    if str(logrows) not in published:
        raise InputError(f"the ceremony has files of 2^1 to 2^26 rows: got logrows {logrows}")
    store().mkdir(parents=True, exist_ok=True)
    partial = store() / f"download-{os.getpid()}.srs"
    try:
        progress(f"downloading the ceremony's file of 2^{logrows} rows")
        try:
            backend.fetch_srs(logrows, partial)
        except backend.BackendError as error:
            raise SrsError(
                f"the ceremony's file of 2^{logrows} rows could not be downloaded ({error}):"
                " bring it from another machine and run `zkmarket srs import FILE`"
            ) from error
        return import_file(partial)
    finally:
        partial.unlink(missing_ok=True)


def import_file(path: Path, digest: str | None = None) -> Srs:
    """Take a file into the store, if its SHA-256 is the published one of its size or the one given.

    Raises:
        SrsError: damaged, of an unknown digest, or the development SRS under another name.
    """
    if not path.is_file():
        raise SrsError(f"no such SRS file: {path}")
    logrows = read_logrows(path)
    actual = sha256_file(path)
    published = published_digests().get(str(logrows))
    if digest is not None and actual != digest.lower().removeprefix("0x"):
        raise SrsError(f"SRS digest is not the one given: got {actual}, wanted {digest}")
    if actual == published:
        kind = "ceremony"
    elif digest is not None:
        kind = "imported"
    else:
        raise SrsError(
            f"SRS digest is not the published one for 2^{logrows} rows: got {actual}, wanted {published};"
            " if you trust this file, give its digest with --digest"
        )
    _check_structure(path, logrows)
    g2 = _read_g2(path)
    if g2 == development_g2():
        kind = "development"
    srs = _register(kind, ceremony_id(g2))
    target = srs.folder / f"kzg{logrows}.srs"
    if not target.exists():
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            if sha256_file(temporary) != actual:
                raise SrsError(f"{path} changed while it was imported: try again")
    return srs


def ceremony_id(g2: bytes) -> str:
    return hashlib.sha256(g2).hexdigest()


def identity_of(path: Path) -> str:
    """The ceremony's id, read from an SRS file."""
    return ceremony_id(_read_g2(path))


def read_logrows(path: Path) -> int:
    with path.open("rb") as file:
        logrows = int.from_bytes(file.read(4), "little")
    size = path.stat().st_size
    if not 1 <= logrows <= MAX_LOGROWS or size != 4 + 128 * 2**logrows + _G2_BYTES:
        raise SrsError(f"not an SRS file, or cut short: {path} ({size} bytes, says 2^{logrows} rows)")
    return logrows


def published_digests() -> dict[str, str]:
    """SHA-256 of the ceremony's files by logrows, as ezkl publishes them."""
    return json.loads((Path(__file__).parent / "ceremony.json").read_text())["sha256"]


def development_g2() -> bytes:
    """G2 ‖ τ·G2 of the development SRS, in the file's format."""
    limit = sys.getrecursionlimit()
    from py_ecc.optimized_bn128 import G2, multiply, normalize

    sys.setrecursionlimit(limit)  # py_ecc raises it so far that a deeply nested JSON file would crash the process

    out = b""
    for point in (G2, multiply(G2, DEVELOPMENT_TAU)):
        for coordinate in normalize(point):
            out += b"".join(_raw(int(c)) for c in coordinate.coeffs)
    return out


# ---------------------------------------------------------------- inside


def _register(kind: str, identity: str) -> Srs:
    folder = store() / f"{kind}-{identity[:16]}"
    info = folder / "srs.json"
    if not info.exists():
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(info, json.dumps({"kind": kind, "id": identity}).encode())
    return Srs(kind, identity, folder)


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


def _read_g2(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-_G2_BYTES, 2)
        return file.read()


def _check_structure(path: Path, logrows: int) -> None:
    """Cheap sanity: the first point is G, the second on the curve and not G. The digest says the rest."""
    first, second = _read_points(path, 0, 2)
    if first != GENERATOR or second in (GENERATOR, INFINITY) or not is_on_curve(second):
        raise SrsError(f"not a KZG SRS of BN254: {path}")


def _root_of_unity(logrows: int) -> int:
    return pow(_ROOT, 1 << (_TWO_ADICITY - logrows), P)


def _powers_file(logrows: int, tau: int) -> Iterator[bytes]:
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


def _in_processes(work: Callable[[list], list | bytes], items: list) -> Iterator:
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
    from .field import _add_affine

    rows, base = [], (GENERATOR[0], GENERATOR[1], 1)
    for _ in range(32):
        row, point = [], (1, 1, 0)
        for _ in range(256):
            row.append(point)
            point = _add(point, base)
        rows.append(to_affine(row))
        base = point
    out = []
    for value in scalars:
        total: Jacobian = (1, 1, 0)
        for row, digit in zip(rows, value.to_bytes(32, "little"), strict=True):
            if digit:
                total = _add_affine(total, row[digit])
        out.append(total)
    return b"".join(_raw_point(point) for point in to_affine(out))


def _derive(path: Path, logrows: int) -> Iterator[bytes]:
    """A smaller SRS file of the same ceremony."""
    n = 1 << logrows
    powers = _read_points(path, 0, n)
    yield logrows.to_bytes(4, "little")
    yield b"".join(_raw_point(p) for p in powers)
    yield b"".join(_raw_point(p) for p in lagrange_points(powers))
    yield _read_g2(path)


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
                current[start + k] = _add(a, b)
                differences.append(_add(a, (b[0], -b[1] % Q, b[2])))
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
            table.append(_add(table[-1], point))
        total: Jacobian = (1, 1, 0)
        for digit in scalar.to_bytes(32, "big").hex():
            total = _double(_double(_double(_double(total))))
            if digit != "0":
                total = _add(total, table[int(digit, 16)])
        out.append(total)
    return out
