/** What the page around the replay says, read from the page itself, to compare with what came out. */

import type { Address } from "viem";
import { ether } from "./format";
import { paidBy, type Round } from "./rounds";

/** An element that names a payment: `data-pay="ADDRESS ROUND"`, or `data-paid="ADDRESS"` for all rounds together. */
export function differencesOnPage(root: ParentNode, rounds: Round[]): string[] {
  const found: string[] = [];
  const paid = paidBy(rounds);
  const byTrainer = new Map([...paid].map(([trainer, pay]) => [trainer.toLowerCase(), pay]));
  for (const element of root.querySelectorAll<HTMLElement>("[data-paid]")) {
    compare(element, byTrainer.get((element.dataset.paid ?? "").toLowerCase()) ?? 0n, 6, "was paid", found);
  }
  for (const element of root.querySelectorAll<HTMLElement>("[data-pay]")) {
    const [trainer, number] = (element.dataset.pay ?? "").toLowerCase().split(" ");
    const round = rounds.find((one) => one.number === Number(number));
    const slot = round?.slots.find((one) => one.trainer.toLowerCase() === trainer);
    compare(element, slot?.pay ?? 0n, 4, `was paid in round ${number}`, found);
  }
  return found;
}

function compare(element: HTMLElement, wei: bigint, places: number, what: string, found: string[]): void {
  const here = ether(wei, places);
  const said = element.textContent?.trim() ?? "";
  const who = (element.dataset.paid ?? element.dataset.pay ?? "").split(" ")[0] as Address;
  const wrong = said !== here;
  element.classList.toggle("differs", wrong);
  if (wrong) found.push(`this page says that ${who} ${what} ${said}; the replay comes to ${here}`);
}
