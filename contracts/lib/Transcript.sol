// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title The Fiat-Shamir transcript, word for word that of zkmarket/crypto/transcript.py.
/// @notice Chained: a challenge comes from a seed that has absorbed all that the prover chose before it.
library Transcript {
    uint256 private constant LOW_128 = type(uint128).max;

    /// @notice A 128-bit challenge, of slots and folds: low128 keccak(seed ‖ label ‖ index).
    function challenge(bytes32 seed, bytes32 label, uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, label, index))) & LOW_128;
    }

    /// @notice A challenge of the whole field: keccak(seed ‖ label ‖ index) mod p.
    function point(bytes32 seed, bytes32 label, uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, label, index))) % Bn254.P;
    }

    /// @notice seed ← keccak(seed ‖ a ‖ x), the two claims of a fold or of a round. Refused unless both are < p, so that
    /// one value has one encoding.
    function absorb(bytes32 seed, uint256 a, uint256 x) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, canonical(a), canonical(x)));
    }

    /// @notice seed ← keccak(seed_0 ‖ q ‖ t_0 ‖ keccak(z)).
    function absorb(bytes32 seed, uint256 q, uint256 t0, bytes calldata z) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, canonical(q), canonical(t0), keccak256(z)));
    }

    /// @notice seed ← keccak(seed ‖ P_W ‖ P_U ‖ P_V), 64 bytes each as they stand in the proof.
    function absorb(bytes32 seed, bytes calldata points) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(seed, points));
    }

    /// @notice seed_0 = keccak(context ‖ points of slots 1..N + R, chunk by chunk ‖ slot 0's ‖ P_0..P_μ ‖ C_G).
    function start(bytes32 context, uint256[] calldata points) internal pure returns (bytes32) {
        return hash(abi.encodePacked(context), points);
    }

    /// @notice keccak(head ‖ words), the words copied at once.
    function hash(bytes memory head, uint256[] calldata words) internal pure returns (bytes32 out) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := mload(head)
            mcopy(free, add(head, 0x20), size)
            calldatacopy(add(free, size), words.offset, shl(5, words.length))
            out := keccak256(free, add(size, shl(5, words.length)))
        }
    }

    /// @notice keccak(length ‖ words).
    function digest(uint256[] memory words) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(words.length, words));
    }

    function canonical(uint256 value) internal pure returns (uint256) {
        if (value >= Bn254.P) revert Bn254.ScalarNotCanonical(value);
        return value;
    }
}
