import fc from "fast-check";
import { tag } from "./generators.ts";
import { blobOf, body, digestOf, type Materials, nameOf, pair } from "./hostile-parts.ts";
import type { RawRequest } from "./raw-exchange.ts";

/** A request that no client library would send, one character per byte. It is plain data, so that a failure can print it. */
export type HostileRequest = {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly framing: Framing;
};
/** How the request marks the end of its body. The first four ways are right, and the others are wrong. */
export type Framing =
  | "none"
  | "length"
  | "chunks"
  | "bytes"
  | "short"
  | "cut chunk"
  | "bad chunk"
  | "two lengths"
  | "length and chunks";

export const isWhole = ({ framing }: HostileRequest): boolean =>
  ["none", "length", "chunks", "bytes"].includes(framing);
const edgeHost = "edge.test";

/** If the answer names the edge's host, it must name this host. workerd joins several Host lines with commas. */
export const hostOf = ({ headers }: HostileRequest): string =>
  headers.flatMap(([name, value]) => (name === "Host" && value !== "" ? value : [])).join(", ");

export function rawRequest(request: HostileRequest): RawRequest {
  const { method, target, headers, body: content } = request;
  const lines = [...headers, ...framingHeaders(request), ["Connection", "close"] as const];
  const head = [`${method} ${target} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`)].join("\r\n");
  return {
    text: `${head}\r\n\r\n${framed(request, content)}`,
    breaksOff: !isWhole(request),
    isHead: method === "HEAD",
  };
}

function framingHeaders({ framing, body: { length } }: HostileRequest): HostileRequest["headers"] {
  const announced = (bytes: number) => ["Content-Length", String(bytes)] as const;
  const chunked = ["Transfer-Encoding", "chunked"] as const;
  if (framing === "none") return [];
  if (framing === "length") return [announced(length)];
  if (framing === "short") return [announced(length + 10)];
  if (framing === "two lengths") return [announced(length), announced(length + 1)];
  return framing === "length and chunks" ? [announced(4), chunked] : [chunked];
}

function framed({ framing }: HostileRequest, content: string): string {
  const chunk = content === "" ? "" : `${content.length.toString(16)}\r\n${content}\r\n`;
  if (framing === "none") return "";
  if (framing === "chunks") return `${chunk}0\r\n\r\n`;
  // Each byte is a chunk of its own. Such a body is dear to read, because a small chunk takes a reader as much time as a large one.
  if (framing === "bytes") return `${content.replaceAll(/./gs, "1\r\n$&\r\n")}0\r\n\r\n`;
  if (framing === "cut chunk") return `${chunk}ffff\r\nabc`;
  return framing === "bad chunk" ? `${chunk}zz\r\nabc\r\n0\r\n\r\n` : content;
}

const blobPaths = ["GET", "GET", "GET", "HEAD", "DELETE"];
const uploadPaths = ["GET", "HEAD", "PATCH", "PUT", "DELETE"];

function known(materials: Materials): fc.Arbitrary<readonly [method: string, path: string]> {
  const name = nameOf(materials);
  const digest = digestOf(materials);
  const reference = fc.oneof(fc.constant("1"), tag, digest);
  const row = (methods: readonly string[], path: fc.Arbitrary<string>) => fc.tuple(fc.constantFrom(...methods), path);
  return fc.oneof(
    {
      arbitrary: row(
        blobPaths,
        blobOf(materials).map((parts) => `/v2/${parts.join("/blobs/")}`),
      ),
      weight: 3,
    },
    row(
      ["GET", "HEAD", "PUT", "DELETE"],
      fc.tuple(name, reference).map((parts) => `/v2/${parts.join("/manifests/")}`),
    ),
    row(
      ["POST"],
      name.map((text) => `/v2/${text}/blobs/uploads/`),
    ),
    row(
      ["POST"],
      fc.tuple(name, digest, name).map(([to, mount, from]) => `/v2/${to}/blobs/uploads/?mount=${mount}&from=${from}`),
    ),
    row(
      uploadPaths,
      name.map((text) => `/v2/${text}/blobs/uploads/7b6c`),
    ),
    row(
      ["GET"],
      name.map((text) => `/v2/${text}/tags/list`),
    ),
    row(
      ["GET"],
      fc.tuple(name, digest).map((parts) => `/v2/${parts.join("/referrers/")}`),
    ),
    row(["GET", "HEAD"], fc.constantFrom("/v2/", "/v2/_catalog", "/gitlab/v1/", "/gitlab/v1/statistics/")),
    row(
      ["GET", "PATCH"],
      name.map((text) => `/gitlab/v1/repositories/${text}/`),
    ),
    row(
      ["GET"],
      name.map((text) => `/gitlab/v1/repository-paths/${text}/repositories/list/`),
    ),
    { arbitrary: row(["GET", "HEAD", "POST", "POST"], fc.constant("/jwt/auth")), weight: 3 },
    row(["GET"], fc.constantFrom("/", "/v2", "/-/health", "/-/probe?pod=pod-a", "/-/probe?pod=../pod-a")),
  );
}

/** A request with a known path, a good token and a good password. Only its parameters and its body are odd. */
export const plainRequest = (materials: Materials): fc.Arbitrary<HostileRequest> =>
  fc
    .tuple(
      known(materials),
      fc.constantFrom(...materials.tokens),
      fc.constantFrom("demo:demo", `anyone:${materials.password}`),
      fc.array(pair(materials), { maxLength: 3 }),
      body(materials),
    )
    .map(([[method, path], token, user, pairs, content]) => {
      const hasBody = ["POST", "PUT", "PATCH"].includes(method);
      const authorization = path === "/jwt/auth" ? `Basic ${btoa(user)}` : `Bearer ${token}`;
      return {
        method,
        target: pairs.length === 0 ? path : `${path}${path.includes("?") ? "&" : "?"}${pairs.join("&")}`,
        headers: [["Host", edgeHost] as const, ["Authorization", authorization] as const],
        body: hasBody ? content : "",
        framing: hasBody ? "length" : "none",
      };
    });

/** The URL that workerd reads from the request (RFC 9112 §3.3), with the host taken only from the Host line. Null if that is not a URL. */
export function urlOf(request: HostileRequest): URL | null {
  const absolute = /^https?:\/\/[^/?#]*(.*)$/.exec(request.target)?.[1];
  const text = `http://${hostOf(request)}${absolute ?? request.target}`;
  return URL.canParse(text) ? new URL(text) : null;
}
