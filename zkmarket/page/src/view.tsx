/** The replay as a reader sees it. */

import { useState } from "preact/hooks";
import { parseTransaction } from "viem";
import { offersOf } from "./changes";
import { differencesOnPage } from "./claims";
import { Decisions } from "./decisions";
import { date, ether, short } from "./format";
import type { Known, Recording } from "./recording";
import type { Replay, Step } from "./replay";
import { type Round, roundsOf } from "./rounds";
import { work } from "./worker";

interface Given {
  recording: Recording;
  known: Known;
  script: string;
}

type Stage =
  | { kind: "idle" }
  | { kind: "running"; step?: Step; total: number }
  | { kind: "done"; replay: Replay; rounds: Round[]; differences: string[] }
  | { kind: "failed"; why: string };

const YEAR = 365 * 24 * 3600;
const KNOWN: Record<string, string> = {
  true: "✓ known",
  false: "✗ not known to this page",
  undefined: "the project's own: this page has no digest of it",
};
const PROVING = ["settle", "proveBase", "settleProven"];

export function View(given: Given) {
  const [stage, setStage] = useState<Stage>({ kind: "idle" });
  const { recording, known, script } = given;

  const check = async () => {
    setStage({ kind: "running", total: recording.transactions.length });
    try {
      const done = await work(script, { recording, known }, (step, total) =>
        setStage({ kind: "running", step, total }),
      );
      const rounds = roundsOf(done.steps);
      const differences = [
        ...done.steps.flatMap((step) =>
          step.differences.map((text) => `${step.action}, transaction ${step.hash}: ${text}`),
        ),
        ...done.differences,
        ...differencesOnPage(document, rounds),
      ];
      setStage({ kind: "done", replay: done, rounds, differences });
    } catch (error) {
      setStage({ kind: "failed", why: error instanceof Error ? error.message : `${error}` });
    }
  };

  return (
    <>
      <h2 id="replay-title">Check it yourself</h2>
      <p>
        This page holds every transaction of the market, as it was signed. Your browser can run them all again, with the
        contracts' own code: it verifies every proof and computes every payment. Nothing is sent anywhere.
      </p>
      <p>
        <button type="button" class="check" disabled={stage.kind === "running"} onClick={check}>
          Check it yourself
        </button>
      </p>
      <div role="status" aria-live="polite">
        {stage.kind === "running" && <Running step={stage.step} total={stage.total} />}
        {stage.kind === "failed" && <p class="verdict earned">The replay stopped: {stage.why}</p>}
        {stage.kind === "done" && (
          <Verdict replay={stage.replay} rounds={stage.rounds} differences={stage.differences} />
        )}
      </div>
      {stage.kind === "done" && (
        <>
          {stage.rounds.map((round) => (
            <RoundTable key={round.number} round={round} />
          ))}
          <Changes {...given} steps={stage.replay.steps} />
          <Transactions steps={stage.replay.steps} />
          <Codes replay={stage.replay} version={known.version} project={recording.project} />
        </>
      )}
    </>
  );
}

function Running({ step, total }: { step?: Step | undefined; total: number }) {
  const done = step === undefined ? 0 : step.index + 1;
  return (
    <p>
      <progress value={done} max={total} aria-label="Transactions that were run" /> {done} of {total} transactions
      {step && `: ${step.action}`}
    </p>
  );
}

function Verdict({ replay, rounds, differences }: { replay: Replay; rounds: Round[]; differences: string[] }) {
  const ran = `${replay.steps.length} transactions were run again in ${(replay.milliseconds / 1000).toFixed(1)} s.`;
  if (differences.length > 0) {
    return (
      <div class="verdict earned" data-verdict="different">
        <p>
          {ran} {differences.length === 1 ? "One thing differs" : `${differences.length} things differ`}:
        </p>
        <ul>
          {differences.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      </div>
    );
  }
  const paid = rounds.flatMap((round) => round.slots).reduce((sum, slot) => sum + slot.pay, 0n);
  return (
    <p class="verdict" data-verdict="same">
      {ran} The proofs of {rounds.length === 1 ? "one round" : `${rounds.length} rounds`} are valid, {ether(paid)} went
      to the trainers by their proven scores, and every event and every credit is as the chain said.
    </p>
  );
}

function RoundTable({ round }: { round: Round }) {
  return (
    <section aria-label={`Round ${round.number}, replayed`}>
      <h3>Round {round.number}, as your browser computed it</h3>
      <p class="soft">
        The contract compared every commitment with the digest that its trainer had submitted; verified that no entry of
        an update is too large; that the inner products are those of the committed updates; and that filter, scores and
        norm bound follow from them. Transaction <code>{round.step.hash}</code>
      </p>
      <section class="scroll" tabIndex={0} aria-label={`Pay of round ${round.number}, replayed`}>
        <Decisions slots={round.slots.map((slot) => ({ ...slot, pay: ether(slot.pay) }))} />
      </section>
    </section>
  );
}

function Changes({ recording, known, script, steps }: Given & { steps: Step[] }) {
  const first = steps.findIndex((step) => PROVING.includes(step.action));
  const [index, setIndex] = useState(first < 0 ? 1 : first);
  const [chosen, setChosen] = useState(0);
  const [answer, setAnswer] = useState<string>();
  const step = steps[index];
  const transaction = recording.transactions[index];
  if (step === undefined || transaction === undefined) return null;
  const data = parseTransaction(transaction.raw).data ?? "0x";
  const offers = offersOf(known.abi, step, data, transaction.time + YEAR);

  const run = async () => {
    setAnswer("running everything before it …");
    try {
      const offer = offers[chosen];
      if (offer === undefined) return;
      const done = await work(script, { recording, known, change: offer.change }, () => {});
      const last = done.steps.at(-1);
      setAnswer(last?.refused === undefined ? "The contract takes it." : `The contract refuses it: ${last.refused}`);
    } catch (error) {
      setAnswer(error instanceof Error ? error.message : `${error}`);
    }
  };

  return (
    <section aria-labelledby="change-title">
      <h3 id="change-title">Change something</h3>
      <p class="soft">Make one transaction another, and see what the contract says to it.</p>
      <p class="controls">
        <label for="change-which">Transaction</label>{" "}
        <select
          id="change-which"
          value={index}
          onChange={(event) => {
            setIndex(Number(event.currentTarget.value));
            setChosen(0);
            setAnswer(undefined);
          }}
        >
          {steps
            .filter((one) => one.action !== "deploy")
            .map((one) => (
              <option key={one.index} value={one.index}>
                {one.index + 1}. {one.action} by {short(one.from)}
              </option>
            ))}
        </select>{" "}
        <label for="change-what">Change</label>{" "}
        <select
          id="change-what"
          value={chosen}
          onChange={(event) => {
            setChosen(Number(event.currentTarget.value));
            setAnswer(undefined);
          }}
        >
          {offers.map(({ label }, at) => (
            <option key={label} value={at}>
              {label}
            </option>
          ))}
        </select>{" "}
        <button type="button" class="change" onClick={run}>
          Send it
        </button>
      </p>
      <p role="status" aria-live="polite" data-answer>
        {answer}
      </p>
    </section>
  );
}

function Transactions({ steps }: { steps: Step[] }) {
  return (
    <details>
      <summary>All {steps.length} transactions</summary>
      <section class="scroll" tabIndex={0} aria-label="All transactions">
        <table>
          <thead>
            <tr>
              <th scope="col">call</th>
              <th scope="col">by</th>
              <th scope="col">when</th>
              <th scope="col">events</th>
              <th scope="col">transaction</th>
            </tr>
          </thead>
          <tbody>
            {steps.map((step) => (
              <tr key={step.hash} class={step.differences.length > 0 ? "differs" : ""}>
                <th scope="row">{step.action}</th>
                <td>
                  <code>{short(step.from)}</code>
                </td>
                <td>{date(step.time)}</td>
                <td>{step.events.map((event) => event.name).join(", ")}</td>
                <td>
                  <code>{step.hash}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}

function Codes({ replay, version, project }: { replay: Replay; version: string; project: string }) {
  return (
    <details>
      <summary>What this stands on: {replay.code.length} pieces of code</summary>
      <p class="soft">
        Green means: by these contracts. Factory, library and verifiers are compared, byte for byte, with what {version}{" "}
        compiles to.
      </p>
      <dl>
        {replay.code.map((one) => (
          <>
            <dt>{one.name}</dt>
            <dd>
              <code>{one.address}</code> {KNOWN[`${one.known}`]}
              <br />
              <code>SHA-256 {one.digest}</code>
            </dd>
          </>
        ))}
      </dl>
      {replay.code.some((one) => one.known === undefined) && (
        <p class="soft">
          These verifiers depend on the project's rules and keys. This rebuilds them, and compares them byte for byte:{" "}
          <code>zkmarket inspect {project} --rpc URL --build BUILD</code>
        </p>
      )}
    </details>
  );
}
