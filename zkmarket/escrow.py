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

from .artifacts import Build, Manifest
from .backend import Proof
from .commitment import Commitment, RoundId, address_text
from .errors import ArtifactError, InputError
from .field import Point, encode_point
from .gram import GramProof, next_claim
from .round import NO_REFERENCES, References, RoundProof, aggregate_points, start_transcript

NOBODY = "0x" + "00" * 20
REFERENCES = ("root", "last")
"""Bits of `Plan.references`, the lowest first."""

RATE_UNIT = 10**9
"""A learning rate on chain is in billionths."""


class Phase(IntEnum):
    """States of a project; ADMIT is SUBMIT after its deadline, with enough seats taken."""

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
            between the least and the most (a token's reward and fee do not count); twice the reward is better. The
            penalty is at least the reward / the least number of trainers, unless the reward is a token, and at most
            the stake.
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


NO_VERIFIER = Verifier(NOBODY, bytes(32))


@dataclass(frozen=True)
class Verifiers:
    """The verifiers of a project: one of the settlement for every number of trainers.

    Attributes:
        range: of a full chunk; where an update has one chunk only and it is not full, `NO_VERIFIER`.
        range_last: of the last chunk; `range` where C divides D.
    """

    gram: Verifier
    range: Verifier
    range_last: Verifier
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
        manifest.fixed_point.value_bits,
        manifest.salts,
        manifest.chunks,
        offer.kappa,
        offer.beta,
        offer.beta_min,
        offer.beta_max,
        manifest.blinding,
        tuple(getattr(offer.windows, item.name) for item in fields(Windows)),
        verifiers.gram.words,
        verifiers.range.words,
        verifiers.range_last.words,
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


# ---------------------------------------------------------------- calldata


def point_words(points: Sequence[Point]) -> list[int]:
    """x, y, x, y, …"""
    return [coordinate for point in points for coordinate in point]


def points_hash(points: Sequence[Point]) -> bytes:
    """How a project registers a commitment, and an aggregate."""
    return keccak(b"".join(encode_point(point) for point in points))


def submit_words(commitment: Commitment) -> tuple[list[int], list[bytes]]:
    """Points and range proofs as `submit` takes them."""
    return point_words(commitment.points), [proof.data for proof in commitment.range_proofs]


def settle_words(proof: RoundProof, references: Sequence[Sequence[Point]] = ()) -> tuple[Any, ...]:
    """`RoundProof` of Types.sol: what the contract does not know itself.

    Args:
        references: points of every reference slot, as `References.points` gives them.
    """
    n = len(proof.commitments)
    instances = proof.settlement.instances
    points = [point for commitment in proof.commitments for point in commitment.points]
    mask, scores = mask_of(proof), instances[-n - 1 : -1]
    return (
        point_words([*points, *(p for slot in references for p in slot), *proof.mask_points, proof.gram_point]),
        instances[0],
        [word for claim in proof.gram.claims for word in claim],
        sum(bit << slot for slot, bit in enumerate(mask)),
        list(scores),
        instances[-1],
        proof.gram.base.data,
        proof.settlement.data,
    )


def proofs_hash(gram: bytes, settlement: bytes) -> bytes:
    """How a project logs the two proofs that settled a round."""
    return keccak(keccak(gram) + keccak(settlement))


def mask_of(proof: RoundProof) -> tuple[int, ...]:
    """Which slots a settlement accepts: its instances end with the mask, the scores and ν."""
    n = len(proof.commitments)
    return proof.settlement.instances[-2 * n - 1 : -n - 1]


def round_proof_of(
    words: Sequence[Any],
    manifest: Manifest,
    round_id: RoundId,
    beta: int,
    commitments: Sequence[Commitment],
    references: References = NO_REFERENCES,
) -> RoundProof:
    """The round proof behind `settle_words`: challenges and claims, which the contract computes, are computed again.

    Args:
        words: `RoundProof` of Types.sol, from a settlement's calldata.
        beta: norm bound of the round.
        commitments: of the admitted, in the order of slots.
        references: of the round; the contract has compared those in `words` with them.
    """
    points, q, folds, mask, scores, nu, gram_proof, settlement_proof = words
    pairs = [(points[at], points[at + 1]) for at in range(0, len(points), 2)]
    n, chunks = len(commitments), manifest.chunks
    held = len(manifest.references)
    mask_points, gram_point = tuple(pairs[(n + held) * chunks : -1]), pairs[-1]
    transcript = start_transcript(manifest, round_id, beta, commitments, mask_points, gram_point, references)
    r = transcript.slot_challenges(n + held + 1)
    transcript.absorb(q)
    claims = tuple(zip(folds[::2], folds[1::2], strict=True))
    claim = q
    for step, (a, x) in enumerate(claims):
        transcript.absorb(a, x)
        claim = next_claim(claim, a, x, transcript.fold_challenge(step))
    bits = [mask >> slot & 1 for slot in range(n)]
    return RoundProof(
        manifest.digest(),
        round_id,
        beta,
        tuple(commitments),
        mask_points,
        gram_point,
        GramProof(claims, Proof(bytes(gram_proof), (claim,))),
        Proof(bytes(settlement_proof), (q, *r, beta, *bits, *scores, nu)),
        references,
    )


# ---------------------------------------------------------------- signed messages


def membership_message(chain_id: int, project: str, trainer: str) -> dict[str, Any]:
    """The owner's word that a trainer is on its list."""
    return _typed(chain_id, project, "Membership", [("trainer", "address", trainer)])


def receipt_message(
    chain_id: int, project: str, aggregator: str, round_number: int, trainer: str, points: bytes, cid: bytes
) -> dict[str, Any]:
    """The aggregator's word that a trainer's update was received, decrypts and opens its commitment.

    Args:
        points, cid: keccak of the commitment's points, and of the CID, as the seat holds them.
    """
    words = [
        ("aggregator", "address", aggregator),
        ("round", "uint256", round_number),
        ("trainer", "address", trainer),
        ("points", "bytes32", points),
        ("cid", "bytes32", cid),
    ]
    return _typed(chain_id, project, "Receipt", words)


def publication_message(manifest: Manifest, proof: RoundProof, cid: bytes) -> dict[str, Any]:
    """The aggregator's word on where the aggregate of exactly this proof is served."""
    transcript = proof.transcript(manifest)
    transcript.absorb(proof.settlement.instances[0])
    for claim in proof.gram.claims:
        transcript.absorb(*claim)
    aggregate = aggregate_points(manifest, proof.commitments, mask_of(proof))
    words = [
        ("round", "uint256", proof.round_id.round),
        ("seed", "bytes32", transcript.seed),
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
