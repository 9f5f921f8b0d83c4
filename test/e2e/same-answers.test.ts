import { afterAll, beforeAll, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import type { ClientInit } from "../support/client.ts";
import { digestOf } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.registryPods, "requests to a docker-registry Pod, directly and through the edge", () =>
  scenario("registry"),
);
describeWith(needs.distributionPods, "requests to a distribution v3 Pod, directly and through the edge", () =>
  scenario("distribution-v3"),
);

/**
 * One answer to compare. What may differ by docs/differences.md is left out: locations, `_pod` and `_pod_bytes`, realm and service, `no-transform`,
 * `nosniff`.
 */
type Seen = { readonly step: string; readonly status: number; readonly headers: object; readonly body: unknown };

const compared = [
  ...["Content-Type", "Content-Length", "ETag", "Link", "Location", "Range", "WWW-Authenticate"],
  ...["Docker-Content-Digest", "Docker-Distribution-Api-Version", "Docker-Upload-UUID", "OCI-Subject"],
  ...["OCI-Filters-Applied", "OCI-Chunk-Min-Length"],
];
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const asManifest = { "Content-Type": manifestType };
const acceptManifest = { Accept: manifestType };
const [layer, config] = ["abcdef", "{}"];

function manifestOf(parts: { readonly layerDigest?: string; readonly subject?: string }): string {
  const { layerDigest = digestOf(layer), subject } = parts;
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf(config), size: config.length },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: layerDigest, size: layer.length }],
    ...(subject === undefined
      ? {}
      : { subject: { mediaType: manifestType, digest: digestOf(subject), size: subject.length } }),
  });
}

function scenario(pods: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(pods);
  });
  afterAll(() => stage?.close());

  it("each request gets the same answer both ways", async () => {
    const { registry, token } = stage.stack.pods["pod-a"];
    const straight = await play(registry.url, `${token.url}/jwt/auth?service=pod-a-registry`);
    const edge = await play(stage.stack.edge, `${stage.stack.edge}/jwt/auth?service=registry-edge`);
    expect(straight.filter(({ status }) => status < 300).length).toBeGreaterThan(25);
    expect(edge).toEqual(straight);
  });

  it("a path with slashes too many is redirected both ways", async () => {
    const straight = await playSlashes(stage.stack.pods["pod-a"].registry.url);
    expect(await playSlashes(stage.stack.edge)).toEqual(straight);
  });
}

/** Bodies are not compared, because Go puts HTML into a redirect, and the edge puts JSON. */
async function playSlashes(origin: string): Promise<readonly unknown[]> {
  const paths = [
    ...["//v2/", "/v2//", "/v2", "/v2/_catalog/?n=1", "/v2/acme/app/tags/list/", "//v2/acme/app/tags/list"],
    ...["/v2/acme/app/manifests/1/?x=%2f", `/v2/acme/app/blobs/${digestOf("x")}/`, "/v2/acme/app/blobs/uploads//"],
    ...["/v2/acme/app/", "/v2/x/"],
  ];
  const answers: unknown[] = [];
  for (const path of paths) {
    for (const method of ["GET", "HEAD", "POST"]) {
      const { status, headers } = await fetch(origin + path, { method, redirect: "manual" });
      answers.push([method, path, status, headers.get("Location")]);
    }
  }
  return answers;
}

/** The repositories' names have the same length directly and through the edge, so that lengths of answers can be compared. */
async function play(origin: string, tokenUrl: string): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  const way = tokenUrl.includes("registry-edge") ? "edge" : "pods";
  const [app, other] = [`acme/app-${way}`, `acme/other-${way}`];
  const scopes = [app, other].map((name) => `&scope=repository:${name}:pull,push,delete`).join("");
  const asked = await fetch(tokenUrl + scopes, { headers: { Authorization: `Basic ${btoa("demo:demo")}` } });
  const { token } = (await asked.json()) as { token: string };

  /** Returns the answer's `Location`, so that a later step can go there. */
  async function step(method: string, path: string, init: ClientInit = {}): Promise<string> {
    const url = new URL(/^(\/|http:)/.test(path) ? path : `/v2/${app}/${path}`, origin);
    const headers = { Authorization: `Bearer ${token}`, ...init.headers };
    const answer = await fetch(url, { method, redirect: "manual", ...init, headers });
    seen.push({ step: `${method} ${plain(url.href)}`, ...(await comparable(answer)) });
    return answer.headers.get("Location") ?? "";
  }

  const plain = (text: string): string =>
    text
      .replaceAll(origin, "")
      .replaceAll(way, "WAY")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID")
      .replace(/_state=[^&]*/, "_state=STATE")
      .replace(/&_pod(_bytes)?=[^&]*/g, "")
      .replace(/realm="[^"]*",service="[^"]*"/, "REALM")
      // The registry keeps the actions in a map of Go, which has no fixed order. So we write them in one order.
      .replace(/:push,pull"/, ':pull,push"');

  async function comparable(answer: Response): Promise<Omit<Seen, "step">> {
    const text = plain(await answer.text());
    const isJson = /\bjson\b/.test(answer.headers.get("Content-Type") ?? "") && text !== "";
    const headers = compared.flatMap((name) => {
      const value = answer.headers.get(name);
      // The edge's own 401 differs from the Pod's only in the charset and a line break at the end.
      const own = answer.status === 401 && name.startsWith("Content-");
      return value === null || own ? [] : [[name, plain(value)]];
    });
    return { status: answer.status, headers: Object.fromEntries(headers), body: isJson ? JSON.parse(text) : text };
  }

  await playRefusals(step);
  await playUploads(step, app, other);
  await playManifests(step);
  await playDeletes(step);
  return seen;
}

type Step = (method: string, path: string, init?: ClientInit) => Promise<string>;

async function playRefusals(step: Step): Promise<void> {
  const stranger = { headers: { Authorization: "" } };
  await step("GET", "/v2/", stranger);
  await step("GET", "manifests/1", stranger);
  await step("PUT", "manifests/1", { ...stranger, body: "{}" });
  await step("POST", "blobs/uploads/", stranger);
  await step("GET", "manifests/1", { headers: { Authorization: "Basic ZGVtbzpkZW1v" } });
  await step("GET", "manifests/1", { headers: { Authorization: "Bearer junk" } });
  await step("GET", "/v2/acme/elsewhere/manifests/1");
  await step("GET", "manifests/1");
  await step("GET", "tags/list");
  await step("GET", `blobs/${digestOf("absent")}`);
  await step("HEAD", `blobs/${digestOf("absent")}`);
  await step("GET", "blobs/uploads/11111111-1111-1111-1111-111111111111");
  await step("HEAD", "blobs/uploads/11111111-1111-1111-1111-111111111111");
}

async function playUploads(step: Step, app: string, other: string): Promise<void> {
  // docker-registry 2.8 accepts the bytes of an upload only with this type.
  const bytes = (body: string, headers = {}) => ({
    body,
    headers: { "Content-Type": "application/octet-stream", ...headers },
  });
  const chunk = (range: string, body: string) => bytes(body, { "Content-Range": range });
  const start = () => step("POST", "blobs/uploads/");
  let place = await start();
  await step("GET", place);
  await step("HEAD", place);
  place = await step("PATCH", place, chunk("0-2", layer.slice(0, 3)));
  await step("GET", place);
  await step("HEAD", place);
  place = await step("PATCH", place, chunk("3-5", layer.slice(3)));
  await step("PUT", `${place}&digest=${digestOf(layer)}`);
  await step("PUT", `${place}&digest=${digestOf(layer)}`);
  await step("PUT", `${await start()}&digest=${digestOf("other bytes")}`, bytes(layer));
  await step("PUT", await start(), bytes(layer));
  place = await start();
  await step("DELETE", place);
  await step("DELETE", place);
  await step("PUT", `${await start()}&digest=${digestOf(config)}`, bytes(config));
  await step("POST", `blobs/uploads/?digest=${digestOf("at once")}`, bytes("at once"));
  await step("POST", `/v2/${other}/blobs/uploads/?mount=${digestOf(layer)}&from=${app}`);
  await step("POST", `/v2/${other}/blobs/uploads/?mount=${digestOf("absent")}&from=${app}`);
}

async function playManifests(step: Step): Promise<void> {
  const manifest = manifestOf({});
  const put = (reference: string, body: string, headers = {}) =>
    step("PUT", `manifests/${reference}`, { body, headers: { ...asManifest, ...headers } });
  await put("1", manifest);
  await put("2", manifest);
  await put(digestOf(manifest), manifest);
  await put(digestOf("other bytes"), manifest);
  await put("3", "junk");
  await put("3", manifest, { "Content-Type": "" });
  await put("3", manifestOf({ layerDigest: digestOf("absent") }));
  const referrer = manifestOf({ subject: manifest });
  await put(digestOf(referrer), referrer);
  await step("GET", `referrers/${digestOf(manifest)}`);
  for (const reference of ["1", digestOf(manifest)]) {
    await step("GET", `manifests/${reference}`, { headers: acceptManifest });
    await step("HEAD", `manifests/${reference}`, { headers: acceptManifest });
  }
  await step("GET", "manifests/1", { headers: { Accept: "text/plain" } });
  await step("GET", "manifests/1", { headers: { ...acceptManifest, "If-None-Match": `"${digestOf(manifest)}"` } });
  await step("GET", "manifests/1", { headers: { ...acceptManifest, Range: "bytes=0-3" } });
  for (const query of ["", "?n=1", "?n=1&last=1", "?n=0", "?n=-1", "?n=x"]) await step("GET", `tags/list${query}`);
}

async function playDeletes(step: Step): Promise<void> {
  const digest = digestOf(manifestOf({}));
  await step("DELETE", "manifests/2");
  for (const path of [`manifests/${digest}`, `blobs/${digestOf(layer)}`]) {
    await step("DELETE", path);
    await step("DELETE", path);
    await step("GET", path, { headers: acceptManifest });
  }
  await step("GET", "tags/list");
}
