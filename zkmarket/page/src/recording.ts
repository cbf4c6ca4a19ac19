/** A project's recorded life, as zkmarket/market/recording.py writes it. */

import type { Abi, Address, Hex } from "viem";

export const FORMAT = "zkmarket recording/1";

export interface Log {
  address: Address;
  topics: Hex[];
  data: Hex;
}

/** One transaction as it was signed, with its block, and what the chain says it logged. */
export interface Transaction {
  hash: Hex;
  raw: Hex;
  block: number;
  time: number;
  logs: Log[];
}

/** A call after the last transaction, in its block, and the chain's answer. */
export interface View {
  name: string;
  data: Hex;
  answer: Hex;
}

export interface Recording {
  format: typeof FORMAT;
  chain_id: number;
  factory: Address;
  project: Address;
  /** Contracts that were there before, by what they are said to be. */
  code: Record<string, { address: Address; code: Hex }>;
  transactions: Transaction[];
  views: View[];
}

/**
 * What the page itself knows, and trusts: the words of this version's contracts, and what their code is.
 *
 * A recording comes from a chain, or from somebody; this comes with the page.
 */
export interface Known {
  /** By name: SHA-256 of the code, where the 20-byte addresses at `links` are taken as zeros. */
  code: Record<string, { sha256: string; links: number[] }>;
  abi: Abi;
  /** What the code was compiled from, in words. */
  version: string;
}

/** What the page carries: deflated JSON in base64, so that it stays small and no character of it is markup. */
export async function unpacked(text: string): Promise<Recording> {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return checked(JSON.parse(await new Response(stream).text()));
}

export function checked(value: unknown): Recording {
  if (typeof value !== "object" || value === null || (value as Recording).format !== FORMAT) {
    throw new Error(`this page reads ${FORMAT}: what it was given is something else`);
  }
  return value as Recording;
}
