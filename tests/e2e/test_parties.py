"""Parties that fail or cheat, as real processes: what it costs them, and that the others' project goes on.

The market's rules, one by one, are tested in tests/contracts; here, that the roles' programs play by them. All projects
of this file have the same keys and verifiers, and share a chain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import culprits
from tests.e2e.town import ETHER, PASSWORD, SECONDS, TRAINERS, Role, Town, town
from zkmarket.chain import Chain, Phase, Wallet, compile_verifier
from zkmarket.documents import read_json
from zkmarket.market import History, Prospectus, kept_key, make_builds, points_hash
from zkmarket.storage import LocalStore

pytestmark = pytest.mark.e2e

STAKE, FEE, PENALTY = ETHER, ETHER // 10, 4 * ETHER // 10
RELAY = Path(__file__).parents[1] / "contracts" / "sol" / "Relay.sol"


# ---------------------------------------------------------------- what the tests do again and again


def hasten(place: Town, what: Callable[[], Any], seconds: float = SECONDS, pace: float = 1) -> Any:
    """Wait until something is true, with a new block every second: the roles look at once, not every five seconds.

    pace: seconds between blocks, where many are waited for.
    """
    mined = time.monotonic()

    def look() -> Any:
        nonlocal mined
        found = what()
        if not found and time.monotonic() > mined + pace:
            place.chain.pass_time(1)
            mined = time.monotonic()
        return found

    return place.until(look, seconds)


def submitted(place: Town, count: int, seconds: float = SECONDS) -> None:
    """Wait for so many submissions to the round that is open."""
    place.until(lambda: place.submitted(count), seconds)


def close_submissions(place: Town, count: int) -> None:
    place.close_submissions(count)


def next_round(place: Town, readers: Sequence[str]) -> None:
    """Once all of these have opened the settled round's aggregate."""
    place.until_phase(Phase.SETTLED)
    number = place.project.state().round
    hasten(place, lambda: place.opened(number, *readers))
    place.pass_deadline()
    place.until(lambda: place.project.state().phase != Phase.SETTLED)


def admitted(place: Town) -> set[str]:
    """Addresses."""
    seats = place.project.seats()
    return {seat.trainer for seat in seats if seat.admitted}


def refused(place: Town) -> set[str]:
    """Addresses that the aggregator has refused in this round, so far."""
    file = place.folder / f"aggregator/rounds/{place.project.state().round:05d}/refusals.json"
    return set(read_json(file, "reasons")) if file.exists() else set()


def addresses(place: Town, *names: str) -> set[str]:
    return {place.addresses[name] for name in names}


def says(place: Town, role: Role, words: str) -> None:
    hasten(place, lambda: words in role.said())


def once(place: Town, name: str, *words: object, code: int = 0, **more: Any) -> str:
    """Run a verb to its end; what it said."""
    role = place.start(name, *words, "--project", place.project.address, **more)
    assert role.wait() == code, role.said()
    return role.said()


def theta(place: Town, name: str) -> str:
    """Digest of a role's model, from what is in its folder alone."""
    folder = place.folder / name
    prospectus = Prospectus.from_bytes((folder / "prospectus").read_bytes())
    nowhere = LocalStore(place.folder / "no-store")
    builds = make_builds(prospectus, folder / "builds")
    history = History(place.project, prospectus, builds, nowhere, folder, kept_key(folder / "sealing.key"))
    return points_hash(history.model(place.log()).points(builds[min(builds)])).hex()


def plan(**kinds: str) -> str:
    """`round_2="noise"` and so on, as a culprit reads it."""
    return json.dumps({name.removeprefix("round_"): kind for name, kind in kinds.items()})


# ---------------------------------------------------------------- trainers


REASONS = {
    "other-vector": "OpeningMismatch: opening: the update does not open its commitment (chunks [0])",
    "wrong-value": "OpeningMismatch: opening: the update does not open its commitment (chunks [0])",
    "salt-twice": "SaltReuse: the opening uses a salt twice: every salt must be fresh",
    "out-of-range": "DomainError: an update's values lie in [−4096, 4096): got ",
    "noise": "SealError: the update is not sealed to the round's key, or is damaged",
    "no-cid": f"InputError: a CID on chain is 34 bytes, 1220 and a SHA-256: got '{culprits.NO_CID.hex()}'",
    "never-put": "StoreError: no blob ",
    "too-large": "StoreError: {store} gives more than ",
}

STORE_MAY_LIE = ("never-put", "too-large")
"""Refused at the deadline only: until then a store may mend."""


@pytest.mark.exhaustive("tests/roles/test_admission.py has each refusal, test_admit.py and test_lock.py its money")
def test_trainers_that_do_not_deliver(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """A void round, then four rounds in which two of five trainers deliver garbage, each time of another kind.

    The honest are paid, one of them although it delivers at the last moment; garbage is refused with its reason and
    burns the penalty of both sides; who did not submit pays for the void round alone.
    """
    dan_plan = plan(round_2="other-vector", round_3="salt-twice", round_4="noise", round_5="never-put")
    eve_plan = plan(round_2="wrong-value", round_3="out-of-range", round_4="no-cid", round_5="too-large")
    plans, others = {"dan": dan_plan, "eve": eve_plan}, ("dan", "eve", "fay")
    with town(tmp_path, chain, rounds=4, most=5, others=others, deployed=deployed) as place:
        project, trusting = place.project, {"prepare": culprits.trusting}
        bond = project.terms().bond_wei
        aggregator = place.aggregator("--trainers", 4)
        place.until_phase(Phase.OPEN)
        honest = {name: place.trainer(name, **trusting) for name in ("ann", "bob")}
        strangers(place)
        for name in ("cyd", "fay"):
            once(place, name, "trainer", "join", "--membership", place.memberships[name], **trusting)
        before = chain.balance(project.address)
        again = place.start("fay", "trainer", "join", "--project", project.address, "--membership", "0x00")
        assert again.result()["joined"] is False and chain.balance(project.address) == before

        # round 1: two of four submit, which is too few
        close_submissions(place, 2)
        late = {"PLAN": plan(round_2="late"), "GO": str(place.folder / "go")}
        honest["cyd"] = place.trainer("cyd", prepare=culprits.culprit, **late)
        hasten(place, lambda: place.log().of("Voided"))
        (voided,) = place.log().of("Voided")
        assert voided.arguments == {"round": 1, "submissions": 2}
        says(place, aggregator, "waiting until trainers have had their time to leave")
        chain.pass_time(project.terms().windows.exit)

        # rounds 2 to 5
        dan = place.trainer("dan", prepare=culprits.culprit, PLAN=dan_plan)
        eve = place.trainer("eve", prepare=culprits.culprit, PLAN=eve_plan)
        for number in (2, 3, 4, 5):
            submitted(place, 5)  # every seat is taken: updates are handed over at once
            assert project.state().round == number
            if number == 2:
                leaving(place)
            # a deadline that passes before garbage has come is a refusal for another reason
            put = [who for who, kinds in plans.items() if json.loads(kinds)[str(number)] not in STORE_MAY_LIE]
            hasten(place, lambda: refused(place) >= addresses(place, *put))  # noqa: B023
            if number == 2:
                hasten(place, lambda: admitted(place) == addresses(place, "ann", "bob"))
                (place.folder / "go").touch()
            if number == 3:
                tardy = place.trainer("fay", **trusting)
                says(place, tardy, "round 3: not among its trainers; waiting for the next round")
                tardy.kill()
            hasten(place, lambda: admitted(place) == addresses(place, *TRAINERS))
            place.pass_deadline()
            place.until_phase(Phase.PROVE)
            assert project.state().bond_wei == bond - 2 * PENALTY
            assert project.account(place.addresses["dan"]).stake_wei == STAKE - PENALTY
            next_round(place, TRAINERS)

        refusals = aggregator.result()["refusals"]
        for name, kinds in plans.items():
            for number, kind in json.loads(kinds).items():
                reason = refusals[f"{int(number):05d}"][place.addresses[name]]
                assert reason.startswith(REASONS[kind].format(store=place.store)), kind
        for role in (dan, eve):
            assert role.result()["refused"] == [2, 3, 4, 5] and role.result()["rounds"] == []
        for name, role in honest.items():
            rounds = role.result()["rounds"]
            assert [row["round"] for row in rounds] == [2, 3, 4, 5]
            assert sum(row["pay"] for row in rounds) == place.pay()[place.addresses[name]]
        assert set(place.pay()) == addresses(place, *TRAINERS)
        assert sum(place.pay().values()) == pytest.approx(4 * ETHER, abs=20)
        assert len({theta(place, name) for name in TRAINERS}) == 1

        # who did not submit in round 1 pays for that, and for nothing else
        once(place, "fay", "trainer", "withdraw")
        skipped = {event.arguments["trainer"]: event.arguments for event in place.log().of("Skipped")}
        assert set(skipped) == addresses(place, "cyd", "fay")
        assert {said["burntWei"] for said in skipped.values()} == {PENALTY}
        (taken,) = [e for e in place.log().of("Withdrawn") if e.arguments["who"] == place.addresses["fay"]]
        assert taken.arguments["wei_"] == STAKE - PENALTY
        once(place, "owner", "owner", "withdraw")
        burnt = 2 * PENALTY + 4 * 2 * 2 * PENALTY  # two sat out round 1; two refused in each of four, on both sides
        assert project.state().unburnt_wei == chain.balance(project.address) == burnt


def strangers(place: Town) -> None:
    """Admission by list: without the owner's signature on one's own name, nobody gets in."""
    zed = Wallet.create(place.folder / "zed" / "keystore.json", PASSWORD, light=True)
    place.chain.transact("funding", place.chain.accounts[0], zed, b"", 10 * ETHER)
    before = place.chain.balance(zed)
    for given in (["--membership", place.memberships["ann"]], []):
        said = once(place, "zed", "trainer", "join", *given, code=4, prepare=culprits.trusting)
        assert said.splitlines()[-1].startswith("zkmarket trainer: join was reverted: what is shown is signed by ")
        (place.folder / "zed" / "settings.json").unlink()  # which remembers the signature
    assert place.chain.balance(zed) == before
    assert zed not in place.log().members()


def leaving(place: Town) -> None:
    """Nobody leaves with a submission that is undecided; and a folder has one process."""
    busy = once(place, "dan", "trainer", "leave", code=2)
    assert f"another process works in {place.folder / 'dan'}" in busy.splitlines()[-1]
    said = once(place, "dan", "trainer", "leave", code=4, folder="dan-leaves")
    assert said.splitlines()[-1].startswith("zkmarket trainer: leave was reverted: round ")


# ---------------------------------------------------------------- aggregators


@pytest.mark.exhaustive("test_fail.py and test_name_aggregator.py; tests/market/test_history.py for the newcomers")
def test_aggregators_that_vanish(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """Three aggregators finish a project of three rounds; newcomers find their way into the model.

    Round 1 is settled through another contract, so that its proof is in no calldata. In round 2, with a newcomer, the
    aggregator falls asleep after the lock; a second one, which cannot open round 1, repeats it as round 3, with another
    newcomer who needs the owner's keyring. It vanishes in round 4, and a third one with a keyring does round 5.
    """
    relay = chain.deploy_verifier(compile_verifier(RELAY.read_text()), chain.accounts[0]).address
    others = ("dan", "eve", "second", "third")
    with town(tmp_path, chain, rounds=3, most=5, others=others, deployed=deployed) as place:
        project, given = place.project, {"prepare": culprits.trusting}
        bond, exit_window = project.terms().bond_wei, project.terms().windows.exit
        first = place.aggregator("--trainers", 3, prepare=culprits.relayed, RELAY=relay)
        owner, auditor = place.owner(), place.auditor()
        trainers = {name: place.trainer(name, "--grace", 0.5, **given) for name in TRAINERS}
        close_submissions(place, 3)
        place.until_phase(Phase.SETTLED)
        hasten(place, lambda: place.opened(1, "owner", *TRAINERS))
        first.kill()

        # a newcomer, to whom the first round was never sealed
        place.pass_deadline()
        place.until_phase(Phase.OPEN)
        trainers["dan"] = place.trainer("dan", "--grace", 0.5, **given)
        hasten(place, lambda: place.addresses["dan"] in place.log().members())
        first = place.aggregator("--trainers", 4, prepare=culprits.asleep)
        close_submissions(place, 4)
        assert place.log().started(2).keyring is not None
        place.until_phase(Phase.PROVE)

        # time-out: the bond goes to the admitted, at the call of one of them
        refunds = {name: project._call("refundWei", place.addresses[name]) for name in trainers}
        place.pass_deadline()
        place.until_phase(Phase.VACANT)
        (failed,) = place.log().of("Failed")
        caller = chain.web3.eth.get_transaction(failed.transaction)["from"]
        assert caller in addresses(place, *trainers)
        for name, had in refunds.items():
            assert project._call("refundWei", place.addresses[name]) - had == bond // 4
        says(place, first, "waiting for the owner to name an aggregator")
        keyring = name_aggregator(place, owner, "second")
        assert first.wait() == 2
        new, old = place.addresses["second"], place.addresses["aggregator"]
        assert first.said().splitlines()[-1].endswith(f"the aggregator of {project.address} is {new}, not {old}")
        owner = place.owner()

        # a fresh folder without a keyring
        second = office(place, "second")
        hasten(place, lambda: project.state().phase == Phase.OPEN)
        says(place, second, "waiting until trainers have had their time to leave")
        chain.pass_time(exit_window)
        place.until_phase(Phase.SUBMIT)
        assert place.log().started(3).keyring is None
        eve = place.trainer("eve", "--grace", 0.5, **given)  # after the start
        says(place, eve, "ask the owner for one (zkmarket owner keyring)")
        eve.kill()
        trainers["eve"] = place.trainer("eve", "--grace", 0.5, "--keyring", keyring, **given)
        close_submissions(place, 5)
        place.until_phase(Phase.SETTLED)
        says(place, second, "round 3: the model is not known here")
        next_round(place, ("owner", *trainers))

        # it vanishes too, with a kill -9; the third has the owner's keyring
        close_submissions(place, 5)
        place.until_phase(Phase.PROVE)
        second.kill()
        place.pass_deadline()
        place.until_phase(Phase.VACANT)
        keyring = name_aggregator(place, owner, "third")
        owner = place.owner()
        third = office(place, "third", "--keyring", keyring)
        hasten(place, lambda: project.state().phase == Phase.OPEN)
        chain.pass_time(exit_window)
        close_submissions(place, 5)
        assert place.log().started(5).keyring is not None
        next_round(place, ("owner", *trainers))

        assert project.state().phase == Phase.ENDED
        results = {name: role.result() for name, role in trainers.items()}
        assert third.result()["settled"] == 3
        pay = place.pay()
        assert sum(pay.values()) == pytest.approx(3 * ETHER, abs=30)
        rounds = {name: [row["round"] for row in result["rounds"]] for name, result in results.items()}
        assert rounds == dict.fromkeys(TRAINERS, [1, 3, 5]) | {"dan": [3, 5], "eve": [3, 5]}
        received = owner.result()
        assert received["rounds"] == 3
        assert {theta(place, name) for name in trainers} == {received["theta"]}
        assert project.state().theta.hex() == received["theta"], "nobody named it, and it is the model of all"
        audited = auditor.result()["rounds"]
        assert [(row["round"], row["from_calldata"]) for row in audited] == [(1, False), (3, True), (5, True)]
        for name in ("aggregator", "second"):  # fees of rounds 1 and 3
            once(place, name, "aggregator", "withdraw")
        assert chain.balance(project.address) == project.state().unburnt_wei


def name_aggregator(place: Town, owner: Role, name: str) -> Path:
    """By the owner, whose program is stopped for it; a keyring for who comes later."""
    owner.kill()
    once(place, "owner", "owner", "name", place.addresses[name])
    path = place.folder / f"keyring-for-{name}.json"
    once(place, "owner", "owner", "keyring", "-o", path)
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def office(place: Town, name: str, *words: object) -> Role:
    at = ("--project", place.project.address, "--withdraw", "--trainers", 4, *words)
    return place.start(name, "aggregator", "run", *at, prepare=culprits.trusting)


@pytest.mark.exhaustive("tests/roles/test_desk.py and tests/contracts/test_claim.py have the claims")
def test_an_aggregate_that_is_not_served(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """Round 1: served late, so all claims are taken back. Round 2: without one trainer, whose claim alone does nothing,
    and who learns the model from the next keyring. Round 3: never; a quorum of the trainers holds fee and bond, and the
    round leaves the model as it is."""
    with town(tmp_path, chain, rounds=3, most=5, deployed=deployed) as place:
        project, windows = place.project, place.project.terms().windows
        cyd = place.addresses["cyd"]
        kinds = plan(round_1="kept", round_2=cyd, round_3="kept")
        aggregator = place.aggregator("--trainers", 3, prepare=culprits.unserved, PLAN=kinds)
        owner = place.owner()
        trainers = {name: place.trainer(name, prepare=culprits.trusting) for name in TRAINERS}

        def claims(name: str = "Claimed") -> set[str]:
            number = project.state().round
            return {e.arguments["who"] for e in place.log().of(name) if e.arguments["round"] == number}

        # round 1
        close_submissions(place, 3)
        place.until_phase(Phase.SETTLED)
        chain.pass_time(windows.claim // 2 + 1)
        everybody = addresses(place, "owner", *TRAINERS)
        hasten(place, lambda: claims() == everybody)
        assert project.state().claimed
        says(place, aggregator, "claimed as not served: fee and bond are held longer")
        LocalStore(Path(place.store)).put((place.folder / "aggregator/rounds/00001/aggregate.sealed").read_bytes())
        hasten(place, lambda: claims("Unclaimed") == everybody)
        assert not project.state().claimed
        next_round(place, ("owner", *TRAINERS))

        # round 2
        close_submissions(place, 3)
        place.until_phase(Phase.SETTLED)
        hasten(place, lambda: place.opened(2, "owner", "ann", "bob"))
        says(place, trainers["cyd"], "round 2: the aggregate cannot be had yet: ")
        chain.pass_time(windows.claim // 2 + 1)
        hasten(place, lambda: claims() == {cyd})
        assert not project.state().claimed and not place.opened(2, "cyd")
        next_round(place, ("owner", "ann", "bob"))

        # round 3
        submitted(place, 3)
        assert place.opened(2, "cyd")  # with the keyring that was named at the start
        owner.kill()
        place.pass_deadline()
        place.until_phase(Phase.SETTLED)
        chain.pass_time(windows.claim // 2 + 1)
        hasten(place, lambda: claims() == addresses(place, *TRAINERS))
        assert project.state().claimed
        place.pass_deadline()
        says(place, aggregator, "claimed as not served")
        assert project.state().phase == Phase.SETTLED
        assert project.account(place.addresses["aggregator"]).credit == 2 * FEE
        bond = project.state().bond_wei
        chain.pass_time(windows.lock)
        place.until_phase(Phase.ENDED)
        owner = place.owner()

        result, settled = aggregator.result(), place.log().settled()
        paid = [e.arguments["wei_"] for e in place.log().of("Withdrawn") if e.arguments["who"] == result["aggregator"]]
        assert paid == [3 * FEE + bond]  # the fee was held, not lost
        assert [one.skipped for one in settled] == [False, False, True]
        thetas = {theta(place, name) for name in TRAINERS} | {owner.result()["theta"]}
        assert len(thetas) == 1
        assert sum(place.pay().values()) == pytest.approx(3 * ETHER, abs=10)
        assert chain.balance(project.address) == 0


# ---------------------------------------------------------------- many


@pytest.mark.exhaustive("a number only: three trainers take the same way in test_killed.py")
def test_sixteen_trainers_at_once(tmp_path: Path, chain: Chain, record_property: Callable[..., None]) -> None:
    """All join, train and submit at the same time, and are admitted, settled and paid."""
    others = tuple(f"t{number:02d}" for number in range(13))
    with town(tmp_path, chain, least=16, most=16, others=others) as place:
        names = (*TRAINERS, *others)
        aggregator = place.aggregator("--trainers", 16)
        began = time.monotonic()
        trainers = {name: place.trainer(name) for name in names}
        seconds = 4 * SECONDS
        place.until(lambda: place.project.state().phase == Phase.SUBMIT, seconds)
        joined = time.monotonic()
        submitted(place, 16, seconds)  # every seat is taken: the round goes on by itself
        committed = time.monotonic()
        place.until_phase(Phase.SETTLED, seconds)
        settled = time.monotonic()
        hasten(place, lambda: place.opened(1, *names), seconds)
        place.pass_deadline()
        results = {name: role.result(seconds) for name, role in trainers.items()}
        ended = time.monotonic()
        assert aggregator.result()["refusals"] == {}
        (round_,) = place.log().settled()
        assert set(round_.trainers) == addresses(place, *names)
        for name, result in results.items():
            (row,) = result["rounds"]
            assert row["pay"] == place.pay()[place.addresses[name]]
        assert sum(place.pay().values()) == pytest.approx(ETHER, abs=16)
        assert len({theta(place, name) for name in names}) == 1
        spent = np.diff([began, joined, committed, settled, ended]).round(1).tolist()
        seconds_of = dict(zip(("join", "submit", "settle", "end"), spent, strict=True))
        print(f"sixteen trainers, seconds: {seconds_of}")
        record_property("seconds", seconds_of)
