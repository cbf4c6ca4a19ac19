// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./lib/Bn254.sol";
import {FoldedGram} from "./lib/FoldedGram.sol";
import {Proofs} from "./lib/Proofs.sol";
import {Transcript} from "./lib/Transcript.sol";

/// @title The libraries' internal functions, one by one, for tests/contracts/test_libraries.py.
contract Harness {
    using Bn254 for uint256[5];

    // ---- Bn254

    function isOnCurve(uint256 x, uint256 y) external pure returns (bool) {
        return Bn254.isOnCurve(x, y);
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

    function absorbOne(bytes32 seed, uint256 value) external pure returns (bytes32) {
        return Transcript.absorb(seed, value);
    }

    function absorbTwo(bytes32 seed, uint256 a, uint256 x) external pure returns (bytes32) {
        return Transcript.absorb(seed, a, x);
    }

    function start(bytes32 context, uint256[] calldata points) external pure returns (bytes32) {
        return Transcript.start(context, points);
    }

    function digest(uint256[] calldata words) external pure returns (bytes32) {
        return Transcript.digest(words);
    }

    function chunkTag(address project, uint256 round, uint256 chunk, address trainer) external view returns (uint256) {
        return Transcript.chunkTag(project, round, chunk, trainer);
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

    function commitment(
        uint256[] calldata points,
        uint256[] calldata r,
        uint256[] calldata products,
        Bn254.Point calldata blinding
    ) external view returns (Bn254.Point memory) {
        return FoldedGram.commitment(points, r, products, blinding);
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

    // ---- Proofs

    function popcount(uint256 bits) external pure returns (uint256) {
        return Proofs.popcount(bits);
    }

    function _from(uint256[2] calldata start_) private pure returns (uint256[5] memory sum) {
        (sum[0], sum[1]) = (start_[0], start_[1]);
    }
}
