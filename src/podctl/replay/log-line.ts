/** Access logs, line by line: the edge's own records and the common log format. */

import { parseJsonObject } from "../../lib/json.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { digestOf, hasRepository } from "../../oci/endpoint.ts";
import { parseEndpoint } from "../../oci/parse-endpoint.ts";
import { parseRepositoryName, type RepositoryName } from "../../oci/repository-name.ts";
import { isRepository, parseScopes } from "../../oci/scope.ts";

/** A name that a request is about, and what it does there. */
export type Subject = { readonly name: RepositoryName; readonly digest: Digest | null; readonly method: string };

type LoggedRequest =
  | { readonly kind: "about"; readonly request: string; readonly subjects: readonly Subject[] }
  /** No repository, as `/v2/`; refused before any look-up; or no line of an access log. */
  | { readonly kind: "nameless" | "refused" | "unread" };

/** Apache's common log format and what extends it: the request line in quotes, then the status. */
const commonFormat = /"([A-Z]+) (\S+) HTTP\/[\d.]+" \d{3}\b/;
const maxRequestCharacters = 200;

export function parseLogLine(line: string): LoggedRequest {
  const [method, path] = line.startsWith("{") ? ofRecord(line) : (commonFormat.exec(line)?.slice(1) ?? []);
  if (method === undefined || path === undefined || !URL.canParse(path, "https://edge.invalid"))
    return { kind: "unread" };
  const url = new URL(path, "https://edge.invalid");
  const endpoint = parseEndpoint(method, url);
  if (!endpoint.ok) return { kind: "refused" };
  const subjects = subjectsOf(endpoint.value, url);
  if (subjects.length === 0) return { kind: "nameless" };
  // The query may hold what is not to be printed.
  return { kind: "about", request: `${method} ${url.pathname}`.slice(0, maxRequestCharacters), subjects };
}

/** A line of the Worker's own log (telemetry/record.ts). */
function ofRecord(line: string): readonly string[] {
  const { method, path } = parseJsonObject(line) ?? {};
  return typeof method === "string" && typeof path === "string" ? [method, path] : [];
}

type Parsed = Extract<ReturnType<typeof parseEndpoint>, { readonly ok: true }>["value"];

function subjectsOf(endpoint: Parsed, url: URL): readonly Subject[] {
  if (endpoint.kind === "token") {
    return parseScopes(url.searchParams.getAll("scope")).flatMap((scope) => {
      const name = parseRepositoryName(scope.name);
      if (!isRepository(scope) || !name.ok) return [];
      // A token is given whatever the Pod's state lets through.
      return [{ name: name.value, digest: null, method: "GET" }];
    });
  }
  if (!hasRepository(endpoint)) return [];
  const { name, method } = endpoint;
  const own: Subject = { name, digest: digestOf(endpoint), method };
  const from = endpoint.kind === "upload-start" ? endpoint.mount?.from : undefined;
  return from?.kind === "name" ? [own, { name: from.name, digest: mountDigest(endpoint), method: "GET" }] : [own];
}

function mountDigest(endpoint: Parsed): Digest | null {
  const digest = endpoint.kind === "upload-start" ? parseDigest(endpoint.mount?.digest ?? "") : null;
  return digest?.ok === true ? digest.value : null;
}
