import { describe, expect, test } from "vitest";
import { ByteBudget } from "../../src/lib/byte-budget.ts";
import { type CopyTerms, copyBody, createCopyBudget, isDigestOf, smallBytes } from "../../src/manifests/copy.ts";
import type { Digest } from "../../src/oci/digest.ts";

const largeBytes = smallBytes + 1;
const termsOf = (maxBytes: number, pod = "pod-a"): CopyTerms => ({
  budget: new ByteBudget({ maxBytes, maxBytesOfOwner: maxBytes, lifeMs: 60_000 }),
  pod,
});

/** At a null in `pieces`, the body breaks off. */
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
    const copied = copyBody(responseOf(largeBytes, [100_000, largeBytes - 100_000]), termsOf(largeBytes));
    const passed = await new Response(copied?.body).arrayBuffer();
    expect([passed.byteLength, (await copied?.bytes)?.byteLength]).toEqual([largeBytes, largeBytes]);
    expect(new Uint8Array(passed)).toEqual(await copied?.bytes);
  });

  test.each<[string, readonly (number | null)[]]>([
    ["ends too early", [100_000]],
    ["breaks off", [100_000, null]],
    ["is longer than it says", [largeBytes, 1]],
  ])("there is none if the body %s", async (_, pieces) => {
    const copied = copyBody(responseOf(largeBytes, pieces), termsOf(largeBytes));
    await new Response(copied?.body).arrayBuffer().catch(() => null);
    expect(await copied?.bytes).toBeNull();
  });

  test("copies share a budget, and each gives its part back when its body breaks off or is cancelled", async () => {
    const budget = termsOf(largeBytes);
    const endings: readonly [readonly (number | null)[], (body: ReadableStream) => Promise<unknown>][] = [
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
    expect(copyBody(responseOf(largeBytes, []), budget)).not.toBeNull();
  });

  test("a byte reader, which the edge uses, gets all of it", async () => {
    const copied = copyBody(responseOf(largeBytes, [largeBytes]), termsOf(largeBytes));
    const reader = copied?.body.getReader({ mode: "byob" });
    let bytes = 0;
    for (;;) {
      const read = await reader?.read(new Uint8Array(16_384));
      if (read === undefined || read.done) break;
      bytes += read.value.byteLength;
    }
    expect([bytes, (await copied?.bytes)?.byteLength]).toEqual([largeBytes, largeBytes]);
  });

  test("a body in pieces of one byte passes in few pieces, because each piece costs CPU time", async () => {
    const copied = copyBody(
      responseOf(
        66_000,
        Array.from({ length: 66_000 }, () => 1),
      ),
      termsOf(66_000),
    );
    let [pieces, bytes] = [0, 0];
    for await (const piece of copied?.body ?? []) {
      pieces += 1;
      bytes += piece.byteLength;
    }
    expect([bytes, (await copied?.bytes)?.byteLength]).toEqual([66_000, 66_000]);
    // `startPace` allows 64 pieces, one more for each 512 bytes (here 128 more), and 60 more in each second that the test takes.
    expect(pieces).toBeLessThan(2_000);
  });
});

describe("budget of all copies", () => {
  test("the copies of one Pod leave half of it to the others", () => {
    const budget = createCopyBudget();
    const copyOf = (pod: string) => copyBody(responseOf(4 << 20, []), { budget, pod });
    expect(["evil", "evil", "evil", "good", "good", "good"].map((pod) => copyOf(pod) !== null)).toEqual([
      ...[true, true, false],
      ...[true, true, false],
    ]);
  });

  test("small manifests whose last bytes do not come count, too", () => {
    const terms = termsOf(2 * 64 * 1024);
    const hanging = () => copyBody(responseOf(64 * 1024, [1_000, ...Array.from({ length: 10 }, () => 1)]), terms);
    expect([hanging(), hanging(), hanging()].map((copied) => copied !== null)).toEqual([true, true, false]);
  });

  test.each([1_000, largeBytes])(
    "a copy of %d bytes that is ended gives its part back, and its body passes on",
    async (bytes) => {
      const terms = termsOf(bytes);
      const copied = copyBody(responseOf(bytes, [bytes - 10, 10]), terms);
      expect(copyBody(responseOf(bytes, [bytes]), terms)).toBeNull();
      copied?.end();
      expect(await copied?.bytes).toBeNull();
      expect((await new Response(copied?.body).arrayBuffer()).byteLength).toBe(bytes);
      expect(copyBody(responseOf(bytes, [bytes]), terms)).not.toBeNull();
    },
  );

  test.each([1_000, largeBytes])(
    "a whole copy of %d bytes counts until it is ended, because it is in memory until it is kept",
    async (bytes) => {
      const terms = termsOf(bytes);
      const copied = copyBody(responseOf(bytes, [bytes]), terms);
      await new Response(copied?.body).arrayBuffer();
      expect((await copied?.bytes)?.byteLength).toBe(bytes);
      expect(copyBody(responseOf(bytes, [bytes]), terms)).toBeNull();
      copied?.end();
      expect(copyBody(responseOf(bytes, [bytes]), terms)).not.toBeNull();
    },
  );

  test("what a request never gave back, because the platform ended it, is free again after a minute", () => {
    const budget = new ByteBudget({ maxBytes: 10, maxBytesOfOwner: 10, lifeMs: 60_000 });
    const give = budget.take(10, "pod-a", 0);
    expect([budget.take(1, "pod-b", 59_999), budget.take(10, "pod-b", 60_000)]).toEqual([null, expect.any(Function)]);
    give?.();
    expect(budget.take(1, "pod-a", 60_000)).toBeNull();
  });
});

test("no copy is made of an encoded body, or of one of more than 4 MiB", () => {
  const budget = termsOf(1 << 30);
  const encoded = new Response("{}", { headers: { "Content-Encoding": "gzip" } });
  expect([copyBody(encoded, budget), copyBody(responseOf((4 << 20) + 1, []), budget)]).toEqual([null, null]);
});

test("no bytes have a digest of an unknown algorithm, whatever it is called", async () => {
  for (const digest of ["sha384:00", "constructor:00"]) {
    expect(await isDigestOf(digest as Digest, new Uint8Array(1))).toBe(false);
  }
});
