/** An EVM of one's own: Ethereum's rules as of Cancun, without blocks, fees or a network. */

import { Common, Hardfork, Mainnet } from "@ethereumjs/common";
import { createEVM, type EVM } from "@ethereumjs/evm";
import { SimpleStateManager } from "@ethereumjs/statemanager";
import { Account, Address, bytesToHex, createAddressFromString, hexToBytes } from "@ethereumjs/util";
import type { Hex, Address as Place } from "viem";
import type { Log } from "./recording";

/** More than any sender ever pays: what it had on its chain is not looked at. */
const PURSE = 1n << 100n;
const GAS = 60_000_000n;

export interface Call {
  from: Place;
  to: Place | null;
  data: Hex;
  value: bigint;
  nonce: bigint;
  block: number;
  time: number;
}

export interface Outcome {
  /** What a refusing contract said, ABI-encoded; undefined where the call succeeded. */
  refused?: Hex;
  created?: Place;
  logs: Log[];
}

export class Machine {
  private constructor(
    private readonly evm: EVM,
    private readonly state: SimpleStateManager,
  ) {}

  static async on(chainId: number): Promise<Machine> {
    const common = new Common({
      chain: { ...Mainnet, chainId, name: "replayed" },
      hardfork: Hardfork.Cancun,
    });
    const stateManager = new SimpleStateManager({ common });
    const evm = await createEVM({ common, stateManager });
    return new Machine(evm, stateManager);
  }

  /** Put a contract's code where the chain had it. */
  async place(address: Place, code: Hex): Promise<void> {
    await this.state.putAccount(createAddressFromString(address), new Account(1n));
    await this.state.putCode(createAddressFromString(address), hexToBytes(code));
  }

  /** Run a transaction; where it is refused nothing changes. */
  async run(call: Call): Promise<Outcome> {
    const caller = createAddressFromString(call.from);
    await this.state.putAccount(caller, new Account(call.nonce, PURSE));
    const result = await this.evm.runCall({
      caller,
      origin: caller,
      ...(call.to === null ? {} : { to: createAddressFromString(call.to) }),
      data: hexToBytes(call.data),
      value: call.value,
      gasLimit: GAS,
      block: header(call.block, call.time),
    });
    await this.evm.journal.cleanup();
    this.evm.transientStorage.clear();
    const { exceptionError, returnValue, logs } = result.execResult;
    return {
      ...(exceptionError === undefined ? {} : { refused: bytesToHex(returnValue) }),
      ...(result.createdAddress === undefined ? {} : { created: result.createdAddress.toString() as Place }),
      logs: (logs ?? []).map(([address, topics, data]) => ({
        address: new Address(address).toString() as Place,
        topics: topics.map((topic) => bytesToHex(topic)),
        data: bytesToHex(data),
      })),
    };
  }

  /** A call that changes nothing. */
  async ask(to: Place, data: Hex, block: number, time: number): Promise<Hex> {
    const result = await this.evm.runCall({
      to: createAddressFromString(to),
      data: hexToBytes(data),
      gasLimit: GAS,
      isStatic: true,
      block: header(block, time),
    });
    await this.evm.journal.cleanup();
    return bytesToHex(result.execResult.returnValue);
  }
}

/** All that our contracts ask of a block is its time; the rest is what EVM code may ask for. */
function header(number: number, timestamp: number): never {
  const zero = createAddressFromString(`0x${"00".repeat(20)}`);
  return {
    header: {
      number: BigInt(number),
      timestamp: BigInt(timestamp),
      coinbase: zero,
      difficulty: 0n,
      prevRandao: new Uint8Array(32),
      gasLimit: GAS,
      baseFeePerGas: 0n,
      getBlobGasPrice: () => 1n,
    },
  } as never;
}
