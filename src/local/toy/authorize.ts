import { createPublicKey } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { errors, type JWK, jwtVerify } from "jose";
import { type ChallengeError, formatChallenge } from "../../oci/challenge.ts";
import { type Access, covers } from "../../oci/scope.ts";
import { failure } from "./errors.ts";
import type { ToyReply } from "./http.ts";
import type { Route } from "./routes.ts";

export type ToyAuthOptions = {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  readonly publicJwks: readonly JWK[];
};

const LEEWAY_SECONDS = 60;

/** Returns a function that decides as distribution does: its result is the reply that refuses a request, or null if the token allows the request. */
export function createAuthorizer(
  options: ToyAuthOptions,
): (request: IncomingMessage, route: Route) => Promise<ToyReply | null> {
  const keys = new Map(options.publicJwks.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: "jwk" })]));
  const verify = async (token: string): Promise<readonly Access[] | null> => {
    try {
      const { payload } = await jwtVerify(
        token,
        ({ kid }) => {
          const key = keys.get(kid);
          if (key === undefined) throw new errors.JWKSNoMatchingKey();
          return key;
        },
        {
          algorithms: ["RS256"],
          issuer: options.issuer,
          audience: options.service,
          clockTolerance: LEEWAY_SECONDS,
          requiredClaims: ["exp"],
        },
      );
      return parseAccess(payload["access"]);
    } catch (reason) {
      if (reason instanceof errors.JOSEError) return null;
      throw reason;
    }
  };
  return async (request, route) => {
    const wanted = wantedAccess(request.method ?? "", route);
    const token = bearerToken(request.headers.authorization);
    if (token === null) return refuse(options, wanted, null);
    const granted = await verify(token);
    if (granted === null) return refuse(options, wanted, "invalid_token");
    return wanted.every((access) => covers(granted, access)) ? null : refuse(options, wanted, "insufficient_scope");
  };
}

const bearerToken = (header: string | undefined): string | null => /^bearer (.+)$/i.exec(header ?? "")?.[1] ?? null;

function parseAccess(claim: unknown): readonly Access[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: unknown) => {
    const { type, name, actions } = Object(entry) as Record<string, unknown>;
    if (typeof type !== "string" || typeof name !== "string" || !Array.isArray(actions)) return [];
    return [{ type, name, actions: actions.filter((action) => typeof action === "string") }];
  });
}

/** Returns one entry for each resource, with all the actions that the request needs there. */
function wantedAccess(method: string, { place, query }: Route): readonly Access[] {
  if (place.kind === "base") return [];
  if (place.kind === "catalog") return [{ type: "registry", name: "catalog", actions: ["*"] }];
  const own: Access = { type: "repository", name: place.name, actions: methodActions(method) };
  // If a request has `from`, distribution requires `pull` on that repository, even if the request is not a mount.
  const from = query.get("from") ?? "";
  if (from === "") return own.actions.length === 0 ? [] : [own];
  if (from === own.name) return [{ ...own, actions: [...new Set(["pull", ...own.actions])] }];
  const source: Access = { type: "repository", name: from, actions: ["pull"] };
  return own.actions.length === 0 ? [source] : [own, source];
}

function methodActions(method: string): readonly string[] {
  if (method === "GET" || method === "HEAD") return ["pull"];
  if (method === "DELETE") return ["delete"];
  return method === "POST" || method === "PUT" || method === "PATCH" ? ["pull", "push"] : [];
}

/** As in distribution, the status is 401 even for a valid token that lacks an action. `detail` lists every action that the request needs. */
function refuse({ realm, service }: ToyAuthOptions, access: readonly Access[], error: ChallengeError | null): ToyReply {
  const detail = access.flatMap(({ type, name, actions }) =>
    actions.map((action) => ({ Type: type, Class: "", Name: name, Action: action })),
  );
  // The client chooses `from`, the source of a mount, so it can contain a line break. Node throws if a header contains a line break, so we write a
  // space instead, as Go does.
  const challenge = formatChallenge({ realm, service, access, error }).replace(/[^\x20-\x7e]/g, " ");
  return failure("UNAUTHORIZED", detail.length === 0 ? null : detail, { "WWW-Authenticate": challenge });
}
