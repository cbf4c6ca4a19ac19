"""What only its readers may read: updates on their way to the aggregator, aggregates on their way back.

An update is sealed with its commitment's points to the aggregator's key of the round (X25519, libsodium's sealed box),
which is fresh for each round: a contract has a digest of the points, so nobody else knows them before the round is
settled. An aggregate is encrypted once under a content key, and the content key is sealed to each reader:
owner, members and the aggregator itself. A keyring holds the content keys of earlier rounds for those who joined
later. Every plaintext has one length for all values, so that a ciphertext's length tells nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import SecretBox
from nacl.utils import random

from ..build import Manifest
from ..crypto import Point, decode_point, encode_point
from ..errors import InputError, SealError
from ..files import atomic_write
from ..round import Aggregate, Opening, check_salts

KEY_BYTES = 32
POINT_BYTES = 64
SEAL_BYTES = 48
"""What a sealed box adds: an ephemeral public key and a MAC."""
MAX_READERS = 4096
ENVELOPE = b"zkmarket-sealed1"
_ENTRY = KEY_BYTES + KEY_BYTES + SEAL_BYTES
_BOX_BYTES = SecretBox.NONCE_SIZE + SecretBox.MACBYTES
_KEYRING_ENTRY = 4 + KEY_BYTES


# ---------------------------------------------------------------- keys


@dataclass(frozen=True)
class SealingKey:
    """A private X25519 key. Its public half may be known to all."""

    secret: PrivateKey

    def __repr__(self) -> str:
        return f"SealingKey(public={self.public.hex()})"

    @property
    def public(self) -> bytes:
        return bytes(self.secret.public_key)

    @classmethod
    def fresh(cls) -> SealingKey:
        return cls(PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SealingKey:
        try:
            return cls(PrivateKey(bytes.fromhex(path.read_text())))
        except (OSError, ValueError, TypeError, CryptoError) as error:
            raise InputError(f"no encryption key can be read from {path}: {type(error).__name__}") from None

    def save(self, path: Path) -> None:
        """Mode 0600. Before anything is sealed to it: who loses it cannot read what was sealed."""
        atomic_write(path, bytes(self.secret).hex().encode(), mode=0o600)


def kept_key(path: Path) -> SealingKey:
    """The key in a file, or a new one that is now there."""
    if path.exists():
        return SealingKey.load(path)
    key = SealingKey.fresh()
    key.save(path)
    return key


# ---------------------------------------------------------------- updates


def seal_update(opening: Opening, points: Sequence[Point], to: bytes) -> bytes:
    """An opening and the points that it opens, for the holder of the key `to` alone.

    Values are written as int32, whatever their size.
    """
    try:
        box = SealedBox(PublicKey(to))
        plain = [opening.values.astype("<i4").tobytes(), opening.salts.tobytes(), *map(encode_point, points)]
        return box.encrypt(b"".join(plain))
    except (CryptoError, ValueError, TypeError) as error:
        raise SealError(f"nothing can be sealed to the encryption key {to.hex()}: {error}") from error


def sealed_update_size(manifest: Manifest) -> int:
    """Bytes of every sealed update of a build."""
    return SEAL_BYTES + 4 * manifest.params + (32 * manifest.salts + POINT_BYTES) * manifest.chunks


def open_update(blob: bytes, key: SealingKey, manifest: Manifest) -> tuple[Opening, tuple[Point, ...]]:
    """The opening that a trainer sealed, and its points. Neither is compared with a commitment yet.

    Raises:
        SealError: not sealed to this key, or damaged.
        InputError, DomainError: what was sealed is not an opening of the build.
        ProofRejected: a point is not on the curve, not canonical or the point at infinity.
    """
    if len(blob) != sealed_update_size(manifest):
        raise SealError(f"a sealed update has {sealed_update_size(manifest)} bytes: got {len(blob)}")
    try:
        plain = SealedBox(key.secret).decrypt(blob)
    except (CryptoError, ValueError) as error:
        raise SealError("the update is not sealed to the round's key, or is damaged") from error
    values, end = 4 * manifest.params, len(plain) - POINT_BYTES * manifest.chunks
    opening = Opening(np.frombuffer(plain[:values], "<i4").astype(np.int32), _salts(plain[values:end], manifest))
    opening.check(manifest)
    return opening, tuple(decode_point(plain[at : at + POINT_BYTES]) for at in range(end, len(plain), POINT_BYTES))


# ---------------------------------------------------------------- aggregates


def encode_aggregate(aggregate: Aggregate) -> bytes:
    """Values as int64 ‖ salts."""
    return aggregate.values.astype("<i8").tobytes() + aggregate.salts.tobytes()


def decode_aggregate(plain: bytes, manifest: Manifest) -> Aggregate:
    wanted = aggregate_size(manifest)
    if len(plain) != wanted:
        raise SealError(f"a sealed aggregate has {wanted} bytes inside: got {len(plain)}")
    cut = 8 * manifest.params
    salts = _salts(plain[cut:], manifest)
    check_salts(salts, manifest)
    return Aggregate(np.frombuffer(plain[:cut], "<i8").astype(np.int64), salts)


def aggregate_size(manifest: Manifest) -> int:
    return 8 * manifest.params + 32 * manifest.salts * manifest.chunks


def envelope_limit(plain: int) -> int:
    """The most bytes of an envelope around so many."""
    return len(ENVELOPE) + 4 + MAX_READERS * _ENTRY + _BOX_BYTES + plain


def is_envelope(blob: bytes) -> bool:
    """Whether it begins as one."""
    return blob.startswith(ENVELOPE)


def seal(plain: bytes, readers: Iterable[bytes], key: bytes | None = None) -> tuple[bytes, bytes]:
    """An envelope that the holders of these public keys can open, and its content key.

    Nothing that a reader is can stop the others' delivery: a key to which nothing can be sealed is left out, and so is
    who comes after MAX_READERS others. Name the most important first.
    """
    key = key or random(KEY_BYTES)
    entries: list[bytes] = []
    for reader in dict.fromkeys(readers):
        if len(entries) == MAX_READERS:
            break
        with contextlib.suppress(CryptoError, ValueError, TypeError):
            entries.append(reader + SealedBox(PublicKey(reader)).encrypt(key))
    head = ENVELOPE + len(entries).to_bytes(4, "little")
    return head + b"".join(entries) + bytes(SecretBox(key).encrypt(plain)), key


def content_key(blob: bytes, reader: SealingKey) -> bytes:
    """The content key of an envelope, for one of its readers.

    Raises SealError: it is no envelope, or the reader is none of its readers.
    """
    count, start = _entries(blob)
    for at in range(start, start + count * _ENTRY, _ENTRY):
        if blob[at : at + KEY_BYTES] == reader.public:
            try:
                return SealedBox(reader.secret).decrypt(blob[at + KEY_BYTES : at + _ENTRY])
            except (CryptoError, ValueError) as error:
                raise SealError("the envelope's content key for this reader is damaged") from error
    raise SealError("the envelope is not sealed to this key: it was made for others, perhaps before you joined")


def unseal(blob: bytes, key: bytes) -> bytes:
    """What is in an envelope; SealError if the content key is another's, or the envelope is damaged."""
    count, start = _entries(blob)
    try:
        return SecretBox(key).decrypt(blob[start + count * _ENTRY :])
    except (CryptoError, ValueError, TypeError) as error:
        raise SealError("the envelope does not open with this content key, or is damaged") from error


def _entries(blob: bytes) -> tuple[int, int]:
    start = len(ENVELOPE) + 4
    count = int.from_bytes(blob[len(ENVELOPE) : start], "little")
    if not blob.startswith(ENVELOPE) or count > MAX_READERS or len(blob) < start + count * _ENTRY + _BOX_BYTES:
        raise SealError(f"not a sealed envelope: {len(blob)} bytes")
    return count, start


def _salts(data: bytes, manifest: Manifest) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(manifest.chunks, manifest.salts, 32).copy()


# ---------------------------------------------------------------- keyrings


def encode_keyring(keys: Mapping[int, bytes]) -> bytes:
    """Content keys by round."""
    return b"".join(number.to_bytes(4, "little") + key for number, key in sorted(keys.items()))


def decode_keyring(plain: bytes) -> dict[int, bytes]:
    if len(plain) % _KEYRING_ENTRY:
        raise SealError(f"a keyring has {_KEYRING_ENTRY} bytes a round: got {len(plain)}")
    entries = [plain[at : at + _KEYRING_ENTRY] for at in range(0, len(plain), _KEYRING_ENTRY)]
    return {int.from_bytes(entry[:4], "little"): entry[4:] for entry in entries}
