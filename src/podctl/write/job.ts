import { directoryKey, kindOf } from "../../directory/keys.ts";
import type { Change } from "../../topology/difference.ts";
import { recordText, type Stamp } from "../../topology/record-text.ts";
import { type Settings, settingsOf, settingsSteps } from "../../topology/settings-steps.ts";
import type { LiveDirectory } from "./live-directory.ts";
import type { Job, Write } from "./write-directory.ts";

export type Changes = {
  readonly live: Pick<LiveDirectory, "settings" | "settingsText">;
  readonly changes: readonly Change[];
};

/** The write that makes these changes and the next revision. */
export function jobOf({ live, changes }: Changes, written: Required<Omit<Stamp, "revision">>): Job {
  const revision = (live.settings?.revision ?? 0) + 1;
  const stamp = { ...written, revision };
  const changed = changes.find(({ key }) => key === directoryKey)?.after as Settings | undefined;
  const settings = settingsOf(changed ?? live.settings ?? { credentials: "own" });
  const records = changes.filter(({ key }) => kindOf(key) !== "directory");
  return {
    revision,
    at: stamp.appliedAt,
    by: stamp.appliedBy,
    former: new Map([[directoryKey, live.settingsText], ...records.map(({ key, before }) => [key, before] as const)]),
    writes: records.map(
      ({ key, after }): Write =>
        after === null ? { key, text: null } : { key, text: () => recordText(key, after, stamp) },
    ),
    steps: settingsSteps(live.settings, settings),
    final: recordText(directoryKey, settings, stamp),
  };
}
