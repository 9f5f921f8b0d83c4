import { blocksKey } from "../directory/keys.ts";
import { blocksRecord, maxBlocks, parseRecord } from "../directory/records.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** Each blocked prefix or digest, with the text that clients are shown. */
export type Blocks = ReadonlyMap<string, string>;

export function parseBlocks(text: string | null): Result<Blocks, string> {
  if (text === null) return ok(new Map());
  const record = parseRecord(blocksKey, text, blocksRecord);
  return record.ok ? ok(record.value.blocks) : record;
}

/** Returns the record to write, without its revision, or null if nothing is blocked. */
export function blocksToWrite(blocks: Blocks): Result<object | null, string> {
  if (blocks.size > maxBlocks) {
    return err(
      `${blocks.size} prefixes and digests would be blocked; want at most ${maxBlocks}; \`podctl unblock\` lifts one`,
    );
  }
  return ok(blocks.size === 0 ? null : { blocks: Object.fromEntries(blocks) });
}

/** Returns the blocks that an apply writes. It keeps those that are only in KV, because only `podctl unblock` lifts a block. */
export const unionOf = (live: Blocks, wanted: Blocks): Blocks => new Map([...live, ...wanted]);

export type BlockChanges = Readonly<Record<"added" | "changed" | "lifted", readonly string[]>>;

export function blockChanges(before: Blocks, after: Blocks): BlockChanges {
  const names = [...after.keys()];
  return {
    added: names.filter((name) => !before.has(name)),
    changed: names.filter((name) => before.has(name) && before.get(name) !== after.get(name)),
    lifted: [...before.keys()].filter((name) => !after.has(name)),
  };
}
