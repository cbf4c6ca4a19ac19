"""`zkmarket owner pay-in`: the pool goes to a factory that the sources here created, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contracts.test_inspect import creation, fake_factory
from tests.contracts.world import Scene
from zkmarket.build import Build
from zkmarket.chain import Chain, compiled_code
from zkmarket.documents import write_json
from zkmarket.errors import InputError
from zkmarket.market import Offer, Project, Verifiers, prospectus
from zkmarket.roles import DEPLOYED_FILE, PROSPECTUS_FILE, Desk, Settings, deployment, pay_in

pytestmark = [pytest.mark.chain, pytest.mark.proof]

Open = Callable[..., Desk]


@pytest.fixture
def open_desk(
    scene: Scene,
    chain: Chain,
    offer: Offer,
    builds: dict[int, Build],
    verifiers: Verifiers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Open:
    """An owner's desk after `create`: keys and verifiers are there, and the factory is the one that is named."""

    def made(factory: str, how: str) -> Desk:
        settlements = {f"settlement-{n}": one.deployed for n, one in verifiers.settlement.items()}
        kept: dict[str, Any] = {"base": verifiers.base.deployed, **settlements}
        write_json(tmp_path / DEPLOYED_FILE, {"verifiers": kept} | ({"factory": factory} if how == "kept" else {}))
        (tmp_path / PROSPECTUS_FILE).write_bytes(b"a prospectus")
        return Desk(Settings(tmp_path, {"factory": factory} if how == "named" else {}), chain, scene.owner)

    monkeypatch.setattr(deployment, "make_builds", lambda *_: builds)
    first = SimpleNamespace(points=lambda build: ())
    published = SimpleNamespace(first_model=lambda manifest: first)
    monkeypatch.setattr(prospectus.Prospectus, "from_bytes", staticmethod(lambda blob: published))
    file = SimpleNamespace(offer=lambda *_: offer)
    monkeypatch.setattr(deployment, "load_project_file", lambda path: file)
    return made


def keeper(scene: Scene, chain: Chain) -> str:
    """Takes whatever is sent to it, and answers nothing."""
    return chain._create("a keeper", creation(b"", b"\x00"), scene.owner)


def forged(scene: Scene, chain: Chain) -> str:
    """Exactly the code of Factory.sol, with a storage that its creation wrote."""
    scene.create()
    assert scene.project is not None
    return fake_factory(scene, scene.project.address)


def code_alone(scene: Scene, chain: Chain) -> str:
    """Exactly the code, and no event."""
    return chain._create("a copy", creation(b"", compiled_code("Factory")), scene.owner)


def nothing(scene: Scene, chain: Chain) -> str:
    return "0x" + "77" * 20


STUBS = {"keeps all": keeper, "forged storage": forged, "code alone": code_alone, "no contract": nothing}


@pytest.mark.parametrize("how", ["named", "kept"])
@pytest.mark.parametrize("kind", STUBS)
def test_attack_a_factory_that_keeps_the_pool(kind: str, how: str, scene: Scene, chain: Chain, open_desk: Open) -> None:
    """Refused before any transaction is sent: the balance and the count of transactions are what they were."""
    stub = STUBS[kind](scene, chain)
    desk = open_desk(stub, how)
    had = chain.balance(desk.me), chain.web3.eth.get_transaction_count(desk.me), chain.balance(stub)
    with pytest.raises(InputError, match=f"stay away from {stub}: it is no factory that was created by the sources"):
        pay_in(desk)
    assert (chain.balance(desk.me), chain.web3.eth.get_transaction_count(desk.me), chain.balance(stub)) == had


@pytest.mark.parametrize("how", ["named", "kept"])
def test_a_factory_of_these_sources_is_paid(
    how: str, scene: Scene, chain: Chain, offer: Offer, open_desk: Open
) -> None:
    """The honest twin."""
    desk = open_desk(scene.market.address, how)
    found = pay_in(desk)
    assert found["paid"] and chain.balance(found["project"]) == offer.pool
    assert Project(chain, found["project"]).terms().owner == desk.me
    assert pay_in(desk)["paid"] is False
