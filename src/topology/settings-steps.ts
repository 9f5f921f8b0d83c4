import type { DirectoryRecord } from "../directory/records.ts";

/** The directory record on its way: bundles may name a new Pod before a route leads to it, and the default changes once all routes stand. */
export type SettingsSteps = {
  /** Written before the routes; null when there is no new Pod. */
  readonly widened: string | null;
  /** Written before anything is deleted; null when the record says nothing new. */
  readonly settled: string | null;
};

/** What a directory record says. */
export type Settings = Pick<DirectoryRecord, "pods" | "default" | "credentials">;

/** Revision and time of both are those of `from`: the write has not ended. */
export function settingsSteps(from: DirectoryRecord | null, to: Settings): SettingsSteps {
  const stamp = { v: 1, revision: from?.revision ?? 0, appliedAt: from?.appliedAt, appliedBy: from?.appliedBy };
  const known = from?.pods ?? [];
  const added = (to.pods ?? []).filter((id) => !known.includes(id));
  const { default: defaultPod, credentials } = from ?? { default: undefined, credentials: "own" };
  const settled = JSON.stringify({ ...stamp, ...settingsOf(to) });
  return {
    widened:
      added.length === 0
        ? null
        : JSON.stringify({ ...stamp, pods: [...known, ...added], default: defaultPod, credentials }),
    settled: from !== null && settled === JSON.stringify({ ...stamp, ...settingsOf(from) }) ? null : settled,
  };
}

export const settingsOf = ({ pods, default: defaultPod, credentials }: Settings): Settings => ({
  pods,
  default: defaultPod,
  credentials,
});
