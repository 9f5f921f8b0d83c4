import { beforeEach, describe, expect, test } from "vitest";
import { errorCode, pushBlob, sha256, startToyPod, type ToyPod } from "../../support/toy-pod.ts";

const name = "acme/app";
const scope = `repository:${name}:pull,push,delete`;

let pod: ToyPod;
beforeEach(async () => {
  pod = await startToyPod();
});

describe("toy registry: paths", () => {
  test.each([
    ["/v2/Acme/app/tags/list", 400, "NAME_INVALID"],
    ["/v2/acme//app/tags/list", 400, "NAME_INVALID"],
    ["/v2//tags/list", 400, "NAME_INVALID"],
    [`/v2/${"a".repeat(256)}/tags/list`, 400, "NAME_INVALID"],
    ["/v2/%zz/tags/list", 400, "NAME_INVALID"],
    ["/v2/acme/app/manifests/.bad", 400, "TAG_INVALID"],
    ["/v2/acme/app/manifests/sha256:1", 400, "DIGEST_INVALID"],
    ["/v2/acme/app/blobs/md5:00", 400, "DIGEST_INVALID"],
    ["/v2/acme/app/blobs/tag", 400, "DIGEST_INVALID"],
  ])("%s is answered %i %s", async (path, status, code) => {
    const response = await pod.ask("GET", path, scope);
    expect([response.status, await errorCode(response)]).toEqual([status, code]);
  });

  test.each(["/", "/v3/", "/v2/acme/app", "/v2/acme/app/tags", "/v2/acme/app/manifests/"])(
    "%s is answered 404",
    async (path) => {
      expect((await pod.ask("GET", path, scope)).status).toBe(404);
    },
  );

  test.each([
    ["//v2/", "/v2/"],
    ["/v2/_catalog/?n=1", "/v2/_catalog?n=1"],
    ["/v2/acme/app/tags/list/", "/v2/acme/app/tags/list"],
    ["//v2/acme/app/manifests/1/", "/v2/acme/app/manifests/1"],
    ["/v2/acme/app/blobs/uploads", "/v2/acme/app/blobs/uploads/"],
  ])("%s is answered 301 to %s, as by distribution", async (path, location) => {
    const { status, headers } = await pod.ask("GET", `${pod.registry}${path}`, scope);
    expect([status, headers.get("location")]).toEqual([301, location]);
  });

  test("a name may contain words of the API, and a 405 says which methods are allowed", async () => {
    for (const odd of [
      "a/manifests/b",
      "a/blobs/uploads",
      "tags/list",
      "a".repeat(255),
      Array(20).fill("a").join("/"),
    ]) {
      await pushBlob(pod, odd, "x");
      const found = await pod.ask("HEAD", `/v2/${odd}/blobs/${sha256("x")}`, `repository:${odd}:pull`);
      expect([odd, found.status]).toEqual([odd, 307]);
    }
    const refused = await pod.ask("POST", `/v2/${name}/manifests/1`, scope);
    expect([refused.status, refused.headers.get("allow"), await errorCode(refused)]).toEqual([
      405,
      "GET, HEAD, PUT, DELETE",
      "UNSUPPORTED",
    ]);
    expect((await pod.ask("GET", "/v2", scope)).headers.get("location")).toBe("/v2/");
  });
});
