"""What an auditor reads from calldata, when who sends it does not want it read: real proofs, odd transactions.

The contract takes any padding, and does not care who calls it. Whoever verifies a round again must read what the
contract read, or say that the proof is in no calldata; it must never fail, since anybody may send a settlement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import doubles
from tests.contracts.real import (
    CID,
    ETHER,
    KEY,
    Real,
    RealProject,
    encode_call,
    first_model,
    layout,
    made,
    params_of,
    real,
)
from zkmarket.chain import Chain, Phase
from zkmarket.errors import PassedOn
from zkmarket.market import History, Log, last_seed
from zkmarket.round import Decision, Submission

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture


def dirty(project: RealProject, method: str, *arguments: Any) -> bytes:
    """A call with ones for zeros in the padding of its byte strings, and with bytes after its end."""
    data = bytearray(encode_call(project.project, method, *arguments))
    labels = layout(project.project, method, *arguments)
    lengths = {"cid": len(CID), "publication": 65, "base.z": 14 * 520}
    padded = 0
    for index, label in enumerate(labels):
        name = label.split(" word ")[0]
        if label.endswith(" and padding") and name in lengths:
            end = 4 + 32 * (index + 1)
            free = -lengths[name] % 32
            assert free and bytes(data[end - free : end]) == bytes(free)
            data[end - free : end] = b"\xff" * free
            padded += 1
    assert padded == {"settle": 3, "settleProven": 2}.get(method, 1)
    return bytes(data) + b"and more" * 5


def send(project: RealProject, sender: Any, data: bytes) -> None:
    project.chain.transact("an odd transaction", sender, project.project.address, data)


def submit_dirty(project: RealProject, trainer: Any) -> Submission:
    submission = project.submission(trainer)
    send(project, trainer, dirty(project, "submit", submission.commitment.digest(), CID))
    return submission


def verified(project: RealProject, said: list[str]) -> Decision:
    """What `History.verify` makes of the first round."""
    past = History(project.project, None, project.builds, None, Path("/nowhere"), None, said.append)  # type: ignore[arg-type]
    past._first = first_model(project.build)
    log = past.log()
    return past.verify(log.settled()[0], log)


def check(project: RealProject, decision: Decision) -> None:
    """It is what the log says, and all are accepted."""
    (settled,) = Log(project.project.events()).settled()
    assert (decision.mask, decision.scores, decision.aggregate) == (settled.mask, settled.scores, settled.aggregate)
    assert decision.nu == settled.nu
    assert sum(decision.mask) == 3


@dataclass
class Odd:
    """A project of two trainers and a contract that is the third: one round is proven for all tests here."""

    project: RealProject
    wallet: Any
    rich: Any  # to whom the project owes a stake

    @classmethod
    def opened(cls, real: Real) -> Odd:
        wallet = doubles.deploy(real.chain, doubles.WALLET)
        project = real.open(made(3, 3, params_of(1)), members=2)
        rich = real.trainers[10]
        project.project.join(rich, encryption_key=KEY)
        project.project.leave(rich)
        odd = cls(project, wallet, rich)
        odd.relay(encode_call(project.project, "join", b"", KEY), ETHER)
        project.members.append(wallet)
        return odd

    def relay(self, data: bytes, value: int = 0) -> None:
        self._order("run", data, value)

    def withdraw(self, data: bytes) -> None:
        """Somebody's withdrawal to the contract, which passes a call on as it is paid."""
        self._order("onPayment", data)
        self.project.project.withdraw(self.rich, self.wallet.address)
        assert self.wallet.reentered()

    def _order(self, method: str, data: bytes, value: int = 0) -> None:
        order = getattr(self.wallet, method).encode_input(self.project.project.address, data)
        words = bytes.fromhex(order.removeprefix("0x"))
        self.project.chain.transact(method, self.project.real.stranger, self.wallet.address, words, value)

    def submission(self) -> Submission:
        """The contract's."""
        return self.project.submission(self.wallet, self.project.updates()[0])

    def locked(self) -> list[Submission]:
        """A round in PROVE, the contract's submission relayed."""
        self.project.start()
        first = self.project.submit_all(self.project.members[:2])
        self.relay(self.project.submit_data(self.submission().commitment))
        lock(self.project)
        return [*first, self.submission()]


def lock(project: RealProject) -> None:
    project.pass_deadline()
    project.admit(project.members)
    project.project.lock(project.real.stranger)


def test_padding_that_is_not_zero_hides_no_proof(chain: Chain, real: Real) -> None:
    """Attack: ones behind `cid`, which the contract ignores and a strict decoder refuses; and bytes behind the call."""
    odd = Odd.opened(real)
    project = odd.project
    project.start()
    first = [submit_dirty(project, trainer) for trainer in project.members[:2]]
    odd.relay(project.submit_data(odd.submission().commitment))
    slots = [*first, odd.submission()]
    assert [one.digest for one in project.project.submissions(1)] == [one.commitment.digest() for one in slots]
    lock(project)
    proof, _ = project.prove(slots)
    base, decision = project.settle_words(proof)
    publication = project.publication(proof)
    with chain.rolled_back():
        send(project, real.stranger, dirty(project, "proveBase", base))
        second = (last_seed(proof), *base[:3], decision, CID, publication)
        send(project, real.stranger, dirty(project, "settleProven", *second))
        assert project.project.round_proof(project.build.manifest, 1) == proof
    send(project, real.stranger, dirty(project, "settle", base, decision, CID, publication))
    assert project.project.round_proof(project.build.manifest, 1) == proof
    said: list[str] = []
    decision = verified(project, said)
    check(project, decision)
    assert decision.nu > 0 and not said


def test_a_settlement_inside_a_withdrawal_is_taken_on_the_contracts_word(chain: Chain, real: Real) -> None:
    """Attack: a transaction to the project itself, whose calldata is `withdraw`'s: the payee settles as it is paid."""
    odd = Odd.opened(real)
    project = odd.project
    proof, _ = project.prove(odd.locked())
    odd.withdraw(project.settle_data(proof))
    assert project.project.state().phase == Phase.SETTLED
    with pytest.raises(PassedOn, match="no calldata of settleProven"):
        project.project.round_proof(project.build.manifest, 1)
    said: list[str] = []
    decision = verified(project, said)
    check(project, decision)
    assert decision.nu == proof.settlement.instances[-1] > 0  # from the log
    assert len(said) == 1 and said[0].endswith("taken on the contract's word")


def test_calldata_with_other_proofs_than_were_verified_are_not_taken_for_them(
    chain: Chain, real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says which proofs the contract has verified; the twin, with the right ones, is read."""
    odd = Odd.opened(real)
    project = odd.project
    proof, _ = project.prove(odd.locked())
    send(project, real.stranger, project.settle_data(proof))
    assert verified(project, []).nu == proof.settlement.instances[-1]
    inner = type(project.project)._calldata

    def other(self: Any, event: Any, method: str) -> Any:
        base, *rest = inner(self, event, method)
        return ((*base[:-1], base[-1] + b"\0"), *rest) if method == "settle" else (base, *rest)

    monkeypatch.setattr(type(project.project), "_calldata", other)
    with pytest.raises(PassedOn, match="calldata with other proofs than it logged"):
        project.project.round_proof(project.build.manifest, 1)
    said: list[str] = []
    check(project, verified(project, said))
    assert len(said) == 1 and said[0].endswith("taken on the contract's word")


@pytest.mark.exhaustive("test_a_submission_that_was_passed_on_is_in_the_log_as_any")
def test_two_halves_of_which_one_was_passed_on(chain: Chain, real: Real) -> None:
    """Attack: the first half through another contract. Whoever sends it again, by itself, brings the proof back."""
    odd = Odd.opened(real)
    project = odd.project
    proof, _ = project.prove(odd.locked())
    odd.relay(encode_call(project.project, "proveBase", project.settle_words(proof)[0]))
    publication = project.publication(proof)
    with chain.rolled_back():
        project.project.settle_proven(real.stranger, proof, project.theta(), CID, publication)
        with pytest.raises(PassedOn, match="the base proof of round 1 was passed on"):
            project.project.round_proof(project.build.manifest, 1)
        said: list[str] = []
        check(project, verified(project, said))
        assert len(said) == 1 and said[0].endswith("taken on the contract's word")
    project.project.prove_base(real.stranger, proof)
    project.project.settle_proven(real.stranger, proof, project.theta(), CID, publication)
    assert project.project.round_proof(project.build.manifest, 1) == proof


@pytest.mark.exhaustive("another caller", but=1)
@pytest.mark.parametrize("how", ["relayed", "inside a withdrawal"])
def test_a_submission_that_was_passed_on_is_in_the_log_as_any(how: str, chain: Chain, real: Real) -> None:
    """A trainer that is a contract: the log has its digest and CID, and later the settlement its points."""
    odd = Odd.opened(real)
    project = odd.project
    project.start()
    submissions = [*project.submit_all(project.members[:2]), odd.submission()]
    (odd.relay if how == "relayed" else odd.withdraw)(project.submit_data(submissions[2].commitment))
    assert [one.digest for one in project.project.submissions(1)] == [one.commitment.digest() for one in submissions]
    lock(project)
    proof, _ = project.prove(submissions)
    project.settle(proof)
    assert project.project.commitments(1) == [one.commitment for one in submissions]
    said: list[str] = []
    decision = verified(project, said)
    check(project, decision)
    assert decision.nu > 0 and not said
