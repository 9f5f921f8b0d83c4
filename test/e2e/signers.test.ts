/** Sends the edge's signed URLs to real servers, which must serve a correct URL and refuse a changed one. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { signingWindow } from "../../src/signers/window.ts";
import { objectKeys } from "../signers/object-keys.ts";
import { type Case, type SigningScheme, sign } from "../signers/sign.ts";
import { loadOracle } from "./oracles/sdk.ts";
import { startAzurite, startNginx, startS3 } from "./signing-servers.ts";
import { describeWith, needs } from "./tools.ts";

/** A file's name has at most 255 bytes on these disks, so keys with a longer name in them are left out. */
const keys = objectKeys.filter((key) => key.split("/").every((name) => Buffer.byteLength(name) < 256));
const otherKey = "other/object";
const files = [...keys, otherKey];
/** Keys as docker-registry 2.8 writes them on Azure (`legacyRoot`). The slash at the start is part of the key. */
const legacyFiles = ["/docker/registry/v2/legacy", "/root/docker/registry/v2/legacy"];
/** The content of each object is its own name, so that a test would notice a wrong object. */
const bytesOf = (key: string) => Buffer.from(key);

function currentWindow() {
  const window = signingWindow(new Date(), null);
  if (window === null) throw new Error("no credential, and yet an end");
  return window;
}
const hourAgo = { issuedAt: new Date(Date.now() - 5_400_000), expiresAt: new Date(Date.now() - 3_600_000) };

type Store = { readonly scheme: SigningScheme } & Pick<Case, "config" | "secret">;
type UrlOf = (key: string, more?: Partial<Case>) => Promise<string>;
const signerFor =
  (store: () => Store): UrlOf =>
  async (key, more = {}) => {
    const { scheme, config, secret } = store();
    return sign(scheme, { config, ...(secret === undefined ? {} : { secret }), key, window: currentWindow(), ...more });
  };
const statusOf = async (url: string, init: RequestInit = {}) => {
  const answer = await fetch(url, init);
  await answer.arrayBuffer();
  return answer.status;
};

async function expectServed(urlOf: UrlOf, under = ""): Promise<void> {
  for (const key of keys.map((name) => under + name)) {
    const url = await urlOf(key);
    const whole = await fetch(url);
    expect([whole.status, await whole.text()], key).toEqual([200, key]);
    const range = await fetch(url, { headers: { Range: "bytes=0-3" } });
    expect([range.status, await range.text()], key).toEqual([206, bytesOf(key).subarray(0, 4).toString()]);
    const head = await fetch(await urlOf(key, { method: "HEAD" }), { method: "HEAD" });
    expect([head.status, head.headers.get("Content-Length")], key).toEqual([200, String(bytesOf(key).length)]);
  }
}

type Places = { readonly expiry: RegExp; readonly signature: RegExp; readonly ended?: number; readonly under?: string };

async function expectRefused(urlOf: UrlOf, { expiry, signature, ended = 403, under = "" }: Places): Promise<void> {
  const [key = ""] = keys;
  const url = await urlOf(under + key);
  const other = new URL(await urlOf(under + otherKey));
  const changed = [
    `${other.origin}${other.pathname}${new URL(url).search}`,
    url.replace(expiry, (_, start: string, digit: string) => `${start}${(Number(digit) + 1) % 10}`),
    url.replace(signature, (_, start: string, char: string) => `${start}${char === "a" ? "b" : "a"}`),
    url.split("?")[0] ?? "",
    await urlOf(under + key, { window: hourAgo }),
  ];
  expect(new Set([url, ...changed]).size).toBe(6);
  expect(await Promise.all(changed.map((wrong) => statusOf(wrong)))).toEqual([403, 403, 403, 403, ended]);
}

describeWith(needs.versitygw, "versitygw", () => {
  for (const region of ["us-east-1", "auto"]) {
    let server: Awaited<ReturnType<typeof startS3>>;
    beforeAll(async () => {
      const { PutObjectCommand, S3Client } = loadOracle("@aws-sdk/client-s3");
      server = await startS3(region);
      const client = new S3Client({
        region,
        endpoint: server.origin,
        credentials: server.secret,
        forcePathStyle: true,
      });
      for (const Key of files) {
        await client.send(new PutObjectCommand({ Bucket: server.bucket, Key, Body: bytesOf(Key) }));
      }
    });
    afterAll(() => server.stop());
    const store = (): Store => {
      const { origin: endpoint, bucket, secret } = server;
      return { scheme: "s3", config: { endpoint, bucket, region }, secret };
    };
    const urlOf = signerFor(store);

    test(`it serves every key in region ${region} by GET, range and HEAD`, () => expectServed(urlOf));

    test(`it refuses each changed URL in region ${region}`, () =>
      expectRefused(urlOf, { expiry: /(X-Amz-Expires=\d*)(\d)/, signature: /(X-Amz-Signature=.{20})(.)/ }));

    test(`it refuses HEAD on a URL for GET and GET on one for HEAD, in region ${region}`, async () => {
      const [key = ""] = keys;
      const [get, head] = [await urlOf(key), await urlOf(key, { method: "HEAD" })];
      expect([await statusOf(get, { method: "HEAD" }), await statusOf(head)]).toEqual([403, 403]);
      expect([await statusOf(get), await statusOf(head, { method: "HEAD" })]).toEqual([200, 200]);
    });

    // A session token is not tested, because this server has no sessions (400 InvalidToken).
    test(`it refuses a changed attribution in region ${region}`, async () => {
      const url = await urlOf(otherKey, { attribution: [["repository", "acme/app"]] });
      const changed = url.replace("acme%2Fapp", "acme%2Fother");
      expect([await statusOf(url), await statusOf(changed), changed === url]).toEqual([200, 403, false]);
    });
  }
});

describeWith(needs.azurite, "Azurite", () => {
  let server: Awaited<ReturnType<typeof startAzurite>>;
  beforeAll(async () => {
    const { BlobServiceClient, StorageSharedKeyCredential } = loadOracle("@azure/storage-blob");
    server = await startAzurite();
    const { account, accountKey, origin } = server;
    const service = new BlobServiceClient(`${origin}/${account}`, new StorageSharedKeyCredential(account, accountKey));
    const container = service.getContainerClient("registry");
    await container.create();
    for (const key of [...files, ...legacyFiles]) {
      await container.getBlockBlobClient(key).upload(bytesOf(key), bytesOf(key).length);
    }
  });
  afterAll(() => server.stop());

  for (const kind of ["service", "user delegation"] as const) {
    const urlOf = signerFor(() => {
      const { origin: endpoint, account, accountKey, userDelegationKey } = server;
      const config = { endpoint, account, container: "registry", addressing: "path" };
      return { scheme: "azure", config, secret: kind === "service" ? { accountKey } : { userDelegationKey } };
    });

    test(`it serves every key by a ${kind} SAS by GET, range and HEAD`, () => expectServed(urlOf));

    test(`it serves what docker-registry 2.8 wrote below "//", by a ${kind} SAS`, async () => {
      for (const key of legacyFiles) {
        const answer = await fetch(await urlOf(key));
        expect([answer.status, await answer.text()]).toEqual([200, key]);
        const other = await urlOf(key.slice(1));
        expect((await fetch(other)).status, "below the other root").toBe(404);
      }
    });

    test(`it refuses each changed URL with a ${kind} SAS`, () =>
      expectRefused(urlOf, { expiry: /([?&]se=[^&]*)(\d)(?=Z)/, signature: /(sig=(?:%..|\w){8}(?:%..)*)(\w)/ }));

    test(`it serves a ${kind} SAS with attribution, which the signature does not cover`, async () => {
      const url = await urlOf(otherKey, { attribution: [["repository", "acme/app"]] });
      expect([await statusOf(url), url.includes("repository=acme")]).toEqual([200, true]);
    });
  }
});

/**
 * Lets nginx check URLs as Cloudflare's `is_timed_hmac_valid_v0` does, or as secure_link would do with an HMAC. This script shares no code with the
 * signers.
 */
const njs = `
const crypto = require('crypto');
const mac = (text, encoding) => crypto.createHmac('sha256', 'a shared secret').update(text).digest(encoding);
const now = () => Math.floor(Date.now() / 1000);
function cloudflare(r) {
  const uri = r.variables.request_uri;
  const at = uri.lastIndexOf('verify=') - 1;
  const token = uri.slice(at + 8);
  const time = token.slice(0, 10);
  if (at < 0 || !/^\\d{10}-/.test(token) || now() >= Number(time) + 900) return '0';
  return decodeURIComponent(token.slice(11)) === mac(uri.slice(0, at) + time, 'base64') ? '1' : '0';
}
function hmac(r) {
  const expires = r.variables.arg_expires || '';
  if (!/^\\d+$/.test(expires) || now() >= Number(expires)) return '0';
  return r.variables.arg_st === mac(r.variables.uri + expires, 'base64url') ? '1' : '0';
}
export default { cloudflare, hmac };`;

const locations = `
  location /md5/ {
    secure_link $arg_md5,$arg_expires;
    secure_link_md5 "$secure_link_expires$uri a shared secret";
    if ($secure_link = "") { return 403; }
    if ($secure_link = "0") { return 410; }
  }
  location /hmac/ { js_set $hmac verify.hmac; if ($hmac != "1") { return 403; } }
  location /cloudflare/ { js_set $waf verify.cloudflare; if ($waf != "1") { return 403; } }`;

describeWith(needs.nginx, "nginx", () => {
  let server: Awaited<ReturnType<typeof startNginx>>;
  const forms = {
    md5: { scheme: "nginx", config: {}, secret: { secret: "a shared secret" } },
    hmac: {
      scheme: "nginx",
      config: { algorithm: "hmac-sha256", signatureParameter: "st" },
      secret: { secret: "a shared secret" },
    },
    cloudflare: { scheme: "cloudflare", config: { ttlSeconds: 900 }, secret: { key: "a shared secret" } },
  } as const;
  type Form = keyof typeof forms;
  beforeAll(async () => {
    const all = Object.keys(forms).flatMap((form) => files.map((key) => `${form}/${key}`));
    server = await startNginx(locations, all, { verify: njs });
  });
  afterAll(() => server.stop());

  const places: Readonly<Record<Form, Places>> = {
    md5: { expiry: /(expires=\d*)(\d)/, signature: /(md5=.{8})(.)/, ended: 410 },
    hmac: { expiry: /(expires=\d*)(\d)/, signature: /(st=.{8})(.)/ },
    cloudflare: { expiry: /(verify=\d{9})(\d)/, signature: /(verify=\d{10}-(?:%..|\w){8}(?:%..)*)(\w)/ },
  };
  for (const form of ["md5", "hmac", "cloudflare"] as const) {
    const { scheme, config, secret } = forms[form];
    const urlOf = signerFor(() => ({ scheme, config: { ...config, baseUrl: server.origin }, secret }));
    const attributed: UrlOf = (key, more) => urlOf(key, { ...more, attribution: [["repository", "acme/app"]] });

    test(`it serves every key in ${form} form by GET, range and HEAD`, () => expectServed(attributed, `${form}/`));

    test(`it refuses each changed URL in ${form} form`, () =>
      expectRefused(urlOf, { ...places[form], under: `${form}/` }));
  }
});
