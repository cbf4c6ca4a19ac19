"""What a contract's refusal means, as a sentence: what it was, what there is, what is wanted, what to do.

A refusal is `WrongPhase(have=CREATED, want=SUBMIT)` (see ./abi.py), and stays so for programs. People read the
sentence: phases by name, times as dates, amounts in ether. Every error of our contracts is here: a test walks the ABI.
"""

from __future__ import annotations

import re

from eth_utils.address import to_checksum_address

from ..units import amount_text, date_text
from .phase import NOBODY

PHASES = {
    "CREATED": "the aggregator has not accepted its office yet",
    "OPEN": "the next round has not been started yet",
    "SUBMIT": "trainers submit their updates",
    "ADMIT": "submissions are closed, and the aggregator gives receipts",
    "PROVE": "the round's trainers are fixed, and its proof is awaited",
    "SCORE": "the round is settled, and the losses that it is paid by are being proven",
    "SETTLED": "the last round is settled, and it can be claimed that its aggregate is not served",
    "VACANT": "the aggregator has failed, and its office is vacant",
    "ENDED": "all that can still be done is to withdraw what is owed, with `zkmarket ROLE withdraw`",
}

TAKEN_IN = {"join": "OPEN or SUBMIT", "announce end": "OPEN, SUBMIT, ADMIT, PROVE, SCORE or SETTLED"}
"""Calls that more phases take than the one which the contract names."""

FORGED = "a proof that `zkmarket` made for this round has it right"

SENTENCES = {
    "WrongPhase": "the project is in phase {have:phase}; this is taken in {want:taken}",
    "TooEarly": "it is {have:date} by the chain's clock: this is taken from {want:date} on; wait until then",
    "TooLate": "it is {have:date} by the chain's clock: this was taken until {want:date}; the phase is over, and its"
    " time-out can be called by anybody",
    "WrongCaller": "account {have:address} may not do this, {want:address} may: use that account's --keystore",
    "WrongValue": "{have:amount} came with it, {want:amount} are wanted: what is wanted has changed meanwhile, or is"
    " paid already; run the command again",
    "WrongLength": "`{what}` has {have} entries or bytes, {want} are wanted: {forged}",
    "OutOfBounds": "`{what}` is {have}: it is from {least} to {most}",
    "NotAMember": "{have:address} is no trainer of this project: join first, with `zkmarket trainer join`",
    "StakeNotFull": "the stake is {have:amount}, {want:amount} are wanted, since a penalty was taken: fill it up"
    " with `zkmarket trainer join`",
    "BondNotFull": "the bond is {have:amount}, {want:amount} are wanted, since a penalty was taken: `zkmarket"
    " aggregator run` fills it up",
    "AlreadySubmitted": "{trainer:address} has submitted to round {round} already, and may do so once",
    "LiveSubmission": "round {round} is not decided yet for {trainer:address}, which has submitted to it or may"
    " still owe a penalty for not doing so: the stake is free again once it is",
    "NotEnoughSubmissions": "{have} updates are admitted, {want} are wanted: wait for more receipts; the admission"
    " fails at its deadline",
    "EnoughSubmissions": "{have} updates are admitted, {want} are enough: the round is locked instead",
    "NoSuchSeat": "{trainer:seat} has no submission in round {round} that counts",
    "WrongSigner": "what is shown is signed by {have:signer}, not by {want:address}, for this account and project",
    "WrongPoints": "the commitment in slot {slot} is another one than was submitted: its hash is {have}, wanted"
    " {want}; {forged}",
    "WrongModel": "the call is on another model than the contract carries: the hash of its commitment is {have},"
    " wanted {want}; read the log again",
    "WrongProofPoint": "the `{proof}` proof commits to the point ({haveX}, {haveY}): ({wantX}, {wantY}) follows from"
    " the round's commitments; {forged}",
    "VerifierChanged": "the code at verifier {verifier:address} has hash {have}: the project was made with {want};"
    " no round can be settled with it",
    "VerifierDelegates": "verifier {verifier:address} is an account that delegates, whose code can be exchanged:"
    " deploy the verifier's own code",
    "ProofRejected": "the verifier rejects the `{proof}` proof: it is of another statement, build or round",
    "WrongCid": "the CID has {have} bytes: it has at least one and at most {most}, and none where the aggregate is"
    " withheld",
    "NothingToWithdraw": "nothing is owed to {who:address} now: a stake is free once its owner has left or the"
    " project has ended",
    "PaymentRefused": "{to:address} does not take {amount:amount}: withdraw to another address",
    "AlreadyClaimed": "{who:address} has claimed this round's aggregate already, and may do so once",
    "NotClaimed": "{who:address} has no claim on this round's aggregate that could be taken back",
    "NothingToServe": "round {round} has no aggregate that could be claimed: it is withheld, with too few accepted",
    "AlreadyInitialised": "the project has its terms already: they are set once, by its factory",
    "NoRootSlot": "the project's rules compare with no root update (its references are {references}): offer none",
    "NotProven": "the first half of a settlement with seed {seed} has not been accepted in this round: prove the"
    " base again, with the same words",
    "NotDue": "the coalition {coalition} is none that the project's score asks for, of the accepted slots {accepted}:"
    " both are bits, slot 1 lowest",
    "AlreadyProven": "the loss of coalition {coalition} in round {round} is proven already: there is nothing to do",
    "WrongDescriptor": "the compiled model is another one than the project's: the hash of its description is {have},"
    " wanted {want}",
    "WrongBatch": "the proof is of another validation batch: the hash of its commitment is {have}, wanted {want}",
    "AlreadyCreated": "the very same project was created before, at {project:address}: run `zkmarket owner status`,"
    " or create another with another nonce",
    "TokenTookAFee": "{have} units of the token have arrived, {want} were sent: a token that takes a fee of"
    " transfers cannot pay the pool",
    "FailedDeployment": "the project's contract could not be created: give the transaction more gas",
    "InsufficientBalance": "the contract has {balance:amount}, {needed:amount} are needed: please report it",
    "ReentrancyGuardReentrantCall": "who was being paid has called back in the same transaction: pay to an address"
    " that does not",
    "SafeERC20FailedOperation": "token {token:address} refused the transfer: see its balance, its allowance, and"
    " whether it is frozen",
    "PointNotOnCurve": "({x}, {y}) is not a point of the curve BN254: {forged}",
    "ScalarNotCanonical": "{have} is no number of the field, which are below its prime: {forged}",
    "TooFewPoints": "{have} words of points came, {want} are wanted: {forged}",
    "NoGeometricSum": "the powers of {eta} and {y} have no sum, as they have for nearly all challenges: prove the"
    " round again",
    "PowerFailed": "the chain could not compute {base} to the power of {exponent}: it lacks the precompile for it,"
    " or the call had too little gas",
    "WrongPrecompile": "the chain's curve arithmetic gives a false answer at precompile {which}: no project can be"
    " settled on it; choose another chain",
}

SHOWN = {
    "join": "it is the owner who signs who may join: ask for what `zkmarket owner list YOUR-ADDRESS` prints, and"
    " give it as --membership",
    "admit": "receipts are the aggregator's of this round",
    "settle": "where the aggregate is served is for the aggregator to sign",
}
"""Who signs what a call shows."""


class _Value(str):
    """An argument of a refusal, which a sentence shows as its kind."""

    call = ""

    def __format__(self, kind: str) -> str:
        if kind == "phase":
            return f"{self} ({PHASES[self]})"
        if kind == "taken":
            return TAKEN_IN.get(self.call, str(self))
        if kind == "date":
            return date_text(int(self))
        if kind == "amount":
            return amount_text(int(self))
        if kind in ("address", "signer", "seat"):
            nobody = {"signer": "nobody", "seat": "the owner's root update"}.get(kind)
            return nobody if nobody and self == NOBODY else to_checksum_address(self)
        return str(self)


def sentence(call: str, reason: str) -> str:
    """A refusal in words; as it is if it is none of ours.

    Args:
        call: what was called, in words, such as "join".
        reason: such as ``TooLate(have=8, want=7)``.
    """
    name, _, inside = reason.partition("(")
    if name not in SENTENCES:
        return reason
    values = {"forged": _Value(FORGED)}
    for argument, text in re.findall(r"(\w+)=([^,)]*)", inside):
        values[argument] = _Value(text)
        values[argument].call = call
    text = SENTENCES[name].format(**values)
    if name == "WrongPhase" and values["have"] != "ENDED":
        text += _wait(call, values["have"])
    if name == "WrongSigner" and call in SHOWN:
        text += f"; {SHOWN[call]}"
    return text


def _wait(call: str, have: str) -> str:
    """What to do about a phase that is not the right one."""
    if call == "join":
        return "; wait, or leave it to `zkmarket trainer run --join`, which joins as soon as it can"
    return "; wait, or leave it to the role's `run`, which does each step when it is time"
