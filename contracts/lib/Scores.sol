// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketErrors} from "../MarketErrors.sol";
import {Outcome, Score, Scoring, Seat, Terms, UtilityProof} from "../Types.sol";
import {Bn254} from "./Bn254.sol";
import {Model} from "./Model.sol";
import {Proofs} from "./Proofs.sol";
import {Transcript} from "./Transcript.sol";

/// @title Scores by the model's own loss: what a project demands of a utility proof, and what the losses are worth.
/// @notice Mirrors zkmarket/utility (games.py, terms.py, instances.py). Linked, as `Proofs`: it writes what is proven of
/// a round's losses into the project's storage, and moves nothing.
///
/// The model of a coalition S is Θ + w·Σ_S u_i with one divisor for every coalition, so that the model of all accepted
/// is the next round's, Θ', whose commitment the project has by its hash. That of S follows from it by those who are
/// left out: C_Θ + w·Σ_S (C_i − B) = C_Θ' − w·Σ_{A∖S} (C_i − B).
library Scores {
    using Bn254 for uint256[5];

    uint256 internal constant LEAVE_ONE_OUT = 1;
    uint256 internal constant SHAPLEY = 2;

    uint256 private constant MOST_EXACT = 5; // trainers of a project that scores by Shapley values
    uint256 private constant LARGEST_LOSS = 1 << 56; // a loss beyond counts as this
    uint256 private constant LOSS_LIMIT = 1 << 120; // what a proof may say
    uint256 private constant FLOOR_UNIT = 1e9;
    uint256 private constant OWN_SALTS = 8; // of a chunk of an update, before utility proofs spend any

    // words of a descriptor: digest of the build, length of a proof, points of model, batch and witness, how many
    // powers of a, c, e, f, multiples of `tie`, checks that are 0; then the constants
    uint256 private constant PROOF_BYTES = 1;
    uint256 private constant THETA = 2;
    uint256 private constant BATCH = 3;
    uint256 private constant WITNESS = 4;
    uint256 private constant POWERS = 5;
    uint256 private constant TIES = 9;
    uint256 private constant CHECKS = 10;
    uint256 private constant HEAD = 11;

    // Upper estimates of what one of each costs, in one transaction of at most so much.
    uint256 private constant GAS_LIMIT = 14_000_000;
    uint256 private constant CALLDATA_LIMIT = 65_535;
    uint256 private constant COALITION_GAS = 400_000;
    uint256 private constant BYTE_GAS = 160; // of a proof: sent, copied, verified
    uint256 private constant INSTANCE_GAS = 1_200;
    uint256 private constant CHUNK_GAS = 30_000; // its points, two multiples
    uint256 private constant LEFT_GAS = 6_000; // a chunk of who is left out
    uint256 private constant TRAINER_GAS = 40_000; // score and credit, with the last proof
    uint256 private constant OTHER_BYTES = 4_000;

    // ------------------------------------------------------------ creation

    /// @notice Refuse a method that a project of these terms could not be paid by: for `Limits`.
    /// @param least seconds of a window.
    /// @param attempts T + V: rounds that may be proven, each of them twice.
    function check(
        Scoring calldata scoring,
        uint256 least,
        uint256 attempts,
        uint256 trainers,
        uint256 salts,
        uint256 chunks
    ) internal pure {
        uint256 method = scoring.method;
        _within("score method", method, LEAVE_ONE_OUT, SHAPLEY);
        bool loo = method == LEAVE_ONE_OUT;
        if (!loo) _within("trainers of shapley", trainers, 3, MOST_EXACT);
        _within("score window", scoring.window, least, 366 days);
        _within("floor", scoring.floor, 0, FLOOR_UNIT);
        _within("descriptor", uint256(scoring.descriptor), 1, type(uint256).max);
        _within("batch", uint256(scoring.batch), 1, type(uint256).max);
        uint256 due = loo ? trainers + 1 : 1 << trainers;
        _within("salts of the batch", scoring.salts, 2 * attempts * due, type(uint32).max);
        _within("salts", salts, OWN_SALTS + (loo ? trainers : due / 2), type(uint256).max);
        uint256 left = chunks * (loo ? 1 : trainers);
        uint256 size = OTHER_BYTES + scoring.proofBytes + 64 * (chunks + left);
        _within("calldata of proveUtility", size, 0, CALLDATA_LIMIT);
        uint256 gas_ = COALITION_GAS + scoring.proofBytes * BYTE_GAS + scoring.instances * INSTANCE_GAS;
        gas_ += chunks * CHUNK_GAS + left * LEFT_GAS + trainers * TRAINER_GAS;
        _within("gas of proveUtility", gas_, 0, GAS_LIMIT);
    }

    // ------------------------------------------------------------ a proof

    /// @notice Check the loss of one coalition, and keep it.
    /// @param theta keccak of the words of the model's commitment before the round.
    /// @return scores of the slots once every coalition that is due has its loss; before that nothing.
    function prove(
        Terms storage terms,
        Seat[64] storage seats,
        Outcome storage outcome,
        Score storage kept,
        uint256 round,
        bytes32 theta,
        uint256 trainers,
        UtilityProof calldata given
    ) external returns (uint256[] memory scores) {
        // Check
        Scoring storage scoring = terms.scoring;
        (uint256 method, uint256 mask) = (scoring.method, outcome.mask);
        uint256 place = placeOf(method, mask, given.coalition);
        if ((kept.proven >> place) & 1 != 0) revert MarketErrors.AlreadyProven(round, given.coalition);
        bytes32 have = Transcript.hash(abi.encode(given.descriptor.length), given.descriptor);
        if (have != scoring.descriptor) revert MarketErrors.WrongDescriptor(have, scoring.descriptor);
        uint256 w = Model.weight(outcome.rate, Proofs.popcount(mask), terms.thetaBits);
        uint256[] memory points = _points(terms, seats, outcome, round, w, given);
        bytes32 base = keccak256(
            abi.encode(7, bytes32("zkmarket-utility/2"), given.descriptor[0], kept.seed, mask, theta, w, scoring.batch)
        );
        bytes32 context = keccak256(abi.encode(base, given.coalition));
        uint256[] memory instances =
            instancesOf(given.descriptor, points, scoring.batch, context, given.proof, given.correct, given.loss);
        // The verifier is called by STATICCALL: nothing changes between check and effect
        Proofs.verifyProof("utility", scoring.verifier, given.proof, instances);
        // Effect
        kept.losses[place] = uint64(given.loss < LARGEST_LOSS ? given.loss : LARGEST_LOSS);
        uint256 proven = kept.proven | (1 << place);
        kept.proven = proven;
        if (proven == dueOf(method, mask)) scores = scoresOf(method, mask, trainers, kept.losses);
    }

    /// @notice Words of the commitment of the coalition's model.
    function _points(
        Terms storage terms,
        Seat[64] storage seats,
        Outcome storage outcome,
        uint256 round,
        uint256 w,
        UtilityProof calldata given
    ) private view returns (uint256[] memory) {
        bytes32 have = Transcript.hash("", given.model);
        if (have != outcome.theta) revert MarketErrors.WrongModel(have, outcome.theta);
        uint256 width = 2 * uint256(terms.chunks);
        uint256 count;
        for (uint256 rest = outcome.mask & ~given.coalition; rest != 0; rest &= rest - 1) {
            ++count;
            _checkLeft(seats, round, _lowest(rest), count, width, given);
        }
        if (given.left.length != count * width) {
            revert MarketErrors.WrongLength("left", given.left.length, count * width);
        }
        return without(given.model, given.left, w, terms.blinding);
    }

    /// @dev Commitment number `count` of those who are left out is the one that the slot has submitted.
    function _checkLeft(
        Seat[64] storage seats,
        uint256 round,
        uint256 slot,
        uint256 count,
        uint256 width,
        UtilityProof calldata given
    ) private view {
        if (given.left.length < count * width) {
            revert MarketErrors.WrongLength("left", given.left.length, count * width);
        }
        if (given.cids.length < count) revert MarketErrors.WrongLength("cids", given.cids.length, count);
        Seat storage seat = seats[slot];
        bytes32 digest =
            Proofs.digest("update", round, seat.trainer, given.left[(count - 1) * width:count * width]);
        Proofs.checkSlot(slot + 1, keccak256(abi.encode(digest, given.cids[count - 1])), seat.submission);
    }

    /// @dev Place of the lowest bit that is set.
    function _lowest(uint256 bits) private pure returns (uint256 place) {
        while ((bits >> place) & 1 == 0) ++place;
    }

    /// @notice C_Θ' − w·Σ (C_i − B) over who is left out, chunk by chunk.
    /// @param model words of C_Θ'.
    /// @param left words of the C_i, one after the other.
    function without(uint256[] calldata model, uint256[] calldata left, uint256 w, Bn254.Point memory blinding)
        internal
        view
        returns (uint256[] memory out)
    {
        uint256 width = model.length;
        out = new uint256[](width);
        uint256[5] memory shared; // Σ w·B
        shared.mulAdd(blinding.x, blinding.y, w * (width == 0 ? 0 : left.length / width));
        uint256 minus = (Bn254.P - w) % Bn254.P;
        for (uint256 word; word < width; word += 2) {
            uint256[5] memory sum; // of the C_i, before it is multiplied once
            for (uint256 at = word; at < left.length; at += width) sum.add(left[at], left[at + 1]);
            uint256[5] memory total;
            (total[0], total[1]) = (shared[0], shared[1]);
            total.add(model[word], model[word + 1]);
            total.mulAdd(sum[0], sum[1], minus);
            (out[word], out[word + 1]) = (total[0], total[1]);
        }
    }

    /// @notice Every public instance that a proof must have to say this.
    /// @param words of the descriptor.
    /// @param points words of the commitment of the model that is evaluated.
    function instancesOf(
        uint256[] calldata words,
        uint256[] memory points,
        bytes32 batch,
        bytes32 context,
        bytes calldata proof,
        uint256 correct,
        uint256 loss
    ) internal pure returns (uint256[] memory out) {
        if (words.length < HEAD) revert MarketErrors.WrongLength("descriptor", words.length, HEAD);
        if (proof.length != words[PROOF_BYTES]) {
            revert MarketErrors.WrongLength("utility", proof.length, words[PROOF_BYTES]);
        }
        if (points.length != 2 * words[THETA]) revert MarketErrors.WrongLength("model", points.length, 2 * words[THETA]);
        uint256 end = 32 * points.length;
        bytes32 have = keccak256(proof[:end]);
        if (have != keccak256(abi.encodePacked(points))) {
            revert MarketErrors.WrongModel(have, keccak256(abi.encodePacked(points)));
        }
        have = keccak256(proof[end:end + 64 * words[BATCH]]);
        if (have != batch) revert MarketErrors.WrongBatch(have, batch);
        if (correct > words[POWERS]) revert MarketErrors.OutOfBounds("correct", correct, 0, words[POWERS]);
        if (loss >= LOSS_LIMIT) revert MarketErrors.OutOfBounds("loss", loss, 0, LOSS_LIMIT - 1);
        end += 64 * (words[BATCH] + words[WITNESS]);
        return _fill(words, keccak256(abi.encodePacked("utility", bytes25(0), context, words[0], proof[:end])), correct, loss);
    }

    /// @dev Constants, powers of the challenges, multiples of `tie`, 1, zeros, the claim.
    function _fill(uint256[] calldata words, bytes32 seed, uint256 correct, uint256 loss)
        private
        pure
        returns (uint256[] memory out)
    {
        uint256 next = words.length - HEAD;
        uint256 ties = words[TIES];
        uint256 size = next + words[POWERS] + words[POWERS + 1] + words[POWERS + 2] + words[POWERS + 3];
        size += (ties == 0 ? 0 : 1 + ties) + 1 + words[CHECKS] + 2;
        out = new uint256[](size);
        for (uint256 i; i < next; ++i) out[i] = words[HEAD + i];
        bytes4 names = "acef";
        for (uint256 k; k < 4; ++k) {
            uint256 challenge = _challenge(seed, bytes32(names[k]));
            uint256 power = 1;
            for (uint256 i = words[POWERS + k]; i > 0; --i) {
                out[next++] = power;
                power = mulmod(power, challenge, Bn254.P);
            }
        }
        if (ties != 0) {
            uint256 tie = _challenge(seed, "tie");
            out[next++] = tie;
            for (uint256 k; k < ties; ++k) out[next++] = mulmod(tie, k, Bn254.P);
        }
        out[next] = 1;
        (out[size - 2], out[size - 1]) = (correct, loss);
    }

    function _challenge(bytes32 seed, bytes32 name) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, name))) & type(uint128).max;
    }

    // ------------------------------------------------------------ the game

    /// @notice Where the loss of a coalition is kept. Refused unless it is due.
    function placeOf(uint256 method, uint256 mask, uint256 coalition) internal pure returns (uint256) {
        if (coalition & ~mask == 0) {
            if (method == SHAPLEY) return coalition;
            uint256 left = mask ^ coalition;
            if (left == 0) return 0;
            if (left & (left - 1) == 0) return 1 + _lowest(left);
        }
        revert MarketErrors.NotDue(coalition, mask);
    }

    /// @notice A bit for each place that is due.
    function dueOf(uint256 method, uint256 mask) internal pure returns (uint256 due) {
        if (method == LEAVE_ONE_OUT) return 1 | (mask << 1);
        for (uint256 coalition; coalition <= mask; ++coalition) {
            if (coalition & ~mask == 0) due |= 1 << coalition;
        }
    }

    /// @notice What each slot's update takes off the loss, times n! for Shapley values; what is negative is 0.
    function scoresOf(uint256 method, uint256 mask, uint256 trainers, uint64[65] storage losses)
        internal
        view
        returns (uint256[] memory scores)
    {
        scores = new uint256[](trainers);
        for (uint256 i; i < trainers; ++i) {
            uint256 own = 1 << i;
            if (mask & own == 0) continue;
            (uint256 without_, uint256 with_) = (losses[1 + i], losses[0]);
            if (method == SHAPLEY) (without_, with_) = _marginals(mask, own, losses);
            if (without_ > with_) scores[i] = without_ - with_;
        }
    }

    /// @dev Σ_S |S|!(n − 1 − |S|)! · loss over the coalitions without a player, and over those and the player.
    function _marginals(uint256 mask, uint256 own, uint64[65] storage losses)
        private
        view
        returns (uint256 without_, uint256 with_)
    {
        uint256 others = mask ^ own;
        uint256 most = Proofs.popcount(others);
        for (uint256 coalition; coalition <= others; ++coalition) {
            if (coalition & ~others != 0) continue;
            uint256 size = Proofs.popcount(coalition);
            uint256 count = _factorial(size) * _factorial(most - size);
            without_ += count * losses[coalition];
            with_ += count * losses[coalition | own];
        }
    }

    function _factorial(uint256 n) private pure returns (uint256 product) {
        product = 1;
        for (; n > 1; --n) product *= n;
    }

    function _within(bytes32 what, uint256 have, uint256 least, uint256 most) private pure {
        if (have < least || have > most) revert MarketErrors.OutOfBounds(what, have, least, most);
    }
}
