// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./lib/Bn254.sol";
import {Combination} from "./lib/Combination.sol";
import {FoldedGram} from "./lib/FoldedGram.sol";
import {Projection} from "./lib/Projection.sol";
import {Proofs} from "./lib/Proofs.sol";
import {Scores} from "./lib/Scores.sol";
import {SubsetSums} from "./lib/SubsetSums.sol";
import {Transcript} from "./lib/Transcript.sol";

/// @title The libraries' internal functions, one by one, for tests/contracts/test_libraries.py.
contract Harness {
    using Bn254 for uint256[5];

    // ---- Bn254

    function isOnCurve(uint256 x, uint256 y) external pure returns (bool) {
        return Bn254.isOnCurve(x, y);
    }

    function checkAll(uint256[] calldata points) external pure {
        Bn254.checkAll(points);
    }

    /// start + (x, y)
    function add(uint256[2] calldata start, uint256 x, uint256 y) external view returns (uint256, uint256) {
        uint256[5] memory sum = _from(start);
        sum.add(x, y);
        return (sum[0], sum[1]);
    }

    /// start + k·(x, y)
    function mulAdd(uint256[2] calldata start, uint256 x, uint256 y, uint256 k)
        external
        view
        returns (uint256, uint256)
    {
        uint256[5] memory sum = _from(start);
        sum.mulAdd(x, y, k);
        return (sum[0], sum[1]);
    }

    /// Σ k_i·(x_i, y_i), in one running sum whose scratch words are used again and again.
    function multiplyAdd(uint256[] calldata points, uint256[] calldata scalars)
        external
        view
        returns (uint256, uint256)
    {
        uint256[5] memory sum;
        for (uint256 i; i < scalars.length; ++i) sum.mulAdd(points[2 * i], points[2 * i + 1], scalars[i]);
        return (sum[0], sum[1]);
    }

    // ---- Transcript

    function challenge(bytes32 seed, bytes32 label, uint256 index) external pure returns (uint256) {
        return Transcript.challenge(seed, label, index);
    }

    function point(bytes32 seed, bytes32 label, uint256 index) external pure returns (uint256) {
        return Transcript.point(seed, label, index);
    }

    function absorbRows(bytes32 seed, uint256 q, uint256 t0, bytes calldata z) external pure returns (bytes32) {
        return Transcript.absorb(seed, q, t0, z);
    }

    function absorbPoints(bytes32 seed, bytes calldata points) external pure returns (bytes32) {
        return Transcript.absorb(seed, points);
    }

    function absorb(bytes32 seed, uint256 a, uint256 x) external pure returns (bytes32) {
        return Transcript.absorb(seed, a, x);
    }

    function start(bytes32 context, uint256[] calldata points) external pure returns (bytes32) {
        return Transcript.start(context, points);
    }

    function digest(uint256[] calldata words) external pure returns (bytes32) {
        return Transcript.digest(words);
    }

    // ---- FoldedGram

    function slotChallenges(bytes32 seed, uint256 slots) external pure returns (uint256[] memory) {
        return FoldedGram.slotChallenges(seed, slots);
    }

    function fold(bytes32 seed, uint256 q, uint256[] calldata folds, uint256 chunks)
        external
        pure
        returns (uint256 claim, uint256[] memory products, bytes32 end)
    {
        return FoldedGram.fold(seed, q, folds, chunks);
    }

    function nextClaim(uint256 claim, uint256 a, uint256 x, uint256 rho) external pure returns (uint256) {
        return FoldedGram.nextClaim(claim, a, x, rho);
    }

    function aggregate(
        uint256[] calldata points,
        uint256 mask,
        uint256 accepted,
        uint256 chunks,
        Bn254.Point calldata blinding
    ) external view returns (uint256[] memory) {
        return FoldedGram.aggregate(points, mask, accepted, chunks, blinding);
    }

    // ---- Projection

    function rounds(uint256 blocks) external pure returns (uint256) {
        return Projection.rounds(blocks);
    }

    function firstClaim(bytes calldata z, uint256 t0, uint256 eta) external pure returns (uint256) {
        SubsetSums.reserve(1, 1, 1);
        return Projection.firstClaim(z, t0, eta);
    }

    function checkRounds(bytes32 seed, uint256[] calldata messages, uint256 claim, uint256 mu)
        external
        pure
        returns (uint256[] memory sigmas, uint256 last, bytes32 end)
    {
        return Projection.checkRounds(seed, messages, claim, mu);
    }

    function nextRound(uint256 claim, uint256 g0, uint256 x, uint256 sigma) external pure returns (uint256) {
        return Projection.nextClaim(claim, g0, x, sigma);
    }

    function equalities(uint256[] calldata sigmas, uint256 blocks)
        external
        pure
        returns (uint256[] memory data, uint256[] memory masks)
    {
        SubsetSums.reserve(1, 1, 1);
        return Projection.equalities(sigmas, blocks);
    }

    /// V at y, and the gas for it.
    function evaluate(
        Projection.Shape calldata shape,
        bytes32 seed0,
        uint256 eta,
        uint256 y,
        uint256[] calldata sigmas
    ) external view returns (uint256 value, uint256 gas_) {
        SubsetSums.reserve(shape.blocks, shape.height, shape.width);
        (uint256[] memory data, uint256[] memory masks) = Projection.equalities(sigmas, shape.blocks);
        gas_ = gasleft();
        value = Projection.evaluate(shape, seed0, eta, y, data, masks);
        gas_ -= gasleft();
    }

    function shapeOf(uint256 slots, uint256 chunks, uint256 params, uint256 logrows, uint256 rows_)
        external
        pure
        returns (Projection.Shape memory)
    {
        return Projection.shapeOf(slots, chunks, params, logrows, rows_);
    }

    // ---- SubsetSums

    /// Σ_j η^j · s_j · a_j · b_j, and the gas for it.
    function rows(bytes32 seed0, uint256 eta, SubsetSums.Weights calldata weights)
        external
        view
        returns (uint256 total, uint256 gas_)
    {
        SubsetSums.reserve(weights.blocks, weights.height, weights.width);
        SubsetSums.Weights memory weights_ = weights;
        gas_ = gasleft();
        total = SubsetSums.rows(seed0, eta, weights_);
        gas_ -= gasleft();
    }

    // ---- Combination

    function together(Combination.Coefficients calldata given, uint256 tau) external pure returns (uint256[] memory) {
        return Combination.together(given, tau);
    }

    function combination(
        Combination.Coefficients calldata given,
        uint256[] calldata points,
        uint256 tau,
        Bn254.Point calldata blinding
    ) external view returns (Bn254.Point memory) {
        return Combination.commitment(given, points, tau, blinding);
    }

    // ---- Proofs

    function popcount(uint256 bits) external pure returns (uint256) {
        return Proofs.popcount(bits);
    }

    // ---- Scores

    function instancesOf(
        uint256[] calldata words,
        uint256[] calldata points,
        bytes32 batch,
        bytes32 context,
        bytes calldata proof,
        uint256 correct,
        uint256 loss
    ) external pure returns (uint256[] memory) {
        return Scores.instancesOf(words, points, batch, context, proof, correct, loss);
    }

    function without(
        uint256[] calldata model,
        uint256[] calldata left,
        uint256 w,
        Bn254.Point calldata blinding
    ) external view returns (uint256[] memory) {
        return Scores.without(model, left, w, blinding);
    }

    function placeOf(uint256 method, uint256 mask, uint256 coalition) external pure returns (uint256) {
        return Scores.placeOf(method, mask, coalition);
    }

    function dueOf(uint256 method, uint256 mask) external pure returns (uint256) {
        return Scores.dueOf(method, mask);
    }

    function _from(uint256[2] calldata start_) private pure returns (uint256[5] memory sum) {
        (sum[0], sum[1]) = (start_[0], start_[1]);
    }
}
