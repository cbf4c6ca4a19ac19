"""The structured reference string: made here, derived, imported, and never taken for what it is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ezkl
import pytest
from py_ecc.optimized_bn128 import G1, G2, b, b2, is_on_curve, multiply, normalize, pairing

from zkmarket.backend import (
    DEVELOPMENT_TAU,
    ceremony_id,
    derive,
    development_g2,
    identity_of,
    lagrange_points,
    powers,
    powers_file,
    read_logrows,
    srs,
)
from zkmarket.crypto import GENERATOR, P, Point, Q, multiply_add
from zkmarket.errors import ArtifactError, InputError, SrsError

pytestmark = pytest.mark.unit

TAU = DEVELOPMENT_TAU


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh store; nothing of the user's is read or written."""
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A well-made SRS of 2^6 rows with another trapdoor: what a ceremony's file looks like."""
    tau = 0xDECADE
    data = b"".join(powers_file(6, tau))[: -len(development_g2())]
    coordinates = [c for point in (G2, multiply(G2, tau)) for xy in normalize(point) for c in xy.coeffs]
    path = tmp_path_factory.mktemp("srs") / "other.srs"
    path.write_bytes(data + b"".join(powers._raw(int(c)) for c in coordinates))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def powers_in(path: Path, logrows: int) -> list[Point]:
    return powers._read_points(path, 0, 1 << logrows)


def lagrange(path: Path, logrows: int) -> list[Point]:
    return powers._read_points(path, 1 << logrows, 1 << logrows)


def times(scalar: int) -> Point:
    """scalar·G by py_ecc."""
    x, y = normalize(multiply(G1, scalar % P))
    return int(x), int(y)


# ---------------------------------------------------------------- the points


@pytest.mark.parametrize("logrows", [6, 7])
def test_the_files_powers_are_those_of_tau(logrows: int):
    path = srs.generate(logrows).path(logrows)
    points = powers_in(path, logrows)
    assert points[:3] == [GENERATOR, times(TAU), times(TAU**2)]
    assert points[-1] == times(pow(TAU, (1 << logrows) - 1, P))


@pytest.mark.parametrize("logrows", [6, 7])
def test_lagrange_points_interpolate(logrows: int):
    """Σ L_i = 1 and Σ ω^i L_i = X as polynomials, so at τ: G and τ·G; and L_1(τ) by its own formula."""
    points = lagrange(srs.generate(logrows).path(logrows), logrows)
    n = 1 << logrows
    omega = pow(7, (P - 1) // n, P)
    assert pow(omega, n // 2, P) == P - 1  # of order n exactly
    assert multiply_add(points, [1] * n) == GENERATOR
    assert multiply_add(points, [pow(omega, i, P) for i in range(n)]) == times(TAU)
    assert multiply_add(points, [pow(omega, i * (n - 1), P) for i in range(n)]) == times(pow(TAU, n - 1, P))
    assert points[1] == times(omega * (pow(TAU, n, P) - 1) * pow(n * (TAU - omega), -1, P))


def test_g2_is_the_generator_and_its_multiple_by_tau():
    """e(τ·G, G2) = e(G, τ·G2), with the second point's trapdoor the same as the first's."""
    tau_g2 = multiply(G2, TAU)
    assert is_on_curve(tau_g2, b2) and is_on_curve(G1, b)
    coordinates = [int(c) for point in (G2, tau_g2) for xy in normalize(point) for c in xy.coeffs]
    assert development_g2() == b"".join((c * 2**256 % Q).to_bytes(32, "little") for c in coordinates)
    assert pairing(G2, multiply(G1, TAU)) == pairing(tau_g2, G1)


def test_a_smaller_file_derived_from_a_larger_one_is_the_one_made_directly():
    made = srs.generate(6)
    large = made.path(7)
    assert b"".join(derive(large, 6)) == made.path(6).read_bytes()
    assert lagrange_points(powers_in(large, 7)) == lagrange(large, 7)
    assert made.sizes() == [6, 7]


def test_an_imported_ceremony_gives_its_smaller_sizes_and_no_larger(other: Path):
    imported = srs.import_file(other, digest(other))
    assert (imported.kind, imported.sizes()) == ("imported", [6])
    small = imported.path(5)
    assert read_logrows(small) == 5
    assert identity_of(small) == imported.id == identity_of(other)
    assert powers_in(small, 5) == powers_in(other, 6)[:32]
    assert multiply_add(lagrange(small, 5), [1] * 32) == GENERATOR
    with pytest.raises(SrsError, match=r"imported SRS .* has no file of 2\^7 rows or more \(it has \[5, 6\]\): run"):
        imported.path(7)


# ---------------------------------------------------------------- import


def test_the_published_digests_are_those_inside_ezkl():
    """All 26 are strings of the installed binary, so none was mistyped or invented."""
    published = srs.published_digests()
    assert sorted(map(int, published)) == list(range(1, 27))
    assert len(set(published.values())) == 26
    binary = next(Path(ezkl.__file__).parent.glob("ezkl*.so")).read_bytes()
    assert [logrows for logrows, text in published.items() if text.encode() not in binary] == []
    assert published["1"][::-1].encode() not in binary  # not everything is in there


def test_an_unknown_digest_is_refused_unless_the_user_vouches(other: Path):
    published = srs.published_digests()["6"]
    with pytest.raises(
        SrsError, match=rf"not the published one for 2\^6 rows: got {digest(other)}, wanted {published}"
    ):
        srs.import_file(other)
    wrong = "0" * 64
    with pytest.raises(SrsError, match=f"SRS digest is not the one given: got {digest(other)}, wanted {wrong}"):
        srs.import_file(other, wrong)
    assert srs.installed() == []
    made = srs.import_file(other, "0x" + digest(other).upper())
    assert (made.kind, made.insecure) == ("imported", False)
    assert made.path(6).read_bytes() == other.read_bytes()
    assert srs.installed() == [made]


def test_a_published_digest_makes_it_the_ceremonys(other: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(srs, "published_digests", lambda: {"6": digest(other)})
    assert srs.import_file(other).kind == "ceremony"
    with pytest.raises(SrsError, match="not the one given"):  # a digest that is given must still be right
        srs.import_file(other, "0" * 64)


def test_the_development_srs_stays_what_it_is_whoever_vouches_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = tmp_path / "ceremony.srs"
    copy.write_bytes(srs.generate().path(6).read_bytes())
    vouched = srs.import_file(copy, digest(copy))
    monkeypatch.setattr(srs, "published_digests", lambda: {"6": digest(copy)})
    for made in (vouched, srs.import_file(copy)):
        assert (made.kind, made.insecure) == ("development", True)
    assert [found.kind for found in srs.installed()] == ["development"]


def test_a_file_that_is_cut_short_or_no_srs_is_refused(tmp_path: Path, other: Path):
    whole = other.read_bytes()
    path = tmp_path / "bad.srs"
    for data in (b"", whole[:3], whole[:4], whole[:-1], whole + b"\0", b"\7" + whole[1:], bytes(len(whole))):
        path.write_bytes(data)
        with pytest.raises(SrsError, match=r"not an SRS file, or cut short: .*bad.srs \(\d+ bytes, says 2\^\d+ rows\)"):
            srs.import_file(path, digest(path))
    with pytest.raises(SrsError, match="no such SRS file"):
        srs.import_file(tmp_path / "missing.srs")
    g_twice = whole[:4] + whole[4:68] * 2 + whole[132:]
    for data in (g_twice, whole[:4] + whole[68:132] + whole[68:], whole[:68] + b"\1" * 64 + whole[132:]):
        path.write_bytes(data)
        with pytest.raises(SrsError, match="not a KZG SRS of BN254"):
            srs.import_file(path, digest(path))
    assert srs.installed() == []


def test_fetch_knows_its_sizes():
    with pytest.raises(InputError, match="the ceremony has files of 2.1 to 2.26 rows: got logrows 27"):
        srs.fetch(27)


# ---------------------------------------------------------------- the store


def test_without_an_srs_the_message_says_how_to_get_one(tmp_path: Path):
    with pytest.raises(SrsError, match=f"no SRS is installed in {tmp_path}/cache/srs: run `zkmarket srs fetch`"):
        srs.select()
    srs.generate()
    assert srs.select().kind == "development"
    with pytest.raises(SrsError, match="no ceremony SRS is installed"):
        srs.select("ceremony")


def test_the_most_trustworthy_is_selected(other: Path):
    srs.generate()
    imported = srs.import_file(other, digest(other))
    assert srs.select() == imported
    assert srs.select("development").insecure
    assert srs.by_id(imported.id) == imported


def test_an_unknown_id_is_refused_and_the_development_one_is_made():
    assert srs.by_id(ceremony_id(development_g2())).insecure
    with pytest.raises(ArtifactError, match="the SRS 99999999 of this build is not in"):
        srs.by_id("9" * 64)


@pytest.mark.parametrize("data", ["", "{", "[]", '{"id": "0"}', '{"kind": "best", "id": "0"}'])
def test_a_damaged_store_is_an_srs_error(data: str):
    (srs.generate().folder / "srs.json").write_text(data)
    with pytest.raises(SrsError, match="srs.json is damaged .*: delete its folder and install the SRS again"):
        srs.select()
