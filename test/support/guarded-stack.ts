import { randomBytes } from "node:crypto";
import { beforeAll } from "vitest";
import { generateSealingKeys, unseal } from "../../src/directory/seal.ts";
import { helloImage, privateImage } from "../../src/local/images.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { canary, type Materials } from "./hostile-parts.ts";
import { type Forge, signFor } from "./hostile-tokens.ts";
import { answerFormsToo, asTokenServices, startOddPod } from "./odd-pod.ts";
import { routableToken } from "./routable-token.ts";
import { placeholdersOf, useStack } from "./toy-stack.ts";

export const podIds = ["pod-a", "pod-b"] as const;
const prefixes = { "pod-a": "acme", "pod-b": "globex" } as const;

/** The same rule as in the topology, written a second time for the tests: `globex` belongs to Pod B, and everything else to Pod A. */
export const ownerOf = (name: string): LocalPodId => (/^globex(\/|$)/.test(name) ? "pod-b" : "pod-a");

/** The blobs that each repository may serve. `scratch` may serve all blobs of its Pod, because the tests' token may mount them there. */
export const ownDigests: ReadonlyMap<string, readonly string[]> = new Map(
  Object.values(prefixes).flatMap((prefix) => {
    const [hello, secret] = [helloImage(prefix), privateImage(prefix)].map((image) => [
      image.layer.digest,
      image.config.digest,
    ]);
    const all = { hello: hello ?? [], private: secret ?? [], scratch: [...(hello ?? []), ...(secret ?? [])] };
    return Object.entries(all).map(([name, digests]) => [`${prefix}/${name}`, digests] as const);
  }),
);

/** Starts a stack whose secrets the test knows. For each Pod, there is a valid token for three of its repositories and the catalog. */
export async function useGuardedStack(edit: (topology: string) => string = (topology) => topology) {
  const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
  const sealingKeys = await generateSealingKeys();
  const [edgeKey, probeToken] = [randomBytes(32).toString("base64url"), randomBytes(32).toString("hex")];
  const tokenServices = { "pod-a": await startOddPod(), "pod-b": await startOddPod() };
  // This password names a cell, as GitLab's routable tokens do. The cell `2k` belongs to Pod B.
  const password = routableToken("glpat-", "c:2k\no:1\nu:1z");
  const stack = useStack({
    sealingKeys,
    env: { EDGE_KEYS: JSON.stringify([edgeKey]), PROBE_TOKEN: probeToken },
    signingKeys: { "pod-a": forge.ofA, "pod-b": forge.ofB },
    // With `credentials: own`, the edge sends a password only to the default Pod, unless the password names another Pod's cell.
    topology: (topology) =>
      asTokenServices(
        tokenServices["pod-a"],
        tokenServices["pod-b"],
      )(edit(topology))
        .replace(/^credentials:.*$/m, "credentials: own")
        .replace("  pod-b:\n", '  pod-b:\n    cells: ["2k"]\n'),
  });
  const jwts = { "pod-a": await goodJwt(forge, "pod-a"), "pod-b": await goodJwt(forge, "pod-b") };
  const bundled = podIds.map((pod) => `${pod}/${jwts[pod]}`);
  const materials: Materials = {
    // Half of these entries are the same bundle. It has a good token for each Pod, so many requests have tokens of both Pods.
    tokens: [...Object.values(jwts), ...bundled.map(inBundle), ...Array<string>(4).fill(inBundle(bundled.join("~")))],
    repositories: [...ownDigests.keys(), "free/name"],
    password,
    blobs: [...ownDigests].flatMap(([name, digests]) => digests.map((digest) => [name, digest] as const)),
  };
  const secrets = [canary, password, edgeKey, probeToken, `${sealingKeys.privateJwk.d}`];
  beforeAll(async () => {
    for (const pod of podIds) {
      answerFormsToo(tokenServices[pod], stack.current.pods[pod].token.url);
      const sealedFor = { pod, field: "blobs.stores.0.credentials", scheme: "s3", target: pod };
      const placeholder = await placeholdersOf(stack.current, pod);
      const opened = await unseal(placeholder("STORAGE_CREDENTIALS"), sealedFor, [sealingKeys.privateJwk]);
      if (!opened.ok) throw new Error(opened.error);
      const { secretAccessKey = "" } = JSON.parse(opened.value) as { secretAccessKey?: string };
      const { d = "" } = await crypto.subtle.exportKey("jwk", keyOf(forge, pod).privateKey);
      secrets.push(secretAccessKey, d, jwts[pod].split(".")[2] ?? "");
    }
    if (secrets.some((secret) => secret.length < canary.length)) throw new Error("a secret is not known");
  });
  return { stack, tokenServices, jwts, materials, secrets };
}

const inBundle = (parts: string): string => `pods.v1.${parts}`;

const keyOf = ({ ofA, ofB }: Forge, pod: LocalPodId) => (pod === "pod-a" ? ofA : ofB);

function goodJwt(forge: Forge, pod: LocalPodId): Promise<string> {
  const { privateKey, publicJwk } = keyOf(forge, pod);
  const allowed = { hello: ["pull"], private: ["pull"], scratch: ["pull", "push", "delete"] };
  const repositories = Object.entries(allowed).map(([name, actions]) => ({
    type: "repository",
    name: `${prefixes[pod]}/${name}`,
    actions,
  }));
  const access = [...repositories, { type: "registry", name: "catalog", actions: ["*"] }];
  // The token lives longer than any run of the tests.
  const exp = Math.floor(Date.now() / 1000) + 24 * 3600;
  const claims = { iss: `${pod}-issuer`, aud: `${pod}-registry`, exp, access };
  return signFor(forge, claims, { kid: publicJwk.kid ?? "" }, privateKey);
}
