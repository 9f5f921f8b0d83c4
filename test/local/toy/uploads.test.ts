import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { errorCode, pushBlob, sha256, startToyPod, type ToyPod } from "../../support/toy-pod.ts";

const name = "acme/app";
const scope = `repository:${name}:pull,push,delete`;
const uploads = `/v2/${name}/blobs/uploads/`;

const start = async (pod: ToyPod): Promise<string> => {
  const response = await pod.ask("POST", uploads, scope);
  return response.headers.get("location") ?? "";
};

const blob = (pod: ToyPod, digest: string, repository = name, method = "GET") =>
  pod.ask(method, `/v2/${repository}/blobs/${digest}`, `repository:${repository}:pull,delete`);

describe("toy registry: an upload", () => {
  test("by POST, two PATCHes and PUT gives a blob that GET and HEAD are redirected to", async () => {
    const pod = await startToyPod();
    const opened = await pod.ask("POST", uploads, scope);
    expect([opened.status, opened.headers.get("range"), opened.headers.get("content-length")]).toEqual([
      202,
      "0-0",
      "0",
    ]);
    const location = opened.headers.get("location") ?? "";
    const id = opened.headers.get("docker-upload-uuid");
    expect(location).toMatch(new RegExp(`^${pod.registry}${uploads}${id}\\?_state=[A-Za-z0-9_%-]+$`));

    const stream = { body: new Blob(["hello "]).stream(), duplex: "half" } as RequestInit;
    const first = await pod.ask("PATCH", location, scope, stream);
    expect([first.status, first.headers.get("range"), first.headers.get("docker-upload-uuid")]).toEqual([
      202,
      "0-5",
      id,
    ]);
    const second = await pod.ask("PATCH", first.headers.get("location") ?? "", scope, { body: "wor" });
    expect(second.headers.get("range")).toBe("0-8");
    const digest = sha256("hello world");
    const finished = await pod.ask("PUT", `${second.headers.get("location")}&digest=${digest}`, scope, { body: "ld" });
    expect([finished.status, finished.headers.get("docker-content-digest")]).toEqual([201, digest]);
    expect(finished.headers.get("location")).toBe(`${pod.registry}/v2/${name}/blobs/${digest}`);

    const redirect = await blob(pod, digest);
    expect([redirect.status, redirect.headers.get("content-type")]).toEqual([307, "application/octet-stream"]);
    const target = redirect.headers.get("location") ?? "";
    expect(target).toMatch(
      /^http:\/\/localhost:\d+\/pod-a\/docker\/registry\/v2\/blobs\/sha256\/b9\/b94d[0-9a-f]{60}\/data\?/,
    );
    expect(await (await fetch(target)).text()).toBe("hello world");
    expect((await fetch(target, { method: "HEAD" })).status).toBe(403);
    const head = await blob(pod, digest, name, "HEAD");
    const followed = await fetch(head.headers.get("location") ?? "", { method: "HEAD" });
    expect([head.status, followed.status, followed.headers.get("content-length")]).toEqual([307, 200, "11"]);
  });

  test("may be one PUT or one POST", async () => {
    const pod = await startToyPod();
    expect(await pushBlob(pod, name, "one")).toBe(sha256("one"));
    const posted = await pod.ask("POST", `${uploads}?digest=${sha256("two")}`, scope, { body: "two" });
    expect(posted.status).toBe(201);
    expect((await blob(pod, sha256("two"))).status).toBe(307);
  });

  test("may be empty, and one with a sha512 digest is kept under its sha256", async () => {
    const pod = await startToyPod();
    await pushBlob(pod, name, "");
    const target = (await blob(pod, sha256(""))).headers.get("location") ?? "";
    expect(await (await fetch(target)).text()).toBe("");
    const sha512 = `sha512:${Buffer.from(await crypto.subtle.digest("SHA-512", Buffer.from("x"))).toString("hex")}`;
    const posted = await pod.ask("POST", `${uploads}?digest=${sha512}`, scope, { body: "x" });
    expect([posted.status, posted.headers.get("docker-content-digest")]).toEqual([201, sha512]);
    const started = await pod.ask("POST", uploads, scope);
    const last = new URL(started.headers.get("location") ?? "", "http://toy.test");
    last.searchParams.set("digest", sha512);
    const put = await pod.ask("PUT", last.pathname + last.search, scope, { body: "x" });
    expect([put.status, put.headers.get("docker-content-digest")]).toEqual([201, sha256("x")]);
    for (const digest of [sha512, sha256("x")]) {
      const redirect = await blob(pod, digest);
      expect(await (await fetch(redirect.headers.get("location") ?? "")).text()).toBe("x");
    }
    expect((await blob(pod, sha512, name, "DELETE")).status).toBe(202);
    expect([(await blob(pod, sha512)).status, (await blob(pod, sha256("x"))).status]).toEqual([404, 307]);
  });

  test.each([
    [{}, (pod: ToyPod) => pod.registry],
    [{ "X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.example, inner" }, () => "https://registry.example"],
    [{ "X-Forwarded-Proto": "https" }, (pod: ToyPod) => pod.registry.replace("http:", "https:")],
    [{ Forwarded: 'for=1.2.3.4;host="a.example:8";proto=https', "X-Forwarded-Host": "b" }, () => "https://a.example:8"],
  ])("has its Location on the origin that %j names", async (headers, origin) => {
    const pod = await startToyPod();
    const response = await pod.ask("POST", uploads, scope, { headers: headers as HeadersInit });
    expect(new URL(response.headers.get("location") ?? "").origin).toBe(origin(pod));
  });

  test("says how much has arrived, with or without its state, and can be cancelled", async () => {
    const pod = await startToyPod();
    const patched = await pod.ask("PATCH", await start(pod), scope, { body: "hello" });
    const location = patched.headers.get("location") ?? "";
    for (const url of [location, location.replace(/\?.*/, "")]) {
      const status = await pod.ask("GET", url, scope);
      expect([status.status, status.headers.get("range"), status.headers.get("location")]).toEqual([
        204,
        "0-4",
        location,
      ]);
    }
    expect((await pod.ask("DELETE", location, scope)).status).toBe(204);
    expect(await errorCode(await pod.ask("GET", location, scope))).toBe("BLOB_UPLOAD_UNKNOWN");
  });
});

describe("toy registry: an upload refuses", () => {
  test.each([
    ["a chunk that leaves a gap", "5-9", "5 9", 416, "RANGE_INVALID"],
    ["a chunk that has arrived before", "0-4", "hello", 416, "RANGE_INVALID"],
    ["a chunk that ends before it starts", "3-1", "he", 416, "RANGE_INVALID"],
    ["a Content-Range with a unit", "bytes 3-4", "lo", 416, "RANGE_INVALID"],
    ["a chunk of another length", "3-9", "lo", 400, "SIZE_INVALID"],
  ])("%s", async (_case, range, body, status, code) => {
    const pod = await startToyPod();
    const first = await pod.ask("PATCH", await start(pod), scope, { body: "hel", headers: { "Content-Range": "0-2" } });
    const location = first.headers.get("location") ?? "";
    const headers = { "Content-Range": range };
    const refused = await pod.ask("PATCH", location, scope, { body, headers });
    expect([refused.status, await errorCode(refused)]).toEqual([status, code]);
    if (status === 416)
      expect([refused.headers.get("range"), refused.headers.get("location")]).toEqual(["0-2", location]);
    const next = await pod.ask("PATCH", location, scope, { body: "lo", headers: { "Content-Range": "3-4" } });
    expect([next.status, next.headers.get("range")]).toEqual([202, "0-4"]);
  });

  test("a stale push location", async () => {
    const pod = await startToyPod();
    const location = await start(pod);
    await pod.ask("PATCH", location, scope, { body: "hello" });
    expect((await pod.ask("PATCH", location, scope, { body: "hello" })).status).toBe(416);
  });

  test("a state that is missing, changed, or made for another upload or repository", async () => {
    const pod = await startToyPod();
    const location = new URL(await start(pod));
    const state = location.searchParams.get("_state") ?? "";
    const bytes = Buffer.from(state, "base64url");
    bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
    const other = new URL(await start(pod)).searchParams.get("_state") ?? "";
    for (const wrong of ["", "x", bytes.toString("base64url"), other]) {
      location.searchParams.set("_state", wrong);
      expect(await errorCode(await pod.ask("PATCH", location.href, scope, { body: "x" }))).toBe("BLOB_UPLOAD_INVALID");
    }
    location.searchParams.set("_state", state);
    const elsewhere = location.href.replace(name, "acme/other");
    const refused = await pod.ask("PATCH", elsewhere, "repository:acme/other:pull,push", { body: "x" });
    expect([refused.status, await errorCode(refused)]).toEqual([404, "BLOB_UPLOAD_UNKNOWN"]);
  });

  test("a digest that is missing or malformed, and can still be finished", async () => {
    const pod = await startToyPod();
    const location = (await pod.ask("PATCH", await start(pod), scope, { body: "hello" })).headers.get("location") ?? "";
    for (const query of ["", "&digest=", "&digest=sha256:1", "&digest=hello"]) {
      expect(await errorCode(await pod.ask("PUT", `${location}${query}`, scope))).toBe("DIGEST_INVALID");
    }
    expect((await pod.ask("PUT", `${location}&digest=${sha256("hello")}`, scope)).status).toBe(201);
  });

  test.each([sha256("other"), `md5:${"0".repeat(32)}`])("content that is not %s, and then ends", async (digest) => {
    const pod = await startToyPod();
    const location = await start(pod);
    const refused = await pod.ask("PUT", `${location}&digest=${digest}`, scope, { body: "hello" });
    expect([refused.status, await errorCode(refused)]).toEqual([400, "DIGEST_INVALID"]);
    expect((await pod.ask("GET", location, scope)).status).toBe(404);
  });
});

test("toy registry: an upload keeps what has arrived of a body that breaks off", async () => {
  const pod = await startToyPod();
  const location = new URL(await start(pod));
  const headers = { Authorization: `Bearer ${await pod.token(scope)}`, "Content-Length": "10" };
  const sent = request(location, { method: "PATCH", headers });
  sent.on("error", () => {});
  sent.write("hello");
  const arrived = async () => (await pod.ask("GET", location.href, scope)).headers.get("range");
  const waitFor = async (ready: () => Promise<boolean>) => {
    for (const until = Date.now() + 5000; !(await ready()) && Date.now() < until; ) await sleep(20);
  };
  await waitFor(async () => sent.socket?.writableLength === 0);
  await sleep(100);
  sent.destroy();
  await waitFor(async () => (await arrived()) === "0-4");
  expect(await arrived()).toBe("0-4");
  const resumed = (await pod.ask("GET", location.href, scope)).headers.get("location");
  const finished = await pod.ask("PUT", `${resumed}&digest=${sha256("hello world")}`, scope, { body: " world" });
  expect(finished.status).toBe(201);
});
