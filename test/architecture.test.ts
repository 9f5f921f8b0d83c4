import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/** Imports point at the same rung or a lower one (design: lib ← oci ← signers, resilience, telemetry ← directory ← …). */
const rungs: readonly (readonly string[])[] = [
  ["lib"],
  ["oci"],
  ["refusal"],
  ["signers", "net", "telemetry"],
  ["directory"],
  ["auth", "blobs", "pods", "config"],
  ["token-endpoint", "isolate"],
  ["services"],
  ["edge"],
  ["worker"],
];
/** Node's side: what runs beside the Worker, never in it. */
const nodeSide: Readonly<Record<string, readonly string[]>> = {
  topology: ["lib", "oci", "signers", "directory"],
  local: ["lib", "oci", "directory", "topology"],
  // To the running stack podctl talks as to any other target; what it explains and checks, it does by the Worker's own functions.
  podctl: [
    "lib",
    "oci",
    "signers",
    "net",
    "directory",
    "telemetry",
    "auth",
    "blobs",
    "pods",
    "isolate",
    "token-endpoint",
    "edge",
    "topology",
    "local",
  ],
};
const pure = ["lib", "oci", "signers"];

const files = globSync("src/**/*.ts").map((path) => normalize(path));
const roomOf = (path: string) => (path.split("/")[1] ?? "").replace(/\.ts$/, "");
const rungOf = (room: string) => rungs.findIndex((rung) => rung.includes(room));
const importsOf = (path: string) =>
  [...readFileSync(path, "utf8").matchAll(/from "(\.[^"]+)"/g)].map(([, target = ""]) =>
    normalize(join(dirname(path), target)),
  );

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  const beside = nodeSide[from];
  if (beside !== undefined) return beside.includes(to);
  if (rungOf(to) < 0) return false;
  // Siblings do not import each other: help from one arrives as a function.
  return rungOf(to) < rungOf(from);
}

describe("the import ladder", () => {
  test("every room has its place", () => {
    const rooms = new Set(files.map(roomOf));
    expect([...rooms].filter((room) => rungOf(room) < 0 && !(room in nodeSide))).toEqual([]);
  });

  test.each(files)("%s imports downwards only", (path) => {
    const wrong = importsOf(path).filter((target) => !mayImport(roomOf(path), roomOf(target)));
    expect(wrong).toEqual([]);
  });
});

test.each(files.filter((path) => pure.includes(roomOf(path))))("%s has no clock, network or randomness", (path) => {
  const source = readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  expect(
    source.match(/\bfetch\(|Date\.now|new Date\(\)|Math\.random|getRandomValues|\bcaches\b|setTimeout/g),
  ).toBeNull();
});

test("the story of a request fits one screen", () => {
  const handler = files.filter((path) => path === "src/edge/handle.ts");
  for (const path of handler) expect(readFileSync(path, "utf8").split("\n").length).toBeLessThanOrEqual(80);
});
