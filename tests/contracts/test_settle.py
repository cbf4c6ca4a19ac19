"""All that the contract itself checks of a settlement, with verifiers that accept everything. Then the money.

settle(base, decision, cid, publication); in two transactions: test_prove_base.py
├── when the phase is not PROVE
│   └── it should revert with WrongPhase
├── when now > t3
│   └── it should revert with TooLate
├── when an argument is wrong
│   ├── points: too few or too many, one off the curve, infinity, or not canonical
│   ├── a slot's points, or its CID, not those that it submitted
│   ├── scores: too few or too many, one of 2^64; mask of 2^N; nu of 2^64
│   ├── q, t_0, o_2, a fold or a round not below p; too few or too many folds or rounds
│   ├── z of another length, a row of it 0 or 2^111
│   ├── a base or settlement proof too short for its points
│   └── anything that is absorbed, or a proof's first points, other than those that belong together
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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.contracts.doubles import BAD_VERIFIERS, deploy_as_verifier, questions
from tests.contracts.test_admit import compact, high
from tests.contracts.world import (
    CID,
    ETHER,
    WINDOW,
    Scene,
    first_theta,
    point,
    refused,
    refused_like,
    wrong_signer,
)
from tests.support.tiers import examples
from zkmarket.chain import NOBODY, Chain, Phase, Receipt, sign
from zkmarket.crypto import P, Point, Q
from zkmarket.market import (
    Outcome,
    all_points,
    base_words,
    decision_words,
    last_seed,
    point_words,
    points_hash,
    proofs_hash,
    publication_message,
    struct_words,
    submission_word,
)
from zkmarket.round import RoundProof, aggregate_points, moved_points
from zkmarket.rules import next_beta

pytestmark = pytest.mark.chain

BASE = ("points", "cids", "q", "t0", "z", "folds", "rounds", "salt_square", "proof")
DECISION = ("mask", "scores", "nu", "theta", "settlement")
"""Names here of what `base_words` and `decision_words` give."""

SLOT = 4
"""Words of one slot: two chunks."""

MASK, PROJECTION, GRAM_POINT, WORDS = 5 * SLOT, 5 * SLOT + 4, 5 * SLOT + 14, 5 * SLOT + 16
"""Where the points of slot 0, P_0..P_4 and C_G are."""

Words = dict[str, Any]
Change = Callable[[Words], None]

SCORE_LIMIT = 1 << 64


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five are admitted and locked."""
    return Scene.deploy(node).reach(Phase.PROVE)


def words_of(proof: RoundProof, cid: bytes = CID, theta: Sequence[Point] | None = None) -> Words:
    """All arguments of a settlement that prover and chain do not share already.

    Args:
        theta: commitment of the model; default the scene's first one.
    """
    theta = first_theta(2) if theta is None else theta
    named = dict(zip(BASE, base_words(proof, [cid] * len(proof.commitments)), strict=True))
    return named | dict(zip(DECISION, decision_words(proof, theta), strict=True))


def send(scene: Scene, words: Words, cid: bytes = CID, publication: bytes = b"", sender: Any = None) -> Receipt:
    structs = tuple(words[name] for name in BASE), tuple(words[name] for name in DECISION)
    return scene.project._send("settle", "settle", *structs, cid, publication, sender=sender or scene.stranger)


def with_word(name: str, word: int, value: Any) -> Change:
    """Replace one word of an array; `value` may be a function of the old one."""

    def change(words: Words) -> None:
        words[name][word] = value(words[name][word]) if callable(value) else value

    return change


def with_value(name: str, value: Any) -> Change:
    def change(words: Words) -> None:
        words[name] = value(words[name]) if callable(value) else value

    return change


def with_row(row: int, value: int) -> Change:
    def change(words: Words) -> None:
        z = words["z"]
        words["z"] = z[: 14 * row] + value.to_bytes(14, "big") + z[14 * row + 14 :]

    return change


def with_point(word: int, x: int, y: int) -> Change:
    def change(words: Words) -> None:
        words["points"][word : word + 2] = [x, y]

    return change


def with_committed(place: int, point: bytes) -> Change:
    """Of the base proof's first points P_W, P_U, P_V."""

    def change(words: Words) -> None:
        words["proof"] = words["proof"][: 64 * place] + point + words["proof"][64 * place + 64 :]

    return change


def swapped(a: int, b: int, width: int) -> Change:
    def change(words: Words) -> None:
        found = words["points"]
        found[a : a + width], found[b : b + width] = found[b : b + width], found[a : a + width]

    return change


# ---------------------------------------------------------------- when and who


def test_refused_in_other_phases(scene: Scene) -> None:
    words, publication = words_of(scene.proof()), scene.publication(scene.proof())
    for phase in scene.walk():
        if phase != Phase.PROVE:
            with refused(f"WrongPhase(have={phase.name}, want=PROVE)"):
                send(scene, words, publication=publication)


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

LENGTHS = "WrongLength(what={}, have={}, want={})".format
HALF = 1 << 110

WRONG: dict[str, tuple[Change, str]] = {
    "no points": (with_value("points", []), LENGTHS("points", 0, WORDS)),
    "a word less": (with_value("points", lambda old: old[:-1]), LENGTHS("points", WORDS - 1, WORDS)),
    "a point more": (with_value("points", lambda old: [*old, 1, 2]), LENGTHS("points", WORDS + 2, WORDS)),
    "a slot less": (with_value("points", lambda old: old[SLOT:]), LENGTHS("points", WORDS - SLOT, WORDS)),
    "slot 2 at infinity": (with_point(SLOT, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "slot 5 off the curve": (with_point(4 * SLOT, 1, 3), "PointNotOnCurve(x=1, y=3)"),
    "mask point at infinity": (with_point(MASK, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "last mask point off the curve": (with_point(MASK + 2, 1, 3), "PointNotOnCurve(x=1, y=3)"),
    "mask point not reduced": (with_point(MASK, Q + 1, 2), f"PointNotOnCurve(x={Q + 1}, y=2)"),
    "P_0 at infinity": (with_point(PROJECTION, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "P_4 off the curve": (with_point(PROJECTION + 8, 2, 1), "PointNotOnCurve(x=2, y=1)"),
    "P_4 not reduced": (with_point(PROJECTION + 8, 1, Q + 2), f"PointNotOnCurve(x=1, y={Q + 2})"),
    "C_G at infinity": (with_point(GRAM_POINT, 0, 0), "PointNotOnCurve(x=0, y=0)"),
    "C_G off the curve": (with_point(GRAM_POINT, 2, 2), "PointNotOnCurve(x=2, y=2)"),
    "C_G not reduced": (with_point(GRAM_POINT, 1, Q + 2), f"PointNotOnCurve(x=1, y={Q + 2})"),
    "no CIDs": (with_value("cids", []), LENGTHS("cids", 0, 5)),
    "a CID less": (with_value("cids", lambda old: old[1:]), LENGTHS("cids", 4, 5)),
    "a CID more": (with_value("cids", lambda old: [*old, bytes(32)]), LENGTHS("cids", 6, 5)),
    "a score less": (with_value("scores", [1, 2, 3, 4]), LENGTHS("scores", 4, 5)),
    "a score more": (with_value("scores", [1] * 6), LENGTHS("scores", 6, 5)),
    "first score of 2^64": (
        with_word("scores", 0, SCORE_LIMIT),
        f"OutOfBounds(what=score, have={SCORE_LIMIT}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "last score of p": (
        with_word("scores", 4, P),
        f"OutOfBounds(what=score, have={P}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "mask of 2^N": (with_value("mask", 32), "OutOfBounds(what=mask, have=32, least=0, most=31)"),
    "mask with a high bit": (
        with_value("mask", 31 + 2**255),
        f"OutOfBounds(what=mask, have={31 + 2**255}, least=0, most=31)",
    ),
    "nu of 2^64": (
        with_value("nu", SCORE_LIMIT),
        f"OutOfBounds(what=nu, have={SCORE_LIMIT}, least=0, most={SCORE_LIMIT - 1})",
    ),
    "q + p": (with_value("q", 7 + P), f"ScalarNotCanonical(have={7 + P})"),
    "t_0 + p": (with_value("t0", 5 + P), f"ScalarNotCanonical(have={5 + P})"),
    "o_2 + p": (with_value("salt_square", 9 + P), f"ScalarNotCanonical(have={9 + P})"),
    "A + p": (with_word("folds", 0, 11 + P), f"ScalarNotCanonical(have={11 + P})"),
    "X + p": (with_word("folds", 1, 22 + P), f"ScalarNotCanonical(have={22 + P})"),
    "g_0 + p": (with_word("rounds", 0, 33 + P), f"ScalarNotCanonical(have={33 + P})"),
    "x + p": (with_word("rounds", 7, 47 + P), f"ScalarNotCanonical(have={47 + P})"),
    "no fold": (with_value("folds", []), LENGTHS("folds", 0, 2)),
    "half a fold": (with_value("folds", [11]), LENGTHS("folds", 1, 2)),
    "a fold more": (with_value("folds", [11, 22, 33, 44]), LENGTHS("folds", 4, 2)),
    "no round": (with_value("rounds", []), LENGTHS("rounds", 0, 8)),
    "half a round less": (with_value("rounds", lambda old: old[:-1]), LENGTHS("rounds", 7, 8)),
    "a round more": (with_value("rounds", lambda old: [*old, 1, 2]), LENGTHS("rounds", 10, 8)),
    "no z": (with_value("z", b""), LENGTHS("z", 0, 7280)),
    "a byte of z less": (with_value("z", lambda old: old[:-1]), LENGTHS("z", 7279, 7280)),
    "a row of z more": (with_value("z", lambda old: old + old[:14]), LENGTHS("z", 7294, 7280)),
    "first row of −2^110": (with_row(0, 0), f"OutOfBounds(what=z, have=0, least=1, most={2 * HALF - 1})"),
    "last row of −2^110": (with_row(519, 0), f"OutOfBounds(what=z, have=0, least=1, most={2 * HALF - 1})"),
    "first row of 2^110": (
        with_row(0, 2 * HALF),
        f"OutOfBounds(what=z, have={2 * HALF}, least=1, most={2 * HALF - 1})",
    ),
    "last row of 2^111": (
        with_row(519, 3 * HALF),
        f"OutOfBounds(what=z, have={3 * HALF}, least=1, most={2 * HALF - 1})",
    ),
    "base proof too short": (with_value("proof", lambda old: old[:191]), LENGTHS("base", 191, 192)),
    "P_V of the base proof off the curve": (with_committed(2, bytes(63) + b"\1"), "PointNotOnCurve(x=0, y=1)"),
    "settlement proof too short": (with_value("settlement", b""), LENGTHS("settlement", 0, 64)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument(scene: Scene, case: str) -> None:
    change, reason = WRONG[case]
    proof = scene.proof()
    words = words_of(proof)
    change(words)
    with refused(reason):
        send(scene, words, publication=scene.publication(proof))
    send(scene, words_of(proof), publication=scene.publication(proof))


@pytest.mark.parametrize("value", [1, 2 * HALF - 1], ids=["−2^110 + 1", "2^110 − 1"])
def test_rows_may_be_as_large_as_can_be(scene: Scene, value: int) -> None:
    words = words_of(scene.proof())
    with_row(0, value)(words)
    with refused_like(r"WrongProofPoint\(proof=base, .*"):  # absorbed, that is
        send(scene, words)


NOT_SUBMITTED: dict[str, tuple[Change, int]] = {
    "slots 1 and 2 swapped": (swapped(0, SLOT, SLOT), 1),
    "slots 4 and 5 swapped": (swapped(3 * SLOT, 4 * SLOT, SLOT), 4),
    "chunks of slot 3 swapped": (swapped(2 * SLOT, 2 * SLOT + 2, 2), 3),
    "another point in slot 5": (with_point(4 * SLOT, *point(77)), 5),
    "slot 2's point negated": (with_word("points", SLOT + 1, lambda y: Q - y), 2),
    "another CID in slot 1": (with_word("cids", 0, bytes(32)), 1),
    "another CID in slot 5": (with_word("cids", 4, keccak(b"other")), 5),
}


@pytest.mark.parametrize("case", NOT_SUBMITTED)
def test_the_points_of_every_slot_are_those_that_it_submitted(scene: Scene, case: str) -> None:
    """Attack: settle with swapped or invented commitments; or show a receipt for one update and settle with another,
    which the trainer made later (equivocation): the seat, the receipt and the settlement are of one word."""
    change, slot = NOT_SUBMITTED[case]
    proof = scene.proof()
    words = words_of(proof)
    change(words)
    own = words["points"][(slot - 1) * SLOT : slot * SLOT]
    claimed = dataclasses.replace(proof.commitments[slot - 1], points=tuple(zip(own[::2], own[1::2], strict=True)))
    have = keccak(claimed.digest() + words["cids"][slot - 1]).hex()
    want = scene.project.seats()[slot - 1].submission.hex()
    with refused(f"WrongPoints(slot={slot}, have=0x{have}, want=0x{want})"):
        send(scene, words, publication=scene.publication(proof))


def test_an_admitted_trainer_cannot_be_dropped(scene: Scene) -> None:
    """Attack: prove the round of the other four. The set was frozen at lock, and its size chooses the verifier."""
    words = words_of(scene.proof())
    del words["points"][2 * SLOT : 3 * SLOT]
    with refused(LENGTHS("points", WORDS - SLOT, WORDS)):
        send(scene, words)
    words["points"][2 * SLOT : 2 * SLOT] = words["points"][:SLOT]  # a Sybil's in its place
    copied = dataclasses.replace(scene.commitment(scene.trainers[2]), points=scene.commitment(scene.trainers[0]).points)
    have, want = submission_word(copied.digest(), CID).hex(), scene.project.seats()[2].submission.hex()
    with refused(f"WrongPoints(slot=3, have=0x{have}, want=0x{want})"):
        send(scene, words)


OTHER = b"".join(coordinate.to_bytes(32, "big") for coordinate in point(78))

UNBOUND: dict[str, tuple[Change, str]] = {
    "another q": (with_value("q", 8), "base"),
    "another t_0": (with_value("t0", 6), "base"),
    "another row": (with_row(300, HALF), "base"),
    "another A": (with_word("folds", 0, 12), "base"),
    "another X": (with_word("folds", 1, 23), "base"),
    "another g_0": (with_word("rounds", 2, 35), "base"),
    "another x": (with_word("rounds", 7, 48), "base"),
    "another mask point": (with_point(MASK, *point(77)), "base"),
    "another P_0": (with_point(PROJECTION, *point(77)), "base"),
    "another P_4": (with_point(PROJECTION + 8, *point(77)), "base"),
    "another W": (with_committed(0, OTHER), "base"),
    "another U": (with_committed(1, OTHER), "base"),
    "another C_G": (with_point(GRAM_POINT, *point(77)), "base"),
    "another settlement point": (with_value("settlement", bytes(64)), "settlement"),
}


@pytest.mark.parametrize("case", UNBOUND)
def test_proofs_are_bound_to_what_the_contract_computes(scene: Scene, case: str) -> None:
    change, name = UNBOUND[case]
    proof = scene.proof()
    words = words_of(proof)
    change(words)
    said = r"haveX=\d+, haveY=\d+, wantX=\d+, wantY=\d+"
    with refused_like(rf"WrongProofPoint\(proof={name}, {said}\)"):
        send(scene, words, publication=scene.publication(proof))


@pytest.mark.parametrize("case", ["another V", "another o_2"])
def test_what_only_the_verifier_can_tell_changes_what_it_is_asked(scene: Scene, case: str) -> None:
    """V and o_2 are in no sum of commitments: a point y of another V, another square of the salts."""
    proof = scene.proof()
    right, words = words_of(proof), words_of(proof)
    (with_committed(2, OTHER) if case == "another V" else with_value("salt_square", 8))(words)
    asked = []
    for some in (right, words):
        with scene.chain.rolled_back():
            publication = scene.publication(proof)
            if some is words and case == "another V":
                changed = dataclasses.replace(proof.base.proof, data=words["proof"])
                other = dataclasses.replace(proof, base=dataclasses.replace(proof.base, proof=changed))
                publication = scene.publication(other)
            asked.append(questions(scene.chain, send(scene, some, publication=publication))[0][1])
    differ = [at for at, pair in enumerate(zip(*asked, strict=True)) if pair[0] != pair[1]]
    echoed = [*range(4, 4 + 2 * 10, 2), 23]  # powers of y without the ones, V at y
    assert differ == (echoed if case == "another V" else [0, 1])


# ---------------------------------------------------------------- verifiers


def test_code_that_changed_is_not_asked(scene: Scene) -> None:
    """Attack: a verifier that is exchanged under its address (metamorphic, delegated)."""
    proof = scene.proof()
    for mock, another in (scene.mocks, scene.mocks[::-1]):  # base, settlement
        code = scene.chain.web3.eth.get_code(mock.deployed)
        for other in (bytes(code) + b"\0", b"", b"\xef\x01\x00" + bytes.fromhex(another.deployed[2:])):
            scene.chain.web3.provider.make_request("anvil_setCode", [mock.deployed, "0x" + other.hex()])
            have = keccak(other).hex()
            with refused(f"VerifierChanged(verifier={mock.deployed}, have=0x{have}, want=0x{mock.codehash.hex()})"):
                scene.settle(proof)
        scene.chain.web3.provider.make_request("anvil_setCode", [mock.deployed, "0x" + bytes(code).hex()])
    scene.settle(proof)


@pytest.fixture(scope="module")
def bad_verifiers(deployed: Scene) -> Iterator[dict[str, Any]]:
    with deployed.chain.rolled_back():
        yield {name: deploy_as_verifier(deployed.chain, code) for name, code in BAD_VERIFIERS.items()}


@pytest.mark.parametrize("name", ["base", "settlement"])
@pytest.mark.parametrize("answer", BAD_VERIFIERS)
def test_only_32_bytes_that_say_1_are_success(
    deployed: Scene, bad_verifiers: dict[str, Any], answer: str, name: str
) -> None:
    scene, bad = dataclasses.replace(deployed), struct_words(bad_verifiers[answer])
    with scene.chain.rolled_back():
        scene.trainers, terms = scene.trainers[:3], scene.terms()
        scene.reach(Phase.PROVE, **({"base": bad} if name == "base" else {"plans": scene.plans(terms, settlement=bad)}))
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
        scene.project.settle(scene.stranger, proof, scene.theta(), b"mine", publication)
    scene.project.settle(scene.stranger, proof, scene.theta(), CID, publication)  # the copy as it was pays the same


@pytest.mark.parametrize("signer", ["owner", "stranger", "successor"])
def test_published_by_another(scene: Scene, signer: str) -> None:
    proof, who = scene.proof(), getattr(scene, signer)
    with wrong_signer(scene.aggregator, have=who):
        scene.project.settle(who, proof, scene.theta(), CID, scene.publication(proof, signer=who))


@pytest.mark.parametrize("word", ["round", "seed", "aggregate", "cid", "chainId", "verifyingContract"])
def test_a_publication_with_one_wrong_word(scene: Scene, word: str) -> None:
    proof = scene.proof()
    message = publication_message(scene.manifest(5), proof, CID)
    part = message["message"] if word in message["message"] else message["domain"]
    part[word] = {"round": 2, "chainId": 1, "verifyingContract": scene.market.address}.get(word, keccak(b"other"))
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, proof, scene.theta(), CID, sign(scene.chain, scene.aggregator, message))


@pytest.mark.parametrize("other", [{"q": 8}, {"mask": [1, 1, 1, 1, 0]}], ids=str)
def test_a_publication_of_another_proof(scene: Scene, other: dict[str, Any]) -> None:
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, scene.proof(), scene.theta(), CID, scene.publication(scene.proof(**other)))


@pytest.mark.parametrize(
    "spoil", [high, compact, lambda _: b"", lambda _: bytes(65)], ids=["high s", "64 bytes", "empty", "zeros"]
)
def test_a_publication_has_one_form(scene: Scene, spoil: Any) -> None:
    proof = scene.proof()
    with wrong_signer(scene.aggregator, have=NOBODY):
        scene.project.settle(scene.stranger, proof, scene.theta(), CID, spoil(scene.publication(proof)))


def test_replayed_in_the_next_round(scene: Scene) -> None:
    proof = scene.proof()
    publication = scene.publication(proof)
    scene.project.settle(scene.stranger, proof, scene.theta(), CID, publication)
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    scene.to_prove()  # the same points, by the same trainers
    with refused_like(r"WrongProofPoint\(proof=base, .*"):
        scene.project.settle(scene.stranger, proof, scene.theta(), CID, publication)
    with wrong_signer(scene.aggregator):
        scene.project.settle(scene.stranger, scene.proof(), scene.theta(), CID, publication)


def test_replayed_in_another_clone(scene: Scene) -> None:
    proof = scene.proof()
    publication = scene.publication(proof)
    clone = dataclasses.replace(scene).reach(Phase.PROVE)
    assert (clone.round_id.round, clone.project.address != scene.project.address) == (1, True)
    with refused_like(r"WrongProofPoint\(proof=base, .*"):
        clone.project.settle(clone.stranger, proof, clone.theta(), CID, publication)
    with wrong_signer(clone.aggregator):
        clone.project.settle(clone.stranger, clone.proof(), clone.theta(), CID, publication)


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
        scene.project.settle(predecessor, proof, scene.theta(), CID, scene.publication(proof, signer=predecessor))
    scene.settle(proof)


# ---------------------------------------------------------------- what it decides

ODD_REWARD = ETHER + 7
SCORE = st.integers(0, SCORE_LIMIT - 1) | st.integers(0, 3)


@pytest.fixture
def odd(scene: Scene) -> tuple[Scene, dict[str, int]]:
    """A reward and a kappa that leave remainders; and the books before."""
    scene.reach(Phase.PROVE, reward=ODD_REWARD, kappa=1337)
    return scene, scene.books()


@examples(15, suppress_health_check=list(HealthCheck))  # one fixture for all examples
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
        want = next_beta(scene.values["beta"], nu, 1337, scene.values["betaMin"], scene.values["betaMax"])
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
    assert scene.project.state().beta == want == next_beta(beta, nu, kappa, least, most)


def test_learning_rates_follow_their_schedule_and_the_last_one_stays(scene: Scene) -> None:
    scene.reach(Phase.OPEN, rates=[7, 5], rounds=4, betaMax=10**9)
    rates = []
    for _ in range(4):
        done = scene.to_prove(scene.trainers[:3]).settle()
        rates.append((done.event("Settled").arguments["settlement"]["rate"], scene.project.outcome().rate))
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
    aggregate = aggregate_points(manifest, proof.commitments, mask)
    words = point_words(aggregate)
    theta = points_hash(moved_points(first_theta(2), aggregate, 2**9 // 4, manifest.blinding))
    assert settled == {
        "trainers": [str(trainer) for trainer in scene.trainers],
        "mask": 0b11101,
        "scores": scores,
        "pay": scene.pays(scores)[0],
        "aggregate": words,
        "cid": CID,
        "beta": next_beta(beta, 1234, 2000, 1500, 10**9),
        "rate": 10**9,
        "theta": theta,
        "nu": 1234,
        "proofs": proofs_hash(proof.base.proof.data, proof.settlement.data),
        "points": point_words(all_points(proof)),
    }
    assert (logged["round"], logged["deadline"]) == (1, scene.chain.now + WINDOW)
    assert logged["seed"] == last_seed(proof)
    assert scene.project.commitments(1) == list(proof.commitments)
    assert scene.project.outcome() == Outcome(
        mask=0b11101,
        rate=10**9,
        beta=settled["beta"],
        aggregate=points_hash(aggregate),
        cid=keccak(CID),
        theta=theta,
        scores=(sum(score << 64 * i for i, score in enumerate(scores[:4])), scores[4]),
    )
    state = scene.project.state()
    assert (state.phase, state.settled, state.voids, state.round) == (Phase.SETTLED, 1, 0, 1)
    assert (state.deadline, state.claimed) == (scene.chain.now + WINDOW, False)


@pytest.mark.parametrize("mask", [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 1]], ids=str)
def test_with_too_few_accepted_the_round_is_paid_and_no_aggregate_published(scene: Scene, mask: list[int]) -> None:
    """Two accepted would learn each other's update from their sum."""
    proof, before = scene.proof(mask), scene.books()
    with refused(f"WrongCid(have={len(CID)}, most=0)"):
        scene.settle(proof)
    settled = scene.settle(proof, cid=b"").event("Settled").arguments["settlement"]
    assert (settled["aggregate"], settled["cid"]) == ([], b"")
    outcome = scene.project.outcome()
    assert (outcome.aggregate, outcome.cid) == (bytes(32), keccak(b""))
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
    before = scene.project.account(scene.owner).credit
    scene.settle(scores=[1, 1, 1])
    assert scene.project.account(scene.owner).credit - before == ETHER // 3 + ETHER % 3
