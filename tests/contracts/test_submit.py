"""submit: the commitments of an update, with a range proof for every chunk; no ciphertext yet.

when the phase is not SUBMIT
    it should refuse: WrongPhase, want SUBMIT
when the deadline has passed
    it should refuse: TooLate, or WrongPhase once enough have submitted
when it is the last second
    it should pass
when the caller is not a member, or was removed
    it should refuse: NotAMember
when its stake is not full
    it should refuse: StakeNotFull, until it is topped up
when it has submitted in this round
    it should refuse: AlreadySubmitted; in the next it should pass
when all seats are taken
    it should refuse: NoSeatLeft
when the CID is empty or longer than 96 bytes
    it should refuse: WrongCid
when the number of coordinates, or of proofs, does not fit the chunks
    it should refuse: WrongLength
when a point is not on the curve, is infinity, or has a coordinate that is not canonical
    it should refuse: PointNotOnCurve
when a proof is shorter than a point, or its first point is not the chunk's
    it should refuse: WrongLength, WrongProofPoint
when a verifier's code is not what was pinned
    it should refuse: VerifierChanged
when a verifier does not answer with one word that is 1
    it should refuse: ProofRejected
when all is right
    it should ask the verifier of each chunk for the tag of caller, round and chunk, and of a padded last chunk
    for an empty padding; take a seat, keep the hashes of points and CID, log Submitted, and move no money
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.doubles import BAD_VERIFIERS, HEADER, deploy, deploy_as_verifier
from tests.contracts.world import CID, ETHER, PENALTY, Scene, phases_but, refused
from zkmarket.escrow import Phase, Verifier, points_hash, submit_words
from zkmarket.field import Q, encode_point
from zkmarket.market import Chain, Receipt, compile_verifier

pytestmark = pytest.mark.chain

STAKE, CHUNKS = ETHER, 2

Words = tuple[list[int], list[bytes]]


@pytest.fixture(scope="module")
def deployed(node: Chain) -> Scene:
    """Five members, a round that has just started."""
    return Scene.deploy(node).reach(Phase.SUBMIT)


def words(scene: Scene, trainer: Any) -> Words:
    """An honest submission: points, proofs."""
    return submit_words(scene.commitment(trainer))


def send(scene: Scene, trainer: Any, points: list[int], proofs: list[bytes], cid: bytes = CID) -> Receipt:
    return scene.project._send("submit", "submit", points, cid, proofs, sender=trainer)


# ---------------------------------------------------------------- when


@pytest.mark.parametrize("phase", phases_but(Phase.SUBMIT))
def test_other_phases_refuse(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    with refused(f"WrongPhase(have={phase.name}, want=SUBMIT)"):
        scene.submit(scene.trainers[0])


@pytest.mark.parametrize("before", [0, 2, 4])
def test_the_last_second_counts(scene: Scene, before: int) -> None:
    scene.submit_all(scene.trainers[:before])
    scene.at(scene.deadline)
    scene.submit(scene.trainers[before])
    assert len(scene.project.seats(1)) == before + 1


@pytest.mark.parametrize("before", [0, 2, 3])
def test_attack_submission_after_the_deadline(scene: Scene, before: int) -> None:
    """One second late: with too few seats taken the round can only become void, with enough it is closed."""
    scene.submit_all(scene.trainers[:before])
    end = scene.deadline
    scene.at(end + 1)
    late = f"TooLate(have={end + 1}, want={end})" if before < 3 else "WrongPhase(have=ADMIT, want=SUBMIT)"
    with refused(late):
        scene.submit(scene.trainers[before])
    assert len(scene.project.seats(1)) == before


# ---------------------------------------------------------------- who


def test_a_stranger_does_not_submit(scene: Scene) -> None:
    with refused(f"NotAMember(have={scene.stranger})"):
        scene.submit(scene.stranger)


def test_after_a_skipped_void_round_the_stake_must_be_filled_up(scene: Scene) -> None:
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.pass_exit()
    scene.start()
    trainer = scene.trainers[0]
    with refused(f"StakeNotFull(have={STAKE - PENALTY}, want={STAKE})"):
        scene.submit(trainer)
    scene.project.join(trainer)
    scene.submit(trainer)
    assert scene.project.account(trainer)["lastRound"] == 2


def test_who_skipped_two_void_rounds_is_no_member(scene: Scene) -> None:
    scene.open(voidLimit=9).void().void()
    scene.pass_exit()
    scene.start()
    with refused(f"NotAMember(have={scene.trainers[0]})"):
        scene.submit(scene.trainers[0])


def test_nobody_submits_twice_in_a_round(scene: Scene) -> None:
    trainer = scene.trainers[0]
    scene.submit(trainer)
    with refused(f"AlreadySubmitted(trainer={trainer}, round=1)"):
        scene.submit(trainer)


def test_a_new_round_takes_a_new_submission(scene: Scene) -> None:
    scene.submit(scene.trainers[0])
    scene.pass_deadline()
    scene.project.void_round(scene.stranger)
    scene.pass_exit()
    scene.start()
    done = scene.submit(scene.trainers[0])
    assert done.event("Submitted").arguments["round"] == 2


def test_all_seats_are_taken(scene: Scene) -> None:
    scene.open(maxTrainers=3)
    scene.start()
    scene.submit_all(scene.trainers[:3])
    with refused("NoSeatLeft(have=3, most=3)"):
        scene.submit(scene.trainers[3])


# ---------------------------------------------------------------- what


@pytest.mark.parametrize("length", [0, 97, 10_000])
def test_a_cid_is_neither_empty_nor_long(scene: Scene, length: int) -> None:
    with refused(f"WrongCid(have={length}, most=96)"):
        send(scene, scene.trainers[0], *words(scene, scene.trainers[0]), cid=bytes(length))


@pytest.mark.parametrize("length", [1, 96])
def test_a_cid_has_from_1_to_96_bytes(scene: Scene, length: int) -> None:
    cid = b"c" * length
    send(scene, scene.trainers[0], *words(scene, scene.trainers[0]), cid=cid)
    assert scene.project.seats(1)[0]["cid"] == keccak(cid)


@pytest.mark.parametrize("count", [0, 2 * CHUNKS - 2, 2 * CHUNKS - 1, 2 * CHUNKS + 1, 2 * CHUNKS + 2])
def test_every_chunk_has_one_point(scene: Scene, count: int) -> None:
    points, proofs = words(scene, scene.trainers[0])
    with refused(f"WrongLength(what=points, have={count}, want={2 * CHUNKS})"):
        send(scene, scene.trainers[0], (points * 2)[:count], proofs)


@pytest.mark.parametrize("count", [0, CHUNKS - 1, CHUNKS + 1])
def test_every_chunk_has_one_proof(scene: Scene, count: int) -> None:
    points, proofs = words(scene, scene.trainers[0])
    with refused(f"WrongLength(what=proofs, have={count}, want={CHUNKS})"):
        send(scene, scene.trainers[0], points, (proofs * 2)[:count])


OFF_THE_CURVE: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "beside the curve": lambda x, y: (x, y + 1),
    "coordinates exchanged": lambda x, y: (y, x),
    "infinity": lambda x, y: (0, 0),
    "x beyond the field": lambda x, y: (x + Q, y),
    "y beyond the field": lambda x, y: (x, y + Q),
    "q for 0": lambda x, y: (Q, Q),
    "all ones": lambda x, y: (2**256 - 1, 2**256 - 1),
}


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("change", OFF_THE_CURVE.values(), ids=OFF_THE_CURVE.keys())
def test_attack_off_curve_points_do_not_block_the_round(scene: Scene, change: Any, chunk: int) -> None:
    """Refused here, where it costs nobody else anything, though its own proof would carry it."""
    points, proofs = words(scene, scene.trainers[0])
    x, y = change(*points[2 * chunk : 2 * chunk + 2])
    points[2 * chunk : 2 * chunk + 2] = [x, y]
    proofs[chunk] = x.to_bytes(32, "big") + y.to_bytes(32, "big")
    with refused(f"PointNotOnCurve(x={x}, y={y})"):
        send(scene, scene.trainers[0], points, proofs)


@pytest.mark.parametrize("length", [0, 32, 63])
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_proof_is_not_shorter_than_a_point(scene: Scene, length: int, chunk: int) -> None:
    points, proofs = words(scene, scene.trainers[0])
    proofs[chunk] = proofs[chunk][:length]
    with refused(f"WrongLength(what=range, have={length}, want=64)"):
        send(scene, scene.trainers[0], points, proofs)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_proof_of_anothers_point_is_worthless(scene: Scene, chunk: int) -> None:
    trainer, other = scene.trainers[:2]
    points, proofs = words(scene, trainer)
    theirs, stolen = words(scene, other)
    proofs[chunk] = stolen[chunk]
    (x, y), (want_x, want_y) = theirs[2 * chunk :][:2], points[2 * chunk :][:2]
    reason = f"WrongProofPoint(proof=range, haveX={x}, haveY={y}, wantX={want_x}, wantY={want_y})"
    with refused(reason):
        send(scene, trainer, points, proofs)


@pytest.mark.parametrize("word", [0, 1], ids=["x", "y"])
def test_both_coordinates_of_a_proofs_point_are_compared(scene: Scene, word: int) -> None:
    points, proofs = words(scene, scene.trainers[0])
    have = points[:2]
    have[word] += 1
    proofs[0] = encode_point((have[0], have[1])) + proofs[0][64:]
    said = f"haveX={have[0]}, haveY={have[1]}, wantX={points[0]}, wantY={points[1]}"
    with refused(f"WrongProofPoint(proof=range, {said})"):
        send(scene, scene.trainers[0], points, proofs)


def test_chunks_do_not_change_places(scene: Scene) -> None:
    points, proofs = words(scene, scene.trainers[0])
    said = f"haveX={points[2]}, haveY={points[3]}, wantX={points[0]}, wantY={points[1]}"
    with refused(f"WrongProofPoint(proof=range, {said})"):
        send(scene, scene.trainers[0], points, proofs[::-1])


# ---------------------------------------------------------------- verifiers


@pytest.mark.parametrize("name", ["range", "rangeLast"])
@pytest.mark.parametrize("answer", BAD_VERIFIERS)
def test_only_one_word_that_is_1_is_a_yes(scene: Scene, name: str, answer: str) -> None:
    bad = deploy_as_verifier(scene.chain, BAD_VERIFIERS[answer])
    scene.create(**{name: bad.words})
    scene.project.accept(scene.aggregator)
    scene.project.join(scene.trainers[0])
    scene.start()
    with refused("ProofRejected(proof=range)"):
        scene.submit(scene.trainers[0])


@pytest.mark.parametrize("name", ["range", "rangeLast"])
@pytest.mark.parametrize("code", ["", "0x00", "0x600160005260206000f3", "0xef0100" + "11" * 20])
def test_attack_metamorphic_verifier(scene: Scene, name: str, code: str) -> None:
    """Destroyed, deployed again with code that says yes, delegated: what is there is not what was pinned."""
    address, pinned = scene.values[name]
    scene.chain.web3.provider.make_request("anvil_setCode", [address, code or "0x"])
    have = keccak(bytes.fromhex(code[2:])).hex()
    with refused(f"VerifierChanged(verifier={address}, have=0x{have}, want=0x{pinned.hex()})"):
        scene.submit(scene.trainers[0])


def test_a_verifier_that_is_as_it_was_serves_again(scene: Scene) -> None:
    address, _ = scene.values["range"]
    good = scene.chain.web3.eth.get_code(address).to_0x_hex()
    scene.chain.web3.provider.make_request("anvil_setCode", [address, "0x00"])
    scene.chain.web3.provider.make_request("anvil_setCode", [address, good])
    scene.submit(scene.trainers[0])
    assert len(scene.project.seats(1)) == 1


def asked_for(instances: int, *chunks: int) -> str:
    """A verifier that demands the tag of the caller in round 1 for one of these chunks, and zeros after it."""
    tags = " || ".join(f"instances[0] == tag({chunk})" for chunk in chunks)
    return f"""{HEADER}contract Picky {{
    function tag(uint256 chunk) private view returns (uint256) {{
        bytes32 digest = keccak256(abi.encode(block.chainid, msg.sender, uint256(1), chunk, tx.origin));
        return uint256(digest) & (2 ** 248 - 1);
    }}

    function verifyProof(bytes calldata proof, uint256[] calldata instances) external view returns (bool) {{
        return proof.length == 96 && instances.length == {instances} && ({tags})
            && instances[instances.length - 1] == ({instances} == 1 ? instances[0] : 0);
    }}
}}
"""


def pinned_to(scene: Scene, source: str) -> Verifier:
    return Verifier(deploy(scene.chain, source).address, keccak(compile_verifier(source).runtime))


FULL, PADDED, ANY = asked_for(1, 0), asked_for(2, 1), asked_for(1, 0, 1)


@pytest.mark.parametrize(
    ("params", "full", "last"),
    [(1500, FULL, PADDED), (2016, ANY, ANY)],
    ids=["the last chunk is padded", "all chunks are full"],
)
def test_each_chunk_asks_its_verifier_for_its_tag(scene: Scene, params: int, full: str, last: str) -> None:
    pinned = pinned_to(scene, full)
    other = pinned if last == full else pinned_to(scene, last)
    scene.open(params=params, betaMin=params, range=pinned.words, rangeLast=other.words)
    scene.start()
    scene.submit(scene.trainers[0])
    assert len(scene.project.seats(1)) == 1


@pytest.mark.parametrize("wrong", [asked_for(1, 1), asked_for(2, 0)], ids=["no padding", "another chunk"])
def test_a_padded_chunk_is_asked_for_its_padding(scene: Scene, wrong: str) -> None:
    """The twin of the test above: a verifier that wants something else for the last chunk says no."""
    scene.open(rangeLast=pinned_to(scene, wrong).words)
    scene.start()
    with refused("ProofRejected(proof=range)"):
        scene.submit(scene.trainers[0])


def test_a_single_padded_chunk_needs_no_other_verifier(scene: Scene) -> None:
    nobody = ("0x" + "00" * 20, bytes(32))
    scene.open(
        params=40, chunks=1, betaMin=40, valueBits=19, range=nobody, rangeLast=pinned_to(scene, asked_for(2, 0)).words
    )
    scene.start()
    scene.submit(scene.trainers[0])
    assert len(scene.project.seats(1)) == 1


# ---------------------------------------------------------------- a submission


def test_a_submission_takes_a_seat_and_no_money(scene: Scene) -> None:
    before = scene.books()
    for number, trainer in enumerate(scene.trainers):
        commitment = scene.commitment(trainer)
        cid = CID + bytes([number])
        done = scene.project.submit(trainer, commitment, cid)
        points, _ = submit_words(commitment)
        said = {"round": 1, "trainer": str(trainer), "seat": number, "points": points, "cid": cid}
        assert [(event.name, event.arguments) for event in done.events] == [("Submitted", said)]
        kept = {
            "trainer": str(trainer),
            "admitted": False,
            "points": points_hash(commitment.points),
            "cid": keccak(cid),
        }
        assert scene.project.seats(1)[number:] == [kept]
        assert scene.project.account(trainer)["lastRound"] == 1
    assert scene.moved(before) == {}
    assert scene.phase == Phase.SUBMIT


def test_a_copied_commitment_is_refused_by_its_tag_alone(scene: Scene) -> None:
    """Points may repeat, and a copied proof carries the right point: only the tag in its instances is another's."""
    pinned = pinned_to(scene, asked_for_trainer(scene.trainers[0]))
    scene.open(range=pinned.words)
    scene.start()
    copied = words(scene, scene.trainers[0])
    scene.submit(scene.trainers[0])
    with refused("ProofRejected(proof=range)"):
        send(scene, scene.trainers[1], *copied)


def asked_for_trainer(trainer: Any) -> str:
    return asked_for(1, 0).replace("tx.origin", f"address({str(trainer)})")


# ---------------------------------------------------------------- attacks


def test_attack_griefing_by_a_full_list(scene: Scene) -> None:
    """Anybody may join, so many do; whoever submits takes a seat, and who finds none loses nothing."""
    scene.open(maxTrainers=3)
    crowd = list(scene.chain.accounts)[10:20]
    for idler in crowd:
        scene.project.join(idler)
    scene.start()
    scene.submit_all(scene.trainers[:3])
    unlucky = [*scene.trainers[3:], *crowd]
    for late in unlucky:
        with refused("NoSeatLeft(have=3, most=3)"):
            scene.submit(late)
    scene.pass_deadline()
    scene.admit_all(scene.trainers[:3])
    scene.project.lock(scene.stranger)
    for member in unlucky:
        scene.project.leave(member)
        assert scene.project.account(member)["refundWei"] == STAKE


def test_attack_seats_hoarded(scene: Scene) -> None:
    """A seat is taken by submitting: members who joined first and do nothing keep nobody out, and pay if it is void."""
    scene.create(maxTrainers=3, voidLimit=9)
    scene.project.accept(scene.aggregator)
    hoarders = list(scene.chain.accounts)[10:16]
    for member in [*hoarders, *scene.trainers]:
        scene.project.join(member)
    scene.void(scene.trainers[:2]).void(scene.trainers[:2])
    for hoarder in hoarders:
        scene.refresh(hoarder)
        own = scene.project.account(hoarder)
        assert (own["stakeWei"], own["refundWei"]) == (0, STAKE - 2 * PENALTY)
    scene.project.join(scene.trainers[2])  # it skipped both, and starts afresh
    scene.to_prove(scene.trainers[:3])
    assert len(scene.project.seats(3)) == 3


def test_attack_the_announced_end_does_not_touch_the_open_round(scene: Scene) -> None:
    """The end front-runs submit: the round is submitted to, settled and paid, and only then the project ends."""
    scene.project.announce_end(scene.owner)
    assert (scene.phase, scene.project.state().ending) == (Phase.SUBMIT, True)
    scene.submit_all()
    scene.pass_deadline()
    scene.admit_all()
    scene.project.lock(scene.stranger)
    before = scene.books()
    scene.settle(scores=[1, 1, 1, 1, 1])
    pays = {f"credit of trainer {number}": ETHER // 5 for number in range(1, 6)}
    assert scene.moved(before) == pays
    assert scene.phase == Phase.SETTLED
    scene.pass_deadline()
    scene.project.next(scene.stranger)
    assert scene.phase == Phase.ENDED
