import type { Pod } from "../directory/directory.ts";
import type { Misconfigured, OpenSecret } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch-request.ts";

export type Fetcher = Pick<typeof globalThis, "fetch">;
type Trusted = { readonly request: FetchRequest; readonly fetcher: Fetcher };

/** The deployment's binding of that name, if it can carry requests: an mTLS certificate, a private network, another Worker. */
export type FindBinding = (name: string) => Fetcher | null;

/**
 * The request as the Pod will believe that it comes from the edge: with the secret that its record seals, or by a binding
 * that no one else has. What a client put into those headers is replaced.
 */
export async function trustedRequest(
  pod: Pod,
  request: FetchRequest,
  { openSecret, findBinding }: { readonly openSecret: OpenSecret; readonly findBinding: FindBinding },
): Promise<Result<Trusted, Misconfigured>> {
  const { trust } = pod;
  if (trust === undefined) return ok({ request, fetcher: globalThis });
  const withHeaders = async (sealed: string, field: string, headersOf: (secret: string) => Record<string, string>) => {
    const secret = await openSecret(sealed, { pod: pod.id, field, scheme: trust.kind, target: pod.registry });
    if (!secret.ok) return secret;
    const headers = new Headers(request.headers);
    for (const [name, value] of Object.entries(headersOf(secret.value))) headers.set(name, value);
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
      return err({ reason: "misconfigured", text: `Pod "${pod.id}" wants a binding "${trust.binding}" to fetch by` });
    }
  }
}
