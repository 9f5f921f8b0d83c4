import fc from "fast-check";
import { expect, test } from "vitest";
import { exportTopology, formatTopology, formatTopologyJson } from "../../src/topology/export.ts";
import { recordText } from "../../src/topology/record-text.ts";
import { type Topology, topologyRecords } from "../../src/topology/topology.ts";
import { digest, repositoryName } from "../support/generators.ts";
import { podText, topologyOf, topologyText } from "../support/topologies.ts";

/** Names that YAML would read as something else without quotes, or that JavaScript reserves. */
const trap = fc.constantFrom(
  "1e3",
  "0x1f",
  "0o7",
  "12",
  "1.5",
  "null",
  "true",
  "constructor",
  "prototype",
  "0",
  "2026-11-25",
);
const prefix = fc.oneof(
  trap,
  repositoryName.filter((name) => name.split("/").length <= 20),
);
const podIds = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,6}(-[a-z0-9]{1,3})?$/), { minLength: 1, maxLength: 4 });
const words = fc.string({ unit: "grapheme", maxLength: 40 });

const conditions = fc.array(
  fc.constantFrom({ countries: ["DE", "T1"] }, { cidrs: ["192.0.2.0/24"] }, { asns: [64500], colos: ["FRA"] }, {}),
  { minLength: 1, maxLength: 3 },
);
const withSettings = (ids: readonly string[]) =>
  fc
    .record(
      {
        pod: fc.constantFrom(...ids),
        state: fc.constantFrom("active", "read-only"),
        reason: words,
        clients: fc.record({ allow: conditions, deny: conditions, reason: words }, { requiredKeys: ["deny"] }),
        delivery: fc.constant("stream"),
        uploads: fc.constant("edge"),
      },
      { requiredKeys: ["pod"] },
    )
    .map(({ reason, ...rest }) => (rest.state === "read-only" && reason !== undefined ? { ...rest, reason } : rest));

const topology = podIds.chain((ids) =>
  fc.record({
    pods: fc.tuple(
      ...ids.map((id) =>
        fc.record({
          id: fc.constant(id),
          more: fc.record(
            {
              stateAndReason: fc.oneof(
                fc.constant({ state: "active" }),
                fc.record({ state: fc.constantFrom("read-only", "down"), reason: words }, { requiredKeys: ["state"] }),
              ),
              cells: fc.constant([id.replaceAll("-", "")]),
              blobs: fc.constantFrom({ hosts: ["x.example.net:8443"] }, { stores: [{ scheme: "pod" }] }, {}),
            },
            { requiredKeys: [] },
          ),
        }),
      ),
    ),
    assignments: fc.dictionary(prefix, fc.oneof(fc.constantFrom(...ids), withSettings(ids))),
    blocks: fc.dictionary(fc.oneof(prefix, digest), words),
    aliases: fc.dictionary(
      repositoryName.map((name) => `old/${name}`.slice(0, 255)).filter((name) => !name.endsWith("/")),
      repositoryName.filter((name) => !name.startsWith("old/")),
      { maxKeys: 5 },
    ),
    default: fc.option(fc.constantFrom(...ids), { nil: undefined }),
    credentials: fc.constantFrom("own", "shared"),
  }),
);

const entriesOf = (topology: Topology) => {
  const stamp = { revision: 7, appliedAt: new Date(0), appliedBy: "you@example" };
  return [...topologyRecords(topology)].map(([key, record]) => [key, recordText(key, record, stamp)] as const);
};

test.each(["\u3000", "two lines\n\n", "\n", `like a placeholder: \${WIKI} \\\${A}`])(
  "an exported block keeps its text: %j",
  (text) => {
    const exported = exportTopology([
      {
        key: "blocks",
        text: JSON.stringify({
          v: 1,
          revision: 1,
          blocks: Object.fromEntries(["a", "b"].map((digit) => [`sha256:${digit.repeat(64)}`, text])),
        }),
      },
    ]);
    if (!exported.ok) throw new Error(exported.error);
    const pods = { "pod-a": JSON.parse(podText("pod-a")) as object };
    for (const format of [formatTopology, formatTopologyJson]) {
      const { blocks } = topologyOf(format({ ...exported.value.members(undefined), pods }));
      expect([...blocks.values()]).toEqual([text, text]);
    }
  },
);

test.each([
  ["copy", "pod-a"],
  ["freeze", "pod-a"],
  ["settle", "pod-b"],
])("an exported topology assigns a group that is being moved to the Pod that serves it: in %s, to %s", (phase, pod) => {
  const move = { to: "pod-b", phase, since: "2026-11-26T12:00:00.000Z" };
  const exported = exportTopology(
    [
      { key: "route/acme", settings: {} },
      { key: "route/globex", settings: { delivery: "stream" } },
    ].map(({ key, settings }) => ({
      key,
      text: JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a", move, ...settings }),
    })),
  );
  if (!exported.ok) throw new Error(exported.error);
  expect(exported.value.assignments).toEqual([["acme", pod]]);
  expect(exported.value.members(undefined)).toMatchObject({
    assignments: { acme: pod, globex: { pod, delivery: "stream" } },
  });
});

test("an exported topology has the Pods in the order of the file that was applied, also if their ids are numbers", () => {
  const order = ["gitlab", "2", "1"];
  const podsIn = (text: string) => {
    const records = new Map(entriesOf(topologyOf(text)));
    return { records, pods: (JSON.parse(records.get("directory") ?? "") as { pods: unknown }).pods };
  };
  const applied = podsIn(topologyText(order));
  expect(applied.pods).toEqual(order);
  const exported = exportTopology([...applied.records].map(([key, text]) => ({ key, text })));
  if (!exported.ok) throw new Error(exported.error);
  expect(podsIn(formatTopology(exported.value.members(undefined))).pods).toEqual(order);
  // JSON readers do not keep the order, but they must find all Pods.
  const json = JSON.parse(formatTopologyJson(exported.value.members(undefined))) as { pods: object };
  expect(Object.keys(json.pods).toSorted()).toEqual(order.toSorted());
});

test("an exported topology asks for exactly the records that it was exported from, and a second export is the same", () => {
  fc.assert(
    fc.property(topology, ({ pods, ...rest }) => {
      const ids = pods.map(({ id }) => id.replaceAll("-", ""));
      fc.pre(new Set(ids).size === ids.length && !ids.includes("constructor") && !ids.includes("prototype"));
      const podTexts = pods.map(
        ({ id, more }) =>
          `${JSON.stringify(id)}: ${podText(id, { ...more, ...more.stateAndReason, stateAndReason: undefined })}`,
      );
      const members = Object.entries(rest).flatMap(([name, value]) =>
        value === undefined ? [] : [`${name}: ${JSON.stringify(value)}`],
      );
      const text = `{pods: {${podTexts.join(", ")}}, ${members.join(", ")}}`;
      const entries = entriesOf(topologyOf(text)).toSorted(([one], [other]) => (one < other ? -1 : 1));
      const yamlOf = (records: typeof entries): string => {
        const exported = exportTopology(records.map(([key, text]) => ({ key, text })));
        if (!exported.ok) throw new Error(exported.error);
        return formatTopology(exported.value.members(undefined));
      };
      const yaml = yamlOf(entries);
      const again = entriesOf(topologyOf(yaml)).toSorted(([one], [other]) => (one < other ? -1 : 1));
      expect(again).toEqual(entries);
      expect(yamlOf(again)).toBe(yaml);
    }),
  );
});
