import { expect, test } from "vitest";
import { date, ether, grouped, short } from "../../zkmarket/page/src/format";

test.each([
  [0n, 6, "0"],
  [1n, 6, "1 wei"],
  [999_999_999_999n, 6, "999,999,999,999 wei"],
  [10n ** 12n, 6, "0.000001 ETH"],
  [333_333_333_333_333_333n, 4, "0.3333 ETH"],
  [333_350_000_000_000_000n, 4, "0.3334 ETH"], // a half goes to the even digit, as Python's decimals do
  [333_450_000_000_000_000n, 4, "0.3334 ETH"],
  [333_450_000_000_000_001n, 4, "0.3335 ETH"],
  [1_234_567n * 10n ** 18n, 6, "1,234,567.000000 ETH"],
  [999_999_999_999_999_999n, 6, "1.000000 ETH"],
])("%s wei to %s places", (wei, places, text) => {
  expect(ether(wei, places)).toBe(text);
});

test("numbers, times, addresses", () => {
  expect(grouped(1234567n)).toBe("1,234,567");
  expect(date(1_796_000_000)).toBe("2026-11-30 00:53:20 UTC");
  expect(short("0x0123456789abcdef0123")).toBe("0x012345…0123");
});
