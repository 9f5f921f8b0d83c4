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

/** The error completes a sentence, and never contains the text. */
export const parseTrustSecret = (text: string): Result<string, string> =>
  // RFC 9110 §5.5 allows none of these in a header, and the runtime throws for them.
  ["\0", "\r", "\n"].some((character) => text.includes(character))
    ? err("has a line break or a NUL; want one line, because it is sent as a header")
    : ok(text);

/**
 * Marks a request, so that the Pod knows that it comes from the edge. Either the request gets headers with a secret, or it goes through a binding
 * that only this deployment has. If the Pod's record has no `trust`, the request gets no mark.
 */
export async function trustedRequest(
  pod: Pod,
  request: FetchRequest,
  { openSecret, findBinding }: { readonly openSecret: OpenSecret; readonly findBinding: FindBinding },
): Promise<Result<Trusted, Misconfigured>> {
  const { trust } = pod;
  if (trust === undefined) return ok({ request, fetcher: globalThis });
  const withHeaders = async (sealed: string, field: string, headersOf: (secret: string) => Record<string, string>) => {
    // A token service on another host must not get the secret, because a registry of several Pods accepts the service's tokens for any name. With the
    // secret, the service's operator could call that registry without the edge.
    if (new URL(request.url).origin !== pod.registry) return ok({ request, fetcher: globalThis });
    const secret = await openSecret(sealed, { pod: pod.id, field, scheme: trust.kind, target: pod.registry });
    if (!secret.ok) return secret;
    const parsed = parseTrustSecret(secret.value);
    if (!parsed.ok) {
      const text = `sealed value of Pod "${pod.id}", field "${field}", ${parsed.error}`;
      return err<Misconfigured>({ reason: "misconfigured", text });
    }
    const headers = new Headers(request.headers);
    // If a client sent the same headers, their values are replaced.
    for (const [name, value] of Object.entries(headersOf(parsed.value))) headers.set(name, value);
    return ok({ request: { ...request, headers }, fetcher: globalThis });
  };
  switch (trust.kind) {
    case "header":
      return withHeaders(trust.value, "trust.value", (value) => ({ [trust.name]: value }));
    case "access":
      // Cloudflare Access, "Service tokens".
      return withHeaders(trust.clientSecret, "trust.clientSecret", (secret) => ({
        "CF-Access-Client-Id": trust.clientId,
        "CF-Access-Client-Secret": secret,
      }));
    case "binding": {
      const fetcher = findBinding(trust.binding);
      if (fetcher !== null) return ok({ request, fetcher });
      return err({
        reason: "misconfigured",
        text: `Pod "${pod.id}" is reached by the binding "${trust.binding}", which this deployment lacks`,
      });
    }
  }
}
