import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, RequestListener } from "node:http";
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { libtrustKeyId } from "../../directory/key-id.ts";
import { parseRepositoryName } from "../../oci/repository-name.ts";
import { type Access, parseScopes } from "../../oci/scope.ts";
import { json, listener, parseTarget, send, type ToyReply } from "./http.ts";

/**
 * The toy token service answers `GET /jwt/auth` as GitLab does. Like GitLab, it has no POST, no `expires_in`, no refresh tokens, and no challenge in
 * a 401.
 */
type TokenServiceOptions = {
  readonly issuer: string;
  readonly audience: string;
  readonly key: SigningKey;
  readonly prefixes: readonly string[];
  readonly now?: () => Date;
  readonly tokenSeconds?: number | undefined;
};

const usualLifetimeSeconds = 300;
/** GitLab backdates `nbf`, because a registry's clock may be behind. */
const BACKDATE_SECONDS = 5;

type User = "demo" | "reader";

const passwords: Readonly<Record<User, string>> = { demo: "demo", reader: "reader" };

export type SigningKey = {
  readonly privateKey: CryptoKey;
  /** This JWK has `alg`, `use` and a `kid` in libtrust form. */
  readonly publicJwk: JWK;
};

export async function generateSigningKey(extractable = false): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable });
  const jwk: JWK = { ...(await exportJWK(publicKey)), alg: "RS256", use: "sig" };
  return { privateKey, publicJwk: { ...jwk, kid: await libtrustKeyId(jwk) } };
}

export function createTokenService(options: TokenServiceOptions): RequestListener {
  return listener(async (request, response) => send(response, await answer(options, request)));
}

const notFound: ToyReply = { status: 404 };

async function answer(options: TokenServiceOptions, request: IncomingMessage): Promise<ToyReply> {
  const target = parseTarget(request);
  if (target?.path !== "/jwt/auth" || (request.method !== "GET" && request.method !== "HEAD")) return notFound;
  const user = authenticate(request.headers.authorization);
  if (user === "wrong") return unauthorized;
  if (target.query.get("service") !== options.audience) return notFound;
  const access = grantedAccess(user, parseScopes(target.query.getAll("scope")), options.prefixes);
  // A user gets a token even if nothing is granted, because that is how `docker login` checks a password.
  if (user === null && access.length === 0) return denied;
  return json(200, { token: await sign(options, user, access) }, noStore);
}

const noStore = {
  "Content-Type": "application/json; charset=utf-8",
  "Cache-Control": "max-age=0, private, must-revalidate",
};

const unauthorized = json(
  401,
  { errors: [{ code: "UNAUTHORIZED", message: "HTTP Basic: Access denied. Check the username and the password." }] },
  noStore,
);

const denied = json(403, { errors: [{ code: "DENIED", message: "access forbidden" }], http_status: 403 }, noStore);

/** Returns null for an anonymous client, which sent no header or a scheme other than Basic. Rails ignores other schemes, too. */
function authenticate(header: string | undefined): User | null | "wrong" {
  const encoded = /^basic\s+(.*)$/i.exec(header ?? "")?.[1];
  if (encoded === undefined) return null;
  const [name = "", ...rest] = Buffer.from(encoded, "base64").toString("utf8").split(":");
  const user = name === "demo" || name === "reader" ? name : null;
  return user !== null && sameText(rest.join(":"), passwords[user]) ? user : "wrong";
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

const actionsOfRepository = ["pull", "push", "delete", "*"];

/** Like GitLab, drops each action that the user is not allowed, then each access that has no action left. */
function grantedAccess(user: User | null, asked: readonly Access[], prefixes: readonly string[]): readonly Access[] {
  return asked.flatMap((access) => {
    const granted = access.type === "repository" ? repository(user, access, prefixes) : registry(user, access);
    return granted === null || granted.actions.length === 0 ? [] : [granted];
  });
}

function repository(user: User | null, access: Access, prefixes: readonly string[]): Access | null {
  const name = access.name.toLowerCase();
  if (!parseRepositoryName(name).ok) return null;
  const allowed = (action: string): boolean => {
    if (!actionsOfRepository.includes(action)) return false;
    return user === "demo" || (action === "pull" && (user === "reader" || isPublic(name, prefixes)));
  };
  return { type: "repository", name, actions: access.actions.filter(allowed) };
}

const isPublic = (name: string, prefixes: readonly string[]): boolean =>
  prefixes.some((prefix) => name === `${prefix}/hello` || name.startsWith(`${prefix}/public/`));

function registry(user: User | null, { type, name, actions }: Access): Access | null {
  if (type !== "registry" || name !== "catalog" || user !== "demo") return null;
  return { type, name, actions: actions.filter((action) => action === "*") };
}

function sign(options: TokenServiceOptions, user: User | null, access: readonly Access[]): Promise<string> {
  const nowSeconds = Math.floor((options.now?.() ?? new Date()).getTime() / 1000);
  const token = new SignJWT({ auth_type: user === null ? "none" : "gitlab_or_ldap", access })
    .setProtectedHeader({ alg: "RS256", typ: "JWT", kid: options.key.publicJwk.kid ?? "" })
    .setIssuer(options.issuer)
    .setAudience(options.audience)
    .setJti(crypto.randomUUID())
    .setIssuedAt(nowSeconds)
    .setNotBefore(nowSeconds - BACKDATE_SECONDS)
    .setExpirationTime(nowSeconds + (options.tokenSeconds ?? usualLifetimeSeconds));
  return (user === null ? token : token.setSubject(user)).sign(options.key.privateKey);
}
