// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Passes a call on, so that its calldata is in no transaction: for tests/e2e/test_parties.py.
contract Relay {
    function pass(address to, bytes calldata data) external {
        (bool done, bytes memory answer) = to.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}
