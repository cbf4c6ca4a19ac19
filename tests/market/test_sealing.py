"""Sealed updates, envelopes and keyrings: who can open them, what damage does, and that lengths tell nothing."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkmarket.build import Manifest
from zkmarket.crypto import GENERATOR, INFINITY, Point, Q
from zkmarket.errors import DomainError, InputError, ProofRejected, SealError
from zkmarket.market import SealingKey, sealing
from zkmarket.round import Aggregate, Opening, open_with_fresh_salts

pytestmark = pytest.mark.unit

MANIFEST = Manifest(json.loads((Path(__file__).parents[2] / "artifacts/golden/build/manifest.json").read_text()))
ALICE, BOB, EVE = SealingKey.fresh(), SealingKey.fresh(), SealingKey.fresh()
LOW_ORDER = bytes(32)
"""A public key to which libsodium seals nothing."""


POINTS = (GENERATOR,) * MANIFEST.chunks


def opening(scale: int = 1) -> Opening:
    return open_with_fresh_salts(np.arange(MANIFEST.params, dtype=np.int32) % 7 * scale, MANIFEST)


def sealed(sent: Opening, points: tuple[Point, ...] = POINTS, key: SealingKey = ALICE) -> bytes:
    return sealing.seal_update(sent, points, key.public)


def test_an_update_is_for_its_key_alone() -> None:
    sent = opening()
    blob = sealed(sent)
    got, points = sealing.open_update(blob, ALICE, MANIFEST)
    assert np.array_equal(got.values, sent.values) and np.array_equal(got.salts, sent.salts)
    assert points == POINTS
    with pytest.raises(SealError, match="not sealed to the round's key, or is damaged"):
        sealing.open_update(blob, EVE, MANIFEST)


def test_the_length_of_an_update_tells_nothing() -> None:
    """Small and large values, which `Opening.save` writes in two and four bytes."""
    sizes = {len(sealed(opening(scale))) for scale in (0, 1, 70)}
    assert sizes == {sealing.sealed_update_size(MANIFEST)}


def test_two_seals_of_one_update_differ() -> None:
    sent = opening()
    assert sealed(sent) != sealed(sent)


@given(at=st.integers(0, sealing.sealed_update_size(MANIFEST) - 1), bit=st.integers(0, 7))
def test_a_damaged_update_is_refused(at: int, bit: int) -> None:
    blob = bytearray(sealed(opening()))
    blob[at] ^= 1 << bit
    with pytest.raises(SealError, match="damaged"):
        sealing.open_update(bytes(blob), ALICE, MANIFEST)


@pytest.mark.parametrize("change", [-1, 1, -100])
def test_an_update_of_another_length_is_refused(change: int) -> None:
    blob = sealed(opening())
    blob = blob + b"x" * change if change > 0 else blob[:change]
    with pytest.raises(SealError, match="bytes: got"):
        sealing.open_update(blob, ALICE, MANIFEST)


def test_what_decrypts_may_still_be_garbage() -> None:
    """Values out of range, and salts that are no field elements: refused before anything is computed with them."""
    sent = opening()
    wild = Opening(np.full(MANIFEST.params, MANIFEST.bound, np.int32), sent.salts)
    with pytest.raises(DomainError, match="values lie in"):
        sealing.open_update(sealed(wild), ALICE, MANIFEST)
    salty = Opening(sent.values, np.full_like(sent.salts, 255))
    with pytest.raises(InputError, match="not a field element"):
        sealing.open_update(sealed(salty), ALICE, MANIFEST)


@pytest.mark.parametrize("point", [(1, 3), INFINITY, (1, 2 + Q)], ids=["off the curve", "infinity", "not canonical"])
def test_attack_a_point_that_no_contract_takes(point: Point) -> None:
    """It would make the round unprovable, so it gets no receipt."""
    with pytest.raises(ProofRejected, match="point"):
        sealing.open_update(sealed(opening(), (*POINTS[:-1], point)), ALICE, MANIFEST)


def test_nothing_is_sealed_to_a_bad_key() -> None:
    for key in (LOW_ORDER, b"short"):
        with pytest.raises(SealError, match="nothing can be sealed"):
            sealing.seal_update(opening(), POINTS, key)


# ---------------------------------------------------------------- envelopes


def test_every_reader_opens_an_envelope_and_nobody_else() -> None:
    blob, key = sealing.seal(b"the sum", [ALICE.public, BOB.public, ALICE.public])
    for reader in (ALICE, BOB):
        assert sealing.content_key(blob, reader) == key
        assert sealing.unseal(blob, key) == b"the sum"
    with pytest.raises(SealError, match="made for others"):
        sealing.content_key(blob, EVE)
    with pytest.raises(SealError, match="does not open with this content key"):
        sealing.unseal(blob, bytes(32))
    assert b"the sum" not in blob and len(blob) <= sealing.envelope_limit(7)


def test_a_reader_with_a_bad_key_cannot_stop_the_others() -> None:
    blob, key = sealing.seal(b"the sum", [LOW_ORDER, b"short", ALICE.public])
    assert sealing.content_key(blob, ALICE) == key


def test_too_many_readers_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever joins with thousands of accounts must not keep an aggregator from publishing: the first are served."""
    monkeypatch.setattr(sealing, "MAX_READERS", 2)
    blob, key = sealing.seal(b"x", [LOW_ORDER, ALICE.public, ALICE.public, BOB.public, EVE.public])
    assert sealing.content_key(blob, ALICE) == sealing.content_key(blob, BOB) == key
    with pytest.raises(SealError, match="made for others"):
        sealing.content_key(blob, EVE)


def test_every_bit_of_an_envelope_matters() -> None:
    blob, key = sealing.seal(b"the sum", [ALICE.public])
    for at in range(len(blob)):
        bad = bytearray(blob)
        bad[at] ^= 1
        with pytest.raises(SealError):
            sealing.unseal(bytes(bad), sealing.content_key(bytes(bad), ALICE))


@pytest.mark.parametrize("blob", [b"", b"zkmarket-sealed1", b"zkmarket-sealed1" + b"\xff" * 200, b"x" * 300])
def test_what_is_no_envelope(blob: bytes) -> None:
    with pytest.raises(SealError, match="not a sealed envelope"):
        sealing.unseal(blob, bytes(32))
    with pytest.raises(SealError, match="not a sealed envelope"):
        sealing.content_key(blob, ALICE)


def test_an_aggregate_comes_back() -> None:
    values = np.arange(MANIFEST.params, dtype=np.int64) * 2**33
    sent = Aggregate(values, opening().salts)
    plain = sealing.encode_aggregate(sent)
    got = sealing.decode_aggregate(plain, MANIFEST)
    assert np.array_equal(got.values, values) and np.array_equal(got.salts, sent.salts)
    assert len(plain) == sealing.aggregate_size(MANIFEST)
    with pytest.raises(SealError, match="bytes inside"):
        sealing.decode_aggregate(plain[:-1], MANIFEST)
    bad = replace(sent, salts=np.full_like(sent.salts, 255))
    with pytest.raises(InputError, match="not a field element"):
        sealing.decode_aggregate(sealing.encode_aggregate(bad), MANIFEST)


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32), max_size=20))
def test_a_keyring_comes_back(keys: dict[int, bytes]) -> None:
    assert sealing.decode_keyring(sealing.encode_keyring(keys)) == keys


def test_what_is_no_keyring() -> None:
    with pytest.raises(SealError, match="36 bytes a round: got 35"):
        sealing.decode_keyring(bytes(35))


# ---------------------------------------------------------------- keys


def test_a_key_is_kept_secret_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    key = sealing.kept_key(path)
    assert sealing.kept_key(path).public == key.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() not in repr(key) and key.public.hex() in repr(key)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_a_damaged_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sealing.key"
    path.write_text(text)
    with pytest.raises(InputError, match="no encryption key can be read from") as caught:
        sealing.kept_key(path)
    assert text == "" or text not in str(caught.value)
    with pytest.raises(InputError, match="no encryption key"):
        SealingKey.load(tmp_path / "none")
