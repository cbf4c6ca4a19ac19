"""A settlement in two transactions: what the first leaves, and what the second takes of it.

proveBase(base)
├── when the phase is not PROVE, or now > t3
│   └── it should revert with WrongPhase, TooLate
├── when an argument is wrong: as `settle` says (test_settle.py)
└── otherwise, whoever sends it, until t3, and again
    ├── it should keep one word under the last seed of the transcript, log BaseProven, and move nothing
    └── it should leave what was kept under another seed

settleProven(seed, points, cids, q, decision, cid, publication)
├── when the phase is not PROVE, or now > t3
│   └── it should revert with WrongPhase, TooLate
├── when points, CIDs or the decision are wrong: as `settle` says
├── when seed, q, or a point that is not a slot's is not what was proven, or nothing was, or in another round
│   └── it should revert with NotProven
├── when the publication is not one of this seed
│   └── it should revert with WrongSigner
└── otherwise
    └── it should do all that `settle` does, and log the same but for the hash of the proofs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.doubles import questions
from tests.contracts.test_settle import (
    DECISION,
    GRAM_POINT,
    LENGTHS,
    MASK,
    PROJECTION,
    SLOT,
    WORDS,
    with_point,
    words_of,
)
from tests.contracts.world import CID, WINDOW, Scene, point, refused, refused_like, wrong_signer
from zkmarket.chain import Chain, Phase, Receipt
from zkmarket.crypto import P
from zkmarket.errors import ChainError
from zkmarket.market import all_points, last_seed, point_words, proofs_hash
from zkmarket.round import RoundProof

pytestmark = pytest.mark.chain

SECOND = ("seed", "points", "cids", "q", "decision", "cid", "publication")


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five are admitted and locked."""
    return Scene.deploy(node).reach(Phase.PROVE)


@pytest.fixture
def proven(scene: Scene) -> RoundProof:
    """Of which the base proof was accepted."""
    proof = scene.proof()
    scene.project.prove_base(scene.stranger, proof)
    return proof


def arguments(scene: Scene, proof: RoundProof) -> dict[str, Any]:
    words = words_of(proof)
    decision = tuple(words[name] for name in DECISION)
    values = last_seed(proof), words["points"], words["cids"], words["q"], decision, CID, scene.publication(proof)
    return dict(zip(SECOND, values, strict=True))


def send(scene: Scene, given: dict[str, Any]) -> Receipt:
    return scene.project._send("settle", "settleProven", *given.values(), sender=scene.stranger)


def not_proven(seed: bytes) -> Any:
    return refused(f"NotProven(seed=0x{seed.hex()})")


# ---------------------------------------------------------------- when


def test_refused_in_other_phases(scene: Scene) -> None:
    proof = scene.proof()
    given, words = arguments(scene, proof), scene.project._base_words(proof)
    for phase in scene.walk():
        if phase != Phase.PROVE:
            with refused(f"WrongPhase(have={phase.name}, want=PROVE)"):
                scene.project._send("prove base", "proveBase", words, sender=scene.stranger)
            with refused(f"WrongPhase(have={phase.name}, want=PROVE)"):
                send(scene, given)


def test_both_until_the_deadline_to_the_second(scene: Scene) -> None:
    end, proof = scene.deadline, scene.proof()
    given = arguments(scene, proof)
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1).project.prove_base(scene.stranger, proof)
    with scene.chain.rolled_back():
        scene.at(end).project.prove_base(scene.stranger, proof)
        assert scene.project.is_proven(given["seed"])
    scene.project.prove_base(scene.stranger, proof)
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        send(scene.at(end + 1), given)
    send(scene.at(end), given)
    assert scene.deadline == end + WINDOW


# ---------------------------------------------------------------- what it leaves


def test_the_first_half_moves_nothing(scene: Scene) -> None:
    before, state = scene.books(), dataclasses.replace(scene.project.state(), now=0, block=0)
    proof = scene.proof()
    done = scene.project.prove_base(scene.successor, proof)
    seed = last_seed(proof)
    assert [(event.name, event.arguments) for event in done.events] == [("BaseProven", {"round": 1, "seed": seed})]
    assert (scene.moved(before), dataclasses.replace(scene.project.state(), now=0, block=0)) == ({}, state)
    assert [to.lower() for to, _ in questions(scene.chain, done)] == [scene.mocks[0].deployed.lower()]
    words = b"".join(word.to_bytes(32, "big") for word in point_words(all_points(proof)))
    seed0 = proof.transcript(scene.manifest(5)).seed
    kept = (1).to_bytes(32, "big") + seed + seed0 + (7).to_bytes(32, "big") + words[-64:] + keccak(words)
    assert scene.project._call("entry", seed) == keccak(kept)
    scene.project.prove_base(scene.stranger, proof)  # nothing is the worse for it
    assert scene.project._call("entry", seed) == keccak(kept)


def test_two_halves_do_what_the_whole_does(scene: Scene) -> None:
    proof, seed = scene.proof([1, 0, 1, 1, 1], [3, 0, 5, 6, 1]), None
    told = []
    for settle in (scene.settle, scene.settle_in_two):
        with scene.chain.rolled_back():
            before, now = scene.books(), scene.chain.now
            done = settle(proof)
            seed, said = done.event("Settled").arguments["seed"], done.event("Settled").arguments["settlement"]
            outcome = scene.project.outcome()
            told.append((seed, said | {"proofs": None}, scene.moved(before), outcome, scene.phase))
            assert scene.deadline - scene.chain.now == WINDOW > scene.chain.now - now
            first = proof.base.proof.data if settle == scene.settle else b""
            assert said["proofs"] == proofs_hash(first, proof.settlement.data)
    assert told[0] == told[1]
    assert seed == last_seed(proof)


def test_the_second_half_asks_for_the_settlement_only(scene: Scene, proven: RoundProof) -> None:
    asked = questions(scene.chain, send(scene, arguments(scene, proven)))
    assert [to.lower() for to, _ in asked] == [scene.mocks[1].deployed.lower()]
    assert asked[0][1] == proven.settlement.instances


def test_the_whole_is_taken_where_the_first_half_was_proven(scene: Scene, proven: RoundProof) -> None:
    scene.settle(proven)
    with refused("WrongPhase(have=SETTLED, want=PROVE)"):
        send(scene, arguments(scene, proven))


# ---------------------------------------------------------------- what does not fit


def other_point(place: int) -> Callable[[dict[str, Any]], None]:
    return lambda given: with_point(place, *point(77))(given)


UNPROVEN: dict[str, Callable[[dict[str, Any]], None]] = {
    "another seed": lambda given: given.update(seed=keccak(b"another")),
    "no seed": lambda given: given.update(seed=bytes(32)),
    "another q": lambda given: given.update(q=8),
    "q + p": lambda given: given.update(q=7 + P),
    "another mask point": other_point(MASK),
    "another P_0": other_point(PROJECTION),
    "another P_4": other_point(PROJECTION + 8),
    "another C_G": other_point(GRAM_POINT),
}


@pytest.mark.parametrize("case", UNPROVEN)
def test_attack_another_round_than_the_one_that_was_proven(scene: Scene, proven: RoundProof, case: str) -> None:
    """The challenges of the settlement proof come from points and q: were they not the proven ones, any matrix would
    do."""
    given = arguments(scene, proven)
    UNPROVEN[case](given)
    with not_proven(given["seed"]):
        send(scene, given)
    send(scene, arguments(scene, proven))


def test_nothing_was_proven(scene: Scene) -> None:
    given = arguments(scene, scene.proof())
    with not_proven(given["seed"]):
        send(scene, given)


def test_points_and_cids_are_compared_again(scene: Scene, proven: RoundProof) -> None:
    for change, reason in (
        (lambda given: given["points"].pop(), LENGTHS("points", WORDS - 1, WORDS)),
        (lambda given: given["cids"].pop(), LENGTHS("cids", 4, 5)),
        (with_point(SLOT, 0, 0), r"PointNotOnCurve(x=0, y=0)"),
    ):
        given = arguments(scene, proven)
        change(given)
        with refused(reason):
            send(scene, given)
    for change in (other_point(4 * SLOT), lambda given: given["cids"].__setitem__(4, bytes(32))):
        given = arguments(scene, proven)
        change(given)
        with refused_like(r"WrongPoints\(slot=5, .*"):
            send(scene, given)


def test_a_decision_is_checked_as_ever(scene: Scene, proven: RoundProof) -> None:
    given = arguments(scene, proven)
    mask, scores, nu, theta, proof = given["decision"]
    for decision, reason in (
        ((32, scores, nu, theta, proof), "OutOfBounds(what=mask, have=32, least=0, most=31)"),
        ((mask, scores[1:], nu, theta, proof), LENGTHS("scores", 4, 5)),
        ((mask, scores, 1 << 64, theta, proof), f"OutOfBounds(what=nu, have={1 << 64}, least=0, most={(1 << 64) - 1})"),
    ):
        with refused(reason):
            send(scene, given | {"decision": decision})
    with refused("WrongCid(have=0, most=96)"):
        send(scene, given | {"cid": b""})


def test_attack_a_second_base_proof_with_another_seed(scene: Scene, proven: RoundProof) -> None:
    """Anyone may prove another: the aggregator with fresh masks, or a false helper that would push the first one out
    before the second half is sent. Both stay."""
    other = scene.proof(q=8)
    scene.project.prove_base(scene.aggregator, other)
    seeds = last_seed(proven), last_seed(other)
    assert seeds[0] != seeds[1]
    assert all(scene.project.is_proven(seed) for seed in seeds)
    crossed = arguments(scene, proven) | {"seed": seeds[1]}
    with not_proven(seeds[1]):
        send(scene, crossed)
    for proof in (proven, other):
        with scene.chain.rolled_back():
            assert send(scene, arguments(scene, proof)).event("Settled").arguments["seed"] == last_seed(proof)


def test_a_publication_names_its_seed(scene: Scene, proven: RoundProof) -> None:
    """The base proof of whoever sent one is of no use with what the aggregator has signed for another."""
    other = scene.proof(q=8)
    scene.project.prove_base(scene.stranger, other)
    with wrong_signer(scene.aggregator):
        send(scene, arguments(scene, other) | {"publication": scene.publication(proven)})


def failed(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    scene.project.name_aggregator(scene.owner, scene.aggregator)
    scene.project.accept(scene.aggregator)
    scene.chain.pass_time(WINDOW)


def settled(scene: Scene) -> None:
    scene.settle()
    scene.pass_deadline()
    scene.project.next(scene.stranger)


@pytest.mark.parametrize("end", [failed, settled])
def test_attack_what_was_proven_in_another_round(
    scene: Scene, proven: RoundProof, end: Callable[[Scene], None]
) -> None:
    """The same trainers with the same points and the same bound: what is kept names the round, and its seeds do."""
    old = arguments(scene, proven)
    end(scene)
    scene.to_prove()
    assert scene.project.is_proven(old["seed"])
    for given in (old, arguments(scene, scene.proof()) | {"seed": old["seed"]}):
        with not_proven(old["seed"]):
            send(scene, given)


def test_of_another_clone(scene: Scene, proven: RoundProof) -> None:
    given = arguments(scene, proven)
    clone = dataclasses.replace(scene).reach(Phase.PROVE)
    with not_proven(given["seed"]):
        send(clone, arguments(clone, clone.proof()) | {"seed": given["seed"]})


# ---------------------------------------------------------------- for auditors


def test_the_log_and_the_calldata_of_both_halves_are_the_proof(scene: Scene) -> None:
    proof = scene.proof([1, 0, 1, 1, 1])
    with pytest.raises(ChainError, match=r"round 1 of 0x\w+ was not settled"):
        scene.project.commitments(1)
    scene.settle_in_two(proof)
    assert scene.project.commitments(1) == list(proof.commitments)
    base = scene.project._proven_base(1, last_seed(proof))
    words = words_of(proof)
    names = ("points", "cids", "q", "t0", "z", "folds", "rounds", "salt_square", "proof")
    assert [list(part) if isinstance(part, tuple) else part for part in base] == [words[name] for name in names]


def test_the_code_that_settles_is_no_project(scene: Scene) -> None:
    """What runs it keeps nothing of its own, and nobody can make a project of it."""
    implementation = scene.market.implementation()
    assert scene.chain.balance(implementation) == 0
    request = {"to": implementation, "data": scene.project.contract.settle.signature}
    answer = scene.chain.web3.provider.make_request("eth_call", [request, "latest"])
    assert "error" in answer
