/** Run a recorded project again, and compare all that comes of it with what the chain said. */

import { type Abi, type Address, type Hex, keccak256, parseTransaction, recoverTransactionAddress, sha256 } from "viem";
import { actionOf, type Event, eventOf, refusalOf, shown, type Values } from "./abi";
import { Machine, type Outcome } from "./machine";
import type { Known, Log, Recording, Transaction } from "./recording";

/** What one transaction did here, and how that differs from what the chain says. */
export interface Step {
  index: number;
  hash: Hex;
  block: number;
  time: number;
  from: Address;
  /** The function that was called; "deploy" for a new contract. */
  action: string;
  arguments: Values;
  value: bigint;
  events: Event[];
  /** The error that the contract gave; undefined where it accepted the call. */
  refused?: string;
  differences: string[];
}

/** A piece of code that the replay stands on. */
export interface Code {
  name: string;
  address: Address;
  digest: string;
  /** Whether it is what this version's sources compile to; undefined for verifiers that the page has no digest of. */
  known: boolean | undefined;
}

export interface Replay {
  code: Code[];
  steps: Step[];
  /** What differs at the end: answers of the contract, and code that is not this version's. */
  differences: string[];
  milliseconds: number;
}

/** What a reader makes of one transaction; its signer stays who it was. */
export interface Change {
  index: number;
  /** Other calldata. */
  data?: Hex;
  /** Another time of its block. */
  time?: number;
  /** Send it once more after it was taken. */
  again?: boolean;
}

interface Decoded {
  from: Address;
  to: Address | null;
  data: Hex;
  value: bigint;
  nonce: bigint;
}

/**
 * Run every transaction from the factory's deployment on.
 *
 * @param known what this version's code is, and its words.
 * @param told is called after each step.
 * @param change makes one transaction another, and ends the replay there.
 */
export async function replay(
  recording: Recording,
  known: Known,
  told: (step: Step, total: number) => void = () => {},
  change?: Change,
): Promise<Replay> {
  const began = performance.now();
  const last = recording.transactions.at(-1);
  if (last === undefined) throw new Error("the recording holds no transaction");
  const machine = await Machine.on(recording.chain_id);
  const code: Code[] = [];
  for (const [name, { address, code: bytes }] of Object.entries(recording.code)) {
    await machine.place(address, bytes);
    code.push(named(name, address, bytes, known));
  }
  const steps: Step[] = [];
  for (const [index, transaction] of recording.transactions.entries()) {
    const call = await decoded(transaction, recording.chain_id);
    const at = { block: transaction.block, time: transaction.time };
    if (change?.index === index && change.again !== true) {
      steps.push(await changedStep(machine, recording, known.abi, call, change));
      return { code, steps, differences: [], milliseconds: performance.now() - began };
    }
    const outcome = await machine.run({ ...call, ...at });
    if (outcome.created !== undefined && outcome.refused === undefined) {
      code.push(named("Factory", outcome.created, call.data, known));
    }
    const step = described(recording, known.abi, index, call, outcome);
    step.differences = differences(recording, known.abi, transaction, call, outcome);
    steps.push(step);
    told(step, recording.transactions.length);
    if (change?.index === index) {
      steps.push(await changedStep(machine, recording, known.abi, call, change));
      return { code, steps, differences: [], milliseconds: performance.now() - began };
    }
  }
  const ends = code
    .filter((one) => one.known === false)
    .map((one) => `the code of ${one.name} at ${one.address} is not known to this page`);
  for (const view of recording.views) {
    const answer = await machine.ask(recording.project, view.data, last.block, last.time);
    if (answer !== view.answer) ends.push(`${view.name}: here ${answer}, the chain said ${view.answer}`);
  }
  return { code, steps, differences: ends, milliseconds: performance.now() - began };
}

/** The signer is worked out from the signature: a recording cannot name another. */
export async function decoded(transaction: Transaction, chainId: number): Promise<Decoded> {
  const parsed = parseTransaction(transaction.raw);
  if (keccak256(transaction.raw) !== transaction.hash) {
    throw new Error(`transaction ${transaction.hash} is not the one that was signed`);
  }
  if (parsed.chainId !== chainId) {
    throw new Error(`transaction ${transaction.hash} is of chain ${parsed.chainId}: wanted ${chainId}`);
  }
  const serializedTransaction = transaction.raw as Parameters<
    typeof recoverTransactionAddress
  >[0]["serializedTransaction"];
  return {
    from: await recoverTransactionAddress({ serializedTransaction }),
    to: parsed.to ?? null,
    data: parsed.data ?? "0x",
    value: parsed.value ?? 0n,
    nonce: BigInt(parsed.nonce ?? 0),
  };
}

async function changedStep(
  machine: Machine,
  recording: Recording,
  abi: Abi,
  call: Decoded,
  change: Change,
): Promise<Step> {
  const { block, time } = recording.transactions[change.index] as Transaction;
  const changed = { ...call, data: change.data ?? call.data };
  const outcome = await machine.run({ ...changed, block, time: change.time ?? time });
  return described(recording, abi, change.index, changed, outcome);
}

function described(recording: Recording, abi: Abi, index: number, call: Decoded, outcome: Outcome): Step {
  const { hash, block, time } = recording.transactions[index] as Transaction;
  return {
    index,
    hash,
    block,
    time,
    from: call.from,
    ...actionOf(abi, call),
    value: call.value,
    events: outcome.logs.map((log) => eventOf(abi, log)),
    ...(outcome.refused === undefined ? {} : { refused: refusalOf(abi, outcome.refused) }),
    differences: [],
  };
}

function differences(
  recording: Recording,
  abi: Abi,
  transaction: Transaction,
  call: Decoded,
  outcome: Outcome,
): string[] {
  const found: string[] = [];
  if (outcome.refused !== undefined) {
    found.push(`refused here with ${refusalOf(abi, outcome.refused)}; the chain took it`);
  }
  if (call.to === null && outcome.created?.toLowerCase() !== recording.factory.toLowerCase()) {
    found.push(`made a contract at ${outcome.created ?? "no address"}: wanted the factory, ${recording.factory}`);
  }
  const places = [recording.factory, recording.project].map((one) => one.toLowerCase());
  if (call.to !== null && !places.includes(call.to.toLowerCase())) {
    found.push(`calls ${call.to}, which is neither the factory nor the project`);
  }
  const { logs } = transaction;
  if (outcome.logs.length !== logs.length)
    found.push(`logged ${outcome.logs.length} events; the chain says ${logs.length}`);
  for (const [at, log] of outcome.logs.entries()) {
    const other = logs[at];
    if (other !== undefined && !same(log, other)) {
      const here = shown(eventOf(abi, log));
      found.push(`event ${at + 1}: here ${here}; the chain says ${shown(eventOf(abi, other))}`);
    }
  }
  return found;
}

function same(one: Log, other: Log): boolean {
  return (
    one.address.toLowerCase() === other.address.toLowerCase() &&
    one.data === other.data &&
    one.topics.join() === other.topics.join()
  );
}

function named(name: string, address: Address, code: Hex, known: Known): Code {
  const wanted = known.code[name];
  let text: string = code;
  for (const link of wanted?.links ?? []) {
    const start = 2 + 2 * link;
    text = text.slice(0, start) + "00".repeat(20) + text.slice(start + 40);
  }
  const digest = sha256(text as Hex).slice(2);
  const verifier = wanted === undefined && name.includes("verifier");
  return { name, address, digest, known: verifier ? undefined : wanted?.sha256 === digest };
}
