import fc from "fast-check";
import { CompactEncrypt } from "jose";
import { describe, expect, test } from "vitest";
import type { GatewayKeys } from "../../src/pods/gateway-keys.ts";
import { sealForGateway } from "../../src/pods/gateway-seal.ts";
import { sealGrant } from "../../src/pods/upload-grant.ts";
import { fuzz, fuzzTimeoutMs, lineOf, wordOf } from "../support/fuzz.ts";
import {
  type BegunUpload,
  beginUpload,
  gatewayConfig,
  gatewayKey,
  repositoryName,
  startTestGateway,
  type TestGateway,
} from "../support/gateway.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";

const runs = 300;
const otherDigest = `sha256:${"d".repeat(64)}`;
const dayMs = 24 * 3600 * 1000;

/** What a hostile client changes in a good request. The gateway must refuse each change, even if it is the only one. */
type Twisted = { readonly method?: string; readonly path?: string; readonly grant?: string; readonly query?: string };
type Twist = (begun: BegunUpload, gateway: TestGateway) => Twisted | Promise<Twisted>;

const sealing = ({ config }: TestGateway) => ({ keys: config.keys, now: new Date() });
const ofOtherGateway = (): GatewayKeys =>
  gatewayConfig({ POD: "pod-a", REGISTRY: "http://127.0.0.1:1", EDGE: "http://localhost", GATEWAY_KEY: gatewayKey() })
    .keys;

/** A JWE with this header, sealed by a key that the client made. */
async function forgedJwe(header: object, { grant }: BegunUpload): Promise<string> {
  const jwe = await new CompactEncrypt(new TextEncoder().encode(JSON.stringify({ ...grant, exp: 9e9 })))
    .setProtectedHeader({ alg: "dir", enc: "A256GCM", typ: "upload-grant" })
    .encrypt(new Uint8Array(32));
  return [Buffer.from(JSON.stringify(header)).toString("base64url"), ...jwe.split(".").slice(1)].join(".");
}

const constantTwists: readonly Twist[] = [
  async ({ grant }) => ({ grant: await sealGrant(grant, { keys: ofOtherGateway(), now: new Date() }) }),
  async ({ grant }, { config }) => ({
    grant: await sealGrant(grant, { keys: config.keys, now: new Date(Date.now() - dayMs - 1000) }),
  }),
  // These grants are sealed by the gateway's own key. The first one is for another use, and the others lack a field or have a wrong value.
  async ({ grant }, gateway) => ({
    grant: await sealForGateway(grant, 60, { kind: "mount-order", ...sealing(gateway) }),
  }),
  async (_, gateway) => ({ grant: await sealForGateway({}, 60, { kind: "upload-grant", ...sealing(gateway) }) }),
  async ({ grant }, gateway) => ({
    grant: await sealForGateway({ ...grant, token: 7 }, 60, { kind: "upload-grant", ...sealing(gateway) }),
  }),
  async ({ grant }, gateway) => ({
    grant: await sealForGateway({ ...grant, exp: "never" }, Number.NaN, { kind: "upload-grant", ...sealing(gateway) }),
  }),
  // These two grants are good for the repository `acme/elsewhere` and for the upload `another`. No path in `paths` has one of these names, so the
  // gateway must refuse both grants.
  async ({ grant }, gateway) => ({
    grant: await sealGrant({ ...grant, repository: repositoryName("acme/elsewhere") }, sealing(gateway)),
  }),
  async ({ grant }, gateway) => ({ grant: await sealGrant({ ...grant, upload: "another" }, sealing(gateway)) }),
  // This grant is for another Pod that has the same key by an operator's mistake.
  async ({ grant }, gateway) => ({ grant: await sealGrant({ ...grant, pod: "pod-b" }, sealing(gateway)) }),
  async (begun) => ({ grant: await forgedJwe({ alg: "dir", enc: "A256GCM", typ: "upload-grant" }, begun) }),
  async (begun) => ({ grant: await forgedJwe({ alg: "none" }, begun) }),
  async (begun) => ({
    grant: await forgedJwe({ alg: "PBES2-HS256+A128KW", enc: "A256GCM", p2c: 1e9, p2s: "AA" }, begun),
  }),
  async (begun) => ({ grant: await forgedJwe({ alg: "dir", enc: "A256GCM", zip: "DEF", typ: "upload-grant" }, begun) }),
  ({ sealed }) => ({ query: `&_grant=${sealed}` }),
];

const extraQueries = `
  &_state=x
  &_pod=x
  &from=acme/private
  &mount=${otherDigest}
  &digest=sha256:x
  &digest=${otherDigest}&digest=${otherDigest}
  &digest=../../manifests/1
  &%64igest=x
  &n=1
  &url=http://127.0.0.1/
  &registry=http://127.0.0.1/
  &Ns=x
  &%5Fgrant=x
`;
const badMethods = "POST OPTIONS TRACE PROPFIND MKCOL COPY REPORT patch LOCK";
const paths = (begun: BegunUpload) => `
  /v2/acme/other/blobs/uploads/${begun.upload}
  /v2/acme/hostile/blobs/uploads/00000000-0000-0000-0000-000000000000
  /v2/acme/hostile/blobs/uploads/
  /v2/acme/hostile/blobs/${otherDigest}
  /v2/acme/hostile/manifests/latest
  /v2/acme/hostile/blobs/uploads/../${otherDigest}
  /v2/acme/hostile/blobs/uploads/${begun.upload}/../../../manifests/1
  /v2/acme/hostile/blobs/uploads/%2e%2e/${otherDigest}
  /v2/acme/hostile/blobs/uploads/..%2f${begun.upload}
  /v2/acme/hostile/blobs/uploads/${begun.upload}%2f..
  /v2/acme/hostile/blobs/uploads/${begun.upload}/
  //v2/acme/hostile/blobs/uploads/${begun.upload}
  /v2//acme/hostile/blobs/uploads/${begun.upload}
  /v2/acme//hostile/blobs/uploads/${begun.upload}
  /v2/acme%2fhostile/blobs/uploads/${begun.upload}
  /v2/ACME/hostile/blobs/uploads/${begun.upload}
  /v2/acme/private/../hostile2/blobs/uploads/${begun.upload}
  /v2/acme/hostile/blobs/uploads/${begun.upload}%00
  /v2/acme/hostile/blobs/uploads/${begun.upload};x=1
  /v2/_catalog
  /v2/
  /jwt/auth
  http://169.254.169.254/latest/meta-data
  http://evil.example/v2/acme/other/blobs/uploads/${begun.upload}
  *
`;

const twist: fc.Arbitrary<Twist> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...constantTwists) },
  lineOf(extraQueries).map(
    (query): Twist =>
      () => ({ query }),
  ),
  wordOf(badMethods).map(
    (method): Twist =>
      () => ({ method }),
  ),
  fc.nat().map(
    (nth): Twist =>
      (begun) => {
        const lines = paths(begun).trim().split(/\n */);
        return { path: lines[nth % lines.length] ?? "/" };
      },
  ),
  fc.tuple(fc.nat(), wordOf("A a 0 9 _ - .")).map(
    ([at, character]): Twist =>
      ({ sealed }) => {
        const index = at % sealed.length;
        // Some bits of the last character of a base64url part do not count. If only these bits change, the grant is still good, so this twist drops
        // the grant.
        const changed = sealed.slice(0, index) + character + sealed.slice(index + 1);
        return { grant: decoded(changed) === decoded(sealed) ? "" : changed };
      },
  ),
  fc.nat().map(
    (at): Twist =>
      ({ sealed }) => ({ grant: sealed.slice(0, at % sealed.length) }),
  ),
  fc.string({ maxLength: 40 }).map(
    (text): Twist =>
      () => ({ grant: encodeURIComponent(text) }),
  ),
);

const decoded = (jwe: string): string =>
  jwe
    .split(".")
    .map((part) => Buffer.from(part, "base64url").toString("hex"))
    .join(".");

describe("gateway, hostile requests", () => {
  test(
    "a grant that is forged, cut, changed, expired or for something else is refused without a call to the registry",
    async () => {
      const gateway = await startTestGateway();
      const begun = await beginUpload(gateway, "acme/hostile");
      await fuzz(
        runs,
        fc.tuple(wordOf("PATCH PUT GET HEAD DELETE"), fc.array(twist, { minLength: 1, maxLength: 2 })),
        async ([usual, twists]) => {
          const merged: Twisted = Object.assign(
            {},
            ...(await Promise.all(twists.map(async (each) => each(begun, gateway)))),
          );
          const { method = usual, path = begun.path, grant = begun.sealed, query = "" } = merged;
          const head = `${method} ${path}?_grant=${grant}${query} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n`;
          const text = `${head}Content-Length: 4\r\n\r\nbody`;
          const answer = await exchangeRaw(gateway.url, { text, breaksOff: false, isHead: method === "HEAD" });
          expect(gateway.tap.seen()).toEqual([]);
          // Node itself refuses what is not HTTP, sometimes without an answer. We count that as 400.
          const status = answer?.status ?? 400;
          expect(status).toBeGreaterThanOrEqual(400);
          expect(status).toBeLessThan(500);
          expect(answer?.headers.some(([name]) => name.toLowerCase() === "www-authenticate") ?? false).toBe(false);
        },
      );
      // The upload itself is still there, with nothing in it.
      const own = await fetch(begun.location);
      expect([own.status, own.headers.get("Range")]).toEqual([204, "0-0"]);
    },
    fuzzTimeoutMs(runs),
  );

  test("a request with only one hostile twist is refused", async () => {
    const gateway = await startTestGateway();
    const begun = await beginUpload(gateway, "acme/hostile");
    for (const each of constantTwists) {
      const { grant = begun.sealed, query = "" } = await each(begun, gateway);
      const answer = await fetch(`${gateway.url}${begun.path}?_grant=${grant}${query}`, { method: "PATCH", body: "x" });
      expect([answer.status, await answer.json()]).toMatchObject([404, { errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }]);
    }
    expect(gateway.tap.seen()).toEqual([]);
  });

  test("a grant of an upload that has ended gets the registry's 404 and writes nothing", async () => {
    const gateway = await startTestGateway();
    const { location } = await beginUpload(gateway, "acme/replayed");
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    for (const method of ["PATCH", "PUT", "DELETE"]) {
      const again = await fetch(location, { method, body: method === "DELETE" ? null : "again" });
      expect([again.status, await again.json()]).toMatchObject([404, { errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }]);
    }
  });
});
