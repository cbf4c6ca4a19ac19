// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./Bn254.sol";

/// @title The rows of the projection at a point: for each row three sums of the weights whose bits are 1.
/// @notice Mirrors the rows' part of `evaluate` in zkmarket/round/projection.py. The bits of row j are windows of 6: first
/// those of s, then of a, then of b; 42 windows a word, lowest bits first; word k of the row is
/// keccak(seed_0 ‖ "row" ‖ j ‖ k).
/// @dev Bits are looked up by bytes: a table holds the 256 subset sums of 8 weights. The weights of a and of b are powers
/// of one base, so that byte 4i + k of them is looked up in table k, and counts base^32i times as much: four tables do
/// for a list of any length. Their bits are masked to as many as there are weights.
///
/// Bytes are looked up in two words, one with the even bytes and one with the odd ones: between two bytes of a word is
/// room for the place of the table, which one addition puts there for all of them. What 16 bits then hold, from bit 5 on,
/// is where a sum stands in memory.
///
/// Tables lie at fixed addresses. `reserve` claims their place before anything else takes memory.
///
/// Numbers below p are added up to five at a time before they are reduced: 5·p < 2^256 < 6·p.
library SubsetSums {
    /// @notice What the bits of a row select.
    struct Weights {
        uint256[] s; // of the data blocks, below p; zeros up to `padded`
        uint256 blocks;
        uint256 a; // 1, a, a², …: of the rows of a column
        uint256 height;
        uint256 b; // 1, b, b², …: of the values of such a row
        uint256 width;
    }

    uint256 private constant ROWS = 520;
    uint256 private constant WINDOW = 6; // bits
    uint256 private constant PER_WORD = 42; // windows
    uint256 private constant WORD = 252; // their bits
    uint256 private constant ENTRIES = 2016; // 63 · 32: where a word stands in a window's table
    uint256 private constant TABLE = 0x800; // bytes of 64 words
    uint256 private constant BYTE_ENTRIES = 0x1fe0; // 255 · 32
    uint256 private constant BYTE_TABLE = 0x2000;
    uint256 private constant FIELD = 0x1fffe0; // 16 bits, from bit 5 on

    uint256 private constant EIGHT = 0xd00; // weights of a table
    uint256 private constant EVEN = 0xe00; // a word for each of these
    uint256 private constant EVEN_PLACES = 0xe20;
    uint256 private constant ODD_PLACES = 0xe40;
    uint256 private constant A_LEFT = 0xe60;
    uint256 private constant A_BITS = 0xe80;
    uint256 private constant A_32 = 0xea0; // a^32
    uint256 private constant B_RIGHT = 0xec0;
    uint256 private constant B_BITS = 0xee0;
    uint256 private constant B_32 = 0xf00;
    uint256 private constant PRIME = 0xfe0; // p
    uint256 private constant HASHED = 0x1000; // seed_0, "row", j, k
    uint256 private constant TABLES = 0x1080; // of powers: four of b

    // where one word holds a row: four tables of a, then those of s
    uint256 private constant SHORT_S = 22; // windows: the bits of a start at bit 132 or before, and are moved up to 133
    uint256 private constant SHORT_A = 64; // bits
    uint256 private constant SHORT_B = 128;
    uint256 private constant A_TABLES = 0x9080;
    uint256 private constant S_TABLES = 0x11080;

    // where it does not: columns of 520 words behind 22 tables of windows: bits of two words, words, sums of s, of a, of b
    uint256 private constant BLOCK = 22; // windows
    uint256 private constant POWERS = 128; // bits
    uint256 private constant COLUMN = 0x4100;
    uint256 private constant JOINED = 0xc080;
    uint256 private constant HASHES = 0x10180;
    uint256 private constant LONG_END = 0x20580;

    function windows(uint256 bits) internal pure returns (uint256) {
        return (bits + WINDOW - 1) / WINDOW;
    }

    /// @notice How many words a list of weights has: whole windows, and whole bytes.
    function padded(uint256 bits) internal pure returns (uint256) {
        return (bits + 23) / 24 * 24;
    }

    /// @notice Claim the memory that `rows` works in. To be called before anything else takes memory.
    /// @param blocks, height, width as of the `Weights`.
    function reserve(uint256 blocks, uint256 height, uint256 width) internal pure {
        uint256 end = _isShort(blocks, height, width) ? S_TABLES + _bytes(blocks) * BYTE_TABLE : LONG_END;
        uint256 p = Bn254.P;
        assembly ("memory-safe") {
            if gt(mload(0x40), EIGHT) { invalid() }
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

    /// @notice Σ_j η^j · (Σ_k s_{j,k} S_k) · (Σ_k a_{j,k} a^k) · (Σ_k b_{j,k} b^k) over rows j = 1..520.
    function rows(bytes32 seed0, uint256 eta, Weights memory weights) internal pure returns (uint256) {
        assembly ("memory-safe") {
            mstore(HASHED, seed0)
            mstore(add(HASHED, 0x20), "row")
            // fields of 16 bits: which bytes are even, and in what table each is looked up
            mstore(EVEN, 0x1fe01fe01fe01fe01fe01fe01fe01fe01fe01fe01fe01fe0)
            mstore(EVEN_PLACES, 0xd0809080d080908050801080508010805080108050801080)
            mstore(ODD_PLACES, 0xf080b080f080b0807080308070803080708030807080308000)
        }
        bool short = _isShort(weights.blocks, weights.height, weights.width);
        return short ? _short(eta, weights) : _long(eta, weights);
    }

    /// @dev Whether one word holds a row, and the straight code its parts.
    function _isShort(uint256 blocks, uint256 height, uint256 width) private pure returns (bool) {
        return windows(blocks) <= SHORT_S && height <= SHORT_A && width <= SHORT_B
            && windows(blocks) + windows(height) + windows(width) <= PER_WORD;
    }

    function _bytes(uint256 bits) private pure returns (uint256) {
        return (bits + 7) / 8;
    }

    // ------------------------------------------------------------ tables

    /// @dev Four tables, of base^0 to base^31.
    /// @return power base^32
    function _powers(uint256 place, uint256 base) private pure returns (uint256 power) {
        uint256 p = prime();
        power = 1;
        for (uint256 end = place + 4 * BYTE_TABLE; place < end; place += BYTE_TABLE) {
            assembly ("memory-safe") {
                for { let at := EIGHT } lt(at, add(EIGHT, 0x100)) { at := add(at, 0x20) } {
                    mstore(at, power)
                    power := mulmod(power, base, p)
                }
            }
            _byteTable(place, EIGHT);
        }
    }

    /// @dev All sums of the eight weights that stand at `eight`.
    function _byteTable(uint256 place, uint256 eight) private pure {
        uint256 p = prime();
        uint256 x;
        uint256 y;
        uint256 xy;
        assembly ("memory-safe") {
            x := mload(add(eight, 0xc0))
            y := mload(add(eight, 0xe0))
            xy := addmod(x, y, p)
        }
        _table(place, eight, 0);
        _table(place + TABLE, eight, x);
        _table(place + 2 * TABLE, eight, y);
        _table(place + 3 * TABLE, eight, xy);
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
            _table(place, six, 0);
            six += 0xc0;
        }
    }

    /// @dev All sums of the six weights that stand at `six`, and of one that is in every sum.
    function _table(uint256 place, uint256 six, uint256 always) private pure {
        uint256 p = prime();
        assembly ("memory-safe") {
            // words 0, 8, … 56: the upper three weights
            let x := mload(add(six, 0x60))
            let y := mload(add(six, 0x80))
            let z := mload(add(six, 0xa0))
            mstore(place, always)
            mstore(add(place, 0x400), addmod(always, z, p))
            x := addmod(always, x, p)
            mstore(add(place, 0x100), x)
            mstore(add(place, 0x500), addmod(x, z, p))
            x := addmod(x, y, p)
            mstore(add(place, 0x300), x)
            mstore(add(place, 0x700), addmod(x, z, p))
            y := addmod(always, y, p)
            mstore(add(place, 0x200), y)
            mstore(add(place, 0x600), addmod(y, z, p))
            // and with each of them the sums of the lower three
            x := mload(six)
            y := mload(add(six, 0x20))
            z := mload(add(six, 0x40))
            let xy := addmod(x, y, p)
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

    function _short(uint256 eta, Weights memory weights) private pure returns (uint256) {
        uint256 atA = WINDOW * windows(weights.blocks); // where the bits of a start, and those of b
        uint256 atB = atA + WINDOW * windows(weights.height);
        uint256 a32 = _powers(A_TABLES, weights.a);
        uint256 b32 = _powers(TABLES, weights.b);
        uint256 bitsA = ((1 << weights.height) - 1) << 133;
        uint256 bitsB = ((1 << weights.width) - 1) << 5;
        uint256[] memory s = weights.s;
        uint256 end = S_TABLES;
        for (uint256 done; done < weights.blocks; done += 8) {
            uint256 eight;
            assembly ("memory-safe") {
                eight := add(add(s, 0x20), shl(5, done))
            }
            _byteTable(end, eight);
            end += BYTE_TABLE;
        }
        assembly ("memory-safe") {
            mstore(A_LEFT, sub(133, atA))
            mstore(A_BITS, bitsA)
            mstore(A_32, a32)
            mstore(B_RIGHT, sub(atB, 5))
            mstore(B_BITS, bitsB)
            mstore(B_32, b32)
        }
        return _lookUp(eta, end);
    }

    /// @dev Bits of b from bit 5 on, then those of a from bit 133 on.
    /// @param end of the tables of s.
    function _lookUp(uint256 eta, uint256 end) private pure returns (uint256 total) {
        uint256 p = prime();
        assembly ("memory-safe") {
            mstore(add(HASHED, 0x60), 0)
            // Horner's scheme: the last row first
            for { let j := ROWS } j { j := sub(j, 1) } {
                mstore(add(HASHED, 0x40), j)
                let h := keccak256(HASHED, 0x80)
                let even := or(
                    and(shl(mload(A_LEFT), h), mload(A_BITS)),
                    and(shr(mload(B_RIGHT), h), mload(B_BITS))
                )
                h := shl(5, h)
                let s := mload(add(S_TABLES, and(h, BYTE_ENTRIES)))
                for { let t := add(S_TABLES, BYTE_TABLE) } lt(t, end) { t := add(t, BYTE_TABLE) } {
                    h := shr(8, h)
                    s := addmod(s, mload(add(t, and(h, BYTE_ENTRIES))), p)
                }
                let odd := even
                even := and(even, mload(EVEN))
                odd := add(xor(odd, even), mload(ODD_PLACES))
                even := add(even, mload(EVEN_PLACES))
                let sum := mload(shr(184, odd))
                sum := add(sum, mload(shr(176, even)))
                sum := add(sum, mload(and(shr(168, odd), FIELD)))
                sum := add(sum, mload(and(shr(160, even), FIELD)))
                sum := add(mulmod(sum, mload(A_32), p), mload(and(shr(152, odd), FIELD)))
                sum := add(sum, mload(and(shr(144, even), FIELD)))
                sum := add(sum, mload(and(shr(136, odd), FIELD)))
                sum := add(sum, mload(and(shr(128, even), FIELD)))
                s := mulmod(s, sum, p)
                sum := mload(and(shr(120, odd), FIELD))
                sum := add(sum, mload(and(shr(112, even), FIELD)))
                sum := add(sum, mload(and(shr(104, odd), FIELD)))
                sum := add(sum, mload(and(shr(96, even), FIELD)))
                sum := add(mulmod(sum, mload(B_32), p), mload(and(shr(88, odd), FIELD)))
                sum := add(sum, mload(and(shr(80, even), FIELD)))
                sum := add(sum, mload(and(shr(72, odd), FIELD)))
                sum := add(sum, mload(and(shr(64, even), FIELD)))
                sum := add(mulmod(sum, mload(B_32), p), mload(and(shr(56, odd), FIELD)))
                sum := add(sum, mload(and(shr(48, even), FIELD)))
                sum := add(sum, mload(and(shr(40, odd), FIELD)))
                sum := add(sum, mload(and(shr(32, even), FIELD)))
                sum := add(mulmod(sum, mload(B_32), p), mload(and(shr(24, odd), FIELD)))
                sum := add(sum, mload(and(shr(16, even), FIELD)))
                sum := add(sum, mload(and(shr(8, odd), FIELD)))
                sum := add(sum, mload(and(even, FIELD)))
                total := mulmod(add(total, mulmod(s, sum, p)), eta, p)
            }
        }
    }

    // ------------------------------------------------------------ several words a row

    /// @dev All rows take one block of bits after the other: they need not all be there at the same time.
    function _long(uint256 eta, Weights memory weights) private pure returns (uint256) {
        assembly ("memory-safe") {
            calldatacopy(add(HASHES, COLUMN), calldatasize(), mul(3, COLUMN))
        }
        uint256 bit = WINDOW * _blocks(weights.s, windows(weights.blocks)); // of the row
        bit = _column(bit, weights.a, weights.height, HASHES + 2 * COLUMN);
        _column(bit, weights.b, weights.width, HASHES + 3 * COLUMN);
        return _sum(eta);
    }

    /// @dev The sums of s, by windows: each block has its tables.
    function _blocks(uint256[] memory s, uint256 count) private pure returns (uint256 done) {
        while (done < count) {
            uint256 place = done % PER_WORD;
            if (place == 0) _hash(done / PER_WORD);
            uint256 n = _least(count - done, _least(PER_WORD - place, BLOCK));
            uint256 size = n > 16 ? 22 : n > 11 ? 16 : n > 7 ? 11 : n > 3 ? 7 : 3;
            _tables(TABLES, s, done, n, size);
            _look(size, WINDOW * place, COLUMN);
            done += n;
        }
    }

    /// @dev The sums of powers of one base, by bytes: all blocks have the same tables.
    /// @param bit of the row, where they start.
    /// @return next where what follows them starts.
    function _column(uint256 bit, uint256 base, uint256 count, uint256 column) private pure returns (uint256 next) {
        uint256 p = prime();
        uint256 step = _powers(TABLES, base);
        uint256 hop = mulmod(step, step, p);
        hop = mulmod(hop, hop, p);
        next = bit + WINDOW * windows(count);
        for (uint256 factor = 1; count > 0; factor = mulmod(factor, hop, p)) {
            uint256 n = _least(count, POWERS);
            uint256 word = (bit - 1) / WORD; // whose hashes are there
            (uint256 from, uint256 at) = (HASHES, bit - WORD * word);
            if (at + n > WORD) {
                _join(word + 1, at);
                (from, at) = (JOINED, 0);
            }
            _lookPowers(from, at, n, step, factor, column - from);
            (bit, count) = (bit + n, count - n);
        }
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

    /// @dev joined_j = what is left of the word that is there from a bit on, then word k of row j; hashes_j = that word.
    function _join(uint256 k, uint256 bit) private pure {
        assembly ("memory-safe") {
            mstore(add(HASHED, 0x60), k)
            let place := HASHES
            let left := sub(WORD, bit)
            for { let j := 1 } lt(j, 521) { j := add(j, 1) } {
                mstore(add(HASHED, 0x40), j)
                let h := keccak256(HASHED, 0x80)
                mstore(sub(place, COLUMN), or(shr(add(bit, 4), shl(4, mload(place))), shl(left, h)))
                mstore(place, h)
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

    /// @dev Look up a block of powers in every row, and add what is found, times a factor, to a column.
    /// @param row where the words are.
    /// @param bit of the word where it starts.
    /// @param count of its bits.
    /// @param step base^32
    /// @param column how far behind the words it is.
    function _lookPowers(uint256 row, uint256 bit, uint256 count, uint256 step, uint256 factor, uint256 column)
        private
        pure
    {
        uint256 p = prime();
        uint256 bits = ((1 << count) - 1) << 5;
        assembly ("memory-safe") {
            let end := add(row, COLUMN)
            switch gt(count, 64)
            case 0 {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let even := and(shl(5, shr(bit, mload(row))), bits)
                    let odd := even
                    even := and(even, mload(EVEN))
                    odd := add(xor(odd, even), mload(ODD_PLACES))
                    even := add(even, mload(EVEN_PLACES))
                    let sum := mload(and(shr(56, odd), FIELD))
                    sum := add(sum, mload(and(shr(48, even), FIELD)))
                    sum := add(sum, mload(and(shr(40, odd), FIELD)))
                    sum := add(sum, mload(and(shr(32, even), FIELD)))
                    sum := add(mulmod(sum, step, p), mload(and(shr(24, odd), FIELD)))
                    sum := add(sum, mload(and(shr(16, even), FIELD)))
                    sum := add(sum, mload(and(shr(8, odd), FIELD)))
                    sum := add(sum, mload(and(even, FIELD)))
                    let place := add(row, column)
                    mstore(place, addmod(mulmod(sum, factor, p), mload(place), p))
                }
            }
            default {
                for {} lt(row, end) { row := add(row, 0x20) } {
                    let even := and(shl(5, shr(bit, mload(row))), bits)
                    let odd := even
                    even := and(even, mload(EVEN))
                    odd := add(xor(odd, even), mload(ODD_PLACES))
                    even := add(even, mload(EVEN_PLACES))
                    let sum := mload(and(shr(120, odd), FIELD))
                    sum := add(sum, mload(and(shr(112, even), FIELD)))
                    sum := add(sum, mload(and(shr(104, odd), FIELD)))
                    sum := add(sum, mload(and(shr(96, even), FIELD)))
                    sum := add(mulmod(sum, step, p), mload(and(shr(88, odd), FIELD)))
                    sum := add(sum, mload(and(shr(80, even), FIELD)))
                    sum := add(sum, mload(and(shr(72, odd), FIELD)))
                    sum := add(sum, mload(and(shr(64, even), FIELD)))
                    sum := add(mulmod(sum, step, p), mload(and(shr(56, odd), FIELD)))
                    sum := add(sum, mload(and(shr(48, even), FIELD)))
                    sum := add(sum, mload(and(shr(40, odd), FIELD)))
                    sum := add(sum, mload(and(shr(32, even), FIELD)))
                    sum := add(mulmod(sum, step, p), mload(and(shr(24, odd), FIELD)))
                    sum := add(sum, mload(and(shr(16, even), FIELD)))
                    sum := add(sum, mload(and(shr(8, odd), FIELD)))
                    sum := add(sum, mload(and(even, FIELD)))
                    let place := add(row, column)
                    mstore(place, addmod(mulmod(sum, factor, p), mload(place), p))
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
