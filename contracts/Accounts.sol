// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MarketErrors} from "./MarketErrors.sol";
import {Account, Terms} from "./Types.sol";

/// @title The money of a project: who is owed what, and how it leaves.
/// @notice Internal accounting only; coin forced upon the contract is nobody's. Nothing but withdrawals and
/// burns, each started by whom it concerns or by anyone, sends coin.
/// @dev Invariant (native): balance >= stakes + bond + refunds + unburnt + p while a root update is undecided, and,
/// where the reward is native, + pool + owed + credits. `owed` is R + F in Prove, F in Settled, else 0.
abstract contract Accounts is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    address payable internal constant BURN = payable(0x000000000000000000000000000000000000dEaD);

    Terms internal _terms;

    /// @notice Reward and fee not yet owed to anybody, in the reward's unit.
    uint128 public pool;
    /// @notice The aggregator's bond.
    uint96 public bondWei;
    /// @notice Burnt, but still here.
    uint96 public unburntWei;
    /// @notice Native coin that was a stake or a bond and is free to withdraw.
    mapping(address => uint256) public refundWei;
    mapping(address => Account) internal _accounts;

    event Withdrawn(address indexed who, address indexed to, uint256 wei_);
    event WithdrawnToken(address indexed who, address indexed to, uint256 amount);
    event Burnt(uint256 wei_);

    /// @notice Pay the caller all that it may withdraw in native coin.
    /// @dev A payee that refuses hurts itself only: it names another address. The returned data are not copied.
    function withdraw(address payable to) external nonReentrant returns (uint256 amount) {
        // Effect
        _release(msg.sender);
        amount = refundWei[msg.sender];
        refundWei[msg.sender] = 0;
        if (_terms.token == address(0)) {
            amount += _accounts[msg.sender].credit;
            _accounts[msg.sender].credit = 0;
        }
        if (amount == 0) revert MarketErrors.NothingToWithdraw(msg.sender);
        emit Withdrawn(msg.sender, to, amount);
        // Interaction
        _send(to, amount);
    }

    /// @notice Pay the caller its credit where the reward is a token. Apart from `withdraw`, so that a token
    /// that refuses cannot hold stakes and bonds.
    function withdrawToken(address to) external nonReentrant returns (uint256 amount) {
        // Effect
        amount = _terms.token == address(0) ? 0 : _accounts[msg.sender].credit;
        if (amount == 0) revert MarketErrors.NothingToWithdraw(msg.sender);
        _accounts[msg.sender].credit = 0;
        emit WithdrawnToken(msg.sender, to, amount);
        // Interaction
        IERC20(_terms.token).safeTransfer(to, amount);
    }

    /// @notice Send what was burnt to the burn address. Anyone may, and nothing waits for it.
    function burn() external nonReentrant {
        // Effect
        uint256 amount = unburntWei;
        if (amount == 0) revert MarketErrors.NothingToWithdraw(BURN);
        unburntWei = 0;
        emit Burnt(amount);
        // Interaction
        _send(BURN, amount);
    }

    function account(address who) external view returns (Account memory) {
        return _accounts[who];
    }

    /// @dev Before a withdrawal: free the stake of a member once the project has ended.
    function _release(address who) internal virtual;

    function _send(address payable to, uint256 amount) private {
        bool sent;
        assembly ("memory-safe") {
            sent := call(gas(), to, amount, 0, 0, 0, 0)
        }
        if (!sent) revert MarketErrors.PaymentRefused(to, amount);
    }

    function _credit(address who, uint256 amount) internal {
        _accounts[who].credit += uint128(amount);
    }

    /// @dev Burn up to `amount` of the bond.
    function _burnBond(uint256 amount) internal {
        uint256 taken = amount < bondWei ? amount : bondWei;
        bondWei -= uint96(taken);
        unburntWei += uint96(taken);
    }

    /// @dev Burn up to `amount` of a trainer's stake; returns what was burnt.
    function _burnStake(address who, uint256 amount) internal returns (uint256 taken) {
        uint256 stake = _accounts[who].stakeWei;
        taken = amount < stake ? amount : stake;
        _accounts[who].stakeWei = uint96(stake - taken);
        unburntWei += uint96(taken);
    }

    /// @dev The stake becomes a refund: its owner is no member any more.
    function _refundStake(address who) internal {
        refundWei[who] += _accounts[who].stakeWei;
        _accounts[who].stakeWei = 0;
    }

    function _refundBond(address aggregator) internal {
        refundWei[aggregator] += bondWei;
        bondWei = 0;
    }
}
