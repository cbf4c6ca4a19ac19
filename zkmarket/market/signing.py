"""Messages that are signed off the chain and checked by the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ..build import Manifest
from ..crypto import points_hash
from ..round import RoundProof, address_text, aggregate_points
from .calldata import last_seed, mask_of

# ---------------------------------------------------------------- signed messages


def membership_message(chain_id: int, project: str, trainer: str) -> dict[str, Any]:
    """The owner's word that a trainer is on its list."""
    return _typed(chain_id, project, "Membership", [("trainer", "address", trainer)])


def receipt_message(
    chain_id: int, project: str, aggregator: str, round_number: int, trainer: str, submission: bytes
) -> dict[str, Any]:
    """The aggregator's word that an update was received, decrypts, opens its commitment, and is in range.

    Args:
        trainer: `NOBODY` stands for the owner's root update.
        submission: `submission_word`, as the seat holds it.
    """
    words = [
        ("aggregator", "address", aggregator),
        ("round", "uint256", round_number),
        ("trainer", "address", trainer),
        ("submission", "bytes32", submission),
    ]
    return _typed(chain_id, project, "Receipt", words)


def publication_message(manifest: Manifest, proof: RoundProof, cid: bytes) -> dict[str, Any]:
    """The aggregator's word on where the aggregate of exactly this proof is served."""
    aggregate = aggregate_points(manifest, proof.commitments, mask_of(proof))
    words = [
        ("round", "uint256", proof.round_id.round),
        ("seed", "bytes32", last_seed(proof, proof.references.points(manifest))),
        ("aggregate", "bytes32", points_hash(aggregate) if aggregate else bytes(32)),
        ("cid", "bytes32", keccak(cid)),
    ]
    return _typed(proof.round_id.chain_id, address_of(proof.round_id.project), "Publication", words)


def _typed(chain_id: int, project: str, name: str, words: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
    """An EIP-712 message in the domain of one clone."""
    domain = [("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")]
    return {
        "types": {
            "EIP712Domain": [{"name": key, "type": kind} for key, kind in domain],
            name: [{"name": key, "type": kind} for key, kind, _ in words],
        },
        "primaryType": name,
        "domain": {"name": "zkmarket", "version": "1", "chainId": chain_id, "verifyingContract": project},
        "message": {key: value for key, _, value in words},
    }


def address_of(number: int) -> str:
    """An engine's address as a chain writes it."""
    return to_checksum_address(address_text(number))
