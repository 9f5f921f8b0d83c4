import { describe, expect, test } from "vitest";
import { errorCode, pushBlob, sha256, startToyPod, type ToyPod } from "../../support/toy-pod.ts";

const name = "acme/app";
const scope = `repository:${name}:pull,push,delete`;
const uploads = `/v2/${name}/blobs/uploads/`;

const blob = (pod: ToyPod, digest: string, repository = name, method = "GET") =>
  pod.ask(method, `/v2/${repository}/blobs/${digest}`, `repository:${repository}:pull,delete`);

describe("toy registry: blobs", () => {
  test("a blob belongs only to its repository, until it is mounted in another", async () => {
    const pod = await startToyPod();
    const digest = await pushBlob(pod, name, "layer");
    const elsewhere = await blob(pod, digest, "acme/other");
    expect([elsewhere.status, elsewhere.headers.get("location")]).toEqual([404, null]);
    expect(await errorCode(elsewhere)).toBe("BLOB_UNKNOWN");
    const mountScope = `repository:acme/other:pull,push repository:${name}:pull`;
    const mounted = await pod.ask("POST", `/v2/acme/other/blobs/uploads/?mount=${digest}&from=${name}`, mountScope);
    expect([mounted.status, mounted.headers.get("docker-content-digest")]).toEqual([201, digest]);
    expect(mounted.headers.get("location")).toBe(`${pod.registry}/v2/acme/other/blobs/${digest}`);
    expect((await blob(pod, digest, "acme/other")).status).toBe(307);
    expect((await blob(pod, digest, name, "DELETE")).status).toBe(202);
    expect((await blob(pod, digest, name, "DELETE")).status).toBe(404);
    expect((await blob(pod, digest)).status).toBe(404);
    expect((await blob(pod, digest, "acme/other")).status).toBe(307);
  });

  test.each([
    `mount=${sha256("absent")}&from=acme/base`,
    `mount=${sha256("layer")}`,
    "mount=x&from=acme/base",
    `mount=${sha256("layer")}&from=acme/nothing`,
  ])("a mount that is not possible becomes an upload (%s)", async (query) => {
    const pod = await startToyPod();
    await pushBlob(pod, "acme/base", "layer");
    const from = new URLSearchParams(query).get("from");
    const both = from === null ? scope : `${scope} repository:${from}:pull`;
    const response = await pod.ask("POST", `${uploads}?${query}`, both);
    expect([response.status, response.headers.has("location")]).toEqual([202, true]);
  });
});
