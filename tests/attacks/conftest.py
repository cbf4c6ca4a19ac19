"""Verification that does not repeat itself: a proof that was accepted once is not checked again."""

from __future__ import annotations

import pytest

from zkmarket import backend
from zkmarket.backend import CircuitFiles, Proof


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> set:
    """Remember accepted proofs, byte for byte, so that hundreds of mutants of one round take seconds.

    Nothing is remembered of refused ones. Returns what was accepted.
    """
    accepted: set[tuple] = set()
    really_verify = backend.verify

    def verify(files: CircuitFiles, proof: Proof, what: str = "proof") -> None:
        key = files, proof.data, proof.instances
        if key not in accepted:
            really_verify(files, proof, what)
            accepted.add(key)

    monkeypatch.setattr(backend, "verify", verify)
    return accepted
