import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { topologyJsonSchema } from "../../src/podctl/commands/schema.ts";

test("docs/topology.schema.json is what `podctl schema` prints", () => {
  expect(JSON.parse(readFileSync("docs/topology.schema.json", "utf8"))).toEqual(
    JSON.parse(JSON.stringify(topologyJsonSchema())),
  );
});
