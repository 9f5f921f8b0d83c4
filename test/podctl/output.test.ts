import { afterEach, expect, test, vi } from "vitest";
import { note, startProgress } from "../../src/podctl/output.ts";

const { isTTY } = process.stderr;
afterEach(() => {
  vi.restoreAllMocks();
  process.stderr.isTTY = isTTY;
});

/** What is written to a terminal by steps a second apart. */
function drawn(steps: readonly number[], total: number | null, after: () => void = () => {}): string {
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const clock = vi.spyOn(performance, "now").mockReturnValue(0);
  process.stderr.isTTY = true;
  const progress = startProgress("keys", total);
  for (const [index, step] of steps.entries()) {
    clock.mockReturnValue((index + 1) * 1_000);
    progress.advance(step);
  }
  after();
  progress.end();
  return written.mock.calls.map(([text]) => String(text)).join("");
}

const signals = () => ["SIGINT", "SIGTERM"].map((name) => process.listenerCount(name));

test("a bar stays on its line, says rate and end, and is gone at the end", () => {
  expect(drawn([10, 10, 10], 40)).toBe(
    `\r\u001b[K${"━".repeat(15)}${"─".repeat(15)} keys: 20 of 40, 10/s, 2 s left` +
      `\r\u001b[K${"━".repeat(22)}${"─".repeat(8)} keys: 30 of 40, 10/s, 1 s left\r\u001b[K`,
  );
});

test("short work shows nothing", () => expect(drawn([10], 40)).toBe(""));

test("more than was to be expected has no end to say", () =>
  expect(drawn([0, 50], 40)).toBe(`\r\u001b[K${"━".repeat(30)} keys: 50, 25/s\r\u001b[K`));

test("a line takes the place of the bar", () =>
  expect(drawn([0, 20], 40, () => note("podctl: no"))).toContain(" left\r\u001b[Kpodctl: no\n"));

test("while a bar is drawn Ctrl-C and kill still end the command, and no key is taken", () => {
  const before = [...signals(), process.stdin.listenerCount("keypress")];
  let during: readonly number[] = [];
  drawn([10, 10], 40, () => {
    during = [...signals(), process.stdin.listenerCount("keypress")];
  });
  expect(during).toEqual(before);
});
