// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title The Fiat-Shamir transcript, word for word that of zkmarket/transcript.py.
/// @notice Chained: a challenge comes from a seed that has absorbed all that the prover chose before it.
library Transcript {
    uint256 private constant LOW_128 = type(uint128).max;
    uint256 private constant LOW_248 = type(uint248).max;

    /// @notice A 128-bit challenge: low128 keccak(seed ‖ label ‖ index).
    function challenge(bytes32 seed, bytes32 label, uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, label, index))) & LOW_128;
    }

    /// @notice seed ← keccak(seed ‖ value). Refused unless value < p, so that one value has one encoding.
    function absorb(bytes32 seed, uint256 value) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, canonical(value)));
    }

    /// @notice seed ← keccak(seed ‖ a ‖ x), the two claims of one fold.
    function absorb(bytes32 seed, uint256 a, uint256 x) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, canonical(a), canonical(x)));
    }

    /// @notice seed_0 = keccak(context ‖ points of slots 1..N + R, chunk by chunk ‖ points of slot 0 ‖ C_G).
    function start(bytes32 context, uint256[] calldata points) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(context, points));
    }

    /// @notice keccak(length ‖ words).
    function digest(uint256[] memory words) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(words.length, words));
    }

    /// @notice What ties a range proof to its one trainer, round and chunk: low 248 bits, so a field element.
    function chunkTag(address project, uint256 round, uint256 chunk, address trainer) internal view returns (uint256) {
        return uint256(keccak256(abi.encode(block.chainid, project, round, chunk, trainer))) & LOW_248;
    }

    function canonical(uint256 value) internal pure returns (uint256) {
        if (value >= Bn254.P) revert Bn254.ScalarNotCanonical(value);
        return value;
    }
}
