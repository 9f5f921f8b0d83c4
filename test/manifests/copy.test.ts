import { describe, expect, test } from "vitest";
import { ByteBudget } from "../../src/lib/byte-budget.ts";
import { copyBody, smallBytes } from "../../src/manifests/copy.ts";

const largeBytes = smallBytes + 1;

/** A response that announces this many bytes and sends pieces of these lengths. At a null it breaks off. */
function responseOf(announced: number, pieces: readonly (number | null)[]): Response {
  const rest = [...pieces];
  const body = new ReadableStream({
    type: "bytes",
    pull: (controller: ReadableByteStreamController) => {
      const piece = rest.shift();
      if (piece === undefined) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else if (piece === null) controller.error(new Error("connection lost"));
      else controller.enqueue(new Uint8Array(piece).fill(7));
    },
  });
  return new Response(body, { headers: { "Content-Length": String(announced) } });
}

describe("copy of a large manifest", () => {
  test("it has all bytes of a body that passes whole", async () => {
    const copied = copyBody(responseOf(largeBytes, [100_000, largeBytes - 100_000]), new ByteBudget(largeBytes));
    const passed = await new Response(copied?.body).arrayBuffer();
    expect([passed.byteLength, (await copied?.bytes)?.byteLength]).toEqual([largeBytes, largeBytes]);
    expect(new Uint8Array(passed)).toEqual(await copied?.bytes);
  });

  test.each<[string, readonly (number | null)[]]>([
    ["ends too early", [100_000]],
    ["breaks off", [100_000, null]],
    ["is longer than it says", [largeBytes, 1]],
  ])("there is none if the body %s", async (_, pieces) => {
    const copied = copyBody(responseOf(largeBytes, pieces), new ByteBudget(largeBytes));
    await new Response(copied?.body).arrayBuffer().catch(() => null);
    expect(await copied?.bytes).toBeNull();
  });

  test("copies share a budget, and each gives its part back when its body ends, breaks off or is cancelled", async () => {
    const budget = new ByteBudget(largeBytes);
    const endings: readonly [readonly (number | null)[], (body: ReadableStream) => Promise<unknown>][] = [
      [[largeBytes], (body) => new Response(body).arrayBuffer()],
      [[100_000, null], (body) => new Response(body).arrayBuffer().catch(() => null)],
      [[100_000, 100_000], (body) => body.cancel()],
    ];
    for (const [pieces, end] of endings) {
      const copied = copyBody(responseOf(largeBytes, pieces), budget);
      if (copied === null) expect.fail("the budget was not given back");
      expect(copyBody(responseOf(largeBytes, pieces), budget)).toBeNull();
      await end(copied.body);
      await copied.bytes;
    }
  });

  test("a byte reader, which the edge uses, gets all of it", async () => {
    const copied = copyBody(responseOf(largeBytes, [largeBytes]), new ByteBudget(largeBytes));
    const reader = copied?.body.getReader({ mode: "byob" });
    let bytes = 0;
    for (;;) {
      const read = await reader?.read(new Uint8Array(16_384));
      if (read === undefined || read.done) break;
      bytes += read.value.byteLength;
    }
    expect([bytes, (await copied?.bytes)?.byteLength]).toEqual([largeBytes, largeBytes]);
  });
});

test("no copy is made of an encoded body, or of one of more than 4 MiB", () => {
  const budget = new ByteBudget(1 << 30);
  const encoded = new Response("{}", { headers: { "Content-Encoding": "gzip" } });
  expect([copyBody(encoded, budget), copyBody(responseOf((4 << 20) + 1, []), budget)]).toEqual([null, null]);
});
