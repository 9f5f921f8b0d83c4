import { request } from "node:http";
import { describe, expect, test } from "vitest";
import { startToyStorage } from "../../support/toy-pod.ts";

describe("toy storage: objects", () => {
  test("an object can be put, read, replaced and deleted", async () => {
    const { sign, put } = await startToyStorage();
    expect((await fetch(sign("GET", "/pod-a/a/b"))).status).toBe(404);
    expect((await put("/pod-a/a/b", "hello")).status).toBe(200);
    const got = await fetch(sign("GET", "/pod-a/a/b"));
    expect(got.status).toBe(200);
    expect(got.headers.get("accept-ranges")).toBe("bytes");
    expect(got.headers.get("content-type")).toBe("application/octet-stream");
    expect(await got.text()).toBe("hello");
    const head = await fetch(sign("HEAD", "/pod-a/a/b"), { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "5", ""]);
    await put("/pod-a/a/b", "again");
    expect(await (await fetch(sign("GET", "/pod-a/a/b"))).text()).toBe("again");
    expect((await fetch(sign("DELETE", "/pod-a/a/b"), { method: "DELETE" })).status).toBe(204);
    expect(await (await fetch(sign("GET", "/pod-a/a/b"))).text()).toContain("<Code>NoSuchKey</Code>");
  });

  test("an empty object is served with length 0", async () => {
    const { sign, put } = await startToyStorage();
    await put("/pod-a/empty", "");
    const got = await fetch(sign("GET", "/pod-a/empty"));
    expect([got.status, got.headers.get("content-length"), await got.text()]).toEqual([200, "0", ""]);
  });

  test.each(["/pod-b/a", "/pod-a/", "/pod-a/a//b", "/pod-a/../b", "/pod-a/a/../../../b", "/pod-ab/a"])(
    "%s is not accepted as a key, even if its URL is signed",
    async (path) => {
      const { sign } = await startToyStorage();
      // node:http sends the path as it is; fetch would resolve the dots.
      const { port, search } = new URL(sign("GET", path));
      const status = await new Promise((resolve, reject) => {
        const sent = request({ host: "localhost", port, path: `${path}${search}` }, (got) =>
          resolve(got.resume().statusCode),
        );
        sent.on("error", reject).end();
      });
      expect(status).toBe(404);
    },
  );

  test.each([
    ["bytes=0-0", 206, "h", "bytes 0-0/5"],
    ["bytes=1-3", 206, "ell", "bytes 1-3/5"],
    ["bytes=3-", 206, "lo", "bytes 3-4/5"],
    ["bytes=-2", 206, "lo", "bytes 3-4/5"],
    ["bytes=-9", 206, "hello", "bytes 0-4/5"],
    ["bytes=0-99", 206, "hello", "bytes 0-4/5"],
    ["bytes=0-1,3-4", 200, "hello", null],
    ["bytes=3-1", 200, "hello", null],
    ["lines=1-2", 200, "hello", null],
  ])("Range: %s gets the bytes that it asks for, or the whole object", async (range, status, body, contentRange) => {
    const { sign, put } = await startToyStorage();
    await put("/pod-a/a", "hello");
    const got = await fetch(sign("GET", "/pod-a/a"), { headers: { Range: range } });
    expect([got.status, await got.text(), got.headers.get("content-range")]).toEqual([status, body, contentRange]);
    expect(got.headers.get("content-length")).toBe(String(body.length));
  });

  test.each(["bytes=5-", "bytes=5-9", "bytes=-0"])("Range: %s is answered 416", async (range) => {
    const { sign, put } = await startToyStorage();
    await put("/pod-a/a", "hello");
    const got = await fetch(sign("GET", "/pod-a/a"), { headers: { Range: range } });
    expect([got.status, got.headers.get("content-range")]).toEqual([416, "bytes */5"]);
  });
});

test("toy storage: a PUT that breaks off leaves the object as it was", async () => {
  const { sign, put } = await startToyStorage();
  await put("/pod-a/a", "whole");
  const half = new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode("ha"));
      controller.error(new Error("gone"));
    },
  });
  const init = { method: "PUT", body: half, duplex: "half", headers: { "Content-Length": "4" } };
  await expect(fetch(sign("PUT", "/pod-a/a"), init as RequestInit)).rejects.toThrow();
  expect(await (await fetch(sign("GET", "/pod-a/a"))).text()).toBe("whole");
});

test("toy storage: a PUT without a length is refused, as S3 does", async () => {
  const { sign } = await startToyStorage();
  const init = { method: "PUT", body: new Blob(["x"]).stream(), duplex: "half" };
  expect((await fetch(sign("PUT", "/pod-a/a"), init as RequestInit)).status).toBe(411);
});
