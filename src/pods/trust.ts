import type { Pod } from "../directory/directory.ts";
import type { OpenSecret } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Fetcher, FetchRequest } from "../net/fetch.ts";
import type { Misconfigured } from "../refusal.ts";

type Trusted = { readonly request: FetchRequest; readonly fetcher: Fetcher };

/**
 * Finds the deployment's binding of this name: an mTLS certificate, a private network or another Worker. Null if no such binding can carry requests.
 */
export type FindBinding = (name: string) => Fetcher | null;

const maxSecretCharacters = 4_096;

/** Returns the secret as a header carries it. The error completes a sentence about the secret, and never contains it. */
export function parseTrustSecret(text: string): Result<string, string> {
  const secret = text.trim();
  if (secret.length <= maxSecretCharacters && /^[\x20-\x7e]+$/.test(secret)) return ok(secret);
  return err(`cannot be sent as a header; want one line of 1 to ${maxSecretCharacters} ASCII characters`);
}

export async function trustHeaders(
  { id, registry, trust }: Pod,
  openSecret: OpenSecret,
): Promise<Result<Readonly<Record<string, string>>, Misconfigured>> {
  if (trust === undefined || trust.kind === "binding") return ok({});
  const [sealed, field] =
    trust.kind === "header" ? [trust.value, "trust.value"] : [trust.clientSecret, "trust.clientSecret"];
  const opened = await openSecret(sealed, { pod: id, field, scheme: trust.kind, target: registry });
  if (!opened.ok) return opened;
  const secret = parseTrustSecret(opened.value);
  if (!secret.ok)
    return err({ reason: "misconfigured", text: `sealed value of Pod "${id}", field "${field}", ${secret.error}` });
  if (trust.kind === "header") return ok({ [trust.name]: secret.value });
  // Cloudflare Access, "Service tokens".
  return ok({ "CF-Access-Client-Id": trust.clientId, "CF-Access-Client-Secret": secret.value });
}

/** Lets the Pod know that a request comes from the edge, by headers with a secret or by a binding that only this deployment has. */
export async function trustedRequest(
  pod: Pod,
  request: FetchRequest,
  { openSecret, findBinding }: { readonly openSecret: OpenSecret; readonly findBinding: FindBinding },
): Promise<Result<Trusted, Misconfigured>> {
  const { trust } = pod;
  if (trust?.kind === "binding") {
    const fetcher = findBinding(trust.binding);
    if (fetcher !== null) return ok({ request, fetcher });
    return err({
      reason: "misconfigured",
      text: `Pod "${pod.id}" is reached by the binding "${trust.binding}", which this deployment lacks`,
    });
  }
  // A token service on another host must not get the secret. With the secret, the service's operator could call the Pod's registry without the edge.
  // Several Pods may share that registry, and it accepts the service's tokens for any name.
  if (trust === undefined || new URL(request.url).origin !== pod.registry) return ok({ request, fetcher: globalThis });
  const marks = await trustHeaders(pod, openSecret);
  if (!marks.ok) return marks;
  const headers = new Headers(request.headers);
  // If a client sent the same headers, their values are replaced.
  for (const [name, value] of Object.entries(marks.value)) headers.set(name, value);
  return ok({ request: { ...request, headers }, fetcher: globalThis });
}
