import type { Digest } from "../../oci/digest.ts";
import { type PullLine, readPullLine, type Who } from "./pull-line.ts";

/** One client that pulled the digest from one repository. `pulls` is an estimate if the logs have lines for only a part of the requests. */
export type Puller = Who & {
  readonly repository: string;
  readonly first: string;
  readonly last: string;
  readonly pulls: number;
};

export type Pulls = {
  readonly digest: Digest;
  /** All pulls of the digest, also those of clients that are not among `pullers`. */
  readonly pulls: number;
  /** The first clients that the logs name, at most {@link maxPullers}, sorted by their pulls. */
  readonly pullers: readonly Puller[];
  readonly lines: Record<"pulls" | "other" | "unread", number>;
  /** The places of the first few lines that could not be read, as `file:line`. */
  readonly unreadAt: readonly string[];
  /** The files in which no line could be read, such as a compressed file. */
  readonly unreadFiles: readonly string[];
  /** The lowest `sample` of all lines: the share of requests for which the edge writes a line. If it is below 1, some pulls have no line. */
  readonly sample: number;
};

type LogFile = { readonly name: string; readonly lines: AsyncIterable<string | null> };
type Wanted = { readonly digest: Digest; readonly since: Date | null };
type Counted = { readonly line: PullLine; firstMs: number; lastMs: number; requests: number };

export const maxPullers = 100_000;
const maxUnreadShown = 5;

/** Reads the logs as streams, so a longer log needs no more memory. */
export async function countPulls(logs: readonly LogFile[], { digest, since }: Wanted): Promise<Pulls> {
  const lines = { pulls: 0, other: 0, unread: 0 };
  const pullers = new Map<string, Counted>();
  const unreadAt: string[] = [];
  const unreadFiles: string[] = [];
  let [requests, lowest] = [0, 1];
  for (const log of logs) {
    let [number, read, unread] = [0, 0, 0];
    for await (const line of log.lines) {
      number += 1;
      if (line === "") continue;
      const logged = line === null ? ({ kind: "unread" } as const) : readPullLine(line);
      if (logged.kind === "unread") {
        unread += 1;
        if (unreadAt.length < maxUnreadShown) unreadAt.push(`${log.name}:${number}`);
        continue;
      }
      read += 1;
      lowest = Math.min(lowest, logged.sample);
      const isWanted = logged.kind === "pull" && logged.pull.digest === digest && isSince(logged.pull, since);
      lines[isWanted ? "pulls" : "other"] += 1;
      if (!isWanted) continue;
      requests += logged.pull.requests;
      note(pullers, logged.pull);
    }
    lines.unread += unread;
    if (unread > 0 && read === 0) unreadFiles.push(log.name);
  }
  const sorted = [...pullers.values()].toSorted((one, other) => other.requests - one.requests).map(toPuller);
  return { digest, pulls: Math.round(requests), pullers: sorted, lines, unreadAt, unreadFiles, sample: lowest };
}

const isSince = ({ atMs }: PullLine, since: Date | null): boolean => since === null || atMs >= since.getTime();

function note(pullers: Map<string, Counted>, line: PullLine): void {
  const key = JSON.stringify([line.repository, ...Object.values(line.who)]);
  const known = pullers.get(key);
  if (known === undefined) {
    if (pullers.size < maxPullers)
      pullers.set(key, { line, firstMs: line.atMs, lastMs: line.atMs, requests: line.requests });
    return;
  }
  // The lines are not in the order of time, because they come from several files and from many isolates of the Worker.
  known.firstMs = Math.min(known.firstMs, line.atMs);
  known.lastMs = Math.max(known.lastMs, line.atMs);
  known.requests += line.requests;
}

const toPuller = ({ line, firstMs, lastMs, requests }: Counted): Puller => ({
  ...line.who,
  repository: line.repository,
  first: new Date(firstMs).toISOString(),
  last: new Date(lastMs).toISOString(),
  pulls: Math.round(requests),
});
