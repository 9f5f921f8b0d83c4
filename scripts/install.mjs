// Installs the npm packages if node_modules is missing or comes from another lockfile, so that every npm command works in
// a clean clone. This script is plain JavaScript, because it runs on the host's own Node before the pinned Node is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stamp = `${root}node_modules/.installed-lockfile`;
const lock = `${root}.local/installing`;
const pollMs = 200;
const lockfileSha256 = createHash("sha256")
  .update(readFileSync(`${root}package-lock.json`))
  .digest("hex");

const isInstalled = () => existsSync(stamp) && readFileSync(stamp, "utf8") === lockfileSha256;

/** Returns the id of the process that holds the lock, or null if no running process holds it. */
function holder() {
  try {
    const pid = Number(readFileSync(lock, "utf8"));
    process.kill(pid, 0);
    return pid;
  } catch {
    return null;
  }
}

/** Takes the lock by a hard link, so that the lock file contains the process id from its first moment. */
function takeLock() {
  const own = `${lock}.${process.pid}`;
  mkdirSync(dirname(lock), { recursive: true });
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, lock);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(own);
  }
}

/** Waits until no other process installs, because two installs at once would delete each other's files. */
function waitForTurn() {
  for (let said = false; !takeLock(); said = true) {
    const pid = holder();
    if (pid === null) rmSync(lock, { force: true });
    else {
      if (!said) console.error(`Waiting for process ${pid}, which is installing npm packages …`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pollMs);
    }
  }
}

function install() {
  console.error("Installing npm packages from the lockfile …");
  const { status, error } = spawnSync("npm", ["ci", "--ignore-scripts", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status === 0) {
    writeFileSync(stamp, lockfileSha256);
    return 0;
  }
  console.error(
    `\`npm ci\` failed${error === undefined ? "" : `: ${error.message}`}. Run the command again when that is fixed.`,
  );
  return status ?? 1;
}

if (!isInstalled()) {
  waitForTurn();
  try {
    process.exitCode = isInstalled() ? 0 : install();
  } finally {
    rmSync(lock, { force: true });
  }
}
