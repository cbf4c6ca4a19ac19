// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title The rows of the projection at a point: for each row three sums of the weights whose bits are 1.
/// @notice Mirrors the rows' part of `evaluate` in zkmarket/projection.py. The bits of row j are windows of 6: first
/// those of s, then of a, then of b; 42 windows a word, lowest bits first; word k of the row is
/// keccak(seed_0 ‖ "row" ‖ j ‖ k). A window names one of the 64 subset sums of its 6 weights, which a table holds.
/// @dev Tables lie at fixed addresses: in every look-up that saves two operations of nine. `reserve` claims their place
/// before anything else takes memory. Straight code may be longer than the windows that there are: it meets tables of
/// zeros then.
///
/// Numbers below p are added up to five at a time before they are reduced: 5·p < 2^256 < 6·p.
library SubsetSums {
    uint256 private constant ROWS = 520;
    uint256 private constant WINDOW = 6; // bits
    uint256 private constant PER_WORD = 42; // windows
    uint256 private constant ENTRIES = 2016; // 63 · 32: where a word stands in its table, from a window's bits
    uint256 private constant TABLE = 0x800; // bytes of 64 words

    uint256 private constant PRIME = 0xfe0; // p
    uint256 private constant HASHED = 0x1000; // seed_0, "row", j, k
    uint256 private constant TABLES = 0x1080;

    // where one word holds a row: 22 tables of b, 11 of a, then those of s
    uint256 private constant SHORT_B = 22;
    uint256 private constant SHORT_A = 11;
    uint256 private constant A_TABLES = 0xc080;
    uint256 private constant S_TABLES = 0x11880;

    // where it does not: 22 tables, then columns of 520 words: hashes, sums of s, of a, of b
    uint256 private constant BLOCK = 22;
    uint256 private constant COLUMN = 0x4100;
    uint256 private constant HASHES = 0xc080;
    uint256 private constant LONG_END = 0x1c480;

    function windows(uint256 bits) internal pure returns (uint256) {
        return (bits + WINDOW - 1) / WINDOW;
    }

    /// @notice How many words a list of weights has: whole windows.
    function padded(uint256 bits) internal pure returns (uint256) {
        return WINDOW * windows(bits);
    }

    /// @notice Claim the memory that `rows` works in. To be called before anything else takes memory.
    /// @param s how many weights there are of each kind.
    function reserve(uint256 s, uint256 a, uint256 b) internal pure {
        uint256 ws = windows(s);
        uint256 end = _isShort(ws, windows(a), windows(b)) ? S_TABLES + (ws + ws % 2) * TABLE : LONG_END;
        uint256 p = Bn254.P;
        assembly ("memory-safe") {
            if gt(mload(0x40), PRIME) { invalid() }
            mstore(0x40, end)
            mstore(PRIME, p)
        }
    }

    /// @notice p, where the compiler does not know it: it would copy a constant of that size from code at every use, for
    /// 35 gas. To be called after `reserve`.
    function prime() internal pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := mload(PRIME)
        }
    }

    /// @notice Σ_j η^j · (Σ_k s_{j,k} S_k) · (Σ_k a_{j,k} A_k) · (Σ_k b_{j,k} B_k) over rows j = 1..520.
    /// @param s the weights S_k, below p; zeros up to a whole window. So are `a` and `b`.
    function rows(bytes32 seed0, uint256 eta, uint256[] memory s, uint256[] memory a, uint256[] memory b)
        internal
        pure
        returns (uint256)
    {
        assembly ("memory-safe") {
            mstore(HASHED, seed0)
            mstore(add(HASHED, 0x20), "row")
        }
        (uint256 ws, uint256 wa, uint256 wb) = (s.length / WINDOW, a.length / WINDOW, b.length / WINDOW);
        if (!_isShort(ws, wa, wb)) return _long(eta, s, a, b);
        _tables(TABLES, b, 0, wb, SHORT_B);
        _tables(A_TABLES, a, 0, wa, SHORT_A);
        _tables(S_TABLES, s, 0, ws, ws + ws % 2);
        return _short(eta, ws, WINDOW * ws, WINDOW * (ws + wa));
    }

    /// @dev Whether one word holds a row, and the straight code its parts.
    function _isShort(uint256 ws, uint256 wa, uint256 wb) private pure returns (bool) {
        return wa <= SHORT_A && wb <= SHORT_B && ws + wa + wb <= PER_WORD;
    }

    /// @dev Tables of windows `first` to `first + count − 1` of these weights, and zeros up to `room` tables.
    function _tables(uint256 place, uint256[] memory weights, uint256 first, uint256 count, uint256 room) private pure {
        uint256 end = place + count * TABLE;
        uint256 six;
        assembly ("memory-safe") {
            six := add(add(weights, 0x20), mul(first, 0xc0))
            calldatacopy(end, calldatasize(), mul(sub(room, count), TABLE))
        }
        for (; place < end; place += TABLE) {
            _table(place, six);
            six += 0xc0;
        }
    }

    /// @dev All sums of the six weights that stand at `six`.
    function _table(uint256 place, uint256 six) private pure {
        uint256 p = prime();
        assembly ("memory-safe") {
            // words 0, 8, … 56: the upper three weights
            mstore(place, 0)
            let x := mload(add(six, 0x60))
            let y := mload(add(six, 0x80))
            let z := mload(add(six, 0xa0))
            let xy := addmod(x, y, p)
            mstore(add(place, 0x100), x)
            mstore(add(place, 0x200), y)
            mstore(add(place, 0x300), xy)
            mstore(add(place, 0x400), z)
            mstore(add(place, 0x500), addmod(x, z, p))
            mstore(add(place, 0x600), addmod(y, z, p))
            mstore(add(place, 0x700), addmod(xy, z, p))
            // and with each of them the sums of the lower three
            x := mload(six)
            y := mload(add(six, 0x20))
            z := mload(add(six, 0x40))
            xy := addmod(x, y, p)
            let xz := addmod(x, z, p)
            let yz := addmod(y, z, p)
            let xyz := addmod(xy, z, p)
            for { let end := add(place, TABLE) } lt(place, end) { place := add(place, 0x100) } {
                let upper := mload(place)
                mstore(add(place, 0x20), addmod(upper, x, p))
                mstore(add(place, 0x40), addmod(upper, y, p))
                mstore(add(place, 0x60), addmod(upper, xy, p))
                mstore(add(place, 0x80), addmod(upper, z, p))
                mstore(add(place, 0xa0), addmod(upper, xz, p))
                mstore(add(place, 0xc0), addmod(upper, yz, p))
                mstore(add(place, 0xe0), addmod(upper, xyz, p))
            }
        }
    }

    // ------------------------------------------------------------ one word a row

    /// @param ws windows of s, of which straight code takes two at a time.
    /// @param atA where the bits of a start, and those of b.
    function _short(uint256 eta, uint256 ws, uint256 atA, uint256 atB) private pure returns (uint256 total) {
        uint256 p = prime();
        assembly ("memory-safe") {
            mstore(add(HASHED, 0x60), 0)
            let end := add(S_TABLES, mul(ws, TABLE))
            // Horner's scheme: the last row first
            for { let j := ROWS } j { j := sub(j, 1) } {
                mstore(add(HASHED, 0x40), j)
                let h := keccak256(HASHED, 0x80)
                let g := shl(5, h)
                let s := add(mload(add(S_TABLES, and(g, ENTRIES))), mload(add(0x12080, and(shr(6, g), ENTRIES))))
                for { let t := add(S_TABLES, 0x1000) } lt(t, end) { t := add(t, 0x1000) } {
                    g := shr(12, g)
                    s := addmod(s, mload(add(t, and(g, ENTRIES))), p)
                    s := add(s, mload(add(add(t, TABLE), and(shr(6, g), ENTRIES))))
                }
                g := shl(5, shr(atA, h))
                let a := mload(add(0xc080, and(g, ENTRIES)))
                a := add(a, mload(add(0xc880, and(shr(6, g), ENTRIES))))
                a := add(a, mload(add(0xd080, and(shr(12, g), ENTRIES))))
                a := add(a, mload(add(0xd880, and(shr(18, g), ENTRIES))))
                a := add(a, mload(add(0xe080, and(shr(24, g), ENTRIES))))
                let more := mload(add(0xe880, and(shr(30, g), ENTRIES)))
                more := add(more, mload(add(0xf080, and(shr(36, g), ENTRIES))))
                more := add(more, mload(add(0xf880, and(shr(42, g), ENTRIES))))
                more := add(more, mload(add(0x10080, and(shr(48, g), ENTRIES))))
                more := add(more, mload(add(0x10880, and(shr(54, g), ENTRIES))))
                a := addmod(a, more, p)
                a := add(a, mload(add(0x11080, and(shr(60, g), ENTRIES))))
                s := mulmod(s, a, p)
                g := shl(5, shr(atB, h))
                let b := mload(add(0x1080, and(g, ENTRIES)))
                b := add(b, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                b := add(b, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                b := add(b, mload(add(0x2880, and(shr(18, g), ENTRIES))))
                b := add(b, mload(add(0x3080, and(shr(24, g), ENTRIES))))
                more := mload(add(0x3880, and(shr(30, g), ENTRIES)))
                more := add(more, mload(add(0x4080, and(shr(36, g), ENTRIES))))
                more := add(more, mload(add(0x4880, and(shr(42, g), ENTRIES))))
                more := add(more, mload(add(0x5080, and(shr(48, g), ENTRIES))))
                more := add(more, mload(add(0x5880, and(shr(54, g), ENTRIES))))
                b := addmod(b, more, p)
                b := add(b, mload(add(0x6080, and(shr(60, g), ENTRIES))))
                b := add(b, mload(add(0x6880, and(shr(66, g), ENTRIES))))
                b := add(b, mload(add(0x7080, and(shr(72, g), ENTRIES))))
                b := add(b, mload(add(0x7880, and(shr(78, g), ENTRIES))))
                more := mload(add(0x8080, and(shr(84, g), ENTRIES)))
                more := add(more, mload(add(0x8880, and(shr(90, g), ENTRIES))))
                more := add(more, mload(add(0x9080, and(shr(96, g), ENTRIES))))
                more := add(more, mload(add(0x9880, and(shr(102, g), ENTRIES))))
                more := add(more, mload(add(0xa080, and(shr(108, g), ENTRIES))))
                b := addmod(b, more, p)
                b := add(b, mload(add(0xa880, and(shr(114, g), ENTRIES))))
                b := add(b, mload(add(0xb080, and(shr(120, g), ENTRIES))))
                b := add(b, mload(add(0xb880, and(shr(126, g), ENTRIES))))
                total := mulmod(add(total, mulmod(s, b, p)), eta, p)
            }
        }
    }

    // ------------------------------------------------------------ several words a row

    /// @dev All rows take one block of windows after the other: each block has its tables made once, and they need not
    /// all be there at the same time.
    function _long(uint256 eta, uint256[] memory s, uint256[] memory a, uint256[] memory b)
        private
        pure
        returns (uint256)
    {
        assembly ("memory-safe") {
            calldatacopy(add(HASHES, COLUMN), calldatasize(), mul(3, COLUMN))
        }
        uint256 window; // of the row
        for (uint256 part = 1; part < 4; ++part) {
            uint256[] memory weights = part == 1 ? s : part == 2 ? a : b;
            uint256 count = weights.length / WINDOW;
            for (uint256 done; done < count;) {
                uint256 place = window % PER_WORD;
                if (place == 0) _hash(window / PER_WORD);
                uint256 n = _least(count - done, _least(PER_WORD - place, BLOCK));
                uint256 size = n > 16 ? 22 : n > 11 ? 16 : n > 7 ? 11 : n > 3 ? 7 : 3;
                _tables(TABLES, weights, done, n, size);
                _look(size, WINDOW * place, part * COLUMN);
                (done, window) = (done + n, window + n);
            }
        }
        return _sum(eta);
    }

    /// @dev hashes_j = word k of row j.
    function _hash(uint256 k) private pure {
        assembly ("memory-safe") {
            mstore(add(HASHED, 0x60), k)
            let place := HASHES
            for { let j := 1 } lt(j, 521) { j := add(j, 1) } {
                mstore(add(HASHED, 0x40), j)
                mstore(place, keccak256(HASHED, 0x80))
                place := add(place, 0x20)
            }
        }
    }

    /// @dev Look up a block of windows in every row, and add what is found to a column.
    /// @param size of the block: 22, 16, 11, 7 or 3 windows.
    /// @param bit of the word where it starts.
    function _look(uint256 size, uint256 bit, uint256 column) private pure {
        uint256 p = prime();
        assembly ("memory-safe") {
            let row := HASHES
            let end := add(HASHES, COLUMN)
            switch size
            case 22 {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let g := shl(5, shr(bit, mload(row)))
                    let x := mload(add(0x1080, and(g, ENTRIES)))
                    x := add(x, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                    x := add(x, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                    x := add(x, mload(add(0x2880, and(shr(18, g), ENTRIES))))
                    x := add(x, mload(add(0x3080, and(shr(24, g), ENTRIES))))
                    let more := mload(add(0x3880, and(shr(30, g), ENTRIES)))
                    more := add(more, mload(add(0x4080, and(shr(36, g), ENTRIES))))
                    more := add(more, mload(add(0x4880, and(shr(42, g), ENTRIES))))
                    more := add(more, mload(add(0x5080, and(shr(48, g), ENTRIES))))
                    more := add(more, mload(add(0x5880, and(shr(54, g), ENTRIES))))
                    x := addmod(x, more, p)
                    x := add(x, mload(add(0x6080, and(shr(60, g), ENTRIES))))
                    x := add(x, mload(add(0x6880, and(shr(66, g), ENTRIES))))
                    x := add(x, mload(add(0x7080, and(shr(72, g), ENTRIES))))
                    x := add(x, mload(add(0x7880, and(shr(78, g), ENTRIES))))
                    more := mload(add(0x8080, and(shr(84, g), ENTRIES)))
                    more := add(more, mload(add(0x8880, and(shr(90, g), ENTRIES))))
                    more := add(more, mload(add(0x9080, and(shr(96, g), ENTRIES))))
                    more := add(more, mload(add(0x9880, and(shr(102, g), ENTRIES))))
                    more := add(more, mload(add(0xa080, and(shr(108, g), ENTRIES))))
                    x := addmod(x, more, p)
                    x := add(x, mload(add(0xa880, and(shr(114, g), ENTRIES))))
                    x := add(x, mload(add(0xb080, and(shr(120, g), ENTRIES))))
                    x := add(x, mload(add(0xb880, and(shr(126, g), ENTRIES))))
                    let sum := add(row, column)
                    mstore(sum, addmod(x, mload(sum), p))
                }
            }
            case 16 {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let g := shl(5, shr(bit, mload(row)))
                    let x := mload(add(0x1080, and(g, ENTRIES)))
                    x := add(x, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                    x := add(x, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                    x := add(x, mload(add(0x2880, and(shr(18, g), ENTRIES))))
                    x := add(x, mload(add(0x3080, and(shr(24, g), ENTRIES))))
                    let more := mload(add(0x3880, and(shr(30, g), ENTRIES)))
                    more := add(more, mload(add(0x4080, and(shr(36, g), ENTRIES))))
                    more := add(more, mload(add(0x4880, and(shr(42, g), ENTRIES))))
                    more := add(more, mload(add(0x5080, and(shr(48, g), ENTRIES))))
                    more := add(more, mload(add(0x5880, and(shr(54, g), ENTRIES))))
                    x := addmod(x, more, p)
                    x := add(x, mload(add(0x6080, and(shr(60, g), ENTRIES))))
                    x := add(x, mload(add(0x6880, and(shr(66, g), ENTRIES))))
                    x := add(x, mload(add(0x7080, and(shr(72, g), ENTRIES))))
                    x := add(x, mload(add(0x7880, and(shr(78, g), ENTRIES))))
                    more := mload(add(0x8080, and(shr(84, g), ENTRIES)))
                    more := add(more, mload(add(0x8880, and(shr(90, g), ENTRIES))))
                    x := addmod(x, more, p)
                    let sum := add(row, column)
                    mstore(sum, addmod(x, mload(sum), p))
                }
            }
            case 11 {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let g := shl(5, shr(bit, mload(row)))
                    let x := mload(add(0x1080, and(g, ENTRIES)))
                    x := add(x, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                    x := add(x, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                    x := add(x, mload(add(0x2880, and(shr(18, g), ENTRIES))))
                    x := add(x, mload(add(0x3080, and(shr(24, g), ENTRIES))))
                    let more := mload(add(0x3880, and(shr(30, g), ENTRIES)))
                    more := add(more, mload(add(0x4080, and(shr(36, g), ENTRIES))))
                    more := add(more, mload(add(0x4880, and(shr(42, g), ENTRIES))))
                    more := add(more, mload(add(0x5080, and(shr(48, g), ENTRIES))))
                    more := add(more, mload(add(0x5880, and(shr(54, g), ENTRIES))))
                    x := addmod(x, more, p)
                    x := add(x, mload(add(0x6080, and(shr(60, g), ENTRIES))))
                    let sum := add(row, column)
                    mstore(sum, addmod(x, mload(sum), p))
                }
            }
            case 7 {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let g := shl(5, shr(bit, mload(row)))
                    let x := mload(add(0x1080, and(g, ENTRIES)))
                    x := add(x, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                    x := add(x, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                    x := add(x, mload(add(0x2880, and(shr(18, g), ENTRIES))))
                    x := add(x, mload(add(0x3080, and(shr(24, g), ENTRIES))))
                    let more := mload(add(0x3880, and(shr(30, g), ENTRIES)))
                    more := add(more, mload(add(0x4080, and(shr(36, g), ENTRIES))))
                    x := addmod(x, more, p)
                    let sum := add(row, column)
                    mstore(sum, addmod(x, mload(sum), p))
                }
            }
            default {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let g := shl(5, shr(bit, mload(row)))
                    let x := mload(add(0x1080, and(g, ENTRIES)))
                    x := add(x, mload(add(0x1880, and(shr(6, g), ENTRIES))))
                    x := add(x, mload(add(0x2080, and(shr(12, g), ENTRIES))))
                    let sum := add(row, column)
                    mstore(sum, addmod(x, mload(sum), p))
                }
            }
        }
    }

    /// @dev Σ_j η^j · s_j · a_j · b_j of the columns.
    function _sum(uint256 eta) private pure returns (uint256 total) {
        uint256 p = prime();
        assembly ("memory-safe") {
            // Horner's scheme: the last row first
            for { let row := add(HASHES, mul(2, COLUMN)) } gt(row, add(HASHES, COLUMN)) {} {
                row := sub(row, 0x20)
                let product := mulmod(mload(row), mload(add(row, COLUMN)), p)
                product := mulmod(product, mload(add(row, mul(2, COLUMN))), p)
                total := mulmod(add(total, product), eta, p)
            }
        }
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
