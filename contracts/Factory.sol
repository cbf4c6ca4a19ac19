// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Extension} from "./Extension.sol";
import {MarketErrors} from "./MarketErrors.sol";
import {Limits} from "./lib/Limits.sol";
import {Precompiles} from "./lib/Precompiles.sol";
import {Project} from "./Project.sol";
import {Plan, Terms} from "./Types.sol";

/// @title Makes projects, each a clone with its own escrow, and refuses terms that would trap somebody.
/// @notice Nobody owns it and it holds no money. The address of a project commits to all that it was made of: a
/// reorganisation can take a project away, but can put no other one in its place.
contract Factory {
    using SafeERC20 for IERC20;

    /// @notice The code that every project delegates to.
    Project public implementation;
    /// @notice Projects that were made here.
    mapping(address => bool) public isProject;

    /// @notice Logged by the transaction that deploys the factory: it shows with what code that was done.
    event Deployed(Project implementation);
    event ProjectCreated(
        address indexed project,
        address indexed owner,
        Terms terms,
        Plan[] plans,
        uint64[] rates,
        bytes cid,
        uint256 nonce
    );

    error AlreadyCreated(address project);
    error TokenTookAFee(uint256 have, uint256 want);

    constructor() {
        Precompiles.check();
        implementation = new Project(new Extension());
        emit Deployed(implementation);
    }

    /// @notice Put a project's whole pool, T · (R + F), into escrow. The caller becomes its owner.
    /// @param given the terms; `owner` must be the caller.
    /// @param plans one for each number of trainers from minTrainers to maxTrainers.
    /// @param rates learning rate of each round in billionths; the last one holds for all later rounds.
    /// @param cid of the initial model.
    /// @param nonce of the owner's choice: the same project can be made again with another one.
    function create(
        Terms calldata given,
        Plan[] calldata plans,
        uint64[] calldata rates,
        bytes calldata cid,
        uint256 nonce
    ) external payable returns (Project project) {
        // Check
        Limits.check(given, plans, rates.length, cid.length);
        uint256 pool = given.rounds * (uint256(given.reward) + given.fee);
        uint256 value = given.token == address(0) ? pool : 0;
        if (msg.value != value) revert MarketErrors.WrongValue(msg.value, value);
        bytes32 salt = _salt(given, plans, rates, cid, nonce);
        address place = Clones.predictDeterministicAddress(address(implementation), salt);
        if (isProject[place]) revert AlreadyCreated(place);
        // Effect
        isProject[place] = true;
        emit ProjectCreated(place, given.owner, given, plans, rates, cid, nonce);
        project = Project(Clones.cloneDeterministic(address(implementation), salt));
        // Interaction
        project.initialise{value: value}(given, plans, rates);
        if (value == 0) {
            IERC20 token = IERC20(given.token);
            token.safeTransferFrom(msg.sender, address(project), pool);
            uint256 have = token.balanceOf(address(project));
            if (have < pool) revert TokenTookAFee(have, pool);
        }
    }

    /// @notice Where a project of these terms is, or will be: nowhere else, and no other project can be there. So
    /// whatever is sent to it reaches these terms, or nothing.
    function addressOf(
        Terms calldata given,
        Plan[] calldata plans,
        uint64[] calldata rates,
        bytes calldata cid,
        uint256 nonce
    ) external view returns (address) {
        return Clones.predictDeterministicAddress(address(implementation), _salt(given, plans, rates, cid, nonce));
    }

    /// @dev `given` names the owner, who alone can create it.
    function _salt(
        Terms calldata given,
        Plan[] calldata plans,
        uint64[] calldata rates,
        bytes calldata cid,
        uint256 nonce
    ) private pure returns (bytes32) {
        return keccak256(abi.encode(given, plans, rates, cid, nonce));
    }
}
