import type { Client } from "../../directory/clients.ts";
import { parseLogLine, type Subject } from "./log-line.ts";

/** Says in a word or two where a request would go: a Pod, no Pod, or what stops the request. */
export type Decide = (subject: Subject, client: Client) => Promise<string>;

/**
 * A repository name whose requests the first directory sends to one place, and the second directory to another. A place is a Pod, or what stops the
 * request.
 */
type Difference = {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  requests: number;
  readonly examples: string[];
};

/** If the edge wrote lines for only a part of the requests (`sample`), a line counts for several requests, so these numbers are estimates. */
export type Comparison = {
  readonly lines: Record<"read" | "unread", number>;
  readonly requests: Record<"same" | "differs" | "nameless" | "refused", number>;
  /** At most {@link maxNames} differences, the earliest in the log. They are sorted by their number of requests, the largest first. */
  readonly differences: readonly Difference[];
  /**
   * For each `<from> → <to>`, how many requests the first directory sends to `from` and the second to `to`. All names count here, even those that
   * `differences` leaves out.
   */
  readonly byMove: ReadonlyMap<string, number>;
};

export const maxNames = 100_000;
const maxExamples = 3;

/** Reads the log as a stream, so a longer log needs no more memory. */
export async function compareTraffic(
  lines: AsyncIterable<string | null>,
  before: Decide,
  after: Decide,
): Promise<Comparison> {
  const read = { read: 0, unread: 0 };
  const counts = { same: 0, differs: 0, nameless: 0, refused: 0 };
  const differences = new Map<string, Difference>();
  const byMove = new Map<string, number>();
  for await (const line of lines) {
    if (line === "") continue;
    const logged = line === null ? ({ kind: "unread" } as const) : parseLogLine(line);
    read[logged.kind === "unread" ? "unread" : "read"] += 1;
    if (logged.kind === "unread") continue;
    if (logged.kind !== "about") {
      counts[logged.kind] += logged.requests;
      continue;
    }
    let differs = false;
    for (const subject of logged.subjects) {
      const [from, to] = await Promise.all([before(subject, logged.client), after(subject, logged.client)]);
      if (from === to) continue;
      differs = true;
      const move = `${from} → ${to}`;
      byMove.set(move, (byMove.get(move) ?? 0) + logged.requests);
      note(differences, { name: subject.name, from, to, requests: 0, examples: [] }, logged);
    }
    counts[differs ? "differs" : "same"] += logged.requests;
  }
  return {
    lines: read,
    requests: rounded(counts),
    byMove: new Map([...byMove].map(([move, requests]) => [move, Math.round(requests)])),
    differences: [...differences.values()]
      .map((each) => ({ ...each, requests: Math.round(each.requests) }))
      .toSorted((a, b) => b.requests - a.requests),
  };
}

/** If the edge logs 80 % of the requests, a line counts for 1.25 requests. So we round only the sums. */
const rounded = ({ same, differs, nameless, refused }: Comparison["requests"]): Comparison["requests"] => ({
  same: Math.round(same),
  differs: Math.round(differs),
  nameless: Math.round(nameless),
  refused: Math.round(refused),
});

type Request = { readonly request: string; readonly requests: number };

function note(differences: Map<string, Difference>, fresh: Difference, { request, requests }: Request): void {
  const key = `${fresh.name} ${fresh.from} ${fresh.to}`;
  const known = differences.get(key) ?? (differences.size < maxNames ? fresh : null);
  if (known === null) return;
  differences.set(key, known);
  known.requests += requests;
  if (known.examples.length < maxExamples && !known.examples.includes(request)) known.examples.push(request);
}
