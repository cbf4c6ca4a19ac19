"""The address of a project commits to all that it was made of.

addressOf
    when anything that the project is made of is another
        it should be another address
    when it is created
        it should be there
create
    when the very same was created before
        it should refuse: AlreadyCreated
        given another nonce: it should pass
    when somebody was at the address first, with a call or with coin
        it should pass, and the coin is nobody's
given a reorganisation that takes the creation back
    when the owner creates another project in its place
        it should be elsewhere: a transaction that was signed for the first reaches no project
    when the owner creates the same
        it should be where it was: the transaction reaches it
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from eth_account import Account

from tests.contracts.doubles import deploy_as_verifier
from tests.contracts.world import CID, ETHER, KEY, Scene, refused
from zkmarket.chain import Event, Phase, transacting
from zkmarket.market import Market, Plan, Project, Terms, inspect_origin, read_struct, struct_words

pytestmark = pytest.mark.chain

RATES = [10**9, 5 * 10**8]
BOND = 3 * ETHER


def address_of(scene: Scene, terms: dict[str, Any], **changes: Any) -> str:
    """What the factory says of a project of these terms; `changes` to what else it is made of."""
    given = {"plans": scene.plans(terms), "rates": RATES, "cid": CID, "nonce": 0} | changes
    return scene.market._call("addressOf", tuple(terms.values()), *given.values())


def other(value: Any) -> Any:
    """Another value of the same type, for words of any kind."""
    if isinstance(value, tuple):
        return (other(value[0]), *value[1:])
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return bytes(32) if isinstance(value, bytes) else not value if isinstance(value, bool) else value + 1


def test_it_is_where_the_factory_said(scene: Scene) -> None:
    said = address_of(scene, scene.terms(), nonce=5)
    done = scene.create(nonce=5)
    assert scene.project.address == said
    assert scene.market._call("isProject", said) is True
    assert done.event("ProjectCreated").arguments["nonce"] == 5
    assert scene.market.address_of_logged(scene.market.creation_of(scene.project).arguments) == said


def test_anything_that_it_is_made_of_makes_another_address(scene: Scene) -> None:
    terms = scene.terms()
    plans = scene.plans(terms)
    found = [address_of(scene, terms)]
    found += [address_of(scene, terms | {name: other(value)}, plans=plans) for name, value in terms.items()]
    found += [
        address_of(
            scene, terms, plans=[*plans[:at], (*plan[:word], other(plan[word]), *plan[word + 1 :]), *plans[at + 1 :]]
        )
        for at, plan in enumerate(plans)
        for word in range(len(plan))
    ]
    found += [address_of(scene, terms, plans=plans[:-1]), address_of(scene, terms, plans=plans[::-1])]
    found += [address_of(scene, terms, rates=rates) for rates in ([10**9], RATES[::-1], [*RATES, 0])]
    found += [address_of(scene, terms, cid=cid) for cid in (b"", CID[:-1], CID + b"\0")]
    found += [address_of(scene, terms, nonce=nonce) for nonce in (1, 2**256 - 1)]
    assert len(set(found)) == len(found)


def test_the_same_project_is_created_once(scene: Scene) -> None:
    scene.create(nonce=0)
    first = scene.project
    with refused(f"AlreadyCreated(project={first.address})"):
        scene.create(nonce=0)
    scene.create(nonce=1)
    assert scene.project.address != first.address
    assert scene.project.terms() == first.terms()
    assert scene.market.projects_of(str(scene.owner)) == [first.address, scene.project.address]


def test_attack_nobody_is_at_the_address_first(scene: Scene) -> None:
    """It is known beforehand: a call to it then does nothing, and coin that it is sent then is nobody's."""
    place, terms = address_of(scene, scene.terms()), scene.terms(owner=str(scene.stranger))
    scene.create(nonce=77)
    data = bytes.fromhex(
        scene.project.contract.initialise.encode_input(tuple(terms.values()), scene.plans(terms), [1])[2:]
    )
    scene.chain.transact("initialise", scene.stranger, place, data)
    scene.chain.transact("a gift", scene.stranger, place, b"", 7)
    scene.create(nonce=0)
    assert (scene.project.address, scene.project.terms().owner) == (place, str(scene.owner))
    pool = scene.project.state().pool
    assert {name: amount for name, amount in scene.books().items() if amount} == {"pool": pool, "balance": pool + 7}
    with refused("AlreadyInitialised"):
        scene.project._send(
            "initialise", "initialise", tuple(terms.values()), scene.plans(terms), [1], sender=scene.stranger
        )


# ---------------------------------------------------------------- a reorganisation


@dataclasses.dataclass
class Signed:
    """The aggregator's acceptance, signed: whoever has it can send it, on whichever fork."""

    scene: Scene
    raw: bytes
    to: str

    def send(self) -> Any:
        web3 = self.scene.chain.web3
        with transacting("accept"):
            return web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(self.raw))


@pytest.fixture
def aggregator(scene: Scene) -> Any:
    account = Account.create()
    scene.chain.web3.provider.make_request("anvil_setBalance", [account.address, hex(10 * ETHER)])
    scene.aggregator = account.address
    return account


def accepted_before_the_reorganisation(scene: Scene, aggregator: Any, mark: str) -> Signed:
    """The aggregator sees a project, signs its acceptance, and then the creation is undone."""
    project, web3 = scene.project, scene.chain.web3
    transaction = {
        "to": project.address,
        "data": project.contract.accept.encode_input(KEY),
        "value": BOND,
        "gas": 200_000,
        "gasPrice": 0,
        "nonce": 0,
        "chainId": scene.chain.id,
    }
    signed = Signed(scene, bytes(aggregator.sign_transaction(transaction).raw_transaction), project.address)
    assert web3.provider.make_request("evm_revert", [mark])["result"] is True
    assert scene.chain.code(project.address) == b""
    return signed


def snapshot(scene: Scene) -> str:
    return scene.chain.web3.provider.make_request("evm_snapshot", [])["result"]


def test_attack_another_project_in_its_place_after_a_reorganisation(scene: Scene, aggregator: Any) -> None:
    """Its verifier always reverts, its trainers are the owner's: a bond that gets there is theirs."""
    never = struct_words(deploy_as_verifier(scene.chain, "5f5ffd"))
    mark = snapshot(scene)
    scene.create(nonce=0)
    signed = accepted_before_the_reorganisation(scene, aggregator, mark)
    scene.create(nonce=0, plans=scene.plans(scene.terms(), settlement=never))
    trap = scene.project
    assert trap.address != signed.to
    done = signed.send()
    assert (done["status"], done["logs"], scene.chain.code(signed.to)) == (1, [], b"")
    assert (trap.state().phase, trap.state().bond_wei) == (Phase.CREATED, 0)


def test_the_same_project_after_a_reorganisation_is_accepted(scene: Scene, aggregator: Any) -> None:
    mark = snapshot(scene)
    scene.create(nonce=0)
    signed = accepted_before_the_reorganisation(scene, aggregator, mark)
    scene.create(nonce=0)
    assert scene.project.address == signed.to
    assert signed.send()["status"] == 1
    assert (scene.phase, scene.project.state().bond_wei) == (Phase.OPEN, BOND)


# ---------------------------------------------------------------- what the roles look at


def test_every_role_looks_whether_the_address_commits(scene: Scene) -> None:
    scene.create()
    found = inspect_origin(scene.chain, scene.project.address)
    assert found.wrong == [] and found.checked[-1] == "its address commits to its terms"


@pytest.mark.parametrize("public, seconds, young", [(True, 0, True), (True, 86_400, False), (False, 0, False)])
def test_a_factory_that_a_reorganisation_may_take_back_is_named(
    scene: Scene, public: bool, seconds: int, young: bool
) -> None:
    """Its address is its deployer's next one, whatever is deployed: only what is old commits to what comes after."""
    market = Market.deploy(scene.chain, scene.owner)
    scene.market = market
    scene.create()
    scene.chain.pass_time(seconds)
    chain = dataclasses.replace(scene.chain, id=5) if public else scene.chain
    warnings = inspect_origin(chain, scene.project.address).warnings
    assert [text.startswith("its factory is younger than a day") for text in warnings] == [True] * young


@pytest.mark.parametrize("changed", ["terms", "plans", "rates", "cid", "nonce"])
def test_attack_terms_that_the_address_does_not_commit_to(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """A node that shows other terms than the project was made of, in the log, or in the log and in its storage."""
    scene.create()
    event = scene.market.creation_of(scene.project)
    said = event.arguments
    altered: dict[str, Any] = {
        "terms": said["terms"] | {"bondWei": said["terms"]["bondWei"] - 1},
        "plans": [said["plans"][0] | {"manifest": b"\x66" * 32}, *said["plans"][1:]],
        "rates": [*said["rates"], 7],
        "cid": said["cid"] + b"\0",
        "nonce": said["nonce"] + 1,
    }
    shown = Event(event.name, said | {changed: altered[changed]}, event.block, event.transaction)
    monkeypatch.setattr(Market, "creation_of", lambda self, project: shown)
    wrong = ["its address does not commit to its terms: what is sent to it may reach another project"]
    assert inspect_origin(scene.chain, scene.project.address).wrong == wrong
    monkeypatch.setattr(Project, "terms", lambda self: read_struct(Terms, shown.arguments["terms"]))
    least = said["terms"]["minTrainers"]
    monkeypatch.setattr(Project, "plan", lambda self, n: read_struct(Plan, shown.arguments["plans"][n - least]))
    monkeypatch.setattr(Project, "rates", lambda self: tuple(shown.arguments["rates"]))
    assert inspect_origin(scene.chain, scene.project.address).wrong == wrong
