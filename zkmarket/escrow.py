"""What a project's contract is told and what it says: terms, calldata, signed messages, phases.

Pure: nothing here talks to a chain (market.py does) or proves anything. Addresses are 20-byte integers in
the engine and checksummed text on chain; this file turns one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from . import gram, projection
from .artifacts import Build, Manifest
from .backend import Proof
from .base import BaseProof, Points, powers_of
from .columns import Columns
from .commitment import Commitment, RoundId, address_text
from .errors import ArtifactError, InputError
from .field import P, Point, encode_point
from .projection import WINDOW, Shape, Weights
from .round import NO_REFERENCES, References, RoundProof, aggregate_points, start_transcript
from .transcript import Transcript, digest_words

NOBODY = "0x" + "00" * 20
REFERENCES = ("root", "last")
"""Bits of `Plan.references`, the lowest first."""

RATE_UNIT = 10**9
"""A learning rate on chain is in billionths."""


class Phase(IntEnum):
    """States of a project; ADMIT is SUBMIT after its deadline with enough seats taken, or with all of them taken."""

    CREATED = 0
    OPEN = 1
    SUBMIT = 2
    ADMIT = 3
    PROVE = 4
    SETTLED = 5
    VACANT = 6
    ENDED = 7


@dataclass(frozen=True)
class Windows:
    """Length of every phase in seconds; at least an hour each except on a development chain.

    Attributes:
        accept: for the aggregator to accept the office.
        start: from open to start.
        submit, admit, prove: of a round.
        claim: to say that an aggregate is not served.
        lock: how long a claim holds the aggregator's fee and bond.
        vacancy: to name a new aggregator and have it accept.
        exit: after that, and after a void round, before the next may start: for trainers to leave.
    """

    accept: int = 24 * 3600
    start: int = 24 * 3600
    submit: int = 6 * 3600
    admit: int = 3 * 3600
    prove: int = 6 * 3600
    claim: int = 24 * 3600
    lock: int = 7 * 24 * 3600
    vacancy: int = 3 * 24 * 3600
    exit: int = 24 * 3600


@dataclass(frozen=True)
class Offer:
    """What the owner decides, and cannot change afterwards. The rest of the terms follows from the builds.

    Attributes:
        aggregator: address of who is to accept the office.
        rounds: T.
        reward, fee: of one round, in wei or the token's smallest unit.
        stake_wei, bond_wei, penalty_wei: native coin. The bond is at least reward + fee + one penalty for every trainer
            between the least and the most, and for a root update if the rules use one (a token's reward and fee do not
            count); twice the reward is better. The penalty is at least the reward / the least number of trainers,
            unless the reward is a token, and at most the stake.
        beta, beta_min, beta_max: bound on squared norms at first, and its limits; beta_min at least D.
        kappa: thousandths; next bound = kappa · median squared norm.
        rates: learning rate of each round in billionths; the last holds for all later ones.
        model, cid: SHA-256 of the initial model, and where it is.
        void_limit: rounds that may come to nothing before the project ends.
        token: ERC-20 of the reward; default native coin.
        open_admission: anyone may join; default only whom the owner has signed for.
        nonce: tells projects apart that are the same in all else; the address commits to it too.
    """

    aggregator: str
    rounds: int
    reward: int
    fee: int
    stake_wei: int
    bond_wei: int
    penalty_wei: int
    beta: int
    beta_min: int
    beta_max: int
    kappa: int = 2000
    rates: tuple[int, ...] = (RATE_UNIT,)
    model: bytes = bytes(32)
    cid: bytes = b"none"
    void_limit: int = 3
    token: str = NOBODY
    open_admission: bool = False
    windows: Windows = Windows()
    nonce: int = 0

    @property
    def pool(self) -> int:
        """What the owner pays in: T · (R + F)."""
        return self.rounds * (self.reward + self.fee)


@dataclass(frozen=True)
class Verifier:
    """A deployed verifier: address, and keccak of its code."""

    address: str
    codehash: bytes

    @property
    def words(self) -> tuple[str, bytes]:
        return self.address, self.codehash


@dataclass(frozen=True)
class Verifiers:
    """The verifiers of a project: one of the settlement for every number of trainers."""

    base: Verifier
    settlement: Mapping[int, Verifier]


def check_builds(builds: Mapping[int, Build]) -> list[int]:
    """The numbers of trainers, in order; ArtifactError unless the builds are those of one project.

    All keys of a project come from one SRS, and commitments must mean the same whatever N is: the builds
    differ in the number of trainers, the rule's numbers and the settlement circuit, and in nothing else.
    """
    numbers = sorted(builds)
    if not numbers:
        raise ArtifactError("a project has a build for each number of trainers: got none")
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise ArtifactError(f"a project has a build for each number of trainers from least to most: got {numbers}")
    first = builds[numbers[0]].manifest
    for n in numbers:
        manifest = builds[n].manifest
        if manifest.trainers != n:
            raise ArtifactError(f"the build for {n} trainers is one for {manifest.trainers}")
        for name, value in _shared(first).items():
            if _shared(manifest)[name] != value:
                raise ArtifactError(f"builds for {numbers[0]} and {n} trainers are not of one project: {name} differs")
        if "last" in manifest.references and manifest.most_trainers < numbers[-1]:
            raise ArtifactError(
                f"the build for {n} trainers compares with a last aggregate of at most {manifest.most_trainers}"
                f" updates: rounds have up to {numbers[-1]}, so build it with --most-trainers {numbers[-1]}"
            )
    return numbers


def _shared(manifest: Manifest) -> dict[str, Any]:
    value = manifest.value
    names = ("params", "logrows", "salts", "chunks", "blinding_point", "srs", "layout", "score", "fixed_point")
    shared = {name: value[name] for name in (*names, "min_accepted", "beta_max")}
    shared["references of filter and score"] = manifest.references
    return shared | {name: circuit for name, circuit in value["circuits"].items() if name != "settlement"}


def terms_words(offer: Offer, owner: str, builds: Mapping[int, Build], verifiers: Verifiers) -> tuple[Any, ...]:
    """`Terms` of Types.sol, field by field in its order."""
    numbers = check_builds(builds)
    manifest = builds[numbers[0]].manifest
    if offer.beta_max > manifest.beta_max:
        raise InputError(f"the builds settle norm bounds up to {manifest.beta_max}: got beta_max {offer.beta_max}")
    return (
        owner,
        offer.stake_wei,
        offer.aggregator,
        offer.bond_wei,
        offer.token,
        offer.penalty_wei,
        offer.reward,
        offer.fee,
        offer.rounds,
        offer.void_limit,
        numbers[0],
        numbers[-1],
        manifest.min_accepted,
        offer.open_admission,
        manifest.params,
        manifest.logrows,
        manifest.columns.rows,
        manifest.fixed_point.value_bits,
        manifest.salts,
        manifest.chunks,
        offer.kappa,
        offer.beta,
        offer.beta_min,
        offer.beta_max,
        manifest.blinding,
        tuple(getattr(offer.windows, item.name) for item in fields(Windows)),
        verifiers.base.words,
        offer.model,
    )


def plan_words(builds: Mapping[int, Build], verifiers: Verifiers) -> list[tuple[Any, ...]]:
    """`Plan` of Types.sol for every number of trainers."""
    return [
        (
            verifiers.settlement[n].words,
            builds[n].manifest.digest(),
            *plan_rules(builds[n].manifest),
        )
        for n in check_builds(builds)
    ]


def plan_rules(manifest: Manifest) -> tuple[int, int, int, int]:
    """What `Plan` says of the rules: f, m, references, shift. A filter without Multi-Krum is f = 0, m = N there."""
    rule = manifest.filter
    references = sum(1 << REFERENCES.index(name) for name in manifest.references)
    return rule.f, rule.m or manifest.trainers, references, manifest.score_shift


# ---------------------------------------------------------------- what a settlement needs

GAS_LIMIT, CALLDATA_LIMIT = 14_000_000, 120_000
"""Of one transaction: no project is created whose largest round does not settle in two."""


@dataclass(frozen=True)
class Work:
    """Upper estimates of a settlement, as the factory makes them.

    Attributes:
        base_gas, decision_gas: of `proveBase` and of `settleProven`; a `settle` needs both.
        calldata: bytes of a transaction.
    """

    base_gas: int
    decision_gas: int
    calldata: int

    @property
    def in_one(self) -> bool:
        """Whether one transaction holds it."""
        return self.base_gas + self.decision_gas <= GAS_LIMIT

    @property
    def possible(self) -> bool:
        return max(self.base_gas, self.decision_gas) <= GAS_LIMIT and self.calldata <= CALLDATA_LIMIT


def settlement_work(trainers: int, params: int, logrows: int, references: int) -> Work:
    """Of a round of so many trainers. The numbers are those of Factory.sol.

    Args:
        references: bits of `Plan.references`.
    """
    columns = Columns(logrows)
    chunks = columns.chunks(params)
    shape = Shape(trainers + (references & 1), chunks, params, columns.rows, columns.width)
    slots = trainers + references.bit_count()
    points = slots * chunks + len(gram.masked_chunks(chunks)) + len(shape.mask_positions) + 1
    windows = sum(-(-bits // WINDOW) for bits in (shape.blocks, columns.rows - 1, columns.width))
    return Work(
        1_750_000 + windows * 23_000 + points * 8_000,
        1_300_000 + trainers * 35_000 + points * 2_500,
        30_000 + points * 64,
    )


# ---------------------------------------------------------------- calldata


def point_words(points: Sequence[Point]) -> list[int]:
    """x, y, x, y, …"""
    return [coordinate for point in points for coordinate in point]


def points_hash(points: Sequence[Point]) -> bytes:
    """How a project registers a commitment, and an aggregate."""
    return keccak(b"".join(encode_point(point) for point in points))


def submission_word(digest: bytes, cid: bytes) -> bytes:
    """What a seat holds, and a receipt signs: digest and CID of an update as one word."""
    return keccak(digest + keccak(cid))


def base_words(proof: RoundProof, cids: Sequence[bytes], references: Sequence[Sequence[Point]] = ()) -> tuple[Any, ...]:
    """`BaseProof` of Types.sol: what the contract does not know itself.

    Args:
        cids: that were submitted, of slots 1..N, and then of the root update if one was admitted.
        references: points of every reference slot, as `References.points` gives them.
    """
    base = proof.base
    return (
        point_words(all_points(proof, references)),
        [keccak(cid) for cid in cids],
        proof.settlement.instances[0],
        base.t0,
        base.z,
        [word for claim in base.claims for word in claim],
        [word for message in base.rounds for word in message],
        base.salt_square,
        base.proof.data,
    )


def all_points(proof: RoundProof, references: Sequence[Sequence[Point]] = ()) -> list[Point]:
    """In the order in which they are absorbed: slots 1..N, the references', slot 0's, P_0..P_μ, C_G."""
    slots = [commitment.points for commitment in proof.commitments] + list(references)
    points = [point for slot in slots for point in slot]
    return [*points, *proof.mask_points, *proof.projection_points, proof.gram_point]


def decision_words(proof: RoundProof) -> tuple[Any, ...]:
    """`Decision` of Types.sol."""
    n, instances = len(proof.commitments), proof.settlement.instances
    mask = sum(bit << slot for slot, bit in enumerate(mask_of(proof)))
    return mask, list(instances[-n - 1 : -1]), instances[-1], proof.settlement.data


def proofs_hash(base: bytes, settlement: bytes) -> bytes:
    """How a project logs the proofs that settled a round. `base` is empty where it was proven before."""
    return keccak((keccak(base) if base else bytes(32)) + keccak(settlement))


def mask_of(proof: RoundProof) -> tuple[int, ...]:
    """Which slots a settlement accepts: its instances end with the mask, the scores and ν."""
    n = len(proof.commitments)
    return proof.settlement.instances[-2 * n - 1 : -n - 1]


def round_proof_of(
    base: Sequence[Any],
    decision: Sequence[Any],
    manifest: Manifest,
    round_id: RoundId,
    beta: int,
    trainers: Sequence[int],
    references: References = NO_REFERENCES,
) -> RoundProof:
    """The round proof behind `base_words` and `decision_words`: what the contract computes is computed again.

    Args:
        base, decision: of Types.sol, from calldata that the contract has verified.
        beta: norm bound of the round.
        trainers: addresses of the admitted, in the order of slots.
        references: of the round; the contract has compared those in `base` with them.
    """
    words, _, q, t0, z, folds, rounds, salt_square, base_proof = base
    mask, scores, nu, settlement_proof = decision
    points = list(zip(words[::2], words[1::2], strict=True))
    n, chunks, shape = len(trainers), manifest.chunks, manifest.projection
    slots = [tuple(points[at * chunks : (at + 1) * chunks]) for at in range(n + len(manifest.references))]
    rest = points[len(slots) * chunks : -1]
    own = len(gram.masked_chunks(chunks))
    all_points = Points(tuple(slots), tuple(rest[:own]), tuple(rest[own:]))
    transcript = start_transcript(manifest, round_id, beta, trainers, all_points, points[-1])
    r = transcript.slot_challenges(manifest.slots)
    claims, messages = _pairs(folds), _pairs(rounds)
    proof = Proof(bytes(base_proof), ())

    weights = Weights.of(shape, transcript)
    transcript.absorb_projection(q, t0, bytes(z))
    eta = transcript.challenge("eta")
    _, folded = gram.check_folds(claims, q, chunks, transcript)
    sigmas, claim = projection.check_rounds(
        messages, projection.first_claim(shape, bytes(z), t0, eta), shape, transcript
    )
    transcript.absorb_points([proof.point(at) for at in range(3)])
    y = transcript.challenge("y")
    value = projection.evaluate(shape, weights, sigmas, eta, y)
    outputs = ((folded + salt_square) % P, salt_square, claim, *powers_of(y, manifest.logrows), value)
    return RoundProof(
        manifest.digest(),
        round_id,
        beta,
        tuple(Commitment(round_id, who, own) for who, own in zip(trainers, slots, strict=False)),
        all_points.mask,
        all_points.projection,
        points[-1],
        BaseProof(t0, bytes(z), claims, messages, Proof(proof.data, outputs)),
        Proof(bytes(settlement_proof), (q, *r, beta, *(mask >> at & 1 for at in range(n)), *scores, nu)),
        references,
    )


def _pairs(words: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


def last_seed(proof: RoundProof, references: Sequence[Sequence[Point]] = ()) -> bytes:
    """The transcript's seed when it has absorbed all that the prover sent: what names a base proof on chain.

    Args:
        references: points of every reference slot, as `References.points` gives them.
    """
    rid, base = proof.round_id, proof.base
    trainers = [commitment.trainer for commitment in proof.commitments]
    context = digest_words([proof.manifest_digest, rid.chain_id, rid.project, rid.round, proof.beta, *trainers])
    transcript = Transcript.start(context, all_points(proof, references))
    transcript.absorb_projection(proof.settlement.instances[0], base.t0, base.z)
    for message in (*base.claims, *base.rounds):
        transcript.absorb(*message)
    transcript.absorb_points([base.proof.point(at) for at in range(3)])
    return transcript.seed


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
