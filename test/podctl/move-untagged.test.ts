import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { Prefix, RepositoryName } from "../../src/oci/repository-name.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import { createGroupCopy } from "../../src/podctl/move/copy-group.ts";
import { openRegistry } from "../../src/podctl/move/registry.ts";
import { openStateFile, readState, type Saved, stateFileOf } from "../../src/podctl/move/state-file.ts";
import { createPodClient } from "../support/client.ts";
import { pushGroup, pushTagged } from "../support/group-content.ts";
import { healthyRecords } from "../support/sick-pods.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

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
      const records = await healthyRecords(stack.current);
      const open = (id: "pod-a" | "pod-b") =>
        openRegistry({ id, ...records[id] } as unknown as Pod, {
          ...{ user: { name: "demo", password: "demo" }, jobs: 2, auth: "token" as const },
        });
      const both = { source: open("pod-a"), target: open("pod-b"), gateway: null };
      const isKilled = false;
      const written = new Map<RepositoryName, Saved>();
      const save = async (name: RepositoryName, saved: Saved) => {
        if (isKilled && saved.fingerprint !== null) throw new CliFailure("killed");
        written.set(name, saved);
      };
      const startRun = () =>
        createGroupCopy({
          ...both,
          ...{ group: { prefix: group as Prefix, without: [] }, jobs: 2 },
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
      await pushTagged(stack.current, app, "second", "moving", "first");
      await round().catch((error: unknown) => expect(String(error)).toContain("killed"));
      if (when !== "next round") run = startRun();
      expect([await statusAt("pod-a", "HEAD"), await statusAt("pod-b", "HEAD")]).toEqual([200, 200]);
      expect(await statusAt("pod-a", "DELETE")).toBe(202);
      await round().catch((error: unknown) => expect(String(error)).toContain("killed"));
      expect(await statusAt("pod-b", "HEAD")).toBe(404);
      for (const registry of [both.source, both.target]) registry.close();
    },
  );

  test("the state file keeps the manifests without a tag for the next run, also after both Pods have differed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "registry-edge-state-"));
    const [prefix, name] = ["acme" as Prefix, "acme/app" as RepositoryName];
    const untagged = [`sha256:${"0".repeat(64)}` as Digest];
    const first = await openStateFile(folder, prefix);
    await first.save(name, { fingerprint: "whole", untagged });
    await first.release();
    const second = await openStateFile(folder, prefix);
    expect(second.copied.get(name)).toEqual({ fingerprint: "whole", untagged });
    await second.distrust();
    await second.release();
    expect((await readState(stateFileOf(folder, prefix))).copied.get(name)).toEqual({ fingerprint: null, untagged });
    rmSync(folder, { recursive: true });
  });
});
