/** Reads where the client of a logged request was, because a group may have rules about its clients. */
import * as v from "valibot";
import type { Client } from "../../directory/clients.ts";
import { parseJson } from "../../lib/json.ts";
import { continentsOf } from "../../topology/continents.ts";

/** The members of the edge's own log (telemetry/log-line.ts). */
const record = v.object({
  client: v.optional(v.string()),
  country: v.optional(v.string()),
  asn: v.optional(v.number()),
});

const unknown: Client = { ip: null, country: null, continent: null, asn: null, colo: null };

/** Returns what a line says about its client. Other members are null, as in the Worker if Cloudflare does not know them. */
export function clientOf(line: string): Client {
  // In the common log format, a line begins with the client's address.
  if (!line.startsWith("{")) return { ...unknown, ip: /^\S+/.exec(line)?.[0] ?? null };
  const parsed = v.safeParse(record, parseJson(line));
  if (!parsed.success) return unknown;
  const { client: ip = null, country = null, asn = null } = parsed.output;
  return { ...unknown, ip, country, asn, continent: continentOf(country) };
}

/** Null for a country that different databases place on different continents. */
function continentOf(country: string | null): string | null {
  const [first = null, ...others] = country === null ? [] : continentsOf(country);
  return others.length === 0 ? first : null;
}
