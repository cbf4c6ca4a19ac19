/** What a reader can make of a transaction, to see the contract refuse it. */

import { type Abi, decodeFunctionData, encodeFunctionData, type Hex } from "viem";
import type { Change, Step } from "./replay";

export interface Offer {
  label: string;
  change: Change;
}

type Tree = Record<string, unknown>;

/**
 * @param data calldata as it was sent.
 * @param late a time after every deadline.
 */
export function offersOf(abi: Abi, step: Step, data: Hex, late: number): Offer[] {
  const { index, action } = step;
  if (action === "deploy") return [];
  const { functionName, args } = decodeFunctionData({ abi, data });
  /** An offer to edit the argument at a place, which is a struct. */
  const edited =
    (place: number) =>
    (label: string, edit: (struct: Tree) => void): Offer => {
      const given = structuredClone([...(args ?? [])]);
      edit(given[place] as Tree);
      return { label, change: { index, data: encodeFunctionData({ abi, functionName, args: given }) } };
    };
  const out: Offer[] = [];
  if (action === "settle" || action === "proveBase") {
    const base = edited(0);
    out.push(
      base("one byte of the base proof", (b) => (b.proof = flipped(b.proof as Hex, 400))),
      base("one byte of the projection's answers z", (b) => (b.z = flipped(b.z as Hex, 100))),
      base("one trainer's commitment", (b) => (b.points = other(b.points as bigint[], 0))),
      base("one trainer's CID", (b) => {
        const [first, ...rest] = b.cids as [Hex, ...Hex[]];
        b.cids = [flipped(first, 3), ...rest];
      }),
      base("two trainers in each other's place", (b) => swap(b, step)),
    );
  }
  if (action === "settle" || action === "settleProven") {
    const decision = edited(action === "settle" ? 1 : 4);
    out.push(
      decision("one byte of the settlement proof", (d) => (d.proof = flipped(d.proof as Hex, 200))),
      decision("one trainer's score, by 1", (d) => (d.scores = other(d.scores as bigint[], 0))),
      decision("who is accepted", (d) => (d.mask = (d.mask as bigint) ^ 1n)),
    );
  }
  return [
    ...out,
    { label: "its time: a year later", change: { index, time: late } },
    { label: "send it a second time", change: { index, again: true } },
  ];
}

/** Another byte at a position from the start. */
export function flipped(data: Hex, at: number): Hex {
  const start = 2 + 2 * Math.floor(at);
  const byte = Number.parseInt(data.slice(start, start + 2), 16) ^ 1;
  return `${data.slice(0, start)}${byte.toString(16).padStart(2, "0")}${data.slice(start + 2)}` as Hex;
}

function other(values: readonly bigint[], at: number): bigint[] {
  return values.map((value, index) => (index === at ? value + 1n : value));
}

/** The first two trainers' commitments and CIDs. */
function swap(base: Tree, step: Step): void {
  const points = [...(base.points as bigint[])];
  const cids = [...(base.cids as Hex[])];
  const chunks = chunksOf(step);
  const [one, two] = [points.slice(0, 2 * chunks), points.slice(2 * chunks, 4 * chunks)];
  base.points = [...two, ...one, ...points.slice(4 * chunks)];
  base.cids = [cids[1], cids[0], ...cids.slice(2)];
}

/** Chunks of a commitment: the aggregate has as many points. One where it was withheld or is not logged here. */
function chunksOf(step: Step): number {
  const settled = step.events.find((event) => event.name === "Settled");
  const aggregate = (settled?.values.settlement as { aggregate?: readonly bigint[] } | undefined)?.aggregate ?? [];
  return Math.max(1, aggregate.length / 2);
}
