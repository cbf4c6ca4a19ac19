// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {IHalo2Verifier} from "../interfaces/IHalo2Verifier.sol";
import {BaseProof, Decision, Facts, Plan, Seat, Terms, Verifier} from "../Types.sol";
import {Bn254} from "./Bn254.sol";
import {FoldedGram} from "./FoldedGram.sol";
import {Transcript} from "./Transcript.sol";

/// @title What a project demands of proofs. Reads its storage, writes nothing, moves nothing.
/// @notice Linked: its code runs in the project (address(this), msg.sender), and lives apart for size alone.
library Proofs {
    uint256 private constant SCORE_LIMIT = 1 << 64;
    uint256 private constant ROOT = 1; // bits of Plan.references
    uint256 private constant LAST = 2;

    function checkBase(Terms storage terms, Seat[64] storage seats, Facts calldata facts, BaseProof calldata base)
        external
        view
        returns (bytes32 seed, bytes32 seed0, bytes32 entry)
    {
        seed0 = _checkPoints(terms, seats, facts, base.points, base.cids);
        seed = keccak256(abi.encode(seed0, base.q, base.t0, keccak256(base.z)));
        for (uint256 i; i < base.folds.length; i += 2) seed = Transcript.absorb(seed, base.folds[i], base.folds[i + 1]);
        for (uint256 i; i < base.rounds.length; i += 2) {
            seed = Transcript.absorb(seed, base.rounds[i], base.rounds[i + 1]);
        }
        seed = keccak256(abi.encodePacked(seed, base.proof[:192]));
        uint256[] memory instances = new uint256[](1);
        _verifyProof("base", terms.base, base.proof, instances);
        entry = _entry(facts.round, seed, seed0, base.q, base.points);
    }

    function checkProven(
        Terms storage terms,
        Seat[64] storage seats,
        Facts calldata facts,
        bytes32 entry,
        bytes32 seed,
        uint256[] calldata points,
        bytes32[] calldata cids,
        uint256 q
    ) external view returns (bytes32 seed0) {
        seed0 = _checkPoints(terms, seats, facts, points, cids);
        if (entry != _entry(facts.round, seed, seed0, q, points)) revert MarketErrors.NotProven(seed);
    }

    function checkDecision(
        Terms storage terms,
        Plan storage plan,
        Facts calldata facts,
        bytes32 seed0,
        uint256[] calldata points,
        uint256 q,
        Decision calldata decision
    ) external view returns (uint256[] memory aggregate) {
        uint256 slots = facts.trainers + popcount(facts.references);
        uint256[] memory r = FoldedGram.slotChallenges(seed0, slots);
        _checkSettlement(plan.settlement, points, q, decision, r, facts);
        uint256 accepted = popcount(decision.mask);
        if (accepted >= terms.minAccepted) {
            aggregate = FoldedGram.aggregate(points, decision.mask, accepted, terms.chunks, terms.blinding);
        }
    }

    function _entry(uint256 round, bytes32 seed, bytes32 seed0, uint256 q, uint256[] calldata points)
        private
        pure
        returns (bytes32)
    {
        uint256 end = points.length;
        return keccak256(
            abi.encode(round, seed, seed0, q, points[end - 2], points[end - 1], keccak256(abi.encodePacked(points)))
        );
    }

    function popcount(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }

    function _checkPoints(
        Terms storage terms,
        Seat[64] storage seats,
        Facts calldata facts,
        uint256[] calldata points,
        bytes32[] calldata cids
    ) private view returns (bytes32 seed0) {
        uint256 n = facts.trainers;
        uint256 width = 2 * uint256(terms.chunks);
        uint256 want = n + (facts.root != 0 ? 1 : 0);
        if (cids.length != want) revert MarketErrors.WrongLength("cids", cids.length, want);
        for (uint256 i; i < n; ++i) {
            _checkSlot(points, i, width, _digest("update", facts.round, seats[i].trainer), cids[i], seats[i].submission);
        }
        for (uint256 w; w < points.length; w += 2) {
            if (!Bn254.isOnCurve(points[w], points[w + 1])) revert Bn254.PointNotOnCurve(points[w], points[w + 1]);
        }
        uint256 slots = n;
        if (facts.references & ROOT != 0) {
            if (facts.root == 0) _checkWords(points, slots++, width, _absent(terms));
            else _checkSlot(points, slots++, width, _digest("root", facts.round, terms.owner), cids[n], facts.root);
        }
        if (facts.references & LAST != 0) {
            _checkWords(points, slots, width, facts.last == 0 ? _absent(terms) : facts.last);
        }
        seed0 = Transcript.start(_context(facts, seats), points);
    }

    function _digest(bytes32 label, uint256 round, address who) private view returns (bytes memory) {
        return abi.encode(label, block.chainid, address(this), round, who);
    }

    function _checkSlot(
        uint256[] calldata points,
        uint256 i,
        uint256 width,
        bytes memory head,
        bytes32 cid,
        bytes32 want
    ) private pure {
        bytes32 digest = keccak256(abi.encodePacked(head, points[i * width:(i + 1) * width]));
        bytes32 have = keccak256(abi.encode(digest, cid));
        if (have != want) revert MarketErrors.WrongPoints(i + 1, have, want);
    }

    function _checkWords(uint256[] calldata points, uint256 i, uint256 width, bytes32 want) private pure {
        bytes32 have = keccak256(abi.encodePacked(points[i * width:(i + 1) * width]));
        if (have != want) revert MarketErrors.WrongPoints(i + 1, have, want);
    }

    /// @dev A reference that there is not is the zero vector with zero salts: its commitment is B in every chunk.
    function _absent(Terms storage terms) private view returns (bytes32) {
        uint256[] memory words = new uint256[](2 * uint256(terms.chunks));
        for (uint256 w; w < words.length; w += 2) (words[w], words[w + 1]) = (terms.blinding.x, terms.blinding.y);
        return keccak256(abi.encodePacked(words));
    }

    /// @dev keccak(5 + N ‖ manifest ‖ chain ‖ project ‖ round ‖ β ‖ trainers in the order of slots).
    function _context(Facts calldata facts, Seat[64] storage seats)
        private
        view
        returns (bytes32)
    {
        uint256 n = facts.trainers;
        uint256[] memory words = new uint256[](5 + n);
        (words[0], words[1], words[2]) = (uint256(facts.manifest), block.chainid, uint160(address(this)));
        (words[3], words[4]) = (facts.round, facts.beta);
        for (uint256 i; i < n; ++i) words[5 + i] = uint160(seats[i].trainer);
        return Transcript.digest(words);
    }

    /// @dev Instances: q, r_0..r_{N+R}, β, mask_1..N, score_1..N, ν. Challenges and β are the project's own.
    function _checkSettlement(
        Verifier storage verifier,
        uint256[] calldata points,
        uint256 q,
        Decision calldata proof,
        uint256[] memory r,
        Facts calldata facts
    ) private view {
        uint256 n = facts.trainers;
        if (proof.scores.length != n) revert MarketErrors.WrongLength("scores", proof.scores.length, n);
        if (proof.mask >= 1 << n) revert MarketErrors.OutOfBounds("mask", proof.mask, 0, (1 << n) - 1);
        if (proof.nu >= SCORE_LIMIT) revert MarketErrors.OutOfBounds("nu", proof.nu, 0, SCORE_LIMIT - 1);
        uint256 at = r.length + 1; // of β
        uint256[] memory instances = new uint256[](at + 2 * n + 2);
        instances[0] = Transcript.canonical(q);
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
        uint256 end = points.length; // C_G stands last: absorbed before the challenges
        _checkPoint("settlement", proof.proof, points[end - 2], points[end - 1]);
        _verifyProof("settlement", verifier, proof.proof, instances);
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
