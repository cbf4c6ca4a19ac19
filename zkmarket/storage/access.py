"""Who may use a store's server: whoever has its token, over TLS."""

from __future__ import annotations

import hmac
import ipaddress
import os
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError

SHORTEST_TOKEN = 16
LONGEST_TOKEN = 4096


@dataclass(frozen=True)
class Access:
    """Who may ask, and over what.

    Attributes:
        token: what every request must bring as its bearer token; None: nothing.
        tls: the server's certificate and key; None: plain HTTP.
        everyone: whether it may listen beyond this machine without a token.
    """

    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    everyone: bool = False

    def admits(self, authorization: str) -> bool:
        """Whether a request's field of this name brings the token."""
        wanted = f"Bearer {self.token}".encode()
        return self.token is None or hmac.compare_digest(authorization.encode("utf-8", "replace"), wanted)

    def check(self, address: str) -> list[str]:
        """Warnings for who listens there. InputError: others could use the disk, and nobody has said that they may."""
        if is_loopback(address):
            return []
        if self.token is None and not self.everyone:
            raise InputError(
                f"{address} can be reached from other machines: give --token-file, or say --open-to-everyone"
            )
        if self.token is None:
            return ["warning: no authentication: whoever reaches this address can read blobs and fill the disk"]
        return [] if self.tls else ["warning: no TLS: whoever is on the way can read the token, and use it"]

    def __str__(self) -> str:
        return f"{'to who has the token' if self.token else 'no authentication'}, {'TLS' if self.tls else 'no TLS'}"


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def read_token(path: Path) -> str:
    """The token in a file that is its owner's alone. InputError: there is none, or others may read it."""
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(LONGEST_TOKEN + 2).strip()
    except (OSError, UnicodeError) as error:
        raise InputError(f"no token can be read from {path}: {error}") from error
    if mode & 0o077:
        raise InputError(f"{path} has mode {mode:03o}, so that others may read the token in it: chmod 600 {path}")
    return checked_token(text, str(path))


def checked_token(text: str, where: str) -> str:
    if not (SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text):
        raise InputError(
            f"{where} holds no token: wanted one word of {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters and digits,"
            " such as `openssl rand -hex 32` gives"
        )
    return text


def certificate(cert: Path, key: Path) -> ssl.SSLContext:
    """What a server shows its clients. InputError: it cannot be read, or certificate and key are no pair."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # an encrypted key is an error, and asks nobody
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"no certificate and its key can be read from {cert} and {key}: {error}") from error
    return context
