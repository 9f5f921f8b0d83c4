/** What explain and resolve say of records and tokens: names, never a secret. */
import { decodeJwt } from "jose";
import type { Token } from "../../auth/bundle.ts";
import { keyId, verifyToken } from "../../auth/verify.ts";
import type { Directory, Pod } from "../../directory/directory.ts";
import { formatScope } from "../../oci/scope.ts";
import type { Lookup } from "../traced-directory.ts";

export const describePod = ({ id, state, registry, revision }: Pod): string =>
  `${id} (${state}, revision ${revision}) at ${registry}`;

/** The routes and blocks that were asked for, longest prefix first, and which of them are there. */
export function lookupLines(lookups: readonly Lookup[]): readonly string[] {
  return lookups.flatMap(({ key, text }) => {
    if (text === null) return key.startsWith("block/") ? [] : [`${key}  –`];
    return [`${key}  ${summaryOf(key, text)}`];
  });
}

function summaryOf(key: string, text: string): string {
  const record = parseObject(text);
  if (key.startsWith("route/")) return `→ ${textOf(record["pod"])}`;
  if (key === "directory") return `default ${textOf(record["default"])}`;
  if (key.startsWith("block/")) return "blocked";
  return "found";
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "none");

function parseObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** Each part: whose it is, its key, whether it verifies, and what it grants. */
export async function tokenLines(token: Token, directory: Directory, now: Date): Promise<readonly string[]> {
  const parts =
    token.kind === "bundle"
      ? token.parts.map(({ pod, jwt }) => ({ pod: pod as Pod["id"] | null, jwt }))
      : [{ pod: await podOf(token.jwt, directory), jwt: token.jwt }];
  return Promise.all(
    parts.map(async ({ pod: id, jwt }) => {
      const pod = id === null ? null : await directory.pod(id);
      if (pod === null || !pod.ok || pod.value === null)
        return `key ${keyId(jwt) ?? "none"}: of no Pod of this directory`;
      const verdict = await verifyToken(jwt, pod.value, now);
      const of = `${pod.value.id}: key ${keyId(jwt) ?? "none"}, ${endOf(jwt, now)}`;
      if (verdict.kind !== "verified")
        return `${of}: ${verdict.kind === "invalid" ? "does not verify" : "a key that the record does not hold"}`;
      return `${of}: grants ${verdict.access.map(formatScope).join(" ") || "nothing but a login"}`;
    }),
  );
}

async function podOf(jwt: string, directory: Directory): Promise<Pod["id"] | null> {
  const kid = keyId(jwt);
  const pod = kid === null ? null : await directory.podOfKey(kid);
  return pod?.ok === true ? pod.value : null;
}

function endOf(jwt: string, now: Date): string {
  try {
    const seconds = Math.round((decodeJwt(jwt).exp ?? 0) - now.getTime() / 1000);
    return seconds > 0 ? `${seconds} s left` : `expired ${-seconds} s ago`;
  } catch {
    return "no claims";
  }
}
