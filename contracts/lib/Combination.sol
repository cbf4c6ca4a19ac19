// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title Both opened columns as combinations of the commitments: W of the folded Gram argument, U of the projection.
/// @notice Mirrors Coefficients.together of zkmarket/round/base.py.
library Combination {
    using Bn254 for uint256[5];

    /// @notice What each commitment counts for: k_{i,c} = r_i · products_c in W, eq_b in U.
    struct Coefficients {
        uint256[] r; // r_0..r_{N+R}
        uint256[] products; // for each chunk, of the ρ's that multiplied it
        uint256[] data; // eq of the data blocks, which come first of all points
        uint256[] masks; // eq of P_0..P_μ
        uint256 blocks; // n_b: how many data blocks; `data` may be longer
    }

    /// @notice Σ_b (k_b + τ·eq_b)·C_b − (Σ_b (k_b + τ·eq_b) − 1 − τ)·B: every commitment is multiplied once.
    /// @param points x, y each: slots 1..N + R chunk by chunk, slot 0's, P_0..P_μ; what follows is not read.
    function commitment(
        Coefficients memory given,
        uint256[] calldata points,
        uint256 tau,
        Bn254.Point memory blinding
    ) internal view returns (Bn254.Point memory) {
        uint256[5] memory sum;
        uint256[] memory ks = together(given, tau);
        uint256 total;
        uint256 p = Bn254.P;
        assembly ("memory-safe") {
            let k := add(ks, 0x20)
            for { let end := add(k, shl(5, mload(ks))) } lt(k, end) { k := add(k, 0x20) } {
                total := addmod(total, mload(k), p)
            }
        }
        sum.mulAddAll(points, ks);
        sum.mulAdd(blinding.x, blinding.y, addmod(1 + tau, p - total, p));
        return Bn254.Point(sum[0], sum[1]);
    }

    /// @notice k_b + τ·eq_b in the order of the points.
    function together(Coefficients memory given, uint256 tau) internal pure returns (uint256[] memory ks) {
        uint256 chunks = given.products.length;
        uint256 slots = given.r.length - 1;
        ks = new uint256[]((slots + 2) * chunks + given.masks.length); // slot 0 has fewer than 2m chunks: cut below
        uint256 place = _start(ks);
        for (uint256 i = 1; i <= slots; ++i) place = _scale(place, given.products, chunks, given.r[i]);
        // slot 0 has chunk 0 and those at powers of two
        for (uint256 c; c < chunks; c = c == 0 ? 1 : 2 * c) {
            uint256 k = mulmod(given.r[0], given.products[c], Bn254.P);
            assembly ("memory-safe") {
                mstore(place, k)
                place := add(place, 0x20)
            }
        }
        // the data blocks come first; the last aggregate has none
        _scale(_start(ks), given.data, given.blocks, tau);
        place = _scale(place, given.masks, given.masks.length, tau);
        assembly ("memory-safe") {
            mstore(ks, shr(5, sub(sub(place, ks), 0x20)))
        }
    }

    function _start(uint256[] memory list) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(list, 0x20)
        }
    }

    /// @dev Add the first values, each times a factor, to the words from `place` on; where these end.
    function _scale(uint256 place, uint256[] memory values, uint256 count, uint256 factor)
        private
        pure
        returns (uint256 end)
    {
        uint256 p = Bn254.P;
        assembly ("memory-safe") {
            let value := add(values, 0x20)
            end := add(place, shl(5, count))
            for {} lt(place, end) { place := add(place, 0x20) } {
                mstore(place, addmod(mload(place), mulmod(mload(value), factor, p), p))
                value := add(value, 0x20)
            }
        }
    }
}
