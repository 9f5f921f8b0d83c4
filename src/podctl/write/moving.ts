/** Keeps other writers of the directory away from a group that is being moved. */
import { kindOf, nameIn, routeKey } from "../../directory/keys.ts";
import { hasBegun, type MoveRecord } from "../../directory/moves.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import { type Prefix, prefixesOf, type RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";

type MovingAssignment = AssignmentRecord & { readonly move: MoveRecord };

const isMoving = (record: AssignmentRecord): record is MovingAssignment => record.move !== undefined;

/** The assignment in this record's text, if its group is being moved. Null for any other record. */
export function movingIn(key: string, text: string | null): MovingAssignment | null {
  // We search the text before we parse it, because a directory may have a million assignments, and most groups are not being moved.
  if (kindOf(key) !== "route" || text === null || !text.includes('"move"')) return null;
  const parsed = parseRecord(key, text, assignmentRecord);
  return parsed.ok && isMoving(parsed.value) ? parsed.value : null;
}

export const phaseText = (move: MoveRecord): string =>
  `${move.phase} ${hasBegun(move, new Date()) ? "since" : "begins at"} ${move.since}`;

export const describeMoving = (key: string, { pod, move }: MovingAssignment): string =>
  `"${nameIn(key)}" is being moved from ${pod} to ${move.to} (${phaseText(move)})`;

/** Refuses to change an assignment by hand while a move depends on it. */
export function refuseMoving(key: string, text: string | null): void {
  const moving = movingIn(key, text);
  if (moving === null) return;
  throw new CliFailure(`${describeMoving(key, moving)}; ${goingOn(nameIn(key), moving.move)}`);
}

/** Says how an operator ends the move of a group. If the group is on its way back, only `--back` is left. */
export function goingOn(prefix: string, move: MoveRecord): string {
  const back = `\`podctl move ${prefix} --back\``;
  if (move.settledSince !== undefined) return `go on with ${back}`;
  const onward =
    move.phase === "settle"
      ? `end the move with \`podctl move ${prefix} --done\``
      : `go on with \`podctl move ${prefix} --to ${move.to}\``;
  return `${onward}, or return the group with ${back}`;
}

export const movedElsewhere = (prefix: Prefix, move: MoveRecord, to: PodId): CliFailure =>
  new CliFailure(`"${prefix}" is being moved to "${move.to}", and not to "${to}"; ${goingOn(prefix, move)}`);

/** The keys of the assignments of all shorter prefixes, shortest first. */
export function keysAbove(key: string): readonly string[] {
  if (kindOf(key) !== "route") return [];
  const [, ...shorter] = prefixesOf(nameIn(key) as RepositoryName);
  return shorter.reverse().map(routeKey);
}

/**
 * Refuses to add or remove an assignment below a group that is being moved. A new assignment could give repositories of the group to the target. The
 * move would remove what is pushed to them there, because it makes the target equal to the source. If an assignment were removed, the group would get
 * more repositories, and the move would not copy them.
 */
export function refuseBelowMoving(key: string, texts: ReadonlyMap<string, string | null>): void {
  for (const above of keysAbove(key)) {
    const moving = movingIn(above, texts.get(above) ?? null);
    if (moving !== null) throw new CliFailure(`${belowMoving(key, above)}; wait until that move has ended`);
  }
}

export const belowMoving = (key: string, above: string): string =>
  `"${nameIn(key)}" is below "${nameIn(above)}", which is being moved`;

/**
 * Refuses to roll back a step of a move, because the data at both Pods may no longer fit the phase before that step. `former` has what the last write
 * replaced.
 */
export async function refuseToUndoMove(kv: KvStore, former: ReadonlyMap<string, string | null>): Promise<void> {
  const keys = [...former.keys()].filter((key) => kindOf(key) === "route");
  // If the last write is a step of a move, each of its assignments has such a step, so two of them are enough. An apply may have a million.
  const live = await kv.read(keys.slice(0, 2));
  for (const key of keys) {
    const moving = movingIn(key, live.get(key) ?? null) ?? movingIn(key, former.get(key) ?? null);
    if (moving === null) continue;
    const name = nameIn(key);
    throw new CliFailure(
      `the last write is a step of the move of "${name}" from ${moving.pod} to ${moving.move.to}, which a rollback would leave half done; ` +
        `\`podctl move ${name} --back\` returns the group, and if the move has ended, \`podctl move ${name} --to ${moving.pod}\` moves it again`,
    );
  }
}
