/** A recorded market is run again in the EVM that the page has; then with one thing changed. */

import { beforeAll, describe, expect, test } from "vitest";
import { offersOf } from "../../zkmarket/page/src/changes";
import type { Hex } from "viem";
import { checked, type Recording } from "../../zkmarket/page/src/recording";
import type { Replay } from "../../zkmarket/page/src/replay";
import { paidBy, roundsOf } from "../../zkmarket/page/src/rounds";
import { dataOf, indexOf, known, recorded, refusal, run } from "./recorded";

let honest: Replay;
beforeAll(async () => {
  honest = await run(recorded());
});

test("the honest market comes out as the chain said", () => {
  expect(honest.steps.flatMap((step) => step.differences)).toEqual([]);
  expect(honest.differences).toEqual([]);
  expect(honest.code.map((one) => [one.name, one.known])).toEqual([
    ["Proofs", true],
    ["Scores", true],
    ["Limits", true],
    ["base verifier", true],
    ["settlement verifier, N=3", true],
    ["Factory", true],
  ]);
  const [round, ...others] = roundsOf(honest.steps);
  expect(others).toEqual([]);
  expect(round?.slots.every((slot) => slot.accepted && slot.score > 0n)).toBe(true);
  const paid = [...paidBy(roundsOf(honest.steps)).values()].reduce((sum, pay) => sum + pay, 0n);
  expect(10n ** 18n - paid).toBeLessThan(3n); // the reward, but for dust
});

describe("a changed transaction is refused, with the reason", () => {
  test.each([
    ["settle", "one byte of the base proof", /^ProofRejected\(proof=base\)/],
    ["settle", "one byte of the settlement proof", /^ProofRejected\(proof=settlement\)/],
    ["settle", "one byte of the projection's answers z", /^WrongProofPoint\(proof=base, /],
    ["settle", "one trainer's commitment", /^PointNotOnCurve\(/],
    ["settle", "one trainer's CID", /^WrongPoints\(slot=1, /],
    ["settle", "two trainers in each other's place", /^WrongPoints\(slot=1, /],
    ["settle", "one trainer's score, by 1", /^ProofRejected\(proof=settlement\)/],
    ["settle", "who is accepted", /^ProofRejected\(proof=settlement\)/],
    ["settle", "send it a second time", /^WrongPhase\(/],
    ["submit", "its time: a year later", /^(TooLate|WrongPhase)\(/],
    ["withdraw", "send it a second time", /^NothingToWithdraw\(/],
  ])("%s: %s", async (action, label, reason) => {
    const index = indexOf(honest, action);
    const step = honest.steps[index];
    const late = (step?.time ?? 0) + 365 * 24 * 3600;
    if (step === undefined) throw new Error(`nobody called ${action}`);
    const offer = offersOf(known.abi, step, dataOf(recorded(), index), late).find((one) => one.label === label);
    expect(await refusal(offer?.change ?? { index })).toMatch(reason);
  });

  test("its honest twin: changed to what it was, it is taken", async () => {
    const index = indexOf(honest, "settle");
    expect(await refusal({ index, data: dataOf(recorded(), index) })).toBeUndefined();
  });
});

describe("a recording that says something else is told apart", () => {
  const settle = (recording: Recording) => recording.transactions[indexOf(honest, "settle")];

  test("an event with another payment", async () => {
    const recording = recorded();
    const log = settle(recording)?.logs[0];
    if (log === undefined) throw new Error("it logged nothing");
    log.data = log.data.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")) as Hex;
    const replayed = await run(recording);
    expect(replayed.steps.flatMap((step) => step.differences)).toHaveLength(1);
    expect(replayed.steps[indexOf(honest, "settle")]?.differences[0]).toMatch(
      /^event 1: here Settled\(.*the chain says/,
    );
  });

  test("an event that was left out", async () => {
    const recording = recorded();
    settle(recording)?.logs.pop();
    const replayed = await run(recording);
    expect(replayed.steps[indexOf(honest, "settle")]?.differences).toEqual(["logged 1 events; the chain says 0"]);
  });

  test("a credit at the end", async () => {
    const recording = recorded();
    const view = recording.views[0];
    if (view === undefined) throw new Error("there are no views");
    view.answer = view.answer.replace(/.$/, "1") as Hex;
    expect((await run(recording)).differences[0]).toMatch(new RegExp(`^${view.name}: here 0x.*, the chain said 0x`));
  });

  test("a transaction that was left out", async () => {
    const recording = recorded();
    recording.transactions.splice(indexOf(honest, "submit"), 1);
    const replayed = await run(recording);
    expect(replayed.steps.some((step) => step.differences.some((text) => text.startsWith("refused here")))).toBe(true);
  });

  test("other bytes than were signed", async () => {
    const recording = recorded();
    const transaction = settle(recording);
    if (transaction === undefined) throw new Error("nobody settled");
    transaction.raw = transaction.raw.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")) as Hex;
    await expect(run(recording)).rejects.toThrow("is not the one that was signed");
  });

  test("another chain", async () => {
    await expect(run({ ...recorded(), chain_id: 1 })).rejects.toThrow("is of chain 31337: wanted 1");
  });

  test("a verifier that takes everything", async () => {
    const recording = recorded();
    const verifier = recording.code["base verifier"];
    if (verifier === undefined) throw new Error("there is no verifier");
    verifier.code = "0x600160005260206000f3"; // return 1
    const replayed = await run(recording);
    expect(replayed.differences).toContain(
      `the code of base verifier at ${verifier.address} is not known to this page`,
    );
  });

  test("another format", () => {
    expect(() => checked({ ...recorded(), format: "zkmarket recording/0" })).toThrow(
      "this page reads zkmarket recording/1",
    );
  });
});
