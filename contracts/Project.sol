// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Extension} from "./Extension.sol";
import {MarketErrors} from "./MarketErrors.sol";
import {Rounds} from "./Rounds.sol";
import {Proofs} from "./lib/Proofs.sol";
import {Account, BaseProof, Decision, Outcome, Phase, Plan, Seat, State, Terms, UtilityProof} from "./Types.sol";

/// @title A federated-learning project: a pool in escrow that is paid out on proofs alone.
/// @notice One clone a project, made by the Factory. There is no admin key: what the owner may do is in this
/// file, and none of it moves a reward that is owed. Each external function states its phase and deadline
/// first; an action needs now <= deadline, a time-out now > deadline and may be called by anyone.
contract Project is Rounds {
    bytes32 private constant MEMBERSHIP_TYPE = keccak256("Membership(address trainer)");
    bytes32 private constant RECEIPT_TYPE =
        keccak256("Receipt(address aggregator,uint256 round,address trainer,bytes32 submission)");
    /// @notice The rest of the code of every project.
    Extension private immutable EXTENSION;

    constructor(Extension extension) {
        EXTENSION = extension;
    }

    /// @notice See `Extension`: called once, by the Factory.
    function initialise(Terms calldata given, Plan[] calldata plans_, uint64[] calldata rates_) external payable {
        (given, plans_, rates_); // named for the ABI
        _pass();
    }

    // ------------------------------------------------------------ aggregator

    /// @notice Take the office of the aggregator: CREATED, or VACANT once named.
    /// @param encryptionKey X25519 key of the office, to which root updates are sealed. Logged only.
    function accept(bytes32 encryptionKey) external payable {
        // Check
        if (_phase != Phase.Created) _require(Phase.Vacant);
        _before(deadline);
        _onlyAggregator();
        _exactly(_terms.bondWei);
        // Effect
        bondWei = uint96(msg.value);
        emit Accepted(msg.sender, msg.value, encryptionKey);
        _open(_phase == Phase.Vacant ? _terms.windows.exit : 0);
    }

    /// @notice Nobody accepted in time: the pool goes back.
    function cancel() external {
        _require(Phase.Created);
        _after(deadline);
        _end();
    }

    /// @notice Fill the bond up after a burn.
    function topUp() external payable {
        if (_phase == Phase.Created || _phase == Phase.Vacant || _phase == Phase.Ended) _require(Phase.Open);
        _onlyAggregator();
        _exactly(_terms.bondWei - bondWei);
        bondWei += uint96(msg.value);
        emit ToppedUp(msg.sender, bondWei);
    }

    /// @notice Start a round.
    /// @param encryptionKey the aggregator's for this round: updates are sealed to it.
    /// @param keyring CID of a sealed keyring with which members open the aggregates of earlier rounds; or empty.
    /// Both are logged only: what is in them is between those who use them.
    function start(bytes32 encryptionKey, bytes calldata keyring) external {
        // Check
        _require(Phase.Open);
        _before(deadline);
        uint256 earliest = deadline - _terms.windows.start; // later than the opening after a vacancy or a void round
        if (block.timestamp < earliest) revert MarketErrors.TooEarly(block.timestamp, earliest);
        _onlyAggregator();
        if (bondWei < _terms.bondWei) revert MarketErrors.BondNotFull(bondWei, _terms.bondWei);
        if (keyring.length != 0) _checkCid(keyring);
        // Effect
        _phase = Phase.Submit;
        ++round;
        _taken = 0;
        deadline = uint40(block.timestamp + _terms.windows.submit);
        emit Started(round, encryptionKey, beta, deadline, keyring);
    }

    /// @notice The aggregator did not start in time.
    function skip() external {
        _require(Phase.Open);
        _after(deadline);
        emit NotStarted(voids + 1);
        if (_void()) _open(0);
    }

    // ------------------------------------------------------------ trainers

    /// @notice Become a trainer, or fill a stake up, or change one's key: with a full stake, for no coin.
    /// @param membership the owner's signature on the list entry; not read where admission is open.
    /// @param encryptionKey X25519 key to which aggregates are sealed for the caller; the one logged last counts.
    /// It is not checked: a bad one hurts its owner only, who then cannot open them.
    function join(bytes calldata membership, bytes32 encryptionKey) external payable {
        // Check
        if (_phase != Phase.Open && _phase != Phase.Submit) _require(Phase.Submit);
        if (_phase == Phase.Submit) _before(deadline); // whether or not its last seat is taken
        if (!_terms.openAdmission) {
            _signedBy(_terms.owner, keccak256(abi.encode(MEMBERSHIP_TYPE, msg.sender)), membership);
        }
        // Effect
        _settleSkips(msg.sender);
        Account storage own = _accounts[msg.sender];
        _exactly(_terms.stakeWei - own.stakeWei);
        if (own.stakeWei == 0) (own.voidsSeen, own.skipped) = (uint8(_voidRounds.length), 0);
        own.stakeWei = _terms.stakeWei;
        emit Joined(msg.sender, msg.value, encryptionKey);
    }

    /// @notice Stop being a trainer. Refused while a submission of the caller is undecided, and while it is
    /// undecided whether the round is void: who has not submitted may owe a penalty.
    function leaveProject() external {
        // Check
        if (_accounts[msg.sender].stakeWei == 0) revert MarketErrors.NotAMember(msg.sender);
        if (_isLive(msg.sender)) revert MarketErrors.LiveSubmission(msg.sender, round);
        // Effect
        uint256 before = refundWei[msg.sender];
        _settleSkips(msg.sender); // may already give the stake back
        _refundStake(msg.sender);
        emit Left(msg.sender, refundWei[msg.sender] - before);
    }

    /// @notice Bring an account up to date: penalties for void rounds show in `account` only then. Anyone may.
    function refresh(address trainer) external {
        _settleSkips(trainer);
    }

    /// @notice Commit to an update: nothing is shown of it, and no ciphertext is sent before the deadline. When the
    /// last seat is taken nobody else can submit, and receipts may come; no deadline moves.
    /// @param digest of the commitment's points; it names chain, project, round and caller, so that a copy is worthless.
    /// @param cid where the ciphertext of points and opening will be.
    function submit(bytes32 digest, bytes calldata cid) external {
        // Check
        _require(Phase.Submit);
        _before(deadline);
        _settleSkips(msg.sender);
        Account storage own = _accounts[msg.sender];
        if (own.stakeWei == 0) revert MarketErrors.NotAMember(msg.sender);
        if (own.stakeWei < _terms.stakeWei) revert MarketErrors.StakeNotFull(own.stakeWei, _terms.stakeWei);
        if (own.lastRound == round) revert MarketErrors.AlreadySubmitted(msg.sender, round);
        bytes32 submission = _submission(digest, cid);
        // Effect
        own.lastRound = round;
        uint256 seat = _taken++;
        _seats[seat] = Seat(msg.sender, false, submission);
        emit Submitted(round, msg.sender, seat, digest, cid);
    }

    // ------------------------------------------------------------ admission

    /// @notice Too few submissions: decided by them alone, before anybody has sent an update.
    function voidRound() external {
        _require(Phase.Submit); // with enough submissions the phase is Admit
        _after(deadline);
        _voidRounds.push(round); // who was a member and did not submit pays when its account is next used
        _returnDeposit(); // nobody was asked whether the root update opens
        emit Voided(round, _taken);
        if (_void()) _open(_terms.windows.exit); // else void, start, void, start: and nobody could leave between
    }

    /// @notice Show the aggregator's receipts for submissions: received, decrypts, opens, values in range. They cannot be
    /// taken back. Who is admitted already is passed over, so that nobody can stop the others by being first.
    /// @param trainers of the submissions; 0 stands for the owner's root update.
    /// @param receipts one for each of them.
    function admit(address[] calldata trainers, bytes[] calldata receipts) external {
        // Check
        _require(Phase.Admit);
        _before(_admitDeadline());
        if (receipts.length != trainers.length) {
            revert MarketErrors.WrongLength("receipts", receipts.length, trainers.length);
        }
        // Effect
        for (uint256 i; i < trainers.length; ++i) {
            address trainer = trainers[i];
            if (trainer == address(0)) {
                if (root.admitted == round) continue;
                if (root.offered != round) revert MarketErrors.NoSuchSeat(trainer, round);
                _checkReceipt(trainer, root.submission, receipts[i]);
                _returnDeposit();
                root.admitted = round;
                emit RootAdmitted(round);
            } else {
                Seat storage seat = _seats[_seatOf(trainer)];
                if (seat.admitted) continue;
                _checkReceipt(trainer, seat.submission, receipts[i]);
                seat.admitted = true;
                emit Admitted(round, trainer);
            }
        }
    }

    /// @notice Freeze the set of admitted trainers: the reward is now owed to them.
    function lock() external {
        // Check
        _require(Phase.Admit);
        uint256 admitted = _countAdmitted();
        if (admitted < _taken || root.offered != 0) _after(_admitDeadline());
        if (admitted < _terms.minTrainers) revert MarketErrors.NotEnoughSubmissions(admitted, _terms.minTrainers);
        // Effect
        _refuseOthers();
        pool -= uint128(uint256(_terms.reward) + _terms.fee);
        _phase = Phase.Prove;
        deadline = uint40(block.timestamp + _terms.windows.prove);
        emit Locked(round, _trainers(), deadline);
    }

    /// @notice Too few receipts: trainers and aggregator both pay, to nobody.
    function failAdmission() external {
        // Check
        _require(Phase.Admit);
        _after(_admitDeadline());
        uint256 admitted = _countAdmitted();
        if (admitted >= _terms.minTrainers) revert MarketErrors.EnoughSubmissions(admitted, _terms.minTrainers);
        // Effect
        _refuseOthers();
        // a token's reward cannot be compared with the bond: half of it then
        uint256 slash = _terms.token == address(0) ? _terms.reward : _terms.bondWei / 2;
        uint256 before = bondWei;
        _burnBond(slash);
        emit AdmissionFailed(round, admitted, before - bondWei);
        _vacate();
    }

    // ------------------------------------------------------------ settlement

    /// @notice See `Extension`: anyone with a proof and the aggregator's signature.
    function settle(
        BaseProof calldata base,
        Decision calldata decision,
        bytes calldata cid,
        bytes calldata publication
    ) external {
        (base, decision, cid, publication);
        _pass();
    }

    /// @notice See `Extension`: the first half of a settlement that one transaction does not hold, by anyone.
    function proveBase(BaseProof calldata base) external {
        (base);
        _pass();
    }

    /// @notice See `Extension`: the second half.
    function settleProven(
        bytes32 seed,
        uint256[] calldata points,
        bytes32[] calldata cids,
        uint256 q,
        Decision calldata decision,
        bytes calldata cid,
        bytes calldata publication
    ) external {
        (seed, points, cids, q, decision, cid, publication);
        _pass();
    }

    /// @notice The aggregator did not settle in time: its bond is shared by the admitted, the round is repeated.
    function fail() external {
        // Check
        _require(Phase.Prove);
        _after(deadline);
        // Effect
        address[] memory trainers = _trainers();
        uint256 share = bondWei / trainers.length;
        for (uint256 i; i < trainers.length; ++i) refundWei[trainers[i]] += share;
        bondWei -= uint96(share * trainers.length);
        _burnBond(bondWei); // what does not divide
        pool += uint128(uint256(_terms.reward) + _terms.fee);
        emit Failed(round, share);
        _vacate();
    }

    /// @notice See `Extension`: the loss of one coalition's model, by anyone.
    function proveUtility(UtilityProof calldata given) external {
        (given);
        _pass();
    }

    /// @notice See `Extension`: the losses were not proven in time.
    function failScore() external {
        _pass();
    }

    /// @notice Say that the aggregate is not served: by the owner, or by more than half of the admitted. It
    /// delays the fee and the bond, and the round does not count in the model. Once a round and caller. Refused where the
    /// aggregate is withheld: there is nothing to serve.
    function claim() external {
        // Check
        _require(Phase.Settled);
        _before(deadline);
        if (_outcome.aggregate == 0) revert MarketErrors.NothingToServe(round);
        if (msg.sender == _terms.owner) {
            if (_ownerClaimed) revert MarketErrors.AlreadyClaimed(msg.sender);
            _ownerClaimed = _ownerClaims = true;
        } else {
            uint64 bit = uint64(1 << _seatOf(msg.sender));
            if (_claimed & bit != 0) revert MarketErrors.AlreadyClaimed(msg.sender);
            (_claimed, _claims) = (_claimed | bit, _claims | bit);
        }
        emit Claimed(round, msg.sender, isClaimed());
    }

    /// @notice Take back one's claim.
    function unclaim() external {
        // Check
        _require(Phase.Settled);
        bool own = msg.sender == _terms.owner;
        uint64 bit = own ? 0 : uint64(1 << _seatOf(msg.sender));
        if (own ? !_ownerClaims : _claims & bit == 0) revert MarketErrors.NotClaimed(msg.sender);
        // Effect
        if (own) _ownerClaims = false;
        else _claims &= ~bit;
        emit Unclaimed(round, msg.sender, isClaimed());
    }

    /// @notice Close a settled round: the aggregator gets its fee, unless the scoring failed, the model moves unless the
    /// round is claimed, and the next round opens or the project ends. An office without a bond falls vacant.
    /// @dev The bond is 0 only where the scoring failed, and nobody has filled it up.
    function next() external {
        // Check
        _require(Phase.Settled);
        bool held = isClaimed();
        _after(held ? uint256(deadline) + _terms.windows.lock : deadline);
        // Effect
        if (!_feeless) _credit(aggregator, _terms.fee);
        if (held) (_outcome.aggregate, _outcome.theta) = (0, theta); // what is not served is none, and moves nothing
        else theta = _outcome.theta;
        emit Closed(round, _outcome.aggregate == 0, theta);
        if (settled == _terms.rounds) _end();
        else if (bondWei == 0 && !ending) _leaveVacant();
        else _open(0);
    }

    // ------------------------------------------------------------ owner

    /// @notice Offer a root update for the next round, or another in its place: before that round is started, so
    /// before anybody has committed an update of it, and unseen until its submissions are closed: else it would be the
    /// answer key. It holds for that round alone, and counts with the aggregator's receipt. Without one it costs
    /// both p: hence a deposit, which another offer finds paid.
    /// @param digest of the commitment's points; it names chain, project, round and owner.
    /// @param cid of points and opening, sealed to the key that the aggregator accepted with.
    function offerRoot(bytes32 digest, bytes calldata cid) external payable {
        // Check
        _require(Phase.Open);
        _before(deadline);
        _onlyOwner();
        if (_references & 1 == 0) revert MarketErrors.NoRootSlot(_references);
        bytes32 submission = _submission(digest, cid);
        _exactly(root.offered == 0 ? _terms.penaltyWei : 0);
        // Effect
        uint16 number = round + 1;
        (root.offered, root.submission) = (number, submission);
        emit RootOffered(number, digest, cid);
    }

    /// @notice Name an aggregator for a vacant office.
    function nameAggregator(address candidate) external {
        _require(Phase.Vacant);
        _before(deadline);
        _onlyOwner();
        aggregator = candidate;
        emit Named(candidate);
    }

    /// @notice End a project whose office is vacant: the owner at once, anyone after the deadline.
    function end() external {
        _require(Phase.Vacant);
        if (msg.sender != _terms.owner) _after(deadline);
        _end();
    }

    /// @notice Let the project end instead of opening another round. The round that is open is not touched.
    function announceEnd() external {
        if (_phase == Phase.Created || _phase == Phase.Vacant || _phase == Phase.Ended) _require(Phase.Open);
        _onlyOwner();
        ending = true;
        emit EndAnnounced();
    }

    // ------------------------------------------------------------ views

    /// @notice Whether the owner or more than half of the admitted say that the last aggregate is not served.
    function isClaimed() public view returns (bool) {
        if (_phase != Phase.Settled) return false;
        return _ownerClaims || 2 * Proofs.popcount(_claims) > _taken;
    }

    /// @notice Where the project stands, in one call.
    function state() external view returns (State memory) {
        Phase phase_ = phase();
        return State({
            phase: phase_,
            now_: uint40(block.timestamp),
            deadline: phase_ == Phase.Admit ? uint40(_admitDeadline()) : deadline,
            round: round,
            settled: settled,
            voids: voids,
            aggregator: aggregator,
            beta: beta,
            pool: pool,
            bondWei: bondWei,
            unburntWei: unburntWei,
            ending: ending,
            claimed: isClaimed(),
            theta: theta
        });
    }

    function terms() external view returns (Terms memory) {
        return _terms;
    }

    function plan(uint256 n) external view returns (Plan memory) {
        return _plans[n];
    }

    /// @notice Rounds that became void for want of submissions: an account with fewer `voidsSeen` is not up to date.
    function voidRounds() external view returns (uint256) {
        return _voidRounds.length;
    }

    function rates() external view returns (uint64[] memory) {
        return _rates;
    }

    /// @notice Submissions of the current round, in the order of its slots. Once locked only the admitted are left. Those
    /// of earlier rounds are in the log.
    function seats() external view returns (Seat[] memory out) {
        out = new Seat[](_taken);
        for (uint256 i; i < out.length; ++i) out[i] = _seats[i];
    }

    /// @notice A bit for each coalition whose loss is proven, of the last round that came to Score, at its place in
    /// `Score.losses`.
    function proven() external view returns (uint256) {
        return _score.proven;
    }

    function outcome() external view returns (Outcome memory) {
        return _outcome;
    }

    // ------------------------------------------------------------ inside

    /// @dev Run the same call in the code of `Extension`, with this project's storage.
    function _pass() private {
        address to = address(EXTENSION);
        assembly {
            calldatacopy(0, 0, calldatasize())
            let good := delegatecall(gas(), to, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            switch good
            case 0 { revert(0, returndatasize()) }
            default { return(0, returndatasize()) }
        }
    }

    /// @dev Refused submissions burn the penalty of both stake and bond, and lose their seats; order is kept. A root
    /// update that was offered and is not admitted burns as much of the owner's deposit and of the bond.
    function _refuseOthers() private {
        (uint256 taken, uint256 kept, uint96 penalty) = (_taken, 0, _terms.penaltyWei);
        for (uint256 i; i < taken; ++i) {
            if (_seats[i].admitted) {
                if (kept != i) _seats[kept] = _seats[i];
                ++kept;
            } else {
                address trainer = _seats[i].trainer;
                uint256 burnt = _burnStake(trainer, penalty);
                _burnBond(penalty);
                _accounts[trainer].lastRound = 0; // no undecided submission any more: it may leave
                emit Refused(round, trainer, burnt);
            }
        }
        _taken = uint8(kept);
        if (root.offered != 0) {
            root.offered = 0;
            unburntWei += penalty;
            _burnBond(penalty);
            emit Refused(round, address(0), penalty);
        }
    }

    /// @dev Of the root update, where it lies here.
    function _returnDeposit() private {
        if (root.offered == 0) return;
        root.offered = 0;
        refundWei[_terms.owner] += _terms.penaltyWei;
    }

    /// @dev Between rounds. An announced end acts here, and only here.
    function _open(uint256 delay) private {
        if (ending) return _end();
        _phase = Phase.Open;
        deadline = uint40(block.timestamp + delay + _terms.windows.start);
        emit Opened(settled, voids, deadline);
    }

    /// @dev Count a round that came to nothing; false if it was one too many and the project has ended.
    function _void() private returns (bool) {
        if (++voids < _terms.voidLimit) return true;
        _end();
        return false;
    }

    function _vacate() private {
        if (_void()) _leaveVacant();
    }

    function _leaveVacant() private {
        _refundBond(aggregator);
        aggregator = address(0);
        _phase = Phase.Vacant;
        deadline = uint40(block.timestamp + _terms.windows.vacancy);
        emit Vacated(deadline);
    }

    function _end() private {
        _phase = Phase.Ended;
        _refundBond(aggregator);
        _returnDeposit();
        _credit(_terms.owner, pool);
        emit Ended(settled, pool);
        pool = 0;
    }

    /// @dev The submission deadline counts here even where the last seat was taken before it.
    function _isLive(address who) private view returns (bool) {
        if (_phase == Phase.Submit && (block.timestamp <= deadline || _taken < _terms.minTrainers)) return true;
        return (_phase == Phase.Submit || _phase == Phase.Prove) && _accounts[who].lastRound == round;
    }

    function _seatOf(address trainer) private view returns (uint256) {
        uint256 taken = _taken;
        for (uint256 i; i < taken; ++i) if (_seats[i].trainer == trainer) return i;
        revert MarketErrors.NoSuchSeat(trainer, round);
    }

    function _countAdmitted() private view returns (uint256 count) {
        uint256 taken = _taken;
        for (uint256 i; i < taken; ++i) if (_seats[i].admitted) ++count;
    }

    function _admitDeadline() private view returns (uint256) {
        return uint256(deadline) + _terms.windows.admit;
    }

    /// @dev keccak(digest ‖ keccak(cid)), for a CID of a length that there is.
    function _submission(bytes32 digest, bytes calldata cid) private pure returns (bytes32) {
        _checkCid(cid);
        return keccak256(abi.encode(digest, keccak256(cid)));
    }

    function _checkReceipt(address trainer, bytes32 submission, bytes calldata receipt) private view {
        _signedBy(
            aggregator,
            keccak256(abi.encode(RECEIPT_TYPE, aggregator, uint256(round), trainer, submission)),
            receipt
        );
    }

    function _onlyOwner() private view {
        if (msg.sender != _terms.owner) revert MarketErrors.WrongCaller(msg.sender, _terms.owner);
    }

    function _onlyAggregator() private view {
        if (msg.sender != aggregator) revert MarketErrors.WrongCaller(msg.sender, aggregator);
    }

    function _exactly(uint256 want) private view {
        if (msg.value != want) revert MarketErrors.WrongValue(msg.value, want);
    }
}
