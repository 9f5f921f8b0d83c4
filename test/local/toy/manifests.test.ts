import { beforeEach, describe, expect, test } from "vitest";
import {
  describeBlob,
  type ErrorBody,
  errorCode,
  imageManifest,
  mediaTypes,
  pushBlob,
  pushManifest,
  sha256,
  startToyPod,
  type ToyPod,
} from "../../support/toy-pod.ts";

const name = "acme/app";
const scope = `repository:${name}:pull,push,delete`;
const { image, index, layer: layerType } = mediaTypes;

let pod: ToyPod;
beforeEach(async () => {
  pod = await startToyPod();
});

const get = (reference: string, headers: HeadersInit = { Accept: `${image}, ${index}` }, method = "GET") =>
  pod.ask(method, `/v2/${name}/manifests/${reference}`, scope, { headers });
const remove = (reference: string) => pod.ask("DELETE", `/v2/${name}/manifests/${reference}`, scope);

describe("toy registry: manifests", () => {
  test("a manifest is served by tag and by digest, to GET and HEAD", async () => {
    const body = await imageManifest(pod, name);
    const digest = sha256(body);
    const pushed = await pushManifest(pod, name, "1", body);
    expect([pushed.status, pushed.headers.get("docker-content-digest")]).toEqual([201, digest]);
    expect(pushed.headers.get("location")).toBe(`${pod.registry}/v2/${name}/manifests/${digest}`);
    expect(pushed.headers.has("oci-subject")).toBe(false);
    for (const reference of ["1", digest, encodeURIComponent(digest)]) {
      const got = await get(reference);
      expect([got.status, got.headers.get("content-type"), await got.text()]).toEqual([200, image, body]);
      const head = await get(reference, { Accept: image }, "HEAD");
      expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([
        200,
        String(body.length),
        "",
      ]);
      expect(head.headers.get("docker-content-digest")).toBe(digest);
    }
    expect((await get("1", { Accept: image, "If-None-Match": `"${digest}"` })).status).toBe(304);
  });

  test("an OCI manifest is served only to a client that accepts its type by name, on any Accept line", async () => {
    await pushManifest(pod, name, "1", await imageManifest(pod, name));
    expect(await errorCode(await get("1", { Accept: "*/*" }))).toBe("MANIFEST_UNKNOWN");
    expect(
      (
        await get("1", [
          ["Accept", "text/html"],
          ["Accept", `${image};q=0.5`],
        ])
      ).status,
    ).toBe(200);
  });

  test("an index of manifests that exist is taken, and so is a manifest under sha512", async () => {
    const body = await imageManifest(pod, name);
    const digest = sha256(body);
    const whole = JSON.stringify({
      schemaVersion: 2,
      mediaType: index,
      manifests: [{ mediaType: image, digest, size: body.length }],
    });
    expect(await errorCode(await pushManifest(pod, name, "all", whole, index))).toBe("MANIFEST_BLOB_UNKNOWN");
    expect((await pushManifest(pod, name, digest, body)).status).toBe(201);
    expect((await pushManifest(pod, name, "all", whole, index)).status).toBe(201);
    expect((await get("all")).headers.get("content-type")).toBe(index);
    const sha512 = Buffer.from(await crypto.subtle.digest("SHA-512", Buffer.from(body))).toString("hex");
    expect((await pushManifest(pod, name, `sha512:${sha512}`, body)).headers.get("docker-content-digest")).toBe(
      `sha512:${sha512}`,
    );
  });

  test("a refusal names each blob that does not belong to the repository", async () => {
    await pushBlob(pod, "acme/other", "foreign");
    const layers = [
      describeBlob(layerType, "foreign"),
      describeBlob(layerType, "layer"),
      describeBlob(layerType, "absent"),
    ];
    const refused = await pushManifest(pod, name, "1", await imageManifest(pod, name, { layers }));
    expect(refused.status).toBe(400);
    const { errors } = (await refused.json()) as ErrorBody;
    expect(errors.map(({ code, detail }) => [code, detail])).toEqual([
      ["MANIFEST_BLOB_UNKNOWN", sha256("foreign")],
      ["MANIFEST_BLOB_UNKNOWN", sha256("absent")],
    ]);
    const elsewhere = {
      ...describeBlob("application/vnd.oci.image.layer.nondistributable.v1.tar", "far"),
      urls: ["https://a.example/far"],
    };
    expect((await pushManifest(pod, name, "1", await imageManifest(pod, name, { layers: [elsewhere] }))).status).toBe(
      201,
    );
  });

  test.each<[string, string, string]>([
    ["a body that is not JSON", "{", image],
    ["a body that is not an object", "[]", image],
    ["another schema", `{"schemaVersion":1,"mediaType":"${image}"}`, image],
    ["another mediaType", `{"schemaVersion":2,"mediaType":"${index}"}`, image],
    ["an image with manifests", `{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`, image],
    ["an index with layers", `{"schemaVersion":2,"manifests":[],"layers":[]}`, index],
    ["an image without config", `{"schemaVersion":2,"layers":[]}`, image],
    ["a malformed digest", `{"schemaVersion":2,"config":{"digest":"sha256:1"}}`, image],
    ["another Content-Type", "{}", "application/json"],
  ])("%s is refused as MANIFEST_INVALID", async (_case, body, type) => {
    const refused = await pushManifest(pod, name, "1", body, type);
    expect([refused.status, await errorCode(refused)]).toEqual([400, "MANIFEST_INVALID"]);
    // A refused manifest creates no repository.
    const catalog = await pod.ask("GET", "/v2/_catalog", "registry:catalog:*");
    expect(await catalog.json()).toEqual({ repositories: [] });
  });

  test("a digest that is not the body's is refused as DIGEST_INVALID", async () => {
    expect(await errorCode(await pushManifest(pod, name, sha256("other"), await imageManifest(pod, name)))).toBe(
      "DIGEST_INVALID",
    );
  });

  test.each([
    [4 * 1024 * 1024, 201],
    [4 * 1024 * 1024 + 1, 413],
    [12 * 1024 * 1024, 413],
  ])("a manifest of %i bytes gets %i", async (size, status) => {
    const body = await imageManifest(pod, name);
    expect((await pushManifest(pod, name, "1", body.padEnd(size, " "))).status).toBe(status);
  });

  test("DELETE by tag keeps the digest, and DELETE by digest removes its tags", async () => {
    const body = await imageManifest(pod, name);
    for (const tag of ["1", "2", "3"]) await pushManifest(pod, name, tag, body);
    expect((await remove("1")).status).toBe(202);
    expect(await errorCode(await remove("1"))).toBe("MANIFEST_UNKNOWN");
    expect((await get(sha256(body))).status).toBe(200);
    expect((await remove(sha256(body))).status).toBe(202);
    expect((await remove(sha256(body))).status).toBe(404);
    expect((await get("2")).status).toBe(404);
    expect(await (await pod.ask("GET", `/v2/${name}/tags/list`, scope)).json()).toEqual({ name, tags: [] });
  });
});
