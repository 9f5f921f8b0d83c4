import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { startMiniflare } from "../../src/local/workerd/miniflare.ts";
import { readWorkerConfig } from "../../src/local/wrangler-config.ts";

const probeToken = "p".repeat(32);
const persistencePath = mkdtempSync(join(tmpdir(), "registry-edge-"));
const lines: string[] = [];
const { miniflare, stop } = startMiniflare({
  config: await readWorkerConfig(),
  script: await bundleWorker(),
  vars: {
    SERVICE: "registry-edge",
    PLAIN_HTTP: "refuse",
    EDGE_KEYS: JSON.stringify([randomBytes(32).toString("base64url")]),
    PROBE_TOKEN: probeToken,
  },
  port: 0,
  persistencePath,
  onLogLine: ({ message }) => void lines.push(message),
});
afterAll(async () => {
  await stop();
  rmSync(persistencePath, { recursive: true, force: true });
});

const paths = ["/v2/", "/v2/acme/app/manifests/1", "/gitlab/v1/", "/jwt/auth?service=registry-edge", "/-/probe?pod=a"];
const credentials = ["Basic ZGVtbzpkZW1v", `Bearer ${probeToken}`, "Bearer pods.v1.pod-a/x"];

/** As on the platform, the Worker sees the scheme of the URL that the client used, whatever `X-Forwarded-Proto` says. */
const ask = (url: string, headers: Record<string, string> = {}) =>
  miniflare.dispatchFetch(url, { headers: { "X-Forwarded-Proto": "https", ...headers } });

describe("where plain HTTP is refused", () => {
  test.each(paths)("a request over http:// gets no challenge, and its credential is not read: %s", async (path) => {
    const answers = await Promise.all([
      ask(`http://registry.example.com${path}`),
      ...credentials.map((Authorization) => ask(`http://registry.example.com${path}`, { Authorization })),
    ]);
    for (const answer of answers) {
      expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([403, null]);
      expect(await answer.json()).toMatchObject({
        errors: [{ code: "DENIED", message: "this registry is served over https only; use its https:// address" }],
      });
    }
  });

  test("a request over https:// is served, with an https realm", async () => {
    const answer = await ask("https://registry.example.com/v2/");
    expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
      401,
      'Bearer realm="https://registry.example.com/jwt/auth",service="registry-edge"',
    ]);
  });

  test("health is told over http:// too, because it says nothing", async () => {
    expect((await ask("http://registry.example.com/-/health")).status).toBe(200);
  });

  test("a refused request costs no look-up, and its credential is not in the log", async () => {
    lines.length = 0;
    await ask("http://registry.example.com/jwt/auth", { Authorization: "Basic ZGVtbzpkZW1v" });
    await expect.poll(() => lines.join("")).toContain("edge");
    expect(lines.join("")).not.toContain("ZGVtbzpkZW1v");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ outcome: "refused", status: 403, kvReads: 0, podRequests: 0 });
  });
});
