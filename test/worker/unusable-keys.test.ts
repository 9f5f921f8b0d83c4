import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../src/lib/bytes.ts";
import { createClient, layersOf } from "../support/client.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const x = base64url(new Uint8Array(32));
const ec = { kty: "EC", alg: "ES256", crv: "P-256", n: undefined, e: undefined };

/** Each row changes members of pod-b's RSA key. */
const unusable: readonly (readonly [what: string, members: object])[] = [
  ["without a modulus", { n: undefined }],
  ["whose modulus is not a text", { n: 7 }],
  ["whose modulus is empty", { n: "" }],
  ["without an exponent", { e: undefined }],
  ["whose exponent is 5", { e: "BQ" }],
  ["whose exponent has nine bytes", { e: base64url(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 1)) }],
  ["whose algorithm is for another kind of key", { alg: "ES256" }],
  ["whose point is not on its curve", { ...ec, x, y: x }],
  ["without a point", ec],
  ["of an unknown curve", { ...ec, kty: "OKP", alg: "EdDSA", crv: "Ed448", x }],
];

describe("a Pod's key", () => {
  const stack = useStack();
  const client = () => createClient(stack.current.edge);

  beforeAll(async () => {
    const record = (await readStackKv(stack.current, ["pod/pod-b"])).get("pod/pod-b") ?? "";
    const { keys, ...rest } = JSON.parse(record) as { readonly keys: readonly object[] };
    const bad = unusable.map(([kid, members]) => ({ ...keys[0], ...members, kid }));
    await stack.current.putKv("pod/pod-b", JSON.stringify({ ...rest, keys: bad }));
    await stack.current.restartEdge();
  });
  beforeEach(() => stack.current.clearSeen());

  const encoded = (value: object) => base64url(utf8(JSON.stringify(value)));
  const tokenOfB = (kid: string) =>
    `${encoded({ alg: "RS256", kid })}.${encoded({ exp: Math.floor(Date.now() / 1000) + 60 })}.c2ln`;

  async function expectNoneAtB(): Promise<void> {
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().filter(({ outcome }) => outcome === "failed")).toEqual([]);
    expect([stack.current.seen("pod-b", "registry"), stack.current.seen("pod-b", "storage")]).toEqual([[], []]);
  }

  test.each(unusable)("%s verifies nothing, and the token's part for another Pod is good as before", async (kid) => {
    const own = await client().token(["repository:acme/copy:pull,push", "registry:catalog:*"]);
    const bundle = `pods.v1.${/pod-a\/[^~]+/.exec(own)?.[0]}~pod-b/${tokenOfB(kid)}`;
    const [layer] = await layersOf(stack.current, "acme/hello");
    stack.current.clearSeen();
    const uploads = "/v2/acme/copy/blobs/uploads/";
    for (const path of [uploads, `${uploads}?mount=${layer?.digest}&from=globex/hello`]) {
      expect((await client().get(path, bundle, { method: "POST" })).status, path).toBe(202);
    }
    expect(stack.current.seen("pod-a", "registry")).toHaveLength(2);
    for (const path of ["/v2/globex/hello/manifests/1", "/v2/_catalog"]) {
      const answer = await client().get(path, bundle);
      expect(answer.status, path).toBe(401);
      expect(answer.headers.get("WWW-Authenticate"), path).toContain('error="invalid_token"');
    }
    await expectNoneAtB();
  });

  test.each(unusable)("%s makes a stranger's token invalid, and is no fault of the edge", async (kid) => {
    for (const token of [tokenOfB(kid), `pods.v1.pod-b/${tokenOfB(kid)}`]) {
      for (const path of ["/v2/", "/v2/acme/hello/manifests/1", "/v2/globex/hello/manifests/1", "/v2/_catalog"]) {
        expect((await client().get(path, token)).status, path).toBe(401);
      }
    }
    await expectNoneAtB();
  });
});
