"""market.py and escrow.py against the contracts: what is sent is what is read back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import requests
from eth_account import Account

from tests.contracts.conftest import PARAMS
from tests.contracts.world import CID, ETHER, PENALTY, Scene
from zkmarket.build import Build
from zkmarket.chain import LIBRARIES, MAX_CODE, NOBODY, Chain, Phase, Wallet, compile_contracts, compiled_code
from zkmarket.errors import ArtifactError, ChainError, InputError, TransactionReverted
from zkmarket.market import Market, Offer, Project, Terms, Verifiers, check_builds, read_struct, terms_of
from zkmarket.processes import SOURCE_TREE

pytestmark = [pytest.mark.chain, pytest.mark.proof]


MOST_PROJECT, MOST_CREATION = 21_000, 49_152
"""Bytes: of Project, so that states can be added; and EIP-3860's, of what creates the factory with all its code."""


@pytest.mark.parametrize("name", ["Factory", "Project", "Extension", *LIBRARIES])
def test_every_contract_can_be_deployed(name: str) -> None:
    """EIP-170. Verifiers are checked when they are compiled."""
    size = len(compiled_code(name))
    assert 0 < size <= MAX_CODE
    assert len(compile_contracts()[name].bytecode) // 2 <= MOST_CREATION
    if name == "Project":
        assert size <= MOST_PROJECT
        assert f"{size:,} bytes of code" in (SOURCE_TREE / "contracts" / "README.md").read_text()


def test_terms_are_read_back_as_they_were_offered(
    scene: Scene, offer: Offer, builds: dict[int, Build], verifiers: Verifiers
) -> None:
    project = scene.market.create(offer, builds, verifiers, scene.owner)
    terms, manifest = project.terms(), builds[3].manifest
    assert terms.owner == str(scene.owner) and terms.aggregator == str(scene.aggregator)
    for name in ("stake_wei", "bond_wei", "penalty_wei", "reward", "fee", "rounds", "void_limit"):
        assert getattr(terms, name) == getattr(offer, name)
    for name in ("kappa", "beta", "beta_min", "beta_max", "model", "token", "windows", "theta", "theta_bits"):
        assert getattr(terms, name) == getattr(offer, name)
    assert (terms.min_trainers, terms.max_trainers, terms.open_admission) == (3, 4, False)
    assert (terms.params, terms.logrows, terms.salts, terms.chunks) == (PARAMS, 11, 8, 2)
    assert terms.rows == 30
    assert terms.blinding == manifest.blinding
    assert terms.base == verifiers.base
    assert terms == terms_of(offer, str(scene.owner), builds, verifiers)
    assert project.rates() == offer.rates
    for n, build in builds.items():
        assert project.plan(n).manifest == build.manifest.digest()
        assert (project.plan(n).f, project.plan(n).m) == (0, n)
        assert project.plan(n).settlement == verifiers.settlement[n]


def test_the_state_of_a_new_project(scene: Scene) -> None:
    done = scene.create()
    state = scene.project.state()
    assert (state.phase, state.round, state.settled, state.voids) == (Phase.CREATED, 0, 0, 0)
    assert state.pool == 3 * (ETHER + ETHER // 5) and state.aggregator == str(scene.aggregator)
    assert (state.bond_wei, state.unburnt_wei, state.ending, state.claimed) == (0, 0, False, False)
    assert type(state.round) is int and type(state.pool) is int  # not Brownie's own
    created = done.event("ProjectCreated")
    assert created.arguments["cid"] == CID and read_struct(Terms, created.arguments["terms"]) == scene.project.terms()
    assert created.block == done.block and created.transaction == done.transaction
    with pytest.raises(ChainError, match="logged no Settled"):
        done.event("Settled")


def getters(scene: Scene, block: int) -> dict[str, Any]:
    """What `state` says, asked one by one."""
    project = scene.project

    def read(name: str) -> Any:
        return project._call(name, block=block)

    names = {name: name for name in ("round", "settled", "voids", "aggregator", "beta", "pool", "ending", "theta")}
    names |= {"bond_wei": "bondWei", "unburnt_wei": "unburntWei", "claimed": "isClaimed"}
    phase = Phase(read("phase"))
    wait = scene.values["windows"][3] if phase == Phase.ADMIT else 0
    when = {"now": scene.chain.web3.eth.get_block(block)["timestamp"], "deadline": read("deadline") + wait}
    return {"phase": phase, **when, **{field: read(name) for field, name in names.items()}, "block": block}


def test_the_state_is_what_the_getters_say_in_every_phase(scene: Scene) -> None:
    seen = []
    for phase in scene.walk():
        if phase == Phase.SETTLED:
            scene.project.announce_end(scene.owner)
            scene.project.claim(scene.owner)
            assert scene.project.state().claimed and scene.project.state().ending
            scene.project.unclaim(scene.owner)
            scene.project.claim(scene.trainers[0])
        seen.append(scene.project.state())
        assert dataclasses.asdict(seen[-1]) == getters(scene, scene.chain.web3.eth.block_number)
        if phase == Phase.SETTLED:
            break
    scene.reach(Phase.VACANT)
    vacant, block = scene.project.state(), scene.chain.web3.eth.block_number
    assert dataclasses.asdict(vacant) == getters(scene, block)
    scene.project.end(scene.owner)
    ended = scene.project.state()
    assert dataclasses.asdict(ended) == getters(scene, block + 1)
    assert [state.phase for state in (*seen, vacant, ended)] == list(Phase)
    assert vacant.aggregator == NOBODY and seen[3].deadline == seen[2].deadline + scene.values["windows"][3]


def test_the_state_can_be_read_below_the_latest_block(scene: Scene) -> None:
    scene.create()
    first = scene.project.state()
    scene.project.accept(scene.aggregator)
    second = scene.project.state()
    scene.pass_deadline()
    third = scene.project.state()
    assert [state.block - first.block for state in (first, second, third)] == [0, 1, 2]
    assert [state.now for state in (second, third)] == [second.deadline - scene.values["windows"][1], scene.chain.now]
    assert [scene.project.state(depth) for depth in (2, 1, 0)] == [first, second, third]
    for depth, block in ((3, first.block - 1), (10**6, 0)):
        with pytest.raises(ChainError, match=f"no project at {scene.project.address} at block {block} yet: wait"):
            scene.project.state(depth)


def test_the_state_is_one_call(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that polls pays for it, or is slowed down."""
    scene.create()
    asked, send = [], requests.Session.send

    def listening(self: requests.Session, request: Any, **options: Any) -> Any:
        asked.append(json.loads(request.body)["method"])
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", listening)
    scene.project.state()
    assert [what for what in asked if what != "eth_chainId"] == ["eth_blockNumber", "eth_call"]


def test_events_can_be_followed_from_a_block(scene: Scene) -> None:
    scene.open()
    events = scene.project.events()
    assert [event.name for event in events] == ["Accepted", "Opened"] + ["Joined"] * 5
    assert scene.project.events(events[3].block) == events[3:]
    assert scene.project.events(events[-1].block + 1) == ()


def test_events_are_followed_once_they_are_confirmed(chain: Chain, scene: Scene) -> None:
    scene.create()
    start = chain.web3.eth.block_number
    told = scene.project.follow(start, confirmations=2, poll=0.01)
    scene.project.accept(scene.aggregator)  # block start + 1, two events
    scene.project.join(scene.trainers[0])
    scene.project.join(scene.trainers[1])
    assert [next(told).name, next(told).name] == ["Accepted", "Opened"]
    scene.project.join(scene.trainers[2])
    scene.project.join(scene.trainers[3])
    assert [next(told).block - start, next(told).block - start] == [2, 3]


def test_a_node_signs_as_a_key_does(chain: Chain, scene: Scene) -> None:
    """anvil's first account has a key that everybody knows."""
    scene.create()
    known = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    local = Wallet(Account.from_key(known))
    assert str(local) == str(scene.owner)
    assert scene.project.sign_membership(local, scene.stranger) == scene.project.sign_membership(
        str(scene.owner), scene.stranger
    )
    with pytest.raises(ChainError, match="does not sign for"):
        scene.project.sign_membership("0x" + "77" * 20, scene.stranger)


def test_a_revert_says_why_in_words(scene: Scene) -> None:
    scene.create()
    with pytest.raises(TransactionReverted) as refused:
        scene.project.start(scene.aggregator, bytes(32))
    assert refused.value.reason == "WrongPhase(have=CREATED, want=OPEN)" and refused.value.exit_code == 4
    assert str(refused.value).startswith("start was reverted: the project is in phase CREATED (the aggregator has not")


def test_join_after_a_penalty_pays_what_is_missing(scene: Scene) -> None:
    """The penalty for a void round is taken first; only then is it known what is missing."""
    scene.open()
    late, *others = scene.trainers
    scene.start()
    scene.submit_all(others[:2])
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    done = scene.project.join(late)
    assert done.event("Joined").arguments["stakeWei"] == PENALTY
    assert scene.project.account(late).stake_wei == ETHER and scene.project.account(late).skipped == 1


# ---------------------------------------------------------------- builds of one project


def changed(build: Build, **values: Any) -> Build:
    """The same build with another value in its manifest."""
    value = json.loads(json.dumps(build.manifest.value)) | values
    return dataclasses.replace(build, manifest=dataclasses.replace(build.manifest, value=value))


def test_builds_must_be_of_one_project(builds: dict[int, Build]) -> None:
    assert check_builds(builds) == [3, 4]
    cases = [
        ({}, "got none"),
        ({3: builds[3], 5: builds[4]}, r"from least to most: got \[3, 5\]"),
        ({3: builds[4]}, "for 3 trainers is one for 4"),
        ({3: builds[3], 4: changed(builds[4], score="leave-one-out")}, "score differs"),
        ({3: builds[3], 4: changed(builds[4], srs={"id": "other"})}, "srs differs"),
        ({3: builds[3], 4: changed(builds[4], blinding_point="0x00")}, "blinding_point differs"),
    ]
    circuits = dict(builds[4].manifest.value["circuits"])
    circuits["base"] = circuits["base"] | {"rows": 1}
    cases.append(({3: builds[3], 4: changed(builds[4], circuits=circuits)}, "base differs"))
    for given, reason in cases:
        with pytest.raises(ArtifactError, match=reason):
            check_builds(given)


def test_a_norm_bound_that_no_proof_could_settle(offer: Offer, builds: dict[int, Build], verifiers: Verifiers) -> None:
    beyond = dataclasses.replace(offer, beta_max=builds[3].manifest.beta_max + 1)
    with pytest.raises(InputError, match="settle norm bounds up to"):
        terms_of(beyond, NOBODY, builds, verifiers)


def test_a_market_and_its_projects_can_be_found_again(chain: Chain, scene: Scene) -> None:
    scene.create()
    again = Market(chain, scene.market.address)
    assert again.is_project(scene.project.address) and not again.is_project(str(scene.stranger))
    assert Project(chain, scene.project.address).terms() == scene.project.terms()
    with pytest.raises(ChainError, match="no contract at"):
        Project(chain, str(scene.stranger))


@pytest.mark.parametrize("traces", [True, False], ids=["a node that traces", "a node that does not"])
def test_a_transaction_that_was_mined_and_failed_says_why(
    chain: Chain, scene: Scene, monkeypatch: pytest.MonkeyPatch, traces: bool
) -> None:
    scene.create()
    assert chain.transact("pay", scene.owner, str(scene.stranger), b"", 1)["status"] == 1
    provider, block = chain.web3.provider, chain.web3.eth.block_number
    real, asked = provider.make_request, []

    def make_request(method: str, given: Any) -> Any:
        asked.append(method)
        if method == "debug_traceTransaction" and not traces:
            return {"error": {"code": -32601, "message": "no such method"}}
        return real(method, given)

    monkeypatch.setattr(provider, "make_request", make_request)
    data = bytes.fromhex(scene.project.contract.skip.encode_input()[2:])
    with pytest.raises(TransactionReverted, match=r"^skip was reverted: the project is in phase CREATED "):
        chain.transact("skip", scene.stranger, scene.project.address, data)
    assert asked == ["eth_sendTransaction", "debug_traceTransaction"]  # and eth_call, which web3 sends another way
    assert chain.web3.eth.block_number == block + 1
    with pytest.raises(ChainError, match="pay failed: ") as caught:
        chain.transact("pay", "0x" + "77" * 20, str(scene.stranger), b"", 1)  # the node has not its key
    assert not isinstance(caught.value, TransactionReverted)
