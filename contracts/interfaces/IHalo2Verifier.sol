// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What every verifier that ezkl generates offers.
interface IHalo2Verifier {
    /// @notice Reverts on a false proof.
    /// @param proof its first 64 · (number of committed inputs) bytes are those inputs' commitments.
    /// @param instances public outputs of the circuit, canonical field elements.
    function verifyProof(bytes calldata proof, uint256[] calldata instances) external returns (bool);
}
