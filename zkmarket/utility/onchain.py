"""What a compiled model costs on chain, before anybody makes its keys: its verifier's size, a proof's gas, a round's.

Estimates from the plan alone. The constants are a fit to verifiers that ezkl wrote and anvil ran, of circuits with 1 to
15 blocks of columns at K = 10 and 13: within 2 % (tests/utility/test_onchain.py has some of them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backend import blocks_of
from ..circuits.plan import CircuitPlan
from ..errors import DomainError, InputError
from ..networks import Network, make_plan, rows_of, sizes_of
from .games import Method, proofs_needed
from .statements import check_names

MAX_CODE = 24_576
"""Bytes of a contract (EIP-170)."""

MAX_CALLDATA = 65_536
MAX_GAS = 14_000_000

CODE, CODE_BLOCK, CODE_INPUT = 5_850, 3_770, 260
PROOF, PROOF_BLOCK, PROOF_INPUT = 870, 928, 128
GAS, GAS_BLOCK, GAS_INPUT, GAS_INSTANCE = 231_000, 100_000, 14_200, 720

TRANSACTION, CALLDATA_BYTE = 21_000, 16
KEPT_GAS, BUILT_GAS = 103_000, 280
"""Of a coalition: storage, log, descriptor and the contract's own code; a public instance that the contract builds."""

POINT_BYTES, CHUNK_GAS, LEFT_GAS = 64, 9_000, 3_000
"""A chunk of the model, and one of who is not in the coalition: hashed, added, multiplied."""


@dataclass(frozen=True)
class OnChain:
    """Attributes:
    verifier_bytes: of the contract that verifies one proof.
    proof_bytes, proof_gas: of one proof, in the verifier alone.
    coalition_gas: of the whole transaction that has one proven and kept; a project's first ones cost up to 35,000 more,
        the last one of a round up to 25,000 more a trainer, whom it pays.
    round_gas: of all coalitions that are due; the settlement comes before them.
    """

    verifier_bytes: int
    proof_bytes: int
    proof_gas: int
    coalition_gas: int
    round_gas: int

    @classmethod
    def of(cls, plan: CircuitPlan, method: Method, trainers: int) -> OnChain:
        """Of a round in which so many trainers are accepted."""
        blocks, inputs = blocks_of(rows_of(plan), plan.logrows), len(plan.lengths)
        instances = plan.public["noise"][0] + 1 + len(check_names(plan)) + 2
        proof_bytes = PROOF + PROOF_BLOCK * blocks + PROOF_INPUT * inputs
        proof_gas = GAS + GAS_BLOCK * blocks + GAS_INPUT * inputs + GAS_INSTANCE * instances
        chunks = len(plan.columns["theta"])
        left = 1 if method.kind == "loo" else trainers // 2  # as many are left out of most coalitions
        given = proof_bytes + POINT_BYTES * chunks * (1 + left)
        coalition = TRANSACTION + CALLDATA_BYTE * given + proof_gas + KEPT_GAS + BUILT_GAS * instances
        coalition += chunks * (CHUNK_GAS + left * LEFT_GAS)
        code = CODE + CODE_BLOCK * blocks + CODE_INPUT * inputs
        return cls(code, proof_bytes, proof_gas, coalition, coalition * proofs_needed(method, trainers))

    @property
    def fits(self) -> bool:
        return self.verifier_bytes <= MAX_CODE and self.proof_bytes < MAX_CALLDATA and self.coalition_gas <= MAX_GAS


def advice(network: Network, plan: CircuitPlan, method: Method, trainers: int) -> str:
    """Why no chain takes a plan, and the least that would have to change; empty if one does."""
    here = OnChain.of(plan, method, trainers)
    if here.fits:
        return ""
    why = (
        f"no chain takes it: its verifier has about {here.verifier_bytes / 1000:.1f} kB of at most"
        f" {MAX_CODE / 1000:.1f}, a coalition takes {here.coalition_gas / 1e6:.1f}M gas of at most {MAX_GAS / 1e6:.0f}M"
    )
    sizes = sizes_of(plan)
    batches = [batch for batch in (1 << bits for bits in range(15, 0, -1)) if batch < sizes.batch]
    ways = (
        [(f"a batch of {batch}", replace(sizes, batch=batch)) for batch in batches],
        [(f"K = {logrows}", replace(sizes, logrows=logrows)) for logrows in range(sizes.logrows + 1, 21)],
    )
    found = []
    for tried in ways:
        for name, other in tried:
            try:
                fits = OnChain.of(make_plan(network, other), method, trainers).fits
            except (DomainError, InputError):
                continue
            if fits:
                found.append(name)
                break
    if not found:
        return f"{why}; no batch and no K make it fit: take fewer or smaller layers"
    return f"{why}; take {' or '.join(found)}, or fewer or smaller layers"
