"""A manifest, a commitment, a round proof and utility proofs that fit their schemas; what they hold proves nothing."""

from __future__ import annotations

from typing import Any

from zkmarket.backend import Proof
from zkmarket.build import Columns, Manifest
from zkmarket.build.statements import project_circuits, settlement_logrows
from zkmarket.crypto import GENERATOR, P, Q, encode_point
from zkmarket.round import BaseProof, Commitment, RoundId, RoundProof
from zkmarket.rules import Domain, MultiKrum, RuleSet
from zkmarket.utility import Method, UtilityProof, UtilityRound

ROUND_ID = RoundId(chain_id=1, project=2, round=3)
POINTS = (GENERATOR, (1, Q - 2))
LAYOUT = [{"name": "w", "shape": [50, 50], "dtype": "float32"}]


def proof(*instances: int) -> Proof:
    return Proof(bytes(range(64)) * 2, instances or (0, P - 1))


def commitment(trainer: int = 7) -> Commitment:
    return Commitment(ROUND_ID, trainer, POINTS)


def round_proof() -> RoundProof:
    slots = tuple(commitment(trainer) for trainer in (7, 8, 9))
    base = BaseProof(5, bytes(range(14)) * 520, ((1, 2),), ((3, 4),) * 3, proof(1, 2, 3))
    return RoundProof(b"\xab" * 32, ROUND_ID, 10**6, slots, POINTS, POINTS, GENERATOR, base, proof())


def utility_round() -> UtilityRound:
    proofs = {(): UtilityProof(proof(3, 9)), (1, 3): UtilityProof(proof(4, 8))}
    return UtilityRound(Method("gtg", 3, 7), b"\xab" * 32, b"\xcd" * 32, proofs)


def manifest(params: int = 2500, chunks: int = 3, layout: list | None = LAYOUT) -> dict[str, Any]:
    """N = 5, K = 10, consistent in itself."""
    rules = RuleSet(5, params, 512, 10**7, MultiKrum(1, 4), "shapley")
    logrows = settlement_logrows(rules)
    domain = Domain.of(rules, logrows - 1)
    circuits = project_circuits(10, logrows, rules)
    value = {
        "format": "zkmarket-manifest/2",
        "insecure": True,
        "versions": {"ezkl": "23.0.5"},
        "srs": {"kind": "development", "id": "11" * 32},
        "trainers": 5,
        "params": params,
        "logrows": 10,
        "rows": Columns(10).rows,
        "width": Columns(10).width,
        "chunk": Columns(10).values,
        "salts": 8,
        "chunks": chunks,
        "value_bound": 512,
        "fixed_point": {"scale_bits": 8, "value_bits": 10},
        "filter": "multi-krum:f=1,m=4",
        "score": "shapley",
        "min_accepted": 3,
        "beta_max": str(10**7),
        "domain": {
            "bounds": {name: str(bound) for name, bound in domain.bounds.items()},
            "penalty": str(domain.penalty),
            "digit_bits": domain.digit_bits,
            "digits": domain.digits,
        },
        "blinding_point": "0x" + encode_point(GENERATOR).hex(),
        "cost_model": {"optimize": "time", "candidates": []},
        "circuits": {name: entry(byte, made.how.logrows) for byte, (name, made) in enumerate(circuits.items())},
        "layout": layout,
    }
    return value | {"digest": "0x" + Manifest(value).digest().hex()}


def entry(byte: int, logrows: int) -> dict[str, Any]:
    """A circuit of a manifest; no files belong to it."""
    return {
        "logrows": logrows,
        "rows": 1000,
        "blocks": 1,
        "counted_rows": 2000,
        "lookups": ["{}"],
        "lookup_range": [-508, 507],
        "range_checks": [[-1, 1]],
        "instances": 1,
        "committed": [0],
        "proof_bytes": 4096,
        "srs_sha256": "22" * 32,
        "files": dict.fromkeys(("settings.json", "circuit.ezkl", "vk.key", "pk.key"), f"{byte:02x}" * 32),
    }
