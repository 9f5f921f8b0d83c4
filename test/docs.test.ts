import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { schemes } from "../src/signers/index.ts";

const pages = ["README.md", "CONTRIBUTING.md", ...globSync("docs/*.md")];
const read = (path: string) => readFileSync(path, "utf8");

describe.each(["docs/differences.md", "docs/request-flow.md"])("%s", (page) => {
  const rows = read(page)
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\|[-| ]+\|$/.test(line) && !/\| (test|proved by) \|$/.test(line));

  test.each(rows)("%.70s … names a test that is there", (row) => {
    const cited = [...(row.split("|").at(-2) ?? "").matchAll(/`(test\/[^`]+)` "([^"]+)"/g)];
    expect(cited.length).toBeGreaterThan(0);
    for (const [, path = "", title = ""] of cited) expect(read(path), path).toContain(title);
  });
});

test("every arrow of the request flow has a row", () => {
  const text = read("docs/request-flow.md");
  const arrows = [...text.matchAll(/-->\|(\d+)/g)].map(([, number]) => Number(number));
  const rows = [...text.matchAll(/^\| (\d+) \|/gm)].map(([, number]) => Number(number));
  expect(rows).toEqual(arrows.toSorted((one, other) => one - other));
});

test.each(pages)("%s links to files that are there", (page) => {
  const links = [...read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, target = ""]) => target);
  expect(links.filter((target) => !existsSync(join(dirname(page), target)))).toEqual([]);
});

test("every scheme of the table has its row in the directory's schema", () => {
  const rows = [...read("docs/directory-schema.md").matchAll(/^\| `([a-z0-9-]+)` \| [^|]+\|[^|]*\|[^|]+\|$/gm)];
  expect(rows.map(([, scheme]) => scheme)).toEqual(Object.keys(schemes));
});

test("every npm command that a page names exists", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const named = pages.flatMap((page) => [...read(page).matchAll(/npm run (?:--silent )?([a-z0-9]+)/g)]);
  expect(named.map(([, name = ""]) => name).filter((name) => !(name in scripts))).toEqual([]);
});
