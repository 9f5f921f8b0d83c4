import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir, uptime } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test, vi } from "vitest";
import type { Digest } from "../../src/oci/digest.ts";
import type { Prefix, RepositoryName } from "../../src/oci/repository-name.ts";
import { openStateFile, readState, stateFileOf } from "../../src/podctl/move/state-file.ts";
import { createClient } from "../support/client.ts";
import { pushGroup, pushTagged } from "../support/group-content.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

// One test runs several commands, and starting a process for each of them takes long on a busy machine.
vi.setConfig({ testTimeout: 240_000 });
const stack = useStack();
const { env, folder: moves } = useMoves(stack, {});

describe("podctl move", () => {
  test("a manifest without a tag that a client deletes between --back and the next move does not come back", async () => {
    const group = "deleted-between";
    const app = `${group}/app`;
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a" }));
    await pushGroup(stack.current, group);
    const deleted = await pushTagged(stack.current, app, "first", "moving");
    const move = async (...args: readonly string[]) => {
      const { code } = await podctl(["move", group, ...args, "--yes", "--wait", "0.2", "--state", moves], { env });
      await stack.current.restartEdge();
      return code;
    };
    const client = createClient(stack.current.edge);
    const statusOf = async (method: string) => {
      const token = await client.token([`repository:${app}:pull,delete`]);
      return (await client.get(`/v2/${app}/manifests/${deleted}`, token, { method })).status;
    };
    expect(await move("--to", "pod-b")).toBe(0);
    await pushTagged(stack.current, app, "second", "moving", "first");
    expect(await move("--back")).toBe(0);
    expect([await statusOf("DELETE"), await statusOf("GET")]).toEqual([202, 404]);
    expect(await move("--to", "pod-b")).toBe(0);
    expect(await statusOf("GET")).toBe(404);
    expect(await move("--done")).toBe(0);
    expect(await statusOf("GET")).toBe(404);
  });

  test("a lock whose process has ended is replaced, also if its number is that of another process now", async () => {
    const folder = mkdtempSync(join(tmpdir(), "registry-edge-state-"));
    const prefix = "acme" as Prefix;
    const lock = join(folder, "acme.lock");
    // In a container, podctl may have the same process id in each run. So a lock with podctl's own id is one that an earlier run has left behind.
    writeFileSync(lock, String(process.pid));
    await (await openStateFile(folder, prefix)).release();
    writeFileSync(lock, String(process.ppid));
    await expect(openStateFile(folder, prefix)).rejects.toThrow(
      `another podctl (process ${process.ppid}) is moving "acme"; wait for it, or delete the file "${lock}"`,
    );
    const beforeBoot = Date.now() / 1_000 - uptime() - 60;
    utimesSync(lock, beforeBoot, beforeBoot);
    await (await openStateFile(folder, prefix)).release();
    rmSync(folder, { recursive: true });
  });

  test("if two processes begin at the same moment, only one of them gets the lock", async () => {
    const folder = mkdtempSync(join(tmpdir(), "registry-edge-state-"));
    const turns = Array.from({ length: 100 }, (_, turn) => `turn${turn}`);
    const program = `
      const { openStateFile } = await import("${new URL("../../src/podctl/move/state-file.ts", import.meta.url)}");
      for (const [index, turn] of ${JSON.stringify(turns)}.entries()) {
        while (Date.now() < ${Date.now() + 2_000} + 20 * index);
        await openStateFile("${folder}", turn).then(() => console.log(turn), () => {});
      }
      console.log("done");
      process.stdin.resume();`;
    const children = [1, 2].map(() => spawn(process.execPath, ["--input-type=module", "--eval", program]));
    // Each process lives until both are done. If one ended earlier, its locks would be replaced, and the other process could take the same turns.
    const taken = await Promise.all(
      children.map(async ({ stdout }) => {
        const lines: string[] = [];
        for await (const line of createInterface(stdout)) {
          if (line === "done") break;
          lines.push(line);
        }
        return lines;
      }),
    );
    for (const { stdin } of children) stdin.end();
    expect(taken.flat().toSorted()).toEqual(turns.toSorted());
    rmSync(folder, { recursive: true });
  });

  test("a run that saves nothing leaves no state file, and a line that was cut off spoils no later one", async () => {
    const folder = join(mkdtempSync(join(tmpdir(), "registry-edge-state-")), "a", "b");
    const [prefix, name] = ["acme" as Prefix, "acme/app" as RepositoryName];
    await (await openStateFile(folder, prefix)).release();
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(stateFileOf(folder, prefix), '{"copied":"acm');
    const state = await openStateFile(folder, prefix);
    await state.save(name, { fingerprint: "whole", untagged: [], listsReferrers: true });
    await state.release();
    expect([...(await readState(stateFileOf(folder, prefix))).copied.keys()]).toEqual([name]);
    rmSync(join(folder, "../.."), { recursive: true });
  });

  test.runIf(existsSync("/proc/self"))("a state folder that cannot be made ends the command", async () => {
    const folder = "/proc/registry-edge/moves";
    await expect(openStateFile(folder, "acme" as Prefix)).rejects.toThrow("ENOENT");
  });

  test("the state file keeps the manifests without a tag for the next run and for the next move, and nothing else of an ended move", async () => {
    const folder = mkdtempSync(join(tmpdir(), "registry-edge-state-"));
    const [prefix, name] = ["acme" as Prefix, "acme/app" as RepositoryName];
    const untagged = [`sha256:${"0".repeat(64)}` as Digest];
    const first = await openStateFile(folder, prefix);
    await first.save(name, { fingerprint: "whole", untagged, listsReferrers: true });
    await first.release();
    const second = await openStateFile(folder, prefix);
    expect(second.copied.get(name)).toEqual({ fingerprint: "whole", untagged, listsReferrers: true });
    await second.distrust();
    await second.save("acme/whole" as RepositoryName, { fingerprint: "whole", untagged: [], listsReferrers: true });
    await second.end();
    await second.release();
    const { header, copied } = await readState(stateFileOf(folder, prefix));
    expect([header, [...copied]]).toEqual([null, [[name, { fingerprint: null, untagged, listsReferrers: true }]]]);
    rmSync(folder, { recursive: true });
  });
});
