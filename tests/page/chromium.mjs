// The Chromium that tests look at pages with.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"];

/** Whether there is one; CI must have it. */
export const there = existsSync(executablePath);
if (!there && process.env.CI) throw new Error(`${executablePath} is missing: CI wants a real browser`);

export const launched = () => chromium.launch({ executablePath, args });
