"""A utility proof as a contract checks it: what it knows of a model, and how it builds every public instance.

A contract has a `Descriptor`, of which it keeps the digest, and hashes of two commitments, the round's model's and the
batch's. Of a proof it computes everything but two numbers, which the caller claims: correct predictions and loss.

    head        constants and statistics of the model: the same in every proof
    a, c, e, f  powers x^0, x^1, … of four challenges of 128 bits
    tie, k·tie  one more challenge and its multiples from 0 on, if the loss is cross-entropy
    1, 0 … 0    E(0), and one zero for each check
    correct, loss

The challenges come from seed = keccak("utility" ‖ context ‖ digest ‖ the proof's points of model, batch and witness, as
they stand), challenge = low 128 bits of keccak(seed ‖ name). Vectors: tests/vectors/utility.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from ..circuits.plan import CircuitPlan
from ..crypto import LOW_128, P, Point, digest_int, digest_words, encode_point, hash_words
from ..errors import ProofRejected
from .build import MAX_LOSS, UtilityBuild
from .statements import check_names, public_values

POINT = 64
POWERS = ("a", "c", "e", "f")


@dataclass(frozen=True)
class Descriptor:
    """What a contract knows of a compiled model.

    Attributes:
        model: digest of the build.
        proof_bytes: exact length of a proof.
        theta, validation, witness: how many points of each a proof begins with.
        powers: how many of each of a, c, e, f; of a as many as the batch has samples.
        ties: how many multiples of the challenge `tie`, 0 without it.
        checks: how many outputs are 0.
        head: the first instances.
    """

    model: bytes
    proof_bytes: int
    theta: int
    validation: int
    witness: int
    powers: tuple[int, int, int, int]
    ties: int
    checks: int
    head: tuple[int, ...]

    @classmethod
    def of(cls, build: UtilityBuild) -> Descriptor:
        plan = build.plan
        a, c, e, f = (plan.public[name][1] for name in POWERS)
        return cls(
            model=build.digest,
            proof_bytes=build.value["circuit"]["proof_bytes"],
            theta=len(plan.columns["theta"]),
            validation=len(plan.columns["validation"]),
            witness=len(plan.columns["witness"]),
            powers=(a, c, e, f),
            ties=plan.public["ties"][1] if "ties" in plan.public else 0,
            checks=len(check_names(plan)),
            head=head_of(plan),
        )

    @property
    def count(self) -> int:
        """How many instances a proof has."""
        return len(self.head) + sum(self.powers) + (1 + self.ties if self.ties else 0) + 1 + self.checks + 2

    def words(self) -> list[int | bytes]:
        """In the order in which they are hashed; what stands before `head` is as long for every model."""
        numbers = (self.proof_bytes, self.theta, self.validation, self.witness, *self.powers)
        return [self.model, *numbers, self.ties, self.checks, *self.head]

    def digest(self) -> bytes:
        """What is fixed when a project is created."""
        return digest_words(self.words())


def head_of(plan: CircuitPlan) -> tuple[int, ...]:
    """What stands before the powers of `a`: constants and vectors, which are laid out first (`networks.layout`)."""
    return tuple(public_values(plan, bytes(32))[: plan.public["a"][0]])


def instances_of(
    known: Descriptor,
    points: Sequence[Point],
    batch: bytes,
    context: bytes,
    proof: bytes,
    correct: int,
    loss: int,
) -> tuple[int, ...]:
    """Every public instance that a proof must have to say this.

    Args:
        points: commitment of the model that is evaluated, one a chunk.
        batch: keccak of the words of the batch's commitment.
        context: 32 bytes that the proof is bound to.
        proof: its bytes; what its points are not checked for, the verifier's contract sees to.
        correct, loss: as claimed.

    Raises ProofRejected: another length, model or batch, or numbers that are no result.
    """
    if len(proof) != known.proof_bytes:
        raise ProofRejected(f"utility proof has {len(proof)} bytes: wanted {known.proof_bytes}")
    ends = [POINT * known.theta, POINT * (known.theta + known.validation)]
    if proof[: ends[0]] != b"".join(map(encode_point, points)):
        raise ProofRejected("utility proof is of another model than the committed one")
    if keccak(proof[ends[0] : ends[1]]) != batch:
        raise ProofRejected("utility proof is of another batch than the committed one")
    if not 0 <= correct <= known.powers[0] or not 0 <= loss < MAX_LOSS:
        raise ProofRejected(f"{correct} correct predictions and a loss of {loss} are no result of a batch")
    first = proof[: ends[1] + POINT * known.witness]
    words = [first[at : at + 32] for at in range(0, len(first), 32)]
    seed = hash_words("utility", context, known.model, *words)
    out = list(known.head)
    for name, count in zip(POWERS, known.powers, strict=True):
        power, challenge = 1, _challenge(seed, name)
        for _ in range(count):
            out.append(power)
            power = power * challenge % P
    if known.ties:
        tie = _challenge(seed, "tie")
        out += [tie, *(tie * k % P for k in range(known.ties))]
    return (*out, 1, *[0] * known.checks, correct, loss)


def _challenge(seed: bytes, name: str) -> int:
    return digest_int(hash_words(seed, name)) & LOW_128
