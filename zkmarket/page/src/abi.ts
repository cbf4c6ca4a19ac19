/** Calldata, logs and errors in the words of the contracts. */

import {
  type Abi,
  type AbiEvent,
  type AbiFunction,
  type Address,
  decodeErrorResult,
  decodeEventLog,
  decodeFunctionData,
  type Hex,
} from "viem";
import type { Log } from "./recording";

type Refusal = Extract<Abi[number], { type: "error" }>;

export type Values = Record<string, unknown>;

export interface Event {
  name: string;
  values: Values;
}

export function actionOf(abi: Abi, call: { to: Address | null; data: Hex }): { action: string; arguments: Values } {
  if (call.to === null) return { action: "deploy", arguments: {} };
  try {
    const { functionName, args } = decodeFunctionData({ abi, data: call.data });
    const item = abi.find((one): one is AbiFunction => one.type === "function" && one.name === functionName);
    const inputs = item?.inputs ?? [];
    return {
      action: functionName,
      arguments: Object.fromEntries(inputs.map((input, at) => [input.name ?? `${at}`, args?.[at]])),
    };
  } catch {
    return { action: call.data.slice(0, 10), arguments: {} };
  }
}

export function eventOf(abi: Abi, log: Log): Event {
  try {
    const topics = log.topics as [Hex, ...Hex[]];
    const { eventName, args } = decodeEventLog({
      abi: abi.filter((one): one is AbiEvent => one.type === "event"),
      data: log.data,
      topics,
    });
    return { name: eventName ?? "?", values: (args ?? {}) as Values };
  } catch {
    return { name: "unknown event", values: { data: log.data } };
  }
}

/** The error that a contract gave, its values by name: `TooLate(have=8, want=7)`. */
export function refusalOf(abi: Abi, data: Hex): string {
  if (data === "0x") return "no reason";
  try {
    const { errorName, args } = decodeErrorResult({ abi, data });
    const item = abi.find((one): one is Refusal => one.type === "error" && one.name === errorName);
    const values = (args ?? []).map((value, at) => `${item?.inputs[at]?.name ?? at}=${brief(value)}`);
    return `${errorName}(${values.join(", ")})`;
  } catch {
    return data.slice(0, 10);
  }
}

/** Labels as text, long words by their ends. */
function brief(value: unknown): string {
  const text = `${value}`;
  const label = /^0x((?:[2-7][0-9a-f])+?)(?:00)+$/.exec(text)?.[1];
  if (text.length === 66 && label !== undefined) {
    return (label.match(/../g) ?? []).map((pair) => String.fromCharCode(Number.parseInt(pair, 16))).join("");
  }
  return text.length > 24 ? `${text.slice(0, 10)}…${text.slice(-6)}` : text;
}

export function shown(event: Event): string {
  return `${event.name}(${JSON.stringify(event.values, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value))})`;
}
