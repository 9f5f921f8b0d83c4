/** Describes records and tokens in words, for `podctl explain` and `podctl resolve`. The words never contain a secret. */
import { decodeJwt } from "jose";
import type { Token } from "../../auth/bundle.ts";
import { partsOf } from "../../auth/grant.ts";
import { keyId, type VerifyPorts, verifyToken } from "../../auth/verify.ts";
import type { Directory, Pod } from "../../directory/directory.ts";
import { kindOf } from "../../directory/keys.ts";
import type { Moving } from "../../directory/moves.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import type { Resolution } from "../../directory/resolve.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { formatScope } from "../../oci/scope.ts";
import { counted } from "../output.ts";
import type { Lookup } from "../target/traced-directory.ts";

export const describePod = ({ id, state, registry, revision }: Pod): string =>
  `${id} (${state}, revision ${revision}) at ${registry}`;

export function describeSettings(assignment: AssignmentRecord | null): string | null {
  if (assignment === null) return null;
  const { state, clients, delivery, uploads } = assignment;
  const words = [
    ...(state === "active" ? [] : [state]),
    ...(clients === undefined ? [] : ["only for some clients"]),
    ...(delivery === undefined ? [] : ["blobs come through the Pod"]),
    ...(uploads === undefined ? [] : ["uploads stay on the edge"]),
  ];
  return words.length === 0 ? null : words.join("; ");
}

/** Says what a phase of a move means for clients. `serving` is the Pod that serves the group in this phase, `other` is the move's other Pod. */
const meaningOf: Readonly<Record<Moving["phase"], (serving: string, other: string) => string>> = {
  copy: (serving) => `${serving} serves pulls and pushes`,
  freeze: (serving) => `${serving} serves pulls, and pushes are refused`,
  return: (serving, other) =>
    `${serving} serves pulls, and pushes are refused; digests that it lacks are looked for at ${other}`,
  switch: (serving, other) =>
    `${serving} serves pulls, and pushes are refused; tags and digests that it lacks are looked for at ${other}`,
  settle: (serving, other) => `${serving} serves pulls and pushes; digests that it lacks are looked for at ${other}`,
};

export function describeMove({
  pod,
  assignment,
  moving,
}: Pick<Resolution, "pod" | "assignment" | "moving">): string | null {
  if (assignment?.move === undefined || moving === null) return null;
  const { phase, to, since } = assignment.move;
  const meaning = meaningOf[moving.phase](pod?.id ?? "no Pod", moving.other);
  const hasStarted = moving.phase === phase || moving.phase === "return";
  const when = hasStarted ? `since ${since}:` : `begins at ${since}; until then`;
  return `${phase}, from ${assignment.pod} to ${to}, ${when} ${meaning}`;
}

/** `–` means that KV does not have the record. */
export function lookupLines(lookups: readonly Lookup[]): readonly string[] {
  return lookups.map(({ key, text }) => `${key}  ${text === null ? "–" : summaryOf(key, text)}`);
}

function summaryOf(key: string, text: string): string {
  const record = parseJsonObject(text) ?? {};
  const kind = kindOf(key);
  if (kind === "route") return routeText(text, record["pod"]);
  if (kind === "directory") return `default ${textOf(record["default"])}${depthText(record["depth"])}`;
  if (kind === "blocks") return counted(Object.keys(record["blocks"] ?? {}).length, "block");
  return "found";
}

function routeText(text: string, pod: unknown): string {
  const record = parseRecord("", text, assignmentRecord);
  const settings = record.ok ? describeSettings(record.value) : null;
  const move = record.ok ? record.value.move : undefined;
  const moving = move === undefined ? "" : `, being moved to ${move.to} (${move.phase})`;
  return `→ ${textOf(pod)}${moving}${settings === null ? "" : `, ${settings}`}`;
}

const depthText = (depth: unknown): string => (typeof depth === "number" ? `, depth ${depth}` : "");
const textOf = (value: unknown): string => (typeof value === "string" ? value : "none");

export async function tokenLines(token: Token, directory: Directory, ports: VerifyPorts): Promise<readonly string[]> {
  const parts = await partsOf(token, directory);
  if (!parts.ok) return [parts.error.text];
  if (parts.value.length === 0) return ["its key does not belong to a Pod of this directory"];
  return Promise.all(
    parts.value.map(async (part) => {
      if (part.kind === "edge") return `${part.pod}: a grant of the edge's own, which only the Worker can open`;
      const { pod: id, jwt } = part;
      const pod = await directory.pod(id);
      if (!pod.ok || pod.value === null) return `${id}: ${pod.ok ? "has no record" : pod.error.text}`;
      const verdict = await verifyToken(jwt, pod.value, ports);
      const kid = keyId(jwt);
      const of = `${id}: key ${kid.ok ? kid.value : "that cannot be read"}, ${endOf(jwt, ports.now)}`;
      if (verdict.kind === "verified")
        return `${of}: grants ${verdict.access.map(formatScope).join(" ") || "nothing but a login"}`;
      return `${of}: ${verdict.kind === "invalid" ? "does not verify" : "the Pod's record does not have this key"}`;
    }),
  );
}

function endOf(jwt: string, now: Date): string {
  try {
    const seconds = Math.round((decodeJwt(jwt).exp ?? 0) - now.getTime() / 1000);
    return seconds > 0 ? `${seconds} s left` : `expired ${-seconds} s ago`;
  } catch {
    return "no claims";
  }
}
