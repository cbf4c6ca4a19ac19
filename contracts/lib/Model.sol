// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {Bn254} from "./Bn254.sol";

/// @title The commitment of the model, moved from round to round by what the rounds prove.
/// @notice Mirrors zkmarket/round/model.py. Θ ← Θ + w·Agg in integers is C_Θ ← C_Θ + w·(C_agg − B): every commitment has B
/// once.
library Model {
    using Bn254 for uint256[5];

    uint256 private constant RATE_UNIT = 1e9;

    /// @notice w = 2^ρ · rate / n, rounded half up: what one unit of the sum of n accepted updates moves the model.
    /// @param rate learning rate in billionths, below 2^64.
    /// @param bits ρ, at most 32: w is far below p.
    function weight(uint256 rate, uint256 accepted, uint256 bits) internal pure returns (uint256) {
        uint256 unit = accepted * RATE_UNIT;
        return ((rate << (bits + 1)) + unit) / (2 * unit);
    }

    /// @notice keccak of the words of C_Θ + w·(C_agg − B), chunk by chunk.
    /// @param theta, aggregate words of both commitments.
    function moved(
        uint256[] calldata theta,
        uint256[] memory aggregate,
        uint256 w,
        Bn254.Point memory blinding
    ) internal view returns (bytes32) {
        uint256 length = aggregate.length;
        if (theta.length != length) revert MarketErrors.WrongLength("theta", theta.length, length);
        uint256[5] memory shared;
        shared.mulAdd(blinding.x, blinding.y, (Bn254.P - w) % Bn254.P);
        uint256[] memory out = new uint256[](length);
        for (uint256 word; word < length; word += 2) {
            uint256[5] memory sum;
            (sum[0], sum[1]) = (shared[0], shared[1]);
            sum.add(theta[word], theta[word + 1]);
            sum.mulAdd(aggregate[word], aggregate[word + 1], w);
            (out[word], out[word + 1]) = (sum[0], sum[1]);
        }
        return keccak256(abi.encodePacked(out));
    }
}
