// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {Bn254} from "./Bn254.sol";
import {SubsetSums} from "./SubsetSums.sol";
import {Transcript} from "./Transcript.sol";

/// @title The verifier's side of the projection argument: no entry of an update is 2^113 or more.
/// @notice Mirrors zkmarket/round/projection.py (first_claim, check_rounds, equalities, evaluate). Of the 2^μ positions of
/// blocks the masks P_0..P_μ have 0 and the powers of two, data blocks the others in order.
/// @dev `SubsetSums.reserve` comes first.
library Projection {
    uint256 private constant MOD_EXP = 5; // EIP-198

    uint256 internal constant ROWS = 520;
    uint256 private constant ROW_BYTES = 14;
    uint256 private constant OFFSET = 1 << 110; // of z_j, which is less in absolute value

    error NoGeometricSum(uint256 eta, uint256 y);
    error PowerFailed(uint256 base, uint256 exponent);

    /// @notice What the argument's numbers follow from.
    struct Shape {
        uint256 slots; // that have data blocks: trainers, and the root update if the rules know one
        uint256 chunks; // m
        uint256 blocks; // slots · m
        uint256 rounds; // μ
        uint256 start; // d0: values of a last chunk, where its padding starts
        uint256 height; // ℓ1 − 1: rows of values
        uint256 width; // ℓ2
    }

    function shapeOf(uint256 slots, uint256 chunks, uint256 params, uint256 logrows, uint256 rows)
        internal
        pure
        returns (Shape memory s)
    {
        (s.slots, s.chunks, s.blocks) = (slots, chunks, slots * chunks);
        s.rounds = rounds(s.blocks);
        (s.height, s.width) = (rows - 1, 1 << ((logrows + 1) / 2));
        s.start = params - (chunks - 1) * s.height * s.width;
    }

    /// @notice μ: the least for which 2^μ positions hold so many data blocks and μ + 1 masks.
    function rounds(uint256 blocks) internal pure returns (uint256 mu) {
        mu = 1;
        while ((1 << mu) < blocks + mu + 1) ++mu;
    }

    /// @notice t_0 + Σ_j η^j z_j. Refused unless there are 520 rows, and each is in (−2^110, 2^110).
    function firstClaim(bytes calldata z, uint256 t0, uint256 eta) internal pure returns (uint256 claim) {
        if (z.length != ROWS * ROW_BYTES) revert MarketErrors.WrongLength("z", z.length, ROWS * ROW_BYTES);
        uint256 p = SubsetSums.prime();
        uint256 shift = p - OFFSET;
        uint256 seen;
        assembly ("memory-safe") {
            // Horner's scheme: the last row first, four at a time. In `seen` a row of 2^111 or more leaves bit 111, 0 all
            // bits
            for { let at := add(z.offset, mul(ROWS, ROW_BYTES)) } gt(at, z.offset) {} {
                at := sub(at, 56)
                let row := shr(144, calldataload(add(at, 42)))
                seen := or(seen, or(row, sub(row, 1)))
                claim := mulmod(add(claim, add(row, shift)), eta, p)
                row := shr(144, calldataload(add(at, 28)))
                seen := or(seen, or(row, sub(row, 1)))
                claim := mulmod(add(claim, add(row, shift)), eta, p)
                row := shr(144, calldataload(add(at, 14)))
                seen := or(seen, or(row, sub(row, 1)))
                claim := mulmod(add(claim, add(row, shift)), eta, p)
                row := shr(144, calldataload(at))
                seen := or(seen, or(row, sub(row, 1)))
                claim := mulmod(add(claim, add(row, shift)), eta, p)
            }
            claim := addmod(claim, t0, p)
        }
        if (seen >= 2 * OFFSET) _refuseRow(z);
    }

    /// @dev Some row is out of range: say what it is.
    function _refuseRow(bytes calldata z) private pure {
        for (uint256 i;; i += ROW_BYTES) {
            uint256 row = uint112(bytes14(z[i:i + ROW_BYTES]));
            if (row == 0 || row >= 2 * OFFSET) revert MarketErrors.OutOfBounds("z", row, 1, 2 * OFFSET - 1);
        }
    }

    /// @notice The sumcheck over the bits of the position.
    /// @param messages g_0, x of each round.
    /// @return sigmas its challenges.
    /// @return last the last claim, which <U, V> must equal.
    /// @return end the seed that has absorbed all messages.
    function checkRounds(bytes32 seed, uint256[] calldata messages, uint256 claim, uint256 mu)
        internal
        pure
        returns (uint256[] memory sigmas, uint256 last, bytes32 end)
    {
        if (messages.length != 2 * mu) revert MarketErrors.WrongLength("rounds", messages.length, 2 * mu);
        sigmas = new uint256[](mu);
        (last, end) = (claim, seed);
        for (uint256 i; i < mu; ++i) {
            (uint256 g0, uint256 x) = (messages[2 * i], messages[2 * i + 1]);
            end = Transcript.absorb(end, g0, x);
            sigmas[i] = Transcript.point(end, "sigma", i);
            last = nextClaim(last, g0, x, sigmas[i]);
        }
    }

    /// @notice g_0·(1 − σ)² + (claim − g_0)·σ² + x·σ·(1 − σ).
    function nextClaim(uint256 claim, uint256 g0, uint256 x, uint256 sigma) internal pure returns (uint256) {
        uint256 p = Bn254.P;
        uint256 other = addmod(1, p - sigma, p);
        uint256 low = mulmod(g0, mulmod(other, other, p), p);
        uint256 high = mulmod(addmod(claim, p - g0, p), mulmod(sigma, sigma, p), p);
        return addmod(addmod(low, high, p), mulmod(x, mulmod(sigma, other, p), p), p);
    }

    /// @notice eq_b(σ) of every position b, the first σ for the highest bit, sorted by who stands there.
    /// @return data of the data blocks, and zeros up to `padded`.
    /// @return masks of P_0..P_μ.
    function equalities(uint256[] memory sigmas, uint256 blocks)
        internal
        pure
        returns (uint256[] memory data, uint256[] memory masks)
    {
        uint256 mu = sigmas.length;
        uint256[] memory values = new uint256[](1 << mu);
        masks = new uint256[](mu + 1);
        data = new uint256[](SubsetSums.padded(blocks));
        uint256 p = SubsetSums.prime();
        assembly ("memory-safe") {
            mstore(add(values, 0x20), 1)
            // a round doubles the list: what was at i is at 2i and 2i + 1, the last first
            let size := 0x20
            for { let i := 0 } lt(i, mu) { i := add(i, 1) } {
                let sigma := mload(add(add(sigmas, 0x20), shl(5, i)))
                for { let from := add(values, size) } gt(from, values) { from := sub(from, 0x20) } {
                    let value := mload(from)
                    let high := mulmod(value, sigma, p)
                    let to := add(from, sub(from, values))
                    mstore(to, high)
                    mstore(sub(to, 0x20), addmod(value, sub(p, high), p))
                }
                size := shl(1, size)
            }
            let from := add(values, 0x80) // position 3
            let to := add(data, 0x20)
            let end := add(to, shl(5, blocks))
            for { let at := 3 } lt(to, end) { at := add(at, 1) } {
                if and(at, sub(at, 1)) {
                    mstore(to, mload(from))
                    to := add(to, 0x20)
                }
                from := add(from, 0x20)
            }
        }
        masks[0] = values[0];
        for (uint256 t = 1; t <= mu; ++t) masks[t] = values[1 << (t - 1)];
    }

    /// @notice V at y, from the rows' bits alone: what the base proof's o_4 must be.
    /// @param seed0 the bits' seed.
    /// @param data as `equalities` has them. So is `masks`.
    function evaluate(
        Shape memory shape,
        bytes32 seed0,
        uint256 eta,
        uint256 y,
        uint256[] memory data,
        uint256[] memory masks
    ) internal view returns (uint256 value) {
        value = SubsetSums.rows(
            seed0,
            eta,
            SubsetSums.Weights(data, shape.blocks, _power(y, shape.width), shape.height, y, shape.width)
        );
        uint256 p = Bn254.P;
        uint256 ratio = mulmod(eta, y, p);
        if (ratio == 1) revert NoGeometricSum(eta, y); // nobody meets it by chance
        uint256 inverse = _power(addmod(ratio, p - 1, p), p - 2);
        // the flood, Σ_{j <= 520} η^j y^(j−1), and the masks' own coordinates, y^(520 + t)
        uint256 head = _power(y, ROWS);
        uint256 flood = mulmod(_power(eta, ROWS), head, p) + p - 1;
        value = addmod(value, mulmod(flood, mulmod(masks[0], mulmod(eta, inverse, p), p), p), p);
        for (uint256 t; t < masks.length; ++t) {
            value = addmod(value, mulmod(masks[t], head, p), p);
            head = mulmod(head, y, p);
        }
        value = addmod(value, _padding(shape, eta, y, inverse, data), p);
    }

    /// @dev y^d0 · ((ηy)^(C−d0) − 1)/(ηy − 1) · Σ_i eq_(last chunk of i) · η^(521 + i(C−d0)), slot 1 for i = 0.
    function _padding(Shape memory shape, uint256 eta, uint256 y, uint256 inverse, uint256[] memory data)
        private
        view
        returns (uint256)
    {
        uint256 p = Bn254.P;
        uint256 size = shape.height * shape.width - shape.start;
        if (size == 0) return 0;
        uint256 step = _power(eta, size);
        uint256 sum;
        for (uint256 i = shape.slots; i > 0; --i) {
            sum = addmod(mulmod(sum, step, p), data[i * shape.chunks - 1], p);
        }
        sum = mulmod(sum, _power(eta, ROWS + 1), p);
        uint256 geometric = mulmod(mulmod(step, _power(y, size), p) + p - 1, inverse, p);
        return mulmod(mulmod(sum, geometric, p), _power(y, shape.start), p);
    }

    /// @dev base^exponent mod p.
    function _power(uint256 base, uint256 exponent) private view returns (uint256 out) {
        uint256 p = Bn254.P;
        bool good;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, 0x20)
            mstore(add(free, 0x20), 0x20)
            mstore(add(free, 0x40), 0x20)
            mstore(add(free, 0x60), base)
            mstore(add(free, 0x80), exponent)
            mstore(add(free, 0xa0), p)
            good := staticcall(gas(), MOD_EXP, free, 0xc0, 0, 0x20)
            good := and(good, eq(returndatasize(), 0x20))
            out := mload(0)
        }
        if (!good) revert PowerFailed(base, exponent);
    }
}
