/** The replay in a worker: a proof takes a fifth of a second, and the page must stay awake. */

import type { Recording, Known } from "./recording";
import { type Change, type Replay, type Step, replay } from "./replay";

export interface Job {
  recording: Recording;
  known: Known;
  change?: Change;
}

export type Told =
  | { kind: "step"; step: Step; total: number }
  | { kind: "done"; replay: Replay }
  | { kind: "failed"; why: string };

export function serve(scope: { onmessage: unknown; postMessage: (told: Told) => void }): void {
  scope.onmessage = async ({ data }: MessageEvent<Job>) => {
    try {
      const done = await replay(
        data.recording,
        data.known,
        (step, total) => scope.postMessage({ kind: "step", step, total }),
        data.change,
      );
      scope.postMessage({ kind: "done", replay: done });
    } catch (error) {
      scope.postMessage({ kind: "failed", why: error instanceof Error ? error.message : `${error}` });
    }
  };
}

/** Run a job in a worker made of this page's own script: nothing is fetched, so it works from a file, too. */
export function work(script: string, job: Job, told: (step: Step, total: number) => void): Promise<Replay> {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(url);
  return new Promise<Replay>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Told>) => {
      if (data.kind === "step") told(data.step, data.total);
      else if (data.kind === "done") resolve(data.replay);
      else reject(new Error(data.why));
    };
    worker.onerror = (event) => reject(new Error(event.message || "the worker could not start"));
    worker.postMessage(job);
  }).finally(() => {
    worker.terminate();
    URL.revokeObjectURL(url);
  });
}
