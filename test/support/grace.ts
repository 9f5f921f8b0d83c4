import { expect } from "vitest";
import { parseJsonObject } from "../../src/lib/json.ts";
import type { Stack } from "../../src/local/stack.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient, sha256 } from "./client.ts";
import { pushImage } from "./image.ts";
import { keepManifest, pullerOf, type Seen, seenOf } from "./pull.ts";

type User = "demo" | "reader" | null;
/** A name without a colon is its own password: `demo` means `demo:demo`. If the login is null, the request has no credentials. */
export type Login = User | `${string}:${string}`;
type Image = Awaited<ReturnType<typeof pushImage>>;
const warning = '110 - "response is stale"';

export const setFault = (stack: Stack, fault: Fault, pod: "pod-a" | "pod-b" = "pod-a") =>
  stack.setFault(pod, "token", fault);

export async function askToken(stack: Stack, scopes: readonly string[], user: Login = "demo") {
  const query = new URLSearchParams([["service", "registry-edge"], ...scopes.map((scope) => ["scope", scope])]);
  const credentials = user?.includes(":") ? user : `${user}:${user}`;
  const headers: HeadersInit = user === null ? {} : { Authorization: `Basic ${btoa(credentials)}` };
  const answer = await fetch(`${stack.edge}/jwt/auth?${query}`, { headers });
  const seen = await seenOf(answer);
  const json = parseJsonObject(seen.text) ?? {};
  return { ...seen, token: String(json["token"]), expiresIn: Number(json["expires_in"]) };
}

export const pullOf = (repository: string) => `repository:${repository}:pull`;
export const isStale = ({ headers }: Seen): boolean => headers["warning"] === warning;

/**
 * Pushes an image, and pulls it until the edge's cache has the manifest, the proofs of its blobs, and the right of each of these users to pull it.
 */
export async function setUp(stack: Stack, repository: string, users: readonly User[] = ["demo"]): Promise<Image> {
  const image = await pushImage(stack, repository, 2);
  await keepManifest(stack, repository, image.digest);
  const ask = pullerOf(stack, repository, (await askToken(stack, [pullOf(repository)])).token);
  for (const blob of image.blobs) expect((await ask(`blobs/${blob}`)).status).toBe(307);
  for (const user of users) await grant(stack, repository, user);
  return image;
}

/** Makes the edge remember that the user may pull. The edge stores this grant only after it has answered, so we wait until it is stored. */
export async function grant(stack: Stack, repository: string, user: User): Promise<void> {
  for (const _ of [1, 2]) expect((await askToken(stack, [pullOf(repository)], user)).status).toBe(200);
  await stack.edgeSettled();
}

/** Sends each request that docker sends for a pull. The blobs in storage must match their digests. */
export async function pull(stack: Stack, repository: string, { digest, blobs, text }: Image, user: User) {
  expect((await fetch(`${stack.edge}/v2/`)).status).toBe(401);
  const { status, token, expiresIn } = await askToken(stack, [pullOf(repository)], user);
  if (status !== 200) return { status, answers: [] };
  expect(expiresIn).toBeGreaterThan(0);
  // The edge counts `expires_in` from the start of the client's request, and the Pod makes its token of 300 s a little later.
  expect(expiresIn).toBeLessThanOrEqual(302);
  const base = await createClient(stack.edge).get("/v2/", token);
  expect([base.status, await base.json()]).toEqual([200, {}]);
  const ask = pullerOf(stack, repository, token);
  const answers = [await ask("manifests/1", { method: "HEAD" }), await ask("manifests/1")];
  answers.push(await ask(`manifests/${digest}`, { method: "HEAD" }), await ask(`manifests/${digest}`));
  expect(answers.map((answer) => answer.text)).toEqual(["", text, "", text]);
  for (const blob of blobs) {
    answers.push(await ask(`blobs/${blob}`, { method: "HEAD" }), await ask(`blobs/${blob}`));
    const stored = await fetch(answers.at(-1)?.headers["location"] ?? "");
    expect(await sha256(new Uint8Array(await stored.arrayBuffer()))).toBe(blob);
  }
  return { status, answers };
}
export const pulledStatuses = [200, 200, 200, 200, ...Array(6).fill(307)];

/** Clears the taps first, so that they show only what came during the work. */
export async function duringOutage<T>(
  stack: Stack,
  work: () => Promise<T>,
  fault: Fault = { mode: "refuse" },
): Promise<T> {
  await stack.edgeSettled();
  stack.clearSeen();
  await setFault(stack, fault);
  try {
    return await work();
  } finally {
    await setFault(stack, { mode: "none" });
    await isBack(stack);
  }
}

/**
 * After several failures, the edge does not call the token service for some seconds. Waits until a login works, because only the token service itself
 * grants a login.
 */
const isBack = (stack: Stack): Promise<void> =>
  expect.poll(async () => (await askToken(stack, [])).status, { timeout: 20_000 }).toBe(200);

export const statusDuringOutage = (stack: Stack, repository: string, user: Login = "demo") =>
  duringOutage(stack, async () => (await askToken(stack, [pullOf(repository)], user)).status);
