import type { Client } from "./choose-store.ts";

/** From what the platform adds to a request and clients cannot set (Cloudflare overwrites CF-Connecting-IP). */
export function readClient(request: Request): Client {
  const { country, continent, asn, colo }: Readonly<Record<string, unknown>> = { ...request.cf };
  return {
    country: textOrNull(country),
    continent: textOrNull(continent),
    asn: typeof asn === "number" ? asn : null,
    colo: textOrNull(colo),
    ip: request.headers.get("CF-Connecting-IP"),
  };
}

const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);
