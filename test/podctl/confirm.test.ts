import { PassThrough } from "node:stream";
import { afterEach, expect, test, vi } from "vitest";
import { confirmWrite } from "../../src/podctl/confirm.ts";

afterEach(() => vi.restoreAllMocks());

async function answerTo(keys: string): Promise<void> {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  vi.spyOn(process, "stdin", "get").mockReturnValue(stdin as unknown as typeof process.stdin);
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const answer = confirmWrite("Write this?", undefined);
  stdin.write(keys);
  await answer;
}

test.each([
  ["Ctrl-C", "\u0003"],
  ["Ctrl-D", "\u0004"],
  ["n", "n"],
  ["Enter", "\r"],
])("confirmation: %s ends the command, and nothing is written", async (_key, keys) => {
  await expect(answerTo(keys)).rejects.toThrow("nothing was written");
});

test("confirmation: y lets the command write", async () => {
  await expect(answerTo("y")).resolves.toBeUndefined();
});
