/** The market that artifacts/market holds: one round, three trainers, as a demo on a development chain made it. */

import { readFileSync } from "node:fs";
import type { Hex } from "viem";
import { parseTransaction } from "viem";
import { checked, type Known, type Recording } from "../../zkmarket/page/src/recording";
import { type Change, type Replay, replay, type Step } from "../../zkmarket/page/src/replay";

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../artifacts/market/${name}`, import.meta.url), "utf8"));

export const known = read("known.json") as Known;

/** A copy that a test may change. */
export function recorded(): Recording {
  return checked(read("recording.json"));
}

export function run(recording: Recording, change?: Change): Promise<Replay> {
  return replay(recording, known, () => {}, change);
}

export function indexOf(replayed: Replay, action: string): number {
  return replayed.steps.findIndex((step) => step.action === action);
}

export function dataOf(recording: Recording, index: number): Hex {
  return parseTransaction(recording.transactions[index]?.raw ?? "0x").data ?? "0x";
}

/** What the contract says to a changed transaction; undefined where it takes it. */
export async function refusal(change: Change): Promise<string | undefined> {
  const steps: Step[] = (await run(recorded(), change)).steps;
  return steps.at(-1)?.refused;
}
