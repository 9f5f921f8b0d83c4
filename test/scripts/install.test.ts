import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { root } from "../../src/local/paths.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "registry-edge-install-"));
  await mkdir(join(dir, "package"));
  await cp(`${root}scripts/install.mjs`, join(dir, "scripts/install.mjs"));
  await writeFile(join(dir, "package/package.json"), JSON.stringify({ name: "one", version: "1.0.0" }));
  const project = { name: "project", version: "1.0.0", dependencies: { one: "file:package" } };
  await writeFile(join(dir, "package.json"), JSON.stringify(project));
  const packages = { "": project, package: { name: "one", version: "1.0.0" }, "node_modules/one": link };
  await writeFile(join(dir, "package-lock.json"), JSON.stringify({ ...project, lockfileVersion: 3, packages }));
});
afterEach(() => rm(dir, { recursive: true }));
const link = { resolved: "package", link: true };

const install = () => promisify(execFile)(process.execPath, [join(dir, "scripts/install.mjs")]);

test("if commands start at once in a clean clone, one installs and the others wait for it", async () => {
  const said = (await Promise.all([install(), install(), install(), install()])).map(({ stderr }) => stderr);
  expect(said.filter((text) => text.includes("Installing npm packages"))).toHaveLength(1);
  expect(await readdir(join(dir, "node_modules"))).toContain("one");
  expect((await install()).stderr).toBe("");
  expect(await readdir(join(dir, ".local"))).toEqual([]);
});

test("an install that was killed does not hold up the next command", async () => {
  await mkdir(join(dir, ".local"));
  const ended = execFile(process.execPath, ["--version"]);
  await new Promise((resolve) => ended.once("close", resolve));
  await writeFile(join(dir, ".local/installing"), String(ended.pid));
  expect((await install()).stderr).toBe("Installing npm packages from the lockfile …\n");
});

test("an install that fails makes its command fail, and the next command tries again", async () => {
  const lockfile = join(dir, "package-lock.json");
  await cp(lockfile, join(dir, "good"));
  await writeFile(lockfile, "{");
  await expect(install()).rejects.toMatchObject({ code: 1 });
  await cp(join(dir, "good"), lockfile);
  expect((await install()).stderr).toBe("Installing npm packages from the lockfile …\n");
});
