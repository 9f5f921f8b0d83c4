import type { Client } from "../../directory/clients.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { formatEndpoint, hasRepository, type RepositoryEndpoint } from "../../oci/endpoint.ts";
import { parseEndpoint } from "../../oci/parse-endpoint.ts";
import { parseRepositoryName, type RepositoryName } from "../../oci/repository-name.ts";
import { formatScope, isRepository, parseScopes } from "../../oci/scope.ts";
import { requestsOf } from "./lines.ts";
import { clientInCommonFormat, clientInRecord } from "./log-client.ts";

/**
 * A repository that a logged request is about. To see where the edge sends such requests, podctl gives `handle()` this `method` and `path`, which may
 * differ from those in the log.
 */
export type Subject = { readonly name: RepositoryName; readonly method: string; readonly path: string };

type LoggedRequest =
  | ({
      readonly kind: "about";
      readonly request: string;
      readonly subjects: readonly Subject[];
      readonly client: Client;
    } & Weighted)
  /** `nameless`: the request names no repository, such as `/v2/`. `refused`: the edge refuses the request before any look-up. */
  | ({ readonly kind: "nameless" | "refused" } & Weighted)
  /** The line is not from an access log. */
  | { readonly kind: "unread" };

type Weighted = { readonly requests: number };

/** Matches Apache's common log format and its extensions: the request line in quotes, then the status. */
const commonFormat = /"([A-Z]+) (\S+) HTTP\/[\d.]+" \d{3}\b/;
const maxRequestCharacters = 200;

export function parseLogLine(line: string): LoggedRequest {
  const read = line.startsWith("{") ? ofRecord(line) : ofCommonFormat(line);
  const url = read && URL.parse(read.path, "https://edge.invalid");
  if (read === null || url === null) return { kind: "unread" };
  const { method, client, requests } = read;
  const endpoint = parseEndpoint(method, url);
  if (!endpoint.ok) return { kind: "refused", requests };
  const subjects = subjectsOf(endpoint.value, url);
  if (subjects.length === 0) return { kind: "nameless", requests };
  // The query may hold secrets, so only the path is printed.
  const request = `${method} ${url.pathname}`.slice(0, maxRequestCharacters);
  return { kind: "about", request, subjects, client, requests };
}

type ReadLine = { readonly method: string; readonly path: string; readonly client: Client } & Weighted;

/** Reads a line of the Worker's own log (telemetry/log-line.ts). */
function ofRecord(line: string): ReadLine | null {
  const record = parseJsonObject(line) ?? {};
  const { method, path, sample } = record;
  const requests = requestsOf(sample);
  return typeof method === "string" && typeof path === "string" && requests !== null
    ? { method, path, client: clientInRecord(record), requests }
    : null;
}

function ofCommonFormat(line: string): ReadLine | null {
  const [, method, path] = commonFormat.exec(line) ?? [];
  if (method === undefined || path === undefined) return null;
  return { method, path, client: clientInCommonFormat(line), requests: 1 };
}

type Parsed = Extract<ReturnType<typeof parseEndpoint>, { readonly ok: true }>["value"];

function subjectsOf(endpoint: Parsed, url: URL): readonly Subject[] {
  if (endpoint.kind === "token") {
    return parseScopes(url.searchParams.getAll("scope")).flatMap((scope) => {
      const name = parseRepositoryName(scope.name);
      if (!isRepository(scope) || !name.ok) return [];
      return [{ name: name.value, method: "GET", path: `/jwt/auth?scope=${encodeURIComponent(formatScope(scope))}` }];
    });
  }
  if (!hasRepository(endpoint)) return [];
  const own: Subject = { name: endpoint.name, method: endpoint.method, path: formatEndpoint(withoutSecrets(endpoint)) };
  const from = endpoint.kind === "upload-start" ? endpoint.mount?.from : undefined;
  // A mount also reads from its source repository, so the request is about that name, too.
  return from?.kind === "name"
    ? [own, { name: from.name, method: "GET", path: sourcePath(endpoint, from.name) }]
    : [own];
}

/** Removes the query of an upload, because the query belongs to the Pod and may hold secrets. */
const withoutSecrets = (endpoint: RepositoryEndpoint): RepositoryEndpoint =>
  endpoint.kind === "upload" ? { ...endpoint, query: "" } : endpoint;

function sourcePath(endpoint: RepositoryEndpoint, name: RepositoryName): string {
  const blob = endpoint.kind === "upload-start" ? `/v2/${name}/blobs/${endpoint.mount?.digest}` : "";
  const isBlob = parseEndpoint("GET", new URL(blob, "https://edge.invalid")).ok;
  return isBlob ? blob : `/v2/${name}/tags/list`;
}
