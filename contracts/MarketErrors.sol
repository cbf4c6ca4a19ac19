// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase} from "./Types.sol";

/// @notice Why a call was refused: what there is, and what is wanted.
library MarketErrors {
    error WrongPhase(Phase have, Phase want);
    error TooEarly(uint256 have, uint256 want);
    error TooLate(uint256 have, uint256 want);
    error WrongCaller(address have, address want);
    error WrongValue(uint256 have, uint256 want);
    error WrongLength(bytes32 what, uint256 have, uint256 want);
    error OutOfBounds(bytes32 what, uint256 have, uint256 least, uint256 most);
    error NotAMember(address have);
    error StakeNotFull(uint256 have, uint256 want);
    error BondNotFull(uint256 have, uint256 want);
    error AlreadySubmitted(address trainer, uint256 round);
    error LiveSubmission(address trainer, uint256 round);
    error NotEnoughSubmissions(uint256 have, uint256 want);
    error EnoughSubmissions(uint256 have, uint256 want);
    error NoSuchSeat(address trainer, uint256 round);
    error WrongSigner(address have, address want);
    error WrongPoints(uint256 slot, bytes32 have, bytes32 want);
    error WrongModel(bytes32 have, bytes32 want);
    error WrongProofPoint(bytes32 proof, uint256 haveX, uint256 haveY, uint256 wantX, uint256 wantY);
    error VerifierChanged(address verifier, bytes32 have, bytes32 want);
    error VerifierDelegates(address verifier);
    error ProofRejected(bytes32 proof);
    error WrongCid(uint256 have, uint256 most);
    error NothingToWithdraw(address who);
    error PaymentRefused(address to, uint256 amount);
    error AlreadyClaimed(address who);
    error NotClaimed(address who);
    error NothingToServe(uint256 round);
    error AlreadyInitialised();
    error NoRootSlot(uint256 references);
    error NotProven(bytes32 seed);
    error NotDue(uint256 coalition, uint256 accepted);
    error AlreadyProven(uint256 round, uint256 coalition);
    error WrongDescriptor(bytes32 have, bytes32 want);
    error WrongBatch(bytes32 have, bytes32 want);
}
