// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BaseProof, Decision, Facts, Plan, Seat, Terms} from "../Types.sol";

/// @title What a project demands of proofs. Reads its storage, writes nothing, moves nothing.
/// @notice Linked: its code runs in the project (address(this), msg.sender), and lives apart for size alone.
library Proofs {
    /// @notice Check everything but the decision: points are those of the frozen seats, on the curve; challenges, folds,
    /// sumcheck, rows; the base proof.
    /// @param facts what the project knows itself: nothing of it comes from whoever sends the proof.
    /// @return seed0 the seed that has absorbed the context and all points.
    /// @return seed of the transcript at its end: it has absorbed all that the prover sent.
    function checkBase(
        Terms storage terms,
        Plan storage plan,
        Seat[] storage seats,
        Facts calldata facts,
        BaseProof calldata proof
    ) external view returns (bytes32 seed0, bytes32 seed) {}

    /// @notice seed_0 of points that are those of the frozen seats, on the curve: for a round whose base proof was
    /// checked before.
    function checkPoints(
        Terms storage terms,
        Plan storage plan,
        Seat[] storage seats,
        Facts calldata facts,
        uint256[] calldata points,
        bytes32[] calldata cids
    ) external view returns (bytes32 seed0) {}

    /// @notice What is kept under `seed` of a base proof that was checked:
    /// keccak(round ‖ seed ‖ seed_0 ‖ q ‖ C_G ‖ keccak(points)).
    function entry(uint256 round, bytes32 seed, bytes32 seed0, uint256 q, uint256[] calldata points)
        external
        pure
        returns (bytes32)
    {}

    /// @notice Check the decision of a round whose points and q have been checked.
    /// @param n trainers.
    /// @return aggregate words of C_agg; empty where fewer than minAccepted were accepted: it would reveal them.
    function checkDecision(
        Terms storage terms,
        Plan storage plan,
        uint256 n,
        Facts calldata facts,
        bytes32 seed0,
        uint256 q,
        uint256[] calldata points,
        Decision calldata decision
    ) external view returns (uint256[] memory aggregate) {}

    /// @notice keccak("update" or "root" ‖ chain ‖ project ‖ round ‖ sender ‖ points): what a submission fixes.
    function digest(bytes32 label, uint256 round, address sender, uint256[] calldata points)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(label, block.chainid, uint256(uint160(address(this))), round, uint256(uint160(sender)), points));
    }

    function popcount(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
