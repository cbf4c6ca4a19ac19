/** Numbers, times and addresses as people read them; ether as zkmarket/demo/report/words.py writes it. */

/** Ether, or wei where ether would round it away. */
export function ether(wei: bigint, places = 6): string {
  if (wei < 10n ** BigInt(18 - places)) return wei === 0n ? "0" : `${grouped(wei)} wei`;
  const unit = 10n ** BigInt(18 - places);
  const half = unit / 2n;
  let rounded = wei / unit;
  const rest = wei % unit;
  if (rest > half || (rest === half && rounded % 2n === 1n)) rounded += 1n; // to even, as Python's decimals are
  const whole = rounded / 10n ** BigInt(places);
  const part = `${rounded % 10n ** BigInt(places)}`.padStart(places, "0");
  return `${grouped(whole)}.${part} ETH`;
}

export function grouped(value: bigint): string {
  return `${value}`.replace(/\B(?=(\d{3})+$)/g, ",");
}

export function date(seconds: number): string {
  return `${new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function short(hex: string): string {
  return hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex;
}
