import type http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type MountOrder, mountLimits } from "../../src/pods/mount-order.ts";
import { repositoryName, startTestGateway } from "../support/gateway.ts";
import {
  blob,
  causeOf,
  digestOf,
  expectNothingLeft,
  mount,
  orderOf,
  repository,
  scope,
  sends,
  startSource,
  statusesAt,
  uploads,
} from "../support/mount-orders.ts";
import { serveForTest } from "../support/toy-pod.ts";

const interimAnswers = "HTTP/1.1 103 a\r\n\r\n".repeat(4_000);

function sendsInterimAnswers({ socket }: http.IncomingMessage): void {
  const more = () => {
    let isTaken = true;
    while (isTaken && !socket.destroyed) isTaken = socket.write(interimAnswers);
  };
  socket.on("drain", more);
  more();
}

describe("mount by order", () => {
  test("the gateway copies the blob from the order's URL into its registry, and keeps the URL and the token to itself", async () => {
    const gateway = await startTestGateway();
    const source = await startSource(sends(blob));
    const order = await orderOf(gateway, source.url);
    const answer = await mount(gateway, order);
    const { headers } = answer;
    expect([answer.status, headers.get("Docker-Content-Digest"), await answer.text()]).toEqual([201, order.digest, ""]);
    expect(source.seen).toEqual(["GET /pod-b/data?X-Amz-Signature=secret without a token"]);
    expect(statusesAt(gateway)).toEqual(["HEAD 404", "POST 202", "PATCH 202", "PUT 201"]);
    const copy = await gateway.pod.ask("GET", `/v2/${repository}/blobs/${order.digest}`, scope("pull"));
    expect((await (await fetch(copy.headers.get("Location") ?? "")).arrayBuffer()).byteLength).toBe(blob.byteLength);
    await expect
      .poll(() => gateway.lines)
      .toMatchObject([
        {
          outcome: "mounted",
          status: 201,
          pod: "pod-a",
          repository,
          digest: order.digest,
          copiedBytes: blob.byteLength,
        },
      ]);
    expect(JSON.stringify(gateway.lines)).not.toMatch(/Signature|secret|eyJ/);
  });

  test("an empty blob is copied, too", async () => {
    const gateway = await startTestGateway();
    const source = await startSource(sends(Buffer.alloc(0)));
    const order = await orderOf(gateway, source.url, { digest: digestOf(Buffer.alloc(0)) });
    expect((await mount(gateway, order)).status).toBe(201);
  });

  test("a blob is copied at the pace of the registry", async () => {
    const reads = Promise.withResolvers<void>();
    const port = await serveForTest((request, response) => {
      const answer = () =>
        void response.writeHead(request.method === "PUT" ? 201 : 202, { Location: `${uploads}1` }).end();
      if (request.method === "PATCH") void reads.promise.then(() => request.resume().once("end", answer));
      else answer();
    });
    const registry = `http://127.0.0.1:${port}`;
    const gateway = await startTestGateway({ env: { REGISTRY: registry } });
    const [piece, pieces] = [Buffer.alloc(1024 * 1024), 64];
    let sentPieces = 0;
    const source = await startSource((_, response) => {
      response.writeHead(200, { "Content-Length": piece.byteLength * pieces });
      const more = () => {
        while (sentPieces < pieces) {
          sentPieces += 1;
          if (!response.write(piece)) return void response.once("drain", more);
        }
        response.end();
      };
      more();
    });
    const answer = mount(gateway, await orderOf(gateway, source.url, { registry }));
    await expect.poll(() => sentPieces).toBeGreaterThan(0);
    await sleep(500);
    // The registry has not read yet, and the gateway must not keep the blob in its memory. So the source cannot have sent most of the blob.
    expect(sentPieces).toBeLessThan(pieces / 2);
    reads.resolve();
    expect((await answer).status).toBe(201);
  });

  test.each([
    ["ends its answer and its connection", 201],
    ["breaks off its answer", 409],
  ])("a source that %s while the registry is slow harms nothing else", async (what, status) => {
    const port = await serveForTest((request, response) => {
      const answer = () =>
        void response.writeHead(request.method === "PUT" ? 201 : 202, { Location: `${uploads}1` }).end();
      setTimeout(() => request.resume().once("end", answer), 700);
    });
    const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` } });
    // The gateway does not use Node's `fetch`, which would keep all of `small` in its buffers while the registry is slow. If the source then closed
    // its connection, `fetch` would throw an error that no code can catch (undici, `assert(!this.paused)`).
    const small = blob.subarray(0, 70_000);
    const source = await startSource((_, response) => {
      const length = what.startsWith("ends") ? small.byteLength : small.byteLength + 1;
      response.writeHead(200, { "Content-Length": length }).write(small, () => response.socket?.end());
    });
    const order = await orderOf(gateway, source.url, { digest: digestOf(small) });
    expect((await mount(gateway, order)).status).toBe(status);
    expect((await fetch(`${gateway.url}/-/health`)).status).toBe(200);
  });

  const wrongBytes = Buffer.from(blob).fill("x", 0, 1);
  const cases: readonly (readonly [string, http.RequestListener, string, readonly string[]])[] = [
    [
      "is gone",
      (_, response) => void response.writeHead(404).end("no such key"),
      "the source answered 404",
      ["HEAD 404"],
    ],
    [
      "refuses the URL",
      (_, response) => void response.writeHead(403).end("<Error>expired</Error>"),
      "the source answered 403",
      ["HEAD 404"],
    ],
    [
      "redirects to a link-local address",
      (_, response) => void response.writeHead(302, { Location: "http://169.254.169.254/latest/meta-data/" }).end(),
      "the source answered 302",
      ["HEAD 404"],
    ],
    [
      "closes the connection at once",
      (_, response) => void response.socket?.destroy(),
      "the source gave no answer",
      ["HEAD 404"],
    ],
    [
      "has more bytes than are allowed",
      (_, response) => void response.writeHead(200, { "Content-Length": 1_000_001 }).write("x"),
      "the source has more than 1000000 bytes",
      ["HEAD 404"],
    ],
    [
      "does not say how long the blob is",
      (_, response) => void response.writeHead(200).end(blob),
      "the source does not say how long the blob is",
      ["HEAD 404"],
    ],
    ...["gzip", "br", "x-unknown"].map(
      (encoding) =>
        [
          `encodes the blob by ${encoding}`,
          (_: http.IncomingMessage, response: http.ServerResponse) => {
            const bytes = encoding === "br" ? brotliCompressSync(blob) : gzipSync(blob);
            response.writeHead(200, { "Content-Encoding": encoding, "Content-Length": bytes.byteLength }).end(bytes);
          },
          "the source encodes the blob",
          ["HEAD 404"],
        ] as const,
    ),
    [
      "breaks off in the middle",
      (_, response) => {
        response.writeHead(200, { "Content-Length": blob.byteLength }).write(blob.subarray(0, 100_000));
        setTimeout(() => response.socket?.destroy(), 200);
      },
      "the source broke off after 100000 bytes",
      ["HEAD 404", "POST 202", "PATCH 202", "DELETE 204"],
    ],
    [
      "stops in the middle",
      (_, response) =>
        void response.writeHead(200, { "Content-Length": blob.byteLength }).write(blob.subarray(0, 100_000)),
      "the copy did not end within 3000 ms",
      ["HEAD 404", "POST 202", "PATCH 202", "DELETE 204"],
    ],
    ["sends no headers for 5 s", () => {}, "the source gave no answer", ["HEAD 404"]],
    [
      "answers 101 and changes the protocol",
      ({ socket }) => void socket.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
      "the source gave no answer",
      ["HEAD 404"],
    ],
    ["sends interim answers without end", sendsInterimAnswers, "the source gave no answer", ["HEAD 404"]],
    [
      "sends other bytes",
      sends(wrongBytes),
      "the registry answered 400 to the blob's digest",
      ["HEAD 404", "POST 202", "PATCH 202", "PUT 400", "DELETE 404"],
    ],
  ];
  test.each(cases)(
    "if the source %s, nothing is mounted and nothing is left at the registry",
    async (what, answer, cause, asked) => {
      // If the source stops, the copy ends only after `copyMs`, so this case has a short `copyMs`.
      const copyMs = what.startsWith("stops") ? 3_000 : mountLimits.copyMs;
      const gateway = await startTestGateway({ limits: { maxBytes: 1_000_000, copyMs } });
      const source = await startSource(answer);
      const refused = await mount(gateway, await orderOf(gateway, source.url));
      expect([refused.status, await causeOf(refused)]).toEqual([409, cause]);
      expect(source.seen).toHaveLength(1);
      expect(statusesAt(gateway)).toEqual(asked);
      await expectNothingLeft(gateway);
      await expect.poll(() => gateway.lines).toMatchObject([{ outcome: "not-mounted", status: 409, cause }]);
    },
  );

  test("a late source and a silent registry together take no longer than the edge waits for its order", async () => {
    const begun = Promise.withResolvers<string>();
    const port = await serveForTest((request, response) => {
      request.resume();
      if (request.method === "PATCH") return;
      const status = { HEAD: 404, POST: 202, DELETE: 204 }[request.method ?? ""] ?? 500;
      if (status === 204) begun.resolve("deleted");
      response.writeHead(status, { Location: `${uploads}1` }).end();
    });
    const limits = { copyMs: 2_000, cleanUpMs: 500 };
    const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` }, limits });
    const source = await startSource((request, response) => {
      setTimeout(() => sends(blob)(request, response), limits.copyMs - 200);
    });
    const order = await orderOf(gateway, source.url, { copyMs: limits.copyMs });
    // The gateway may wait one second for the registry's last answer. We allow one more second for a slow machine.
    const waitMs = limits.copyMs + limits.cleanUpMs + 2_000;
    const refused = await mount(gateway, order, AbortSignal.timeout(waitMs));
    expect([refused.status, await begun.promise]).toEqual([409, "deleted"]);
  });

  test("without the right to delete, the half upload is left for the registry to purge, and is no blob", async () => {
    const gateway = await startTestGateway({ limits: { copyMs: 3_000 } });
    const source = await startSource(
      (_, response) => void response.writeHead(200, { "Content-Length": blob.byteLength }).write("half"),
    );
    const token = await gateway.pod.token(scope("pull", "push"));
    const refused = await mount(gateway, await orderOf(gateway, source.url, { token }));
    expect(refused.status).toBe(409);
    expect(statusesAt(gateway)).toEqual(["HEAD 404", "POST 202", "PATCH 202", "DELETE 401"]);
    const head = await gateway.pod.ask("HEAD", `/v2/${repository}/blobs/${digestOf(blob)}`, scope("pull"));
    expect(head.status).toBe(404);
  });

  test.each([
    ["refuses a new upload", "POST", 403, []],
    ["is full", "PATCH", 507, ["DELETE"]],
    ["fails at the end", "PUT", 503, ["DELETE"]],
  ])("if the registry %s, nothing is mounted, and the upload is deleted", async (_, failing, status, removing) => {
    const asked: string[] = [];
    const port = await serveForTest((request, response) => {
      asked.push(request.method ?? "");
      // A registry that refuses a blob does not read it first.
      if (request.method === failing) return void response.writeHead(status).end();
      request.resume().once("end", () => {
        const usual = { HEAD: 404, POST: 202, PATCH: 202, PUT: 201, DELETE: 204 }[request.method ?? ""] ?? 500;
        response.writeHead(usual, { Location: `${uploads}1?_state=s` }).end();
      });
    });
    const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` } });
    const source = await startSource(sends(Buffer.alloc(30 * 1024 * 1024)));
    const refused = await mount(gateway, await orderOf(gateway, source.url));
    expect([refused.status, await causeOf(refused)]).toEqual([
      409,
      expect.stringContaining(`the registry answered ${status}`),
    ]);
    const until = ["POST", "PATCH", "PUT"];
    expect(asked).toEqual(["HEAD", ...until.slice(0, until.indexOf(failing) + 1), ...removing]);
  });

  test("a registry whose Location leads elsewhere gets none of the blob's bytes, and no other place is asked", async () => {
    const elsewhere = await startSource((_, response) => void response.end());
    const port = await serveForTest(
      (_, response) => void response.writeHead(202, { Location: new URL(`${uploads}1`, elsewhere.url).href }).end(),
    );
    const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` } });
    const source = await startSource(sends(blob));
    expect((await mount(gateway, await orderOf(gateway, source.url))).status).toBe(409);
    expect(elsewhere.seen).toEqual([]);
  });

  test("one blob is copied once at a time, and other blobs are copied meanwhile", async () => {
    const gateway = await startTestGateway();
    const held = Promise.withResolvers<void>();
    const source = await startSource((_, response) => {
      response.writeHead(200, { "Content-Length": blob.byteLength }).flushHeaders();
      void held.promise.then(() => response.end(blob));
    });
    const other = Buffer.from("another blob");
    const order = await orderOf(gateway, source.url);
    const first = mount(gateway, order);
    await expect.poll(() => source.seen.length).toBe(1);
    const second = await mount(gateway, order);
    expect([second.status, await causeOf(second)]).toEqual([409, "this blob is being copied already"]);
    const ofOther = await startSource(sends(other));
    const third = await mount(gateway, await orderOf(gateway, ofOther.url, { digest: digestOf(other) }));
    expect(third.status).toBe(201);
    held.resolve();
    expect((await first).status).toBe(201);
    expect((await mount(gateway, order)).status).toBe(201);
  });

  test("a blob that the repository has already is mounted, and neither the source nor an upload is asked for", async () => {
    const gateway = await startTestGateway();
    const source = await startSource(sends(blob));
    const order = await orderOf(gateway, source.url);
    expect((await mount(gateway, order)).status).toBe(201);
    gateway.tap.clearSeen();
    expect((await mount(gateway, order)).status).toBe(201);
    expect(source.seen).toHaveLength(1);
    expect(statusesAt(gateway)).toEqual(["HEAD 307"]);
  });

  test("a slow source of one repository does not hold up the same blob from another source into another repository", async () => {
    const gateway = await startTestGateway();
    const slow = await startSource((_, response) => {
      response.writeHead(200, { "Content-Length": blob.byteLength }).flushHeaders();
    });
    const left = new AbortController();
    const first = mount(gateway, await orderOf(gateway, slow.url), left.signal);
    await expect.poll(() => slow.seen.length).toBe(1);
    const good = await startSource(sends(blob));
    const other = repositoryName("acme/other");
    const token = await gateway.pod.token(`repository:${other}:pull,push`);
    const order = await orderOf(gateway, good.url, { repository: other, token });
    expect((await mount(gateway, order)).status).toBe(201);
    left.abort();
    await expect(first).rejects.toThrow();
  });

  test("if the edge breaks off its order, the source is closed and the upload is deleted", async () => {
    const gateway = await startTestGateway();
    const closed = Promise.withResolvers<void>();
    const source = await startSource((_, response) => {
      response.once("close", closed.resolve);
      response.writeHead(200, { "Content-Length": blob.byteLength }).write(blob.subarray(0, 100_000));
    });
    const left = new AbortController();
    const ordered = mount(gateway, await orderOf(gateway, source.url), left.signal);
    await expect.poll(() => gateway.tap.seen().length).toBe(3);
    left.abort();
    await expect(ordered).rejects.toThrow();
    await closed.promise;
    await expect.poll(() => gateway.lines).toMatchObject([{ outcome: "client-left", status: 499, repository }]);
    expect(statusesAt(gateway)).toEqual(["HEAD 404", "POST 202", "PATCH 202", "DELETE 204"]);
    await expectNothingLeft(gateway);
  });

  test("eight blobs are copied into one repository at a time, and a ninth is uploaded by its client", async () => {
    const gateway = await startTestGateway();
    const source = await startSource((_, response) => {
      response.writeHead(200, { "Content-Length": blob.byteLength }).flushHeaders();
    });
    const left = new AbortController();
    const digests = "1 2 3 4 5 6 7 8 9".split(" ").map((text) => digestOf(Buffer.from(text)));
    const [ninth, ...eight] = await Promise.all(digests.map((digest) => orderOf(gateway, source.url, { digest })));
    const held = Promise.allSettled(eight.map((order) => mount(gateway, order, left.signal)));
    await expect.poll(() => source.seen.length).toBe(8);
    const refused = await mount(gateway, ninth as MountOrder);
    expect([refused.status, await causeOf(refused)]).toEqual([
      409,
      "8 blobs are being copied into this repository already",
    ]);
    expect(source.seen).toHaveLength(8);
    left.abort();
    await held;
  });

  test("after three copies that failed in their upload, a repository gets no more for a while, and its source and registry are not asked", async () => {
    const gateway = await startTestGateway();
    const source = await startSource(sends(wrongBytes));
    const order = await orderOf(gateway, source.url);
    const gone = await startSource((_, response) => void response.writeHead(404).end());
    for (let time = 0; time < 3; time += 1) await mount(gateway, { ...order, url: gone.url });
    for (let time = 0; time < 3; time += 1) expect((await mount(gateway, order)).status).toBe(409);
    gateway.tap.clearSeen();
    const good = await startSource(sends(blob));
    const refused = await mount(gateway, { ...order, url: good.url });
    expect([refused.status, await causeOf(refused)]).toEqual([
      409,
      "3 copies into this repository have failed within 10 minutes",
    ]);
    expect([source.seen.length, good.seen, statusesAt(gateway)]).toEqual([3, [], []]);
    const other = repositoryName("acme/other");
    const token = await gateway.pod.token(`repository:${other}:pull,push`);
    expect((await mount(gateway, { ...order, url: good.url, repository: other, token })).status).toBe(201);
  });
});
