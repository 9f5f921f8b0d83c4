import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createToyRegistry } from "../../src/local/toy/registry.ts";
import { presignedUrl } from "../../src/local/toy/sigv4.ts";
import { createToyStorage } from "../../src/local/toy/storage.ts";
import type { SigningKey } from "../../src/local/toy/token-service.ts";
import { createTokenService, generateSigningKey } from "../../src/local/toy/token-service.ts";

export const credentials = {
  bucket: "pod-a",
  region: "us-east-1",
  accessKeyId: "AKIDTOYPOD",
  secretAccessKey: "not-a-secret",
};

export async function serveForTest(requestListener: RequestListener): Promise<number> {
  const server = createServer(requestListener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "toy-pod-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export const sha256 = (body: string | Uint8Array): string =>
  `sha256:${createHash("sha256").update(body).digest("hex")}`;

// It takes a tenth of a second to make an RSA key, so all tests share one.
let sharedKey: Promise<SigningKey> | undefined;
export const signingKey = (): Promise<SigningKey> => {
  sharedKey ??= generateSigningKey();
  return sharedKey;
};

export type ToyPod = {
  readonly registry: string;
  readonly realm: string;
  readonly key: SigningKey;
  token(scope: string, user?: "demo" | "reader" | null): Promise<string>;
  /** Sends a request as `demo` with exactly this scope, and does not follow redirects. */
  ask(method: string, path: string, scope: string, init?: RequestInit): Promise<Response>;
};

export const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

export async function startToyPod(): Promise<ToyPod> {
  const dir = await temporaryDir();
  const key = await signingKey();
  const names = { issuer: "pod-a-issuer", audience: "pod-a-registry" };
  const tokenPort = await serveForTest(createTokenService({ ...names, key, prefixes: ["acme"] }));
  const storagePort = await serveForTest(createToyStorage({ ...credentials, dir: join(dir, "storage") }));
  const realm = `http://127.0.0.1:${tokenPort}/jwt/auth`;
  const registryPort = await serveForTest(
    createToyRegistry({
      realm,
      service: names.audience,
      issuer: names.issuer,
      publicJwks: [key.publicJwk],
      storage: { ...credentials, endpoint: `http://localhost:${storagePort}` },
      stagingDir: join(dir, "staging"),
    }),
  );
  const registry = `http://127.0.0.1:${registryPort}`;
  const token: ToyPod["token"] = async (scope, user = "demo") => {
    const query = new URLSearchParams({ service: names.audience, scope });
    const headers: HeadersInit = user === null ? {} : { Authorization: basic(user, user) };
    const answer = (await (await fetch(`${realm}?${query}`, { headers })).json()) as { token: string };
    return answer.token;
  };
  const ask: ToyPod["ask"] = async (method, path, scope, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${await token(scope)}`);
    const url = path.startsWith("http") ? path : `${registry}${path}`;
    return fetch(url, { ...init, method, headers, redirect: "manual" });
  };
  return { registry, realm, key, token, ask };
}

export async function pushBlob(pod: ToyPod, name: string, body: string): Promise<string> {
  const scope = `repository:${name}:pull,push`;
  const started = await pod.ask("POST", `/v2/${name}/blobs/uploads/`, scope);
  const digest = sha256(body);
  const finished = await pod.ask("PUT", `${started.headers.get("location")}&digest=${digest}`, scope, { body });
  if (finished.status !== 201) throw new Error(`push answered ${finished.status}`);
  return digest;
}

export type ErrorBody = { readonly errors: readonly { code: string; message: string; detail?: unknown }[] };
export const errorCode = async (response: Response): Promise<string | undefined> =>
  ((await response.json()) as ErrorBody).errors[0]?.code;

export const mediaTypes = {
  image: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

export const describeBlob = (mediaType: string, body: string) => ({
  mediaType,
  digest: sha256(body),
  size: body.length,
});

/** Pushes a config and a layer, and returns their manifest with `fields` added or replaced. */
export async function imageManifest(pod: ToyPod, name: string, fields: object = {}): Promise<string> {
  await pushBlob(pod, name, "config");
  await pushBlob(pod, name, "layer");
  const config = describeBlob(mediaTypes.config, "config");
  const layers = [describeBlob(mediaTypes.layer, "layer")];
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.image, config, layers, ...fields });
}

export const pushManifest = async (
  pod: ToyPod,
  name: string,
  reference: string,
  body: string,
  type: string = mediaTypes.image,
): Promise<Response> =>
  pod.ask("PUT", `/v2/${name}/manifests/${reference}`, `repository:${name}:pull,push`, {
    body,
    headers: { "Content-Type": type },
  });

export const storageNow = new Date("2026-03-01T12:00:00Z");

export async function startToyStorage() {
  const options = { ...credentials, dir: await temporaryDir(), now: () => storageNow };
  const endpoint = `http://localhost:${await serveForTest(createToyStorage(options))}`;
  const sign = (method: "GET" | "HEAD" | "PUT" | "DELETE", path: string, at = storageNow, expiresSeconds = 60) =>
    presignedUrl(credentials, { method, endpoint, path, expiresSeconds, now: at });
  const put = (path: string, body: string) => fetch(sign("PUT", path), { method: "PUT", body });
  return { endpoint, sign, put };
}
