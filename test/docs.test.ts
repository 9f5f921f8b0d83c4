import { execFileSync } from "node:child_process";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { schemes } from "../src/signers/index.ts";

const pages = ["README.md", "CONTRIBUTING.md", ...globSync("docs/*.md")];
const read = (path: string) => readFileSync(path, "utf8");

/**
 * A page cites a test by its file and its full title: the titles of its describes and its own title, joined by `: `. Placeholders of `test.each` stay
 * as they are.
 */
const citationsIn = (text: string) =>
  [...text.matchAll(/`(test\/[^`]+)` "([^"]+)"/g)].map(([, path = "", title = ""]) => ({ path, title }));

function titlesOf(paths: readonly string[], config: string): readonly string[] {
  // `--json` comes last, because vitest would write its list to the path after `--json`.
  const args = ["node_modules/vitest/vitest.mjs", "list", "--config", config, ...paths, "--json"];
  const listed = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as readonly {
    readonly name: string;
    readonly file: string;
  }[];
  return listed.map(({ name, file }) => `${relative(".", file)} ${name.replaceAll(" > ", ": ")}`);
}

const citingPages = ["docs/differences.md", "docs/outages.md", "docs/request-flow.md"];
const cited = [...new Set(citingPages.flatMap((page) => citationsIn(read(page))).map(({ path }) => path))];
const isDrill = (path: string) => path.startsWith("test/drills/");
// vitest lists many files almost as fast as one. So we collect the files from all pages first.
const listed = new Set([
  ...titlesOf(
    cited.filter((path) => !isDrill(path)),
    "vitest.config.ts",
  ),
  ...titlesOf(cited.filter(isDrill), "test/e2e.config.ts"),
]);

test.each(citingPages)("%s: each test that it cites is there, by its full title", (page) => {
  const citations = citationsIn(read(page));
  expect(citations.length).toBeGreaterThan(10);
  expect(citations.map(({ path, title }) => `${path} ${title}`).filter((cited) => !listed.has(cited))).toEqual([]);
});

describe("docs/differences.md", () => {
  test("each difference has a reason and cites a test", () => {
    const rows = read("docs/differences.md")
      .split("\n")
      .filter((line) => line.startsWith("|") && !/^\|[-| ]+\|$/.test(line) && !line.endsWith("| test |"))
      .map((line) => line.split("|").map((cell) => cell.trim()));
    expect(rows.length).toBeGreaterThan(30);
    expect(rows.filter(([, ...cells]) => cells.length !== 5 || cells.slice(0, 4).includes(""))).toEqual([]);
    // The last cell of a row cites tests. A title without its file would not be checked, so each title must have its file.
    const isCited = /^`test\/[^`]+` "[^"]+"(, `test\/[^`]+` "[^"]+")*$/;
    expect(rows.map((cells) => cells.at(-2) ?? "").filter((cell) => !isCited.test(cell))).toEqual([]);
  });
});

describe.each(["test/drills", "test/worker"])("%s/README.md", (folder) => {
  test("each test file of the folder has its row, in order", () => {
    const rows = [...read(`${folder}/README.md`).matchAll(/^\| `([a-z-]+)` \| \S/gm)].map(
      ([, name]) => `${name}.test.ts`,
    );
    expect(rows).toEqual(
      readdirSync(folder)
        .filter((name) => name.endsWith(".test.ts"))
        .sort(),
    );
  });
});

describe("docs/request-flow.md", () => {
  test("its numbered list has the steps of handle.ts, in their order and words", () => {
    const steps = [...read("src/edge/handle.ts").matchAll(/^ *\/\/ (\d+\. .*)$/gm)].map(([, step]) => step);
    const items = [...read("docs/request-flow.md").matchAll(/^(\d+\.) \*\*([^*]+)\*\*/gm)];
    expect(items.map(([, number, text]) => `${number} ${text}`)).toEqual(steps);
    expect(steps.length).toBeGreaterThan(5);
  });
});

describe("pages", () => {
  test.each(pages)("%s links only to files that are there", (page) => {
    const links = [...read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, target = ""]) => target);
    expect(links.filter((target) => !existsSync(join(dirname(page), target)))).toEqual([]);
  });

  test("each scheme of the signers' table has its row on the page of the stores", () => {
    const rows = [...read("docs/stores.md").matchAll(/^\| `([a-z0-9-]+)` \| [^|]+\|[^|]*\|[^|]+\|$/gm)];
    expect(rows.map(([, scheme]) => scheme)).toEqual(Object.keys(schemes));
  });

  test("each npm command that a page names is there", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = pages.flatMap((page) => [...read(page).matchAll(/npm run (?:--silent )?([a-z0-9]+)/g)]);
    expect(named.length).toBeGreaterThan(0);
    expect(named.map(([, name = ""]) => name).filter((name) => !(name in scripts))).toEqual([]);
  });
});
