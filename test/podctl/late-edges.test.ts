import { describe, expect, test } from "vitest";
import { resolvePod } from "../../src/directory/resolve.ts";
import { parseRepositoryName } from "../../src/oci/repository-name.ts";
import type { KvStore } from "../../src/podctl/target/kv-store.ts";
import { applyPlan } from "../../src/podctl/write/apply-plan.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { readLastWrite, undoWrite } from "../../src/podctl/write/undo-write.ts";
import { startIsolate } from "../support/isolate.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const { server, kv } = await useCloudflareKv();

/**
 * The isolate gets each of these requests at its `second`. Each later request (`ask`) comes a second after the one before. The isolate keeps what it
 * has read for up to 30 seconds, so it sees the records of a write at different times.
 */
async function startEdge(requests: readonly (readonly [second: number, name: string])[]) {
  const isolate = startIsolate({ get: async (keys) => new Map(keys.map((key) => [key, textOf(key)])) });
  const ask = async (text: string): Promise<string> => {
    const name = parseRepositoryName(text);
    if (!name.ok) throw new Error(name.error);
    const found = await resolvePod(isolate.directory(), { name: name.value });
    await Promise.all(isolate.reads.splice(0));
    if (!found.ok) return found.error.text;
    const { pod, assignment } = found.value;
    return `${pod?.id}${assignment?.clients === undefined ? "" : ", for some clients"}`;
  };
  const startMs = isolate.nowMs;
  for (const [second, name] of requests) {
    isolate.nowMs = startMs + second * 1_000;
    await ask(name);
  }
  return {
    ask: (name: string) => {
      isolate.nowMs += 1_000;
      return ask(name);
    },
  };
}
const textOf = (key: string) => server.data.get(key)?.value ?? null;

/**
 * Returns what two edges find for `name` while podctl writes, and for a minute and a half after that. One edge has read the name's own assignments
 * last, and the other edge has read them first. So the two edges see the changed records in different orders.
 */
async function foundDuring(name: string, write: (kv: KvStore) => Promise<unknown>): Promise<ReadonlySet<string>> {
  const othersAt = (second: number) =>
    ["acme/app", "hooli/app", "globex/other/app"].map((other) => [second, other] as const);
  const edges = await Promise.all([
    startEdge([...othersAt(0), [18, name]]),
    startEdge([[0, name], ...othersAt(0), ...othersAt(12), ...othersAt(21)]),
  ]);
  const found = new Set<string>();
  const askFor = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) for (const edge of edges) found.add(await edge.ask(name));
  };
  await write({ ...kv, untilSeen: () => askFor(90) });
  await askFor(90);
  return found;
}

const office = "clients: { allow: [{ cidrs: [192.0.2.0/24] }] }";
const both = ["pod-a", "pod-b"];
const [podA, podB] = [
  topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b }", "default: pod-a")),
  topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b, initech: pod-a }", "default: pod-b")),
];

const apply = async (on: KvStore, topology: typeof podA) => applyPlan(on, await makePlan(on, topology));

describe("an edge that sees the records of a write in another order", () => {
  test.each([
    [
      "a name that gets an assignment because another Pod becomes the default",
      { name: "initech/app", before: podA, after: podB, finds: ["pod-a"] },
    ],
    [
      "a name that loses its assignment because its Pod becomes the default",
      {
        name: "globex/app",
        before: topologyOf(
          topologyText(both, "assignments: { acme: pod-a, hooli: pod-b, globex: pod-b }", "default: pod-a"),
        ),
        after: topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b }", "default: pod-b")),
        finds: ["pod-b"],
      },
    ],
    [
      "a name that loses its assignment because its Pod becomes the first default Pod",
      {
        name: "globex/app",
        before: topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b, globex: pod-b }")),
        after: topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b }", "default: pod-b")),
        finds: ["pod-b"],
      },
    ],
    [
      "a name that leaves a Pod that is removed",
      {
        name: "globex/app",
        before: topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli: pod-b, globex: pod-b }")),
        after: topologyOf(topologyText(["pod-a"], "assignments: { acme: pod-a, hooli: pod-a, globex: pod-a }")),
        finds: ["pod-b", "pod-a"],
      },
    ],
    [
      "a group that loses its assignment because the group above it gets the same restriction",
      {
        name: "acme/secret/app",
        before: topologyOf(
          topologyText(["pod-a"], `assignments: { acme: pod-a, acme/secret: { pod: pod-a, ${office} } }`),
        ),
        after: topologyOf(topologyText(["pod-a"], `assignments: { acme: { pod: pod-a, ${office} } }`)),
        finds: ["pod-a, for some clients"],
      },
    ],
    [
      "a name whose group is split into assignments of longer prefixes",
      {
        name: "globex/team/app",
        before: topologyOf(
          topologyText(both, "assignments: { acme: pod-a, hooli/all: pod-b, globex: pod-b }", "default: pod-a"),
        ),
        after: topologyOf(
          topologyText(both, "assignments: { acme: pod-a, hooli/all: pod-b, globex/team: pod-b }", "default: pod-a"),
        ),
        finds: ["pod-b"],
      },
    ],
    [
      "a name that keeps its Pod by an assignment of its own, while its group gets another Pod",
      {
        name: "globex/team/app",
        before: topologyOf(topologyText(both, "assignments: { acme: pod-a, hooli/all: pod-b, globex: pod-b }")),
        after: topologyOf(
          topologyText(both, "assignments: { acme: pod-a, hooli/all: pod-b, globex: pod-a, globex/team: pod-b }"),
        ),
        finds: ["pod-b"],
      },
    ],
    [
      "a name that keeps its restriction by an assignment of its own, while its group is opened",
      {
        name: "globex/team/app",
        before: topologyOf(
          topologyText(both, `assignments: { acme: pod-a, hooli/all: pod-b, globex: { pod: pod-b, ${office} } }`),
        ),
        after: topologyOf(
          topologyText(
            both,
            `assignments: { acme: pod-a, hooli/all: pod-b, globex: pod-b, globex/team: { pod: pod-b, ${office} } }`,
          ),
        ),
        finds: ["pod-b, for some clients"],
      },
    ],
  ])("finds the old or the new Pod of %s, and no other", async (_, { name, before, after, finds }) => {
    await apply(kv, before);
    const found = await foundDuring(name, (on) => apply(on, after));
    expect([...found]).toEqual(finds);
  });

  test("finds a name's Pod at any time while a rollback puts the old default Pod back", async () => {
    await apply(kv, podA);
    await apply(kv, podB);
    const found = await foundDuring("initech/app", async (on) => undoWrite(on, await readLastWrite(on)));
    expect([...found]).toEqual(["pod-a"]);
  });

  test("is not waited for if an apply removes a Pod that had no names, or assigns and unassigns names of the same default Pod", async () => {
    const untilSeen = () => Promise.reject(new Error("podctl waits"));
    await apply(
      kv,
      topologyOf(topologyText(["pod-a", "pod-b", "pod-c"], "assignments: { acme: pod-a }", "default: pod-a")),
    );
    const [unused, assigned] = ["acme: pod-a", "initech: pod-b"].map((line) =>
      topologyOf(topologyText(both, `assignments: { ${line} }`, "default: pod-a")),
    );
    for (const topology of [unused, assigned]) if (topology !== undefined) await apply({ ...kv, untilSeen }, topology);
    expect(JSON.parse(textOf("directory") ?? "")).toMatchObject({ revision: 3, pods: both });
  });
});
