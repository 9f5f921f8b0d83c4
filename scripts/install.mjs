// Installs the npm packages if node_modules lacks a package of the lockfile, so that every npm command works in a clean
// clone. This script is plain JavaScript, because it runs on the host's own Node before the pinned Node is installed.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, utimes } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const lock = `${root}.local/installing`;
const pollMs = 200;
/** How often the command that installs touches the lock. A command in another container sees only this sign of life, and not the process. */
const touchMs = 1_000;
/** A lock that was not touched for this long is from a command that was killed. */
const staleMs = 10_000;

const packagesIn = (file) => JSON.parse(readFileSync(root + file, "utf8")).packages;

/** Compares the lockfile with the one that npm writes into node_modules at the end of each install. */
function isInstalled() {
  try {
    const installed = packagesIn("node_modules/.package-lock.json");
    const isThere = ([path, { version, optional }]) =>
      // The path "" is the project itself. npm leaves out the optional packages of other platforms.
      path === "" || optional || (path in installed && installed[path].version === version);
    return Object.entries(packagesIn("package-lock.json")).every(isThere);
  } catch {
    return false;
  }
}

function takeLock() {
  mkdirSync(dirname(lock), { recursive: true });
  try {
    closeSync(openSync(lock, "wx"));
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  }
}

const isStale = () => Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > staleMs;

/** Waits until no other command installs, because two installs at once would delete each other's files. */
async function waitForTurn() {
  for (let said = false; !takeLock(); said = true) {
    if (!said) console.error(`Waiting for another command, which is installing npm packages and touches ${lock} …`);
    if (isStale()) rmSync(lock, { force: true });
    else await sleep(pollMs);
  }
}

async function install() {
  console.error("Installing npm packages from the lockfile …");
  const npm = spawn("npm", ["ci", "--ignore-scripts", "--include=dev", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const touching = setInterval(() => utimes(lock, new Date(), new Date(), () => {}), touchMs);
  // We pass the user's signal on to npm, so that the lock is removed only after npm has ended.
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => npm.kill(signal));
  const failure = await new Promise((resolve) => {
    npm.once("error", ({ message }) => resolve(`: ${message}`));
    npm.once("close", (status) => resolve(status === 0 ? null : ""));
  });
  clearInterval(touching);
  if (failure === null) return 0;
  console.error(`\`npm ci\` failed${failure}. Run the command again when that is fixed.`);
  return 1;
}

if (!isInstalled()) {
  await waitForTurn();
  try {
    process.exitCode = isInstalled() ? 0 : await install();
  } finally {
    rmSync(lock, { force: true });
  }
}
