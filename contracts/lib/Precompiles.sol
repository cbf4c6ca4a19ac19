// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title Known answers of the precompiles that proofs are checked with, asked once, when a factory is deployed.
/// @notice Where nothing stands at an address a call succeeds and says nothing: sums then stay what they were, and
/// an equation of points may hold that does not. A chain whose precompiles are missing, or wrong, gets no factory.
library Precompiles {
    uint256 private constant MOD_EXP = 5; // EIP-198, which generated verifiers invert with
    uint256 private constant PAIRING = 8; // EIP-197

    // G = (1, 2) and 2·G of G1, H of G2 (imaginary part first, as EIP-197 has it)
    uint256 private constant TWICE_X = 1368015179489954701390400359078579693043519447331113978918064868415326638035;
    uint256 private constant TWICE_Y = 9918110051302171585080402603319702774565515993150576347155970296011118125764;
    uint256 private constant H_X1 = 11559732032986387107991004021392285783925812861821192530917403151452391805634;
    uint256 private constant H_X0 = 10857046999023057135944570762232829481370756359578518086990519993285655852781;
    uint256 private constant H_Y1 = 4082367875863433681332203403145435568316851327593401208105741076214120093531;
    uint256 private constant H_Y0 = 8495653923123431417604973247489272438418190587263600148770280649306958101930;

    error WrongPrecompile(uint256 which);

    function check() internal view {
        bytes memory twice = abi.encode(TWICE_X, TWICE_Y);
        _ask(MOD_EXP, abi.encode(32, 32, 32, 3, Bn254.P - 2, Bn254.P), abi.encode(_third()));
        _ask(Bn254.ADD, abi.encode(1, 2, 1, 2), twice);
        _ask(Bn254.MUL, abi.encode(1, 2, 2), twice);
        _ask(Bn254.MUL, abi.encode(1, 2, Bn254.P - 1), abi.encode(1, Bn254.Q - 2));
        _ask(PAIRING, abi.encodePacked(_pair(2), _pair(Bn254.Q - 2)), abi.encode(1)); // e(G, H) · e(−G, H)
        _ask(PAIRING, abi.encodePacked(_pair(2), _pair(2)), abi.encode(0));
    }

    function _ask(uint256 which, bytes memory question, bytes memory want) private view {
        (bool done, bytes memory answer) = address(uint160(which)).staticcall(question);
        if (!done || keccak256(answer) != keccak256(want)) revert WrongPrecompile(which);
    }

    /// @dev (1, y) of G1 and H.
    function _pair(uint256 y) private pure returns (bytes memory) {
        return abi.encode(1, y, H_X1, H_X0, H_Y1, H_Y0);
    }

    /// @dev 3^(p − 2) mod p: 3 times it is 1.
    function _third() private pure returns (uint256) {
        return (2 * Bn254.P + 1) / 3;
    }
}
