/** Runs the Worker's own `handle()` without a network. Each call to a Pod is recorded, and gets an assumed answer. */
import { UnsecuredJWT } from "jose";
import { noneRejected } from "../../auth/verify.ts";
import { createProofs } from "../../blobs/proofs.ts";
import { type Client, readClient } from "../../directory/clients.ts";
import type { Directory, Pod } from "../../directory/directory.ts";
import type { AttributedAnswer } from "../../edge/attribute.ts";
import { handle } from "../../edge/handle.ts";
import { createIsolate } from "../../isolate.ts";
import type { PlainHttp } from "../../lib/address.ts";
import { err, ok } from "../../lib/result.ts";
import { createManifests } from "../../manifests/manifests.ts";
import type { FetchRequest } from "../../net/fetch.ts";
import { parseScopes } from "../../oci/scope.ts";
import type { Services } from "../../services.ts";
import { createRememberedGrants } from "../../token-endpoint/remembered-grants.ts";
import { standInSecret } from "./explain-signing.ts";

/** A request to explain, and what we assume about the deployment and its Pods. */
export type Question = {
  readonly method: string;
  readonly url: URL;
  /** `none`: no Pod of the deployment needs a token. */
  readonly auth: "token" | "none";
  readonly service: string;
  readonly plainHttp: PlainHttp;
  /** The token as the client sends it. It is never printed. */
  readonly token: string | null;
  readonly client: Client;
  /** The status that registries and token services are assumed to answer with. It is not a redirect. */
  readonly podStatus: number;
  readonly now: Date;
};

export type Call = {
  readonly service: "registry" | "token service" | "gateway";
  readonly pod: Pod;
  readonly request: FetchRequest;
  readonly assumedStatus: number;
};

type Assumptions = Pick<Question, "auth" | "service" | "podStatus" | "now"> & { readonly directory: Directory };

export type Recorded = {
  readonly answer: AttributedAnswer;
  readonly calls: readonly Call[];
  /** `notMounted` and `passedOver` are as in the Worker's `Trace`. */
  readonly notMounted: string | undefined;
  readonly passedOver: string | undefined;
};

export async function runHandle(request: Request, assumptions: Assumptions): Promise<Recorded> {
  const calls: Call[] = [];
  const services = recordingServices(request, assumptions, calls);
  const answer = await handle(request, services);
  const { notMounted, passedOver } = services.trace;
  return { answer, calls, notMounted, passedOver };
}

function recordingServices(request: Request, assumptions: Assumptions, calls: Call[]): Services {
  const { directory, auth, service, podStatus, now } = assumptions;
  const isolate = createIsolate();
  const waitUntil = (work: Promise<unknown>) => void work.catch(() => undefined);
  const cache = { read: async () => null, write: async () => undefined };
  const record = (service: Call["service"], bodyOf: (sent: FetchRequest) => string, status = podStatus) => {
    return async (pod: Pod, sent: FetchRequest) => {
      calls.push({ service, pod, request: sent, assumedStatus: status });
      const isBodyless = sent.method === "HEAD" || [204, 205].includes(status);
      // The edge takes a registry's 200 as a proof of a blob only if the answer names the blob's digest.
      const [, digest] = /\/blobs\/([^/?]+:[^/?]+)/.exec(sent.url) ?? [];
      const headers: Record<string, string> = digest === undefined ? {} : { "Docker-Content-Digest": digest };
      return ok(new Response(isBodyless ? null : bodyOf(sent), { status, headers }));
    };
  };
  return {
    ...isolate,
    rejected: noneRejected(),
    client: readClient(request),
    config: {
      service,
      realm: null,
      auth,
      cacheHost: "cache.invalid",
      plainHttp: "everywhere",
      corsOrigins: [],
      sealingKeys: [],
      edgeKeys: [new Uint8Array(32)],
      probeToken: null,
      stallMs: 60_000,
      storeCheckMs: 5_000,
      logSample: 1,
    },
    directory,
    // For what `handle()` answers, the body of a registry's answer counts only if it is a catalog. So every body is an empty catalog.
    callRegistry: record("registry", () => '{"repositories":[]}'),
    callTokenService: record("token service", (sent) => assumedToken(sent, now)),
    callStorage: async () => err({ reason: "unreachable", text: "podctl calls no storage" }),
    callGateway: record("gateway", () => "", 201),
    openSecret: async (_, { scheme }) => ok(standInSecret(scheme)),
    proofs: createProofs({ memory: isolate.proofs, cache, clock: () => now, waitUntil }),
    manifests: createManifests({ memory: isolate.manifests, cache: emptyCache, clock: () => now, waitUntil }),
    movedTombstones: { has: async () => false, add: () => undefined },
    grants: createRememberedGrants({ cache: emptyCache, edgeKeys: [], clock: () => now }),
    waitUntil,
    now,
    trace: { kvReads: 0, kvKeys: 0, podRequests: 0 },
  };
}

const emptyCache = { match: async () => null, put: async () => undefined };

/** Returns a token service's answer that grants every scope of the request. */
function assumedToken({ url }: FetchRequest, now: Date): string {
  const access = parseScopes(new URL(url).searchParams.getAll("scope"));
  const claims = new UnsecuredJWT({ access }).setExpirationTime(now.getTime() / 1000 + 300).encode();
  return JSON.stringify({ token: `${claims}AA` });
}

type Sent = { readonly method: string; readonly url: URL; readonly authorization: string | null };

/** Returns the request as the edge gets it from this client, but without a body. */
export function requestFrom(
  { ip, country, continent, asn, colo }: Client,
  { method, url, authorization }: Sent,
): Request {
  const request = new Request(url);
  if (authorization !== null) request.headers.set("Authorization", authorization);
  if (ip !== null) request.headers.set("CF-Connecting-IP", ip);
  // Node's `Request` refuses some methods that a client may send, and lacks the property `cf`, which Cloudflare adds.
  return Object.defineProperties(request, {
    method: { value: method },
    cf: { value: { country, continent, asn, colo } },
  });
}
