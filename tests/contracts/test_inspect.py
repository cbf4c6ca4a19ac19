"""`zkmarket inspect`: a project made of the caller's own builds passes, any other does not, and says why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_hash.auto import keccak

from tests.conftest import build_for
from tests.contracts.conftest import LOGROWS, PARAMS
from tests.contracts.real import THETA_BITS, compared, first_model
from tests.contracts.world import ACCEPT_ALL, ETHER, Scene
from zkmarket.build import Build, Spec, columns
from zkmarket.chain import LAYER_ONES, LIBRARIES, Chain, compile_verifier, libraries_of_creation, sign
from zkmarket.cli import main
from zkmarket.errors import ArtifactError, ChainError, InputError
from zkmarket.market import (
    CLONE,
    Inspection,
    Market,
    Offer,
    Project,
    Prospectus,
    Verifier,
    Verifiers,
    Windows,
    check_builds,
    factory,
    inspect,
    membership_message,
    plan_of,
    plans_of,
    points_hash,
)
from zkmarket.rules import MultiKrum
from zkmarket.units import DAY

pytestmark = [pytest.mark.chain, pytest.mark.proof]

Make = Callable[..., Project]


@pytest.fixture
def make(scene: Scene, offer: Offer, builds: dict[int, Build], verifiers: Verifiers) -> Make:
    def create(**changes: object) -> Project:
        used = changes.pop("verifiers", verifiers)
        return scene.market.create(dataclasses.replace(offer, **changes), builds, used, scene.owner)

    return create


def prospectus_of(build: Build, **changes: Any) -> Prospectus:
    """Of a project whose initial model is `first_model`."""
    spec = Spec(3, build.manifest.params, build.manifest.filter)
    values = {"theta": first_model(build)[0].values, "theta_bits": THETA_BITS}
    return Prospectus("a project", {3: spec}, "ab" * 32, **values | changes, owner_key=bytes(32))


def test_the_initial_model_is_the_prospectuss(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    project = make().address
    found = inspect(chain, project, builds, prospectus=prospectus_of(builds[3]))
    assert found.wrong == [] and "the terms commit to the prospectus's initial model" in found.checked
    assert not any("initial model was not checked" in text for text in found.warnings)
    assert any(
        "the commitment of the initial model was not checked" in text
        for text in inspect(chain, project, builds).warnings
    )


@pytest.mark.parametrize("what", ["a parameter", "the scale", "points that are none", "no integers"])
def test_attack_another_initial_model_than_the_terms_commit_to(
    chain: Chain, make: Make, builds: dict[int, Build], what: str
) -> None:
    """Whoever took part in it could settle nothing, or would train from a model that is not the chain's: `accept` and
    `join` ask `inspect` first."""
    given = prospectus_of(builds[3])
    theta = given.theta.copy()
    theta[-1] += 1
    wrong = "the initial model of the prospectus is not the one that the terms commit to"
    project = make()
    if what == "the scale":
        given = dataclasses.replace(given, theta_bits=THETA_BITS + 1)
        wrong = f"theta_bits is {THETA_BITS}: the prospectus says {THETA_BITS + 1}"
    elif what == "points that are none":
        project = make(theta=points_hash([(1, 1), (1, 1)]))
    elif what == "no integers":
        given = dataclasses.replace(given, theta=np.full_like(theta, 1 << 62))
        wrong = "the prospectus has no model that can be committed to: a model's integers are below 2^62"
    else:
        given = dataclasses.replace(given, theta=theta)
    (said,) = inspect(chain, project.address, builds, prospectus=given).wrong
    assert said.startswith(wrong)


def test_a_project_of_these_builds_is_trustworthy(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    found = inspect(chain, make().address, builds)
    assert found.wrong == []
    assert sum("byte for byte" in text for text in found.checked) == 3  # the base, two settlements
    assert any("development SRS" in text for text in found.warnings)
    assert any("stakes 1 ether; it loses 0.5 ether" in text for text in found.money)
    assert any("free again at the latest after 15h" in text for text in found.money)


def test_a_project_that_has_ended_takes_no_money_and_can_be_audited(
    chain: Chain, scene: Scene, make: Make, builds: dict[int, Build]
) -> None:
    project = make()
    with chain.rolled_back():
        chain.pass_time(project.state().deadline + 1 - chain.now)
        project.cancel(scene.stranger)
        assert inspect(chain, project.address, builds).wrong == ["it has ended"]
        audited = inspect(chain, project.address, builds, to_pay=False)
        assert audited.wrong == [] and "it has ended" in audited.money


def test_terms_that_are_allowed_but_should_be_known(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    odd = {"bond_wei": 2 * ETHER - 1, "open_admission": True, "windows": Windows(submit=60)}
    warnings = " | ".join(inspect(chain, make(**odd).address, builds).warnings)
    assert "less than twice the reward" in warnings
    assert "anyone may join" in warnings
    assert "shorter than an hour: submit" in warnings
    assert "one penalty takes the whole stake" in " ".join(
        inspect(chain, make(penalty_wei=ETHER).address, builds).warnings
    )


def test_columns_of_another_shape(
    chain: Chain, make: Make, builds: dict[int, Build], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factory would refuse them, too: ℓ1 by K is a table of the protocol."""
    project, rows = make().address, columns.ROWS[LOGROWS]
    assert "rows is the builds'" in inspect(chain, project, builds).checked
    monkeypatch.setitem(columns.ROWS, LOGROWS, rows - 1)
    assert f"rows is {rows}: the builds' is {rows - 1}" in inspect(chain, project, builds).wrong


@pytest.mark.parametrize("where", [1, 100, 11155111, 8453, 10])
def test_windows_that_an_outage_of_a_sequencer_can_eat(
    where: int, chain: Chain, make: Make, builds: dict[int, Build]
) -> None:
    """Said where one sequencer may make the blocks, and nowhere else."""
    elsewhere = dataclasses.replace(chain, id=where)
    project = make().address
    assert not any("sequencer" in text for text in inspect(chain, project, builds).warnings)
    said = [text for text in inspect(elsewhere, project, builds).warnings if "sequencer" in text]
    long = make(windows=Windows(submit=DAY, admit=DAY, prove=DAY)).address
    assert not any("sequencer" in text for text in inspect(elsewhere, long, builds).warnings)
    wanted = (
        f"chain {where} is not known to be a layer 1: a sequencer that stops can eat a window shorter than 24h whole"
    )
    if where in LAYER_ONES:
        assert said == []
    else:
        assert [text.startswith(wanted) for text in said] == [True]
        assert said[0].endswith(": submit (6h), admit (3h), prove (6h)")


@pytest.mark.parametrize("which", ["base", "settlement"])
def test_a_foreign_verifier_is_named(
    chain: Chain, scene: Scene, make: Make, builds: dict[int, Build], verifiers: Verifiers, which: str
) -> None:
    """The contract cannot know what a verifier verifies: who joins without looking gives its stake away."""
    made = compile_verifier(ACCEPT_ALL)
    foreign = Verifier(chain.deploy_verifier(made, scene.owner).address, keccak(made.runtime))
    used = dict(verifiers.settlement) | {4: foreign} if which == "settlement" else foreign
    found = inspect(chain, make(verifiers=dataclasses.replace(verifiers, **{which: used})).address, builds)
    assert len(found.wrong) == 1
    assert f"at {foreign.deployed} is not the one that the build gives" in found.wrong[0]


def test_the_verifiers_of_two_numbers_exchanged(
    chain: Chain, make: Make, builds: dict[int, Build], verifiers: Verifiers
) -> None:
    crossed = {3: verifiers.settlement[4], 4: verifiers.settlement[3]}
    found = inspect(chain, make(verifiers=dataclasses.replace(verifiers, settlement=crossed)).address, builds)
    assert ["of 3 trainers" in text for text in found.wrong] == [True, False]


def test_another_manifest(
    chain: Chain, make: Make, builds: dict[int, Build], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Same circuits, another scale: the digest differs, and nothing else would."""
    folder = tmp_path_factory.mktemp("other")
    other = {
        n: build_for(folder / str(n), trainers=n, params=PARAMS, logrows=LOGROWS, filter=MultiKrum(0, n), scale_bits=5)
        for n in (3, 4)
    }
    found = inspect(chain, make().address, other)
    assert [f"rounds of {n} trainers are settled by another manifest" in found.wrong[n - 3] for n in (3, 4)] == [
        True
    ] * 2


# ---------------------------------------------------------------- filter and score


@pytest.fixture(scope="session")
def references() -> dict[int, Build]:
    """Of a project that compares updates with a root update and with the last aggregate."""
    return dict(compared())


@pytest.fixture
def create(
    scene: Scene, offer: Offer, references: dict[int, Build], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Project]:
    """A project of `references` whose plan says something else: verifiers that accept all, for nobody proves here."""
    base, settlement = scene.mocks

    def create(**changes: int) -> Project:
        told = [dataclasses.replace(plan, **changes) for plan in plans_of(references, verifiers)]
        monkeypatch.setattr(factory, "plans_of", lambda *_: told)
        return scene.market.create(offer, references, verifiers, scene.owner)

    verifiers = Verifiers(base, {4: settlement})
    return create


def about_the_plan(found: Inspection) -> list[str]:
    """What is wrong besides the verifiers, which accept everything."""
    return [text for text in found.wrong if "is not the one that the build gives" not in text]


def test_a_filter_without_multi_krum_and_references(
    chain: Chain, create: Callable[..., Project], references: dict[int, Build]
) -> None:
    manifest = references[4].manifest
    plan = plan_of(manifest, Verifier("", b""))
    assert (plan.f, plan.m, plan.references, plan.shift) == (0, 4, 3, manifest.score_shift)
    found = inspect(chain, create().address, references)
    assert about_the_plan(found) == []
    for what in ("f", "m", "references", "shift"):
        assert f"{what} of rounds of 4 trainers is the build's" in found.checked
    warnings = " | ".join(found.warnings)
    assert "compared with a root update of the owner: it decides what is good" in warnings
    assert "compared with the last aggregate: whoever takes a vacant office later needs its opening" in warnings


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"f": 0, "m": 3}, "m of rounds of 4 trainers is 3: the build's filter and score make it 4"),
        ({"references": 2}, "references of rounds of 4 trainers is 2: the build's filter and score make it 3"),
        ({"shift": 9}, "shift of rounds of 4 trainers is 9: the build's filter and score make it "),
    ],
    ids=["m", "references", "shift"],
)
def test_a_plan_of_other_rules(
    chain: Chain,
    create: Callable[..., Project],
    references: dict[int, Build],
    changes: dict[str, int],
    said: str,
) -> None:
    """Attack: the right manifest and verifiers, but a slot that is not compared, or scores cut where it suits."""
    (found,) = about_the_plan(inspect(chain, create(**changes).address, references))
    assert found.startswith(said)


def test_nothing_is_said_of_references_where_there_are_none(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    found = inspect(chain, make().address, builds)
    assert not any("compared with" in text for text in [*found.warnings, *found.checked, *found.wrong])


def with_manifest(build: Build, **changes: object) -> Build:
    manifest = dataclasses.replace(build.manifest, value=build.manifest.value | changes)
    return dataclasses.replace(build, manifest=manifest)


def test_a_last_aggregate_of_more_updates_than_the_build_can_compare_with(
    chain: Chain, create: Callable[..., Project], references: dict[int, Build]
) -> None:
    """No proof could be made after a round of the most, and the aggregator would lose its bond."""
    project = create()
    small = {4: with_manifest(references[4], most_trainers=3)}
    assert "the build for 4 trainers compares with a last aggregate of at most 3 updates: rounds have up to 4" in str(
        pytest.raises(ArtifactError, check_builds, small).value
    )
    with pytest.raises(ArtifactError, match="--most-trainers 4"):
        inspect(chain, project.address, small)


def test_a_build_is_missing(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    found = inspect(chain, make().address, {3: builds[3]})
    assert found.wrong == ["no build for 4 trainers was given: what settles such a round was not compared"]


# ---------------------------------------------------------------- look-alikes


def push(value: int, width: int = 32) -> bytes:
    return bytes([0x5F + width]) + value.to_bytes(width, "big")


def creation(before: bytes, code: bytes) -> bytes:
    """Init code that runs `before` and then leaves `code`: the storage is whatever `before` wrote."""
    end = (
        push(len(code), 2)
        + push(len(before) + 15, 2)
        + push(0, 1)
        + b"\x39"
        + push(len(code), 2)
        + push(0, 1)
        + b"\xf3"
    )
    assert len(end) == 15
    return before + end + code


def store(slot: int, value: int) -> bytes:
    return push(value) + push(slot) + b"\x55"


def log(topics: list[int]) -> bytes:
    """Without data."""
    words = b"".join(push(topic) for topic in reversed(topics))
    return words + push(0, 1) + push(0, 1) + bytes([0xA0 + len(topics)])


def clone_code(market_: Market) -> bytes:
    head, tail = CLONE
    return head + bytes.fromhex(market_.implementation()[2:]) + tail


def fake_factory(scene: Scene, project: str) -> str:
    """An account with exactly the code of Factory.sol that lists a project which it never made."""
    listed = int.from_bytes(keccak(int(project, 16).to_bytes(32, "big") + (1).to_bytes(32, "big")), "big")
    deployed = int.from_bytes(keccak(b"Deployed(address)"), "big")
    before = store(0, int(scene.market.implementation(), 16)) + store(listed, 1) + log([deployed])
    made = scene.chain._create("a fake", creation(before, scene.chain.code(scene.market.address)), scene.owner)
    fake = Market(scene.chain, made)
    assert fake.is_project(project) and fake.implementation() == scene.market.implementation()
    assert scene.chain.code(made) == scene.chain.code(scene.market.address)
    return made


def test_right_code_with_forged_storage(chain: Chain, scene: Scene, make: Make, builds: dict[int, Build]) -> None:
    """Code proves nothing: the init code of these two wrote terms, credits and a list that no one ever checked."""
    genuine = make()
    named = next(slot for slot in range(256) if holds(chain, genuine.address, slot, scene.market.address))
    project = chain._create("a clone", creation(b"", clone_code(scene.market)), scene.owner)
    fake = fake_factory(scene, project)
    chain.web3.provider.make_request("anvil_setStorageAt", [project, hex(named), "0x" + fake[2:].rjust(64, "0")])
    assert Project(chain, project).factory() == fake
    found = inspect(chain, project, builds)
    assert found.wrong == [
        "it does not come from a factory that was created by the sources here: nothing in it can be relied on"
    ]


def holds(chain: Chain, account: str, slot: int, value: str) -> bool:
    return int.from_bytes(bytes(chain.web3.eth.get_storage_at(account, slot)), "big") & (1 << 160) - 1 == int(value, 16)


def test_a_clone_that_names_the_right_factory(chain: Chain, scene: Scene, make: Make, builds: dict[int, Build]) -> None:
    genuine = make()
    named = next(slot for slot in range(256) if holds(chain, genuine.address, slot, scene.market.address))
    before = store(named, int(scene.market.address, 16))
    project = chain._create("a clone", creation(before, clone_code(scene.market)), scene.owner)
    assert Project(chain, project).factory() == scene.market.address
    assert inspect(chain, project, builds).wrong == ["the factory that it names has not made it"]


def test_an_honest_project_cannot_be_slandered(
    chain: Chain, scene: Scene, make: Make, builds: dict[int, Build]
) -> None:
    """A fake factory that lists and logs it changes nothing."""
    genuine = make()
    fake_factory(scene, genuine.address)
    assert inspect(chain, genuine.address, builds).wrong == []


def test_a_clone_of_nothing(chain: Chain, scene: Scene, make: Make, builds: dict[int, Build]) -> None:
    project = chain._create("a clone", creation(b"", clone_code(scene.market)), scene.owner)
    assert "nothing in it can be relied on" in inspect(chain, project, builds).wrong[0]
    head, tail = CLONE
    empty = chain._create("a clone", creation(b"", head + bytes(20) + tail), scene.owner)
    assert "nothing in it can be relied on" in inspect(chain, empty, builds).wrong[0]
    assert "not a clone" in inspect(chain, scene.market.address, builds).wrong[0]


def test_a_factory_of_other_code(chain: Chain, scene: Scene, offer: Offer, builds: dict[int, Build]) -> None:
    """One byte of its creation: it would clone something else, or check less."""
    created = chain.creation_of(scene.market.address, "Deployed(address)")
    assert created is not None and libraries_of_creation(created)
    for at in (0, len(created) // 2, len(created) - 1):
        changed = bytearray(created)
        changed[at] ^= 1
        assert libraries_of_creation(bytes(changed)) is None
    assert libraries_of_creation(created + b"\0") is None
    assert libraries_of_creation(b"") is None


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_factory_linked_to_another_library(
    chain: Chain, scene: Scene, make: Make, builds: dict[int, Build], name: str
) -> None:
    project = make()
    created = chain.creation_of(scene.market.address, "Deployed(address)")
    linked = libraries_of_creation(created)
    assert linked is not None and set(linked) == set(LIBRARIES)
    library = linked[name]
    changed = bytearray(chain.code(library))
    changed[len(changed) // 2] ^= 1
    chain.web3.provider.make_request("anvil_setCode", [library, "0x" + changed.hex()])
    assert "nothing in it can be relied on" in inspect(chain, project.address, builds).wrong[0]


def test_pay_by_losses_is_nothing_that_a_role_of_this_version_can_do(
    chain: Chain, scene: Scene, builds: dict[int, Build]
) -> None:
    """Who took such an office would lose the whole bond in its first round."""
    scene.create(**scene.by_loss())
    said = "it pays by the model's own loss, which no role of this version proves or checks"
    assert any(line.startswith(said) for line in inspect(chain, scene.project.address, builds).wrong)
    scene.create()
    assert not any(line.startswith(said) for line in inspect(chain, scene.project.address, builds).wrong)


def test_no_contract(chain: Chain, builds: dict[int, Build]) -> None:
    with pytest.raises(ChainError, match="no contract at 0x1111"):
        inspect(chain, "0x" + "11" * 20, builds)


# ---------------------------------------------------------------- development keys


def test_development_keys_stay_on_development_chains(builds: dict[int, Build], deployed: Scene, offer: Offer) -> None:
    """Refused before anything is sent: the chain's id decides."""
    real = dataclasses.replace(deployed.chain, id=1)
    elsewhere = Market(real, deployed.market.address)
    with pytest.raises(ArtifactError, match="development SRS, whose trapdoor is public: it is not deployed on chain 1"):
        elsewhere.deploy_verifiers(builds, deployed.owner)
    with pytest.raises(ArtifactError, match="development SRS"):
        elsewhere.create(offer, builds, None, deployed.owner)


def test_development_keys_on_another_chain_are_wrong(chain: Chain, make: Make, builds: dict[int, Build]) -> None:
    found = inspect(dataclasses.replace(chain, id=1), make().address, builds)
    assert any("development SRS, whose trapdoor is public" in text for text in found.wrong)


# ---------------------------------------------------------------- command line


def run(chain: Chain, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The verb in this process, which is connected already."""

    class Connected:
        def __enter__(self) -> Chain:
            return chain

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("zkmarket.chain.connect", lambda _: Connected())
    return main(["inspect", *map(str, arguments), "--rpc", chain.rpc_url, "--quiet"])


def test_exit_codes_and_json(
    chain: Chain,
    make: Make,
    builds: dict[int, Build],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = make().address
    folders = [word for build in builds.values() for word in ("--build", build.folder)]
    assert run(chain, monkeypatch, project, *folders, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["trustworthy"] is True and said["project"] == project and len(said["checked"]) > 10
    assert run(chain, monkeypatch, project, *folders[:2]) == 1
    assert "WRONG    no build for 4 trainers" in capsys.readouterr().out
    assert run(chain, monkeypatch, project, *folders[:2], *folders[:2]) == 2
    assert "two builds for 3 trainers" in capsys.readouterr().err


def test_inspection_is_wrong_or_right_never_both() -> None:
    found = Inspection("0x")
    assert found.expect(True, "good", "bad") and not found.expect(False, "good", "bad")
    assert (found.checked, found.wrong) == (["good"], ["bad"])


# ---------------------------------------------------------------- keystore


def test_a_keystore_account_sends_and_signs(chain: Chain, scene: Scene, tmp_path: Path) -> None:
    from eth_account import Account

    key = "0x" + "42" * 32
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(key, "secret", iterations=1024)))
    with pytest.raises(InputError, match="cannot be opened as a keystore"):
        chain.wallet(path, "wrong")
    with pytest.raises(InputError, match="cannot be opened as a keystore"):
        chain.wallet(tmp_path / "none.json", "secret")
    account = chain.wallet(path, "secret", tmp_path / "outbox.json")
    chain.transact("paying", scene.owner, str(account), b"", 5 * ETHER)
    scene.create(aggregator=str(account))
    assert scene.project.accept(account).event("Accepted").arguments["bondWei"] == 3 * ETHER
    message = membership_message(chain.id, scene.project.address, str(account))
    assert len(sign(chain, account, message)) == 65
