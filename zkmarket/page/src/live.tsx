/** A project as it is now, asked for again and again; nothing of it is markup. */

import { useEffect, useState } from "preact/hooks";
import { Decisions } from "./decisions";
import { date, grouped, short } from "./format";
import { type Known, type Recording, unpacked } from "./recording";
import { View } from "./view";

const EVERY = 2000;

interface Slot {
  trainer: string;
  accepted: boolean;
  score: string;
  pay: string;
}

/** As zkmarket/live/snapshot.py writes it. */
export interface Snapshot {
  project: string;
  chain_id: number;
  block: number;
  now: number;
  deadline: number;
  phase: string;
  round: number;
  settled: number;
  rounds: number;
  aggregator: string | null;
  owner: string;
  reward: string;
  fee: string;
  turn: string;
  members: { address: string; paid: string }[];
  seats: { trainer: string; admitted: boolean }[];
  refused: { round: number; trainer: string }[];
  settlements: { round: number; transaction: string; withheld: boolean; nu: string; beta: string; slots: Slot[] }[];
  events: { block: number; name: string; who: string | null; transaction: string }[];
}

async function asked<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  const value = await answer.json();
  if (!answer.ok) throw new Error((value as { message?: string }).message ?? `${answer.status}`);
  return value as T;
}

export function Live({ script }: { script: string }) {
  const [now, setNow] = useState<{ snapshot: Snapshot; read: number }>();
  const [trouble, setTrouble] = useState<string>();
  const [clock, setClock] = useState(Date.now());
  const [given, setGiven] = useState<{ recording: Recording; known: Known }>();

  useEffect(() => {
    let ended = false;
    const look = async () => {
      try {
        const snapshot = await asked<Snapshot>("live.json");
        setNow({ snapshot, read: Date.now() });
        setTrouble(undefined);
      } catch (error) {
        setTrouble(error instanceof Error ? error.message : `${error}`);
      }
      if (!ended) setTimeout(look, EVERY);
    };
    look();
    const timer = setInterval(() => setClock(Date.now()), 1000);
    return () => {
      ended = true;
      clearInterval(timer);
    };
  }, []);

  const replay = async () => {
    try {
      const { recording, known } = await asked<{ recording: string; known: Known }>("replay.json");
      setGiven({ recording: await unpacked(recording), known });
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : `${error}`);
    }
  };

  return (
    <>
      {trouble !== undefined && (
        <p class="verdict earned" role="alert">
          The chain cannot be read: {trouble}. Trying again.
        </p>
      )}
      {now !== undefined && <Now {...now.snapshot} passed={Math.floor((clock - now.read) / 1000)} />}
      <section aria-label="Replay">
        {given === undefined ? (
          <p>
            <button type="button" class="load" onClick={replay} disabled={now === undefined}>
              Run all of it again, here
            </button>
          </p>
        ) : (
          <View key={given.recording.transactions.length} {...given} script={script} />
        )}
      </section>
      {now !== undefined && <Log events={now.snapshot.events} />}
    </>
  );
}

function Now(props: Snapshot & { passed: number }) {
  const { phase, round, settled, rounds, deadline, now, passed, seats, members, settlements, refused } = props;
  const left = deadline - now - passed;
  const open = !["ENDED", "VACANT", "CREATED"].includes(phase);
  return (
    <>
      <header>
        <h1>{phase === "ENDED" ? "This market has ended" : open ? `Round ${Math.max(1, round)}: ${phase}` : phase}</h1>
        <p class="verdict">
          {props.turn} {settled} of {rounds} rounds are settled and paid, {props.reward} each.
        </p>
        {phase !== "ENDED" && (
          <p>
            Until {date(deadline)}: <strong>{left > 0 ? countdown(left) : "over"}</strong>
          </p>
        )}
      </header>
      <section aria-label="Trainers">
        <h2>Trainers</h2>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">trainer</th>
                <th scope="col">in this round</th>
                <th scope="col">refused before</th>
                <th scope="col" class="number">
                  paid
                </th>
              </tr>
            </thead>
            <tbody>
              {members.map(({ address, paid }) => {
                const seat = seats.find((one) => one.trainer === address);
                return (
                  <tr key={address}>
                    <th scope="row">
                      <code>{address}</code>
                    </th>
                    <td>{seat === undefined ? "–" : seat.admitted ? "✓ admitted" : "submitted"}</td>
                    <td>
                      {refused
                        .filter((one) => one.trainer === address)
                        .map((one) => `round ${one.round}: no receipt`)
                        .join(", ") || "–"}
                    </td>
                    <td class="number">{paid}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </section>
      {settlements
        .slice()
        .reverse()
        .map((one) => (
          <section key={one.round} aria-label={`Round ${one.round}, settled`}>
            <h2>Round {one.round}</h2>
            <p class="soft">
              Settled by <code>{one.transaction}</code>
              {one.withheld ? "; the aggregate is withheld: too few were accepted" : ""}. Median squared norm{" "}
              {grouped(BigInt(one.nu))}, next bound {grouped(BigInt(one.beta))}.
            </p>
            <div class="scroll">
              <Decisions slots={one.slots.map((slot) => ({ ...slot, score: BigInt(slot.score) }))} />
            </div>
          </section>
        ))}
      <p class="soft">
        Project <code>{props.project}</code> on chain {props.chain_id}, block {grouped(BigInt(props.block))}; owner{" "}
        <code>{props.owner}</code>
        {props.aggregator !== null && (
          <>
            ; aggregator <code>{props.aggregator}</code>
          </>
        )}
        .
      </p>
    </>
  );
}

export function countdown(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  const two = (value: number) => `${value}`.padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function Log({ events }: { events: Snapshot["events"] }) {
  return (
    <details>
      <summary>The newest {events.length} events</summary>
      <ul>
        {events.map((event, at) => (
          <li key={`${event.transaction} ${at}`}>
            {event.name} {event.who !== null && <code>{short(event.who)}</code>}{" "}
            <span class="soft">block {event.block}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}
