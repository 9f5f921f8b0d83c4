import fc from "fast-check";
import { expect, test } from "vitest";
import { type ClientInit, createClient, pushBlob, sha256 } from "../support/client.ts";
import { fuzz, fuzzTimeoutMs, wordOf } from "../support/fuzz.ts";
import { manifestText, manifestType } from "../support/image.ts";
import { endFault, useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });
const runs = 25;

const contents = ["a config", "a layer"];
const blobs = await Promise.all(contents.map((text) => sha256(new Uint8Array(Buffer.from(text)))));
const [config = "", layer = ""] = blobs;
const manifests = [[config], [config, layer], [config, layer, layer]].map(manifestText);
const digests = await Promise.all(manifests.map((text) => sha256(new Uint8Array(Buffer.from(text)))));

const step = fc.record({
  what: wordOf("push push push-digest pull pull pull-digest pull-digest head delete-tag delete-digest retag-at-pod"),
  repository: fc.nat(1),
  manifest: fc.nat(manifests.length - 1),
  tag: fc.constantFrom("1", "2"),
  /** Only pulls and HEADs use this. Changes are made while the registry is up. */
  isDown: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Ask = (path: string, init?: ClientInit) => Promise<Response>;

test("whatever was pushed, tagged and deleted, a pull gives what the Pod has, or 503 while the Pod fails", {
  timeout: fuzzTimeoutMs(runs) * 10,
}, async () => {
  let run = 0;
  const answered = { stale: 0, unavailable: 0 };
  await fuzz(runs, fc.array(step, { minLength: 8, maxLength: 24 }), async (steps) => {
    run += 1;
    const repositories = [`acme/${run}/a`, `acme/${run}/b`];
    for (const name of repositories) for (const text of contents) await pushBlob(stack.current, name, text);
    const scopes = repositories.map((name) => `repository:${name}:pull,push,delete`);
    const token = await createClient(stack.current.edge).token(scopes);
    const atEdge = createClient(stack.current.edge);
    const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
    const jwt = token.replace("pods.v1.pod-a/", "");
    const ask: Ask = (path, init) => atEdge.get(`/v2/${path}`, token, init);
    const askPod: Ask = (path, init) => atPod.get(`/v2/${path}`, jwt, init);
    for (const each of steps) {
      const name = repositories[each.repository] ?? "";
      await takeStep(each, name, { ask, askPod, answered });
    }
  });
  // The runs are a good test only if many pulls got a stale answer, and many others got 503.
  expect(answered.stale).toBeGreaterThan(runs / 4);
  expect(answered.unavailable).toBeGreaterThan(runs / 4);
});

type Asking = { readonly ask: Ask; readonly askPod: Ask; readonly answered: { stale: number; unavailable: number } };

async function takeStep(
  { what, manifest, tag, isDown }: Step,
  name: string,
  { ask, askPod, answered }: Asking,
): Promise<void> {
  const [byTag, byDigest] = [`${name}/manifests/${tag}`, `${name}/manifests/${digests[manifest]}`];
  const put = { method: "PUT", body: manifests[manifest] ?? "", headers: { "Content-Type": manifestType } };
  const changes: Readonly<Record<string, () => Promise<Response>>> = {
    push: () => ask(byTag, put),
    "push-digest": () => ask(byDigest, put),
    "delete-tag": () => ask(byTag, { method: "DELETE" }),
    "delete-digest": () => ask(byDigest, { method: "DELETE" }),
    // The edge does not see this PUT, so it learns the new manifest by a pull.
    "retag-at-pod": async () => {
      await askPod(byTag, put);
      return ask(byTag);
    },
  };
  const change = changes[what];
  if (change !== undefined) {
    await (await change()).arrayBuffer();
    // The edge answers before it writes what it has learned.
    await stack.current.edgeSettled();
    return;
  }
  const [path, init] = [what.endsWith("digest") ? byDigest : byTag, { method: what === "head" ? "HEAD" : "GET" }];
  const truth = await seen(await askPod(path, init));
  if (isDown) await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
  const answer = await ask(path, init);
  if (isDown) await endFault(stack.current, "pod-a");
  const isStale = answer.headers.has("Warning");
  if (isStale) answered.stale += 1;
  if (isDown && answer.status === 503) answered.unavailable += 1;
  else expect([path, isDown, await seen(answer)]).toEqual([path, isDown, truth]);
  expect(isStale && !isDown).toBe(false);
  await stack.current.edgeSettled();
}

async function seen(answer: Response): Promise<readonly unknown[]> {
  const text = await answer.text();
  if (answer.status !== 200) return [answer.status];
  const names = ["Docker-Content-Digest", "Content-Type", "Content-Length"];
  return [answer.status, ...names.map((name) => answer.headers.get(name)), text];
}
