/** What the replayed transactions say of each round: who was accepted, scored, paid. */

import type { Address } from "viem";
import type { Step } from "./replay";

export interface Slot {
  trainer: Address;
  accepted: boolean;
  score: bigint;
  pay: bigint;
}

export interface Round {
  number: number;
  /** Of the transaction that settled it. */
  step: Step;
  slots: Slot[];
}

interface Scored {
  scores: readonly bigint[];
  pay: readonly bigint[];
}

interface Settlement extends Scored {
  trainers: readonly Address[];
  mask: bigint;
}

/** Scores and pay of a settlement; where losses pay, those of `Scored`, once it is there. */
export function roundsOf(steps: Step[]): Round[] {
  const scored = new Map(
    steps
      .flatMap((step) => step.events)
      .filter((event) => event.name === "Scored")
      .map(({ values }) => [Number(values.round), values as unknown as Scored]),
  );
  return steps.flatMap((step) =>
    step.events
      .filter((event) => event.name === "Settled")
      .map(({ values }) => {
        const settlement = values.settlement as Settlement;
        const paid = scored.get(Number(values.round)) ?? settlement;
        return {
          number: Number(values.round),
          step,
          slots: settlement.trainers.map((trainer, at) => ({
            trainer,
            accepted: ((settlement.mask >> BigInt(at)) & 1n) === 1n,
            score: paid.scores[at] ?? 0n,
            pay: paid.pay[at] ?? 0n,
          })),
        };
      }),
  );
}

/** What each trainer was paid by all rounds. */
export function paidBy(rounds: Round[]): Map<Address, bigint> {
  const paid = new Map<Address, bigint>();
  for (const { trainer, pay } of rounds.flatMap((round) => round.slots)) {
    paid.set(trainer, (paid.get(trainer) ?? 0n) + pay);
  }
  return paid;
}
