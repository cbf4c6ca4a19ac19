/** What a page says of rounds, from the events of the steps alone. */

import { expect, test } from "vitest";
import type { Step } from "../../zkmarket/page/src/replay";
import { paidBy, roundsOf } from "../../zkmarket/page/src/rounds";

const ONE = "0x0000000000000000000000000000000000000001";
const TWO = "0x0000000000000000000000000000000000000002";

function step(...events: Step["events"]): Step {
  return { events } as Step;
}

function settled(round: bigint, pay: bigint[]): Step {
  const settlement = { trainers: [ONE, TWO], mask: 3n, scores: pay, pay };
  return step({ name: "Settled", values: { round, settlement } });
}

test("a round that losses pay is paid by them, once they are proven", () => {
  const steps = [settled(1n, [5n, 7n]), settled(2n, [0n, 0n])];
  expect([...paidBy(roundsOf(steps)).values()]).toEqual([5n, 7n]);
  steps.push(step({ name: "UtilityProven", values: { round: 2n, coalition: 3n, correct: 1n, loss: 9n } }));
  steps.push(step({ name: "Scored", values: { round: 2n, scores: [1n, 3n], pay: [25n, 75n], deadline: 9n } }));
  expect([...paidBy(roundsOf(steps)).values()]).toEqual([30n, 82n]);
  expect(roundsOf(steps)[1]?.slots.map((slot) => slot.score)).toEqual([1n, 3n]);
});
