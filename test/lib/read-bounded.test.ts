import { describe, expect, test } from "vitest";
import { withoutFirst } from "../../src/lib/read-bounded.ts";

const pieceBytes = 10_000;

/** Each byte is the number of its piece. If `breaks` is true, the body fails after the last piece. */
function bodyOf(pieces: number, breaks = false) {
  const pulled = { pieces: 0 };
  const body = new ReadableStream(
    {
      type: "bytes",
      pull: (controller: ReadableByteStreamController) => {
        if (pulled.pieces < pieces) {
          controller.enqueue(new Uint8Array(pieceBytes).fill(pulled.pieces));
          pulled.pieces += 1;
        } else if (breaks) controller.error(new Error("connection lost"));
        else {
          controller.close();
          controller.byobRequest?.respond(0);
        }
      },
    },
    { highWaterMark: 0 },
  );
  return { body, pulled };
}

/** Reads the stream directly, because `new Response(body)` refuses a body that was partly read. */
async function bytesOf(body: ReadableStream<Uint8Array> | null): Promise<number[]> {
  const bytes: number[] = [];
  for await (const piece of body ?? []) bytes.push(...piece);
  return bytes;
}

describe("body without its first bytes", () => {
  test.each([0, 1, pieceBytes, 25_000, 4 * pieceBytes])(
    "after %d bytes it goes on with the next one",
    async (bytes) => {
      const whole = await bytesOf(bodyOf(4).body);
      expect(await bytesOf(await withoutFirst(bodyOf(4).body, bytes))).toEqual(whole.slice(bytes));
    },
  );

  test("no more is read than what is dropped, so that a client that reads nothing holds no copy", async () => {
    const { body, pulled } = bodyOf(400);
    expect(await withoutFirst(body, 25_000)).not.toBeNull();
    expect(pulled.pieces).toBe(3);
  });

  test.each([false, true])("there is none if the body has fewer bytes, also if it breaks off: %s", async (breaks) => {
    expect(await withoutFirst(bodyOf(2, breaks).body, 2 * pieceBytes + 1)).toBeNull();
  });
});
