import { globSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { advice } from "../../src/podctl/doctor/findings.ts";
import { createProgram } from "../../src/podctl/program.ts";

const pages = ["README.md", ...globSync("docs/*.md")];
const read = (path: string) => readFileSync(path, "utf8");

/** Returns the words of podctl's part of a shell line, up to a pipe, a redirection or the next command. Null if the line does not call podctl. */
function wordsOf(line: string): readonly string[] | null {
  const call = /(?:^|[|(]\s*)(?:podctl|npm run (?:--silent )?podctl --) (.*)$/.exec(line)?.[1];
  if (call === undefined) return null;
  const words = [...call.matchAll(/'([^']*)'|"([^"]*)"|([;|&<>#)])|([^\s'";|<>)]+)/g)];
  const end = words.findIndex(([, , , operator]) => operator !== undefined);
  return (end < 0 ? words : words.slice(0, end)).map(([word, single, double]) => single ?? double ?? word);
}

/** In a `console` block, only the lines that begin with `$` are what a user types. */
const linesOf = (page: string): readonly string[] =>
  [...read(page).matchAll(/^ *```(sh|console)\n([\s\S]*?)^ *```/gm)].flatMap(([, kind, block = ""]) => {
    const lines = block
      .replaceAll("\\\n", " ")
      .split("\n")
      .map((line) => line.trim());
    return kind === "sh" ? lines : lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
  });

/** Parses the words as podctl does, without running the command. */
async function parse(words: readonly string[]): Promise<void> {
  const program = await createProgram(words);
  const quiet = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
    if (command.commands.length === 0) command.action(() => {});
    command.commands.forEach(quiet);
  };
  quiet(program);
  program.parse([...words], { from: "user" });
}

const calls = pages.flatMap((page) =>
  linesOf(page).flatMap((line) => {
    const words = wordsOf(line);
    return words === null ? [] : [[page, line, words] as const];
  }),
);

describe("podctl", () => {
  test.each(calls)("accepts the command that %s shows: %s", (_page, _line, words) =>
    expect(parse(words)).resolves.toBeUndefined(),
  );

  test("refuses wrong commands, and the docs show more than thirty right ones", async () => {
    expect(calls.length).toBeGreaterThan(30);
    for (const wrong of [["doctr"], ["doctor", "--wirte"], ["assign", "acme"], ["keys", "import"]]) {
      await expect(parse(wrong)).rejects.toThrow();
    }
  });

  test.each([
    [["plan", "--env", "staging", "--env", "production"]],
    [["doctor", "--edge", "https://one.example.com", "--edge=https://two.example.com"]],
    [["keys", "import", "token.crt", "--kid", "own", "--kid", "libtrust"]],
  ])("refuses an option that is given twice, as the last value would hide the first: %j", async (words) => {
    await expect(parse(words)).rejects.toThrow(`option '${words.find((word) => word.startsWith("--"))} `);
    await expect(parse(words)).rejects.toThrow("is given twice; give it once");
  });

  test("loads only the command that is named first, and all commands if none is", async () => {
    const namesWith = async (args: readonly string[]) =>
      (await createProgram(args)).commands.map((each) => each.name());
    const all = await namesWith(["--help"]);
    expect(all.length).toBeGreaterThan(15);
    expect(await namesWith(["help", "plan"])).toEqual(all);
    for (const name of all) expect(await namesWith([name, "--help"])).toEqual([name]);
  });
});

test.each(pages)("podctl has every command that the text of %s names", async (page) => {
  const named = [...read(page).matchAll(/`(?:podctl|npm run (?:--silent )?podctl --) ([a-z][^`]*)`/g)];
  const paths = named.map(([, text = ""]) => text.split(" ").filter((word) => /^[a-z]+$/.test(word)));
  const { commands } = await createProgram();
  const unknown = paths.filter(([name = "", sub = ""]) => {
    const command = commands.find((each) => each.name() === name);
    if (command === undefined) return true;
    return command.commands.length > 0 && !command.commands.some((each) => each.name() === sub);
  });
  expect(unknown).toEqual([]);
});

test("every command has --json except those that docs/podctl.md names", async () => {
  const without = (await createProgram()).commands.filter(({ options }) =>
    options.every((each) => each.long !== "--json"),
  );
  const [, named = ""] = /Only (.*) have no `--json`/.exec(read("docs/podctl.md")) ?? [];
  expect(without.map((each) => each.name())).toEqual([...named.matchAll(/`([a-z]+)`/g)].map(([, name]) => name));
});

test("doctor has every finding that docs/pod.md and docs/runbook.md name", () => {
  const known = Object.keys(advice);
  const families = new Set(known.map((name) => name.split("-")[0]));
  const named = ["docs/pod.md", "docs/runbook.md"].flatMap((page) =>
    [...read(page).matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)].map(([, name = ""]) => name),
  );
  const claimed = named.filter((name) => families.has(name.split("-")[0] ?? ""));
  expect(claimed.length).toBeGreaterThan(15);
  expect(claimed.filter((name) => !known.includes(name))).toEqual([]);
});
