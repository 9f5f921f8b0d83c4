import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { expect, test } from "vitest";

test("the README of test/support has one line for each helper file", () => {
  const listed = [...readFileSync("test/support/README.md", "utf8").matchAll(/^\| `([^`]+)` \|/gm)].map(
    ([, name]) => name,
  );
  const helpers = globSync("test/support/*.ts", { exclude: ["**/*.test.ts"] }).map((path) => basename(path));
  expect(helpers.length).toBeGreaterThan(0);
  expect(listed.toSorted()).toEqual(helpers.toSorted());
});
