import { directoryKey, podPrefix, routePrefix } from "../directory/keys.ts";

/** Of one write of the directory. */
export type Stamp = {
  /** The directory's own, in every record that this write changes. */
  readonly revision: number;
  readonly appliedAt: Date;
  /** Who wrote, for whoever else writes at the same time. */
  readonly appliedBy?: string;
};

const versionedPrefixes = [podPrefix, routePrefix];

/** A record as it stands in KV. */
export function recordText(key: string, record: object, { revision, appliedAt, appliedBy }: Stamp): string {
  const head = versionedPrefixes.some((prefix) => key.startsWith(prefix)) ? { v: 1, revision } : { v: 1 };
  if (key !== directoryKey) return JSON.stringify({ ...head, ...record });
  return JSON.stringify({ v: 1, revision, appliedAt: appliedAt.toISOString(), appliedBy, ...record });
}
