// What does it cost a reader to run a market again? node benchmarks/bench_page.mjs REPORT.html [RUNS]
// One JSON row: seconds from the click to the verdict, the longest time that the page did not answer, its bytes.
import { statSync } from "node:fs";
import os from "node:os";
import { pathToFileURL } from "node:url";
import { launched } from "../tests/page/chromium.mjs";

const [file, runs = "3"] = process.argv.slice(2);
const CLICKED = `(async () => {
  const began = performance.now();
  let last = began, longest = 0;
  const timer = setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 10);
  document.querySelector("button.check").click();
  while (!document.querySelector("[data-verdict]")) await new Promise((done) => setTimeout(done, 10));
  clearInterval(timer);
  return { seconds: (performance.now() - began) / 1000, longest, verdict: document.querySelector("[data-verdict]").dataset.verdict };
})()`;
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

const browser = await launched();
const found = [];
for (let run = 0; run < Number(runs); run++) {
  const page = await browser.newPage();
  await page.goto(pathToFileURL(file).href);
  await page.locator("button.check").waitFor();
  found.push(await page.evaluate(CLICKED));
  await page.close();
}
console.log(
  JSON.stringify({
    step: "replay in a browser",
    machine: `${os.type()} ${os.arch()}, ${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    chromium: browser.version(),
    verdicts: [...new Set(found.map((one) => one.verdict))],
    seconds: Number(median(found.map((one) => one.seconds)).toFixed(3)),
    longest_block_ms: Number(median(found.map((one) => one.longest)).toFixed(1)),
    bytes: statSync(file).size,
    runs: found.length,
  }),
);
await browser.close();
