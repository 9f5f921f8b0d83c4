/** The saved state of a move, in a file to which we only append lines. If podctl is killed while it writes a line, the next run ignores that line. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { appendFile, link, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { uptime } from "node:os";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { parseJson } from "../../lib/json.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Prefix, RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { createLimit } from "./limit.ts";

/** `back`: a group that has settled returns to its former Pod. */
const way = v.picklist(["there", "back"]);

const header = v.strictObject({
  v: v.literal(1),
  from: v.string(),
  to: v.string(),
  way,
  /** The phase's `since`, saved before the phase is written to KV. If KV has a saved `since`, the next run knows that this move wrote the phase. */
  since: v.string(),
});
type MoveHeader = v.InferOutput<typeof header>;

const saved = v.strictObject({
  /**
   * The fingerprint of what the source held when this repository was copied whole. Null if the target may lack a part: during a copy, after a failed
   * one, or after a comparison that found differences.
   */
  fingerprint: v.nullable(v.string()),
  /**
   * Manifests that the target may have, although no tag, index or referrer there leads to them. We save their digests, because no list of a registry
   * names them.
   */
  untagged: v.pipe(
    v.array(v.string()),
    v.transform((digests): readonly Digest[] => digests as Digest[]),
  ),
  /** Whether the target lists referrers. */
  listsReferrers: v.boolean(),
});
/** What a move remembers of a repository between runs. */
export type Saved = v.InferOutput<typeof saved>;

const line = v.union([v.strictObject({ move: header }), v.strictObject({ copied: v.string(), ...saved.entries })]);

export type StateFile = {
  /** The last `move` line that the file had when it was opened. Null if it had none. */
  readonly header: MoveHeader | null;
  /** The `since` of each phase that this move has written. A phase with any other `since` was written by someone else. */
  readonly sinces: ReadonlySet<string>;
  readonly copied: Map<RepositoryName, Saved>;
  readonly write: (header: MoveHeader) => Promise<void>;
  readonly save: (name: RepositoryName, saved: Saved) => Promise<void>;
  /**
   * Forgets which repositories were copied whole, so that the target is read again. Keeps `untagged`, because no list of a registry names its
   * manifests.
   */
  readonly distrust: () => Promise<void>;
  /** Forgets all but the manifests in `untagged`, which the group's next move must know. If there are none, removes the file. */
  readonly end: () => Promise<void>;
  readonly release: () => Promise<void>;
};

export const stateFileOf = (folder: string, prefix: Prefix): string =>
  join(folder, `${encodeURIComponent(prefix)}.jsonl`);

/** Opens the state of a move and locks it, so that no other process can open it. */
export async function openStateFile(folder: string, prefix: Prefix): Promise<StateFile> {
  const path = stateFileOf(folder, prefix);
  const lock = join(folder, `${encodeURIComponent(prefix)}.lock`);
  await makeFolder(folder);
  await takeLock(lock, prefix);
  const state = await readState(path);
  // Node writes a long line in pieces, so two lines that are written at once could be mixed.
  const inTurn = createLimit(1);
  // An earlier run may have been killed in the middle of its last line. So we write a line break before each new line, and some lines are empty.
  const append = (value: object) => inTurn(() => appendFile(path, `\n${JSON.stringify(value)}\n`));
  const save = async (name: RepositoryName, each: Saved) => {
    state.copied.set(name, each);
    await append({ copied: name, ...each });
  };
  return {
    ...state,
    save,
    distrust: async () => {
      for (const [name, each] of distrusted(state.copied)) await save(name, each);
    },
    write: (move) => append({ move }),
    end: async () => {
      const left = [...distrusted(state.copied)].filter(([, { untagged }]) => untagged.length > 0);
      if (left.length === 0) return rm(path, { force: true });
      const next = `${path}.next`;
      await writeFile(next, left.map(([name, each]) => `${JSON.stringify({ copied: name, ...each })}\n`).join(""));
      await rename(next, path);
    },
    release: () => rm(lock, { force: true }),
  };
}

export const distrusted = (copied: StateFile["copied"]): StateFile["copied"] =>
  new Map([...copied].map(([name, each]) => [name, { ...each, fingerprint: null }]));

/** We do not use `recursive`, because Node's mkdir then never ends where no folder can be made, as in /proc. */
async function makeFolder(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  await makeFolder(dirname(folder));
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    // The move of another group may have made the folder meanwhile.
    if (error.code !== "EEXIST") throw error;
  });
}

export async function readState(path: string): Promise<Pick<StateFile, "header" | "sinces" | "copied">> {
  const text = await readFile(path, "utf8").catch(() => "");
  const copied = new Map<RepositoryName, Saved>();
  const sinces = new Set<string>();
  let last: MoveHeader | null = null;
  for (const each of text.split("\n")) {
    const parsed = v.safeParse(line, parseJson(each));
    if (!parsed.success) continue;
    if ("move" in parsed.output) {
      last = parsed.output.move;
      sinces.add(last.since);
    } else {
      const { copied: name, ...each } = parsed.output;
      copied.set(name as RepositoryName, each);
    }
  }
  return { header: last, sinces, copied };
}

/** A lock whose process has ended is replaced. */
async function takeLock(path: string, prefix: Prefix): Promise<void> {
  for (const isLastTry of [false, true]) {
    if (await makeLock(path)) return;
    const pid = Number(await readFile(path, "utf8").catch(() => ""));
    if (isLastTry || ((await isFromThisBoot(path)) && isRunning(pid)))
      throw new CliFailure(
        `another podctl (process ${pid}) is moving "${prefix}"; wait for it, or delete the file "${path}" if process ${pid} is not podctl`,
      );
    await rm(path, { force: true });
  }
}

/**
 * Makes the lock, a file with the number of our process. Returns false if there is a lock already. Another process would replace a lock that has no
 * number yet. So we write the number to another file, and then link that file as the lock.
 */
async function makeLock(path: string): Promise<boolean> {
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, String(process.pid));
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    await rm(own, { force: true });
  }
}

/**
 * False if the lock is older than the last start of the machine. The lock's process has ended then, but its number may belong to another process now.
 */
async function isFromThisBoot(path: string): Promise<boolean> {
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }));
  return mtimeMs > Date.now() - uptime() * 1_000;
}

/** A lock with our own process number is from an earlier podctl that has ended. In a container, podctl often gets the same number each time. */
function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
