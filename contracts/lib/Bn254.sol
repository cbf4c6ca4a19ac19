// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The group G1 of BN254 over the precompiles of EIP-196.
/// @notice Points are affine, (0, 0) is the point at infinity. G1 has cofactor 1: a point on the curve is in the group.
library Bn254 {
    /// @notice The scalar field: exponents, field elements of the circuits.
    uint256 internal constant P = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// @notice The base field: coordinates.
    uint256 internal constant Q = 21888242871839275222246405745257275088696311157297823662689037894645226208583;

    // EIP-196. `Precompiles` has asked both for known answers when the factory was deployed
    uint256 internal constant ADD = 6;
    uint256 internal constant MUL = 7;

    error PointNotOnCurve(uint256 x, uint256 y);
    error ScalarNotCanonical(uint256 have);
    error TooFewPoints(uint256 have, uint256 want);

    struct Point {
        uint256 x;
        uint256 y;
    }

    /// @dev A running sum is five words in a row: sum.x, sum.y, and three of scratch. ecMul reads (x, y, k) at word
    /// 2 and writes its result there; ecAdd reads words 0..3 and writes 0..1. (A struct would hold a pointer.)

    /// @notice y² = x³ + 3 with canonical coordinates; the point at infinity is not on the curve.
    function isOnCurve(uint256 x, uint256 y) internal pure returns (bool) {
        return x < Q && y < Q && mulmod(y, y, Q) == addmod(mulmod(x, mulmod(x, x, Q), Q), 3, Q);
    }

    /// @notice sum ← sum + (x, y). Refused where the precompile says nothing: the sum would stay as it is.
    function add(uint256[5] memory sum, uint256 x, uint256 y) internal view {
        bool good;
        assembly ("memory-safe") {
            mstore(add(sum, 0x40), x)
            mstore(add(sum, 0x60), y)
            good := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
            good := and(good, eq(returndatasize(), 0x40))
        }
        if (!good) revert PointNotOnCurve(x, y);
    }

    /// @notice sum ← sum + k·(x, y).
    function mulAdd(uint256[5] memory sum, uint256 x, uint256 y, uint256 k) internal view {
        if (k >= P) revert ScalarNotCanonical(k);
        bool good;
        assembly ("memory-safe") {
            let point := add(sum, 0x40)
            mstore(point, x)
            mstore(add(point, 0x20), y)
            mstore(add(point, 0x40), k)
            good := staticcall(gas(), MUL, point, 0x60, point, 0x40)
            good := and(good, eq(returndatasize(), 0x40))
            if good {
                good := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
                good := and(good, eq(returndatasize(), 0x40))
            }
        }
        if (!good) revert PointNotOnCurve(x, y);
    }

    /// @notice Refused unless all points, x, y each, are on the curve.
    function checkAll(uint256[] calldata points) internal pure {
        uint256 q = Q;
        uint256 bad;
        assembly ("memory-safe") {
            let place := points.offset
            for { let end := add(place, shl(5, points.length)) } lt(place, end) { place := add(place, 0x40) } {
                let x := calldataload(place)
                let y := calldataload(add(place, 0x20))
                let cube := addmod(mulmod(x, mulmod(x, x, q), q), 3, q)
                if iszero(and(and(lt(x, q), lt(y, q)), eq(mulmod(y, y, q), cube))) {
                    bad := place
                    break
                }
            }
            if bad { bad := add(1, shr(5, sub(bad, points.offset))) }
        }
        if (bad != 0) revert PointNotOnCurve(points[bad - 1], points[bad]);
    }

    /// @notice sum ← sum + Σ k_i·(x_i, y_i).
    /// @param points x, y each, at least as many as there are scalars.
    /// @param ks below p.
    function mulAddAll(uint256[5] memory sum, uint256[] calldata points, uint256[] memory ks) internal view {
        if (points.length < 2 * ks.length) revert TooFewPoints(points.length, 2 * ks.length);
        uint256 from;
        uint256 k;
        uint256 end;
        assembly ("memory-safe") {
            from := points.offset
            k := add(ks, 0x20)
            end := add(k, shl(5, mload(ks)))
        }
        for (; k < end; (k, from) = (k + 0x20, from + 0x40)) _mulAddFrom(sum, from, k);
    }

    /// @dev sum ← sum + k·(x, y), with the point at a place in calldata and k at one in memory.
    function _mulAddFrom(uint256[5] memory sum, uint256 from, uint256 k) private view {
        bool good;
        assembly ("memory-safe") {
            let point := add(sum, 0x40)
            calldatacopy(point, from, 0x40)
            mstore(add(point, 0x40), mload(k))
            good := staticcall(gas(), MUL, point, 0x60, point, 0x40)
            good := and(good, eq(returndatasize(), 0x40))
            if good {
                good := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
                good := and(good, eq(returndatasize(), 0x40))
            }
        }
        if (good) return;
        uint256 x;
        uint256 y;
        assembly ("memory-safe") {
            x := calldataload(from)
            y := calldataload(add(from, 0x20))
        }
        revert PointNotOnCurve(x, y);
    }
}
