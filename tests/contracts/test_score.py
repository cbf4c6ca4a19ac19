"""A round that is paid by the model's own loss.

proveUtility(proof)
├── when the phase is not SCORE
│   └── it should revert with WrongPhase
├── when now > t3'
│   └── it should revert with TooLate
├── when the coalition is not due, or proven already
│   └── it should revert with NotDue, AlreadyProven
├── when an argument is wrong: descriptor, model, who is left out, their CIDs, claim, proof
│   └── it should revert and say which
├── when the verifier's code has changed, or it does anything but return 32 bytes that say 1
│   └── it should revert with VerifierChanged, ProofRejected
└── otherwise, whoever sends it, until t3'
    ├── it should ask the verifier for the instances that the engine computes
    ├── it should log and keep the loss, cut off at 2^56
    └── with the last one that is due: it should pay, φR equally among the accepted, the rest by score; equally where
        all are 0; dust to the owner; and be SETTLED until now + claim
settle()
├── given at least minAccepted accepted: it should pay nobody, and be SCORE until now + window
└── given fewer: it should pay the accepted equally, where there are none the admitted, and be SETTLED
failScore()
├── when the phase is not SCORE: WrongPhase; when now <= t3': TooEarly
└── otherwise it should pay the accepted equally, burn the whole bond, and put F into the pool
next()
└── given a scoring that failed: no fee, the model moves, and the office is vacant unless its bond was filled up
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.contracts import scoring
from tests.contracts.doubles import BAD_VERIFIERS, WALLET, deploy, deploy_as_verifier, questions
from tests.contracts.scoring import FLOOR, LOO, SHAPLEY, claim, due, prove, prove_all, send
from tests.contracts.world import CID, ETHER, WINDOW, Scene, point, refused, refused_like
from zkmarket.chain import NOBODY, Chain, Phase, encoded
from zkmarket.crypto import points_hash
from zkmarket.errors import PassedOn
from zkmarket.market import Log, point_words
from zkmarket.rules import pay
from zkmarket.utility import Method
from zkmarket.utility.games import play

pytestmark = pytest.mark.chain

FEE, BOND = ETHER // 5, 3 * ETHER
ALL = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A round of five is settled, all accepted, and none of its losses is proven; leave-one-out."""
    return Scene.deploy(node).reach(Phase.SCORE)


def reach(scene: Scene, method: int = LOO, mask: list[int] | None = None, cid: bytes = CID, **changes: Any) -> Scene:
    """Another project, settled with this mask."""
    salts = 8 + (5 if method == LOO else 16)
    scene.open(**scene.by_loss(scoring={"method": method} | changes.pop("scoring", {}), salts=salts, **changes))
    scene.to_prove()
    scene.settle(mask=mask, cid=cid)
    return scene


# ---------------------------------------------------------------- when


def test_refused_in_other_phases(scene: Scene) -> None:
    words = claim(scene, ALL, 7)
    for phase in scene.walk():
        if phase != Phase.SCORE:
            with refused(f"WrongPhase(have={phase.name}, want=SCORE)"):
                send(scene, words)
            with refused(f"WrongPhase(have={phase.name}, want=SCORE)"):
                scene.project.fail_score(scene.stranger)


def test_the_window_to_the_second(scene: Scene) -> None:
    end = scene.deadline
    with refused(f"TooEarly(have={end - 1}, want={end + 1})"):
        scene.at(end - 1).project.fail_score(scene.stranger)
    words = claim(scene, ALL, 7)
    send(scene.at(end), words)
    assert scene.chain.now == end
    with refused(f"TooLate(have={end + 1}, want={end})"):
        send(scene.at(end + 1), claim(scene, ALL[1:], 7))
    scene.at(end + 2).project.fail_score(scene.stranger)
    assert scene.phase == Phase.SETTLED


def test_in_the_last_second_a_proof_counts_and_a_failure_does_not(scene: Scene) -> None:
    end = scene.deadline
    with refused(f"TooEarly(have={end}, want={end + 1})"):
        scene.at(end).project.fail_score(scene.stranger)
    scene.at(end + 1).project.fail_score(scene.stranger)
    assert scene.phase == Phase.SETTLED


def test_what_settle_leaves_open(scene: Scene) -> None:
    """R and F stay owed, the deadline is that of the scoring, and the settlement's own scores count for nothing."""
    scene.open(**scene.by_loss()).to_prove()
    before = scene.books()
    done = scene.settle(scores=[9, 9, 9, 9, 9])
    said = done.event("Settled").arguments
    assert (scene.phase, scene.deadline) == (Phase.SCORE, scene.chain.now + 10_000)
    assert said["deadline"] == scene.deadline and scene.moved(before) == {}
    assert said["settlement"]["pay"] == said["settlement"]["scores"] == [0] * 5
    assert scene.project.state().settled == 1 and scene.project.proven_losses() == 0
    assert scene.holdings() == scene.balance(scene.project.address)
    with refused("WrongPhase(have=SCORE, want=SETTLED)"):
        scene.project.claim(scene.owner)


def test_members_may_leave_and_the_bond_be_filled_up(scene: Scene) -> None:
    scene.project.leave(scene.trainers[0])
    prove_all(scene)
    assert scene.project.account(scene.trainers[0]).credit > 0
    with refused("NotAMember(have=" + str(scene.trainers[0]).lower() + ")"):
        scene.project.leave(scene.trainers[0])


# ---------------------------------------------------------------- what is proven


@pytest.mark.parametrize("method", [LOO, SHAPLEY])
def test_the_verifier_is_asked_what_the_engine_computes(scene: Scene, method: int) -> None:
    """For every coalition that is due, in any order; the points are those of C_Θ + w·Σ_S (C_i − B)."""
    reach(scene, method, mask=[1, 1, 0, 1, 0])
    wanted = due(method, [1, 1, 0, 1, 0])
    assert len(wanted) == (4 if method == LOO else 8)
    for loss, coalition in enumerate(reversed(wanted)):
        asked = scoring.instances(scene, coalition, 9, loss)
        done = prove(scene, coalition, loss)
        assert questions(scene.chain, done) == [(scene.mocks[0].deployed.lower(), asked)]
        said = {"round": 1, "coalition": scoring.bits(coalition), "correct": 9, "loss": loss}
        assert done.event("UtilityProven").arguments == said
    assert scene.phase == Phase.SETTLED


def test_so_it_is_in_a_later_round(scene: Scene) -> None:
    """Other model, other rate, other mask; what was proven in the round before is forgotten."""
    prove_all(scene)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_prove()
    scene.settle(mask=[0, 1, 1, 1, 1])
    assert scene.project.proven_losses() == 0
    for coalition in ((2, 3, 4, 5), (2, 3, 5)):
        asked = scoring.instances(scene, coalition, 9, 55)
        assert questions(scene.chain, prove(scene, coalition, 55)) == [(scene.mocks[0].deployed.lower(), asked)]


# ---------------------------------------------------------------- pay


LOSSES = [[1000, 1300, 1100, 1000, 900, 1000 + 7], [1 << 56] * 6, [0, 1 << 120 - 1, 5, 0, 0, 1], [7] * 6]


@pytest.mark.parametrize(
    "losses, floor",
    [(0, FLOOR), (0, 0), (0, 333_333_333), (0, 10**9), (1, FLOOR), (2, FLOOR), (3, 0)],
    ids=["a quarter", "no floor", "a third", "all", "flat at the limit", "a bomb", "flat"],
)
def test_leave_one_out_pays_to_the_wei(scene: Scene, losses: int, floor: int) -> None:
    reach(scene, scoring={"floor": floor}, reward=ETHER + 7)
    before, wanted = scene.books(), due(LOO, [1] * 5)
    done = prove_all(scene, LOSSES[losses])
    game = play(Method("loo"), ALL, bytes(32), dict(zip(wanted, LOSSES[losses], strict=True)))
    scores = [game.score(slot) for slot in ALL]
    paid, dust = pay(ETHER + 7, [1] * 5, scores, floor)
    check_paid(scene, done, before, scores, paid, dust)


@pytest.mark.parametrize("mask", [[1, 1, 1, 1, 1], [0, 1, 1, 0, 1]])
def test_shapley_pays_to_the_wei(scene: Scene, mask: list[int]) -> None:
    reach(scene, SHAPLEY, mask=mask, reward=ETHER + 7)
    before, wanted = scene.books(), due(SHAPLEY, mask)
    losses = [(1 << 57) - 1 if place % 7 == 3 else 1000 + place * place * 37 % 501 for place in range(len(wanted))]
    done = prove_all(scene, losses)
    players = wanted[0]
    game = play(Method("shapley"), players, bytes(32), dict(zip(wanted, losses, strict=True)))
    scores = [game.score(slot) for slot in ALL]
    paid, dust = pay(ETHER + 7, mask, scores, FLOOR)
    assert any(scores)
    check_paid(scene, done, before, scores, paid, dust)


def check_paid(scene: Scene, done: Any, before: Any, scores: list[int], paid: list[int], dust: int) -> None:
    expected = {f"credit of trainer {slot}": amount for slot, amount in enumerate(paid, start=1) if amount}
    assert scene.moved(before) == expected | ({"credit of owner": dust} if dust else {})
    deadline = scene.chain.now + WINDOW
    assert done.event("Scored").arguments == {"round": 1, "scores": scores, "pay": paid, "deadline": deadline}
    assert (scene.phase, scene.deadline) == (Phase.SETTLED, deadline)
    packed = sum(word << 256 * i for i, word in enumerate(scene.project.outcome().scores))
    assert [packed >> 64 * i & (1 << 64) - 1 for i in range(5)] == scores
    assert scene.holdings() == scene.balance(scene.project.address)


def test_rejected_are_not_paid_when_nothing_improves(scene: Scene) -> None:
    """Attack (rejected_paid_when_nothing_improves): be filtered out, and share a reward that no loss decides."""
    reach(scene, mask=[1, 0, 1, 1, 0])
    before = scene.books()
    prove_all(scene, [7] * 4)
    each, dust = divmod(ETHER, 3)
    expected = {f"credit of trainer {slot}": each for slot in (1, 3, 4)}
    assert scene.moved(before) == expected | {"credit of owner": dust}


@pytest.mark.parametrize("mask", [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
def test_what_moves_no_model_is_not_scored(scene: Scene, mask: list[int]) -> None:
    """Attack: with fewer than minAccepted accepted no model is moved, and no loss says anything of anybody."""
    scene.open(**scene.by_loss()).to_prove()
    before = scene.books()
    done = scene.settle(mask=mask, cid=b"", scores=[3, 4, 5, 0, 0])
    sharers = [slot for slot in ALL if mask[slot - 1] or not any(mask)]
    paid, dust = pay(ETHER, mask, [0] * 5, FLOOR, 3)
    assert done.event("Settled").arguments["settlement"]["pay"] == paid
    assert scene.moved(before) == {f"credit of trainer {slot}": ETHER // len(sharers) for slot in sharers} | (
        {"credit of owner": dust} if dust else {}
    )
    assert scene.phase == Phase.SETTLED
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.project.account(scene.aggregator).credit == FEE


def test_a_loss_bomb_is_cut_off(scene: Scene) -> None:
    """Attack (loss_bomb): make one loss so large that the score wraps around, or takes all of the reward."""
    with refused(f"OutOfBounds(what=loss, have={1 << 120}, least=0, most={(1 << 120) - 1})"):
        send(scene, claim(scene, ALL, 1 << 120))
    scores = {}
    for bomb in (1 << 56, (1 << 120) - 1):
        other = dataclasses.replace(scene)
        reach(other)
        done = prove_all(other, [0, bomb, 1, 2, 3, 4])
        scores[bomb] = done.event("Scored").arguments["scores"]
    assert scores[1 << 56] == scores[(1 << 120) - 1] and max(scores[1 << 56]) == 1 << 56


@pytest.mark.parametrize("floor", [0, FLOOR])
def test_a_niche_batch_of_the_owner(scene: Scene, floor: int) -> None:
    """Attack: the owner chooses a batch that only its own trainer, slot 2, does anything for. It has its reward back
    but for what the others share of the floor: nothing at 0, a fifth less of a quarter at a quarter."""
    reach(scene, scoring={"floor": floor})
    before = scene.books()
    prove_all(scene, [100, 100, 100, 100, 500, 100])  # without slot 2 the loss is larger, without another it is not
    others = ETHER * floor // 10**9 // 5
    expected = {f"credit of trainer {slot}": others for slot in (1, 3, 4, 5) if others}
    assert scene.moved(before) == expected | {"credit of trainer 2": ETHER - 4 * others}
    assert others * 4 == (ETHER // 5 if floor else 0)


# ---------------------------------------------------------------- attacks


def test_a_coalition_that_is_not_due(scene: Scene) -> None:
    """Attack (coalition_with_outsiders): a coalition with somebody who was not accepted, or of nobody's choice."""
    reach(scene, mask=[1, 0, 1, 1, 0])
    honest = claim(scene, (1, 3, 4), 7)
    for coalition in (0b11111, 0b01111, 0b00101 ^ 0b00100, 0, 1 << 63, 1 << 255, 0b01101 | 1 << 200):
        with refused(f"NotDue(coalition={coalition}, accepted={0b01101})"):
            send(scene, (coalition, *honest[1:]))
    reach(scene, SHAPLEY, mask=[1, 0, 1, 1, 0])
    for coalition in (0b11111, 0b00010, 32, 1 << 255):
        with refused(f"NotDue(coalition={coalition}, accepted={0b01101})"):
            send(scene, (coalition, *claim(scene, (1, 3, 4), 7)[1:]))
    send(scene, claim(scene, (), 7))


@pytest.mark.parametrize("method", [LOO, SHAPLEY])
def test_a_coalition_twice(scene: Scene, method: int) -> None:
    """Attack (coalition_twice, front_run_proof): the key is the coalition, so that another proof of it, with other
    salts or sent first by somebody else, changes nothing and counts once."""
    reach(scene, method)
    for coalition in ((1, 3, 4, 5), ALL):
        send(scene, claim(scene, coalition, 7), scene.trainers[0])
        words = claim(scene, coalition, 6)
        other = words[:-1] + (words[-1][:-1] + b"\0",)
        before = scene.project.proven_losses()
        for again in (words, other):
            with refused(f"AlreadyProven(round=1, coalition={scoring.bits(coalition)})"):
                send(scene, again)
        assert scene.project.proven_losses() == before and before.bit_count() == (2 if coalition == ALL else 1)


def test_losses_are_paid_once_every_coalition_is_proven(scene: Scene) -> None:
    for coalition in due(LOO, [1] * 5)[1:]:
        send(scene, claim(scene, coalition, 7))
    assert scene.phase == Phase.SCORE and scene.project.account(scene.trainers[0]).credit == 0
    send(scene, claim(scene, ALL, 7))
    assert scene.phase == Phase.SETTLED


def test_every_word_of_a_claim(scene: Scene) -> None:
    """Each of them changed: the contract has its own, or the verifier is asked something else."""
    coalition = (1, 2, 4, 5)
    honest = claim(scene, coalition, 7)
    asked = scoring.instances(scene, coalition, 9, 7)
    names = ("coalition", "descriptor", "model", "left", "cids", "correct", "loss", "proof")
    words = dict(zip(names, honest, strict=True))
    known = scoring.descriptor()
    reasons = {"descriptor": "WrongDescriptor", "model": "WrongModel", "left": "WrongPoints", "cids": "WrongPoints"}
    for name, reason in reasons.items():
        for place, word in enumerate(words[name]):
            flipped = (bytes([word[0] ^ 1]) + word[1:]) if isinstance(word, bytes) else word ^ 1
            changed = [*words[name][:place], flipped, *words[name][place + 1 :]]
            with refused_like(rf"{reason}\(.*\)"):
                send(scene, tuple((words | {name: changed}).values()))
        for changed in (words[name][:-1], [*words[name], words[name][-1]]):
            if (name, len(changed)) == ("cids", 2):
                continue  # more hashes than there are slots left out say nothing
            with refused_like(rf"{reason}\(.*\)|WrongLength\(.*\)"):
                send(scene, tuple((words | {name: changed}).values()))
    proof = words["proof"]
    end = 64 * known.theta
    for place, reason in ((0, "WrongModel"), (end - 1, "WrongModel"), (end, "WrongBatch"), (end + 63, "WrongBatch")):
        with refused_like(rf"{reason}\(.*\)"):
            changed = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
            send(scene, tuple((words | {"proof": changed}).values()))
    for changed in (proof[:-1], proof + b"\0"):
        with refused(f"WrongLength(what=utility, have={len(changed)}, want={len(proof)})"):
            send(scene, tuple((words | {"proof": changed}).values()))
    with refused("OutOfBounds(what=correct, have=65, least=0, most=64)"):
        send(scene, tuple((words | {"correct": 65}).values()))
    witness = proof[: end + 64] + proof[end + 128 :][:64] + proof[end + 64 :][:64] + proof[end + 192 :]
    for change in ({"proof": witness}, {"correct": 8}, {"loss": 8}):
        with scene.chain.rolled_back():
            done = send(scene, tuple((words | change).values()))
            assert questions(scene.chain, done)[0][1] != asked
    assert questions(scene.chain, send(scene, honest))[0][1] == asked


def test_a_foreign_proof(scene: Scene) -> None:
    """Attack (foreign_proof, stale_theta): a proof of another round, project, member set, model or batch. What the
    contract asks of it is bound to its own, so that no verifier takes it."""
    reach(scene, scoring={"window": 10**6})
    other = dataclasses.replace(scene)
    reach(other)
    seen = {scoring.instances(scene, ALL, 9, 7), scoring.instances(other, ALL, 9, 7)}
    assert len(seen) == 2, "another project"
    reach(other, mask=[1, 1, 1, 1, 0])
    with refused_like(r"WrongModel\(.*\)"):  # of other members: another model
        words = claim(other, (1, 2, 3, 4), 7)
        send(scene, (scoring.bits(ALL), *words[1:]))
    words = claim(scene, ALL, 7)
    with refused_like(r"WrongModel\(.*\)"):  # A's model for A without one
        send(scene, (0b11110, *claim(scene, ALL[1:], 7)[1:-1], words[-1]))
    prove_all(scene)
    first = scoring.coalition_model(scene, ALL)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_prove()
    scene.settle()
    with refused(  # the round before's model
        f"WrongModel(have=0x{points_hash(first).hex()}, want=0x{scene.project.outcome().theta.hex()})"
    ):
        send(scene, words)
    batch = (point(8001),)
    proof = scoring.proof_of(scoring.coalition_model(scene, ALL), batch)
    with refused(f"WrongBatch(have=0x{points_hash(batch).hex()}, want=0x{points_hash(scoring.BATCH).hex()})"):
        send(scene, claim(scene, ALL, 7, proof=proof))


def test_the_batch_and_the_model_cannot_be_changed(scene: Scene) -> None:
    """Attack (batch_after_updates, batch_changed_between_rounds): both stand in the terms, to which the address
    commits, and nothing writes them."""
    kept = scene.project.terms().scoring
    assert kept.batch == points_hash(scoring.BATCH) and kept.descriptor == scoring.descriptor().digest()
    prove_all(scene)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.project.terms().scoring == kept


@pytest.mark.parametrize("kind", ["says 2", "says 1 in 31 bytes", "reverts with 1", "writes, then says 1"])
def test_what_a_verifier_may_answer(scene: Scene, kind: str) -> None:
    verifier = deploy_as_verifier(scene.chain, BAD_VERIFIERS[kind])
    scene.open(**scene.by_loss(verifier)).to_prove()
    scene.settle()
    with refused("ProofRejected(proof=utility)"):
        send(scene, claim(scene, ALL, 7))


def test_a_verifier_whose_code_has_changed(scene: Scene) -> None:
    where = scene.mocks[0].deployed
    words = claim(scene, ALL, 7)
    scene.chain.web3.provider.make_request("anvil_setCode", [where, "0x60015f5260205ff3"])
    with refused_like(r"VerifierChanged\(.*\)"):
        send(scene, words)


# ---------------------------------------------------------------- a scoring that fails


def test_withholding_pays_no_sybils(scene: Scene) -> None:
    """Attack (withholding_pays_sybils): prove all but one coalition, so that all who are accepted share, and the bond
    too. It is burnt: five Sybils of eight would have more of it back than it costs."""
    for coalition in due(LOO, [1] * 5)[:-1]:
        send(scene, claim(scene, coalition, sum(coalition)))
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.fail_score(scene.stranger)
    expected = {f"credit of trainer {slot}": ETHER // 5 for slot in ALL}
    assert scene.moved(before) == expected | {"bond": -BOND, "unburnt": BOND, "pool": FEE}
    assert done.event("ScoringFailed").arguments == {"round": 1, "burntWei": BOND}
    assert done.event("Scored").arguments["pay"] == [ETHER // 5] * 5
    assert scene.holdings() == scene.balance(scene.project.address)


def test_a_failed_scoring_pays_the_accepted_alone(scene: Scene) -> None:
    reach(scene, mask=[1, 1, 0, 1, 0])
    scene.pass_deadline()
    before = scene.books()
    scene.project.fail_score(scene.stranger)
    each, dust = divmod(ETHER, 3)
    expected = {f"credit of trainer {slot}": each for slot in (1, 2, 4)} | {"credit of owner": dust}
    assert scene.moved(before) == expected | {"bond": -BOND, "unburnt": BOND, "pool": FEE}


def test_no_fee_after_a_failed_scoring(scene: Scene) -> None:
    """Attack (fee_after_failed_scoring). The model moves all the same: the round is settled, its aggregate served."""
    after = points_hash(scoring.coalition_model(scene, ALL))
    scene.pass_deadline()
    scene.project.fail_score(scene.stranger)
    scene.pass_deadline()
    before = scene.books()
    done = scene.project.next(scene.stranger)
    assert scene.moved(before) == {}
    state = scene.project.state()
    assert (state.phase, state.aggregator, state.deadline) == (Phase.VACANT, NOBODY, scene.chain.now + WINDOW)
    assert (state.theta, state.voids, state.settled) == (after, 0, 1)
    assert [event.name for event in done.events] == ["Closed", "Vacated"]
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.aggregator = scene.successor
    scene.to_prove()
    scene.settle()
    prove_all(scene)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.project.account(scene.successor).credit == FEE


def test_who_fills_the_bond_up_stays_but_has_no_fee(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.fail_score(scene.stranger)
    scene.project.top_up(scene.aggregator)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.phase == Phase.OPEN and scene.project.account(scene.aggregator).credit == 0


@pytest.mark.parametrize("announced", [True, False])
def test_the_end_after_a_failed_scoring(scene: Scene, announced: bool) -> None:
    reach(scene, rounds=3 if announced else 1, rates=[1])
    if announced:
        scene.project.announce_end(scene.owner)
    scene.pass_deadline()
    scene.project.fail_score(scene.stranger)
    scene.pass_deadline()
    before, rest = scene.books(), FEE + (2 * (ETHER + FEE) if announced else 0)
    scene.project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
    assert scene.moved(before) == {"pool": -rest, "credit of owner": rest}


def test_a_claimed_round_that_was_scored_moves_no_model(scene: Scene) -> None:
    """Attack (claimed_round_moves_the_model): pay follows from the losses, the model from what is served."""
    theta = scene.project.state().theta
    prove_all(scene)
    scene.project.claim(scene.owner)
    scene.pass_deadline()
    scene.chain.pass_time(WINDOW)
    scene.project.next(scene.stranger)
    assert scene.project.state().theta == theta
    scene.to_prove()
    scene.settle(mask=[1, 1, 1, 0, 1])
    asked = scoring.instances(scene, (1, 2, 3, 5), 9, 55)
    assert questions(scene.chain, prove(scene, (1, 2, 3, 5), 55)) == [(scene.mocks[0].deployed.lower(), asked)]


def test_points_of_another_slot_are_not_left_out(scene: Scene) -> None:
    """Attack: leave out somebody else's update, or the same one twice."""
    words = claim(scene, (1, 2, 4, 5), 7)
    other = point_words(scene.commitment(scene.trainers[3]).points)
    with refused_like(r"WrongPoints\(slot=3, .*\)"):
        send(scene, (*words[:3], other, *words[4:]))
    with refused("WrongLength(what=left, have=0, want=4)"):
        send(scene, (*words[:3], [], *words[4:]))
    with refused("WrongLength(what=cids, have=0, want=1)"):
        send(scene, (*words[:4], [], *words[5:]))


def test_a_loss_that_was_passed_on_is_in_the_log_and_its_proof_in_no_calldata(scene: Scene) -> None:
    """As any settlement: whoever audits hears it, and the contract has verified it."""
    words = claim(scene, ALL, 7)
    send(scene, words)
    assert scene.project.loss_proofs(1) == {0b11111: (9, 7, words[-1])}
    wallet = deploy(scene.chain, WALLET)
    data = encoded(scene.project.contract.proveUtility, claim(scene, ALL[1:], 8))
    scene.chain.transact("passing on", scene.stranger, wallet.address, encoded(wallet.run, scene.project.address, data))
    (one,) = Log(scene.project.events()).settled()
    assert one.losses == ((0b11111, 9, 7), (0b11110, 9, 8))
    with pytest.raises(PassedOn, match="was passed on by another contract"):
        scene.project.loss_proofs(1)
