// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Accounts} from "./Accounts.sol";
import {MarketErrors} from "./MarketErrors.sol";
import {Account, Outcome, Phase, Plan, Root, Score, Seat, Settlement} from "./Types.sol";

/// @title What a project remembers of its rounds, what it logs, and its clock.
/// @notice Both contracts whose code a project runs, `Project` and `Extension`, are made of this, so that they mean the
/// same storage.
/// @dev `round` counts the rounds that were started, failed ones included: every start has a number of its
/// own, so that no digest, receipt or publication of a failed attempt fits a later one.
abstract contract Rounds is Accounts {
    uint256 private constant SKIPS_ALLOWED = 2;
    uint256 private constant CID_MOST = 96;
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    // one slot
    Phase internal _phase;
    bool public ending;
    uint8 public voids; // rounds that came to nothing, of whatever reason
    uint16 public round;
    uint16 public settled;
    uint40 public deadline; // of the stored phase
    address public aggregator; // 0 while there is none

    uint128 public beta; // norm bound of the current round
    uint64 internal _claims; // bit i: slot i + 1 says that the aggregate is not served
    bool internal _ownerClaims;
    uint8 internal _references; // of every plan
    uint8 internal _taken; // seats of the current round

    uint64 internal _claimed; // who has claimed in this round: once each
    bool internal _ownerClaimed;
    bool internal _feeless; // the round was not scored in time: its fee is in the pool again

    mapping(uint256 n => Plan) internal _plans;
    Seat[64] internal _seats; // the first `_taken`; what stands behind them is of earlier rounds
    uint16[] internal _voidRounds;
    uint64[] internal _rates;
    Outcome internal _outcome;
    Score internal _score;

    /// @notice keccak of the words of C_Θ, the commitment to the model that the rounds closed so far have made. Nobody
    /// names it: it begins as the terms say, and moves by what is proven.
    bytes32 public theta;

    /// @notice The owner's root update: offered for the next round, or what became of it in this one.
    Root public root;

    /// @notice By the last seed of its transcript, what `proveBase` has verified: keccak of round, seeds, q and points.
    mapping(bytes32 seed => bytes32) public entry;

    /// @notice Who made it, and checked its terms.
    address public factory;

    event Accepted(address indexed aggregator, uint256 bondWei, bytes32 encryptionKey);
    event ToppedUp(address indexed aggregator, uint256 bondWei);
    event Joined(address indexed trainer, uint256 stakeWei, bytes32 encryptionKey);
    event Left(address indexed trainer, uint256 refundWei);
    event Skipped(address indexed trainer, uint256 indexed round, uint256 burntWei, bool removed);
    event Opened(uint256 settled, uint256 voids, uint256 deadline);
    event RootOffered(uint256 indexed round, bytes32 digest, bytes cid);
    event Started(uint256 indexed round, bytes32 encryptionKey, uint256 beta, uint256 deadline, bytes keyring);
    event Submitted(uint256 indexed round, address indexed trainer, uint256 seat, bytes32 digest, bytes cid);
    event Voided(uint256 indexed round, uint256 submissions);
    event NotStarted(uint256 voids);
    event Admitted(uint256 indexed round, address indexed trainer);
    event RootAdmitted(uint256 indexed round);
    event Refused(uint256 indexed round, address indexed trainer, uint256 burntWei);
    event Locked(uint256 indexed round, address[] trainers, uint256 deadline);
    event AdmissionFailed(uint256 indexed round, uint256 admitted, uint256 burntWei);
    event Failed(uint256 indexed round, uint256 bondShareWei);
    event BaseProven(uint256 indexed round, bytes32 seed);
    event Settled(uint256 indexed round, bytes32 seed, Settlement settlement, uint256 deadline);
    event UtilityProven(uint256 indexed round, uint256 indexed coalition, uint256 correct, uint256 loss);
    event Scored(uint256 indexed round, uint256[] scores, uint256[] pay, uint256 deadline);
    event ScoringFailed(uint256 indexed round, uint256 burntWei);
    event Claimed(uint256 indexed round, address indexed who, bool held);
    event Unclaimed(uint256 indexed round, address indexed who, bool held);
    event Closed(uint256 indexed round, bool skipped, bytes32 theta);
    event Vacated(uint256 deadline);
    event Named(address indexed aggregator);
    event EndAnnounced();
    event Ended(uint256 settled, uint256 unspent);

    /// @dev The code itself can never be a project.
    constructor() {
        _phase = Phase.Ended;
        _terms.owner = address(this);
    }

    /// @notice The phase by the clock: Admit once the submission deadline has passed with enough seats taken, or the
    /// last seat is taken.
    function phase() public view returns (Phase) {
        if (_phase != Phase.Submit) return _phase;
        bool closed = _taken == _terms.maxTrainers || (block.timestamp > deadline && _taken >= _terms.minTrainers);
        return closed ? Phase.Admit : Phase.Submit;
    }

    /// @notice EIP-712 domain of this clone.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("zkmarket"), keccak256("1"), block.chainid, address(this)));
    }

    // ------------------------------------------------------------ inside

    /// @dev Account for the void rounds since the account was last used. Lazy, so that no transition has to
    /// visit every member.
    function _settleSkips(address who) internal {
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

    function _trainers() internal view returns (address[] memory out) {
        out = new address[](_taken);
        for (uint256 i; i < out.length; ++i) out[i] = _seats[i].trainer;
    }

    function _checkCid(bytes calldata cid) internal pure {
        if (cid.length == 0 || cid.length > CID_MOST) revert MarketErrors.WrongCid(cid.length, CID_MOST);
    }

    function _signedBy(address want, bytes32 structHash, bytes calldata signature) internal view {
        bytes32 digest = MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
        (address have,,) = ECDSA.tryRecoverCalldata(digest, signature); // refuses a high s
        if (have != want || have == address(0)) revert MarketErrors.WrongSigner(have, want);
    }

    function _require(Phase want) internal view {
        Phase have = phase();
        if (have != want) revert MarketErrors.WrongPhase(have, want);
    }

    function _before(uint256 limit) internal view {
        if (block.timestamp > limit) revert MarketErrors.TooLate(block.timestamp, limit);
    }

    function _after(uint256 limit) internal view {
        if (block.timestamp <= limit) revert MarketErrors.TooEarly(block.timestamp, limit + 1);
    }

}
