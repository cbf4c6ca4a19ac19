/** The live page in Chromium, with a server that the test plays. */

import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countdown, type Snapshot } from "../../zkmarket/page/src/live";
import { launched, there } from "./chromium.mjs";

const HOSTILE = "</script><img src=x onerror=\"document.title='run'\">";
const script = readFileSync(new URL("../../zkmarket/page/dist/replay.js", import.meta.url), "utf8");

const snapshot: Snapshot = {
  project: `0x${"11".repeat(20)}`,
  chain_id: 31337,
  block: 12,
  now: 1000,
  deadline: 1090,
  phase: "SUBMIT",
  round: 1,
  settled: 0,
  rounds: 3,
  aggregator: null,
  owner: HOSTILE,
  reward: "1 ether",
  fee: "0.1 ether",
  turn: HOSTILE,
  members: [{ address: "0xann", paid: HOSTILE }],
  seats: [{ trainer: "0xann", admitted: false }],
  refused: [],
  settlements: [],
  events: [{ block: 3, name: HOSTILE, who: HOSTILE, transaction: "0x1" }],
};

let browser: Browser;

beforeAll(async () => {
  if (there) browser = await launched();
});
afterAll(() => browser?.close());

/** A page whose server says what `says` returns: an object, or an error's text. */
async function served(says: () => Snapshot | string): Promise<Page> {
  const page = await browser.newPage();
  await page.route("http://live.test/**", (route) => {
    if (new URL(route.request().url()).pathname === "/") {
      const body = `<title>live</title><main id="live"></main><script id="replay-code">${script}</script>`;
      return route.fulfill({ contentType: "text/html; charset=utf-8", body });
    }
    const said = says();
    return typeof said === "string"
      ? route.fulfill({ status: 503, json: { error: "ChainError", message: said } })
      : route.fulfill({ json: said });
  });
  await page.goto("http://live.test/");
  return page;
}

test.each([
  [59, "0:59"],
  [61, "1:01"],
  [3 * 3600 + 5, "3:00:05"],
  [49 * 3600, "2 days"],
])("%i s are %s", (seconds, text) => {
  expect(countdown(seconds)).toBe(text);
});

describe.skipIf(!there)("in Chromium", () => {
  test("what comes from a chain is text, whatever it is", async () => {
    const page = await served(() => snapshot);
    await page.getByRole("heading", { name: "Round 1: SUBMIT" }).waitFor();
    expect(await page.title()).toBe("live");
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.getByText(HOSTILE).count()).toBeGreaterThan(2);
    await page.close();
  });

  test("it counts down, and shows the next phase without a reload", async () => {
    let now = snapshot;
    const page = await served(() => now);
    const left = page.locator("strong");
    await left.waitFor();
    const first = await left.textContent();
    await page.waitForFunction((text) => document.querySelector("strong")?.textContent !== text, first);
    now = { ...snapshot, phase: "ENDED" };
    await page.getByRole("heading", { name: "This market has ended" }).waitFor();
    expect(await left.count()).toBe(0);
    await page.close();
  });

  test("a node that fails is said, and forgotten once it answers", async () => {
    let trouble: Snapshot | string = "no answer";
    const page = await served(() => trouble);
    await page.getByRole("alert").getByText("The chain cannot be read: no answer. Trying again.").waitFor();
    trouble = snapshot;
    await page.getByRole("heading", { name: "Round 1: SUBMIT" }).waitFor();
    expect(await page.getByRole("alert").count()).toBe(0);
    await page.close();
  });
});
