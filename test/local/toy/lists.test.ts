import { beforeEach, describe, expect, test } from "vitest";
import {
  describeBlob,
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
const { image, index, config: configType } = mediaTypes;

let pod: ToyPod;
beforeEach(async () => {
  pod = await startToyPod();
});

const list = async (path: string) => {
  const response = await pod.ask("GET", path, `${scope} registry:catalog:*`);
  return { status: response.status, link: response.headers.get("link"), body: await response.json() };
};

test("toy registry: all referrers or those of one artifact type are listed, even if their subject does not exist", async () => {
  const subject = { mediaType: image, digest: sha256("no such manifest"), size: 16 };
  const config = describeBlob(configType, "config");
  const sbom = await imageManifest(pod, name, { artifactType: "example/sbom", subject, annotations: { by: "test" } });
  const plain = await imageManifest(pod, name, { subject });
  for (const body of [sbom, plain]) {
    expect((await pushManifest(pod, name, sha256(body), body)).headers.get("oci-subject")).toBe(subject.digest);
  }
  const ask = async (query: string) => {
    const response = await pod.ask("GET", `/v2/${name}/referrers/${subject.digest}${query}`, scope);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, index]);
    const { manifests } = (await response.json()) as { manifests: unknown[] };
    return { filters: response.headers.get("oci-filters-applied"), manifests };
  };
  const entry = (body: string, artifactType: string) => ({
    mediaType: image,
    digest: sha256(body),
    size: body.length,
    artifactType,
  });
  const wantSbom = { ...entry(sbom, "example/sbom"), annotations: { by: "test" } };
  expect(await ask("")).toEqual({ filters: null, manifests: [wantSbom, entry(plain, config.mediaType)] });
  expect(await ask("?artifactType=example/sbom")).toEqual({ filters: "artifactType", manifests: [wantSbom] });
  await pod.ask("DELETE", `/v2/${name}/manifests/${sha256(sbom)}`, scope);
  expect(await ask("")).toEqual({ filters: null, manifests: [entry(plain, config.mediaType)] });
  const none = await pod.ask("GET", `/v2/acme/none/referrers/${subject.digest}`, "repository:acme/none:pull");
  expect(await none.json()).toEqual({ schemaVersion: 2, mediaType: index, manifests: [] });
});

describe("toy registry: lists", () => {
  test("tags come in order and in pages", async () => {
    expect((await list(`/v2/${name}/tags/list`)).status).toBe(404);
    const body = await imageManifest(pod, name);
    expect((await list(`/v2/${name}/tags/list`)).status).toBe(404);
    for (const tag of ["b", "a", "C", "d"]) await pushManifest(pod, name, tag, body);
    expect(await list(`/v2/${name}/tags/list`)).toEqual({
      status: 200,
      link: null,
      body: { name, tags: ["C", "a", "b", "d"] },
    });
    const first = await list(`/v2/${name}/tags/list?n=2`);
    expect(first).toEqual({
      status: 200,
      link: `</v2/${name}/tags/list?last=a&n=2>; rel="next"`,
      body: { name, tags: ["C", "a"] },
    });
    expect(await list(`/v2/${name}/tags/list?n=2&last=a`)).toEqual({
      status: 200,
      link: null,
      body: { name, tags: ["b", "d"] },
    });
    expect((await list(`/v2/${name}/tags/list?n=0`)).body).toEqual({ name, tags: [] });
    expect((await list(`/v2/${name}/tags/list?last=absent`)).body).toEqual({ name, tags: ["b", "d"] });
    expect((await list(`/v2/${name}/tags/list?n=-1`)).body).toMatchObject({
      errors: [{ code: "PAGINATION_NUMBER_INVALID" }],
    });
  });

  test("the catalog is ordered by components and comes in pages", async () => {
    for (const repository of ["acme/b", "acme-x/a", "acme/a"]) await pushBlob(pod, repository, "x");
    expect((await list("/v2/_catalog")).body).toEqual({ repositories: ["acme/a", "acme/b", "acme-x/a"] });
    const first = await list("/v2/_catalog?n=2");
    expect([first.body, first.link]).toEqual([
      { repositories: ["acme/a", "acme/b"] },
      '</v2/_catalog?last=acme%2Fb&n=2>; rel="next"',
    ]);
    expect((await list("/v2/_catalog?n=2&last=acme%2Fb")).body).toEqual({ repositories: ["acme-x/a"] });
    expect((await list("/v2/_catalog?n=1001")).status).toBe(400);
  });
});
