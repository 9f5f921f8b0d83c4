import { afterEach, expect, test, vi } from "vitest";
import { textWithin } from "../../src/net/within.ts";

afterEach(() => void vi.useRealTimers());

const pieces = (texts: readonly string[], end: "closes" | "breaks" | "hangs") =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
        if (end === "closes") controller.close();
        if (end === "breaks") controller.error(new Error("connection reset"));
      },
    }),
  );

test("a body that ends is read as its text, even if a letter is cut in two", async () => {
  expect(await textWithin(new Response("h\u00e9llo"), 6)).toBe("h\u00e9llo");
  expect(await textWithin(pieces(["a", "b"], "closes"), 2)).toBe("ab");
  expect(await textWithin(new Response(null), 2)).toBe("");
});

test("a body that is too long or breaks off is read as null", async () => {
  expect(await textWithin(pieces(["a", "bc"], "hangs"), 2)).toBeNull();
  expect(await textWithin(pieces(["a"], "breaks"), 2)).toBeNull();
});

test("a body in very small pieces is read as null, and one as networks cut it is read", async () => {
  const letters = Array<string>(1_000).fill("a");
  const form = (parts: readonly string[]) =>
    new Request("https://edge.test", {
      method: "POST",
      body: pieces(parts, "closes").body,
      duplex: "half",
    } as RequestInit);
  expect(await textWithin(form(letters), 1_000_000)).toBeNull();
  expect(await textWithin(form(letters.slice(0, 32)), 1_000_000)).toHaveLength(32);
  expect(await textWithin(pieces(letters, "closes"), 1_000_000)).toHaveLength(1_000);
  expect(await textWithin(pieces([...letters, ...letters], "closes"), 1_000_000)).toBeNull();
  const packets = letters.map(() => "a".repeat(536));
  expect(await textWithin(pieces(packets, "closes"), 1_000_000)).toHaveLength(536_000);
});

test("a body that does not end is given up after 10 seconds", async () => {
  vi.useFakeTimers();
  const text = textWithin(pieces(["a"], "hangs"), 100);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await text).toBeNull();
});
