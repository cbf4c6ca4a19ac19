"""One project on a chain: every transaction that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..build import Manifest
from ..chain import NOBODY, Receipt, sign
from ..crypto import Point
from ..errors import ChainError, InputError
from ..round import Commitment, RoundProof
from .calldata import base_words, decision_words, last_seed, utility_words
from .signing import address_of, membership_message, publication_message, receipt_message
from .view import ProjectView


def _encryption_key(key: bytes) -> bytes:
    """Brownie would fill a shorter one up with zeros."""
    if len(key) != 32:
        raise InputError(f"an encryption key has 32 bytes: got {len(key)}")
    return key


class Project(ProjectView):
    """A project on a chain. Each method sends one transaction of `sender`; what it reads is `ProjectView`'s.

    All raise TransactionReverted with the contract's reason, and ChainError if the node fails.
    """

    created: Receipt | None = None

    # ---- signing

    def sign_membership(self, owner: Any, trainer: Any) -> bytes:
        """The owner lists a trainer."""
        return sign(self.chain, owner, membership_message(self.chain.id, self.address, str(trainer)))

    def sign_receipt(self, aggregator: Any, trainer: Any | None, submission: bytes) -> bytes:
        """The aggregator says that it received an update of the current round, and that it opens.

        Args:
            trainer: None stands for the owner's root update.
            submission: the word that `seats` or `root` gives.
        """
        number, who = self._call("round"), NOBODY if trainer is None else str(trainer)
        message = receipt_message(self.chain.id, self.address, str(aggregator), number, who, submission)
        return sign(self.chain, aggregator, message)

    def sign_publication(self, aggregator: Any, manifest: Manifest, proof: RoundProof, cid: bytes) -> bytes:
        """The aggregator says where the aggregate of exactly this proof is served."""
        return sign(self.chain, aggregator, publication_message(manifest, proof, cid))

    # ---- aggregator

    def accept(self, sender: Any, encryption_key: bytes = bytes(32)) -> Receipt:
        """Take the office of the aggregator and pay the bond.

        Args:
            encryption_key: 32 bytes; the owner seals its root updates to it, where the rules use them.
        """
        value = self.terms().bond_wei
        return self._send("accept", "accept", _encryption_key(encryption_key), sender=sender, value=value)

    def top_up(self, sender: Any) -> Receipt:
        """Fill the bond up."""
        missing = self.terms().bond_wei - self._call("bondWei")
        return self._send("top up", "topUp", sender=sender, value=missing)

    def start(self, sender: Any, encryption_key: bytes, keyring: bytes = b"") -> Receipt:
        """Start a round.

        Args:
            encryption_key: 32 bytes; trainers seal their updates to it.
            keyring: CID of a sealed keyring with which members open the aggregates of earlier rounds.
        """
        return self._send("start", "start", _encryption_key(encryption_key), keyring, sender=sender)

    # ---- trainers

    def join(self, sender: Any, membership: bytes = b"", encryption_key: bytes = bytes(32)) -> Receipt:
        """Become a trainer, or fill one's stake up, or change one's key.

        Args:
            membership: the owner's signature, unless anyone may join.
            encryption_key: X25519, 32 bytes; aggregates are sealed to it. The one given last counts: zeros
                take back an earlier one.
        """
        key = _encryption_key(encryption_key)
        own = self.account(sender)
        if own.stake_wei and own.voids_seen < self._call("voidRounds"):
            self._send("refresh", "refresh", str(sender), sender=sender)  # penalties that are not taken yet
            own = self.account(sender)
        missing = self.terms().stake_wei - own.stake_wei
        return self._send("join", "join", membership, key, sender=sender, value=missing)

    def leave(self, sender: Any) -> Receipt:
        return self._send("leave", "leaveProject", sender=sender)

    def submit(self, sender: Any, commitment: Commitment, cid: bytes) -> Receipt:
        """Commit to an update by its digest, and say where its ciphertext will be."""
        return self._send("submit", "submit", commitment.digest(), cid, sender=sender)

    # ---- admission and settlement

    def admit(self, sender: Any, receipts: Mapping[Any | None, bytes]) -> Receipt:
        """Show the aggregator's receipts for submissions, in one transaction.

        Args:
            receipts: by trainer; None stands for the owner's root update. Who is admitted already is passed over.
        """
        trainers = [NOBODY if who is None else str(who) for who in receipts]
        return self._send("admit", "admit", trainers, list(receipts.values()), sender=sender)

    def lock(self, sender: Any) -> Receipt:
        """Freeze the admitted set: the reward is owed."""
        return self._send("lock", "lock", sender=sender)

    def settle(self, sender: Any, proof: RoundProof, theta: Sequence[Point], cid: bytes, publication: bytes) -> Receipt:
        """Have a round verified and paid; anyone may.

        Args:
            theta: commitment of the model before the round.
        """
        words = self._base_words(proof), decision_words(proof, theta), cid, publication
        return self._send("settle", "settle", *words, sender=sender)

    def prove_base(self, sender: Any, proof: RoundProof) -> Receipt:
        """The first half of a settlement that one transaction does not hold; anyone may."""
        return self._send("prove base", "proveBase", self._base_words(proof), sender=sender)

    def settle_proven(
        self, sender: Any, proof: RoundProof, theta: Sequence[Point], cid: bytes, publication: bytes
    ) -> Receipt:
        """The second half, for a round proof whose base proof was accepted before; anyone may."""
        points, cids, q, *_ = self._base_words(proof)
        seed = last_seed(proof, self._reference_points(proof))
        words = seed, points, cids, q, decision_words(proof, theta), cid, publication
        return self._send("settle", "settleProven", *words, sender=sender)

    def _base_words(self, proof: RoundProof) -> tuple[Any, ...]:
        """With the CIDs that the round's submissions named: the contract has them as hashes only."""
        number = proof.round_id.round
        named = {int(one.trainer, 16): one.cid for one in self.submissions(number)}
        strangers = [address_of(one.trainer) for one in proof.commitments if one.trainer not in named]
        if strangers:
            raise ChainError(f"the log has no submission of {strangers[0]} to round {number} of {self.address}")
        cids = [named[commitment.trainer] for commitment in proof.commitments]
        if self.root().admitted == number:
            offered = self.offered_root(number)
            if offered is None:
                raise ChainError(f"the log has no root update of round {number} of {self.address}")
            cids.append(offered.cid)
        return base_words(proof, cids, self._reference_points(proof))

    def prove_utility(
        self,
        sender: Any,
        coalition: Sequence[int],
        descriptor: Sequence[int],
        model: Sequence[Point],
        claim: tuple[int, int],
        proof: bytes,
    ) -> Receipt:
        """Have the loss of one coalition of the round verified; anyone may. The last one that is due pays the round.

        Args:
            coalition: its slots.
            descriptor: words of the compiled model's description.
            model: commitment of the model of all accepted.
            claim: correct predictions and loss.
        """
        number, mask = self._call("round"), self.outcome().mask
        bits = sum(1 << slot - 1 for slot in coalition)
        named = {one.trainer: one.cid for one in self.submissions(number)}
        left = [
            (one.points, named[address_of(one.trainer)])
            for slot, one in enumerate(self.commitments(number))
            if (mask & ~bits) >> slot & 1
        ]
        words = utility_words(bits, descriptor, model, left, claim, proof)
        return self._send("prove utility", "proveUtility", words, sender=sender)

    def claim(self, sender: Any) -> Receipt:
        """Say that the aggregate is not served."""
        return self._send("claim", "claim", sender=sender)

    def unclaim(self, sender: Any) -> Receipt:
        return self._send("unclaim", "unclaim", sender=sender)

    # ---- owner

    def offer_root(self, sender: Any, commitment: Commitment, cid: bytes) -> Receipt:
        """Offer a root update for the next round, or one in its place before the start.

        The first offer pays a deposit of p, which is lost if the aggregator gives no receipt for the update.

        Args:
            cid: where points and opening are, sealed to the key that the aggregator accepted with.
        """
        value = 0 if self.root().offered else self.terms().penalty_wei
        return self._send("offer root", "offerRoot", commitment.digest("root"), cid, sender=sender, value=value)

    def name_aggregator(self, sender: Any, candidate: Any) -> Receipt:
        return self._send("name", "nameAggregator", str(candidate), sender=sender)

    def announce_end(self, sender: Any) -> Receipt:
        return self._send("announce end", "announceEnd", sender=sender)

    def end(self, sender: Any) -> Receipt:
        return self._send("end", "end", sender=sender)

    # ---- time-outs, by anyone

    def cancel(self, sender: Any) -> Receipt:
        return self._send("cancel", "cancel", sender=sender)

    def skip(self, sender: Any) -> Receipt:
        return self._send("skip", "skip", sender=sender)

    def void_round(self, sender: Any) -> Receipt:
        return self._send("void", "voidRound", sender=sender)

    def fail_admission(self, sender: Any) -> Receipt:
        return self._send("fail admission", "failAdmission", sender=sender)

    def fail(self, sender: Any) -> Receipt:
        return self._send("fail", "fail", sender=sender)

    def fail_score(self, sender: Any) -> Receipt:
        return self._send("fail score", "failScore", sender=sender)

    def next(self, sender: Any) -> Receipt:
        """Close a settled round."""
        return self._send("next", "next", sender=sender)

    # ---- money out

    def withdraw(self, sender: Any, to: Any | None = None) -> Receipt:
        """Everything in native coin that the sender may take; to itself by default."""
        return self._send("withdraw", "withdraw", str(to or sender), sender=sender)

    def withdraw_token(self, sender: Any, to: Any | None = None) -> Receipt:
        """The reward where it is a token."""
        return self._send("withdraw token", "withdrawToken", str(to or sender), sender=sender)

    def burn(self, sender: Any) -> Receipt:
        """Send what was burnt to the burn address."""
        return self._send("burn", "burn", sender=sender)
