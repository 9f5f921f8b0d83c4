import { describe, expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { production, topologyText } from "../support/topologies.ts";

const parse = (aliases: string) =>
  parseTopology("topology.yaml", topologyText(["pod-a"], `aliases: ${aliases}`), { ...production, placeholders: null });
const many = Array.from({ length: 1_001 }, (_, index) => `a${index}: b`).join(", ");

describe("old names in a topology", () => {
  test("they are a member of the directory record, also a name that JavaScript has as a property of all objects", () => {
    const topology = parse("{ acme/old: acme/new, constructor: acme/valueof }");
    if (!topology.ok) throw new Error(topology.error.map(formatMistake).join("\n"));
    expect(new Map(topologyRecords(topology.value)).get("directory")).toMatchObject({
      aliases: { "acme/old": "acme/new", constructor: "acme/valueof" },
    });
  });

  test("without any, the record has no such member", () => {
    const topology = parse("{}");
    const record = topology.ok ? new Map(topologyRecords(topology.value)).get("directory") : null;
    expect(Object.keys(record ?? {})).toEqual(["pods", "default", "credentials", "depth"]);
  });

  test.each([
    [
      "an old name with upper case",
      "{ Acme/old: acme/new }",
      '3:12: aliases."Acme/old": repository name "Acme/old" has upper-case letters',
    ],
    [
      "a new name that is not canonical",
      "{ acme/old: acme//new }",
      '3:22: aliases."acme/old": repository name "acme//new" is not canonical',
    ],
    ["a new name that is a number", "{ acme/old: 1 }", '3:22: aliases."acme/old": 1 is wrong; want text'],
    ["the same at a name that JavaScript knows", "{ constructor: 1 }", "3:25: aliases.constructor: is not a text"],
    ["a list", "[acme/old]", "3:10: aliases: a list is wrong; want a mapping"],
    [
      "a new name that is an old one",
      "{ a/old: a/new, a/new: a/newer }",
      '3:19: aliases."a/old": "a/new" is an old name itself; want the name that the Pod has',
    ],
    ["a name that is its own new name", "{ a/old: a/old }", '3:19: aliases."a/old": "a/old" is an old name itself'],
    ["more names than the limit", `{ ${many} }`, "3:1: aliases: has 1001 names; want at most 1000"],
  ])("%s is a mistake with its place", (_name, text, message) => {
    const topology = parse(text);
    const messages = topology.ok ? [] : topology.error.map(formatMistake);
    expect(messages).toEqual([expect.stringContaining(`topology.yaml:${message}`)]);
  });
});
