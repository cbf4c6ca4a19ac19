// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {Bn254} from "./Bn254.sol";
import {Transcript} from "./Transcript.sol";

/// @title The verifier's side of the folded Gram argument, and the aggregate's commitment.
/// @notice Mirrors zkmarket/round/gram.py (verify) and zkmarket/round/proof.py (aggregate_points).
library FoldedGram {
    using Bn254 for uint256[5];

    /// @notice t: how many times m chunks are halved; t + 1 chunks of slot 0 are there.
    function steps(uint256 chunks) internal pure returns (uint256 t) {
        while ((1 << t) < chunks) ++t;
    }

    /// @notice r_0..r_{N+R}: independent challenges, one a slot.
    function slotChallenges(bytes32 seed, uint256 slots) internal pure returns (uint256[] memory r) {
        r = new uint256[](slots + 1);
        for (uint256 i; i <= slots; ++i) r[i] = Transcript.challenge(seed, "r", i);
    }

    /// @notice Fold the claim q over the chunks.
    /// @param seed has absorbed q.
    /// @param folds A_0, X_0, A_1, X_1, …: two field elements a fold.
    /// @return claim T, which <W, W> over the values must equal.
    /// @return products for every chunk the product of the ρ's that multiplied it.
    /// @return end the seed that has absorbed all folds.
    function fold(bytes32 seed, uint256 q, uint256[] calldata folds, uint256 chunks)
        internal
        pure
        returns (uint256 claim, uint256[] memory products, bytes32 end)
    {
        uint256 count = steps(chunks);
        if (folds.length != 2 * count) revert MarketErrors.WrongLength("folds", folds.length, 2 * count);
        products = new uint256[](chunks);
        for (uint256 c; c < chunks; ++c) products[c] = 1;
        (claim, end) = (q, seed);
        // a fold pairs chunk c with c + half: it multiplies every chunk that has the bit `half`
        for (uint256 step; step < count; ++step) {
            uint256 a = folds[2 * step];
            uint256 x = folds[2 * step + 1];
            end = Transcript.absorb(end, a, x);
            uint256 rho = Transcript.challenge(end, "rho", step);
            claim = nextClaim(claim, a, x, rho);
            uint256 half = 1 << (count - 1 - step);
            for (uint256 c = half; c < chunks; ++c) {
                if (c & half != 0) products[c] = mulmod(products[c], rho, Bn254.P);
            }
        }
    }

    /// @notice T ← A + 2ρX + ρ²(T − A).
    function nextClaim(uint256 claim, uint256 a, uint256 x, uint256 rho) internal pure returns (uint256) {
        uint256 p = Bn254.P;
        uint256 square = mulmod(mulmod(rho, rho, p), addmod(claim, p - a, p), p);
        return addmod(addmod(a, mulmod(addmod(rho, rho, p), x, p), p), square, p);
    }

    /// @notice C_agg = Σ mask_i C_i − (Σ mask_i − 1)·B of every chunk, as words. `accepted` is Σ mask_i.
    /// @param points of slots 1..N, chunk by chunk; what follows is not read.
    function aggregate(
        uint256[] calldata points,
        uint256 mask,
        uint256 accepted,
        uint256 chunks,
        Bn254.Point memory blinding
    ) internal view returns (uint256[] memory out) {
        uint256[5] memory shared;
        shared.mulAdd(blinding.x, blinding.y, addmod(1, Bn254.P - accepted, Bn254.P));
        out = new uint256[](2 * chunks);
        for (uint256 c; c < chunks; ++c) {
            uint256[5] memory sum;
            sum.add(shared[0], shared[1]);
            uint256 word = 2 * c;
            for (uint256 rest = mask; rest != 0; rest >>= 1) {
                if (rest & 1 != 0) sum.add(points[word], points[word + 1]);
                word += 2 * chunks;
            }
            (out[2 * c], out[2 * c + 1]) = (sum[0], sum[1]);
        }
    }
}
