// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {IHalo2Verifier} from "../interfaces/IHalo2Verifier.sol";
import {BaseProof, Decision, Facts, Plan, Seat, Terms, Verifier} from "../Types.sol";
import {Bn254} from "./Bn254.sol";
import {Combination} from "./Combination.sol";
import {FoldedGram} from "./FoldedGram.sol";
import {Model} from "./Model.sol";
import {Projection} from "./Projection.sol";
import {SubsetSums} from "./SubsetSums.sol";
import {Transcript} from "./Transcript.sol";

/// @title What a project demands of proofs. Reads its storage, writes nothing, moves nothing.
/// @notice Mirrors zkmarket/round/base.py (verify) and zkmarket/round/proof.py. Linked: its code runs in the project
/// (address(this), msg.sender), and lives apart for size alone.
library Proofs {
    using Bn254 for uint256[5];

    uint256 private constant SCORE_LIMIT = 1 << 64;
    uint256 private constant ROOT = 1; // bits of Plan.references
    uint256 private constant LAST = 2;
    uint256 private constant COMMITTED = 192; // bytes of P_W, P_U, P_V, with which a base proof begins

    /// @notice Check everything but the decision: points are those that were submitted → challenges → rows, folds,
    /// sumcheck → the columns' commitments → the base proof.
    /// @param facts what the project knows itself: nothing of it comes from whoever sends the proof.
    /// @return seed of the transcript at its end: it has absorbed all that the prover sent.
    /// @return seed0 of its start: it has absorbed the points.
    /// @return entry what a project keeps under `seed` to settle in another transaction.
    function checkBase(Terms storage terms, Seat[64] storage seats, Facts calldata facts, BaseProof calldata proof)
        external
        view
        returns (bytes32 seed, bytes32 seed0, bytes32 entry)
    {
        Projection.Shape memory shape = _shape(terms, facts);
        SubsetSums.reserve(shape.blocks, shape.height, shape.width);
        seed0 = _checkPoints(terms, seats, facts, shape, proof.points, proof.cids);
        seed = Transcript.absorb(seed0, proof.q, proof.t0, proof.z);
        Combination.Coefficients memory opened;
        uint256 eta = Transcript.point(seed, "eta", 0);
        uint256 claim = Projection.firstClaim(proof.z, proof.t0, eta);
        uint256 folded;
        (folded, opened.products, seed) = FoldedGram.fold(seed, proof.q, proof.folds, shape.chunks);
        uint256[] memory sigmas;
        (sigmas, claim, seed) = Projection.checkRounds(seed, proof.rounds, claim, shape.rounds);
        opened.blocks = shape.blocks;
        (opened.data, opened.masks) = Projection.equalities(sigmas, shape.blocks);
        opened.r = FoldedGram.slotChallenges(seed0, _slots(facts));
        if (proof.proof.length < COMMITTED) revert MarketErrors.WrongLength("base", proof.proof.length, COMMITTED);
        seed = Transcript.absorb(seed, proof.proof[:COMMITTED]);
        _checkColumns(opened, proof, Transcript.point(seed, "tau", 0), terms.blinding);
        uint256 y = Transcript.point(seed, "y", 0);
        uint256 value = Projection.evaluate(shape, seed0, eta, y, opened.data, opened.masks);
        verifyProof("base", terms.base, proof.proof, _outputs(folded, proof.saltSquare, claim, y, terms.logrows, value));
        entry = _entry(facts.round, seed, seed0, proof.q, proof.points);
    }

    /// @notice Check that these points and q are those of a base proof that was checked before.
    /// @param entry what the project keeps under `seed`.
    /// @return seed0 computed from the frozen seats and the points.
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
        seed0 = _checkPoints(terms, seats, facts, _shape(terms, facts), points, cids);
        if (entry != _entry(facts.round, seed, seed0, q, points)) revert MarketErrors.NotProven(seed);
    }

    /// @notice Check what a round decides, whose points and q are checked.
    /// @return aggregate words of C_agg; empty where fewer than minAccepted were accepted: it would reveal them.
    /// @return theta keccak of the words of the model's commitment after the round; without an aggregate as before.
    function checkDecision(
        Terms storage terms,
        Plan storage plan,
        Facts calldata facts,
        bytes32 seed0,
        uint256[] calldata points,
        uint256 q,
        Decision calldata decision
    ) external view returns (uint256[] memory aggregate, bytes32 theta) {
        _checkSettlement(plan.settlement, facts, seed0, points, q, decision);
        theta = Transcript.hash("", decision.theta);
        if (theta != facts.theta) revert MarketErrors.WrongModel(theta, facts.theta);
        uint256 accepted = popcount(decision.mask);
        if (accepted >= terms.minAccepted) {
            Bn254.Point memory blinding = terms.blinding;
            aggregate = FoldedGram.aggregate(points, decision.mask, accepted, terms.chunks, blinding);
            theta = Model.moved(
                decision.theta, aggregate, Model.weight(facts.rate, accepted, terms.thetaBits), blinding
            );
        }
    }

    function popcount(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }

    // ------------------------------------------------------------ points

    /// @dev N + R: the trainers' and the references'.
    function _slots(Facts calldata facts) private pure returns (uint256) {
        return facts.trainers + popcount(facts.references);
    }

    function _shape(Terms storage terms, Facts calldata facts) private view returns (Projection.Shape memory) {
        uint256 slots = facts.trainers + (facts.references & ROOT);
        return Projection.shapeOf(slots, terms.chunks, terms.params, terms.logrows, terms.rows);
    }

    /// @dev Every point on the curve; slots' points those that were submitted. Returns seed_0.
    function _checkPoints(
        Terms storage terms,
        Seat[64] storage seats,
        Facts calldata facts,
        Projection.Shape memory shape,
        uint256[] calldata points,
        bytes32[] calldata cids
    ) private view returns (bytes32) {
        (uint256 n, uint256 width) = (facts.trainers, 2 * shape.chunks);
        // slot 0 has a mask for each fold and one more, and so has the projection for each round; C_G stands last
        uint256 want = _slots(facts) * width + 2 * (FoldedGram.steps(shape.chunks) + shape.rounds + 3);
        if (points.length != want) revert MarketErrors.WrongLength("points", points.length, want);
        want = facts.root == 0 ? n : n + 1;
        if (cids.length != want) revert MarketErrors.WrongLength("cids", cids.length, want);
        Bn254.checkAll(points); // precompiles take the point at infinity, auditors do not
        for (uint256 i; i < n; ++i) {
            Seat storage seat = seats[i];
            bytes32 fixed_ = digest("update", facts.round, seat.trainer, points[i * width:(i + 1) * width]);
            checkSlot(i + 1, keccak256(abi.encode(fixed_, cids[i])), seat.submission);
        }
        if (facts.references != 0) _checkReferences(terms, facts, points[n * width:_slots(facts) * width], cids);
        return Transcript.start(_context(seats, facts), points);
    }

    /// @param points of the references.
    function _checkReferences(
        Terms storage terms,
        Facts calldata facts,
        uint256[] calldata points,
        bytes32[] calldata cids
    ) private view {
        (uint256 n, uint256 width) = (facts.trainers, 2 * uint256(terms.chunks));
        if (facts.references & ROOT != 0) {
            if (facts.root == 0) {
                checkSlot(n + 1, Transcript.hash("", points[:width]), _absent(terms));
            } else {
                bytes32 fixed_ = digest("root", facts.round, terms.owner, points[:width]);
                checkSlot(n + 1, keccak256(abi.encode(fixed_, cids[n])), facts.root);
            }
        }
        if (facts.references & LAST != 0) {
            bytes32 have = Transcript.hash("", points[points.length - width:]);
            checkSlot(_slots(facts), have, facts.last == 0 ? _absent(terms) : facts.last);
        }
    }

    function checkSlot(uint256 slot, bytes32 have, bytes32 want) internal pure {
        if (have != want) revert MarketErrors.WrongPoints(slot, have, want);
    }

    /// @dev keccak(label ‖ chain ‖ project ‖ round ‖ author ‖ points): what a submission fixes. It names its author.
    function digest(bytes32 label, uint256 round, address author, uint256[] calldata points)
        internal
        view
        returns (bytes32)
    {
        return Transcript.hash(abi.encode(label, block.chainid, address(this), round, author), points);
    }

    /// @dev A reference that there is not is the zero vector with zero salts: its commitment is B in every chunk.
    function _absent(Terms storage terms) private view returns (bytes32) {
        uint256[] memory words = new uint256[](2 * uint256(terms.chunks));
        Bn254.Point memory blinding = terms.blinding;
        for (uint256 w; w < words.length; w += 2) (words[w], words[w + 1]) = (blinding.x, blinding.y);
        return keccak256(abi.encodePacked(words));
    }

    /// @dev keccak(5 + N ‖ manifest ‖ chain ‖ project ‖ round ‖ β ‖ trainers in the order of slots).
    function _context(Seat[64] storage seats, Facts calldata facts) private view returns (bytes32) {
        uint256 n = facts.trainers;
        uint256[] memory words = new uint256[](5 + n);
        (words[0], words[1], words[2]) = (uint256(facts.manifest), block.chainid, uint160(address(this)));
        (words[3], words[4]) = (facts.round, facts.beta);
        for (uint256 i; i < n; ++i) words[5 + i] = uint160(seats[i].trainer);
        return Transcript.digest(words);
    }

    /// @dev keccak(round ‖ seed ‖ seed_0 ‖ q ‖ C_G ‖ keccak(points)).
    function _entry(uint256 round, bytes32 seed, bytes32 seed0, uint256 q, uint256[] calldata points)
        private
        pure
        returns (bytes32)
    {
        (uint256 x, uint256 y) = (points[points.length - 2], points[points.length - 1]);
        return keccak256(abi.encode(round, seed, seed0, q, x, y, Transcript.hash("", points)));
    }

    // ------------------------------------------------------------ the base proof

    /// @dev P_W + τ·P_U, of the proof's first points, is the combination of the commitments.
    function _checkColumns(
        Combination.Coefficients memory given,
        BaseProof calldata proof,
        uint256 tau,
        Bn254.Point memory blinding
    ) private view {
        uint256[6] memory committed = abi.decode(proof.proof[:COMMITTED], (uint256[6]));
        for (uint256 w; w < 6; w += 2) {
            (uint256 x, uint256 y) = (committed[w], committed[w + 1]);
            if (!Bn254.isOnCurve(x, y)) revert Bn254.PointNotOnCurve(x, y);
        }
        uint256[5] memory have;
        have.add(committed[0], committed[1]);
        have.mulAdd(committed[2], committed[3], tau);
        Bn254.Point memory want = Combination.commitment(given, proof.points, tau, blinding);
        if (have[0] != want.x || have[1] != want.y) {
            revert MarketErrors.WrongProofPoint("base", have[0], have[1], want.x, want.y);
        }
    }

    /// @dev o_1 = T + o_2, o_2, o_3, the powers of y as they are echoed, o_4.
    function _outputs(uint256 folded, uint256 salts, uint256 claim, uint256 y, uint256 logrows, uint256 value)
        private
        pure
        returns (uint256[] memory out)
    {
        out = new uint256[](2 * logrows + 4);
        (out[0], out[1], out[2]) = (addmod(folded, Transcript.canonical(salts), Bn254.P), salts, claim);
        for (uint256 k = logrows; k > 0; --k) {
            (out[2 * k + 1], out[2 * k + 2]) = (1, y);
            y = mulmod(y, y, Bn254.P);
        }
        out[2 * logrows + 3] = value;
    }

    // ------------------------------------------------------------ the settlement proof

    /// @dev Instances: q, r_0..r_{N+R}, β, mask_1..N, score_1..N, ν. Challenges and β are the project's own.
    function _checkSettlement(
        Verifier storage verifier,
        Facts calldata facts,
        bytes32 seed0,
        uint256[] calldata points,
        uint256 q,
        Decision calldata decision
    ) private view {
        uint256 n = facts.trainers;
        if (decision.scores.length != n) revert MarketErrors.WrongLength("scores", decision.scores.length, n);
        if (decision.mask >= 1 << n) revert MarketErrors.OutOfBounds("mask", decision.mask, 0, (1 << n) - 1);
        if (decision.nu >= SCORE_LIMIT) revert MarketErrors.OutOfBounds("nu", decision.nu, 0, SCORE_LIMIT - 1);
        uint256[] memory r = FoldedGram.slotChallenges(seed0, _slots(facts));
        uint256 next = r.length + 1; // β, then masks and scores
        uint256[] memory instances = new uint256[](next + 2 * n + 2);
        instances[0] = Transcript.canonical(q);
        for (uint256 i; i < r.length; ++i) instances[1 + i] = r[i];
        instances[next++] = facts.beta;
        uint256 limit = SCORE_LIMIT << facts.shift;
        for (uint256 i; i < n; ++i) {
            uint256 score = decision.scores[i];
            if (score >= limit) revert MarketErrors.OutOfBounds("score", score, 0, limit - 1);
            instances[next + i] = (decision.mask >> i) & 1;
            instances[next + n + i] = score;
        }
        instances[next + 2 * n] = decision.nu;
        _checkFirst(decision.proof, points[points.length - 2], points[points.length - 1]); // C_G: absorbed before r
        verifyProof("settlement", verifier, decision.proof, instances);
    }

    /// @dev The first point of a proof is the commitment of its first input.
    function _checkFirst(bytes calldata proof, uint256 x, uint256 y) private pure {
        if (proof.length < 64) revert MarketErrors.WrongLength("settlement", proof.length, 64);
        (uint256 haveX, uint256 haveY) = (uint256(bytes32(proof[:32])), uint256(bytes32(proof[32:64])));
        if (haveX != x || haveY != y) revert MarketErrors.WrongProofPoint("settlement", haveX, haveY, x, y);
    }

    /// @dev The code is compared before every use, and success is 32 bytes that say 1. Generated verifiers read
    /// parts of the proof at fixed offsets: the call is encoded here, canonically, never passed on.
    function verifyProof(bytes32 what, Verifier storage verifier, bytes calldata proof, uint256[] memory instances)
        internal
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
