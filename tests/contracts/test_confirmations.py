"""A role that believes only what has blocks on top of it, and its own transactions, on a real chain."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account import Account

from tests.contracts.world import ETHER, Scene
from zkmarket.chain import Phase, Wallet
from zkmarket.errors import InputError
from zkmarket.market import Market, State
from zkmarket.roles import Desk, Settings

pytestmark = pytest.mark.chain


@pytest.mark.parametrize("depth", [0, 3])
def test_what_was_done_is_not_done_again_while_the_state_is_older(depth: int, scene: Scene, tmp_path: Path) -> None:
    """A wallet knows in which block it was; three blocks below the latest the project still waits to be accepted."""
    wallet = Wallet(Account.from_key("0x" + "42" * 32), tmp_path / "outbox.json")
    scene.chain.web3.provider.make_request("anvil_setBalance", [wallet.address, hex(100 * ETHER)])
    scene.create(aggregator=wallet.address)
    for _ in range(4):
        scene.chain.pass_time(1)
    said: list[str] = []
    settings = Settings(tmp_path, {"project": scene.project.address, "confirmations": str(depth)})
    desk = Desk(settings, scene.chain, wallet, said.append, poll=0.0)
    seen: list[tuple[Phase, int]] = []

    def step(state: State) -> str | None:
        seen.append((state.phase, state.block))
        scene.chain.pass_time(1)
        if state.phase != Phase.CREATED:
            return None
        desk.project.accept(wallet)
        assert wallet.sent_block == scene.chain.tip()[0] > state.block
        return "accepted"

    inner = desk.project.state

    def state(depth: int = 0) -> State:
        scene.chain.pass_time(1)  # a block a look
        return inner(depth)

    desk.project.state = state  # type: ignore[method-assign]
    desk.run(step)
    assert [phase for phase, _ in seen] == [Phase.CREATED, Phase.OPEN] and seen[1][1] >= wallet.sent_block
    assert not any("was reverted" in text for text in said)


def test_a_contract_that_is_no_project_is_not_worked_for(scene: Scene, tmp_path: Path) -> None:
    """A factory, say. Which contracts are projects is tested in test_inspect.py."""
    other = Market.deploy(scene.chain, scene.owner)
    desk = Desk(Settings(tmp_path, {"project": other.address}), scene.chain, None)
    with pytest.raises(InputError, match=f"stay away from {other.address}: it is not a clone of a project"):
        _ = desk.project
    scene.create()
    right = Desk(Settings(tmp_path, {"project": scene.project.address}), scene.chain, None)
    assert right.project.address == scene.project.address
