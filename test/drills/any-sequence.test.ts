import fc from "fast-check";
import { expect, test } from "vitest";
import { type ClientInit, createClient, sha256 } from "../support/client.ts";
import { fuzz, fuzzTimeoutMs, wordOf } from "../support/fuzz.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });
const runs = 40;

/** The names are new for each run, so that no run depends on another. */
const repositoriesOf = (run: number) => [`acme/${run}/a`, `acme/${run}/b`, `globex/${run}/a`];
const contents = ["a config", "a layer", "another layer"];
const digests = await Promise.all(contents.map((text) => sha256(new Uint8Array(Buffer.from(text)))));

const imageType = "application/vnd.oci.image.manifest.v1+json";
const indexType = "application/vnd.oci.image.index.v1+json";
const layerType = "application/vnd.oci.image.layer.v1.tar";

const blob = fc.nat(contents.length - 1);
const sized = (mediaType: string) => blob.map((index) => ({ mediaType, digest: digests[index], size: 1 }));
const plain = fc.record({
  schemaVersion: fc.constant(2),
  mediaType: fc.constant(imageType),
  config: sized("application/vnd.oci.image.config.v1+json"),
  layers: fc.array(sized(layerType), { maxLength: 2 }),
});
const oddDescriptor = fc.record(
  {
    mediaType: fc.constantFrom(layerType, imageType, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    digest: blob.map((index) => digests[index]),
    size: fc.constant(1),
    urls: fc.constant(["http://evil.test/layer"]),
  },
  { requiredKeys: ["digest"] },
);
/** These members replace those of a plain manifest. A registry may read them in another way than the edge, or not at all. */
const odd = fc.record(
  {
    mediaType: fc.constantFrom(imageType, indexType, layerType),
    config: oddDescriptor,
    layers: fc.array(oddDescriptor, { maxLength: 2 }),
    manifests: fc.array(oddDescriptor, { maxLength: 2 }),
    blobs: fc.array(oddDescriptor, { maxLength: 2 }),
    subject: oddDescriptor,
  },
  { requiredKeys: [] },
);
const manifest = fc
  .tuple(plain, fc.option(odd, { nil: {}, freq: 3 }))
  .map(([image, changes]): Record<string, unknown> => ({ ...image, ...changes }));

const step = fc.record({
  what: wordOf("push push mount put put get-manifest head get delete"),
  at: fc.nat(2),
  from: fc.nat(2),
  blob,
  tag: fc.constantFrom("1", "2"),
  manifest,
  /** The manifest's Content-Type. */
  type: fc.constantFrom(imageType, imageType, imageType, indexType),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

test("whatever was pushed, mounted and deleted, a blob is served exactly where its Pod has it", {
  timeout: fuzzTimeoutMs(runs) * 10,
}, async () => {
  let run = 0;
  await fuzz(runs, fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
    run += 1;
    const repositories = repositoriesOf(run);
    const client = createClient(stack.current.edge);
    const token = await client.token(repositories.map((name) => `repository:${name}:pull,push,delete`));
    const ask = (path: string, init: ClientInit = {}) => client.get(`/v2/${path}`, token, init);
    // A registry refuses an image whose blobs it lacks, so each repository gets some blobs first.
    for (const [at, index] of [
      [0, 0],
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const) {
      const path = `${repositories[at]}/blobs/uploads/?digest=${digests[index]}`;
      expect((await ask(path, { method: "POST", body: contents[index] ?? "" })).status).toBe(201);
    }
    for (const each of steps) await take(each, repositories, ask);
    for (const name of repositories) {
      for (const digest of digests) {
        const has = await hasBlob(name, digest, token);
        const answer = await ask(`${name}/blobs/${digest}`);
        expect([name, digest, answer.status]).toEqual([name, digest, has ? 307 : 404]);
      }
    }
  });
  await stack.current.edgeSettled();
  const proofs = new Set(stack.current.edgeSeen().map(({ proof }) => proof));
  expect([...proofs]).toEqual(expect.arrayContaining(["head", "manifest", "memory"]));
});

async function take(
  { what, at, from, blob: index, tag, manifest: content, type }: Step,
  repositories: readonly string[],
  ask: (path: string, init?: ClientInit) => Promise<Response>,
): Promise<void> {
  const name = repositories[at] ?? "";
  const digest = digests[index] ?? "";
  const uploads = `${name}/blobs/uploads/`;
  const headers = { "Content-Type": type };
  const requests: Readonly<Record<string, () => Promise<Response>>> = {
    push: () => ask(`${uploads}?digest=${digest}`, { method: "POST", body: contents[index] ?? "" }),
    mount: () => ask(`${uploads}?mount=${digest}&from=${repositories[from]}`, { method: "POST" }),
    put: () => ask(`${name}/manifests/${tag}`, { method: "PUT", body: JSON.stringify(content), headers }),
    "get-manifest": () => ask(`${name}/manifests/${tag}`),
    head: () => ask(`${name}/blobs/${digest}`, { method: "HEAD" }),
    get: () => ask(`${name}/blobs/${digest}`),
    delete: () => ask(`${name}/blobs/${digest}`, { method: "DELETE" }),
  };
  const answer = await requests[what]?.();
  expect(answer?.status ?? 0).toBeLessThan(500);
  await answer?.arrayBuffer();
}

async function hasBlob(name: string, digest: string, token: string): Promise<boolean> {
  const pod = name.startsWith("acme/") ? "pod-a" : "pod-b";
  const jwt = token
    .replace("pods.v1.", "")
    .split("~")
    .find((part) => part.startsWith(`${pod}/`))
    ?.slice(pod.length + 1);
  const answer = await fetch(`${stack.current.pods[pod].registry.direct}/v2/${name}/blobs/${digest}`, {
    method: "HEAD",
    redirect: "manual",
    headers: { Authorization: `Bearer ${jwt}` },
  });
  expect([307, 404]).toContain(answer.status);
  return answer.status === 307;
}
