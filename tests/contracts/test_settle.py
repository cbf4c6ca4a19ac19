"""All that the contract itself checks of a settlement, with verifiers that accept everything. Then the money.

settle(proof, cid, publication)
├── when the phase is not PROVE
│   └── it should revert with WrongPhase
├── when now > t3
│   └── it should revert with TooLate
├── when an argument is wrong
│   ├── points: too few or too many, a slot's not those registered, the mask's or C_G infinity or off the curve
│   ├── scores: too few or too many, one of 2^64; mask of 2^N; nu of 2^64
│   ├── q or a fold not below p, too few or too many folds
│   ├── a base or settlement proof too short for its point
│   └── q, a fold, the mask's points, C_G, or a proof's first point other than those that belong together
│       └── it should revert and say which
├── when a verifier's code has changed
│   └── it should revert with VerifierChanged
├── when a verifier does anything but return 32 bytes that say 1
│   └── it should revert with ProofRejected
├── given at least minAccepted accepted: when the CID is empty or longer than 96 bytes
│   └── it should revert with WrongCid
├── given fewer: when there is a CID
│   └── it should revert with WrongCid
├── when the publication is another's, of other words, of another proof, or malleated
│   └── it should revert with WrongSigner
└── otherwise, whoever sends it, until t3
    ├── it should credit R by score, floor; equally where all are 0; the dust to the owner
    ├── it should set the next norm bound and the round's learning rate
    ├── it should keep the outcome, and log all that it decided
    ├── it should be SETTLED until now + claim, one more settled
    └── given fewer than minAccepted accepted: it should pay, and publish no aggregate
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contracts.doubles import BAD_VERIFIERS, deploy_as_verifier
from tests.contracts.test_admit import compact, high
from tests.contracts.world import CID, ETHER, WINDOW, Scene, point, refused, wrong_signer
from zkmarket.errors import ZkmarketError
from zkmarket.escrow import NOBODY, Phase, point_words, points_hash, proofs_hash, publication_message, settle_words
from zkmarket.field import P, Q
from zkmarket.market import Chain, Receipt, sign
from zkmarket.round import RoundProof, aggregate_points, start_transcript
from zkmarket.rules import next_beta

pytestmark = pytest.mark.chain

POINTS, Q_, FOLDS, MASK, SCORES, NU, GRAM, SETTLEMENT = range(8)
"""Where the arguments are in `settle_words`."""

SLOT = 4
"""Words of one slot: two chunks."""

MASK_POINTS, GRAM_POINT = 5 * SLOT, 6 * SLOT
SCORE_LIMIT = 1 << 64


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five are admitted and locked."""
    return Scene.deploy(node).reach(Phase.PROVE)


def send(scene: Scene, words: list[Any], cid: bytes = CID, publication: bytes = b"", sender: Any = None) -> Receipt:
    return scene.project._send("settle", "settle", tuple(words), cid, publication, sender=sender or scene.stranger)


def with_word(where: int, word: int, value: Any) -> Callable[[list[Any]], None]:
    """Replace one word of an array; `value` may be a function of the old one."""

    def change(words: list[Any]) -> None:
        words[where][word] = value(words[where][word]) if callable(value) else value

    return change


def with_value(where: int, value: Any) -> Callable[[list[Any]], None]:
    def change(words: list[Any]) -> None:
        words[where] = value(words[where]) if callable(value) else value

    return change


def with_point(word: int, x: int, y: int) -> Callable[[list[Any]], None]:
    def change(words: list[Any]) -> None:
        words[POINTS][word : word + 2] = [x, y]

    return change


def swapped(a: int, b: int, width: int) -> Callable[[list[Any]], None]:
    def change(words: list[Any]) -> None:
        found = words[POINTS]
        found[a : a + width], found[b : b + width] = found[b : b + width], found[a : a + width]

    return change


# ---------------------------------------------------------------- when and who


def test_refused_in_other_phases(scene: Scene) -> None:
    words, publication = settle_words(scene.proof()), scene.publication(scene.proof())
    for phase in scene.walk():
        if phase != Phase.PROVE:
            with refused(f"WrongPhase(have={phase.name}, want=PROVE)"):
                send(scene, list(words), publication=publication)


def test_until_the_deadline_to_the_second(scene: Scene) -> None:
    end, proof = scene.project.state().deadline, scene.proof()
    with refused(f"TooLate(have={end + 1}, want={end})"), scene.chain.rolled_back():
        scene.at(end + 1).settle(proof)
    scene.at(end).settle(proof)
    assert scene.chain.now == end
    assert scene.project.state().deadline == end + WINDOW


@pytest.mark.parametrize("sender", ["stranger", "owner", "aggregator", "successor"])
def test_anyone_may_send_it(scene: Scene, sender: str) -> None:
    before = scene.books()
    scene.settle(sender=getattr(scene, sender))
    pay, dust = scene.pays([1, 2, 3, 4, 5])
    expected = {f"credit of trainer {slot}": amount for slot, amount in enumerate(pay, start=1)}
    assert scene.moved(before) == expected | {"credit of owner": dust}
    assert scene.holdings() == scene.balance(scene.project.address)


# ---------------------------------------------------------------- wrong arguments, one at a time

WRONG = {
    "no points": (with_value(POINTS, []), "WrongLength(what=points, have=0, want=26)"),
    "a word less": (with_value(POINTS, lambda old: old[:-1]), "WrongLength(what=points, have=25, want=26)"),
    "a point more": (with_value(POINTS, lambda old: [*old, 1, 2]), "WrongLength(what=points, have=28, want=26)"),
    "a slot less": (with_value(POINTS, lambda old: old[SLOT:]), "WrongLength(what=points, have=22, want=26)"),
    "mask point at infinity": (with_point(MASK_POINTS, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "last mask point off the curve": (with_point(MASK_POINTS + 2, 1, 3), "PointNotOnCurve(x=1, y=3)"),
    "mask point not reduced": (with_point(MASK_POINTS, Q + 1, 2), f"PointNotOnCurve(x={Q + 1}, y=2)"),
    "C_G at infinity": (with_point(GRAM_POINT, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "C_G off the curve": (with_point(GRAM_POINT, 2, 2), "PointNotOnCurve(x=2, y=2)"),
    "C_G not reduced": (with_point(GRAM_POINT, 1, Q + 2), f"PointNotOnCurve(x=1, y={Q + 2})"),
    "a score less": (with_value(SCORES, [1, 2, 3, 4]), "WrongLength(what=scores, have=4, want=5)"),
    "a score more": (with_value(SCORES, [1] * 6), "WrongLength(what=scores, have=6, want=5)"),
    "first score of 2^64": (
        with_word(SCORES, 0, SCORE_LIMIT),
        f"OutOfBounds(what=score, have={SCORE_LIMIT}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "last score of p": (
        with_word(SCORES, 4, P),
        f"OutOfBounds(what=score, have={P}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "mask of 2^N": (with_value(MASK, 32), "OutOfBounds(what=mask, have=32, least=0, most=31)"),
    "mask with a high bit": (
        with_value(MASK, 31 + 2**255),
        f"OutOfBounds(what=mask, have={31 + 2**255}, least=0, most=31)",
    ),
    "nu of 2^64": (
        with_value(NU, SCORE_LIMIT),
        f"OutOfBounds(what=nu, have={SCORE_LIMIT}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "q + p": (with_value(Q_, 7 + P), f"ScalarNotCanonical(have={7 + P})"),
    "A + p": (with_word(FOLDS, 0, 11 + P), f"ScalarNotCanonical(have={11 + P})"),
    "X + p": (with_word(FOLDS, 1, 22 + P), f"ScalarNotCanonical(have={22 + P})"),
    "no fold": (with_value(FOLDS, []), "WrongLength(what=folds, have=0, want=2)"),
    "half a fold": (with_value(FOLDS, [11]), "WrongLength(what=folds, have=1, want=2)"),
    "a fold more": (with_value(FOLDS, [11, 22, 33, 44]), "WrongLength(what=folds, have=4, want=2)"),
    "base proof too short": (with_value(GRAM, lambda old: old[:63]), "WrongLength(what=gram, have=63, want=64)"),
    "settlement proof too short": (with_value(SETTLEMENT, b""), "WrongLength(what=settlement, have=0, want=64)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument(scene: Scene, case: str) -> None:
    change, reason = WRONG[case]
    proof = scene.proof()
    words = list(settle_words(proof))
    change(words)
    with refused(reason):
        send(scene, words, publication=scene.publication(proof))
    scene.settle(proof)


NOT_REGISTERED = {
    "slots 1 and 2 swapped": (swapped(0, SLOT, SLOT), 1),
    "slots 4 and 5 swapped": (swapped(3 * SLOT, 4 * SLOT, SLOT), 4),
    "chunks of slot 3 swapped": (swapped(2 * SLOT, 2 * SLOT + 2, 2), 3),
    "another point in slot 5": (with_point(4 * SLOT, *point(77)), 5),
    "slot 2 at infinity": (with_point(SLOT, 0, 0), 2),
    "slot 2's point negated": (with_word(POINTS, SLOT + 1, lambda y: Q - y), 2),
    "slot 2's point not reduced": (with_word(POINTS, SLOT, lambda x: x + Q), 2),
}


@pytest.mark.parametrize("case", NOT_REGISTERED)
def test_the_points_of_every_slot_are_those_that_it_registered(scene: Scene, case: str) -> None:
    """Attack: settle with swapped or invented commitments."""
    change, slot = NOT_REGISTERED[case]
    proof = scene.proof()
    words = list(settle_words(proof))
    change(words)
    have = keccak(b"".join(word.to_bytes(32, "big") for word in words[POINTS][(slot - 1) * SLOT : slot * SLOT]))
    want = scene.project.seats(1)[slot - 1]["points"]
    with refused(f"WrongPoints(slot={slot}, have=0x{have.hex()}, want=0x{want.hex()})"):
        send(scene, words, publication=scene.publication(proof))


def test_an_admitted_trainer_cannot_be_dropped(scene: Scene) -> None:
    """Attack: prove the round of the other four. The set was frozen at lock, and its size chooses the verifier."""
    words = list(settle_words(scene.proof()))
    del words[POINTS][2 * SLOT : 3 * SLOT]
    with refused("WrongLength(what=points, have=22, want=26)"):
        send(scene, words)
    words[POINTS][2 * SLOT : 2 * SLOT] = words[POINTS][:SLOT]  # a Sybil's in its place
    seat = scene.project.seats(1)
    with refused(f"WrongPoints(slot=3, have=0x{seat[0]['points'].hex()}, want=0x{seat[2]['points'].hex()})"):
        send(scene, words)


UNBOUND = {
    "another q": (with_value(Q_, 8), "gram"),
    "another A": (with_word(FOLDS, 0, 12), "gram"),
    "another X": (with_word(FOLDS, 1, 23), "gram"),
    "another mask point": (with_point(MASK_POINTS, *point(77)), "gram"),
    "another base point": (with_value(GRAM, bytes(64)), "gram"),
    "another C_G": (with_point(GRAM_POINT, *point(77)), "settlement"),
    "another settlement point": (with_value(SETTLEMENT, bytes(64)), "settlement"),
}


@pytest.mark.parametrize("case", UNBOUND)
def test_proofs_are_bound_to_what_the_contract_computes(scene: Scene, case: str) -> None:
    change, name = UNBOUND[case]
    proof = scene.proof()
    words = list(settle_words(proof))
    change(words)
    have = words[GRAM if name == "gram" else SETTLEMENT]
    x, y = int.from_bytes(have[:32], "big"), int.from_bytes(have[32:64], "big")
    with pytest.raises(
        ZkmarketError, match=rf"WrongProofPoint\(proof={name}, haveX={x}, haveY={y}, wantX=\d+, wantY=\d+\)"
    ):
        send(scene, words, publication=scene.publication(proof))


# ---------------------------------------------------------------- verifiers


def test_code_that_changed_is_not_asked(scene: Scene) -> None:
    """Attack: a verifier that is exchanged under its address (metamorphic, delegated)."""
    proof = scene.proof()
    for mock in (scene.mocks[3], scene.mocks[0]):  # settlement, gram
        code = scene.chain.web3.eth.get_code(mock.address)
        for other in (bytes(code) + b"\0", b"", b"\xef\x01\x00" + bytes.fromhex(scene.mocks[1].address[2:])):
            scene.chain.web3.provider.make_request("anvil_setCode", [mock.address, "0x" + other.hex()])
            have = keccak(other).hex()
            with refused(f"VerifierChanged(verifier={mock.address}, have=0x{have}, want=0x{mock.codehash.hex()})"):
                scene.settle(proof)
        scene.chain.web3.provider.make_request("anvil_setCode", [mock.address, "0x" + bytes(code).hex()])
    scene.settle(proof)


@pytest.fixture(scope="module")
def bad_verifiers(deployed: Scene) -> Iterator[dict[str, Any]]:
    with deployed.chain.rolled_back():
        yield {name: deploy_as_verifier(deployed.chain, code) for name, code in BAD_VERIFIERS.items()}


@pytest.mark.parametrize("name", ["gram", "settlement"])
@pytest.mark.parametrize("answer", BAD_VERIFIERS)
def test_only_32_bytes_that_say_1_are_success(
    deployed: Scene, bad_verifiers: dict[str, Any], answer: str, name: str
) -> None:
    scene, bad = dataclasses.replace(deployed), bad_verifiers[answer].words
    with scene.chain.rolled_back():
        scene.trainers, terms = scene.trainers[:3], scene.terms()
        scene.reach(Phase.PROVE, **({"gram": bad} if name == "gram" else {"plans": scene.plans(terms, settlement=bad)}))
        with refused(f"ProofRejected(proof={name})"):
            scene.settle()


# ---------------------------------------------------------------- publication


@pytest.mark.parametrize("length", [0, 97, 1000])
def test_a_published_aggregate_has_a_cid(scene: Scene, length: int) -> None:
    with refused(f"WrongCid(have={length}, most=96)"):
        scene.settle(cid=bytes(length))


@pytest.mark.parametrize("length", [1, 96])
def test_a_cid_of_any_length_between(scene: Scene, length: int) -> None:
    assert scene.settle(cid=b"c" * length).event("Settled").arguments["settlement"]["cid"] == b"c" * length


def test_front_run_with_another_cid(scene: Scene) -> None:
    """Attack: copy a settlement from the mempool and publish another CID with it."""
    proof = scene.proof()
    publication = scene.publication(proof)
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, proof, b"mine", publication)
    scene.project.settle(scene.stranger, proof, CID, publication)  # the copy as it was pays the same


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_published_by_another(scene: Scene, signer: str) -> None:
    proof, who = scene.proof(), getattr(scene, signer)
    with wrong_signer(scene.aggregator, have=who):
        scene.project.settle(who, proof, CID, scene.publication(proof, signer=who))


@pytest.mark.parametrize("word", ["round", "seed", "aggregate", "cid", "chainId", "verifyingContract"])
def test_a_publication_with_one_wrong_word(scene: Scene, word: str) -> None:
    proof = scene.proof()
    message = publication_message(scene.manifest(5), proof, CID)
    part = message["message"] if word in message["message"] else message["domain"]
    part[word] = {"round": 2, "chainId": 1, "verifyingContract": scene.market.address}.get(word, keccak(b"other"))
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, proof, CID, sign(scene.chain, scene.aggregator, message))


@pytest.mark.parametrize("other", [{"q": 8}, {"mask": [1, 1, 1, 1, 0]}], ids=str)
def test_a_publication_of_another_proof(scene: Scene, other: dict[str, Any]) -> None:
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, scene.proof(), CID, scene.publication(scene.proof(**other)))


@pytest.mark.parametrize(
    "spoil", [high, compact, lambda _: b"", lambda _: bytes(65)], ids=["high s", "64 bytes", "empty", "zeros"]
)
def test_a_publication_has_one_form(scene: Scene, spoil: Any) -> None:
    proof = scene.proof()
    with wrong_signer(scene.aggregator, have=NOBODY):
        scene.project.settle(scene.stranger, proof, CID, spoil(scene.publication(proof)))


def test_replayed_in_the_next_round(scene: Scene) -> None:
    proof = scene.proof()
    publication = scene.publication(proof)
    scene.project.settle(scene.stranger, proof, CID, publication)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_prove()  # the same points, by the same trainers
    with pytest.raises(ZkmarketError, match=r"WrongProofPoint\(proof=gram, "):
        scene.project.settle(scene.stranger, proof, CID, publication)
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, scene.proof(), CID, publication)


def test_replayed_in_another_clone(scene: Scene) -> None:
    proof = scene.proof()
    publication = scene.publication(proof)
    clone = dataclasses.replace(scene).reach(Phase.PROVE)
    assert (clone.round_id.round, clone.project.address != scene.project.address) == (1, True)
    with pytest.raises(ZkmarketError, match=r"WrongProofPoint\(proof=gram, "):
        clone.project.settle(clone.stranger, proof, CID, publication)
    with wrong_signer(clone.aggregator):
        clone.project.settle(clone.stranger, clone.proof(), CID, publication)


def test_the_sequel_is_not_the_failed_aggregators_to_publish(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.fail(scene.stranger)
    predecessor = scene.aggregator
    scene.project.name_aggregator(scene.owner, scene.successor)
    scene.project.accept(scene.successor)
    scene.aggregator = scene.successor
    scene.chain.pass_time(WINDOW)
    scene.to_prove()
    proof = scene.proof()
    with wrong_signer(scene.successor, have=predecessor):
        scene.project.settle(predecessor, proof, CID, scene.publication(proof, signer=predecessor))
    scene.settle(proof)


# ---------------------------------------------------------------- what it decides

ODD_REWARD = ETHER + 7
SCORE = st.integers(0, SCORE_LIMIT - 1) | st.integers(0, 3)


@pytest.fixture
def odd(scene: Scene) -> tuple[Scene, dict[str, int]]:
    """A reward and a kappa that leave remainders; and the books before."""
    scene.reach(Phase.PROVE, reward=ODD_REWARD, kappa=1337)
    return scene, scene.books()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))  # one fixture for all examples
@given(
    scores=st.lists(SCORE, min_size=5, max_size=5),
    mask=st.lists(st.integers(0, 1), min_size=5, max_size=5),
    nu=st.integers(0, SCORE_LIMIT - 1) | st.integers(0, 2 * 10**6),
)
@example(scores=[0] * 5, mask=[0] * 5, nu=0)
@example(scores=[SCORE_LIMIT - 1] * 5, mask=[1] * 5, nu=SCORE_LIMIT - 1)
@example(scores=[0, 0, 1, 0, 0], mask=[1, 1, 0, 0, 0], nu=748)
def test_pay_and_next_bound_are_the_engines(
    odd: tuple[Scene, dict[str, int]], scores: list[int], mask: list[int], nu: int
) -> None:
    scene, before = odd
    with scene.chain.rolled_back():
        cid = CID if sum(mask) >= 3 else b""
        settled = scene.settle(scene.proof(mask, scores, nu), cid).event("Settled").arguments["settlement"]
        pay, dust = scene.pays(scores)
        assert settled["pay"] == pay
        expected = {f"credit of trainer {slot}": amount for slot, amount in enumerate(pay, start=1)}
        expected["credit of owner"] = dust
        assert scene.moved(before) == {name: amount for name, amount in expected.items() if amount}
        want = next_beta(scene.values["beta"], nu, 1.337, scene.values["betaMin"], scene.values["betaMax"])
        assert scene.project.state().beta == settled["beta"] == want
        assert bool(settled["aggregate"]) == (sum(mask) >= 3)


def test_all_scores_zero_are_paid_equally_and_not_returned(scene: Scene) -> None:
    """Attack: an owner's majority makes every score 0 to have the reward back."""
    before = scene.books()
    scene.settle(scores=[0] * 5)
    assert scene.moved(before) == {f"credit of trainer {slot}": ETHER // 5 for slot in range(1, 6)}


def test_one_score_takes_all_and_zeros_nothing(scene: Scene) -> None:
    before = scene.books()
    scene.settle(scores=[0, 0, SCORE_LIMIT - 1, 0, 0])
    assert scene.moved(before) == {"credit of trainer 3": ETHER}


BETAS = {
    # β, β_min, β_max, κ, ν → next: each clamp at work, and just not
    "target": (4000, 1500, 10**9, 1500, 2001, 3001),
    "not below half": (4001, 1500, 10**9, 1000, 1999, 2000),
    "half rounds down": (4001, 1500, 10**9, 1000, 2000, 2000),
    "just above half": (4001, 1500, 10**9, 1000, 2001, 2001),
    "not above twice": (4000, 1500, 10**9, 1000, 8001, 8000),
    "not below the least": (2000, 1500, 10**9, 1000, 1499, 1500),
    "not above the most": (4000, 1500, 4500, 1000, 4501, 4500),
    "fixed": (4000, 4000, 4000, 1000, 1, 4000),
    "nu of 0": (4000, 1500, 10**9, 2000, 0, 2000),
    "largest kappa and nu": (1 << 45, 1500, 1500 << 36, (1 << 32) - 1, SCORE_LIMIT - 1, 1 << 46),
}


@pytest.mark.parametrize("case", BETAS)
def test_the_next_bound_is_clamped(scene: Scene, case: str) -> None:
    beta, least, most, kappa, nu, want = BETAS[case]
    scene.reach(Phase.PROVE, beta=beta, betaMin=least, betaMax=most, kappa=kappa, valueBits=19)
    scene.settle(nu=nu)
    assert scene.project.state().beta == want == next_beta(beta, nu, kappa / 1000, least, most)


def test_learning_rates_follow_their_schedule_and_the_last_one_stays(scene: Scene) -> None:
    scene.reach(Phase.OPEN, rates=[7, 5], rounds=4, betaMax=10**9)
    rates = []
    for _ in range(4):
        done = scene.to_prove(scene.trainers[:3]).settle()
        rates.append((done.event("Settled").arguments["settlement"]["rate"], scene.project.outcome()["rate"]))
        scene.pass_deadline()
        scene.project.next(scene.stranger)
    assert rates == [(7, 7), (5, 5), (5, 5), (5, 5)]


def test_a_failed_round_takes_no_rate_of_the_schedule(scene: Scene) -> None:
    scene.reach(Phase.VACANT, rates=[7, 5])
    scene.project.name_aggregator(scene.owner, scene.aggregator)
    scene.project.accept(scene.aggregator)
    scene.chain.pass_time(WINDOW)
    assert scene.to_prove().settle().event("Settled").arguments["settlement"]["rate"] == 7


def test_the_log_is_enough_to_rebuild_everything(scene: Scene) -> None:
    mask, scores = [1, 0, 1, 1, 1], [3, 0, 5, SCORE_LIMIT - 1, 1]
    proof = scene.proof(mask, scores, nu=1234)
    beta = scene.project.state().beta
    done = scene.at(scene.chain.now + 9).settle(proof)
    logged = done.event("Settled").arguments
    settled = logged["settlement"]
    manifest = scene.manifest(5)
    words = point_words(aggregate_points(manifest, proof.commitments, mask))
    assert settled == {
        "trainers": [str(trainer) for trainer in scene.trainers],
        "mask": 0b11101,
        "scores": scores,
        "pay": scene.pays(scores)[0],
        "aggregate": words,
        "cid": CID,
        "beta": next_beta(beta, 1234, 2.0, 1500, 10**9),
        "rate": 10**9,
        "nu": 1234,
        "proofs": proofs_hash(proof.gram.base.data, proof.settlement.data),
    }
    assert (logged["round"], logged["deadline"]) == (1, scene.chain.now + WINDOW)
    assert logged["seed"] == seed(manifest, proof)
    assert scene.project.outcome() == {
        "mask": 0b11101,
        "rate": 10**9,
        "beta": settled["beta"],
        "aggregate": points_hash(list(zip(words[::2], words[1::2], strict=True))),
        "cid": keccak(CID),
        "scores": [sum(score << 64 * i for i, score in enumerate(scores[:4])), scores[4]],
    }
    state = scene.project.state()
    assert (state.phase, state.settled, state.voids, state.round) == (Phase.SETTLED, 1, 0, 1)
    assert (state.deadline, state.claimed) == (scene.chain.now + WINDOW, False)


def seed(manifest: Any, proof: RoundProof) -> bytes:
    """The engine's transcript at its end."""
    parts = (proof.round_id, proof.beta, proof.commitments, proof.mask_points, proof.gram_point)
    transcript = start_transcript(manifest, *parts)
    transcript.absorb(proof.settlement.instances[0])
    for claim in proof.gram.claims:
        transcript.absorb(*claim)
    return transcript.seed


@pytest.mark.parametrize("mask", [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 1]], ids=str)
def test_with_too_few_accepted_the_round_is_paid_and_no_aggregate_published(scene: Scene, mask: list[int]) -> None:
    """Two accepted would learn each other's update from their sum."""
    proof, before = scene.proof(mask), scene.books()
    with refused(f"WrongCid(have={len(CID)}, most=0)"):
        scene.settle(proof)
    settled = scene.settle(proof, cid=b"").event("Settled").arguments["settlement"]
    assert (settled["aggregate"], settled["cid"]) == ([], b"")
    outcome = scene.project.outcome()
    assert (outcome["aggregate"], outcome["cid"]) == (bytes(32), keccak(b""))
    pay, dust = scene.pays([1, 2, 3, 4, 5])
    expected = {f"credit of trainer {slot}": amount for slot, amount in enumerate(pay, start=1)}
    assert scene.moved(before) == expected | {"credit of owner": dust}


@pytest.mark.parametrize("n", [3, 4])
def test_a_round_of_fewer_trainers_has_its_own_plan(scene: Scene, n: int) -> None:
    scene.open().to_prove(scene.trainers[:n])
    done = scene.settle()
    assert done.event("Settled").arguments["settlement"]["pay"] == scene.pays(list(range(1, n + 1)))[0]


def test_an_owner_that_trains_gets_its_pay_and_the_dust(scene: Scene) -> None:
    scene.trainers = [scene.owner, *scene.trainers[:2]]
    scene.open().to_prove()
    before = scene.project.account(scene.owner)["credit"]
    scene.settle(scores=[1, 1, 1])
    assert scene.project.account(scene.owner)["credit"] - before == ETHER // 3 + ETHER % 3
