import { createPublicKey, X509Certificate } from "node:crypto";
import { rootCertificates } from "node:tls";
import { exportJWK, type JWTHeaderParameters, SignJWT } from "jose";
import { base64url, utf8 } from "../../src/lib/bytes.ts";
import type { SigningKey } from "../../src/local/toy/token-service.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";

/** `sent` goes to the edge, and `jwt` to the Pod itself. `jwt` is null if only the bundle is forged, because Pods do not know bundles. */
export type HostileToken = {
  readonly what: string;
  readonly sent: string;
  readonly jwt: string | null;
  /** The `error` in the challenge of a registry's answer (RFC 6750 §3.1). */
  readonly error: "invalid_token" | "insufficient_scope";
};

type Header = Partial<JWTHeaderParameters>;
export type Forge = { readonly ofA: SigningKey; readonly ofB: SigningKey };

/** The token that Pod A's token service signs for a pull of acme/private, with `claims` and `header` changed. */
export function signFor(
  { ofA }: Forge,
  claims: Readonly<Record<string, unknown>> = {},
  header: Header = {},
  key: CryptoKey | Uint8Array = ofA.privateKey,
): Promise<string> {
  const seconds = Math.floor(Date.now() / 1000);
  const times = { iat: seconds, nbf: seconds - 5, exp: seconds + 300 };
  const access = [{ type: "repository", name: "acme/private", actions: ["pull"] }];
  return new SignJWT({ iss: "pod-a-issuer", aud: "pod-a-registry", ...times, access, ...claims })
    .setProtectedHeader({ alg: "RS256", typ: "JWT", kid: ofA.publicJwk.kid ?? "", ...header })
    .sign(key);
}

const part = (value: unknown): string => base64url(utf8(typeof value === "string" ? value : JSON.stringify(value)));

/** None of these tokens may give any right on acme/private of Pod A. */
export async function hostileTokens(forge: Forge): Promise<readonly HostileToken[]> {
  const all = [forClaims(forge), forAccess(forge), forKeys(forge), forForm(forge), forBundles(forge)];
  return (await Promise.all(all)).flat();
}

const ofPodA = (jwt: string): string => `pods.v1.pod-a/${jwt}`;
const invalid = (what: string, jwt: string): HostileToken => ({ what, sent: ofPodA(jwt), jwt, error: "invalid_token" });

async function forClaims(forge: Forge): Promise<readonly HostileToken[]> {
  const seconds = Math.floor(Date.now() / 1000);
  const claims: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    "another audience": { aud: "pod-b-registry" },
    "the edge's own service as audience": { aud: "registry-edge" },
    "no audience": { aud: undefined },
    "audiences without ours": { aud: ["pod-b-registry", "other"] },
    "an empty list of audiences": { aud: [] },
    "eleven audiences": { aud: [...Array(10).fill("other"), "pod-a-registry"] },
    "a number as audience": { aud: 7 },
    "another issuer": { iss: "pod-b-issuer" },
    "no issuer": { iss: undefined },
    "a list of issuers": { iss: ["pod-a-issuer"] },
    "no end": { exp: undefined },
    "an end in words": { exp: "tomorrow" },
    "an end 61 s ago": { exp: seconds - 61 },
    "an end before there were computers": { exp: -1 },
    "a beginning in 75 s": { nbf: seconds + 75 },
    "a beginning in words": { nbf: "now" },
  };
  return Promise.all(Object.entries(claims).map(async ([what, each]) => invalid(what, await signFor(forge, each))));
}

async function forAccess(forge: Forge): Promise<readonly HostileToken[]> {
  const entry = (changes: object) => [{ type: "repository", name: "acme/private", actions: ["pull"], ...changes }];
  const spoilt: Readonly<Record<string, unknown>> = {
    "access that is text": "repository:acme/private:pull",
    "access that is one entry": entry({})[0],
    "a number as name": entry({ name: 7 }),
    "a list as name": entry({ name: ["acme/private"] }),
    "actions that are text": entry({ actions: "pull" }),
    "a number among the actions": entry({ actions: ["pull", 7] }),
    "an entry that is text": ["acme/private"],
  };
  const lacking: Readonly<Record<string, unknown>> = {
    "no access": undefined,
    "null as access": null,
    "an empty access": [],
    "a pattern as name": entry({ name: "acme/*" }),
    "a star as name": entry({ name: "*" }),
    "pull only on the prefix": entry({ name: "acme" }),
    "a slash after the name": entry({ name: "acme/private/" }),
    "the name in upper case": entry({ name: "Acme/Private" }),
    "a longer name": entry({ name: "acme/private2" }),
    "another Pod's name": entry({ name: "globex/private" }),
    "another type": entry({ type: "registry" }),
    "a class next to the type": entry({ type: "repository(plugin)" }),
    "the action in upper case": entry({ actions: ["PULL"] }),
    "push without pull": entry({ actions: ["push"] }),
    "no actions": entry({ actions: [] }),
    "actions joined by a comma": entry({ actions: ["pull,push"] }),
  };
  const signed = (values: typeof spoilt, error: HostileToken["error"]) =>
    Object.entries(values).map(async ([what, access]) => ({
      ...invalid(what, await signFor(forge, { access })),
      error,
    }));
  return Promise.all([...signed(spoilt, "invalid_token"), ...signed(lacking, "insufficient_scope")]);
}

async function forKeys(forge: Forge): Promise<readonly HostileToken[]> {
  const { ofA, ofB } = forge;
  const own = await generateSigningKey(true);
  const jwk = await exportJWK(await publicKeyOf(own));
  const pem = createPublicKey({ key: ofA.publicJwk, format: "jwk" }).export({
    type: "spki",
    format: "pem",
  });
  const byOwnKey = async (what: string, header: Header) =>
    invalid(what, await signFor(forge, {}, header, own.privateKey));
  return [
    invalid("the public key as the secret of an HMAC", await signFor(forge, {}, { alg: "HS256" }, utf8(String(pem)))),
    invalid(
      "the public key's JSON as the secret of an HMAC",
      await signFor(forge, {}, { alg: "HS256" }, utf8(JSON.stringify(ofA.publicJwk))),
    ),
    invalid("a secret of zeros", await signFor(forge, {}, { alg: "HS256" }, new Uint8Array(32))),
    invalid("another Pod's key under this Pod's kid", await signFor(forge, {}, {}, ofB.privateKey)),
    invalid("another Pod's key", await signFor(forge, {}, { kid: ofB.publicJwk.kid ?? "" }, ofB.privateKey)),
    await byOwnKey("a key of its own under the Pod's kid", {}),
    await byOwnKey("a key of its own, by an unknown libtrust kid", { kid: own.publicJwk.kid ?? "" }),
    await byOwnKey("a key of its own, by a thumbprint", { kid: "k".repeat(43) }),
    await byOwnKey("a kid that would be a path", { kid: "../../pod/pod-a" }),
    await byOwnKey("its key in the header", { jwk }),
    await byOwnKey("its key in the header under its own kid", { jwk: { ...jwk, kid: ofA.publicJwk.kid ?? "" } }),
    await byOwnKey("the place of its key", { jku: "http://127.0.0.1:1/keys" }),
    await byOwnKey("a certificate chain", { x5c: [certificate()] }),
  ];
}

const publicKeyOf = async ({ publicJwk }: SigningKey): Promise<CryptoKey> =>
  crypto.subtle.importKey("jwk", publicJwk as JsonWebKey, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, true, [
    "verify",
  ]);

/** A registry parses the certificate in `x5c`, so we send a real certificate: one of Node's own roots. No Pod trusts it. */
function certificate(): string {
  const [pem = ""] = rootCertificates;
  return new X509Certificate(pem).raw.toString("base64");
}

async function forForm(forge: Forge): Promise<readonly HostileToken[]> {
  const good = await signFor(forge);
  const [header = "", payload = "", signature = ""] = good.split(".");
  const other = await signFor(forge, { jti: "another" });
  const { kid } = forge.ofA.publicJwk;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  const everything = { ...claims, access: [{ type: "repository", name: "acme/private", actions: ["*"] }] };
  const flipped = (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
  const forms: Readonly<Record<string, string>> = {
    "no algorithm": `${part({ alg: "none", kid })}.${payload}.${signature}`,
    "no algorithm and no signature": `${part({ alg: "none", kid })}.${payload}.`,
    "no algorithm, in capitals": `${part({ alg: "NONE", kid })}.${payload}.${signature}`,
    "claims changed after signing": `${header}.${part(everything)}.${signature}`,
    "another algorithm in the header": `${part({ alg: "RS512", kid })}.${payload}.${signature}`,
    "the signature of another token": `${header}.${payload}.${other.split(".")[2]}`,
    "a changed signature": `${header}.${payload}.${flipped}`,
    "half a signature": `${header}.${payload}.${signature.slice(0, 171)}`,
    "two parts": `${header}.${payload}`,
    "four parts": `${good}.${signature}`,
    "characters of plain base64": `${header}.${payload}.${signature.slice(0, -1)}+`,
    "a kid that is a number": `${part({ alg: "RS256", kid: 7 })}.${payload}.${signature}`,
    "a critical header": `${part({ alg: "RS256", kid, crit: ["x"], x: 1 })}.${payload}.${signature}`,
    "claims that are no JSON": `${header}.${part("{")}.${signature}`,
    "claims that are a list": `${header}.${part([])}.${signature}`,
    "a header that is no JSON": `${part("{")}.${payload}.${signature}`,
    "five parts, as if encrypted": `${header}..${payload}.${signature}.${signature}`,
    "64 KB": `${header}.${"e".repeat(64 * 1024)}.${signature}`,
  };
  return Object.entries(forms).map(([what, jwt]) => invalid(what, jwt));
}

async function forBundles(forge: Forge): Promise<readonly HostileToken[]> {
  const good = await signFor(forge);
  const forged = await signFor(forge, {}, {}, forge.ofB.privateKey);
  const ofB = await signFor(
    forge,
    { iss: "pod-b-issuer", aud: "pod-b-registry" },
    { kid: forge.ofB.publicJwk.kid ?? "" },
    forge.ofB.privateKey,
  );
  const bundle = (what: string, sent: string, error: HostileToken["error"] = "invalid_token"): HostileToken => ({
    what,
    sent,
    jwt: null,
    error,
  });
  return [
    bundle("a forged part next to a good one of another Pod", `pods.v1.pod-a/${forged}~pod-b/${ofB}`),
    bundle("another Pod's token that names this repository", `pods.v1.pod-b/${ofB}`, "insufficient_scope"),
    bundle("another Pod's token under this Pod's name", `pods.v1.pod-a/${ofB}`),
    bundle("this Pod's token under another Pod's name", `pods.v1.pod-b/${good}`),
    bundle("the same Pod twice", `pods.v1.pod-a/${forged}~pod-a/${good}`),
    bundle("nine parts", `pods.v1.pod-a/${good}${"~pod-b/a.b.c".repeat(8)}`),
    bundle("a Pod that there is not", `pods.v1.pod-z/${good}`),
    bundle("a Pod's name that is a path", `pods.v1.../pod-a/${good}`),
    bundle("another version", `pods.v2.pod-a/${good}`),
    bundle("an empty part", `pods.v1.pod-a/${good}~`),
    bundle("no part", "pods.v1."),
    bundle("another Pod's bare token", ofB),
    bundle("a forged bare token", forged),
    bundle("text", "opensesame"),
  ];
}
