// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Accounts} from "./Accounts.sol";
import {MarketErrors} from "./MarketErrors.sol";
import {Proofs} from "./lib/Proofs.sol";
import {Account, Facts, Outcome, Phase, Plan, RoundProof, Seat, Settlement, State, Terms} from "./Types.sol";

/// @title A federated-learning project: a pool in escrow that is paid out on proofs alone.
/// @notice One clone a project, made by the Factory. There is no admin key: what the owner may do is in this
/// file, and none of it moves a reward that is owed. Each external function states its phase and deadline
/// first; an action needs now <= deadline, a time-out now > deadline and may be called by anyone.
/// @dev `round` counts the rounds that were started, failed ones included: every start has a number of its
/// own, so that no tag, receipt or publication of a failed attempt fits a later one.
contract Project is Accounts {
    uint256 private constant SKIPS_ALLOWED = 2;
    uint256 private constant CID_MOST = 96;

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant MEMBERSHIP_TYPE = keccak256("Membership(address trainer)");
    bytes32 private constant RECEIPT_TYPE =
        keccak256("Receipt(address aggregator,uint256 round,address trainer,bytes32 points,bytes32 cid)");
    bytes32 private constant PUBLICATION_TYPE =
        keccak256("Publication(uint256 round,bytes32 seed,bytes32 aggregate,bytes32 cid)");

    // one slot
    Phase private _phase;
    bool public ending;
    uint8 public voids; // rounds that came to nothing, of whatever reason
    uint16 public round;
    uint16 public settled;
    uint40 public deadline; // of the stored phase
    address public aggregator; // 0 while there is none

    uint128 public beta; // norm bound of the current round
    uint64 private _claims; // bit i: slot i + 1 says that the aggregate is not served
    bool private _ownerClaims;
    uint8 private _references; // of every plan

    uint64 private _claimed; // who has claimed in this round: once each
    bool private _ownerClaimed;

    mapping(uint256 n => Plan) private _plans;
    mapping(uint256 round => Seat[]) private _seats;
    uint16[] private _voidRounds;
    uint64[] private _rates;
    Outcome private _outcome;

    /// @notice keccak of the words of the owner's root update for a round; 0: none. Until the start it is what the
    /// owner offers, then what the aggregator took.
    mapping(uint256 round => bytes32) public root;

    /// @notice Who made it, and checked its terms.
    address public factory;

    event Accepted(address indexed aggregator, uint256 bondWei, bytes32 encryptionKey);
    event ToppedUp(address indexed aggregator, uint256 bondWei);
    event Joined(address indexed trainer, uint256 stakeWei, bytes32 encryptionKey);
    event Left(address indexed trainer, uint256 refundWei);
    event Skipped(address indexed trainer, uint256 indexed round, uint256 burntWei, bool removed);
    event Opened(uint256 settled, uint256 voids, uint256 deadline);
    event RootOffered(uint256 indexed round, uint256[] points, bytes cid);
    event Started(
        uint256 indexed round, bytes32 encryptionKey, uint256 beta, uint256 deadline, bytes keyring, bytes32 root
    );
    event Submitted(uint256 indexed round, address indexed trainer, uint256 seat, uint256[] points, bytes cid);
    event Voided(uint256 indexed round, uint256 submissions);
    event NotStarted(uint256 voids);
    event Admitted(uint256 indexed round, address indexed trainer);
    event Refused(uint256 indexed round, address indexed trainer, uint256 burntWei);
    event Locked(uint256 indexed round, address[] trainers, uint256 deadline);
    event AdmissionFailed(uint256 indexed round, uint256 admitted, uint256 burntWei);
    event Failed(uint256 indexed round, uint256 bondShareWei);
    event Settled(uint256 indexed round, bytes32 seed, Settlement settlement, uint256 deadline);
    event Claimed(uint256 indexed round, address indexed who, bool held);
    event Unclaimed(uint256 indexed round, address indexed who, bool held);
    event Closed(uint256 indexed round, bool skipped);
    event Vacated(uint256 deadline);
    event Named(address indexed aggregator);
    event EndAnnounced();
    event Ended(uint256 settled, uint256 unspent);

    /// @dev The implementation itself can never be a project.
    constructor() {
        _phase = Phase.Ended;
        _terms.owner = address(this);
    }

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
        pool = uint128(given.rounds * (uint256(given.reward) + given.fee));
        deadline = uint40(block.timestamp + given.windows.accept);
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
    /// @param root_ keccak of the words of the root update that the owner offers and the aggregator can open; 0: none,
    /// whatever is offered. An owner that serves no opening has an aggregator that takes none, and not its bond; one
    /// that changes its offer meanwhile, an aggregator that looks again.
    function start(bytes32 encryptionKey, bytes calldata keyring, bytes32 root_) external {
        // Check
        _require(Phase.Open);
        _before(deadline);
        uint256 earliest = deadline - _terms.windows.start; // later than the opening after a vacancy or a void round
        if (block.timestamp < earliest) revert MarketErrors.TooEarly(block.timestamp, earliest);
        _onlyAggregator();
        if (bondWei < _terms.bondWei) revert MarketErrors.BondNotFull(bondWei, _terms.bondWei);
        if (keyring.length != 0) _checkCid(keyring);
        bytes32 offered = _references & 1 == 0 ? bytes32(0) : root[uint256(round) + 1];
        if (root_ != offered && root_ != 0) revert MarketErrors.RootNotOffered(root_, offered);
        // Effect
        _phase = Phase.Submit;
        ++round;
        if (root_ != offered) root[round] = 0;
        deadline = uint40(block.timestamp + _terms.windows.submit);
        emit Started(round, encryptionKey, beta, deadline, keyring, root_);
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
        if (_phase != Phase.Open) {
            _require(Phase.Submit);
            _before(deadline);
        }
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

    /// @notice Submit the commitments of an update with a range proof for every chunk. No ciphertext is sent
    /// before the deadline: `cid` says where it will be.
    /// @param points x, y of every chunk's commitment.
    /// @param proofs of range; their tag is the caller's, so that another's are worthless to it.
    function submit(uint256[] calldata points, bytes calldata cid, bytes[] calldata proofs) external {
        // Check
        _require(Phase.Submit);
        _before(deadline);
        _settleSkips(msg.sender);
        Account storage own = _accounts[msg.sender];
        if (own.stakeWei == 0) revert MarketErrors.NotAMember(msg.sender);
        if (own.stakeWei < _terms.stakeWei) revert MarketErrors.StakeNotFull(own.stakeWei, _terms.stakeWei);
        if (own.lastRound == round) revert MarketErrors.AlreadySubmitted(msg.sender, round);
        Seat[] storage seats_ = _seats[round];
        if (seats_.length == _terms.maxTrainers) revert MarketErrors.NoSeatLeft(seats_.length, _terms.maxTrainers);
        _checkCid(cid);
        Proofs.checkRanges(_terms, round, points, proofs);
        // Effect
        own.lastRound = round;
        seats_.push(Seat(msg.sender, false, keccak256(abi.encodePacked(points)), keccak256(cid)));
        emit Submitted(round, msg.sender, seats_.length - 1, points, cid);
    }

    // ------------------------------------------------------------ admission

    /// @notice Too few submissions: decided by them alone, before anybody has sent an update.
    function voidRound() external {
        _require(Phase.Submit); // with enough submissions the phase is Admit
        _after(deadline);
        uint256 submissions = _seats[round].length;
        _voidRounds.push(round); // who was a member and did not submit pays when its account is next used
        emit Voided(round, submissions);
        if (_void()) _open(_terms.windows.exit); // else void, start, void, start: and nobody could leave between
    }

    /// @notice Show the aggregator's receipt for a submission: received, decrypts, opens. It cannot be taken back.
    function admit(address trainer, bytes calldata receipt) external {
        // Check
        _require(Phase.Admit);
        _before(_admitDeadline());
        Seat storage seat = _seats[round][_seatOf(trainer)];
        if (seat.admitted) revert MarketErrors.AlreadyAdmitted(trainer, round);
        _signedBy(
            aggregator,
            keccak256(abi.encode(RECEIPT_TYPE, aggregator, uint256(round), trainer, seat.points, seat.cid)),
            receipt
        );
        // Effect
        seat.admitted = true;
        emit Admitted(round, trainer);
    }

    /// @notice Freeze the set of admitted trainers: the reward is now owed to them.
    function lock() external {
        // Check
        _require(Phase.Admit);
        uint256 admitted = _countAdmitted();
        if (admitted < _seats[round].length) _after(_admitDeadline());
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

    /// @notice Verify a round and pay it. Anyone may send it; nothing depends on who does.
    /// @param cid where the aggregate is served; empty where it is withheld (fewer than minAccepted accepted).
    /// @param publication the aggregator's signature on (round, seed, aggregate, cid).
    function settle(RoundProof calldata proof, bytes calldata cid, bytes calldata publication) external {
        // Check
        _require(Phase.Prove);
        _before(deadline);
        Settlement memory result;
        result.trainers = _trainers();
        Plan storage plan_ = _plans[result.trainers.length];
        Facts memory facts;
        (facts.round, facts.beta, facts.references) = (round, beta, _references);
        if (facts.references != 0) {
            (facts.shift, facts.root, facts.last) = (plan_.shift, root[round], _outcome.aggregate);
        }
        bytes32 seed;
        (seed, result.aggregate, result.proofs) = Proofs.checkRound(_terms, plan_, _seats[round], facts, proof);
        bytes32 aggregateHash;
        if (result.aggregate.length == 0) {
            if (cid.length != 0) revert MarketErrors.WrongCid(cid.length, 0);
        } else {
            _checkCid(cid);
            aggregateHash = keccak256(abi.encodePacked(result.aggregate));
        }
        _signedBy(
            aggregator,
            keccak256(abi.encode(PUBLICATION_TYPE, uint256(round), seed, aggregateHash, keccak256(cid))),
            publication
        );
        // Effect
        (result.mask, result.scores, result.nu, result.cid) = (proof.mask, proof.scores, proof.nu, cid);
        if (facts.shift != 0) for (uint256 i; i < result.scores.length; ++i) result.scores[i] >>= facts.shift;
        result.pay = _pay(result.trainers, result.scores);
        _conclude(proof, result.scores, aggregateHash, keccak256(cid));
        (result.beta, result.rate) = (beta, _outcome.rate);
        emit Settled(round, seed, result, deadline);
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

    /// @notice Close a settled round: the aggregator gets its fee, and the next round opens or the project ends.
    function next() external {
        // Check
        _require(Phase.Settled);
        bool held = isClaimed();
        _after(held ? uint256(deadline) + _terms.windows.lock : deadline);
        // Effect
        _credit(aggregator, _terms.fee);
        if (held) _outcome.aggregate = 0; // a last aggregate that is not served is none
        emit Closed(round, _outcome.aggregate == 0);
        if (settled == _terms.rounds) _end();
        else _open(0);
    }

    // ------------------------------------------------------------ owner

    /// @notice Offer a root update for the next round, or another in its place: before that round is started, so
    /// before anybody has committed an update of it. It holds for that round alone, and once the aggregator names it
    /// at the start, which it does if it can open it: without the opening it could not settle the round.
    /// @param points x, y of every chunk's commitment.
    /// @param proofs of range; their tag is that of the owner and the next round.
    /// @param cid of the opening, sealed to the key that the aggregator accepted with. Logged only.
    function offerRoot(uint256[] calldata points, bytes[] calldata proofs, bytes calldata cid) external {
        // Check
        _require(Phase.Open);
        _before(deadline);
        _onlyOwner();
        if (_references & 1 == 0) revert MarketErrors.NoRootSlot(_references);
        _checkCid(cid);
        uint256 number = uint256(round) + 1;
        Proofs.checkRanges(_terms, number, points, proofs);
        // Effect
        root[number] = keccak256(abi.encodePacked(points));
        emit RootOffered(number, points, cid);
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

    /// @notice The phase by the clock: Admit once the submission deadline has passed with enough seats taken.
    function phase() public view returns (Phase) {
        if (_phase == Phase.Submit && block.timestamp > deadline && _seats[round].length >= _terms.minTrainers) {
            return Phase.Admit;
        }
        return _phase;
    }

    /// @notice Whether the owner or more than half of the admitted say that the last aggregate is not served.
    function isClaimed() public view returns (bool) {
        if (_phase != Phase.Settled) return false;
        return _ownerClaims || 2 * Proofs.popcount(_claims) > _seats[round].length;
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
            claimed: isClaimed()
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

    /// @notice Submissions of a round, in the order of its slots. Once locked only the admitted are left.
    function seats(uint256 round_) external view returns (Seat[] memory) {
        return _seats[round_];
    }

    function outcome() external view returns (Outcome memory) {
        return _outcome;
    }

    /// @notice EIP-712 domain of this clone.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("zkmarket"), keccak256("1"), block.chainid, address(this)));
    }

    // ------------------------------------------------------------ inside

    /// @dev R by score, floor; all scores 0: equally among the admitted, never back to the owner, who could cause
    /// it. The dust is the owner's.
    function _pay(address[] memory trainers, uint256[] memory scores) private returns (uint256[] memory pay) {
        uint256 n = trainers.length;
        pay = new uint256[](n);
        uint256 total;
        for (uint256 i; i < n; ++i) total += scores[i];
        uint256 reward = _terms.reward;
        uint256 left = reward;
        for (uint256 i; i < n; ++i) {
            pay[i] = total == 0 ? reward / n : reward * scores[i] / total;
            left -= pay[i];
            if (pay[i] != 0) _credit(trainers[i], pay[i]);
        }
        if (left != 0) _credit(_terms.owner, left);
    }

    /// @dev Next norm bound: κ·ν, clamped to [β/2, 2β] and to [β_min, β_max].
    function _conclude(
        RoundProof calldata proof,
        uint256[] memory scores,
        bytes32 aggregateHash,
        bytes32 cidHash
    ) private {
        uint256 old = beta;
        uint256 target = uint256(_terms.kappa) * proof.nu / 1000;
        target = _max(_max(target, old / 2), _terms.betaMin);
        beta = uint128(_min(_min(target, 2 * old), _terms.betaMax));
        uint256[] memory packed = new uint256[]((scores.length + 3) / 4);
        for (uint256 i; i < scores.length; ++i) packed[i / 4] |= scores[i] << (64 * (i % 4));
        uint64 rate = _rates[_min(settled, _rates.length - 1)];
        _outcome = Outcome(uint64(proof.mask), rate, beta, aggregateHash, cidHash, packed);
        (_claims, _ownerClaims, _claimed, _ownerClaimed) = (0, false, 0, false);
        ++settled;
        _phase = Phase.Settled;
        deadline = uint40(block.timestamp + _terms.windows.claim);
    }

    /// @dev Refused submissions burn the penalty of both stake and bond, and lose their seats; order is kept.
    function _refuseOthers() private {
        Seat[] storage seats_ = _seats[round];
        uint256 kept;
        for (uint256 i; i < seats_.length; ++i) {
            if (seats_[i].admitted) {
                if (kept != i) seats_[kept] = seats_[i];
                ++kept;
            } else {
                address trainer = seats_[i].trainer;
                uint256 burnt = _burnStake(trainer, _terms.penaltyWei);
                _burnBond(_terms.penaltyWei);
                _accounts[trainer].lastRound = 0; // no undecided submission any more: it may leave
                emit Refused(round, trainer, burnt);
            }
        }
        while (seats_.length > kept) seats_.pop();
    }

    /// @dev Account for the void rounds since the account was last used. Lazy, so that no transition has to
    /// visit every member.
    function _settleSkips(address who) private {
        Account storage own = _accounts[who];
        uint256 count = _voidRounds.length;
        if (own.stakeWei != 0) {
            for (uint256 i = own.voidsSeen; i < count && own.skipped < SKIPS_ALLOWED; ++i) {
                if (_voidRounds[i] == own.lastRound) continue;
                ++own.skipped;
                uint256 burnt = _burnStake(who, _terms.penaltyWei);
                bool removed = own.skipped == SKIPS_ALLOWED;
                emit Skipped(who, _voidRounds[i], burnt, removed);
                if (removed) _refundStake(who);
            }
        }
        own.voidsSeen = uint8(count);
    }

    function _release(address who) internal override {
        if (_phase != Phase.Ended || _accounts[who].stakeWei == 0) return;
        _settleSkips(who);
        _refundStake(who);
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
        if (!_void()) return;
        _refundBond(aggregator);
        aggregator = address(0);
        _phase = Phase.Vacant;
        deadline = uint40(block.timestamp + _terms.windows.vacancy);
        emit Vacated(deadline);
    }

    function _end() private {
        _phase = Phase.Ended;
        _refundBond(aggregator);
        _credit(_terms.owner, pool);
        emit Ended(settled, pool);
        pool = 0;
    }

    function _isLive(address who) private view returns (bool) {
        if (phase() == Phase.Submit) return true;
        return (_phase == Phase.Submit || _phase == Phase.Prove) && _accounts[who].lastRound == round;
    }

    function _trainers() private view returns (address[] memory out) {
        Seat[] storage seats_ = _seats[round];
        out = new address[](seats_.length);
        for (uint256 i; i < out.length; ++i) out[i] = seats_[i].trainer;
    }

    function _seatOf(address trainer) private view returns (uint256) {
        Seat[] storage seats_ = _seats[round];
        for (uint256 i; i < seats_.length; ++i) if (seats_[i].trainer == trainer) return i;
        revert MarketErrors.NoSuchSeat(trainer, round);
    }

    function _countAdmitted() private view returns (uint256 count) {
        Seat[] storage seats_ = _seats[round];
        for (uint256 i; i < seats_.length; ++i) if (seats_[i].admitted) ++count;
    }

    function _admitDeadline() private view returns (uint256) {
        return uint256(deadline) + _terms.windows.admit;
    }

    function _checkCid(bytes calldata cid) private pure {
        if (cid.length == 0 || cid.length > CID_MOST) revert MarketErrors.WrongCid(cid.length, CID_MOST);
    }

    function _signedBy(address want, bytes32 structHash, bytes calldata signature) private view {
        bytes32 digest = MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
        (address have,,) = ECDSA.tryRecoverCalldata(digest, signature); // refuses a high s
        if (have != want || have == address(0)) revert MarketErrors.WrongSigner(have, want);
    }

    function _require(Phase want) private view {
        Phase have = phase();
        if (have != want) revert MarketErrors.WrongPhase(have, want);
    }

    function _before(uint256 limit) private view {
        if (block.timestamp > limit) revert MarketErrors.TooLate(block.timestamp, limit);
    }

    function _after(uint256 limit) private view {
        if (block.timestamp <= limit) revert MarketErrors.TooEarly(block.timestamp, limit + 1);
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

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? b : a;
    }
}
