import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient, pushBlob } from "../support/client.ts";
import { manifestText, pushImage, putManifest } from "../support/image.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, realPods } from "./tools.ts";

const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar", size: 1 };
const foreign = { mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar", size: 1 };

/**
 * Manifests that name a victim's blob, and whether the registry accepts each. Go's JSON parser takes `Layers` and `layers` for the same key, and uses
 * the last one.
 */
const manifests = (own: string, secret: string): readonly (readonly [boolean, string])[] => {
  const manifest = JSON.parse(manifestText([own])) as object;
  const [theirs] = [{ ...layer, digest: secret }];
  const [mine] = [{ ...layer, digest: own }];
  const named = { ...manifest, layers: [theirs] };
  return [
    [false, JSON.stringify(named)],
    [true, JSON.stringify({ ...named, Layers: [mine] })],
    [true, JSON.stringify(named).replace(/}$/, `,"layers":${JSON.stringify([mine])}}`)],
    [true, JSON.stringify({ ...manifest, layers: [{ ...theirs, Digest: own }] })],
    [
      false,
      JSON.stringify({ ...manifest, layers: [{ ...foreign, digest: secret, urls: ["https://elsewhere.test/"] }] }),
    ],
    [
      false,
      JSON.stringify({ ...manifest, layers: [{ ...foreign, digest: secret, URLS: ["https://elsewhere.test/"] }] }),
    ],
  ];
};

describe.each(realPods)("proof attack on %s Pods", (kind, tools) => {
  describeWith(tools, "by a manifest that names a victim's blob", () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage(kind);
    });
    afterAll(() => stage?.close());

    it("the manifest is refused, or proves nothing however it is written", async () => {
      const { stack } = stage;
      const { blobs } = await pushImage(stack, "acme/victim", 1);
      const [secret = ""] = blobs;
      const own = await pushBlob(stack, "acme/attacker", "an own config");
      const client = createClient(stack.edge);
      const token = await client.token(["repository:acme/attacker:pull"]);
      for (const [isTaken, text] of manifests(own, secret)) {
        expect((await putManifest(stack, "acme/attacker", "1", text)).status === 201, text).toBe(isTaken);
        if (isTaken) expect((await client.get("/v2/acme/attacker/manifests/1", token)).status).toBe(200);
        const answer = await client.get(`/v2/acme/attacker/blobs/${secret}`, token);
        expect([answer.status, answer.headers.get("Location")], text).toEqual([404, null]);
      }
      const victim = await client.token(["repository:acme/victim:pull"]);
      expect((await client.get(`/v2/acme/victim/blobs/${secret}`, victim)).status).toBe(307);
    });
  });
});
