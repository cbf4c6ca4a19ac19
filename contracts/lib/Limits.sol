// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {Plan, Terms, Verifier, Windows} from "../Types.sol";
import {Bn254} from "./Bn254.sol";
import {Scores} from "./Scores.sol";

/// @title What terms a factory takes: bounds of every value, and that every round of a project can be settled and paid.
/// @notice Linked, for size: what creates the factory holds the code of all projects, too. Called by it alone; the caller
/// is the owner.
library Limits {
    /// @notice Most gas that a transaction of a settlement may need: it may be made in two.
    uint256 internal constant GAS_LIMIT = 14_000_000;
    /// @notice Most bytes of such a transaction.
    uint256 internal constant CALLDATA_LIMIT = 120_000;

    // Upper estimates of what one of each costs (benchmarks/gas.json); heavier projects are refused.
    uint256 private constant BASE_GAS = 1_820_000; // `proveBase`: the base proof, and whatever does not grow
    uint256 private constant SEAT_GAS = 15_000; // its words, its digest
    uint256 private constant WINDOW_GAS = 23_500; // a table of 64 sums, looked up in all rows of the projection
    uint256 private constant POINT_GAS = 7_700; // its bytes, its check, its multiple
    uint256 private constant DECISION_GAS = 1_300_000; // `settleProven`: the settlement proof, …
    uint256 private constant TRAINER_GAS = 35_000; // instances, credit
    uint256 private constant LOGGED_POINT_GAS = 2_500; // its bytes twice, its part in the aggregate
    uint256 private constant MODEL_GAS = 12_000; // a chunk of the model: its bytes, its two commitments' combination
    uint256 private constant POINT_BYTES = 64;
    uint256 private constant PROOFS_BYTES = 30_000; // of both, and all else that is not a point

    /// @dev ℓ1 of a column by K, from K = 10, the lowest 16 bits, to K = 20: as zkmarket/build/columns.py has it.
    uint256 private constant ROWS = 0x03fd_01fe_01fd_00fe_00fd_007e_007d_003e_003d_001e_001d;
    uint256 private constant MOST_VALUES = 1 << 26; // of an update, padded: then no inner product wraps around
    uint256 private constant PROJECTION_ROWS = 520;
    uint256 private constant WINDOW = 6; // bits
    uint256 private constant MOST_THETA_BITS = 32; // finer steps than 2^-32 of an update's unit move no model
    uint256 private constant MOST_SHIFT = 64; // of scores; they are then below 2^128 as proven

    uint256 private constant DEVELOPMENT = 31337;
    uint256 private constant DEVELOPMENT_GANACHE = 1337;

    // ------------------------------------------------------------ checks

    /// @notice Refuse terms that would trap somebody.
    /// @param rates, cid lengths.
    function check(Terms calldata given, Plan[] calldata plans, uint256 rates, uint256 cid) external view {
        _checkTerms(given, rates, cid);
        _checkPlans(given, plans);
        _checkSecurities(given, plans[0].references & 1);
        _checkWork(given, plans[0].references);
    }

    function _checkTerms(Terms calldata t, uint256 rates, uint256 cid) private view {
        if (t.owner != msg.sender) revert MarketErrors.WrongCaller(msg.sender, t.owner);
        if (t.aggregator == address(0)) revert MarketErrors.OutOfBounds("aggregator", 0, 1, type(uint160).max);
        _within("reward", t.reward, 1, type(uint128).max);
        _within("rounds", t.rounds, 1, 10_000);
        _within("pool", t.rounds * (uint256(t.reward) + t.fee), 1, type(uint128).max);
        _within("stake", t.stakeWei, 1, type(uint96).max);
        _within("void limit", t.voidLimit, 1, 64);
        _within("min accepted", t.minAccepted, 3, t.minTrainers);
        _within("max trainers", t.maxTrainers, t.minTrainers, 64);
        _within("logrows", t.logrows, 10, 20);
        _within("value bits", t.valueBits, 2, 19);
        uint256 rows = (ROWS >> (16 * (t.logrows - 10))) & 0xffff;
        _within("rows", t.rows, rows, rows);
        uint256 width = _width(t);
        _within("salts", t.salts, 8, width);
        _within("params", t.params, 1, MOST_VALUES);
        uint256 chunk = (rows - 1) * width;
        uint256 chunks = (t.params + chunk - 1) / chunk;
        _within("chunks", t.chunks, chunks, chunks);
        _within("values of an update", chunks * chunk, 1, MOST_VALUES);
        _within("theta bits", t.thetaBits, 0, MOST_THETA_BITS);
        if (t.theta == 0) revert MarketErrors.OutOfBounds("theta", 0, 1, type(uint256).max);
        _within("kappa", t.kappa, 1, type(uint32).max);
        _within("beta min", t.betaMin, t.params, t.betaMax);
        _within("beta", t.beta, t.betaMin, t.betaMax);
        _within("beta max", t.betaMax, t.betaMin, _normBound(t.params, t.valueBits));
        _within("rates", rates, 1, t.rounds);
        _within("cid", cid, 1, 96);
        if (!Bn254.isOnCurve(t.blinding.x, t.blinding.y)) revert Bn254.PointNotOnCurve(t.blinding.x, t.blinding.y);
        uint256 least = _checkWindows(t.windows);
        _checkVerifier(t.base);
        if (t.scoring.method != 0) {
            Scores.check(t.scoring, least, uint256(t.rounds) + t.voidLimit, t.maxTrainers, t.salts, t.chunks);
            _checkVerifier(t.scoring.verifier);
        }
    }

    /// @dev ℓ2: elements of a column's row.
    function _width(Terms calldata t) private pure returns (uint256) {
        return 1 << ((t.logrows + 1) / 2);
    }

    /// @dev That the largest round can be settled: by one transaction, or by two of which the second takes all points
    /// again. And that a column has a cell for each row of the projection and for each mask.
    function _checkWork(Terms calldata t, uint256 references) private pure {
        uint256 m = t.chunks;
        uint256 blocks = (t.maxTrainers + (references & 1)) * m; // what the projection speaks of
        uint256 masks = 1; // μ + 1: a power of two of positions, less one for each mask
        while ((1 << (masks - 1)) < blocks + masks) ++masks;
        (uint256 high, uint256 width) = (t.rows - 1, _width(t));
        _within("values of a chunk", high * width, PROJECTION_ROWS + masks, type(uint256).max);
        uint256 points = (t.maxTrainers + (references & 1) + (references >> 1)) * m + masks + 2; // C_G, a mask chunk
        for (uint256 half = 1; half < m; half *= 2) ++points; // the other chunks of slot 0
        uint256 windows = _windows(blocks) + _windows(high) + _windows(width);
        uint256 base = BASE_GAS + t.maxTrainers * SEAT_GAS + windows * WINDOW_GAS + points * POINT_GAS;
        _within("gas of proveBase", base, 0, GAS_LIMIT);
        uint256 decision = DECISION_GAS + t.maxTrainers * TRAINER_GAS + points * LOGGED_POINT_GAS + m * MODEL_GAS;
        _within("gas of settle", decision, 0, GAS_LIMIT);
        _within("calldata of settle", PROOFS_BYTES + (points + m) * POINT_BYTES, 0, CALLDATA_LIMIT);
    }

    function _windows(uint256 bits) private pure returns (uint256) {
        return (bits + WINDOW - 1) / WINDOW;
    }

    /// @dev What no squared norm exceeds, D·Q², rounded up to 24 bits: as the settlement circuit has it, whose
    /// constants are float32.
    function _normBound(uint256 params, uint256 valueBits) private pure returns (uint256) {
        uint256 norm = params << (2 * valueBits - 2);
        uint256 free;
        while (norm >> (free + 24) != 0) ++free;
        return ((norm + (1 << free) - 1) >> free) << free;
    }

    /// @dev A submission that is never delivered can make an admission fail, which burns R of the bond: a penalty is
    /// a share of that. Taking the updates and never settling must cost more than settling earns, after every refusal
    /// of a round that still locks, the root update's too. A token's reward cannot be compared with either.
    function _checkSecurities(Terms calldata t, uint256 roots) private pure {
        (uint256 penalty, uint256 least, uint256 bond) = (t.penaltyWei, t.minTrainers, t.penaltyWei);
        uint256 share = 1;
        if (t.token == address(0)) (share, bond) = ((t.reward + least - 1) / least, uint256(t.reward) + t.fee);
        _within("penalty", penalty, share, t.stakeWei);
        _within("bond", t.bondWei, bond + (t.maxTrainers - least + roots) * penalty, type(uint96).max);
    }

    /// @return least seconds of a window.
    function _checkWindows(Windows calldata w) private view returns (uint256 least) {
        bool development = block.chainid == DEVELOPMENT || block.chainid == DEVELOPMENT_GANACHE;
        least = development ? 1 : 1 hours;
        uint256 most = 366 days;
        _within("accept window", w.accept, least, most);
        _within("start window", w.start, least, most);
        _within("submit window", w.submit, least, most);
        _within("admit window", w.admit, least, most);
        _within("prove window", w.prove, least, most);
        _within("claim window", w.claim, least, most);
        _within("lock window", w.lock, least, most);
        _within("vacancy window", w.vacancy, least, most);
        _within("exit window", w.exit, least, most);
    }

    function _checkPlans(Terms calldata t, Plan[] calldata plans) private view {
        uint256 want = uint256(t.maxTrainers) - t.minTrainers + 1;
        if (plans.length != want) revert MarketErrors.WrongLength("plans", plans.length, want);
        uint256 references = plans[0].references;
        _within("references", references, 0, 3);
        for (uint256 i; i < want; ++i) {
            uint256 n = t.minTrainers + i;
            Plan calldata plan = plans[i];
            _within("f", plan.f, 0, (n - 3) / 2); // Multi-Krum: N >= 2f + 3
            _within("m", plan.m, t.minAccepted, n - plan.f);
            // a round's root or last aggregate is there before it is known how many trainers it has
            _within("references", plan.references, references, references);
            // the only scores wider than 64 bits are products with the last aggregate's
            _within("shift", plan.shift, 0, references & 2 == 0 ? 0 : MOST_SHIFT);
            if (plan.manifest == 0) revert MarketErrors.OutOfBounds("manifest", 0, 1, type(uint256).max);
            _checkVerifier(plan.settlement);
        }
    }

    /// @dev Code that can be exchanged under a fixed address is refused: an empty account, an account that
    /// delegates (0xef01…). What is left is compared before every use.
    function _checkVerifier(Verifier calldata verifier) private view {
        address deployed = verifier.deployed;
        if (deployed.code.length == 0 || deployed.codehash != verifier.codehash) {
            revert MarketErrors.VerifierChanged(deployed, deployed.codehash, verifier.codehash);
        }
        bytes32 head;
        assembly ("memory-safe") {
            mstore(0, 0)
            extcodecopy(deployed, 0, 0, 2)
            head := mload(0)
        }
        if (bytes2(head) == 0xef01) revert MarketErrors.VerifierDelegates(deployed);
    }

    function _within(bytes32 what, uint256 have, uint256 least, uint256 most) private pure {
        if (have < least || have > most) revert MarketErrors.OutOfBounds(what, have, least, most);
    }
}
