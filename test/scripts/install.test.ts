import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
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

test("after `npm ci`, nothing is installed again", async () => {
  await promisify(execFile)("npm", ["ci", "--ignore-scripts"], { cwd: dir });
  expect((await install()).stderr).toBe("");
});

test("if the lockfile has another version of a package, it is installed", async () => {
  await install();
  const text = await readFile(join(dir, "package-lock.json"), "utf8");
  await writeFile(join(dir, "package-lock.json"), text.replaceAll('"1.0.0"', '"1.0.1"'));
  for (const file of ["package/package.json", "package.json"]) {
    const content = await readFile(join(dir, file), "utf8");
    await writeFile(join(dir, file), content.replace('"1.0.0"', '"1.0.1"'));
  }
  expect((await install()).stderr).toBe("Installing npm packages from the lockfile …\n");
});

test("an install that was killed does not hold up the next command", async () => {
  await mkdir(join(dir, ".local"));
  await writeFile(join(dir, ".local/installing"), "");
  const minuteAgo = new Date(Date.now() - 60_000);
  await utimes(join(dir, ".local/installing"), minuteAgo, minuteAgo);
  expect((await install()).stderr).toContain("Installing npm packages from the lockfile …\n");
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "an install holds its lock while it runs, and leaves none after %s",
  async (signal) => {
    await writeFile(join(dir, "npm"), "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
    const script = join(dir, "scripts/install.mjs");
    const running = execFile(process.execPath, [script], {
      env: { ...process.env, PATH: `${dir}:${process.env["PATH"]}` },
    });
    const ended = new Promise((resolve) => running.once("close", resolve));
    const touched = () =>
      stat(join(dir, ".local/installing")).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      );
    await expect.poll(touched).toBeGreaterThan(0);
    const first = await touched();
    await expect.poll(touched, { timeout: 5_000 }).toBeGreaterThan(first);
    running.kill(signal);
    expect(await ended).toBe(1);
    expect(await readdir(join(dir, ".local"))).toEqual([]);
  },
);

test("an install that fails makes its command fail, and the next command tries again", async () => {
  const lockfile = join(dir, "package-lock.json");
  await cp(lockfile, join(dir, "good"));
  await writeFile(lockfile, "{");
  await expect(install()).rejects.toMatchObject({ code: 1 });
  await cp(join(dir, "good"), lockfile);
  expect((await install()).stderr).toBe("Installing npm packages from the lockfile …\n");
});
