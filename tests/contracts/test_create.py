"""Factory.create: a project with its whole pool in escrow, on terms that trap nobody.

    when the caller is not the owner of the terms
        it should refuse: WrongCaller
    when the aggregator is nobody
        it should refuse: OutOfBounds
    when a number, the length of the rates or of the CID is out of its bounds (BOUNDS: both edges of each)
        it should refuse: OutOfBounds
        when it is on the edge
            it should pass
    when a window is shorter than a second, longer than 366 days
        it should refuse: OutOfBounds
        given a chain that is not a development chain: shorter than an hour too
    when the blinding point is not on the curve
        it should refuse: PointNotOnCurve
    when a verifier has no code, other code than pinned, or is an account that delegates
        it should refuse: VerifierChanged, VerifierDelegates
    when the largest round does not settle within 14M gas in each of two transactions
        it should refuse: OutOfBounds
    when there is not one plan for each number of trainers
        it should refuse: WrongLength
        when f, m, references, shift or the manifest of any plan is out of its bounds
            it should refuse: OutOfBounds
    when the value is not the pool, or not 0 where the reward is a token
        it should refuse: WrongValue
    when the token takes a fee, refuses or says no
        it should refuse: TokenTookAFee, or what the token says
    when all is right
        it should make a clone of its own, hand it the pool, keep the terms, and log ProjectCreated

initialise
    when it is called on a project, or on the code that all projects share
        it should refuse: AlreadyInitialised
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.doubles import reward_token
from tests.contracts.world import CID, ETHER, PENALTY, WINDOW, Scene, manifest_digest, point, refused, refused_like
from zkmarket.build import Columns
from zkmarket.build.statements import value_bound
from zkmarket.chain import NOBODY, Phase, transacting
from zkmarket.crypto import Q
from zkmarket.market import GAS_LIMIT, Plan, Project, Terms, read_struct, settlement_work, struct_words
from zkmarket.rules import norm_bound

pytestmark = pytest.mark.chain

REWARD, FEE = ETHER, ETHER // 5
POOL = 3 * (REWARD + FEE)
THIRD = -(-REWARD // 3)  # the least penalty: three of them make the reward
SPARE = 2 * PENALTY  # two of five trainers may be refused in a round that still locks
U32, U96, U128, U160 = (2**bits - 1 for bits in (32, 96, 128, 160))
DAYS = 366 * 24 * 3600
WINDOWS = ("accept", "start", "submit", "admit", "prove", "claim", "lock", "vacancy", "exit")
SLOTS = ("base", "settlement")

# ---------------------------------------------------------------- bounds of the terms

TOKEN: Any = object()
"""Stands for a token that is deployed in the test."""

HUGE: dict[str, Any] = {"logrows": 20, "rows": 1021, "betaMin": 1 << 26, "beta": 1 << 26}
HEAVY: dict[str, Any] = {"minTrainers": 62, "maxTrainers": 64}

REFUSED: dict[str, tuple[dict[str, Any], str, int, int, int]] = {
    "reward 0": ({"reward": 0}, "reward", 0, 1, U128),
    "rounds 0": ({"rounds": 0}, "rounds", 0, 1, 10_000),
    "rounds 10,001": ({"rounds": 10_001, "reward": 1, "fee": 0}, "rounds", 10_001, 1, 10_000),
    "pool 2^128": ({"rounds": 1, "reward": U128, "fee": 1, "token": TOKEN}, "pool", U128 + 1, 1, U128),
    "stake 0": ({"stakeWei": 0}, "stake", 0, 1, U96),
    "penalty · least below the reward": ({"penaltyWei": THIRD - 1}, "penalty", THIRD - 1, THIRD, ETHER),
    "penalty · least below an odd reward": ({"reward": 7, "penaltyWei": 2, "bondWei": ETHER}, "penalty", 2, 3, ETHER),
    "penalty · 5 just the reward": ({"penaltyWei": ETHER // 5}, "penalty", ETHER // 5, THIRD, ETHER),
    "penalty 1 wei": ({"penaltyWei": 1}, "penalty", 1, THIRD, ETHER),
    "penalty 0": ({"penaltyWei": 0}, "penalty", 0, THIRD, ETHER),
    "stake below a share of the reward": ({"stakeWei": 1, "penaltyWei": 1}, "penalty", 1, THIRD, 1),
    "token: penalty 0": ({"token": TOKEN, "penaltyWei": 0}, "penalty", 0, 1, ETHER),
    "penalty above the stake": ({"penaltyWei": ETHER + 1}, "penalty", ETHER + 1, THIRD, ETHER),
    "void limit 0": ({"voidLimit": 0}, "void limit", 0, 1, 64),
    "void limit 65": ({"voidLimit": 65}, "void limit", 65, 1, 64),
    "2 accepted publish": ({"minAccepted": 2}, "min accepted", 2, 3, 3),
    "4 of 3 accepted": ({"minAccepted": 4}, "min accepted", 4, 3, 3),
    "2 trainers": ({"minTrainers": 2, "plans": []}, "min accepted", 3, 3, 2),
    "no trainers": ({"minTrainers": 0, "minAccepted": 0, "plans": []}, "min accepted", 0, 3, 0),
    "most below least": ({"minTrainers": 4, "maxTrainers": 3}, "max trainers", 3, 4, 64),
    "65 trainers": ({"maxTrainers": 65}, "max trainers", 65, 3, 64),
    "bond below R + F and the spare penalties": (
        {"bondWei": REWARD + FEE + SPARE - 1},
        "bond",
        REWARD + FEE + SPARE - 1,
        REWARD + FEE + SPARE,
        U96,
    ),
    "bond below R + F": (
        {"bondWei": REWARD + FEE - 1, "maxTrainers": 3},
        "bond",
        REWARD + FEE - 1,
        REWARD + FEE,
        U96,
    ),
    "reward above any bond": (
        {"reward": U96 + 1, "fee": 0, "value": 0, "stakeWei": U96, "penaltyWei": U96},
        "bond",
        3 * ETHER,
        3 * U96 + 1,
        U96,
    ),
    "token: bond below the penalties": (
        {"token": TOKEN, "bondWei": 3 * PENALTY - 1},
        "bond",
        3 * PENALTY - 1,
        3 * PENALTY,
        U96,
    ),
    "bond below a refused root's penalty too": (
        {"bondWei": REWARD + FEE + SPARE, "references": 1},
        "bond",
        REWARD + FEE + SPARE,
        REWARD + FEE + SPARE + PENALTY,
        U96,
    ),
    "K 9": ({"logrows": 9}, "logrows", 9, 10, 20),
    "K 21": ({"logrows": 21}, "logrows", 21, 10, 20),
    "a row less": ({"rows": 28}, "rows", 28, 29, 29),
    "a row more": ({"rows": 30}, "rows", 30, 29, 29),
    "7 salts": ({"salts": 7}, "salts", 7, 8, 32),
    "more salts than a row of K 10": ({"salts": 33}, "salts", 33, 8, 32),
    "more salts than a row of K 13": ({"salts": 129, "logrows": 13, "rows": 62}, "salts", 129, 8, 128),
    "no parameters": ({"params": 0, "chunks": 0, "betaMin": 0}, "params", 0, 1, 1 << 26),
    "2^26 parameters and 1": ({"params": (1 << 26) + 1}, "params", (1 << 26) + 1, 1, 1 << 26),
    "1 chunk of 2": ({"chunks": 1}, "chunks", 1, 2, 2),
    "3 chunks of 2": ({"chunks": 3}, "chunks", 3, 2, 2),
    "2 full chunks and 1": ({"params": 1793, "betaMin": 1793}, "chunks", 2, 3, 3),
    "more than 2^26 values with the padding": (
        HUGE | {"params": 1 << 26, "chunks": 65},
        "values of an update",
        65 * 1020 * 1024,
        1,
        1 << 26,
    ),
    "33 theta bits": ({"thetaBits": 33}, "theta bits", 33, 0, 32),
    "no commitment of the model": ({"theta": bytes(32)}, "theta", 0, 1, (1 << 256) - 1),
    "kappa 0": ({"kappa": 0}, "kappa", 0, 1, U32),
    "beta min below D": ({"betaMin": 1499}, "beta min", 1499, 1500, 10**9),
    "beta min above beta max": ({"betaMin": 10**9 + 1}, "beta min", 10**9 + 1, 1500, 10**9),
    "beta below beta min": ({"beta": 1499}, "beta", 1499, 1500, 10**9),
    "beta above beta max": ({"beta": 10**9 + 1}, "beta", 10**9 + 1, 1500, 10**9),
    "beta max above D·Q²": ({"betaMax": (1500 << 24) + 1}, "beta max", (1500 << 24) + 1, 1500, 1500 << 24),
    "1 bit a value": ({"valueBits": 1}, "value bits", 1, 2, 19),
    "20 bits a value": ({"valueBits": 20}, "value bits", 20, 2, 19),
    "no rates": ({"rates": []}, "rates", 0, 1, 3),
    "more rates than rounds": ({"rates": [1] * 4}, "rates", 4, 1, 3),
    "no CID": ({"cid": b""}, "cid", 0, 1, 96),
    "a CID of 97 bytes": ({"cid": bytes(97)}, "cid", 97, 1, 96),
    "nobody aggregates": ({"aggregator": NOBODY}, "aggregator", 0, 1, U160),
    "40 chunks of 64 trainers to settle": (
        HEAVY | {"params": 40 * 896, "chunks": 40, "betaMin": 40 * 896},
        "gas of proveBase",
        settlement_work(64, 40 * 896, 10, 0).base_gas,
        0,
        14_000_000,
    ),
}

PASSED: dict[str, dict[str, Any]] = {
    "reward 1": {"reward": 1, "fee": 0, "bondWei": 1 + SPARE},
    "rounds 1": {"rounds": 1, "rates": [1]},
    "rounds 10,000": {"rounds": 10_000, "reward": 1, "fee": 0},
    "stake 1, penalty 1": {"stakeWei": 1, "penaltyWei": 1, "reward": 3},
    "penalty · least just the reward": {"penaltyWei": THIRD},
    "penalty · least just an odd reward": {"reward": 7, "penaltyWei": 3},
    "token: penalty 1": {"token": TOKEN, "penaltyWei": 1},
    "stake 2^96 − 1": {"stakeWei": U96},
    "penalty = stake": {"penaltyWei": ETHER, "bondWei": REWARD + FEE + 2 * ETHER},
    "void limit 1": {"voidLimit": 1},
    "void limit 64": {"voidLimit": 64},
    "as many publish as take part": {"minTrainers": 4, "minAccepted": 4},
    "as many at most as at least": {"maxTrainers": 3},
    "64 trainers": {"minTrainers": 62, "maxTrainers": 64},
    "the least bond": {"bondWei": REWARD + FEE + SPARE},
    "the least bond without spare trainers": {"bondWei": REWARD + FEE, "maxTrainers": 3},
    "the least bond with a token": {"token": TOKEN, "bondWei": 3 * PENALTY},
    "bond 2^96 − 1": {"bondWei": U96},
    "fee 0": {"fee": 0},
    "K 11": {"logrows": 11, "rows": 30, "chunks": 1},
    "K 12": {"logrows": 12, "rows": 61, "chunks": 1},
    "K 13": {"logrows": 13, "rows": 62, "chunks": 1},
    "K 14": {"logrows": 14, "rows": 125, "chunks": 1},
    "K 15": {"logrows": 15, "rows": 126, "chunks": 1},
    "K 16": {"logrows": 16, "rows": 253, "chunks": 1},
    "K 17": {"logrows": 17, "rows": 254, "chunks": 1},
    "K 18": {"logrows": 18, "rows": 509, "chunks": 1},
    "K 19": {"logrows": 19, "rows": 510, "chunks": 1},
    "K 20": {"logrows": 20, "rows": 1021, "chunks": 1},
    "32 salts": {"salts": 32},
    "a row of salts at K 20": {"logrows": 20, "rows": 1021, "chunks": 1, "salts": 1024},
    "2 full chunks": {"params": 1792, "betaMin": 1792},
    "one parameter": {"params": 1, "chunks": 1, "betaMin": 1, "betaMax": 1 << 24},
    "0 theta bits": {"thetaBits": 0},
    "32 theta bits": {"thetaBits": 32},
    "kappa 1": {"kappa": 1},
    "kappa 2^32 − 1": {"kappa": U32},
    "beta min = D = beta": {"betaMin": 1500, "beta": 1500},
    "beta min = beta = beta max": {"betaMin": 10**9, "beta": 10**9},
    "beta max D·Q²": {"betaMax": 1500 << 24},
    "2 bits a value": {"valueBits": 2, "beta": 1500, "betaMax": 6000},
    "19 bits a value": {"valueBits": 19, "betaMax": 1500 << 36},
    "one rate": {"rates": [0]},
    "a rate for each round": {"rates": [2**64 - 1] * 3},
    "a CID of 1 byte": {"cid": b"c"},
    "a CID of 96 bytes": {"cid": bytes(96)},
    "ten updates of ResNet-50": {
        "params": 25_600_000,
        "logrows": 19,
        "rows": 510,
        "chunks": 50,
        "minTrainers": 9,
        "maxTrainers": 10,
        "betaMin": 25_600_000,
        "beta": 25_600_000,
    },
    "more than 16 chunks": {"params": 30 * 896, "chunks": 30, "betaMin": 30 * 896},
    "the least bond with a root": {"bondWei": REWARD + FEE + SPARE + PENALTY, "references": 1},
}


def create(scene: Scene, changes: dict[str, Any]) -> Any:
    if changes.get("token") is TOKEN:
        changes = changes | {"token": reward_token(scene).address}
    if "references" in changes:
        changes = dict(changes)
        scene.references = changes.pop("references")
    return scene.create(**changes)


@pytest.mark.parametrize(("changes", "what", "have", "least", "most"), REFUSED.values(), ids=REFUSED.keys())
def test_attack_traps_at_creation(
    scene: Scene, changes: dict[str, Any], what: str, have: int, least: int, most: int
) -> None:
    with refused(f"OutOfBounds(what={what}, have={have}, least={least}, most={most})"):
        create(scene, changes)


@pytest.mark.parametrize("changes", PASSED.values(), ids=PASSED.keys())
def test_the_edges_of_all_bounds_pass(scene: Scene, changes: dict[str, Any]) -> None:
    create(scene, changes)
    assert scene.phase == Phase.CREATED


@pytest.mark.parametrize("params", [1, 8000, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, 25_600_000, 64 * 1020 * 1024])
def test_the_norm_bound_is_that_of_the_engine(scene: Scene, params: int) -> None:
    """D·Q² in 24 bits: the constant that a build's settlement circuit compares with."""
    for bits in (2, 13, 19):
        most = norm_bound(params, value_bound(bits))
        more = {"params": params, "betaMin": params, "beta": params, "valueBits": bits, "logrows": 20}
        chunks = -(-params // (1020 * 1024))
        with refused(f"OutOfBounds(what=beta max, have={most + 1}, least={params}, most={most})"):
            scene.create(**more, rows=1021, chunks=chunks, betaMax=most + 1)


def test_the_greatest_pool_passes_its_bound(scene: Scene) -> None:
    """No token has as much in these tests: shown by the refusal of a value, which comes after all bounds."""
    with refused("WrongValue(have=1, want=0)"):
        create(scene, {"rounds": 1, "reward": U128, "fee": 0, "rates": [1], "token": TOKEN, "value": 1})


@pytest.mark.parametrize("who", ["aggregator", "stranger"])
def test_nobody_creates_for_another_owner(scene: Scene, who: str) -> None:
    with refused(f"WrongCaller(have={getattr(scene, who)}, want={scene.owner})"):
        scene.create(sender=getattr(scene, who))


@pytest.mark.parametrize("change", [lambda x, y: (0, 0), lambda x, y: (x, y + 1), lambda x, y: (x + Q, y)])
def test_the_blinding_point_is_on_the_curve(scene: Scene, change: Callable[[int, int], tuple[int, int]]) -> None:
    x, y = change(*point(0))
    with refused(f"PointNotOnCurve(x={x}, y={y})"):
        scene.create(blinding=(x, y))


# ---------------------------------------------------------------- windows


def with_window(name: str, seconds: int, others: int = WINDOW) -> tuple[int, ...]:
    return tuple(seconds if name == other else others for other in WINDOWS)


@pytest.mark.parametrize("seconds", [0, DAYS + 1])
@pytest.mark.parametrize("name", WINDOWS)
def test_no_window_is_empty_or_longer_than_a_year(scene: Scene, name: str, seconds: int) -> None:
    with refused(f"OutOfBounds(what={name} window, have={seconds}, least=1, most={DAYS})"):
        scene.create(windows=with_window(name, seconds))


@pytest.mark.parametrize("seconds", [1, DAYS])
def test_windows_of_a_second_or_a_year_pass(scene: Scene, seconds: int) -> None:
    scene.create(windows=(seconds,) * 9)
    assert scene.deadline == scene.chain.now + seconds


def create_on(scene: Scene, chain_id: int, windows: tuple[int, ...]) -> None:
    """A call, as if on another chain: the node does not sign for one."""
    terms = scene.terms(windows=windows)
    words = (tuple(terms.values()), scene.plans(terms), [1], CID, 0)
    request = scene.chain.web3.provider.make_request
    request("anvil_setChainId", [chain_id])
    try:
        with transacting("create"):
            scene.market.contract.create.call(*words, {"from": scene.owner, "value": POOL})
    finally:
        request("anvil_setChainId", [scene.chain.id])


@pytest.mark.parametrize("name", WINDOWS)
def test_no_window_is_shorter_than_an_hour_on_a_public_chain(scene: Scene, name: str) -> None:
    with refused(f"OutOfBounds(what={name} window, have=3599, least=3600, most={DAYS})"):
        create_on(scene, 1, with_window(name, 3599, others=3600))


def test_windows_of_an_hour_pass_on_a_public_chain(scene: Scene) -> None:
    create_on(scene, 1, (3600,) * 9)


@pytest.mark.parametrize(("chain_id", "development"), [(31337, True), (1337, True), (31338, False), (5, False)])
def test_which_chains_are_for_development(scene: Scene, chain_id: int, development: bool) -> None:
    if development:
        create_on(scene, chain_id, (1,) * 9)
    else:
        with refused(f"OutOfBounds(what=accept window, have=1, least=3600, most={DAYS})"):
            create_on(scene, chain_id, (1,) * 9)


# ---------------------------------------------------------------- verifiers


def create_with(scene: Scene, slot: str, address: str, codehash: bytes) -> None:
    if slot == "settlement":
        scene.create(plans=scene.plans(scene.terms(), settlement=(address, codehash)))
    else:
        scene.create(**{slot: (address, codehash)})


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("funded", [True, False], ids=["a person", "an empty account"])
def test_a_verifier_has_code(scene: Scene, slot: str, funded: bool) -> None:
    """Though the hash fits: that of no code for an account with coin, 0 for one that does not exist."""
    address = str(scene.stranger) if funded else "0x" + "77" * 20
    codehash = keccak(b"") if funded else bytes(32)
    with refused(f"VerifierChanged(verifier={address}, have=0x{codehash.hex()}, want=0x{codehash.hex()})"):
        create_with(scene, slot, address, codehash)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_verifier_has_the_code_that_is_pinned(scene: Scene, slot: str) -> None:
    address, codehash = struct_words(scene.mocks[0])
    with refused(f"VerifierChanged(verifier={address}, have=0x{codehash.hex()}, want=0x{'77' * 32})"):
        create_with(scene, slot, address, b"\x77" * 32)


@pytest.mark.parametrize("slot", SLOTS)
def test_attack_a_verifier_that_can_be_pointed_elsewhere(scene: Scene, slot: str) -> None:
    """EIP-7702: the code of a delegating account is a pointer, and the pointer's hash is pinned in good faith."""
    address, code = "0x" + "77" * 20, bytes.fromhex("ef0100" + scene.mocks[0].deployed[2:])
    scene.chain.web3.provider.make_request("anvil_setCode", [address, "0x" + code.hex()])
    with refused(f"VerifierDelegates(verifier={address})"):
        create_with(scene, slot, address, keccak(code))


def test_attack_metamorphic_verifier_at_creation(scene: Scene) -> None:
    """Shown to everybody, destroyed, and deployed again with other code before the project is made."""
    address, codehash = struct_words(scene.mocks[0])
    code = bytes.fromhex("600160005260206000f3")
    scene.chain.web3.provider.make_request("anvil_setCode", [address, "0x" + code.hex()])
    with refused(f"VerifierChanged(verifier={address}, have=0x{keccak(code).hex()}, want=0x{codehash.hex()})"):
        scene.create()


# ---------------------------------------------------------------- plans


@pytest.mark.parametrize("count", [0, 2, 4])
def test_there_is_a_plan_for_each_number_of_trainers(scene: Scene, count: int) -> None:
    with refused(f"WrongLength(what=plans, have={count}, want=3)"):
        scene.create(plans=(scene.plans(scene.terms()) * 2)[:count])


PLANS: dict[str, tuple[int, dict[str, Any], str, int, int, int]] = {
    "f = 1 of 3": (3, {"f": 1, "m": 3}, "f", 1, 0, 0),
    "f = 1 of 4": (4, {"f": 1, "m": 3}, "f", 1, 0, 0),
    "f = 2 of 5": (5, {"f": 2, "m": 3}, "f", 2, 0, 1),
    "f = 255 of 5": (5, {"f": 255, "m": 3}, "f", 255, 0, 1),
    "m below those who publish": (5, {"f": 1, "m": 2}, "m", 2, 3, 4),
    "m above N − f": (5, {"f": 1, "m": 5}, "m", 5, 3, 4),
    "m above N": (4, {"f": 0, "m": 5}, "m", 5, 3, 4),
    "a third reference": (3, {"references": 4}, "references", 4, 0, 3),
    "references that the first plan has not": (4, {"references": 1}, "references", 1, 0, 0),
    "no root in the last plan": (5, {"references": 2}, "references", 2, 0, 0),
    "shift without a last aggregate": (5, {"shift": 1}, "shift", 1, 0, 0),
    "no manifest": (4, {"manifest": bytes(32)}, "manifest", 0, 1, 2**256 - 1),
}


def plans_but(scene: Scene, trainers: int, **changes: Any) -> list[tuple[Any, ...]]:
    """Good plans for 3, 4 and 5 trainers, but for one of them."""
    terms = scene.terms()
    plans = scene.plans(terms)
    plans[trainers - 3] = scene.plans(terms, **changes)[trainers - 3]
    return plans


@pytest.mark.parametrize(("trainers", "changes", "what", "have", "least", "most"), PLANS.values(), ids=PLANS.keys())
def test_every_plan_is_checked(
    scene: Scene, trainers: int, changes: dict[str, Any], what: str, have: int, least: int, most: int
) -> None:
    with refused(f"OutOfBounds(what={what}, have={have}, least={least}, most={most})"):
        scene.create(plans=plans_but(scene, trainers, **changes))


@pytest.mark.parametrize("references", [0, 1, 2, 3])
def test_all_plans_have_the_same_references(scene: Scene, references: int) -> None:
    """A root is committed, and a last aggregate is there, before it is known how many trainers a round has."""
    plans = scene.plans(scene.terms(), references=references)
    scene.create(plans=plans)
    assert [scene.project.plan(n).references for n in (3, 4, 5)] == [references] * 3
    for at in range(3):
        other = scene.plans(scene.terms(), references=(references + 1) % 4)[at]
        with refused_like(r"OutOfBounds\(what=references, .*"):
            scene.create(plans=[*plans[:at], other, *plans[at + 1 :]])


@pytest.mark.parametrize(("references", "most"), [(0, 0), (1, 0), (2, 64), (3, 64)])
def test_only_a_product_with_the_last_aggregate_is_wider_than_64_bits(scene: Scene, references: int, most: int) -> None:
    scene.create(plans=scene.plans(scene.terms(), references=references, shift=most))
    assert scene.project.plan(4).shift == most
    with refused(f"OutOfBounds(what=shift, have={most + 1}, least=0, most={most})"):
        scene.create(plans=scene.plans(scene.terms(), references=references, shift=most + 1))


def largest(references: int) -> int:
    """Most chunks at K = 10 of 64 trainers."""
    fitting = (m for m in range(1, 99) if settlement_work(64, m * 896, 10, references).possible)
    return max(fitting)


@pytest.mark.parametrize("references", [0, 1, 2, 3])
def test_the_factory_allows_what_the_engine_says_that_settles(scene: Scene, references: int) -> None:
    """As many chunks as settle in two transactions are allowed, and one more is not: references are slots too."""
    most = largest(references)
    for chunks in (most, most + 1):
        size = {"params": chunks * 896, "chunks": chunks, "betaMin": chunks * 896}
        plans = scene.plans(scene.terms(**HEAVY, **size), references=references)
        if chunks == most:
            scene.create(plans=plans, **HEAVY, **size)
        else:
            gas = settlement_work(64, chunks * 896, 10, references).base_gas
            with refused(f"OutOfBounds(what=gas of proveBase, have={gas}, least=0, most=14000000)"):
                scene.create(plans=plans, **HEAVY, **size)


def test_gas_of_the_first_transaction_is_what_binds() -> None:
    """Whatever is beyond the other limits is beyond that one, at every K and number of trainers."""
    for logrows, trainers, references in itertools.product(range(10, 21), (3, 10, 32, 64), range(4)):
        size = Columns(logrows).values
        for chunks in range(1, 1 + (1 << 26) // size):
            work = settlement_work(trainers, chunks * size, logrows, references)
            if work.base_gas > GAS_LIMIT:
                break
            assert work.possible


@pytest.mark.parametrize("changes", [{"f": 0, "m": 3}, {"f": 0, "m": 5}, {"f": 1, "m": 3}, {"f": 1, "m": 4}])
def test_the_edges_of_a_plan_pass(scene: Scene, changes: dict[str, Any]) -> None:
    scene.create(plans=plans_but(scene, 5, **changes))
    assert scene.phase == Phase.CREATED


def test_the_settlement_of_every_plan_is_checked(scene: Scene) -> None:
    address, codehash = struct_words(scene.mocks[1])
    with refused(f"VerifierChanged(verifier={address}, have=0x{codehash.hex()}, want=0x{'00' * 32})"):
        scene.create(plans=plans_but(scene, 5, settlement=(address, bytes(32))))


# ---------------------------------------------------------------- the pool


@pytest.mark.parametrize("value", [0, POOL - 1, POOL + 1])
def test_the_pool_is_paid_exactly(scene: Scene, value: int) -> None:
    with refused(f"WrongValue(have={value}, want={POOL})"):
        scene.create(value=value)


def test_the_whole_pool_is_in_escrow(scene: Scene) -> None:
    before = scene.balance(scene.owner)
    scene.create()
    assert scene.balance(scene.owner) == before - POOL
    assert (scene.balance(scene.project.address), scene.balance(scene.market.address)) == (POOL, 0)
    books = scene.books()
    assert {name: amount for name, amount in books.items() if amount} == {"pool": POOL, "balance": POOL}


def test_a_tokens_pool_is_in_escrow(scene: Scene) -> None:
    token = reward_token(scene)
    before = token.balanceOf(scene.owner)
    scene.create(token=token.address)
    assert token.balanceOf(scene.owner) == before - POOL
    assert token.balanceOf(scene.project.address) == scene.project.state().pool == POOL
    assert scene.balance(scene.project.address) == 0


@pytest.mark.parametrize("value", [1, POOL])
def test_a_tokens_pool_is_not_paid_in_coin(scene: Scene, value: int) -> None:
    token = reward_token(scene)
    with refused(f"WrongValue(have={value}, want=0)"):
        scene.create(token=token.address, value=value)


def test_a_token_that_takes_a_fee_is_refused(scene: Scene) -> None:
    token = reward_token(scene, "takes a fee")
    with refused(f"TokenTookAFee(have={POOL - 1}, want={POOL})"):
        scene.create(token=token.address)


@pytest.mark.parametrize("mood", ["refuses", "says false"])
def test_a_token_that_does_not_pay_is_refused(scene: Scene, mood: str) -> None:
    token = reward_token(scene, mood)
    with refused("the token refuses" if mood == "refuses" else f"SafeERC20FailedOperation(token={token.address})"):
        scene.create(token=token.address)


def test_a_token_that_says_nothing_will_do(scene: Scene) -> None:
    token = reward_token(scene, "says nothing")
    scene.create(token=token.address)
    assert token.balanceOf(scene.project.address) == POOL


def test_a_token_that_is_none_is_refused(scene: Scene) -> None:
    with refused(f"SafeERC20FailedOperation(token={scene.stranger})"):
        scene.create(token=str(scene.stranger))


# ---------------------------------------------------------------- the project


def test_all_terms_are_kept_and_logged(scene: Scene) -> None:
    rates = [10**9, 5, 0]
    done = scene.create(rates=rates, openAdmission=False)
    project, values = scene.project, scene.values
    sent, plans = tuple(values.values()), scene.plans(values)
    assert struct_words(project.terms()) == sent
    assert [struct_words(project.plan(n)) for n in (3, 4, 5)] == plans
    none = ((NOBODY, bytes(32)), bytes(32), 0, 0, 0, 0)
    assert struct_words(project.plan(2)) == struct_words(project.plan(6)) == none
    assert project.plan(4).manifest == manifest_digest(4)
    assert project.rates() == tuple(rates)
    said = done.event("ProjectCreated").arguments
    assert (said["project"], said["owner"], said["cid"]) == (project.address, str(scene.owner), CID)
    assert struct_words(read_struct(Terms, said["terms"])) == sent
    assert [struct_words(read_struct(Plan, plan)) for plan in said["plans"]] == plans
    assert said["rates"] == rates


def test_a_new_project_waits_for_its_aggregator(scene: Scene) -> None:
    scene.create(windows=(321, *(WINDOW,) * 8))
    state = scene.project.state()
    assert (state.phase, state.deadline) == (Phase.CREATED, scene.chain.now + 321)
    assert (state.round, state.settled, state.voids, state.ending, state.claimed) == (0, 0, 0, False, False)
    assert (state.aggregator, state.beta) == (str(scene.aggregator), scene.values["beta"])
    assert (state.pool, state.bond_wei, state.unburnt_wei) == (POOL, 0, 0)
    assert scene.market._call("isProject", scene.project.address) is True
    assert scene.market._call("isProject", scene.market._call("implementation")) is False


def initialise(scene: Scene, project: Project) -> None:
    """By a stranger, with terms of its own."""
    terms = scene.terms(owner=str(scene.stranger))
    project._send("initialise", "initialise", tuple(terms.values()), scene.plans(terms), [1], sender=scene.stranger)


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.ENDED], ids=["CREATED", "ENDED"])
def test_a_clone_is_initialised_once(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused("AlreadyInitialised"):
        initialise(scene, scene.project)


def test_the_code_that_all_share_is_nobodys_project(scene: Scene) -> None:
    shared = Project(scene.chain, scene.market._call("implementation"))
    assert (shared.state().phase, shared.terms().owner) == (Phase.ENDED, shared.address)
    with refused("AlreadyInitialised"):
        initialise(scene, shared)
    with refused("WrongPhase(have=ENDED, want=VACANT)"):
        shared.accept(scene.stranger)


def test_a_project_does_not_touch_anothers_money(scene: Scene) -> None:
    """The same people in two projects: all that one pays out is its own."""
    scene.open()
    other, values = scene.project, scene.values
    scene.to_settled()
    rich = scene.balance(other.address)
    scene.create()
    poor = scene.project
    assert poor.address != other.address
    for who in (*scene.trainers, scene.owner, scene.aggregator):
        with refused(f"NothingToWithdraw(who={who})"):
            poor.withdraw(who)
    with refused(f"NotAMember(have={scene.trainers[0]})"):
        poor.leave(scene.trainers[0])
    scene.pass_deadline()
    poor.cancel(scene.owner)
    poor.withdraw(scene.owner)
    assert (scene.balance(poor.address), scene.balance(other.address)) == (0, rich)
    scene.project, scene.values = other, values
    assert scene.holdings() == rich


def test_coin_is_not_taken_without_a_reason(scene: Scene) -> None:
    scene.create()
    for contract in (scene.project, scene.market):
        with refused(""), transacting("a gift"):
            scene.stranger.transfer(contract.address, 1)
