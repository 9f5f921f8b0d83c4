import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { Assignments } from "../../src/topology/assignments.ts";
import { readAssignments } from "../../src/topology/assignments-file.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-assignments-"));
afterAll(() => rmSync(dir, { recursive: true }));

async function read(text: string) {
  const path = join(dir, "assignments.tsv");
  writeFileSync(path, text);
  const assignments = new Assignments();
  const pods = new Map([["pod-a" as PodId, null]]);
  const result = await readAssignments(path, { pods, assignments, onProgress: () => {} });
  return { assignments, mistakes: result.ok ? [] : result.error.map(({ line, column }) => `${line}:${column}`) };
}

test("comments, empty lines and a byte order mark count for nothing, and lines may end as on Windows or not at all", async () => {
  const { assignments, mistakes } = await read(
    "\uFEFF# all\r\n\r\n\nacme\tpod-a\r\n#globex\tpod-a\nglobex/team\tpod-a",
  );
  expect(mistakes).toEqual([]);
  expect([...assignments]).toEqual([
    ["acme", "pod-a"],
    ["globex/team", "pod-a"],
  ]);
});

test("mistakes of all kinds are told in the order of their lines", async () => {
  const { mistakes } = await read("# all\nacme\tpod-a\n\nacme\tpod-a\nx\tpod-z\nacme\tpod-a\nAcme\tpod-a\nno tab\n");
  expect(mistakes).toEqual(["4:1", "5:3", "6:1", "7:1", "8:1"]);
});

test("a mistake far into the file has its own line, and no more than twenty are told", async () => {
  const lines = Array.from({ length: 50_000 }, (_, index) => `group-${index}/team\tpod-a\n`).join("");
  expect((await read(`${lines}group-7/team\tpod-a\n`)).mistakes).toEqual(["50001:1"]);
  const again = await read(lines + lines);
  expect(again.mistakes).toEqual(Array.from({ length: 20 }, (_, index) => `${50_001 + index}:1`));
});
