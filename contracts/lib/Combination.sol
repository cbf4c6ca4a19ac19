// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title Both opened columns as combinations of the commitments: W of the folded Gram argument, U of the projection.
/// @notice Mirrors Coefficients.together of zkmarket/base.py.
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
        uint256 p = Bn254.P;
        uint256 total;
        for (uint256 b; b < ks.length; ++b) {
            total = addmod(total, ks[b], p);
            sum.mulAdd(points[2 * b], points[2 * b + 1], ks[b]);
        }
        sum.mulAdd(blinding.x, blinding.y, addmod(1 + tau, p - total, p));
        return Bn254.Point(sum[0], sum[1]);
    }

    /// @notice k_b + τ·eq_b in the order of the points.
    function together(Coefficients memory given, uint256 tau) internal pure returns (uint256[] memory ks) {
        uint256 p = Bn254.P;
        uint256 chunks = given.products.length;
        uint256 b = (given.r.length - 1) * chunks;
        ks = new uint256[](b + 2 * chunks + given.masks.length); // slot 0 has fewer than 2m chunks: cut below
        for (uint256 i; i < b; ++i) ks[i] = mulmod(given.r[1 + i / chunks], given.products[i % chunks], p);
        // the last aggregate has no data blocks
        for (uint256 i; i < given.blocks; ++i) ks[i] = addmod(ks[i], mulmod(tau, given.data[i], p), p);
        // slot 0 has chunk 0 and those at powers of two
        for (uint256 c; c < chunks; c = c == 0 ? 1 : 2 * c) ks[b++] = mulmod(given.r[0], given.products[c], p);
        for (uint256 t; t < given.masks.length; ++t) ks[b++] = mulmod(tau, given.masks[t], p);
        assembly ("memory-safe") {
            mstore(ks, b)
        }
    }
}
