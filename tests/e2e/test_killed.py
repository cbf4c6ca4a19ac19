"""kill -9 of a role at every step, then a restart: the round completes, and nothing is paid, used or lost twice.

Each test kills one kind of role only, once at every step of `crash`; the others run undisturbed. What happened is read
from the chain: every transaction of every account, to the wei.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.crash import TEMPORARY, Crashes, Mortal, claims, ended, live, records
from tests.e2e.town import ETHER, MODEL, PASSWORD, PROJECT, TRAINERS, Role, Town, town
from tests.support.tiers import ALL
from zkmarket.build import Build
from zkmarket.chain import LIBRARIES, Chain, Phase, Wallet, compile_contracts
from zkmarket.market import Market, Project
from zkmarket.round import Commitment, Opening, verify_round
from zkmarket.round.commitment import commit

pytestmark = pytest.mark.e2e

FUNDS, REWARD, FEE = 100 * ETHER, ETHER, ETHER // 10
QUICK = ("--poll", 0.05, "--grace", 600)
"""Nobody else calls a time-out that a role is due to call, however long that is dead."""


def steps(kind: str, stages: str, *names: str) -> set[str]:
    return {f"{kind}:{name}:{stage}" for name in names for stage in stages.split()}


def files(*names: str) -> set[str]:
    return steps("file", "begun written renamed", *names)


KEYS = {"keys", "folder:builds:half"} | steps("folder", "begun written renamed", "builds/build-3")
DESK = files("settings.json", "prospectus") | KEYS
ACCOUNT = (
    files("sealing.key") | steps("file", "begun written", "outbox.json") | steps("transact", "sent done", "outbox")
)
OPENED = files("keyring.json", "aggregates/N.bin")

STEPS = ".*" if ALL else "(?!file:settings|file:prospectus|folder:builds|keys|proof:base).*"
"""At which trainers and aggregator die. What every desk does first, `DESK`, is left to `make test-all`, which kills all
four roles at it; test_interrupted.py kills who makes keys. So are the prover's steps of the base proof, which are those
of any circuit."""

DIED = DESK if ALL else set[str]()
PROVED = ("base", "settlement") if ALL else ("settlement",)
PROVER = "witness mock prove verify"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


# ---------------------------------------------------------------- what an account did


@dataclass(frozen=True)
class Books:
    """Every transaction of some accounts since a block: what it was, whether it succeeded, and the gas paid."""

    calls: dict[str, Counter[str]]
    failed: dict[str, Counter[str]]
    gas_wei: dict[str, int]


def books(place: Town, since: int) -> Books:
    web3 = place.chain.web3
    names = {address: name for name, address in place.addresses.items()}
    contract = web3.eth.contract(place.project.address, abi=place.project.container.abi)
    calls: dict[str, Counter[str]] = {name: Counter() for name in place.addresses}
    failed: dict[str, Counter[str]] = {name: Counter() for name in place.addresses}
    gas = dict.fromkeys(place.addresses, 0)
    for number in range(since + 1, web3.eth.block_number + 1):
        for sent in web3.eth.get_block(number, full_transactions=True)["transactions"]:
            if sent["from"] not in names:
                continue
            name, receipt = names[sent["from"]], web3.eth.get_transaction_receipt(sent["hash"])
            if sent.get("to") is None:
                code = bytes(sent["input"]).hex()
                ours = (f"deploy {one}" for one in LIBRARIES if code == compile_contracts()[one].bytecode)
                what = next(ours, f"deploy {hash(code)}")
            elif sent["to"] == place.project.address:
                what = contract.decode_function_input(sent["input"])[0].fn_name
            else:
                what = "create"
            (calls if receipt["status"] == 1 else failed)[name][what] += 1
            gas[name] += receipt["gasUsed"] * receipt["effectiveGasPrice"]
    for name, address in place.addresses.items():
        count = calls[name].total() + failed[name].total()
        assert web3.eth.get_transaction_count(address) == count  # by nonce: none was overlooked
    return Books(calls, failed, gas)


def check_money(
    place: Town, since: int, rounds: int, deployments: int | None = None, settling: tuple[str, ...] = ("settle",)
) -> None:
    """Everybody sent each transaction once, none failed, and every wei is where it belongs.

    Args:
        deployments: contracts that the owner deployed, besides the libraries; None: not looked at here.
        settling: calls that settle a round.
    """
    project, found = place.project, books(place, since)
    (settled_pay, state) = (place.pay(), project.state())
    assert state.phase == Phase.ENDED and (state.settled, state.voids) == (rounds, 0)
    for settled in place.log().settled():
        assert settled.trainers and len(set(settled.trainers)) == len(TRAINERS)
        assert REWARD - len(TRAINERS) < sum(settled.pay) <= REWARD
    assert found.failed == {name: Counter() for name in place.addresses}
    for name in TRAINERS:
        assert found.calls[name] == {"join": 1, "submit": rounds, "withdraw": 1}
    admits = found.calls["aggregator"].pop("admit")  # receipts share transactions as they come
    assert rounds <= admits <= rounds * len(TRAINERS)
    assert len(place.log().of("Admitted")) == rounds * len(TRAINERS)
    wanted = dict.fromkeys(("start", "lock", *settling, "next"), rounds) | {"accept": 1, "withdraw": 1}
    assert found.calls["aggregator"] == wanted
    deployed = {what: found.calls["owner"].pop(what) for what in [*found.calls["owner"]] if what.startswith("deploy ")}
    libraries = [deployed.pop(f"deploy {name}", 0) for name in LIBRARIES]
    assert set(deployed.values()) <= {1}
    if deployments is not None:
        assert len(deployed) == deployments
        assert all(1 <= count <= 13 for count in libraries)  # see `test_owner`
    dust = rounds * REWARD - sum(settled_pay.values())
    assert found.calls["owner"] == {"create": 1} | ({"withdraw": 1} if dust else {})
    gains = {"owner": dust - rounds * (REWARD + FEE), "aggregator": rounds * FEE}
    gains |= {name: settled_pay[place.addresses[name]] for name in TRAINERS}
    for name, gain in gains.items():
        assert place.chain.balance(place.addresses[name]) == FUNDS + gain - found.gas_wei[name], name
    assert place.chain.balance(project.address) == 0
    owner = place.addresses["owner"]
    assert Market(place.chain, project.factory()).projects_of(owner) == [project.address]


# ---------------------------------------------------------------- what is in the folders


def check_folder(mortal: Mortal) -> None:
    """Nothing is half-written, nothing waits to be sent, and no prover left a witness.

    One that was killed may have left ezkl's tables, which are no secret: the next that needs some sweeps them.
    """
    mortal.look()
    left = [str(path) for path in mortal.folder.rglob("*") if TEMPORARY.fullmatch(path.name)]
    assert left == []
    assert not (mortal.folder / "outbox.json").exists()
    temporary = mortal.folder.with_name(f"{mortal.folder.name}.tmp")
    assert [path for path in temporary.iterdir() if "-ezkl-" not in path.name] == []


def check_salts(place: Town, shared: Path, rounds: int) -> None:
    """No salt is used twice, in no round and by no trainer, and what was submitted is what is kept.

    Both arguments open columns under the aggregator's masks only, so no proof spends a salt: all 8 of a chunk hide it.
    """
    build = Build.load(place.folder / "owner/builds/build-3")
    salts: list[bytes] = []
    for number in range(1, rounds + 1):
        for name in TRAINERS:
            folder = place.folder / name / f"rounds/{number:05d}"
            opening, who = Opening.load(folder, build.manifest), place.addresses[name]
            commitment = Commitment(place.project.round_id(number), int(who, 16), commit(build, opening))
            assert commitment.digest() == place.log().submitted(number)[who].digest
            salts += [salt.tobytes() for salt in opening.salts.reshape(-1, 32)]
            written = [found[2] for found in records(shared, "salts") if found[:2] == (name, f"{number:05d}")]
            kept = hashlib.sha256((folder / "salts.npy").read_bytes()).hexdigest()
            assert written in ([], [kept])  # [] where nobody was killed
    assert len(set(salts)) == len(salts) == rounds * len(TRAINERS) * build.manifest.salts * build.manifest.chunks


def check_attempts(shared: Path, rounds: int) -> None:
    """All masks are drawn anew for each attempt: the same flood under two seeds is 520 equations on the updates."""
    attempts = records(shared, "attempt")
    drawn = [word for _, points, flood in attempts for word in (*points, *flood)]
    assert len(set(drawn)) == len(drawn) and len(attempts) > rounds


def mortal(
    place: Town, shared: Path, name: str, start: Callable[..., Role], steps: str = ".*", in_two: bool = False
) -> Mortal:
    crashes = Crashes(place.folder / name, shared, steps, in_two)
    return Mortal(crashes.folder, lambda: start(prepare=crashes))


def without(place: Town, *names: str) -> dict[str, Role]:
    """Everybody else, undisturbed."""
    start: dict[str, Callable[..., Role]] = {
        "aggregator": place.aggregator,
        "owner": lambda *words: place.owner("receive", "--withdraw", *words),
    }
    start |= {name: lambda *words, name=name: place.trainer(name, *words) for name in TRAINERS}
    return {name: begin(*QUICK) for name, begin in start.items() if name not in names}


# ---------------------------------------------------------------- one test a role


def test_trainers(tmp_path: Path, chain: Chain, deployed: Path, shared: Path) -> None:
    """Three trainers share the steps: each dies at the next one that nobody died at."""
    since, rounds = chain.web3.eth.block_number, 2
    with town(tmp_path, chain, rounds=rounds, deployed=deployed) as place:
        others = without(place, *TRAINERS)
        mortals = {}
        for name in TRAINERS:
            mortals[name] = mortal(
                place, shared, name, lambda name=name, **more: place.trainer(name, *QUICK, **more), STEPS
            )
        live(place, mortals, ("owner", *TRAINERS))
        assert all(one.result()["zero_updates"] == {} for one in mortals.values())
        assert others["aggregator"].result()["refusals"] == {}
        assert others["owner"].result()["theta"] == place.project.state().theta.hex()

        check_money(place, since, rounds)
        check_salts(place, shared, rounds)
        assert len(records(shared, "salts")) == rounds * len(TRAINERS)
        for one in mortals.values():
            check_folder(one)
        made = "update.npy statement.json salts.npy values.npy commitment.json update-KEY.sealed"
        sent = steps("store", "begun written done", "_put") | steps("send", "begun done", "hand_over")
        sent |= files("outgoing/CID") | steps("transact", "begun kept sent done", "join", "submit", "withdraw")
        written = files(*(f"rounds/N/{name}" for name in made.split()))
        assert claims(shared) >= DIED | ACCOUNT | OPENED | written | sent
        assert sum(one.deaths for one in mortals.values()) == len(claims(shared))


def test_aggregator(tmp_path: Path, chain: Chain, deployed: Path, shared: Path) -> None:
    """Three rounds, so that each of a round's transactions can die in each of three ways."""
    since, rounds = chain.web3.eth.block_number, 3
    with town(tmp_path, chain, rounds=rounds, deployed=deployed) as place:
        others = without(place, "aggregator")
        one = mortal(place, shared, "aggregator", lambda **more: place.aggregator(*QUICK, **more), STEPS)
        live(place, {"aggregator": one}, ("owner", *TRAINERS))
        assert one.result()["refusals"] == {}
        results = {name: role.result() for name, role in others.items()}
        assert results["owner"]["theta"] == place.project.state().theta.hex()

        check_money(place, since, rounds)
        check_salts(place, shared, rounds)
        check_folder(one)
        check_attempts(shared, rounds)
        keys = {path.stem for path in (one.folder / "keys").iterdir()}
        started = [place.log().started(number).encryption_key.hex() for number in range(1, rounds + 1)]
        assert set(started) == keys and len(keys) == rounds
        made = "openings/ADDRESS-KEY/salts.npy openings/ADDRESS-KEY/values.npy openings/ADDRESS-KEY/commitment.json"
        made += " aggregate.npz round.json aggregate.sealed"
        assert claims(shared) >= DIED | ACCOUNT | OPENED | files("keys/KEY.key") | files(
            *(f"rounds/N/{name}" for name in made.split())
        ) | steps("transact", "begun kept sent done", "start", "admit", "lock", "settle", "next") | steps(
            "transact", "begun kept", "accept", "withdraw"
        ) | steps("store", "begun written done", "_put") | files("outgoing/CID") | steps(
            "send", "begun done", "start", "published"
        ) | {f"proof:{circuit} proof: {step}" for circuit in PROVED for step in PROVER.split()}
        assert one.deaths == len(claims(shared))


@pytest.mark.exhaustive("tests/roles/test_aggregator.py goes on between the two")
def test_settlements_in_two_transactions(tmp_path: Path, chain: Chain, deployed: Path, shared: Path) -> None:
    """Killed before, in and after each of them: a base proof that the chain has is not sent again."""
    since, rounds = chain.web3.eth.block_number, 3
    with town(tmp_path, chain, rounds=rounds, deployed=deployed) as place:
        others = without(place, "aggregator")
        deaths = "transact:(prove base|settle):.*"
        one = mortal(place, shared, "aggregator", lambda **more: place.aggregator(*QUICK, **more), deaths, in_two=True)
        live(place, {"aggregator": one}, ("owner", *TRAINERS))
        assert others["owner"].result()["theta"] == place.project.state().theta.hex()
        check_money(place, since, rounds, settling=("proveBase", "settleProven"))
        assert claims(shared) == steps("transact", "begun kept sent done", "prove base", "settle")
        assert len(records(shared, "attempt")) == rounds  # what is proven is kept
        build = Build.load(place.folder / "owner/builds/build-3")
        for number in range(1, rounds + 1):
            proof = place.project.round_proof(build.manifest, number)  # from the calldata of both
            assert verify_round(build, proof, expected=place.project.round_id(number)).mask


@pytest.mark.exhaustive("it sends nothing; its steps are those of test_trainers")
def test_auditor(tmp_path: Path, chain: Chain, deployed: Path, shared: Path) -> None:
    since = chain.web3.eth.block_number
    with town(tmp_path, chain, deployed=deployed) as place:
        others = without(place)
        one = mortal(place, shared, "auditor", lambda **more: place.auditor("watch", *QUICK, **more))
        live(
            place,
            {"auditor": one}
            | {name: Mortal(place.folder / name, lambda role=role: role) for name, role in others.items()},
            ("owner", *TRAINERS),
        )
        (row,) = one.result()["rounds"]
        assert row["verified"] and row["aggregate"] == "served"
        check_money(place, since, 1)
        check_folder(one)
        assert claims(shared) == DESK
        assert one.deaths == len(claims(shared))


@pytest.mark.exhaustive("the same outbox as test_trainers and test_aggregator")
def test_owner(tmp_path: Path, chain: Chain, shared: Path) -> None:
    """From an empty folder to the model: create, pay-in, list, receive.

    The factory and each verifier are deployed once: what was deployed and not written down is found again. The
    libraries, which come just before the factory and hold nothing, are not: the first one is deployed again after each
    of the twelve deaths between it and the factory, kept, sent and done of its own, all four of the two others, and
    begun of the factory.
    """
    since, addresses = chain.web3.eth.block_number, people(tmp_path, chain, "owner", "aggregator", *TRAINERS)
    place = unfounded(tmp_path, chain, addresses)
    try:
        file = project_file(tmp_path, addresses["aggregator"])

        def command(*words: object) -> Mortal:
            return mortal(place, shared, "owner", lambda **more: place.owner(*words, **more))

        created, paid = command("create", file), command("pay-in")
        created.finish(place)
        paid.finish(place)
        place.project = Project(chain, paid.result()["project"])
        listed = command("list", *(addresses[name] for name in TRAINERS))
        listed.finish(place)
        place.memberships = {name: listed.result()["memberships"][addresses[name]] for name in TRAINERS}
        others = without(place, "owner")
        received = command("receive", "--withdraw", *QUICK)
        live(place, {"owner": received}, ("owner", *TRAINERS))
        assert received.result()["rounds"] == 1
        assert all(role.result()["phase"] == "ENDED" for role in others.values())
        with np.load(tmp_path / "owner/model.npz") as model:
            assert model.files

        check_money(place, since, 1, deployments=3)
        check_folder(received)
        assert claims(shared) >= DESK | ACCOUNT | OPENED | files(
            "PROJECT.toml", "deployed.json", "model.npz", "theta.npz"
        ) | steps("transact", "begun kept", "deploying Factory", "create", "withdraw") | steps(
            "transact", "begun kept sent", "deploying the verifier"
        ) | steps(  # there are two of them
            "transact", "begun kept sent done", *(f"deploying {name}" for name in LIBRARIES)
        ) | steps("store", "begun written done", "create")
        deaths = sum(one.deaths for one in (created, paid, listed, received))
        assert deaths == len(claims(shared))
    finally:
        place.close()


def unfounded(folder: Path, chain: Chain, addresses: dict[str, str]) -> Town:
    """A town whose project is still to come."""
    return Town(folder, chain, addresses, str(folder / "store"), None, {})  # type: ignore[arg-type]


def people(folder: Path, chain: Chain, *names: str) -> dict[str, str]:
    found = {}
    for name in names:
        found[name] = Wallet.create(folder / name / "keystore.json", PASSWORD, light=True)
        chain.transact("funding", chain.accounts[0], found[name], b"", FUNDS)
    return found


def project_file(folder: Path, aggregator: str) -> Path:
    path = folder / "PROJECT.toml"
    given: dict[str, Any] = {"rounds": 1, "aggregator": aggregator, "model": MODEL, "least": 3, "most": 3}
    path.write_text(PROJECT.format(windows="", rules="", **given))
    return path


# ---------------------------------------------------------------- payments that a project makes once


@pytest.mark.exhaustive("test_trainers and test_aggregator die in each of the three ways")
def test_paying_in_and_accepting(tmp_path: Path, chain: Chain, deployed: Path, shared: Path) -> None:
    """The pool and the bond are each paid once a project: three owners and three aggregators die in the three ways."""
    since = chain.web3.eth.block_number
    owners, aggregators = [[f"{role}-{i}" for i in range(3)] for role in ("owner", "aggregator")]
    addresses = people(tmp_path, chain, *owners, *aggregators)
    if not deployed.exists():
        with town(tmp_path / "first", chain, deployed=deployed):
            pass
    place = unfounded(tmp_path, chain, addresses)
    try:
        mortals = {}
        for owner, aggregator in zip(owners, aggregators, strict=True):
            (tmp_path / owner / "deployed.json").write_bytes(deployed.read_bytes())
            file = project_file(tmp_path / owner, addresses[aggregator])
            place.start(owner, "owner", "create", file).result()
            start = lambda owner=owner, **more: place.start(owner, "owner", "pay-in", **more)  # noqa: E731
            mortals[owner] = mortal(place, shared, owner, start, steps="transact:(create|outbox):.*")
        place.until(lambda: all(ended(mortals)), 600)
        projects = {owner: one.result()["project"] for owner, one in mortals.items()}
        assert claims(shared) == steps("transact", "begun kept sent done", "create") | steps(
            "transact", "sent done", "outbox"
        )

        for owner, aggregator in zip(owners, aggregators, strict=True):
            words = ("aggregator", "run", "--project", projects[owner], *QUICK)
            start = lambda name=aggregator, words=words, **more: place.start(name, *words, **more)  # noqa: E731
            mortals[aggregator] = mortal(place, shared, aggregator, start, steps="transact:accept:.*")
        offices = {name: mortals[name] for name in aggregators}
        contracts = {owner: Project(chain, address) for owner, address in projects.items()}

        def all_open() -> bool:
            assert not any(ended(offices))
            opened = all(contract.state().phase == Phase.OPEN for contract in contracts.values())
            return opened and sum(one.deaths for one in mortals.values()) == len(claims(shared))

        place.until(all_open)
        assert claims(shared) >= steps("transact", "begun kept sent done", "accept")
        for owner, aggregator in zip(owners, aggregators, strict=True):
            place.project = contracts[owner]
            bond = place.project.terms().bond_wei
            found = books(place, since)
            assert found.failed[owner] == found.failed[aggregator] == Counter()
            assert (found.calls[owner], found.calls[aggregator]) == ({"create": 1}, {"accept": 1})
            for name, paid in ((owner, REWARD + FEE), (aggregator, bond)):
                assert chain.balance(addresses[name]) == FUNDS - paid - found.gas_wei[name]
            assert chain.balance(projects[owner]) == REWARD + FEE + bond
            assert Market(chain, place.project.factory()).projects_of(addresses[owner]) == [projects[owner]]
    finally:
        place.close()
