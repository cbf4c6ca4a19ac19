"""Pay by the model's own loss: what a caller's own compiled model says of a project's terms, and whether they agree.

Which coalitions are due, and what proves a loss, is for `zkmarket.utility`; here are the numbers that a contract has of
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from ..chain import NOBODY, Chain
from ..units import reward_text
from .structs import Scoring, Terms, Verifier

LEAVE_ONE_OUT, SHAPLEY = 1, 2
METHODS = {LEAVE_ONE_OUT: "utility:loo", SHAPLEY: "utility:shapley"}
"""`Scoring.method`, as a project file says it."""


@dataclass(frozen=True)
class LossModel:
    """What a contract has to know of a compiled model and a batch: the caller has made both again.

    Attributes:
        code: of the verifier, as it is on chain.
        descriptor: digest of the model's descriptor.
        batch: keccak of the words of the batch's commitment.
        salts: of a chunk of the batch.
        proof_bytes, instances: of a proof.
    """

    code: bytes = field(repr=False)
    descriptor: bytes
    batch: bytes
    salts: int
    proof_bytes: int
    instances: int

    def scoring(self, deployed: str, method: int, floor: int, window: int) -> Scoring:
        """The terms of a project that pays by it.

        Args:
            deployed: where the verifier is.
            floor: φ in billionths.
            window: seconds to prove the losses in.
        """
        verifier = Verifier(deployed, keccak(self.code))
        sizes = (self.salts, self.proof_bytes, self.instances)
        return Scoring(verifier, self.descriptor, self.batch, method, floor, window, *sizes)

    def compared(self, chain: Chain, kept: Scoring) -> Iterator[tuple[bool, str, str]]:
        """Whether a project's terms are of this model and batch: what is right, or else what is wrong."""
        where = kept.verifier.deployed
        yield (
            chain.code(where) == self.code and kept.verifier.codehash == keccak(self.code),
            "the verifier of losses is byte for byte the compiled model's",
            f"the verifier of losses at {where} is not the one that the compiled model gives",
        )
        wanted = self.scoring(where, kept.method, kept.floor, kept.window)
        for name, what in (
            ("descriptor", "the description of the compiled model"),
            ("batch", "the commitment of the validation batch"),
            ("salts", "the number of the batch's salts"),
            ("proof_bytes", "the length of a proof"),
            ("instances", "the number of a proof's public instances"),
        ):
            have, want = (getattr(one, name) for one in (kept, wanted))
            shown = [value.hex() if isinstance(value, bytes) else value for value in (have, want)]
            yield have == want, f"{what} is the caller's", f"{what} is {shown[0]}: the caller's is {shown[1]}"


def loss_warnings(terms: Terms) -> Iterator[str]:
    """What it means for everybody that losses pay."""
    native = terms.token == NOBODY
    shared = terms.reward * terms.scoring.floor // 10**9
    yield (
        f"rounds are paid by {METHODS[terms.scoring.method]} on the owner's batch: {reward_text(shared, native)} of a"
        " round's reward is shared equally, the rest goes by loss. An owner that chooses a batch which only its own"
        " trainer knows can take that rest back"
    )
    yield "loss and accuracy of every coalition that is due are public"
    if native and 2 * terms.penalty_wei < terms.reward:
        yield (
            "a penalty is less than half of the reward: an aggregator with a trainer of its own may gain by giving the"
            " best update no receipt"
        )
