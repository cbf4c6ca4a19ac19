"""The model's commitment on chain: what moves it, and what does not. Nobody names it.

settle(), settleProven()
├── given words that are not those of the model's commitment
│   └── it should revert with WrongModel
├── given fewer than minAccepted accepted: the model stays
└── otherwise it should keep the hash of C_Θ + w(C_A − B) until the round is closed
next()
├── given a claim that holds: the model stays
└── otherwise the model is what settle has kept
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import pytest

from tests.contracts.world import CID, WINDOW, Scene, first_theta, point, refused, refused_like
from zkmarket.chain import Chain, Phase
from zkmarket.crypto import INFINITY, Point, multiply_add
from zkmarket.market import decision_words, points_hash
from zkmarket.round import aggregate_points

pytestmark = pytest.mark.chain

RATE = 10**9
OFF_CURVE = (1, 1)


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five are admitted and locked."""
    return Scene.deploy(node).reach(Phase.PROVE)


def moved(scene: Scene, theta: tuple[Point, ...], mask: list[int], rate: int = RATE) -> tuple[Point, ...]:
    """C_Θ + w·(C_A − B), from the statement: w is 2^ρ·rate/n, rounded half up."""
    accepted = [scene.commitment(who).points for who, bit in zip(scene.trainers, mask, strict=True) if bit]
    n, blinding = len(accepted), scene.values["blinding"]
    w = floor(Fraction(rate << scene.values["thetaBits"], n * 10**9) + Fraction(1, 2))
    # every C_i has B once, the aggregate too: Σ C_i − (n − 1)B − B
    return tuple(
        multiply_add([theta[c], *(points[c] for points in accepted), blinding], [1, *[w] * n, -w * n])
        for c in range(len(theta))
    )


def close(scene: Scene) -> bytes:
    """Whatever is claimed; the model's hash after that."""
    scene.pass_deadline()
    state = scene.project.state()
    if state.claimed:
        scene.chain.pass_time(WINDOW)
    scene.project.next(scene.stranger)
    theta = scene.project.state().theta
    assert scene.project._call("theta") == theta
    return theta


@pytest.mark.parametrize("in_two", [False, True], ids=["one transaction", "two"])
def test_a_round_that_is_closed_moves_the_model(scene: Scene, in_two: bool) -> None:
    """Not before: until then it may be claimed."""
    masks, theta = [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 1, 1]], first_theta(2)
    rates = [RATE, RATE // 2, RATE // 2]
    for number, (mask, rate) in enumerate(zip(masks, rates, strict=True)):
        if number:
            scene.to_prove()
        after = moved(scene, theta, mask, rate)
        done = (scene.settle_in_two if in_two else scene.settle)(mask=mask)
        assert scene.project.state().theta == points_hash(theta)
        assert done.event("Settled").arguments["settlement"]["theta"] == points_hash(after)
        assert scene.project.outcome().theta == points_hash(after)
        assert close(scene) == points_hash(after) != points_hash(theta)
        theta = after
    assert scene.theta() == theta and scene.phase == Phase.ENDED  # the last round counts, too


def test_stale_theta(scene: Scene) -> None:
    """Attack: settle a round on an older model, which would undo what was paid for."""
    first = scene.theta()
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_prove()
    now, proof = scene.theta(), scene.proof()
    publication = scene.publication(proof)
    crossed = (now[1], now[0])
    for wrong in (first, (now[0], first[1]), crossed, now[:1], (*now, now[0]), ()):
        with refused(f"WrongModel(have=0x{points_hash(wrong).hex()}, want=0x{points_hash(now).hex()})"):
            scene.project.settle(scene.stranger, proof, wrong, CID, publication)
    scene.project.prove_base(scene.stranger, proof)
    with refused(f"WrongModel(have=0x{points_hash(first).hex()}, want=0x{points_hash(now).hex()})"):
        scene.project.settle_proven(scene.stranger, proof, first, CID, publication)
    scene.project.settle(scene.stranger, proof, now, CID, publication)


@pytest.mark.parametrize("by", ["owner", "quorum"])
def test_a_claimed_round_moves_no_model(scene: Scene, by: str) -> None:
    """Attack (claimed_round_moves_the_model): serve no aggregate, and have everybody train from a model unknown."""
    scene.settle()
    for sender in [scene.owner] if by == "owner" else scene.trainers[:3]:
        scene.project.claim(sender)
    assert scene.project.outcome().theta != points_hash(first_theta(2))
    assert close(scene) == points_hash(first_theta(2)) == scene.project.outcome().theta
    mask = [1, 1, 0, 1, 1]
    scene.to_prove()
    after = moved(scene, first_theta(2), mask, RATE // 2)
    scene.settle(mask=mask)
    assert close(scene) == points_hash(after), "the next round goes on from the model before the claimed one"


def test_a_claim_that_is_taken_back_or_of_too_few_moves_the_model(scene: Scene) -> None:
    after = moved(scene, first_theta(2), [1] * 5)
    scene.settle()
    scene.project.claim(scene.owner)
    for trainer in scene.trainers[:2]:
        scene.project.claim(trainer)
    scene.project.unclaim(scene.owner)
    assert close(scene) == points_hash(after)


def test_a_withheld_round_moves_no_model(scene: Scene) -> None:
    scene.settle(mask=[1, 1, 0, 0, 0], cid=b"")
    assert scene.project.outcome().theta == points_hash(first_theta(2))
    assert close(scene) == points_hash(first_theta(2))


def test_a_failed_round_moves_no_model(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    assert scene.project.state().theta == points_hash(first_theta(2))


@pytest.mark.parametrize(
    "rate, bits, w",
    [
        (0, 9, 0),
        (RATE, 9, 171),  # 512/3 = 170.67
        (RATE, 0, 0),  # 1/3
        (3 * RATE // 2, 0, 1),  # exactly one half: up
        (3 * RATE // 2 - 1, 0, 0),
        ((1 << 64) - 1, 32, ((1 << 97) - (1 << 33) + 3 * 10**9) // (6 * 10**9)),
    ],
    ids=str,
)
def test_the_weight_of_a_round(scene: Scene, rate: int, bits: int, w: int) -> None:
    mask = [1, 0, 1, 0, 1]
    scene.reach(Phase.PROVE, rates=[rate], thetaBits=bits)
    aggregate = aggregate_points(scene.manifest(5), scene.proof().commitments, mask)
    blinding = scene.values["blinding"]
    after = [
        multiply_add([theta, summed, blinding], [1, w, -w])
        for theta, summed in zip(first_theta(2), aggregate, strict=True)
    ]
    assert points_hash(after) == points_hash(moved(scene, first_theta(2), mask, rate))
    scene.settle(mask=mask)
    assert close(scene) == points_hash(after)
    assert (after == list(first_theta(2))) == (w == 0)


def settled_from(scene: Scene, theta: tuple[Point, ...]) -> Any:
    """A round of a project whose owner has pinned this commitment."""
    scene.reach(Phase.PROVE, theta=points_hash(theta))
    proof = scene.proof()
    return scene.project.settle(scene.stranger, proof, theta, CID, scene.publication(proof))


@pytest.mark.parametrize("place", [0, 1])
def test_points_that_are_none(scene: Scene, place: int) -> None:
    """Whoever accepts such a project could not settle: its client refuses first (test_inspect.py)."""
    wrong = tuple(OFF_CURVE if at == place else point(1, at) for at in range(2))
    with refused("PointNotOnCurve(x=1, y=1)"):
        settled_from(scene, wrong)
    with refused("WrongLength(what=theta, have=2, want=4)"):
        settled_from(scene, wrong[1 - place : 2 - place])


def minus(p: Point) -> Point:
    return multiply_add([p], [-1])


def test_doubling_and_the_point_at_infinity(scene: Scene) -> None:
    """What nobody can reach without the trapdoor is computed right all the same, by the precompiles: the sum that is
    doubled, the model whose commitment is 0, and the one that starts from 0."""
    scene.reach(Phase.PROVE)
    step = moved(scene, (INFINITY, INFINITY), [1] * 5)
    w = floor(Fraction(512, 5) + Fraction(1, 2))
    shared = multiply_add([scene.values["blinding"]], [-w])
    for theta in ((minus(step[0]), minus(step[1])), (shared, minus(shared)), (INFINITY, step[1])):
        settled_from(scene, theta)
        want = tuple(multiply_add([a, b], [1, 1]) for a, b in zip(theta, step, strict=True))
        assert close(scene) == points_hash(want)
        if want[0] == INFINITY:
            scene.to_prove()
            proof = scene.proof()
            scene.project.settle(scene.stranger, proof, want, CID, scene.publication(proof))
            assert close(scene) == points_hash(moved(scene, want, [1] * 5, RATE // 2))


def test_each_word_of_the_model_counts(scene: Scene) -> None:
    proof = scene.proof()
    theta, publication = scene.theta(), scene.publication(proof)
    base = scene.project._base_words(proof)
    mask, scores, nu, words, data = decision_words(proof, theta)
    for place in range(len(words)):
        changed = [word + (at == place) for at, word in enumerate(words)]
        with refused_like(r"WrongModel\(.*\)"):
            decision = (mask, scores, nu, changed, data)
            scene.project._send("settle", "settle", base, decision, CID, publication, sender=scene.stranger)
