"""Money out.

withdraw(to)
├── when the caller has neither credit in native coin nor a refund (nor, once ENDED, a stake)
│   └── it should revert with NothingToWithdraw
├── when `to` refuses, or burns all gas
│   └── it should revert with PaymentRefused and owe what it owed
└── otherwise, in any phase
    ├── it should pay credit and refund to `to`, once, and log Withdrawn
    ├── it should free the stake once ENDED, less what is owed for skipped rounds, and never before
    ├── when the payee calls back, it should pay nothing twice
    └── when the payee returns a megabyte, it should not pay for copying it
withdrawToken(to)
├── when the reward is native coin, or the caller has no credit
│   └── it should revert with NothingToWithdraw
├── when the token refuses or says false
│   └── it should revert and owe what it owed; stakes leave all the same
└── otherwise, also when the token says nothing
    ├── it should transfer the credit once, and log WithdrawnToken
    └── when the token calls back, it should pay nothing twice
burn()
├── when nothing is burnt
│   └── it should revert with NothingToWithdraw
└── otherwise, whoever asks
    └── it should send it to 0x…dEaD, once, and log Burnt
coin that nobody asked for
├── when it is sent
│   └── it should be refused
└── when it is forced upon the project
    └── it should change nothing
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from tests.contracts import doubles
from tests.contracts.doubles import deploy, reward_token
from tests.contracts.world import ETHER, KEY, PENALTY, Scene, refused
from zkmarket.chain import Chain, Phase, transacting
from zkmarket.errors import TransactionReverted

pytestmark = pytest.mark.chain

BURN = to_checksum_address("0x" + "00" * 18 + "dead")
POOL = 3 * (ETHER + ETHER // 5)
REENTRANT = keccak(b"ReentrancyGuardReentrantCall()")[:4].hex()


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """A round of five is settled: 1/15 … 5/15 of the reward."""
    return Scene.deploy(node).reach(Phase.SETTLED)


def call(scene: Scene, method: str, *arguments: Any) -> str:
    return getattr(scene.project.contract, method).encode_input(*arguments)


def credit(scene: Scene, who: Any) -> int:
    return scene.project.account(who).credit


# ---------------------------------------------------------------- withdraw


@pytest.mark.parametrize("who", ["stranger", "aggregator", "successor"])
def test_nothing_to_withdraw(scene: Scene, who: str) -> None:
    sender = getattr(scene, who)
    with refused(f"NothingToWithdraw(who={sender})"):
        scene.project.withdraw(sender)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["to oneself", "to another address"])
def test_credit_is_paid_once(scene: Scene, elsewhere: bool) -> None:
    trainer, pay = scene.trainers[3], credit(scene, scene.trainers[3])
    to = scene.successor if elsewhere else trainer
    assert pay == scene.pays([1, 2, 3, 4, 5])[0][3]
    before, had = scene.books(), scene.balance(to)
    done = scene.project.withdraw(trainer, to)
    assert scene.balance(to) == had + pay
    assert scene.moved(before) == {"credit of trainer 4": -pay, "balance": -pay}
    assert done.event("Withdrawn").arguments == {"who": str(trainer), "to": str(to), "wei_": pay}
    with refused(f"NothingToWithdraw(who={trainer})"):
        scene.project.withdraw(trainer, to)


def test_credit_and_refund_leave_together(scene: Scene) -> None:
    trainer, pay = scene.trainers[0], credit(scene, scene.trainers[0])
    scene.project.leave(trainer)
    before = scene.books()
    assert scene.project.withdraw(trainer).event("Withdrawn").arguments["wei_"] == pay + ETHER
    assert scene.moved(before) == {
        "credit of trainer 1": -pay,
        "refund of trainer 1": -ETHER,
        "balance": -pay - ETHER,
    }


def test_stakes_are_free_once_ended_and_not_before(scene: Scene) -> None:
    trainer = scene.trainers[0]
    for phase in scene.walk():
        if phase in (Phase.OPEN, Phase.SUBMIT, Phase.ADMIT, Phase.PROVE):
            with refused(f"NothingToWithdraw(who={trainer})"):
                scene.project.withdraw(trainer)
        if phase in (Phase.SETTLED, Phase.VACANT):
            scene.project.withdraw(trainer)
            assert scene.project.account(trainer).stake_wei == ETHER
    before = scene.books()
    scene.project.withdraw(trainer)
    assert scene.moved(before) == {"stake of trainer 1": -ETHER, "balance": -ETHER}


def test_penalties_for_skipped_rounds_are_taken_before_a_stake_is_freed(scene: Scene) -> None:
    scene.open(voidLimit=1)
    scene.start()
    scene.submit_all(scene.trainers[:1])
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    assert scene.phase == Phase.ENDED
    paid = [scene.project.withdraw(who).event("Withdrawn").arguments["wei_"] for who in scene.trainers[:2]]
    assert paid == [ETHER, ETHER - PENALTY]
    assert scene.project.state().unburnt_wei == PENALTY


def test_everybody_withdraws_and_nothing_stays(scene: Scene) -> None:
    scene.reach(Phase.ENDED)
    for who in (scene.owner, *scene.trainers):
        scene.project.withdraw(who)
    with refused(f"NothingToWithdraw(who={scene.aggregator})"):  # its bond went to the trainers
        scene.project.withdraw(scene.aggregator)
    assert scene.balance(scene.project.address) == 0


@pytest.mark.parametrize("body", ["REFUSES", "REVERTS_WITH_A_MEGABYTE", "BURNS_ALL_GAS"])
def test_a_payee_that_refuses_hurts_itself_only(scene: Scene, body: str) -> None:
    trainer, pay = scene.trainers[2], credit(scene, scene.trainers[2])
    payee = deploy(scene.chain, getattr(doubles, body)).address
    before = scene.books()
    with refused(f"PaymentRefused(to={payee}, amount={pay})"):
        scene.project.withdraw(trainer, payee)
    assert scene.moved(before) == {}
    had = scene.balance(trainer)
    scene.project.withdraw(trainer)
    assert scene.balance(trainer) == had + pay


def test_the_project_itself_is_no_payee(scene: Scene) -> None:
    pay = credit(scene, scene.trainers[2])
    with refused(f"PaymentRefused(to={scene.project.address}, amount={pay})"):
        scene.project.withdraw(scene.trainers[2], scene.project.address)


def test_a_megabyte_of_answer_is_not_copied(scene: Scene) -> None:
    """Attack: a payee that makes who sends pay for its answer. To make it costs 2.2M gas, to copy it as much again."""
    payee = deploy(scene.chain, doubles.RETURNS_A_MEGABYTE).address
    pay = credit(scene, scene.trainers[2])
    done = scene.project.withdraw(scene.trainers[2], payee)
    assert 2_000_000 < done.gas < 2_300_000
    assert scene.balance(payee) == pay


def wallet_trains(scene: Scene) -> Any:
    """A wallet with a stake and a refund: a trainer that is a contract, and has left once."""
    wallet = deploy(scene.chain, doubles.WALLET)
    scene.open()
    join, leave = call(scene, "join", b"", KEY), call(scene, "leaveProject")
    wallet.run(scene.project.address, join, {"from": scene.stranger, "value": ETHER})
    wallet.run(scene.project.address, leave, {"from": scene.stranger})
    wallet.run(scene.project.address, join, {"from": scene.stranger, "value": ETHER})
    return wallet


@pytest.mark.parametrize("method", ["withdraw", "withdrawToken", "burn"])
def test_a_payee_that_withdraws_again_hears_that_it_may_not(scene: Scene, method: str) -> None:
    wallet = wallet_trains(scene)
    again = call(scene, method, *([] if method == "burn" else [wallet.address]))
    wallet.onPayment(scene.project.address, again, {"from": scene.stranger})
    had = scene.balance(scene.project.address)
    wallet.run(scene.project.address, call(scene, "withdraw", wallet.address), {"from": scene.stranger})
    assert (wallet.payments(), wallet.reentered()) == (1, False)
    assert str(wallet.said()) == "0x" + REENTRANT
    assert scene.balance(scene.project.address) == had - ETHER
    assert scene.project.account(wallet.address).refund_wei == 0


def test_a_payee_that_leaves_while_it_is_paid_finds_the_books_in_order(scene: Scene) -> None:
    """What is not guarded sees the refund gone already: the stake becomes a new one, to be withdrawn later."""
    wallet = wallet_trains(scene)
    wallet.onPayment(scene.project.address, call(scene, "leaveProject"), {"from": scene.stranger})
    had = scene.balance(scene.project.address)
    wallet.run(scene.project.address, call(scene, "withdraw", wallet.address), {"from": scene.stranger})
    assert (wallet.payments(), wallet.reentered()) == (1, True)
    assert scene.balance(scene.project.address) == had - ETHER
    own = scene.project.account(wallet.address)
    assert (own.stake_wei, own.refund_wei) == (0, ETHER)


# ---------------------------------------------------------------- withdrawToken


def test_there_is_no_token_to_withdraw_where_the_reward_is_native(scene: Scene) -> None:
    with refused(f"NothingToWithdraw(who={scene.trainers[4]})"):
        scene.project.withdraw_token(scene.trainers[4])
    assert credit(scene, scene.trainers[4]) > 0


def paid_in_tokens(scene: Scene, mood: str = "good") -> Any:
    """A settled round whose reward is a token that then turns to this mood."""
    token = reward_token(scene)
    scene.reach(Phase.SETTLED, token=token.address)
    token.become(doubles.MOODS.index(mood), {"from": scene.owner})
    return token


@pytest.mark.parametrize("mood", ["good", "says nothing"])
def test_a_tokens_credit_is_paid_once(scene: Scene, mood: str) -> None:
    token = paid_in_tokens(scene, mood)
    trainer, to, pay = scene.trainers[4], scene.successor, scene.pays([1, 2, 3, 4, 5])[0][4]
    before = scene.books()
    done = scene.project.withdraw_token(trainer, to)
    assert scene.moved(before) == {"credit of trainer 5": -pay}
    assert token.balanceOf(to) == pay
    assert token.balanceOf(scene.project.address) == POOL - pay
    assert done.event("WithdrawnToken").arguments == {"who": str(trainer), "to": str(to), "amount": pay}
    with refused(f"NothingToWithdraw(who={trainer})"):
        scene.project.withdraw_token(trainer, to)


def test_a_tokens_credit_is_not_native_coin(scene: Scene) -> None:
    paid_in_tokens(scene)
    with refused(f"NothingToWithdraw(who={scene.trainers[4]})"):
        scene.project.withdraw(scene.trainers[4])


@pytest.mark.parametrize("mood", ["refuses", "says false"])
def test_a_token_that_does_not_pay_holds_no_stake(scene: Scene, mood: str) -> None:
    token, trainer = paid_in_tokens(scene, mood), scene.trainers[4]
    before = scene.books()
    reason = "the token refuses" if mood == "refuses" else f"SafeERC20FailedOperation(token={token.address})"
    with refused(reason):
        scene.project.withdraw_token(trainer)
    assert scene.moved(before) == {}
    scene.project.leave(trainer)
    had = scene.balance(trainer)
    scene.project.withdraw(trainer)
    assert scene.balance(trainer) == had + ETHER
    token.become(0, {"from": scene.owner})
    scene.project.withdraw_token(trainer)
    assert token.balanceOf(trainer) == scene.pays([1, 2, 3, 4, 5])[0][4]


@pytest.mark.parametrize("mood", ["refuses", "says false", "takes a fee"])
def test_creation_refuses_a_token_that_does_not_deliver(scene: Scene, mood: str) -> None:
    token = reward_token(scene, mood)
    reasons = {
        "refuses": "the token refuses",
        "says false": f"SafeERC20FailedOperation(token={token.address})",
        "takes a fee": f"TokenTookAFee(have={POOL - 1}, want={POOL})",
    }
    with refused(reasons[mood]):
        scene.create(token=token.address)


def test_a_token_that_says_nothing_pays_in(scene: Scene) -> None:
    token = reward_token(scene, "says nothing")
    scene.create(token=token.address)
    assert token.balanceOf(scene.project.address) == scene.project.state().pool == POOL


@pytest.mark.parametrize("method", ["withdraw", "withdrawToken", "burn"])
def test_a_token_that_calls_back_is_refused(scene: Scene, method: str) -> None:
    token, trainer = paid_in_tokens(scene, "re-enters"), scene.trainers[4]
    again = call(scene, method, *([] if method == "burn" else [token.address]))
    token.onTransfer(scene.project.address, again, {"from": scene.stranger})
    scene.project.withdraw_token(trainer)
    assert str(token.said()) == "0x" + REENTRANT
    assert token.balanceOf(trainer) == scene.pays([1, 2, 3, 4, 5])[0][4]


# ---------------------------------------------------------------- burn


def test_nothing_to_burn(scene: Scene) -> None:
    with refused(f"NothingToWithdraw(who={BURN})"):
        scene.project.burn(scene.stranger)


@pytest.mark.parametrize("who", ["stranger", "owner", "aggregator"])
def test_what_is_burnt_leaves_once_for_good(scene: Scene, who: str) -> None:
    scene.open().to_admit()
    scene.admit_all(scene.trainers[:4])
    scene.pass_deadline()
    scene.project.lock(scene.stranger)
    before, had = scene.books(), scene.balance(BURN)
    done = scene.project.burn(getattr(scene, who))
    assert scene.balance(BURN) == had + 2 * PENALTY
    assert scene.moved(before) == {"unburnt": -2 * PENALTY, "balance": -2 * PENALTY}
    assert done.event("Burnt").arguments == {"wei_": 2 * PENALTY}
    with refused(f"NothingToWithdraw(who={BURN})"):
        scene.project.burn(scene.stranger)


# ---------------------------------------------------------------- coin that nobody asked for


def test_coin_that_is_sent_is_refused(scene: Scene) -> None:
    with pytest.raises(TransactionReverted, match="no reason given"), transacting("sending"):
        scene.stranger.transfer(scene.project.address, 1)


MOVES: dict[str, Callable[[Scene], Any]] = {
    "withdraw": lambda scene: scene.project.withdraw(scene.trainers[0]),
    "next": lambda scene: (scene.pass_deadline(), scene.project.next(scene.stranger)),
}


@pytest.mark.parametrize("move", MOVES)
def test_forced_coin_is_nobodys(scene: Scene, move: str) -> None:
    with scene.chain.rolled_back():
        before = scene.books()
        MOVES[move](scene)
        expected = scene.moved(before)
    before = scene.books()
    force = deploy(scene.chain, doubles.FORCE)
    force.send(scene.project.address, {"from": scene.stranger, "value": 5 * ETHER})
    assert scene.moved(before) == {"balance": 5 * ETHER}
    before = scene.books()
    MOVES[move](scene)
    assert scene.moved(before) == expected


def test_forced_coin_stays_when_everybody_has_gone(scene: Scene) -> None:
    scene.reach(Phase.ENDED)
    force = deploy(scene.chain, doubles.FORCE)
    force.send(scene.project.address, {"from": scene.stranger, "value": 5 * ETHER})
    for who in (scene.owner, *scene.trainers):
        scene.project.withdraw(who)
    assert scene.balance(scene.project.address) == 5 * ETHER
