"""A desk that others mean ill: claims, the model, what nobody has verified, and whose project a folder is."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import (
    desk_of,
    heard,
)
from tests.support.past import (
    AGGREGATOR,
    BUILD,
    ETHER,
    MANIFEST,
    ME,
    MEAN,
    PROJECT,
    PROSPECTUS,
    TERMS,
    Blocks,
    Past,
    aggregate_of,
    last,
    state_of,
)
from zkmarket import backend, roles
from zkmarket.chain import Phase, wallet
from zkmarket.cli import main
from zkmarket.errors import (
    BackendError,
    InputError,
    ProofRejected,
    StoreError,
)
from zkmarket.files import load_npz
from zkmarket.market import (
    Inspection,
    State,
    points_hash,
)
from zkmarket.roles import (
    UNAVAILABLE,
    Desk,
    aggregator,
    auditor,
    desk,
    owner,
    trainer,
    withdraw,
)
from zkmarket.round import Theta
from zkmarket.storage import IpfsStore

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


# ---------------------------------------------------------------- claims


def test_a_machine_that_fails_claims_nothing(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim costs the aggregator; it is made for what is not served, not for want of memory here."""
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    log, state = at.history.log(), state_of(Phase.SETTLED)

    def fails(*_: object) -> None:
        raise BackendError("no memory")

    with monkeypatch.context() as patch, pytest.raises(BackendError):
        patch.setattr(backend, "commit", fails)
        at.receive(state, log, may_claim=True, verified=set())
    assert not past.sent
    assert "opens its commitment" in at.receive(state, log, may_claim=True, verified=set())


def test_what_is_not_served_is_claimed_by_who_had_a_seat_and_unclaimed(past: Past, at: Desk) -> None:
    """The honest twin."""
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    served, state = dict(past.store.blobs), state_of(Phase.SETTLED)
    past.store.blobs.clear()
    at.receive(state, at.history.log(), may_claim=False, verified=set())
    assert not past.sent
    at.receive(state, at.history.log(), may_claim=True, verified=set())
    assert past.sent == [("claim",)]
    past.log("Claimed", round=1, who=ME, held=True)
    past.store.blobs.update(served)
    at.receive(state, at.history.log(), may_claim=True, verified=set())
    assert past.sent == [("claim",), ("unclaim",)]


@pytest.mark.parametrize(
    ("phase", "call"),
    [
        (Phase.CREATED, "cancel"),
        (Phase.OPEN, "skip"),
        (Phase.SUBMIT, "void_round"),
        (Phase.PROVE, "fail"),
        (Phase.SCORE, "fail_score"),
        (Phase.SETTLED, "next"),
        (Phase.VACANT, "end"),
        (Phase.ENDED, None),
    ],
)
def test_the_time_out_of_every_phase(at: Desk, phase: Phase, call: str | None) -> None:
    assert at.overdue(state_of(phase, now=1011)) == call
    assert at.overdue(state_of(phase, now=1010)) is None


# ---------------------------------------------------------------- the owner's model


def three_rounds(past: Past, at: Desk) -> str:
    """The CID of the second's envelope."""
    for number in (1, 2, 3):
        past.started(number)
        past.settled(number, at.sealing_key)
    return last(one for one in at.history.log().settled() if one.round == 2).cid or ""


def test_one_round_that_cannot_be_opened_leaves_the_owner_the_model_before_it(past: Past, at: Desk) -> None:
    """Attack: serve one round's aggregate to nobody, so that the owner never gets any model."""
    lost = three_rounds(past, at)
    kept = past.store.blobs.pop(lost)
    role = owner.Owner(at)
    found = role.write()
    first = aggregate_of(1).values * MEAN
    made = [one.settled.theta for one in at.history.moved(at.history.log())]
    assert (found["rounds"], found["theta"]) == (1, made[0].hex())
    assert points_hash(Theta.load(at.folder / "theta.npz", MANIFEST).points(BUILD)) == made[0]
    assert found["missing"] == f"round 2: no blob {lost}"
    assert np.array_equal(
        load_npz(at.folder / "model.npz", "model", {"weight": 4 * MANIFEST.params})["weight"], first.astype(np.float32)
    )
    past.store.blobs[lost] = kept
    found = role.write()
    assert (found["rounds"], found["missing"]) == (3, None)


def weights(at: Desk, name: str) -> np.ndarray:
    return load_npz(at.folder / name, "model", {"weight": 4 * MANIFEST.params})["weight"]


@pytest.mark.parametrize("how", ["receive", "receive --once"])
@pytest.mark.parametrize("skipped", [False, True])
def test_the_model_after_a_round_is_there_before_its_claims_are_over(
    how: str, skipped: bool, past: Past, at: Desk
) -> None:
    """Beside the one that nobody can take back; which it becomes, unless the round is claimed."""
    past.log("Accepted", encryptionKey=AGGREGATOR.public)
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    role, state = owner.Owner(at), state_of(Phase.SETTLED, now=1_800_000_000, deadline=1_800_000_200)
    past.state = lambda depth=0: state  # type: ignore[attr-defined]
    role.write()
    before = weights(at, "model.npz")
    if how == "receive":
        assert role.step(state) == role.step(state)
        assert [text for text in at.progress if "model.provisional.npz" in text] == [  # type: ignore[attr-defined]
            f"round 1: the model after it is in {at.folder / 'model.provisional.npz'}; model.npz is the one before it"
            " until 2027-01-15 08:03:20 UTC by the chain's clock, in 3 min, when nobody can claim any more that its"
            " aggregate is not served"
        ]
    else:
        assert role.once()["provisional"] == str(at.folder / "model.provisional.npz") and past.verified == [1]
    after = (aggregate_of(1).values * MEAN).astype(np.float32)
    assert np.array_equal(weights(at, "model.provisional.npz"), after)
    assert np.array_equal(weights(at, "model.npz"), before) and not np.array_equal(before, after)
    past.closed(1, skipped=skipped)
    assert role.write()["provisional"] is None
    assert not (at.folder / "model.provisional.npz").exists()
    assert np.array_equal(weights(at, "model.npz"), before if skipped else after)


def test_a_round_that_cannot_be_opened_or_is_withheld_has_no_provisional_model(past: Past, at: Desk) -> None:
    past.started(1)
    past.settled(1, AGGREGATOR, closed=False)
    role, state = owner.Owner(at), state_of(Phase.SETTLED)
    past.state = lambda depth=0: state  # type: ignore[attr-defined]
    assert "cannot be had yet" in str(role.step(state)) and role.once()["provisional"] is None
    past.logged[-1].arguments["settlement"].update(aggregate=[], theta=TERMS.theta)
    assert "is withheld" in str(role.step(state)) and role.once()["provisional"] is None
    assert not (at.folder / "model.provisional.npz").exists()


def test_a_keyring_has_all_rounds_but_those_that_cannot_be_opened(past: Past, at: Desk) -> None:
    past.store.blobs.pop(three_rounds(past, at))
    keys = owner.keyring(at)
    assert set(keys) == {"1", "3"} and heard(at, "round 2 is not in the keyring: no blob")


# ---------------------------------------------------------------- rounds that nobody has verified


def test_a_trainer_verifies_every_round_before_it_trains_from_it(past: Past, at: Desk) -> None:
    """A trainer that comes late, or was away, has seen no round being settled."""
    three_rounds(past, at)
    role = trainer.Trainer(at, learn=lambda lesson: lesson.theta)
    role.lesson(at.history.log(), 3)
    assert past.verified == [1, 2]
    role.lesson(at.history.log(), 4)
    assert past.verified == [1, 2, 3]


def test_a_round_that_does_not_verify_is_not_trained_from(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_rounds(past, at)

    def rejected(*_: object) -> None:
        raise ProofRejected("round 2: wrong")

    monkeypatch.setattr(past, "round_proof", rejected)
    learnt: list[Any] = []
    past.started(4)
    with pytest.raises(ProofRejected):
        trainer.Trainer(at, learn=learnt.append).submit(state_of(Phase.SUBMIT, round=4))  # type: ignore[arg-type]
    assert not learnt and not past.sent


# ---------------------------------------------------------------- a folder's project and chain


class Fork(Blocks):
    def __init__(self, fork: int = 0, id: int = 31337):
        super().__init__(1, fork)
        self.id = id


@pytest.fixture
def withdrawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Exit code of `zkmarket trainer withdraw` in one folder, on a chain that is given."""
    keystore = SimpleNamespace(address=ME, sent_block=0)
    monkeypatch.setattr(wallet.Wallet, "open", lambda *_: keystore)
    monkeypatch.setattr(roles, "withdraw", lambda at: 0)

    def run(chain: Any, *words: str) -> int:
        monkeypatch.setenv("ZKMARKET_PASSWORD", "test")  # it is taken out of the environment
        chain.settle_outbox = lambda wallet: None
        monkeypatch.setattr(desk, "connect", lambda rpc: contextlib.nullcontext(chain))
        at = ["--state", str(tmp_path), "--rpc", "http://127.0.0.1:1", "--keystore", str(tmp_path / "key")]
        return main(["trainer", "withdraw", *at, "--json", *words])

    return run


def test_a_folder_is_of_one_chain(withdrawing: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Attack: a node with the same chain id and another past: old rounds' files would serve for new ones."""
    here = ("--project", PROJECT)
    assert withdrawing(Fork(), *here) == withdrawing(Fork()) == 0
    capsys.readouterr()
    for other, name in ((Fork(id=1337), "chain"), (Fork(fork=1), "the chain with genesis")):
        assert withdrawing(other, *here) == 2
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == 2 and f"belongs to {name} " in said["message"]
    assert withdrawing(Fork(), *here) == 0


def test_a_role_brings_its_stores_token(
    withdrawing: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a file whose path is remembered, the token is not; or by the environment, out of which it is taken."""
    stores: list[object] = []
    monkeypatch.setattr(roles, "withdraw", lambda at: stores.append(at.store) or 0)
    file, url, word = tmp_path / "token", "https://store.example", "a-token-from-a-file"
    file.write_text(f"{word}\n")
    file.chmod(0o600)
    monkeypatch.setenv("ZKMARKET_STORE_TOKEN", "a-token-from-outside")
    here = ("--project", PROJECT, "--store", url)
    assert withdrawing(Fork(), *here) == 0 and "ZKMARKET_STORE_TOKEN" not in os.environ
    assert (
        withdrawing(Fork(), *here) == withdrawing(Fork(), "--store-token-file", str(file)) == withdrawing(Fork()) == 0
    )
    assert stores == [IpfsStore(url, token=token) for token in ("a-token-from-outside", None, word, word)]
    assert word not in (tmp_path / "settings.json").read_text()
    file.chmod(0o644)
    capsys.readouterr()
    assert withdrawing(Fork()) == 2 and "chmod 600" in json.loads(capsys.readouterr().out)["message"]


def test_a_folder_is_of_one_project(withdrawing: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert withdrawing(Fork(), "--project", PROJECT) == 0
    capsys.readouterr()
    assert withdrawing(Fork(), "--project", "0x" + "cd" * 20) == 2
    said = json.loads(capsys.readouterr().out)
    assert "belongs to project" in said["message"] and "choose a new folder" in said["message"]
    assert withdrawing(Fork()) == withdrawing(Fork(), "--project", PROJECT) == 0


# ---------------------------------------------------------------- before keys are made


CHANGES = [("min_trainers", 2), ("max_trainers", 4), ("params", MANIFEST.params + 1), ("logrows", 20)]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For whom keys were made."""
    made: list[Any] = []
    monkeypatch.setattr(desk, "make_builds", lambda prospectus, *_: made.append(prospectus) or {3: BUILD})
    return made


@pytest.mark.parametrize("name, value", CHANGES)
def test_a_prospectus_of_other_numbers_costs_no_work(name: str, value: int, at: Desk, keys: list[Any]) -> None:
    """Attack: terms of a small model, and a prospectus whose keys take hours and all memory."""
    del at.builds
    at.terms = replace(TERMS, **{name: value})
    with pytest.raises(ProofRejected, match="the contract's terms are"):
        _ = at.builds
    assert not keys
    at.terms = TERMS
    assert at.builds == {3: BUILD} and keys == [PROSPECTUS]


ACTS: dict[str, Callable[[Desk], Any]] = {
    "join": trainer.join,
    "submit with a stake to fill up": lambda at: trainer.Trainer(at, lambda _: _).run(),  # type: ignore[arg-type,return-value]
    "train and join": lambda at: trainer.Trainer(at, lambda _: _, join=True).run(),  # type: ignore[arg-type,return-value]
    "start with a bond to fill up": lambda at: aggregator.Aggregator(at).run(),
    "import a keyring": lambda at: at.history.import_keyring(at.folder / "keyring"),
    "withdraw": withdraw,
    "status": trainer.status,
    "audit": lambda at: auditor.Auditor(at).run(),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_project_of_another_factory_gets_no_key_and_no_money(
    act: str, past: Past, at: Desk, keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a contract that looks like a project in which the reader has a part, and asks for a little more."""
    for name in ("builds", "project"):
        delattr(at, name)
    order: list[str] = []
    wrong = Inspection(PROJECT, wrong=["its factory is another"])
    monkeypatch.setattr(desk, "inspect_origin", lambda *_: order.append("origin") or wrong)
    monkeypatch.setattr(desk, "inspect", lambda *_: order.append("all") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "Project", lambda chain, address: past)
    past.own = replace(past.own, stake_wei=ETHER if act == "join" else 1, credit=ETHER, refund_wei=1)
    phase = Phase.SUBMIT if "stake" in act else Phase.OPEN
    looks = iter(range(3))  # so that a role that is deceived ends

    def state(depth: int = 0) -> State:
        assert next(looks, None) is not None, "it works for a stranger"
        return state_of(phase, aggregator=ME, bond_wei=1)

    past.state = state  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="stay away from .*: its factory is another"):
        ACTS[act](at)
    assert not keys and order == ["origin"] and not past.sent


def test_a_project_is_compared_with_the_callers_keys_once_its_origin_is_right(
    past: Past, at: Desk, keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The honest twin."""
    for name in ("builds", "project"):
        delattr(at, name)
    order: list[str] = []
    monkeypatch.setattr(desk, "inspect_origin", lambda *_: order.append("origin") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "inspect", lambda *_: order.append("all") or Inspection(PROJECT))
    monkeypatch.setattr(desk, "Project", lambda chain, address: past)
    at.inspected()
    assert keys == [PROSPECTUS] and order == ["origin", "all"]


@pytest.mark.parametrize("account", [True, False])
def test_who_has_no_account_may_look_at_a_project_that_has_ended(
    account: bool, past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor's `verify` and `model` are wanted most of all then; nobody pays into it."""
    asked: list[Any] = []
    monkeypatch.setattr(desk, "inspect", lambda *given: asked.append(given[-1]) or Inspection(PROJECT))
    desk_of(past, tmp_path, account=account).inspected()
    assert asked == [account]


# ---------------------------------------------------------------- joining again


def test_joining_with_a_full_stake_registers_the_folders_key(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder that is lost another key is on chain: everything would be sealed to it."""
    monkeypatch.setattr(Desk, "inspected", lambda self: None)
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=AGGREGATOR.public)
    trainer.join(at)
    assert past.sent == [("join", b"", at.sealing_key.public)]
    past.log("Joined", trainer=ME, stakeWei=0, encryptionKey=at.sealing_key.public)
    assert trainer.join(at) is None and len(past.sent) == 1
    past.own = replace(past.own, stake_wei=ETHER // 2)  # a penalty was taken
    trainer.join(at)
    assert past.sent[1:] == [("join", b"", at.sealing_key.public)]


def test_a_store_that_is_away_is_unavailable_too() -> None:
    assert StoreError in UNAVAILABLE and BackendError not in UNAVAILABLE


# ---------------------------------------------------------------- the initial model


@pytest.mark.parametrize("role", ["aggregator", "trainer"])
def test_attack_another_initial_model_than_the_chains(
    role: str, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a prospectus whose model is not the one that the terms commit to. Neither bond nor stake is paid."""
    seen: list[Any] = []

    def inspect(*given: Any) -> Inspection:
        seen.extend(given)
        return Inspection(
            PROJECT, wrong=["the initial model of the prospectus is not the one that the terms commit to"]
        )

    monkeypatch.setattr(desk, "inspect", inspect)
    with pytest.raises(InputError, match=f"stay away from {PROJECT}: the initial model of the prospectus"):
        if role == "aggregator":
            aggregator.Aggregator(at).accept(state_of(Phase.CREATED, round=0))
        else:
            past.own = replace(past.own, stake_wei=0)
            trainer.join(at)
    assert PROSPECTUS in seen and not past.sent
