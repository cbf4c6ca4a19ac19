// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "./MarketErrors.sol";
import {Rounds} from "./Rounds.sol";
import {Proofs} from "./lib/Proofs.sol";
import {Scores} from "./lib/Scores.sol";
import {BaseProof, Decision, Facts, Phase, Plan, Settlement, Terms, UtilityProof} from "./Types.sol";

/// @title How a project begins, and how it settles a round: what it demands of proofs, and whom it pays.
/// @notice Code that every project runs as its own: `Project` passes these calls on. It lives apart for size alone, and
/// nobody can exchange it. Called directly it finds a project that has ended.
contract Extension is Rounds {
    bytes32 private constant PUBLICATION_TYPE =
        keccak256("Publication(uint256 round,bytes32 seed,bytes32 aggregate,bytes32 cid)");

    /// @notice Called once, by the Factory, in the transaction that makes the clone. The Factory has checked the
    /// terms and sends the whole pool: native coin with this call, a token before the transaction ends.
    function initialise(Terms calldata given, Plan[] calldata plans_, uint64[] calldata rates_)
        external
        payable
    {
        if (_terms.owner != address(0)) revert MarketErrors.AlreadyInitialised();
        _terms = given;
        factory = msg.sender;
        for (uint256 i; i < plans_.length; ++i) _plans[given.minTrainers + i] = plans_[i];
        _rates = rates_;
        _references = plans_[0].references;
        aggregator = given.aggregator;
        beta = given.beta;
        theta = given.theta;
        pool = uint128(given.rounds * (uint256(given.reward) + given.fee));
        deadline = uint40(block.timestamp + given.windows.accept);
    }

    // ------------------------------------------------------------ settlement

    /// @notice Verify a round and pay it. Anyone may send it; nothing depends on who does.
    /// @param cid where the aggregate is served; empty where it is withheld (fewer than minAccepted accepted).
    /// @param publication the aggregator's signature on (round, seed, aggregate, cid).
    function settle(
        BaseProof calldata base,
        Decision calldata decision,
        bytes calldata cid,
        bytes calldata publication
    ) external {
        Facts memory facts = _facts();
        (bytes32 seed, bytes32 seed0,) = Proofs.checkBase(_terms, _seats, facts, base);
        _settle(facts, seed, seed0, base.points, base.q, keccak256(base.proof), decision, cid, publication);
    }

    /// @notice The first half of a settlement that one transaction does not hold. Anyone may send it, and again: what
    /// one has proven no other proof takes away.
    function proveBase(BaseProof calldata base) external {
        (bytes32 seed,, bytes32 entry_) = Proofs.checkBase(_terms, _seats, _facts(), base);
        entry[seed] = entry_;
        emit BaseProven(round, seed);
    }

    /// @notice The second half: as `settle`, for a base proof that `proveBase` has verified in this round.
    /// @param seed of that proof's transcript at its end.
    /// @param points, cids, q as there.
    function settleProven(
        bytes32 seed,
        uint256[] calldata points,
        bytes32[] calldata cids,
        uint256 q,
        Decision calldata decision,
        bytes calldata cid,
        bytes calldata publication
    ) external {
        Facts memory facts = _facts();
        bytes32 seed0 = Proofs.checkProven(_terms, _seats, facts, entry[seed], seed, points, cids, q);
        _settle(facts, seed, seed0, points, q, 0, decision, cid, publication);
    }

    // ------------------------------------------------------------ scores by the model's loss

    /// @notice Prove the loss of one coalition's model. Anyone may send it, for any coalition that is due and not proven
    /// yet. With the last one the round is paid.
    function proveUtility(UtilityProof calldata given) external {
        _require(Phase.Score);
        _before(deadline);
        uint256[] memory scores = Scores.prove(_terms, _seats, _outcome, _score, round, theta, _taken, given);
        emit UtilityProven(round, given.coalition, given.correct, given.loss);
        if (scores.length != 0) _conclude(scores);
    }

    /// @notice The losses were not proven in time: the accepted share the reward, the aggregator loses bond and fee.
    /// What is burnt goes to nobody: else withholding one coalition would pay who accepts with Sybils.
    function failScore() external {
        // Check
        _require(Phase.Score);
        _after(deadline);
        // Effect
        emit ScoringFailed(round, bondWei);
        _burnBond(bondWei);
        pool += _terms.fee;
        _feeless = true;
        _conclude(new uint256[](_taken));
    }

    /// @dev Pay the round by its losses.
    function _conclude(uint256[] memory scores) private {
        uint256[] memory pay = _pay(_trainers(), scores, _outcome.mask, _terms.scoring.floor);
        _enter(Phase.Settled, _terms.windows.claim, scores);
        emit Scored(round, scores, pay, deadline);
    }

    // ------------------------------------------------------------ inside

    function _facts() private view returns (Facts memory) {
        _require(Phase.Prove);
        _before(deadline);
        Plan storage plan_ = _plans[_taken];
        bytes32 root_ = root.admitted == round ? root.submission : bytes32(0);
        uint64 rate = _rates[_min(settled, _rates.length - 1)];
        return Facts(
            round, beta, rate, theta, _taken, plan_.manifest, plan_.references, plan_.shift, root_, _outcome.aggregate
        );
    }

    /// @dev What is left once the base proof is known to be good.
    function _settle(
        Facts memory facts,
        bytes32 seed,
        bytes32 seed0,
        uint256[] calldata points,
        uint256 q,
        bytes32 baseProof,
        Decision calldata decision,
        bytes calldata cid,
        bytes calldata publication
    ) private {
        // Check
        Settlement memory result;
        (result.aggregate, result.theta) =
            Proofs.checkDecision(_terms, _plans[facts.trainers], facts, seed0, points, q, decision);
        bytes32 aggregateHash;
        if (result.aggregate.length == 0) {
            if (cid.length != 0) revert MarketErrors.WrongCid(cid.length, 0);
        } else {
            _checkCid(cid);
            aggregateHash = keccak256(abi.encodePacked(result.aggregate));
        }
        _signedBy(
            aggregator,
            keccak256(abi.encode(PUBLICATION_TYPE, facts.round, seed, aggregateHash, keccak256(cid))),
            publication
        );
        // Effect
        result.trainers = _trainers();
        (result.mask, result.scores, result.nu, result.cid) = (decision.mask, decision.scores, decision.nu, cid);
        for (uint256 i; i < result.scores.length; ++i) result.scores[i] >>= facts.shift;
        result.rate = facts.rate;
        _conclude(result, aggregateHash, seed0);
        result.proofs = keccak256(abi.encode(baseProof, keccak256(decision.proof)));
        result.points = points;
        emit Settled(facts.round, seed, result, deadline);
    }

    /// @dev Part of R equally among the sharers, the rest by score, floor; all scores 0: all of it equally among them,
    /// never back to the owner, who could cause it. The dust is the owner's.
    /// @param sharers bit i: slot i + 1 is one of them; at least one is.
    /// @param part that is shared, in billionths of R.
    function _pay(address[] memory trainers, uint256[] memory scores, uint256 sharers, uint256 part)
        private
        returns (uint256[] memory pay)
    {
        uint256 n = trainers.length;
        pay = new uint256[](n);
        uint256 total;
        for (uint256 i; i < n; ++i) total += scores[i];
        uint256 left = _terms.reward;
        uint256 shared = total == 0 ? left : left * part / 1e9;
        uint256 byScore = left - shared;
        shared /= Proofs.popcount(sharers);
        for (uint256 i; i < n; ++i) {
            if ((sharers >> i) & 1 != 0) pay[i] = shared;
            if (total != 0) pay[i] += byScore * scores[i] / total;
            left -= pay[i];
            if (pay[i] != 0) _credit(trainers[i], pay[i]);
        }
        if (left != 0) _credit(_terms.owner, left);
    }

    /// @dev Who shares what no score decides: the accepted where losses pay, and where there are none the admitted.
    function _sharers(uint256 mask) private view returns (uint256) {
        return mask == 0 ? (1 << uint256(_taken)) - 1 : mask;
    }

    /// @dev Scores as they are kept, and the phase that they begin.
    function _enter(Phase phase_, uint256 window, uint256[] memory scores) private {
        uint256[] memory packed = new uint256[]((scores.length + 3) / 4);
        for (uint256 i; i < scores.length; ++i) packed[i / 4] |= scores[i] << (64 * (i % 4));
        _outcome.scores = packed;
        _phase = phase_;
        deadline = uint40(block.timestamp + window);
    }

    /// @dev The pay of a settlement. Where losses pay, it waits for them; where nothing moves the model, there are none.
    /// Next norm bound: κ·ν, clamped to [β/2, 2β] and to [β_min, β_max].
    function _conclude(Settlement memory result, bytes32 aggregateHash, bytes32 seed0) private {
        uint256 old = beta;
        uint256 target = uint256(_terms.kappa) * result.nu / 1000;
        target = _max(_max(target, old / 2), _terms.betaMin);
        beta = uint128(_min(_min(target, 2 * old), _terms.betaMax));
        result.beta = beta;
        (_outcome.mask, _outcome.rate, _outcome.beta) = (uint64(result.mask), uint64(result.rate), beta);
        (_outcome.aggregate, _outcome.cid, _outcome.theta) = (aggregateHash, keccak256(result.cid), result.theta);
        (_claims, _ownerClaims, _claimed, _ownerClaimed, _feeless) = (0, false, 0, false, false);
        ++settled;
        bool byLoss = _terms.scoring.method != 0;
        // where losses pay nobody is paid by the settlement's scores, which are those of `equal`
        if (byLoss) result.scores = new uint256[](result.trainers.length);
        if (byLoss && aggregateHash != 0) {
            result.pay = result.scores; // zeros
            (_score.seed, _score.proven) = (seed0, 0);
            _enter(Phase.Score, _terms.scoring.window, result.scores);
        } else {
            result.pay = _pay(result.trainers, result.scores, _sharers(byLoss ? result.mask : 0), 0);
            _enter(Phase.Settled, _terms.windows.claim, result.scores);
        }
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? b : a;
    }
}
