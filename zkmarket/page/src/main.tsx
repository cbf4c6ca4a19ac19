/** One script for both sides: in a page it shows the replay, in a worker it runs it. */

import { render } from "preact";
import { unpacked } from "./recording";
import { Live } from "./live";
import { View } from "./view";
import { serve } from "./worker";

function text(id: string): string {
  return document.getElementById(id)?.textContent ?? "";
}

async function show(place: HTMLElement): Promise<void> {
  const recording = await unpacked(text("replay-recording"));
  const known = JSON.parse(text("replay-known"));
  render(<View recording={recording} known={known} script={text("replay-code")} />, place);
}

if (typeof document === "undefined") {
  serve(self as unknown as Parameters<typeof serve>[0]);
} else {
  const live = document.getElementById("live");
  if (live !== null) {
    live.textContent = "";
    render(<Live script={text("replay-code")} />, live);
  }
  const place = document.getElementById("replay");
  if (place !== null) {
    show(place).catch((error: unknown) => {
      place.textContent = `The recording in this page cannot be read: ${error instanceof Error ? error.message : error}`;
    });
  }
}
