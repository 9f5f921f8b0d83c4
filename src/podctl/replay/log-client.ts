/** Reads where the client of a logged request was, because a group may have rules about its clients. */
import * as v from "valibot";
import { type Client, unknownClient } from "../../directory/clients.ts";
import { parseIp } from "../../lib/address.ts";
import { continentOf } from "../../topology/continents.ts";

/** What a line of the edge's own log says about the client (telemetry/log-line.ts). */
const record = v.object({
  client: v.optional(v.string()),
  country: v.optional(v.string()),
  asn: v.optional(v.number()),
});

/** A line of the common log format begins with the client's address. */
export const clientInCommonFormat = (line: string): Client => ({
  ...unknownClient,
  ip: addressOf(/^\S+/.exec(line)?.[0]),
});

export function clientInRecord(logged: object): Client {
  const parsed = v.safeParse(record, logged);
  if (!parsed.success) return unknownClient;
  const { client, country = null, asn = null } = parsed.output;
  return { ...unknownClient, ip: addressOf(client), country, asn, continent: continentOf(country ?? "") };
}

/**
 * Returns the text if it is an IP address, else null. A log may have another text there, such as a host name. The result becomes a header, and a text
 * that no header can have would end the comparison.
 */
const addressOf = (text = ""): string | null => (parseIp(text) === null ? null : text);
