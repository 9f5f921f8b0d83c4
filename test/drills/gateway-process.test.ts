import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { bundleGateway } from "../../src/local/pods/gateway.ts";
import { sealGrant } from "../../src/pods/upload-grant.ts";
import { selfSignedCertificate } from "../support/certificate.ts";
import { beginUpload, edgeOrigin, gatewayConfig, gatewayKey, startTestGateway } from "../support/gateway.ts";
import { serveForTest, sha256, startToyPod, type ToyPod } from "../support/toy-pod.ts";

const dir = mkdtempSync(join(tmpdir(), "gateway-"));
const program = join(dir, "gateway.mjs");
beforeAll(() => bundleGateway(program));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Program = { readonly child: ChildProcess; readonly output: () => string; readonly exit: Promise<number | null> };

/** Runs only the bundled file, outside of the repository, as an operator does. */
function run(env: Readonly<Record<string, string>>): Program {
  const child = spawn(process.execPath, [program], { env, cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exit = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  onTestFinished(() => void child.kill("SIGKILL"));
  return { child, output: () => output, exit };
}

async function portOf({ output }: Program): Promise<number> {
  await expect.poll(output, { timeout: 15_000 }).toContain('"event":"listening"');
  return Number(/"port":(\d+)/.exec(output())?.[1]);
}

const envOf = (pod: ToyPod, key: string) => ({
  POD: "pod-a",
  REGISTRY: pod.registry,
  EDGE: edgeOrigin,
  GATEWAY_KEY: key,
  LISTEN: "127.0.0.1:0",
});

/** `target` is the upload's path, with a grant that is sealed with `key`. So a gateway with this key accepts `target`. */
async function begin(pod: ToyPod, name: string, key: string) {
  const gateway = await startTestGateway({ pod, env: { GATEWAY_KEY: key } });
  const { sealed, path, grant } = await beginUpload(gateway, name);
  return { target: `${path}?_grant=${sealed}`, path, grant };
}

function slowRequest(url: string, method: string) {
  const request = http.request(url, { method });
  const status = new Promise<number | undefined>((resolve, reject) => {
    request.once("response", (answer) => resolve(answer.resume().statusCode)).once("error", reject);
  });
  return { request, status };
}

function tlsStatus(url: string): Promise<{ readonly status: number | undefined; readonly fingerprint: string }> {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { rejectUnauthorized: false, agent: false }, (answer) => {
      const { fingerprint256 } = (answer.socket as TLSSocket).getPeerCertificate();
      resolve({ status: answer.resume().statusCode, fingerprint: fingerprint256 });
    });
    request.once("error", reject).end();
  });
}

function* megabytesOfZeros(count: number): Generator<Buffer> {
  for (let sent = 0; sent < count; sent += 1) yield Buffer.alloc(1_000_000);
}

const layer = "a layer in two pieces";
const digest = sha256(layer);

describe("gateway as a program", () => {
  test("without its variables it ends with 2 and says which one is missing", async () => {
    const { exit, output } = run({
      POD: "pod-a",
      REGISTRY: "http://127.0.0.1:5000",
      EDGE: edgeOrigin,
      GATEWAY_KEY: "c2VjcmV0",
    });
    expect([await exit, output()]).toEqual([2, expect.stringMatching(/^gateway: GATEWAY_KEY .*want one or two keys/)]);
    expect(output()).not.toContain("c2VjcmV0");
  });

  test("SIGTERM lets a running upload end, takes no new connection, and ends with 0", async () => {
    const [pod, key] = [await startToyPod(), gatewayKey()];
    const gateway = run(envOf(pod, key));
    const url = `http://127.0.0.1:${await portOf(gateway)}`;
    const { target } = await begin(pod, "acme/ending", key);
    const { request, status } = slowRequest(`${url}${target}&digest=${digest}`, "PUT");
    request.write(layer.slice(0, 5));
    await expect.poll(async () => (await fetch(`${url}/-/health`)).status).toBe(200);
    gateway.child.kill("SIGTERM");
    await expect.poll(gateway.output).toContain('"event":"ending"');
    await expect
      .poll(() =>
        fetch(`${url}/-/health`).then(
          () => "answered",
          () => "refused",
        ),
      )
      .toBe("refused");
    request.end(layer.slice(5));
    expect(await status).toBe(201);
    expect(await gateway.exit).toBe(0);
    expect(gateway.output()).toContain('"event":"ended"');
    expect(gateway.output()).not.toMatch(/_grant|eyJ/);
  });

  test("two replicas serve one upload, because neither keeps anything", async () => {
    const [pod, key] = [await startToyPod(), gatewayKey()];
    const replicas = [run(envOf(pod, key)), run(envOf(pod, key))];
    const ports = await Promise.all(replicas.map(portOf));
    const { target } = await begin(pod, "acme/replicas", key);
    const answers: unknown[] = [];
    for (const [index, method] of ["GET", "GET", "PATCH", "GET"].entries()) {
      const url = `http://127.0.0.1:${ports[index % 2]}${target}`;
      const { status, headers } = await fetch(url, { method, body: method === "PATCH" ? layer : null });
      answers.push([method, status, headers.get("Range")]);
    }
    const whole = `0-${layer.length - 1}`;
    expect(answers).toEqual([
      ["GET", 204, "0-0"],
      ["GET", 204, "0-0"],
      ["PATCH", 202, whole],
      ["GET", 204, whole],
    ]);
  });

  test("a killed gateway leaves no half blob, and a new upload completes at the one that is started next", async () => {
    const [pod, key] = [await startToyPod(), gatewayKey()];
    const first = run(envOf(pod, key));
    const { target } = await begin(pod, "acme/killed", key);
    const { request, status } = slowRequest(`http://127.0.0.1:${await portOf(first)}${target}&digest=${digest}`, "PUT");
    request.setHeader("Transfer-Encoding", "chunked");
    request.write(layer.slice(0, 5));
    await expect.poll(async () => (await fetch(`http://127.0.0.1:${await portOf(first)}${target}`)).status).toBe(204);
    const broken = status.then(String, () => "broken");
    first.child.kill("SIGKILL");
    expect(await broken).toBe("broken");
    const scope = "repository:acme/killed:pull";
    expect((await pod.ask("HEAD", `/v2/acme/killed/blobs/${digest}`, scope)).status).toBe(404);
    // After an upload breaks off, clients begin a new upload, which here goes to the second gateway.
    const second = run(envOf(pod, key));
    const again = await begin(pod, "acme/killed", key);
    const url = `http://127.0.0.1:${await portOf(second)}${again.target}&digest=${digest}`;
    expect((await fetch(url, { method: "PUT", body: layer })).status).toBe(201);
  });

  test("its peak memory rises by less than 40 MB from a body of 20 MB to one of 500 MB", async () => {
    const [pod, key] = [await startToyPod(), gatewayKey()];
    const { target } = await begin(pod, "acme/large", key);
    const registryPort = await serveForTest((request, response) => {
      request.resume().once("end", () => response.writeHead(202).end());
    });
    const program = run({ ...envOf(pod, key), REGISTRY: `http://127.0.0.1:${registryPort}` });
    const url = `http://127.0.0.1:${await portOf(program)}${target}`;
    const process = `/proc/${program.child.pid}`;
    const peakDuring = async (megabytes: number): Promise<number> => {
      // Writing 5 resets the peak resident set size to the current size (proc(5), `clear_refs`).
      await writeFile(`${process}/clear_refs`, "5");
      const body = Readable.toWeb(Readable.from(megabytesOfZeros(megabytes))) as ReadableStream;
      const answer = await fetch(url, { method: "PATCH", body, duplex: "half" } as RequestInit);
      expect(answer.status).toBe(202);
      const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`${process}/status`, "utf8"))?.[1];
      return Number(kilobytes) / 1_000;
    };
    await peakDuring(20);
    const small = await peakDuring(20);
    expect((await peakDuring(500)) - small).toBeLessThan(40);
  });

  test("while a key is replaced, grants of both keys are good, and afterwards those of the old one are not", async () => {
    const [pod, oldKey, newKey] = [await startToyPod(), gatewayKey(), gatewayKey()];
    const { path, grant } = await begin(pod, "acme/keys", oldKey);
    const sealedWith = (key: string) =>
      sealGrant(grant, { keys: gatewayConfig(envOf(pod, key)).keys, now: new Date() });
    const statusesAt = async (keys: string) => {
      const port = await portOf(run(envOf(pod, keys)));
      const grants = [await sealedWith(oldKey), await sealedWith(newKey)];
      return Promise.all(
        grants.map(async (each) => (await fetch(`http://127.0.0.1:${port}${path}?_grant=${each}`)).status),
      );
    };
    expect(await statusesAt(`${newKey},${oldKey}`)).toEqual([204, 204]);
    expect(await statusesAt(newKey)).toEqual([404, 204]);
  });

  test("with TLS_CERT and TLS_KEY it speaks TLS itself, and SIGHUP makes it read a renewed certificate", async () => {
    const [pod, key] = [await startToyPod(), gatewayKey()];
    const [certificate, privateKey] = [join(dir, "c.pem"), join(dir, "k.pem")];
    const renew = () => {
      const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
      writeFileSync(certificate, selfSignedCertificate(pair));
      writeFileSync(privateKey, pair.privateKey.export({ type: "pkcs8", format: "pem" }));
    };
    renew();
    const gateway = run({ ...envOf(pod, key), TLS_CERT: certificate, TLS_KEY: privateKey });
    const { target } = await begin(pod, "acme/tls", key);
    const url = `https://127.0.0.1:${await portOf(gateway)}${target}`;
    const first = await tlsStatus(url);
    expect(first.status).toBe(204);
    writeFileSync(certificate, "not a certificate");
    gateway.child.kill("SIGHUP");
    await expect.poll(gateway.output).toContain('"event":"certificate not renewed"');
    expect(await tlsStatus(url)).toEqual(first);
    renew();
    gateway.child.kill("SIGHUP");
    await expect.poll(gateway.output).toContain('"event":"certificate renewed"');
    const renewed = await tlsStatus(url);
    expect([renewed.status, renewed.fingerprint === first.fingerprint]).toEqual([204, false]);
  });
});
