import { describe, expect, test } from "vitest";
import type { ClientRules } from "../../src/directory/group-settings.ts";
import { changeSettings } from "../../src/topology/change-settings.ts";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { whyLockedOut } from "../../src/topology/settings.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { keyOf, podText, production, topologyText } from "../support/topologies.ts";

const parse = (assignment: string) =>
  parseTopology("topology.yaml", topologyText(["pod-a"], "assignments:", `  acme: ${assignment}`), {
    ...production,
    placeholders: null,
  });

describe("Pod in a topology", () => {
  const mistakesOf = (pod: string) => {
    const parsed = parseTopology("topology.yaml", `pods:\n  pod-a: ${pod}`, { ...production, placeholders: null });
    return parsed.ok ? [] : parsed.error.map(({ text }) => text);
  };
  const needless = "is only for `state: read-only` and `state: down`; remove it, or set one of these states";
  const wantedKid = "cannot be in a key of KV; want at most 508 bytes of whole characters";

  test.each([
    ["a reason without a state", podText("pod-a", { reason: "Maintenance." }), `pods.pod-a.reason: ${needless}`],
    [
      "half of a character in a kid",
      podText("pod-a", { keys: [keyOf("a\ud800")] }),
      String.raw`pods.pod-a.keys[0].kid: "a\ud800" ${wantedKid}`,
    ],
    ["a kid of 768 bytes", podText("pod-a", { keys: [keyOf("€".repeat(256))] }), expect.stringContaining(wantedKid)],
    [
      "a fraction of a second",
      podText("pod-a", { outage: { staleSeconds: 1.5 } }),
      "pods.pod-a.outage.staleSeconds: 1.5 is wrong; want a whole number",
    ],
    [
      "a number without an end",
      podText("pod-a", { outage: { staleSeconds: 0 } }).replace('"staleSeconds":0', '"staleSeconds":1e999'),
      "pods.pod-a.outage.staleSeconds: Infinity is wrong; want a whole number",
    ],
  ])("with %s is refused", (_what, text, mistake) => expect(mistakesOf(text)).toEqual([mistake]));

  test.each(["read-only", "down"])("with a reason and the state %s is accepted", (state) =>
    expect(mistakesOf(podText("pod-a", { state, reason: "Maintenance." }))).toEqual([]),
  );
});

describe("assignment with settings in a topology", () => {
  test.each([
    ["pod-a", { state: "active" }],
    ["{ pod: pod-a }", { state: "active" }],
    ["{ pod: pod-a, state: read-only, reason: Later. }", { state: "read-only", reason: "Later." }],
    ["{ pod: pod-a, delivery: stream, uploads: edge }", { state: "active", delivery: "stream", uploads: "edge" }],
    [
      "{ pod: pod-a, clients: { allow: [{ countries: [DE] }, { cidrs: [192.0.2.0/24] }], reason: Ours. } }",
      { state: "active", clients: { allow: [{ countries: ["DE"] }, { cidrs: ["192.0.2.0/24"] }], reason: "Ours." } },
    ],
  ])("%s becomes its record", (text, settings) => {
    const topology = parse(text);
    if (!topology.ok) throw new Error(topology.error.map(formatMistake).join("\n"));
    expect(new Map(topologyRecords(topology.value)).get("route/acme")).toEqual({ pod: "pod-a", ...settings });
  });

  test.each([
    ["{ state: read-only }", "assignments.acme.pod: is missing; add it"],
    ["{ pod: pod-c }", 'assignments.acme.pod: "pod-c" is not a Pod of this file; want one of pod-a'],
    ["{ pod: pod-a, state: down }", 'assignments.acme.state: "down" is wrong; want "active" or "read-only"'],
    [
      "{ pod: pod-a, reason: Later. }",
      "assignments.acme.reason: is only for `state: read-only`; remove it, or set that state",
    ],
    ["{ pod: pod-a, delivery: redirect }", 'assignments.acme.delivery: "redirect" is wrong; want "stream"'],
    ["{ pod: pod-a, upload: edge }", "assignments.acme.upload: is not a member here"],
    ["{ pod: pod-a, clients: {} }", "assignments.acme.clients: has neither `allow` nor `deny`"],
    [
      "{ pod: pod-a, clients: { allow: { countries: [DE] } } }",
      "assignments.acme.clients.allow: a mapping is wrong; want a list",
    ],
    [
      "{ pod: pod-a, clients: { deny: [{ countries: [XX] }] } }",
      'assignments.acme.clients.deny[0]: countries: "XX" is not an ISO',
    ],
    [
      "{ pod: pod-a, clients: { deny: [{ cidrs: [192.0.2.1/24] }] } }",
      'deny[0]: cidrs: "192.0.2.1/24" has bits set after',
    ],
    ["{ pod: pod-a, clients: { deny: [{ asns: [] }] } }", "assignments.acme.clients.deny[0]: asns: is empty"],
    [
      "{ pod: pod-a, clients: { deny: [{ cloud: aws }] } }",
      'deny[0].cloud: "aws" has no file; want its path as clouds.aws',
    ],
    [
      `{ pod: pod-a, state: read-only, reason: ${"x".repeat(501)} }`,
      "assignments.acme.reason: has 501 characters; want at most 500",
    ],
    ["[pod-a]", "assignments.acme.pod: is missing; add it"],
    ["1", "assignments.acme: 1 is wrong; want text or a mapping"],
  ])("%s is a mistake with its place", (text, message) => {
    const topology = parse(text);
    const messages = topology.ok ? [] : topology.error.map(formatMistake);
    expect(messages).toEqual([expect.stringContaining(message)]);
    expect(messages[0]).toMatch(/^topology\.yaml:4:\d+: /);
  });

  test("a prefix that JavaScript has as a property of all objects has its settings", () => {
    const text = topologyText(["pod-a"], "assignments: { constructor: { pod: pod-a, delivery: stream } }");
    const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
    expect(topology.ok && new Map(topologyRecords(topology.value)).get("route/constructor")).toEqual({
      ...{ pod: "pod-a", state: "active", delivery: "stream" },
    });
  });
});

describe("rules that lock out every client", () => {
  test.each<[ClientRules, string | null]>([
    [{ allow: [] }, "clients.allow is empty"],
    [{ deny: [{}] }, "clients.deny has every client"],
    [{ deny: [{ cidrs: ["0.0.0.0/0", "::/0"] }] }, "clients.deny has every client"],
    [{ deny: [{ cidrs: ["0.0.0.0/1", "::/0"] }, { cidrs: ["128.0.0.0/1"] }] }, "clients.deny has every client"],
    [{ deny: [{ continents: ["AF", "AN", "AS", "EU", "NA", "OC", "SA"] }] }, "clients.deny has every client"],
    [{ allow: [{ cidrs: ["10.0.0.0/8"] }] }, "clients.allow has only private addresses, and the edge sees public ones"],
    [
      { allow: [{ countries: ["DE"] }], deny: [{ countries: ["DE", "FR"] }] },
      "clients.deny has every client of clients.allow",
    ],
    [
      { allow: [{ countries: ["DE"] }], deny: [{ continents: ["EU"] }] },
      "clients.deny has every client of clients.allow",
    ],
    [
      { allow: [{ cidrs: ["192.0.2.0/24"] }], deny: [{ cidrs: ["192.0.2.0/25"] }, { cidrs: ["192.0.2.128/25"] }] },
      "clients.deny has every client of clients.allow",
    ],
    [{ deny: [{ cidrs: ["0.0.0.0/0"] }] }, null],
    [{ deny: [{ countries: ["DE"] }] }, null],
    [{ allow: [{ countries: ["DE"] }], deny: [{ countries: ["DE"], asns: [64500] }] }, null],
    [{ allow: [{ countries: ["DE"] }, { asns: [64500] }], deny: [{ countries: ["DE"] }] }, null],
    [{ allow: [{ cidrs: ["10.0.0.0/8"] }, { cidrs: ["192.0.2.0/24"] }] }, null],
    [{ allow: [{}] }, null],
  ])("%j: %s", (clients, why) => expect(whyLockedOut(clients)).toBe(why));
});

describe("change of settings", () => {
  const plain = { pod: "pod-a", state: "active" };
  test.each<[object, readonly string[], object]>([
    [plain, ["state=read-only", "reason=Later, a=b."], { ...plain, state: "read-only", reason: "Later, a=b." }],
    [{ ...plain, state: "read-only", reason: "Later." }, ["state="], plain],
    [{ ...plain, state: "read-only", reason: "Later." }, ["state=active"], plain],
    [{ ...plain, state: "read-only", reason: "Later." }, ["reason="], { ...plain, state: "read-only" }],
    [plain, ["delivery=stream", "uploads=edge"], { ...plain, delivery: "stream", uploads: "edge" }],
    [{ ...plain, delivery: "stream", uploads: "edge" }, ["delivery="], { ...plain, uploads: "edge" }],
    [plain, ["clients.allow.countries=DE, CH"], { ...plain, clients: { allow: [{ countries: ["DE", "CH"] }] } }],
    [plain, ["clients.deny.asns=64500,64501"], { ...plain, clients: { deny: [{ asns: [64500, 64501] }] } }],
    [
      { ...plain, clients: { allow: [{ countries: ["DE"] }], reason: "Ours." } },
      ["clients.allow.asns=64500", "clients.allow.countries="],
      { ...plain, clients: { allow: [{ asns: [64500] }], reason: "Ours." } },
    ],
    [{ ...plain, clients: { allow: [{ asns: [1] }] } }, ["clients.allow.asns="], plain],
    [{ ...plain, clients: { allow: [{ asns: [1] }, { asns: [2] }] } }, ["clients="], plain],
    [
      plain,
      ["clients.deny=[{asns: [64500]}, {cidrs: [192.0.2.0/24]}]"],
      { ...plain, clients: { deny: [{ asns: [64500] }, { cidrs: ["192.0.2.0/24"] }] } },
    ],
    [
      plain,
      ['clients={allow: [{countries: [DE]}], reason: "Only from our region, or our cloud."}'],
      { ...plain, clients: { allow: [{ countries: ["DE"] }], reason: "Only from our region, or our cloud." } },
    ],
  ])("%j with %j is %j", (before, changes, after) => {
    expect(changeSettings({ ...before }, changes)).toEqual({ ok: true, value: after });
  });

  test.each<[object, readonly string[], string]>([
    [plain, ["read-only"], '"read-only" is not a setting; want key=value'],
    [plain, ["=x"], '"=x" is not a setting; want key=value'],
    [plain, ["pod=pod-b"], '"pod" is not a setting; want one of state, reason,'],
    [plain, ["constructor=1"], '"constructor" is not a setting'],
    [plain, ["state=down"], 'state: "down" is wrong; want "active" or "read-only"'],
    [plain, ["reason=Later."], "reason: is only for `state: read-only`"],
    [plain, ["delivery=redirect"], 'delivery: "redirect" is wrong; want "stream"'],
    [plain, ["clients.allow.countries=Germany"], 'clients.allow[0].countries[0]: "Germany" is wrong'],
    [plain, ["clients.allow.asns=AS64500"], 'clients.allow[0].asns[0]: "AS64500" is wrong; want a number'],
    [plain, ["clients.allow.cidrs=192.0.2.1/24"], "192.0.2.1/24"],
    [plain, ["clients.allow=[{cloud: aws}]"], '"clients.allow" names a cloud'],
    [plain, ["clients={deny: [{asns: [1]}, {region: eu-west-1}]}"], '"clients" names a cloud'],
    [plain, ["clients.allow=[{"], '"clients.allow" is not YAML'],
    [plain, ["clients.reason=Ours."], "clients: has neither `allow` nor `deny`"],
    [
      { ...plain, clients: { deny: [{ asns: [1] }, { asns: [2] }] } },
      ["clients.deny.asns=3"],
      "clients.deny has 2 conditions; give them all",
    ],
  ])("%j with %j is refused", (before, changes, error) => {
    expect(changeSettings({ ...before }, changes)).toEqual({ ok: false, error: expect.stringContaining(error) });
  });
});
