/** The page in a real Chromium, from a file that is made here of the recorded market. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launched, there } from "./chromium.mjs";

const folder = mkdtempSync(join(tmpdir(), "zkmarket-page-"));
const report = join(folder, "report.html");

let browser: Browser;

beforeAll(async () => {
  execFileSync(process.env.PYTHON ?? ".venv/bin/python", ["artifacts/make_market.py", "--page", report], {
    stdio: "inherit",
  });
  if (there) browser = await launched();
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

interface Opened {
  page: Page;
  asked: string[];
  errors: string[];
}

async function opened(path: string, width = 1200, colorScheme: "light" | "dark" = "light"): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const asked: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(pathToFileURL(path).href);
  return { page, asked, errors };
}

async function verdict(page: Page): Promise<[string | null, string]> {
  await page.getByRole("button", { name: "Check it yourself" }).click();
  const found = page.locator("[data-verdict]");
  await found.waitFor({ timeout: 60_000 });
  return [await found.getAttribute("data-verdict"), (await found.textContent()) ?? ""];
}

/** The page with something in it replaced. */
function edited(name: string, change: (text: string) => string): string {
  const text = readFileSync(report, "utf8");
  const other = change(text);
  expect(other).not.toBe(text);
  const path = join(folder, `${name}.html`);
  writeFileSync(path, other);
  return path;
}

describe.skipIf(!there)("in Chromium", () => {
  test("one button runs the market again; nobody is asked for anything", async () => {
    const { page, asked, errors } = await opened(report);
    const [kind, text] = await verdict(page);
    expect([kind, errors]).toEqual(["same", []]);
    expect(text).toMatch(/^\d+ transactions were run again in [0-9.]+ s\. The proofs of one round are valid, /);
    expect(asked.filter((url) => !/^(file|data|blob):/.test(url))).toEqual([]);
    expect(await page.getByRole("region", { name: "Round 1, replayed" }).getByText("✓ accepted").count()).toBe(3);
    await page.close();
  });

  test("a worker verifies the proofs: the page stays awake", async () => {
    const { page } = await opened(report);
    const worker = page.waitForEvent("worker");
    await verdict(page);
    expect((await worker).url()).toMatch(/^blob:/);
    expect(page.workers()).toEqual([]); // it has ended with its work
    await page.close();
  });

  test("a reader changes something, by the keyboard alone, and the contract refuses it", async () => {
    const { page, errors } = await opened(report);
    const check = page.getByRole("button", { name: "Check it yourself" });
    for (let presses = 0; presses < 10 && !(await check.evaluate((e) => e === document.activeElement)); presses++) {
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.locator("[data-verdict]").waitFor({ timeout: 60_000 });
    await page.getByLabel("Change", { exact: true }).focus();
    await page.keyboard.type("one trainer's score");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByText("The contract refuses it: ProofRejected(proof=settlement)").waitFor({ timeout: 60_000 });
    expect(errors).toEqual([]);
    await page.close();
  });

  test.each([
    ["of a round", /(<span data-pay="[^"]+">)[^<]+/, "was paid in round 1 0.9999 ETH; the replay comes to 0."],
    ["of all rounds", /(<td class="number" data-paid="[^"]+">)[^<]+/, "was paid 0.9999 ETH; the replay comes to 0."],
  ])("a payment %s that was edited in the page is shown", async (name, where, told) => {
    const path = edited(name, (text) => text.replace(where, "$10.9999 ETH"));
    const { page } = await opened(path);
    const [kind, text] = await verdict(page);
    expect(kind).toBe("different");
    expect(text).toContain("One thing differs");
    expect(text).toContain(told);
    expect(await page.locator(".differs").count()).toBe(1);
    await page.close();
  });

  test("its benchmark starts, and its row is what it says", () => {
    const row = JSON.parse(execFileSync("node", ["benchmarks/bench_page.mjs", report, "1"], { encoding: "utf8" }));
    expect([row.verdicts, row.runs, row.bytes]).toEqual([["same"], 1, readFileSync(report).length]);
    expect(row.seconds).toBeGreaterThan(0);
    expect(row.longest_block_ms).toBeGreaterThan(0);
  });

  test("a recording that was damaged is said to be, and runs nothing", async () => {
    const path = edited("damaged", (text) => text.replace(/(id="replay-recording"[^>]*>.{200})..../s, "$1AAAA"));
    const { page } = await opened(path);
    await page.getByText(/^The recording in this page cannot be read: /).waitFor();
    await page.close();
  });

  test("another script than the page's own does not run", async () => {
    const path = edited("script", (text) => text.replace("</body>", "<script>document.title = 'run'</script></body>"));
    const { page, errors } = await opened(path);
    expect(await page.title()).not.toBe("run");
    expect(errors.some((text) => text.includes("Content Security Policy"))).toBe(true);
    await page.close();
  });

  test.each([
    ["light", 400],
    ["dark", 400],
    ["dark", 1200],
  ] as const)("%s, %i pixels wide: nothing is wider than the page", async (scheme, width) => {
    const { page } = await opened(report, width, scheme);
    await verdict(page);
    for (const details of await page.locator("details").all()) await details.locator("summary").click();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(wide).toBe(0);
    await page.close();
  });
});
