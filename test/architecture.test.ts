import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/** Each line is a rung, the lowest first. A file imports only from lower rungs and from its own room, which is its folder in `src`. */
const ladder: readonly (readonly string[])[] = [
  ["lib"],
  ["oci"],
  ["refusal.ts"],
  ["signers", "net", "telemetry"],
  ["directory"],
  ["auth", "blobs", "pods", "topology"],
  ["token-endpoint", "manifests", "gateway", "local"],
  ["config.ts"],
  ["isolate.ts"],
  ["services.ts"],
  ["edge"],
  ["worker.ts", "podctl"],
];
/** The Worker imports none of these rooms, because they run in Node. */
const nodeRooms = ["topology", "gateway", "local", "podctl"];
/**
 * These rooms may import only what is listed here. If `local` imported `signers` or `auth`, toy Pods would make the same mistakes as the Worker, and
 * no test would find them.
 */
const narrower: Readonly<Record<string, readonly string[]>> = {
  topology: ["lib", "oci", "signers", "directory"],
  gateway: ["lib", "oci", "pods"],
  local: ["lib", "oci", "directory", "topology"],
};
const pureRooms = ["lib", "oci", "signers"];
const impure =
  /\bfetch\(|\bDate\(\)|Date\.now|performance\.|Math\.random|getRandomValues|randomUUID|generateKey|\bcaches\b|setTimeout|setInterval|\bprocess\.|"node:/g;

const files = globSync("src/**/*.ts").map((path) => normalize(path));
const roomOf = (path: string) => path.split("/")[1] ?? "";
const rungOf = (room: string) => ladder.findIndex((rung) => rung.includes(room));
const isRoom = (name: string) => !name.endsWith(".ts");
const read = (path: string) => readFileSync(path, "utf8");
/** A string may contain comment signs. So `/*` counts only at the start of a line, and `//` only there or after white space. */
const withoutComments = (code: string) => code.replace(/^\s*\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");

/** Finds each `x` in `import … from "x"`, `export … from "x"`, `import "x"` and `import("x")`. */
function specifiersIn(code: string): readonly string[] {
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*(["'`])(.+?)\1/g)].map(([, , specifier = ""]) => specifier);
}

function importsOf(path: string): readonly string[] {
  const relative = specifiersIn(read(path)).filter((specifier) => specifier.startsWith("."));
  return relative.map((specifier) => normalize(join(dirname(path), specifier)));
}

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  if (nodeRooms.includes(to) && !nodeRooms.includes(from)) return false;
  if (narrower[from]?.includes(to) === false) return false;
  return rungOf(to) >= 0 && rungOf(to) < rungOf(from);
}

describe("import ladder", () => {
  test("each room and each file at the top of src has one rung, and each rung is there", () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual(ladder.flat().sort());
  });

  test("there are at most ten rungs of rooms", () => {
    expect(ladder.filter((rung) => rung.some(isRoom)).length).toBeLessThanOrEqual(10);
  });

  test("each room that has a rule of its own has a rung", () => {
    const ruled = [...nodeRooms, ...pureRooms, ...Object.entries(narrower).flat(2)];
    expect(ruled.filter((room) => rungOf(room) < 0)).toEqual([]);
  });

  test.each([
    'import { a } from "./x.ts";',
    'import type {\n  A,\n  B,\n} from "./x.ts";',
    'export { a } from "./x.ts";',
    'export * from "./x.ts";',
    'import "./x.ts";',
    'const { a } = await import("./x.ts");',
    'type A = import("./x.ts").A;',
    "const a = await import(\n  './x.ts'\n);",
  ])("the check sees the import in `%s`", (code) => {
    expect(specifiersIn(code)).toEqual(["./x.ts"]);
  });

  test.each(files)("%s imports only what is below it", (path) => {
    const imports = importsOf(path);
    expect(imports.filter((target) => !existsSync(target))).toEqual([]);
    expect(imports.filter((target) => !mayImport(roomOf(path), roomOf(target)))).toEqual([]);
    // A computed import hides its target from the two checks above, so it is forbidden.
    expect(read(path)).not.toMatch(/\bimport\s*\(\s*[^\s"']/);
  });
});

describe("pure rooms", () => {
  test.each(files.filter((path) => pureRooms.includes(roomOf(path))))(
    "%s has no clock, network or randomness",
    (path) => {
      expect(withoutComments(read(path)).match(impure)).toBeNull();
    },
  );
});

test("src/edge/handle.ts tells a request in at most 80 lines", () => {
  expect(read("src/edge/handle.ts").split("\n").length).toBeLessThanOrEqual(80);
});
