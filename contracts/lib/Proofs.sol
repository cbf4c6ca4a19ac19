// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {IHalo2Verifier} from "../interfaces/IHalo2Verifier.sol";
import {Facts, Plan, RoundProof, Seat, Terms, Verifier} from "../Types.sol";
import {Bn254} from "./Bn254.sol";
import {FoldedGram} from "./FoldedGram.sol";
import {Transcript} from "./Transcript.sol";

/// @title What a project demands of proofs. Reads its storage, writes nothing, moves nothing.
/// @notice Linked: its code runs in the project (address(this), msg.sender), and lives apart for size alone.
library Proofs {
    uint256 private constant SCORE_LIMIT = 1 << 64;
    uint256 private constant ROOT = 1; // bits of Plan.references
    uint256 private constant LAST = 2;

    /// @notice Every chunk of a submission, or of a root update: on the curve, proven in range, tagged with this caller, round, chunk.
    function checkRanges(
        Terms storage terms,
        uint256 round,
        uint256[] calldata points,
        bytes[] calldata proofs
    ) external view {
        uint256 chunks = terms.chunks;
        if (points.length != 2 * chunks) revert MarketErrors.WrongLength("points", points.length, 2 * chunks);
        if (proofs.length != chunks) revert MarketErrors.WrongLength("proofs", proofs.length, chunks);
        for (uint256 c; c < chunks; ++c) {
            (uint256 x, uint256 y) = (points[2 * c], points[2 * c + 1]);
            if (!Bn254.isOnCurve(x, y)) revert Bn254.PointNotOnCurve(x, y);
            _checkPoint("range", proofs[c], x, y);
            // the last chunk's circuit has one more output, the sum of squares of the padding, which must be 0;
            // where C divides D there is no padding and the last chunk is like the others
            bool last = c + 1 == chunks;
            bool padded = last && terms.rangeLast.deployed != terms.range.deployed;
            uint256[] memory instances = new uint256[](padded ? 2 : 1);
            instances[0] = Transcript.chunkTag(address(this), round, c, msg.sender);
            _verifyProof("range", last ? terms.rangeLast : terms.range, proofs[c], instances);
        }
    }

    /// @notice Check a round's proof: commitments are those registered → challenges → claims → both proofs.
    /// @param facts what the project knows itself: nothing of it comes from whoever settles.
    /// @return seed of the transcript at its end: it has absorbed all that the prover sent.
    /// @return aggregate words of C_agg; empty where fewer than minAccepted were accepted: it would reveal them.
    /// @return proofs keccak(keccak of the gram proof ‖ keccak of the settlement proof): whoever has them can show it.
    function checkRound(
        Terms storage terms,
        Plan storage plan,
        Seat[] storage seats,
        Facts calldata facts,
        RoundProof calldata proof
    ) external view returns (bytes32 seed, uint256[] memory aggregate, bytes32 proofs) {
        uint256 slots = _checkRegistered(terms, seats, facts, proof.points);
        seed = Transcript.start(_context(plan.manifest, facts, seats), proof.points);
        uint256[] memory r = FoldedGram.slotChallenges(seed, slots);
        _checkSettlement(plan.settlement, proof, r, seats.length, facts);
        seed = _checkGram(terms, proof, seed, r);
        uint256 accepted = popcount(proof.mask);
        if (accepted >= terms.minAccepted) {
            aggregate = FoldedGram.aggregate(proof.points, proof.mask, accepted, terms.chunks, terms.blinding);
        }
        proofs = keccak256(abi.encodePacked(keccak256(proof.gram), keccak256(proof.settlement)));
    }

    function popcount(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }

    /// @return slots N + R: the trainers' and the references', in the order of `points`.
    function _checkRegistered(
        Terms storage terms,
        Seat[] storage seats,
        Facts calldata facts,
        uint256[] calldata points
    ) private view returns (uint256 slots) {
        uint256 n = seats.length;
        slots = n + popcount(facts.references);
        uint256 width = 2 * uint256(terms.chunks);
        uint256 want = (slots + 1) * width + 2;
        if (points.length != want) revert MarketErrors.WrongLength("points", points.length, want);
        for (uint256 i; i < n; ++i) _checkSlot(points, i, width, seats[i].points);
        if (facts.references != 0) {
            if (facts.references & ROOT != 0) _checkSlot(points, n, width, _orAbsent(terms, facts.root));
            if (facts.references & LAST != 0) _checkSlot(points, slots - 1, width, _orAbsent(terms, facts.last));
        }
        // the mask and C_G: precompiles take the point at infinity, auditors do not
        for (uint256 w = slots * width; w < want; w += 2) {
            if (!Bn254.isOnCurve(points[w], points[w + 1])) revert Bn254.PointNotOnCurve(points[w], points[w + 1]);
        }
    }

    function _checkSlot(uint256[] calldata points, uint256 i, uint256 width, bytes32 want) private pure {
        bytes32 have = keccak256(abi.encodePacked(points[i * width:(i + 1) * width]));
        if (have != want) revert MarketErrors.WrongPoints(i + 1, have, want);
    }

    /// @dev A reference that there is not is the zero vector with zero salts: its commitment is B in every chunk.
    function _orAbsent(Terms storage terms, bytes32 registered) private view returns (bytes32) {
        if (registered != 0) return registered;
        uint256[] memory words = new uint256[](2 * uint256(terms.chunks));
        for (uint256 w; w < words.length; w += 2) (words[w], words[w + 1]) = (terms.blinding.x, terms.blinding.y);
        return keccak256(abi.encodePacked(words));
    }

    /// @dev keccak(5 + N ‖ manifest ‖ chain ‖ project ‖ round ‖ β ‖ trainers in the order of slots).
    function _context(bytes32 manifest, Facts calldata facts, Seat[] storage seats)
        private
        view
        returns (bytes32)
    {
        uint256 n = seats.length;
        uint256[] memory words = new uint256[](5 + n);
        (words[0], words[1], words[2]) = (uint256(manifest), block.chainid, uint160(address(this)));
        (words[3], words[4]) = (facts.round, facts.beta);
        for (uint256 i; i < n; ++i) words[5 + i] = uint160(seats[i].trainer);
        return Transcript.digest(words);
    }

    /// @dev Instances: q, r_0..r_{N+R}, β, mask_1..N, score_1..N, ν. Challenges and β are the project's own.
    function _checkSettlement(
        Verifier storage verifier,
        RoundProof calldata proof,
        uint256[] memory r,
        uint256 n,
        Facts calldata facts
    ) private view {
        if (proof.scores.length != n) revert MarketErrors.WrongLength("scores", proof.scores.length, n);
        if (proof.mask >= 1 << n) revert MarketErrors.OutOfBounds("mask", proof.mask, 0, (1 << n) - 1);
        if (proof.nu >= SCORE_LIMIT) revert MarketErrors.OutOfBounds("nu", proof.nu, 0, SCORE_LIMIT - 1);
        uint256 at = r.length + 1; // of β
        uint256[] memory instances = new uint256[](at + 2 * n + 2);
        instances[0] = Transcript.canonical(proof.q);
        for (uint256 i; i < r.length; ++i) instances[1 + i] = r[i];
        instances[at++] = facts.beta;
        uint256 limit = SCORE_LIMIT << facts.shift;
        for (uint256 i; i < n; ++i) {
            uint256 score = proof.scores[i];
            if (score >= limit) revert MarketErrors.OutOfBounds("score", score, 0, limit - 1);
            instances[at + i] = (proof.mask >> i) & 1;
            instances[at + n + i] = score;
        }
        instances[at + 2 * n] = proof.nu;
        uint256 end = proof.points.length; // C_G stands last: absorbed before the challenges
        _checkPoint("settlement", proof.settlement, proof.points[end - 2], proof.points[end - 1]);
        _verifyProof("settlement", verifier, proof.settlement, instances);
    }

    function _checkGram(Terms storage terms, RoundProof calldata proof, bytes32 seed, uint256[] memory r)
        private
        view
        returns (bytes32 end)
    {
        uint256[] memory products;
        uint256[] memory instances = new uint256[](1); // y, which must be the folded claim
        (instances[0], products, end) = FoldedGram.fold(seed, proof.q, proof.folds, terms.chunks);
        Bn254.Point memory column = FoldedGram.commitment(proof.points, r, products, terms.blinding);
        _checkPoint("gram", proof.gram, column.x, column.y);
        _verifyProof("gram", terms.gram, proof.gram, instances);
    }

    /// @dev The first point of a proof is the commitment of its first input.
    function _checkPoint(bytes32 what, bytes calldata proof, uint256 x, uint256 y) private pure {
        if (proof.length < 64) revert MarketErrors.WrongLength(what, proof.length, 64);
        (uint256 haveX, uint256 haveY) = (uint256(bytes32(proof[:32])), uint256(bytes32(proof[32:64])));
        if (haveX != x || haveY != y) revert MarketErrors.WrongProofPoint(what, haveX, haveY, x, y);
    }

    /// @dev The code is compared before every use, and success is 32 bytes that say 1. Generated verifiers read
    /// parts of the proof at fixed offsets: the call is encoded here, canonically, never passed on.
    function _verifyProof(bytes32 what, Verifier storage verifier, bytes calldata proof, uint256[] memory instances)
        private
        view
    {
        address deployed = verifier.deployed;
        if (deployed.codehash != verifier.codehash) {
            revert MarketErrors.VerifierChanged(deployed, deployed.codehash, verifier.codehash);
        }
        bytes memory call_ = abi.encodeCall(IHalo2Verifier.verifyProof, (proof, instances));
        bool good;
        assembly ("memory-safe") {
            good := staticcall(gas(), deployed, add(call_, 0x20), mload(call_), 0, 0x20)
            good := and(good, and(eq(returndatasize(), 0x20), eq(mload(0), 1)))
        }
        if (!good) revert MarketErrors.ProofRejected(what);
    }
}
