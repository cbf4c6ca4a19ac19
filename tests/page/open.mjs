// Open a report in Chromium, press its button, and print the verdict as JSON: node tests/page/open.mjs FILE
import { pathToFileURL } from "node:url";
import { launched } from "./chromium.mjs";

const browser = await launched();
const page = await browser.newPage();
await page.goto(pathToFileURL(process.argv[2]).href);
await page.getByRole("button", { name: "Check it yourself" }).click();
const verdict = page.locator("[data-verdict]");
await verdict.waitFor({ timeout: 120_000 });
const [kind, text] = [await verdict.getAttribute("data-verdict"), await verdict.textContent()];
await page.locator("details summary").last().click();
console.log(JSON.stringify({ kind, text, code: await page.locator("details dl").textContent() }));
await browser.close();
