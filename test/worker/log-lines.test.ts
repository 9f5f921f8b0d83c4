import { describe, expect, test } from "vitest";
import { type Env, parseConfig } from "../../src/config.ts";
import { helloImage, privateImage } from "../../src/local/images.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { createClient } from "../support/client.ts";
import { signFor } from "../support/hostile-tokens.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const { manifest, layer } = privateImage("acme");
const tag = "/v2/acme/private/manifests/1";
const blob = `/v2/acme/private/blobs/${layer.digest}`;
const scope = ["repository:acme/private:pull"];

describe("log line", async () => {
  const signingKey = await generateSigningKey(true);
  const stack = useStack({ signingKeys: { "pod-a": signingKey } });
  const client = () => createClient(stack.current.edge);
  async function lineOf(request: () => Promise<Response>) {
    await stack.current.edgeSettled();
    stack.current.clearSeen();
    await (await request()).arrayBuffer();
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen()).toHaveLength(1);
    return stack.current.edgeSeen()[0];
  }
  const from = { "CF-Connecting-IP": "198.51.100.7", "CF-Ray": "8f2a-FRA", "User-Agent": "docker/27.3.1" };
  const asker = { client: "198.51.100.7", ray: "8f2a-FRA", userAgent: "docker/27.3.1" };

  test("a pull says who pulled what: user, address, client and digest, of a tag as of a blob", async () => {
    const token = await client().token(scope);
    const ofTag = await lineOf(() => client().get(tag, token, { headers: from }));
    const ofBlob = await lineOf(() => client().get(blob, token, { headers: from }));
    const told = { sample: 1, repository: "acme/private", pod: "pod-a", subject: "demo", ...asker };
    expect(ofTag).toMatchObject({ ...told, status: 200, digest: manifest.digest });
    expect(ofBlob).toMatchObject({ ...told, outcome: "redirected", digest: layer.digest });
    // The log line itself needs no request to the Pod and no read of KV. The one request to the Pod is the pull of the tag.
    expect([ofTag?.podRequests, ofBlob?.kvReads]).toEqual([1, 0]);
  });

  test("a push of a tag has the manifest's digest, and its user", async () => {
    const token = await client().token(["repository:acme/private:pull,push"]);
    const headers = { "Content-Type": manifest.mediaType };
    const put = { method: "PUT", body: new Uint8Array(manifest.bytes), headers };
    const line = await lineOf(() => client().get("/v2/acme/private/manifests/again", token, put));
    expect(line).toMatchObject({ status: 201, digest: manifest.digest, subject: "demo" });
  });

  test("an anonymous pull and a challenge have no user", async () => {
    const token = await client().token(["repository:acme/hello:pull"], null);
    const path = `/v2/acme/hello/blobs/${helloImage("acme").layer.digest}`;
    for (const sent of [token, null]) {
      const line = await lineOf(() => client().get(path, sent, { headers: from }));
      expect(line).toMatchObject({ ...asker, digest: helloImage("acme").layer.digest });
      expect(line).not.toHaveProperty("subject");
    }
  });

  test("a refused or blocked pull says who tried it", async () => {
    const token = await client().token(scope, "reader");
    const elsewhere = await lineOf(() => client().get("/v2/acme/other/manifests/1", token));
    expect(elsewhere).toMatchObject({ status: 401, subject: "reader" });
    await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 9, blocks: { [layer.digest]: "leaked" } }));
    await stack.current.restartEdge();
    const blocked = await lineOf(() => client().get(blob, token));
    await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 10, blocks: {} }));
    await stack.current.restartEdge();
    expect(blocked).toMatchObject({ status: 403, outcome: "blocked", subject: "reader", digest: layer.digest });
  });

  test.each([
    ["with control characters", "eve\n\u001b[2J\u202eadmin", "eve\ufffd\ufffd[2J\ufffdadmin"],
    ["too long", "x".repeat(2_000), "x".repeat(255)],
    ["a number", 7, undefined],
    ["empty", "", undefined],
  ])("a token's subject that is %s does no harm", async (_, sub, shown) => {
    const jwt = await signFor({ ofA: signingKey, ofB: signingKey }, { sub });
    // At the second request, the edge remembers the token.
    for (let count = 0; count < 2; count += 1) {
      const line = await lineOf(() => client().get(blob, `pods.v1.pod-a/${jwt}`));
      expect([line?.status, line?.subject]).toEqual([307, shown]);
    }
  });

  test("a token that does not verify names no user", async () => {
    const other = await generateSigningKey();
    const jwt = await signFor({ ofA: signingKey, ofB: signingKey }, { sub: "admin" }, {}, other.privateKey);
    const line = await lineOf(() => client().get(blob, `pods.v1.pod-a/${jwt}`));
    expect(line?.status).toBe(401);
    expect(line).not.toHaveProperty("subject");
  });

  test("a token request that fails names the Pod whose token service fails, also if the scopes are in a form", async () => {
    const realm = `${stack.current.edge}/jwt/auth`;
    const push = "scope=repository:globex/private:pull,push";
    const form = { method: "POST", body: `${push}&grant_type=password&username=demo&password=demo` };
    await stack.current.setFault("pod-b", "token", { mode: "refuse" });
    const lines = [
      await lineOf(() => fetch(realm, form)),
      await lineOf(() => fetch(`${realm}?scope=repository:acme/hello:pull&${push}`)),
    ];
    await stack.current.setFault("pod-b", "token", { mode: "none" });
    for (const line of lines) expect(line).toMatchObject({ status: 503, outcome: "unavailable", pod: "pod-b" });
  });

  test("no token and no signed URL is in the lines of a login, a pull and a push", async () => {
    await stack.current.edgeSettled();
    stack.current.clearSeen();
    const token = await client().token(["repository:acme/private:pull,push"]);
    await client().get(tag, token);
    const location = (await client().get(blob, token)).headers.get("Location") ?? "";
    await client().get("/v2/acme/private/blobs/uploads/", token, { method: "POST" });
    await stack.current.edgeSettled();
    const lines = stack.current.edgeLines().join("\n");
    expect(stack.current.edgeSeen()).toHaveLength(4);
    const signature = new URL(location).searchParams.get("X-Amz-Signature") ?? "none";
    for (const secret of [signature, ...token.split(/[./]/).slice(-2), btoa("demo:demo")]) {
      expect(secret.length).toBeGreaterThan(8);
      expect(lines).not.toContain(secret);
    }
  });
});

describe("LOG_SAMPLE of 0", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), env: { LOG_SAMPLE: "0" } });

  test("ordinary requests have no line, and each fault has one that counts for itself", async () => {
    const client = createClient(stack.current.edge);
    const assign = (group: string, members: object) =>
      stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, pod: "pod-a", ...members }));
    await assign("still", { state: "read-only" });
    await assign("closed", { state: "active", clients: { allow: [{ countries: ["IS"] }] } });
    const token = await client.token([...scope, "repository:globex/app:pull"]);
    for (const sent of [token, null]) await client.get(tag, sent);
    // A refusal whose answer tells the client the whole reason has no log line.
    const pusher = await client.token(["repository:still/app:pull,push"]);
    expect((await client.get("/v2/still/app/manifests/1", pusher, { method: "PUT", body: "{}" })).status).toBe(403);
    const query = "service=registry-edge&scope=repository:closed/app:pull";
    expect((await fetch(`${stack.current.edge}/jwt/auth?${query}`)).status).toBe(403);
    for (const path of [blob, "/v2/", "/v2/acme/private/manifests/absent", "/v2/UPPER/tags/list", "/-/health"]) {
      await client.get(path, token);
    }
    // A stranger made up both the token and the upload.
    const madeUp = "/v2/acme/private/blobs/uploads/x?_pod=x";
    expect((await client.get(madeUp, "made.up.token")).status).toBe(404);
    await stack.current.edgeSettled();
    expect(stack.current.edgeLines()).toEqual([]);

    pod.answer((response) => void response.writeHead(500).end());
    expect((await client.get("/v2/globex/app/tags/list", token)).status).toBe(500);
    pod.answer((response) => {
      response.writeHead(200, { "Content-Length": "100" }).write("half");
      setTimeout(() => response.destroy(), 100);
    });
    const broken = await client.get("/v2/globex/app/manifests/1", token);
    await expect(broken.text()).rejects.toThrow();
    pod.answer((response) => void response.writeHead(307, { Location: "https://elsewhere.test/" }).end());
    expect((await client.get("/v2/globex/app/tags/list", token)).status).toBe(502);
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    expect((await client.get("/v2/acme/private/tags/list", token)).status).toBe(503);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().map(({ outcome, status, sample }) => [outcome, status, sample])).toEqual([
      ["forwarded", 500, 1],
      ["broken", 200, 1],
      ["failed", 502, 1],
      ["unavailable", 503, 1],
    ]);
  });

  test("a line is shorter than the 16,384 characters at which Logpush cuts, whatever the client and the Pod send", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    const location = `https://${"a.".repeat(8_000)}test/`;
    pod.answer((response) => void response.writeHead(307, { Location: location }).end());
    stack.current.clearSeen();
    const path = `/v2/globex/app/blobs/${layer.digest}?n=${"\\".repeat(10_000)}`;
    expect((await client.get(path, token, { headers: { "User-Agent": '"'.repeat(1_000) } })).status).toBe(502);
    await stack.current.edgeSettled();
    const [line = ""] = stack.current.edgeLines();
    expect(JSON.parse(line)).toMatchObject({ cause: expect.stringContaining("redirects a blob to"), pod: "pod-b" });
    expect(line.length).toBeLessThan(16_384);
  });
});

describe("LOG_SAMPLE of 0.2", () => {
  const stack = useStack({ env: { LOG_SAMPLE: "0.2" } });

  test("about every fifth ordinary request has a line, and the line says so", async () => {
    const client = createClient(stack.current.edge);
    for (let count = 0; count < 400; count += 20) {
      await Promise.all(Array.from({ length: 20 }, () => client.get(tag)));
    }
    await stack.current.edgeSettled();
    const seen = stack.current.edgeSeen();
    expect(new Set(seen.map(({ outcome, sample }) => `${outcome} ${sample}`))).toEqual(new Set(["challenged 0.2"]));
    // The expected number is 80. The bounds are five standard deviations away from it, so only one run in a million is outside of them by chance.
    expect(seen.length).toBeGreaterThan(40);
    expect(seen.length).toBeLessThan(120);
  });
});

describe("variable LOG_SAMPLE", () => {
  const logSample = (value?: unknown) =>
    parseConfig({
      SERVICE: "s",
      EDGE_KEYS: JSON.stringify(["A".repeat(43)]),
      ...(value !== undefined && { LOG_SAMPLE: value }),
    } as unknown as Env).logSample;

  test("a part may be written with quotes or without, and without the variable all requests have a line", () => {
    expect(["0", "0.05", 0.05, "1", 1, "1.0"].map(logSample)).toEqual([0, 0.05, 0.05, 1, 1, 1]);
    expect(logSample()).toBe(1);
  });

  test.each(["", "5%", "1.5", "2", "-0.1", " ", "0x1", "1e-3", "NaN", true, null, 5])(
    "a value that is not a part from 0 to 1 stops the deployment with the variable's name: %j",
    (value) => expect(() => logSample(value)).toThrow(/^variable LOG_SAMPLE is wrong/),
  );
});
