import { readFile, stat } from "node:fs/promises";
import { decodeProtectedHeader } from "jose";
import { describe, expect, test } from "vitest";
import type { Probed } from "../../src/edge/probed.ts";
import { useStack } from "../support/toy-stack.ts";

describe("/-/probe", () => {
  const stack = useStack();
  const tokenFile = () => `${stack.current.stateDir}/probe-token`;
  const readToken = () => readFile(tokenFile(), "utf8");
  const ask = (query: string, token: string | null, method = "GET") =>
    fetch(`${stack.current.edge}/-/probe${query}`, {
      method,
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
    });

  test("it gives one URL per store and method for the probe of a Pod's record, and each fetches it", async () => {
    const answer = await ask("?pod=pod-b", await readToken());
    expect([answer.status, answer.headers.get("Cache-Control")]).toEqual([200, "no-store"]);
    const probed = (await answer.json()) as Probed;
    expect(probed).toMatchObject({ pod: "pod-b", revision: 1, repository: "globex/hello" });
    const [store] = probed.stores;
    expect([probed.stores.length, store?.scheme]).toEqual([1, "s3"]);
    const urls = store !== undefined && "urls" in store ? store.urls : { GET: "", HEAD: "" };
    for (const url of Object.values(urls)) expect(url).toContain(probed.digest.replace("sha256:", ""));
    const range = await fetch(urls.GET, { headers: { Range: "bytes=0-0" } });
    expect([range.status, (await range.arrayBuffer()).byteLength]).toEqual([206, 1]);
    expect((await fetch(urls.HEAD, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(urls.GET, { method: "HEAD" })).status).toBe(403);
  });

  test("it needs the operator's token, and the log has neither the token nor a URL", async () => {
    const token = await readToken();
    stack.current.clearSeen();
    const statuses = [null, "", "wrong", `${token}x`, token.slice(0, -1)].map(async (given) => {
      const answer = await ask("?pod=pod-b", given);
      return [answer.status, answer.headers.has("WWW-Authenticate"), await answer.json()];
    });
    const unauthorized = [401, true, { errors: [expect.objectContaining({ code: "UNAUTHORIZED" })] }];
    expect(await Promise.all(statuses)).toEqual(Array(5).fill(unauthorized));
    await ask("?pod=pod-b", token);
    await stack.current.edgeSettled();
    const log = JSON.stringify(stack.current.edgeSeen());
    expect(log).toContain('"outcome":"probed"');
    expect([log.includes(token), log.includes("X-Amz")]).toEqual([false, false]);
    expect((await stat(tokenFile())).mode & 0o777).toBe(0o600);
  });

  test.each([
    ["?pod=pod-c", 404, "UNSUPPORTED"],
    ["?pod=Pod", 400, "UNSUPPORTED"],
    ["?pod=", 400, "UNSUPPORTED"],
  ])("the query `%s` gets %d", async (query, status, code) => {
    const answer = await ask(query, await readToken());
    expect([answer.status, await answer.json()]).toEqual([status, { errors: [expect.objectContaining({ code })] }]);
  });

  test("without a Pod, it names the newest sealing key, as the sealed values in the records do", async () => {
    const answer = await ask("", await readToken());
    const { sealingKey } = (await answer.json()) as { sealingKey: string };
    const values = await readFile(`${stack.current.stateDir}/topology-values.json`, "utf8");
    const { POD_A_STORAGE_CREDENTIALS: sealed } = JSON.parse(values) as Record<string, string>;
    expect([answer.status, decodeProtectedHeader(sealed ?? "")]).toEqual([
      200,
      expect.objectContaining({ kid: sealingKey }),
    ]);
  });

  test("it serves only GET", async () => {
    const answer = await ask("?pod=pod-a", await readToken(), "POST");
    expect([answer.status, answer.headers.get("Allow")]).toEqual([405, "GET"]);
  });

  test("a record without a probe gets 404, a malformed probe 503, and a broken record 503", async () => {
    const values = JSON.parse(await readFile(`${stack.current.stateDir}/topology-values.json`, "utf8")) as object;
    expect(JSON.stringify(values)).not.toContain(await readToken());
    const record = { v: 1, revision: 1, state: "active", registry: "http://r", token: "http://t", issuer: "i" };
    const pod = { ...record, audience: "a", keys: [] };
    await stack.current.putKv("pod/no-probe", JSON.stringify(pod));
    const probe = { repository: "acme/hello", digest: "sha256:short" };
    await stack.current.putKv("pod/bad-probe", JSON.stringify({ ...pod, probe }));
    await stack.current.putKv("pod/broken", "{}");
    const answers = ["no-probe", "bad-probe", "broken"].map(
      async (id) => (await ask(`?pod=${id}`, await readToken())).status,
    );
    expect(await Promise.all(answers)).toEqual([404, 503, 503]);
  });
});

describe("/-/probe, stores without a URL", () => {
  const stack = useStack({
    topology: (text) =>
      text
        .replace("POD_A_STORAGE_CREDENTIALS", "POD_B_STORAGE_CREDENTIALS")
        .replace(/(bucket: pod-b(?:\n.*){3})/, "$1\n          when: { countries: [DE] }\n        - scheme: pod"),
  });

  test("a secret that does not open and a store of scheme `pod` are named by their places", async () => {
    const token = await readFile(`${stack.current.stateDir}/probe-token`, "utf8");
    const storesOf = async (pod: string) => {
      const headers = { Authorization: `Bearer ${token}` };
      return ((await (await fetch(`${stack.current.edge}/-/probe?pod=${pod}`, { headers })).json()) as Probed).stores;
    };
    const error = 'sealed value of Pod "pod-a", field "blobs.stores.0.credentials", was sealed for another pod';
    expect(await storesOf("pod-a")).toEqual([{ store: 0, scheme: "s3", error }]);
    expect((await storesOf("pod-b"))[1]).toEqual({ store: 1, scheme: "pod", redirectsByItself: true });
  });
});

describe("without `PROBE_TOKEN`", () => {
  const stack = useStack({ env: { PROBE_TOKEN: "" }, seedImages: false });

  test("/-/probe is not there", async () => {
    const headers = { Authorization: "Bearer " };
    const [probe, other] = await Promise.all(
      ["/-/probe", "/-/other"].map(async (path) => {
        const answer = await fetch(`${stack.current.edge}${path}`, { headers });
        return [answer.status, (await answer.text()).replace(path, "")];
      }),
    );
    expect(probe).toEqual([404, expect.stringContaining("UNSUPPORTED")]);
    expect(probe).toEqual(other);
  });
});
