"""A project on a chain, read: its state, its terms, and from log and calldata all that an auditor needs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import eth_abi
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector

from ..build import Manifest
from ..chain import NOBODY, Chain, Contract, Event, codec, plain, transacting
from ..crypto import Point
from ..errors import ChainError, PassedOn
from ..round import Commitment, KnownReferences, RoundId, RoundProof
from .calldata import proofs_hash, round_proof_of, submission_word
from .state import State
from .structs import Account, Outcome, Plan, Root, Seat, Settlement, Terms, read_struct


def _points(words: Sequence[int]) -> tuple[Point, ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


@dataclass(frozen=True)
class Submitted:
    """What the log says of a submission.

    Attributes:
        trainer: its address; `NOBODY` for a root update.
        digest: of the commitment's points.
        cid: where the ciphertext of points and opening will be.
    """

    trainer: str
    digest: bytes
    cid: bytes

    @property
    def word(self) -> bytes:
        """What a receipt signs."""
        return submission_word(self.digest, self.cid)


def settlement_of(event: Event) -> Settlement:
    """What a `Settled` of the log says was decided."""
    return read_struct(Settlement, event.arguments["settlement"])


class ProjectView(Contract):
    """A project that is read, not acted on. All methods raise ChainError if the node fails."""

    def __init__(self, chain: Chain, address: str):
        super().__init__(chain, "Project", address)

    # ---- reading

    def state(self, depth: int = 0) -> State:
        """Where the project stands, in one call.

        Args:
            depth: blocks below the latest one. A reorganisation of fewer cannot take back what is read there.

        Raises:
            ChainError: the project was not there yet, or the node does not know that block.
        """
        with transacting("reading the block number"):
            block = max(0, self.chain.web3.eth.block_number - depth)
        try:
            state = self._read("state", block=block)
        except ChainError:
            with transacting("reading code"):
                if self.chain.web3.eth.get_code(self.address, block):
                    raise
            raise ChainError(
                f"no project at {self.address} at block {block} yet: wait, or read less than {depth} blocks deep"
            ) from None
        return read_struct(State, state | {"block": block})

    def factory(self) -> str:
        """Who made the project; believe it only if that factory lists it."""
        return str(self._call("factory"))

    def terms(self) -> Terms:
        """What the owner fixed at creation."""
        return read_struct(Terms, self._read("terms"))

    def plan(self, trainers: int) -> Plan:
        """What a round of so many trainers is settled with; zeros where no round can have so many."""
        return read_struct(Plan, self._read("plan", trainers))

    def rates(self) -> tuple[int, ...]:
        """Learning rate of each round in billionths; the last holds for all later ones."""
        return tuple(self._call("rates"))

    def account(self, who: Any) -> Account:
        """A trainer's standing, and its refund."""
        return read_struct(Account, self._read("account", str(who)) | {"refundWei": self._call("refundWei", str(who))})

    def seats(self) -> list[Seat]:
        """Submissions of the current round in the order of slots; once locked, the admitted only."""
        return [read_struct(Seat, seat) for seat in self._read("seats")]

    def root(self) -> Root:
        """The owner's root update."""
        return Root(*self._call("root"))

    def is_proven(self, seed: bytes) -> bool:
        """Whether `prove_base` has been accepted for a transcript that ends with this seed, of whatever round."""
        return bool(self._call("entry", seed) != bytes(32))

    def proven_losses(self) -> int:
        """A bit for each coalition of the round whose loss is proven: see `Score` of Types.sol."""
        return int(self._call("proven"))

    def scoring_failed(self, round_number: int) -> bool:
        """Whether the losses of a round were not proven in time: its fee went back to the pool."""
        return bool(self._of_round("ScoringFailed", round_number))

    def outcome(self) -> Outcome:
        """What the last settled round decided."""
        return read_struct(Outcome, self._read("outcome"))

    def round_id(self, round_number: int | None = None) -> RoundId:
        """What commitments and proofs of a round are bound to; default the current one."""
        number = self._call("round") if round_number is None else round_number
        return RoundId(self.chain.id, int(self.address, 16), number)

    # ---- auditing: from the log and from calldata alone

    def submissions(self, round_number: int) -> list[Submitted]:
        """What was submitted to a round, in order: digests, for no update shows before the round is settled."""
        found = [event.arguments for event in self._of_round("Submitted", round_number)]
        return [Submitted(said["trainer"], said["digest"], said["cid"]) for said in found]

    def offered_root(self, round_number: int) -> Submitted | None:
        """The root update that the owner offers for a round; of several the last one counts."""
        found = [event.arguments for event in self._of_round("RootOffered", round_number)]
        return Submitted(NOBODY, found[-1]["digest"], found[-1]["cid"]) if found else None

    def commitments(self, round_number: int) -> list[Commitment]:
        """Of the trainers whose updates a round was settled with, in the order of slots.

        Raises:
            ChainError: the round was not settled: the chain has digests only.
        """
        settlement = settlement_of(self._settled(round_number))
        slots = self._slots(settlement.points)
        round_id = self.round_id(round_number)
        return [Commitment(round_id, int(who, 16), own) for who, own in zip(settlement.trainers, slots, strict=False)]

    def root_commitment(self, round_number: int) -> Commitment | None:
        """The owner's root update that a round was settled with, if the aggregator gave a receipt for it; else None."""
        settlement = settlement_of(self._settled(round_number))
        if not self._of_round("RootAdmitted", round_number):
            return None
        owner, slots = self.terms().owner, self._slots(settlement.points)
        return Commitment(self.round_id(round_number), int(owner, 16), slots[len(settlement.trainers)])

    def _settled(self, round_number: int) -> Event:
        settled = self._of_round("Settled", round_number)
        if not settled:
            raise ChainError(f"round {round_number} of {self.address} was not settled")
        return settled[0]

    def _slots(self, words: Sequence[int]) -> list[tuple[Point, ...]]:
        """What a settlement logs of points, by as many as a slot has; what stands behind the slots is cut anyhow."""
        points, chunks = _points(words), self.terms().chunks
        return [points[at : at + chunks] for at in range(0, len(points), chunks)]

    def last_aggregate(self, round_number: int) -> tuple[Point, ...]:
        """Commitment of the aggregate that a round refers to as the last one: of the round settled before it.

        Empty if there is none: no round was settled, its aggregate was withheld, or counted as not served.
        """
        closed = [event.arguments for event in self._logged(0, "latest", [self._topic("Closed")])]
        before = [said for said in closed if said["round"] < round_number]
        if not before or before[-1]["skipped"]:
            return ()
        return _points(settlement_of(self._of_round("Settled", before[-1]["round"])[0]).aggregate)

    def references(self, manifest: Manifest, round_number: int) -> KnownReferences:
        """What updates of a round are compared with, where the rules of a manifest compare with anything."""
        return KnownReferences(
            self.root_commitment(round_number) if "root" in manifest.references else None,
            (self.last_aggregate(round_number) or None) if "last" in manifest.references else None,
        )

    def _reference_points(self, proof: RoundProof) -> list[tuple[Point, ...]]:
        """Of every reference slot: the blinding point in each chunk, the zero vector's, where a round has none."""
        bits = self.plan(len(proof.commitments)).references
        if not bits:
            return []
        terms = self.terms()
        absent = (terms.blinding,) * terms.chunks
        held = (proof.references.root.points if proof.references.root else None, proof.references.last)
        return [points or absent for at, points in enumerate(held) if bits >> at & 1]

    def round_proof(self, manifest: Manifest, round_number: int) -> RoundProof:
        """The proof that settled a round, for `auditor.verify_round` to check again.

        Args:
            manifest: of the build for as many trainers as were admitted.

        Raises:
            ChainError: the round was not settled.
            PassedOn: the transaction was passed on by another contract, or is not the one that was verified.
        """
        settled = self._settled(round_number)
        settlement = settlement_of(settled)
        beta = self._of_round("Started", round_number)[0].arguments["beta"]
        try:
            base, decision, *_ = self._calldata(settled, "settle")
            first = bytes(base[-1])
        except PassedOn:
            seed, *_, decision, _, _ = self._calldata(settled, "settleProven")
            base, first = self._proven_base(round_number, seed), b""
        if proofs_hash(first, decision[-1]) != settlement.proofs:
            raise PassedOn(f"transaction {settled.transaction} has calldata with other proofs than it logged")
        trainers = [int(who, 16) for who in settlement.trainers]
        references = self.references(manifest, round_number)
        return round_proof_of(base, decision, manifest, self.round_id(round_number), beta, trainers, references)

    def loss_proofs(self, round_number: int) -> dict[int, tuple[int, int, bytes]]:
        """Of every loss that was proven in a round, by its coalition's slots as bits: correct predictions, loss, and
        the proof's bytes, for whoever has the compiled model to verify them again.

        Raises PassedOn: another contract passed a proof on.
        """
        found = {}
        for event in self._of_round("UtilityProven", round_number):
            (given,) = self._calldata(event, "proveUtility")
            coalition, *_, correct, loss, proof = given
            found[coalition] = correct, loss, bytes(proof)
        return found

    def _proven_base(self, round_number: int, seed: bytes) -> Sequence[Any]:
        """`BaseProof` of Types.sol as `prove_base` sent it. PassedOn if nobody sent it in a transaction of its own."""
        for event in self._of_round("BaseProven", round_number):
            if event.arguments["seed"] == seed:
                with contextlib.suppress(PassedOn):  # the same may have been sent again
                    base: Sequence[Any] = self._calldata(event, "proveBase")[0]
                    return base
        raise PassedOn(f"the base proof of round {round_number} was passed on by another contract: no calldata of it")

    def _of_round(self, name: str, round_number: int) -> list[Event]:
        topic = self._topic(name)
        return list(self._logged(0, "latest", [topic, f"0x{round_number:064x}"]))

    def _calldata(self, event: Event, method: str) -> tuple[Any, ...]:
        """Arguments of the call that logged an event, read as the contract reads them: it takes any padding.

        PassedOn if that call is not the transaction's own: another contract made it, or this one called another
        (by a payment, say) that called back.
        """
        with transacting("reading a transaction"):
            sent = self.chain.web3.eth.get_transaction(event.transaction)
        item = next(item for item in self.container.abi if item.get("name") == method)
        data, selector = bytes(sent["input"]), function_abi_to_4byte_selector(item)
        if sent["to"] != self.address or not data.startswith(selector):
            raise PassedOn(
                f"transaction {event.transaction} was passed on by another contract: no calldata of {method}"
            )
        types = [collapse_if_tuple(part) for part in item["inputs"]]
        try:
            return tuple(plain(value) for value in codec().decode(types, data[4:], strict=False))
        except eth_abi.exceptions.DecodingError as error:
            raise PassedOn(f"transaction {event.transaction} has calldata that cannot be read: {error}") from error
