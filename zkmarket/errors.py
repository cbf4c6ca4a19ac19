"""Every exception of zkmarket, and the exit code that the command line gives for it.

    ZkmarketError
    ├── InputError         2  what the caller gave cannot be used (file, array, option)
    │   ├── RuleError      2  a filter or score with parameters that its paper does not allow
    │   ├── DomainError    2  a bound that the circuits cannot represent, or a value beyond its bound
    │   └── SaltReuse      2  a salt or a mask would be used twice
    ├── StatementFalse     1  the statement does not hold, so no proof of it was made
    │   └── OpeningMismatch  1  an opening is not the opening of its commitment
    ├── ProofRejected      1  a proof, or what it is bound to, does not verify
    ├── SealError          1  a sealed blob is damaged, or was not sealed to this key
    ├── ArtifactError      3  a build, a key or a stored file is missing, damaged or of another build
    │   └── SrsError       3  the same for the structured reference string
    ├── BackendError       3  ezkl failed for a reason that is not the statement's
    │   └── BackendTimeout 3  ezkl did not answer within its deadline
    ├── StoreError         3  a store cannot be reached, has not got a blob, or gives other bytes
    └── ChainError         3  a chain, its node or a contract's compiler is missing or failed
        ├── PassedOn         3  a call reached its contract through another one: no transaction holds its calldata
        └── TransactionReverted  4  the contract refused a transaction, and why

A message says what, got, wanted, and what to do where that is not plain.
"""

from __future__ import annotations


class ZkmarketError(Exception):
    """Base of everything that zkmarket raises on purpose."""

    exit_code = 3


class InputError(ZkmarketError):
    exit_code = 2


def demand(value: object, kind: type, what: str) -> None:
    """Raise InputError unless an argument is of its type, before anything is asked of it."""
    if not isinstance(value, kind):
        raise InputError(f"{what} is of type {kind.__name__}: got {value!r:.80}")


class RuleError(InputError):
    pass


class DomainError(InputError):
    pass


class SaltReuse(InputError):
    pass


class StatementFalse(ZkmarketError):
    exit_code = 1


class OpeningMismatch(StatementFalse):
    """Carries ``slot``: the 1-based slot of the trainer whose opening is wrong, or None."""

    def __init__(self, message: str, slot: int | None = None):
        super().__init__(message)
        self.slot = slot


class ProofRejected(ZkmarketError):
    exit_code = 1


class SealError(ZkmarketError):
    exit_code = 1


class ArtifactError(ZkmarketError):
    pass


class SrsError(ArtifactError):
    pass


class BackendError(ZkmarketError):
    pass


class BackendTimeout(BackendError):
    pass


class StoreError(ZkmarketError):
    pass


class ChainError(ZkmarketError):
    pass


class PassedOn(ChainError):
    pass


class TransactionReverted(ChainError):
    """Carries ``reason``: what the contract said, such as ``NotOwner: 0x…``; empty where it said nothing.

    Its message says the same as a sentence, where it is an error of our contracts.
    """

    exit_code = 4

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.reason = reason
