import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import { readAssignments } from "../../src/topology/assignments-file.ts";
import { repositoryName } from "../support/generators.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-assignments-"));
afterAll(() => rmSync(dir, { recursive: true }));

const pods = new Map(["pod-a", "pod-b", "pod-c"].map((id) => [id as PodId, null]));
type Assignment = readonly [prefix: string, pod: string];

async function read(text: string, inTopology: readonly Assignment[] = []) {
  const path = join(dir, "assignments.tsv");
  writeFileSync(path, text);
  const assignments = new Map(inTopology as Iterable<readonly [Prefix, PodId]>);
  const result = await readAssignments(path, {
    pods,
    assignments,
    edgeHosts: ["registry.example.com"],
    onProgress: () => {},
  });
  return {
    assignments: result.ok ? [...result.value] : [],
    mistakes: result.ok ? [] : result.error.map(({ line, column }) => `${line}:${column}`),
  };
}

const linesOf = (assignments: readonly Assignment[]) =>
  assignments.map(([prefix, id]) => `${prefix}\t${id}\n`).join("");

describe("the line file of assignments", () => {
  test("may have comments, empty lines and a byte order mark, and its lines may end as on Windows or not at all", async () => {
    const { assignments, mistakes } = await read(
      "\uFEFF# all\r\n\r\n\nacme\tpod-a\r\n#globex\tpod-a\nglobex/team\tpod-a",
    );
    expect(mistakes).toEqual([]);
    expect(assignments).toEqual([
      ["acme", "pod-a"],
      ["globex/team", "pod-a"],
    ]);
  });

  test("has its mistakes reported in the order of their lines, whatever their kind", async () => {
    const { mistakes } = await read(
      "# all\nacme\tpod-a\n\nacme\tpod-a\nx\tpod-z\nacme\tpod-a\nAcme\tpod-a\nno tab\nregistry.example.com/x\tpod-a\n",
    );
    expect(mistakes).toEqual(["4:1", "5:3", "6:1", "7:1", "8:1", "9:1"]);
  });

  test("has each mistake reported with its line, however far into the file, and at most twenty of them", async () => {
    const lines = Array.from({ length: 50_000 }, (_, index) => `group-${index}/team\tpod-a\n`).join("");
    expect((await read(`${lines}group-7/team\tpod-a\n`)).mistakes).toEqual(["50001:1"]);
    const again = await read(lines + lines);
    expect(again.mistakes).toEqual(Array.from({ length: 20 }, (_, index) => `${50_001 + index}:1`));
  });

  test("has no line of more than 1,024 characters, also not a comment, wherever the line is", async () => {
    const short = "#\n".repeat(30_000);
    const expectMistakes = async (text: string, mistakes: readonly string[]) =>
      expect((await read(text)).mistakes).toEqual(mistakes);
    for (const line of ["#".repeat(1_025), "a".repeat(1_025)]) {
      await expectMistakes(`${line}\n`, ["1:1"]);
      // A file is read in pieces of 64 KiB, so the second line is in two pieces.
      await expectMistakes(`${short}${"#".repeat(1_000)}\n${line.repeat(10)}\n`, ["30002:1"]);
    }
    await expectMistakes(`${"#".repeat(1_024)}\r\n${short}`, []);
  });

  test("adds its assignments to the topology's own, and each prefix that is assigned already is a mistake", async () => {
    const assignment = fc.tuple(repositoryName, fc.constantFrom(...pods.keys()));
    const own = fc.uniqueArray(assignment, { selector: ([prefix]) => prefix, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(own, fc.array(assignment, { maxLength: 19 }), async (own, lines) => {
        const all = new Map<string, string>(own);
        const again = lines.flatMap(([prefix, id], index) => {
          if (all.has(prefix)) return [`${index + 1}:1`];
          all.set(prefix, id);
          return [];
        });
        const { assignments, mistakes } = await read(linesOf(lines), own);
        expect(mistakes).toEqual(again);
        if (again.length === 0) expect(assignments).toEqual([...all]);
      }),
    );
  });

  test("is read whole if it has a hundred thousand lines", async () => {
    const prefixOf = (index: number) => `group-${(index * 2_654_435_761) % 4_294_967_296}/t`;
    const all = Array.from({ length: 100_000 }, (_, index) => [prefixOf(index), [...pods.keys()][index % 3]] as const);
    const { assignments, mistakes } = await read(linesOf(all as readonly Assignment[]));
    expect([mistakes, assignments.length]).toEqual([[], all.length]);
    expect(assignments.every(([prefix, id], index) => prefix === all[index]?.[0] && id === all[index]?.[1])).toBe(true);
  });
});
