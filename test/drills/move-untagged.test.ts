import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { Prefix, RepositoryName } from "../../src/oci/repository-name.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import { createGroupCopy } from "../../src/podctl/move/copy-group.ts";
import { type Both, openRegistry, type Registry } from "../../src/podctl/move/registry.ts";
import { takeSnapshot } from "../../src/podctl/move/snapshot.ts";
import type { Saved } from "../../src/podctl/move/state-file.ts";
import { createPodClient, pushBlob } from "../support/client.ts";
import { contentOf, push, pushGroup, pushIndex, pushReferrer, pushTagged } from "../support/group-content.ts";
import { manifestType } from "../support/image.ts";
import { startProxy } from "../support/proxy.ts";
import { healthyRecords } from "../support/sick-pods.ts";
import { serveForTest } from "../support/toy-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

/** `more` replaces members of the record of pod-b. */
async function openBoth(more: object = {}): Promise<Both> {
  const records = await healthyRecords(stack.current);
  const open = (record: object) =>
    openRegistry(record as Pod, {
      ...{ user: { name: "demo", password: "demo" }, jobs: 2, auth: "token" as const },
    });
  return {
    source: open({ id: "pod-a", ...records["pod-a"] }),
    target: open({ id: "pod-b", ...records["pod-b"], ...more }),
  };
}

/** pod-b's registry has no lists of referrers. Distribution has none either. */
async function openWithoutLists() {
  const registry = await startProxy(stack.current.pods["pod-b"].registry.direct, ({ url = "" }) =>
    url.includes("/referrers/") ? { inPlace: 404 } : null,
  );
  const { source, target } = await openBoth({ registry });
  return { a: source, b: target };
}

/** Copies a group and compares both Pods, three times at most, as a move does in its freeze. Returns what differs in the end. */
async function copyAndCompare(both: Both, group: string): Promise<readonly string[]> {
  const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
  const options = { ...both, gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2 };
  const copy = createGroupCopy({ ...options, mayEmpty: false, progress });
  for (let left = 3; ; left -= 1) {
    expect((await copy.round(async () => {})).problems).toEqual([]);
    const differences = await copy.compare();
    if (differences.length === 0 || left === 1) return differences;
  }
}

const indexType = "application/vnd.oci.image.index.v1+json";
const indexOf = (digest: string) =>
  JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [{ mediaType: indexType, digest, size: 1 }] });

describe("podctl move", () => {
  test.each([
    ["next round", "untagged"],
    ["next run", "untagged-later"],
    ["next run, if podctl was killed before it had copied the repository whole", "untagged-killed"],
  ])(
    "a manifest that has lost its tag, and is then deleted by its digest, is deleted at the target in the %s",
    async (when, group) => {
      await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
      await pushGroup(stack.current, group);
      const app = `${group}/app`;
      const both = await openBoth();
      let isKilled = false;
      const written = new Map<RepositoryName, Saved>();
      const save = async (name: RepositoryName, saved: Saved) => {
        if (isKilled && saved.fingerprint !== null) throw new CliFailure("killed");
        written.set(name, saved);
      };
      const startRun = () =>
        createGroupCopy({
          ...both,
          ...{ gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2, mayEmpty: false },
          progress: { saved: new Map(written), save },
        });
      let run = startRun();
      const round = () => run.round(async () => {});
      const digest = await pushTagged(stack.current, app, "first", "moving");
      const statusAt = async (pod: "pod-a" | "pod-b", method: string) => {
        const client = createPodClient(stack.current, pod);
        const token = await client.token([`repository:${app}:pull,delete`]);
        return (await client.get(`/v2/${app}/manifests/${digest}`, token, { method })).status;
      };
      await round();
      isKilled = when.includes("killed");
      await pushTagged(stack.current, app, "second", "moving", "first");
      await round().catch((error: unknown) => expect(String(error)).toContain("killed"));
      if (when !== "next round") run = startRun();
      expect([...written.values()].some(({ fingerprint }) => fingerprint === null)).toBe(isKilled);
      expect([await statusAt("pod-a", "HEAD"), await statusAt("pod-b", "HEAD")]).toEqual([200, 200]);
      expect(await statusAt("pod-a", "DELETE")).toBe(202);
      await round().catch((error: unknown) => expect(String(error)).toContain("killed"));
      expect(await statusAt("pod-b", "HEAD")).toBe(404);
      for (const registry of [both.source, both.target]) registry.close();
    },
  );

  test("a source that lists no repository any more empties the target only with --overwrite", async () => {
    const group = "emptied";
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    await pushGroup(stack.current, group);
    const names = [`${group}/app`, `${group}/team/lib`];
    const both = await openBoth();
    const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
    const copyFrom = (source: Registry, mayEmpty: boolean) =>
      createGroupCopy({
        ...{ source, target: both.target, gateway: null, group: { prefix: group as Prefix, without: [] } },
        ...{ jobs: 2, mayEmpty, progress },
      }).round(async () => {});
    await copyFrom(both.source, false);
    const held = await contentOf(stack.current, "pod-b", names);
    // A registry on an empty volume: its catalog is empty, and it knows no repository.
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      const isCatalog = request.url?.startsWith("/v2/_catalog");
      response.writeHead(isCatalog ? 200 : 404).end(isCatalog ? '{"repositories":[]}' : '{"errors":[]}');
    };
    const registry = `http://127.0.0.1:${await serveForTest(answer)}`;
    const lost = openRegistry({ id: "pod-a", registry, blobs: { hosts: [], stores: [] } } as unknown as Pod, {
      ...{ user: null, jobs: 2, auth: "none" as const },
    });
    await expect(copyFrom(lost, false)).rejects.toThrow(
      `Pod "pod-a" lists no repository of "${group}", and Pod "pod-b" has 2 repositories; nothing was removed`,
    );
    expect(await contentOf(stack.current, "pod-b", names)).toEqual(held);
    await copyFrom(lost, true);
    expect(await contentOf(stack.current, "pod-b", names)).toEqual({});
    for (const each of [both.source, both.target, lost]) each.close();
  });

  test("what differs at the target is copied again, although the source has not changed", async () => {
    const group = "differing";
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    await pushGroup(stack.current, group);
    const both = await openBoth();
    const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
    const copy = createGroupCopy({
      ...both,
      ...{ gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2, mayEmpty: false, progress },
    });
    await copy.round(async () => {});
    const app = `${group}/app`;
    const client = createPodClient(stack.current, "pod-b");
    const token = await client.token([`repository:${app}:pull,delete`]);
    expect((await client.get(`/v2/${app}/manifests/1`, token, { method: "DELETE" })).status).toBe(202);
    expect(await copy.compare()).not.toEqual([]);
    await copy.round(async () => {});
    expect(await copy.compare()).toEqual([]);
    for (const registry of [both.source, both.target]) registry.close();
  });

  test.each([
    [10, "are copied", []],
    [24, "stop the move with the one that is too deep", ["below 16 other indexes"]],
  ])("%d indexes, each in another, %s", async (levels, _, problems) => {
    const group = `nested-${levels}`;
    const app = `${group}/app`;
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    let digest = await pushTagged(stack.current, app, "1");
    for (let level = levels; level > 0; level -= 1)
      digest = await push(stack.current, app, level === 1 ? "top" : null, indexOf(digest));
    const both = await openBoth();
    const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
    const options = { ...both, gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 1 };
    const copy = createGroupCopy({ ...options, mayEmpty: false, progress });
    const found = (await copy.round(async () => {})).problems.join("\n");
    for (const problem of problems) expect(found).toContain(problem);
    if (problems.length === 0) expect(await copy.compare()).toEqual([]);
    for (const registry of [both.source, both.target]) registry.close();
  });

  test("a group goes to a Pod without lists of referrers, back, and there again with a signature that is new", async () => {
    const group = "signed-twice";
    const app = `${group}/app`;
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    const image = await pushTagged(stack.current, app, "1");
    const signatures = [await pushReferrer(stack.current, app, image, null)];
    const { a, b } = await openWithoutLists();
    expect(await copyAndCompare({ source: a, target: b }, group)).toEqual([]);
    expect(await copyAndCompare({ source: b, target: a }, group)).toEqual([]);
    signatures.push(await pushReferrer(stack.current, app, image, "signature"));
    expect(await copyAndCompare({ source: a, target: b }, group)).toEqual([]);
    const content = await contentOf(stack.current, "pod-b", [app]);
    const index = JSON.parse(content[`${app}:${image.replace(":", "-")}`] ?? "{}") as {
      manifests: { digest: string }[];
    };
    expect(index.manifests.map(({ digest }) => digest).toSorted()).toEqual(signatures.toSorted());
    for (const registry of [a, b]) registry.close();
  });

  test("a signature that was deleted, but is still in the index that takes the place of a list, counts as deleted", async () => {
    const group = "unsigned";
    const app = `${group}/app`;
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-b" }));
    const image = await pushTagged(stack.current, app, "1");
    const signature = await pushReferrer(stack.current, app, image, null);
    await push(stack.current, app, image.replace(":", "-"), indexOf(signature));
    const { a, b } = await openWithoutLists();
    const listed = async () =>
      [...(await takeSnapshot(b, app as RepositoryName, { jobs: 2 })).referrers.values()].flat();
    expect((await listed()).map(({ digest }) => digest)).toEqual([signature]);
    const client = createPodClient(stack.current, "pod-b");
    const token = await client.token([`repository:${app}:pull,delete`]);
    expect((await client.get(`/v2/${app}/manifests/${signature}`, token, { method: "DELETE" })).status).toBe(202);
    expect(await listed()).toEqual([]);
    for (const registry of [a, b]) registry.close();
  });

  test("a signature with a tag goes to a Pod that lists referrers, although no client has put it into the index that takes the place of a list", async () => {
    const group = "unlisted";
    const app = `${group}/app`;
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-b" }));
    const image = await pushTagged(stack.current, app, "1");
    const listed = await pushReferrer(stack.current, app, image, null);
    await push(stack.current, app, image.replace(":", "-"), indexOf(listed));
    const unlisted = await pushReferrer(stack.current, app, image, "signature");
    const { a, b } = await openWithoutLists();
    expect(await copyAndCompare({ source: b, target: a }, group)).toEqual([]);
    const { referrers } = await takeSnapshot(a, app as RepositoryName, { jobs: 2 });
    expect([...referrers.values()].flat().map(({ digest }) => digest)).toEqual(
      expect.arrayContaining([listed, unlisted]),
    );
    for (const registry of [a, b]) registry.close();
  });

  test("a repository of ten images for two platforms is copied, because its manifests are many and not deep", async () => {
    const group = "platforms";
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    for (let tag = 1; tag <= 10; tag += 1) await pushIndex(stack.current, `${group}/app`, String(tag));
    const both = await openBoth();
    const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
    const options = { ...both, gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2 };
    const copy = createGroupCopy({ ...options, mayEmpty: false, progress });
    expect((await copy.round(async () => {})).problems).toEqual([]);
    expect(await copy.compare()).toEqual([]);
    for (const registry of [both.source, both.target]) registry.close();
  });

  test.each([
    ["GitLab", 409, false],
    ["zot", 405, false],
    ["GitLab", 409, true],
  ])(
    "an index and its images are deleted at a Pod like %s, which answers %d for a manifest that an index names (already without tags: %s)",
    async (_, status, losesTags) => {
      const group = `referenced-${status}-${losesTags}`;
      const app = `${group}/app`;
      await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
      // Tags are listed in the order of the alphabet, so each index comes after what it names.
      const image = await pushTagged(stack.current, app, "a-image");
      const index = await push(stack.current, app, "b-index", indexOf(image));
      const outer = await push(stack.current, app, "c-outer", indexOf(index));
      const namedBy = new Map([
        [image, index],
        [index, outer],
      ]);
      const deleted = new Set<string>();
      const refusing = await startProxy(stack.current.pods["pod-b"].registry.direct, ({ method, url }) => {
        const digest = method === "DELETE" ? /manifests\/(sha256:\w+)$/.exec(url ?? "")?.[1] : undefined;
        if (digest === undefined) return null;
        const parent = namedBy.get(digest);
        if (parent !== undefined && !deleted.has(parent)) return { inPlace: status };
        deleted.add(digest);
        return null;
      });
      const both = await openBoth({ registry: refusing });
      const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
      const options = { ...both, gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2 };
      const copy = createGroupCopy({ ...options, mayEmpty: false, progress });
      const round = () => copy.round(async () => {});
      await round();
      const held = () => contentOf(stack.current, "pod-b", [app]);
      expect(Object.keys(await held())).toHaveLength(6);
      await pushTagged(stack.current, app, "stays");
      if (losesTags) {
        await pushTagged(stack.current, app, "other", "a-image", "b-index", "c-outer");
        await round();
      }
      const client = createPodClient(stack.current, "pod-a");
      const token = await client.token([`repository:${app}:pull,delete`]);
      for (const digest of [outer, index, image])
        expect((await client.get(`/v2/${app}/manifests/${digest}`, token, { method: "DELETE" })).status).toBe(202);
      await round();
      expect([...deleted]).toEqual([outer, index, image]);
      expect(await held()).toEqual(await contentOf(stack.current, "pod-a", [app]));
      for (const registry of [both.source, both.target]) registry.close();
    },
  );

  test("an image that the target keeps because an index there still names it ends the command with what to do", async () => {
    const [group, app] = ["kept", "kept/app"];
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    const image = await pushTagged(stack.current, app, "1");
    await pushTagged(stack.current, app, "2");
    const refusing = await startProxy(stack.current.pods["pod-b"].registry.direct, ({ method }) =>
      method === "DELETE" ? { inPlace: 409 } : null,
    );
    const both = await openBoth({ registry: refusing });
    const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
    const options = { ...both, gateway: null, group: { prefix: group as Prefix, without: [] }, jobs: 2 };
    const copy = createGroupCopy({ ...options, mayEmpty: false, progress });
    await copy.round(async () => {});
    const client = createPodClient(stack.current, "pod-a");
    const token = await client.token([`repository:${app}:pull,delete`]);
    expect((await client.get(`/v2/${app}/manifests/${image}`, token, { method: "DELETE" })).status).toBe(202);
    await expect(copy.round(async () => {})).rejects.toThrow(
      `Pod "pod-b" answers 409 to the deletion of "${app}@${image}": ; ` +
        'if an index at Pod "pod-b" still names it, delete that index there and run the command again',
    );
    for (const registry of [both.source, both.target]) registry.close();
  });

  test.each([2, 3, 4, 5, 6])(
    "a run that may write no more in the middle of a repository neither begins nor repeats a write (check %d fails)",
    async (failing) => {
      const [group, app] = [`midway-${failing}`, `midway-${failing}/app` as RepositoryName];
      await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
      const large = "large ".repeat(50_000);
      const layer = {
        mediaType: "application/vnd.oci.image.layer.v1.tar",
        digest: await pushBlob(stack.current, app, large),
        size: large.length,
      };
      const manifest = { schemaVersion: 2, mediaType: manifestType, config: layer, layers: [layer] };
      for (const tag of ["1", "2"]) await push(stack.current, app, tag, JSON.stringify({ ...manifest, tag }));
      let writes = 0;
      const counting = await startProxy(stack.current.pods["pod-b"].registry.direct, ({ method = "" }) => {
        if (["GET", "HEAD"].includes(method)) return null;
        writes += 1;
        // podctl repeats a write that is answered 503.
        return writes === 1 ? { inPlace: 503 } : null;
      });
      const gateway = async () => {
        writes += 1;
        return false;
      };
      const both = await openBoth({ registry: counting });
      const progress = { saved: new Map<RepositoryName, Saved>(), save: async () => {} };
      const options = { ...both, gateway, group: { prefix: group as Prefix, without: [] }, jobs: 1 };
      let checks = 0;
      const mayWrite = async () => {
        checks += 1;
        if (checks >= failing) throw new CliFailure("another operator has taken over");
      };
      const round = createGroupCopy({ ...options, mayEmpty: false, progress }).round(mayWrite);
      await expect(round).rejects.toThrow("another operator has taken over");
      // Of the checks that passed, the first one was made before the repository's copy, and each other one before a write.
      expect(writes).toBe(failing - 2);
      for (const registry of [both.source, both.target]) registry.close();
    },
  );

  test("before a repository is copied, the state file names each manifest that the copy may leave without a tag", async () => {
    const group = "named";
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    await pushGroup(stack.current, group);
    const both = await openBoth();
    const saves: (readonly [RepositoryName, Saved])[] = [];
    const progress = {
      saved: new Map<RepositoryName, Saved>(),
      save: async (name: RepositoryName, saved: Saved) => void saves.push([name, saved]),
    };
    const options = {
      ...both,
      gateway: null,
      group: { prefix: group as Prefix, without: [] },
      jobs: 2,
      mayEmpty: false,
    };
    const copy = createGroupCopy({ ...options, progress });
    await copy.round(async () => {});
    const app = `${group}/app`;
    const digests = Object.keys(await contentOf(stack.current, "pod-b", [app])).flatMap(
      (each) => /sha256:\w{64}$/.exec(each)?.[0] ?? [],
    );
    const ofApp = saves.flatMap(([name, saved]) => (name === app ? [saved] : []));
    expect(ofApp.map(({ fingerprint }) => fingerprint === null)).toEqual([true, false]);
    expect(ofApp[0]?.untagged.toSorted()).toEqual(digests.toSorted());
    // Nothing has changed, so the next round saves nothing.
    await copy.round(async () => {});
    expect(saves.filter(([name]) => name === app)).toHaveLength(2);
    for (const registry of [both.source, both.target]) registry.close();
  });
});
