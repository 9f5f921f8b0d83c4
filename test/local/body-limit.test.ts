import http from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseSize, startBodyLimit } from "../../src/local/body-limit.ts";

/** The server behind the limit of 1,000 bytes answers with the number of bytes that it got. */
async function startLimited() {
  const seen: number[] = [];
  const target = http.createServer((request, response) => {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    request.on("end", () => {
      seen.push(bytes);
      response.end(`${request.headers.host} ${bytes}`);
    });
  });
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  const { port: targetPort } = target.address() as AddressInfo;
  const limited = await startBodyLimit({ port: 0, targetPort, limitBytes: 1_000 });
  onTestFinished(async () => {
    await limited.stop();
    target.closeAllConnections();
    target.close();
  });
  return { url: `http://127.0.0.1:${limited.port}/`, seen };
}

const bodyOf = (bytes: number, kind: string) => {
  const body = new Uint8Array(bytes);
  return kind === "announced" ? body : new Blob([body]).stream();
};

describe("body limit in front of the edge", () => {
  test.each(["announced", "chunked"])("a body up to the limit passes: %s", async (kind) => {
    const { url, seen } = await startLimited();
    const init = { method: "PUT", body: bodyOf(1_000, kind), duplex: "half" } as RequestInit;
    const answer = await fetch(url, init);
    expect([answer.status, await answer.text(), seen]).toEqual([200, `${new URL(url).host} 1000`, [1_000]]);
  });

  test.each(["announced", "chunked"])(
    "a longer one gets Cloudflare's page, and the edge never has a whole body: %s",
    async (kind) => {
      const { url, seen } = await startLimited();
      const init = { method: "PUT", body: bodyOf(5_000_000, kind), duplex: "half" } as RequestInit;
      const answer = await fetch(url, init);
      expect([answer.status, answer.headers.get("Content-Type"), answer.headers.get("Server")]).toEqual([
        413,
        "text/html",
        "cloudflare",
      ]);
      expect(await answer.text()).toMatch(/^<html>\r\n[\s\S]*<center>cloudflare<\/center>/);
      expect(seen).toEqual([]);
    },
  );
});

test.each([
  ["100MB", 100_000_000],
  ["5gb", 5_000_000_000],
  ["1000", 1_000],
  ["0MB", null],
  ["MB", null],
  ["1.5MB", null],
  ["-1", null],
])("size of a body limit: %s is %s bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});
