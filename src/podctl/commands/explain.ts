import { Command, InvalidArgumentError } from "commander";
import * as v from "valibot";
import type { Client } from "../../directory/clients.ts";
import { parseIp } from "../../lib/address.ts";
import { when } from "../../signers/store.ts";
import { conditionMistakes } from "../../topology/conditions.ts";
import { continentOf } from "../../topology/continents.ts";
import { withoutPassword } from "../../topology/mistake.ts";
import { explainRequest } from "../explain/explain-request.ts";
import { formatSteps } from "../explain/step.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { openDirectory } from "../target/traced-directory.ts";

type Options = TargetOptions & {
  readonly json?: boolean;
  readonly token?: string;
  readonly country?: string;
  readonly continent?: string;
  readonly asn?: number;
  readonly colo?: string;
  readonly ip?: string;
  readonly podStatus: number;
};

export function explainCommand(): Command {
  return withTarget(new Command("explain"))
    .description(
      "Shows step by step how the edge would answer a request. podctl runs the Worker's own code on this machine and reads KV.",
    )
    .argument("<method>", "GET, HEAD, PUT, …")
    .argument("<url>", "the request's URL, or only its path and query")
    .option(
      "--token <token>",
      "the client's Bearer token, which podctl never prints (default: the value of $PODCTL_TOKEN)",
    )
    .option("--country <code>", "the client's country, such as DE", parseCountry)
    .option("--continent <code>", "the client's continent, such as EU (default: the country's)", parseContinent)
    .option("--asn <number>", "the AS number of the client's network, such as 64500", parseAsn)
    .option("--colo <code>", "the Cloudflare location that serves the client, such as FRA", parseColo)
    .option("--ip <address>", "the client's IP address, such as 198.51.100.7", parseAddress)
    .option("--pod-status <status>", "the HTTP status that podctl assumes as the answer of every Pod", parseStatus, 200)
    .option("--json", "the steps as JSON")
    .addHelpText(
      "after",
      `
  podctl explain GET /v2/acme/app/blobs/sha256:… --country DE
  podctl explain POST '/v2/globex/app/blobs/uploads/?mount=sha256:…&from=acme/app'
  podctl explain GET '/jwt/auth?service=registry-edge&scope=repository:acme/app:pull'

The options about the client matter because the edge chooses a store by them, and because a group may be open to some clients only.
If a country may lie on two continents, such as TR, give its continent, too.

podctl sends nothing to a Pod, and assumes that every Pod answers with the status in --pod-status. podctl does not have the secrets that
sign URLs. Instead of a signature, it prints the text that the edge would sign. In this text, REDACTED replaces the id or name of the signing key.`,
    )
    .action(async (method: string, text: string, options: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const token = parseBearer(options.token ?? process.env["PODCTL_TOKEN"] ?? null);
      const url = parseUrl(text, target.edgeHosts[0]);
      const steps = await explainRequest(
        {
          method: method.toUpperCase(),
          url,
          auth: target.auth,
          service: target.service,
          plainHttp: target.plainHttp,
          token,
          client: clientOf(options),
          podStatus: options.podStatus,
          now: new Date(),
        },
        () => openDirectory(target, kv),
      );
      if (options.json) printJson(steps);
      else print(formatSteps(steps));
    });
}

const clientOf = ({ country, continent, asn, colo, ip }: Options): Client => ({
  country: country ?? null,
  continent: continent ?? continentOf(country ?? ""),
  asn: asn ?? null,
  colo: colo ?? null,
  ip: ip ?? null,
});

function parseUrl(text: string, host = "edge.invalid"): URL {
  const full = text.startsWith("/") ? `https://${host}${text}` : text;
  const url = /^https?:\/\//.test(full) ? URL.parse(full) : null;
  if (url === null) {
    const shown = withoutPassword(text).split("?", 1)[0];
    throw new CliFailure(`"${shown}" is not a URL; want one, or a path that begins with a slash`);
  }
  if (url.username + url.password === "") return url;
  throw new CliFailure("the URL has a user name or a password, which clients send in a header; leave them out");
}

/** Removes the word `Bearer`, because people copy `Bearer <token>` from a header. */
function parseBearer(text: string | null): string | null {
  const token = text?.trim().replace(/^Bearer\s+/i, "") ?? null;
  if (token === "")
    throw new CliFailure("the token is empty; pass the one that the client sends, or leave --token out");
  if (token === null || /^[\x20-\x7e]+$/.test(token)) return token;
  throw new CliFailure(
    "the token has a line break or another character that no token has; pass it as the client sends it",
  );
}

/** Refuses a value that no client can have, such as `de` as a country. No condition would fit the value, so the answer would mislead the operator. */
const parseIf =
  (isPossible: (text: string) => boolean, what: string) =>
  (text: string): string => {
    if (isPossible(text)) return text;
    throw new InvalidArgumentError(`"${text}" is not ${what}`);
  };

const parseCountry = parseIf(
  (text) => conditionMistakes({ countries: [text] }).length === 0,
  "a country's ISO 3166-1 code in capital letters, such as DE",
);
const parseContinent = parseIf(
  (text) => v.is(when, { continents: [text] }),
  "one of the continents AF, AN, AS, EU, NA, OC and SA",
);
const parseColo = parseIf((text) => v.is(when, { colos: [text] }), "three capital letters, such as FRA");
const parseAddress = parseIf((text) => parseIp(text) !== null, "an IPv4 or IPv6 address, such as 198.51.100.7");

function parseAsn(text: string): number {
  if (/^\d+$/.test(text) && v.is(when, { asns: [Number(text)] })) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not the number of an autonomous system`);
}

function parseStatus(text: string): number {
  if (/^[245]\d\d$/.test(text)) return Number(text);
  const why = "podctl cannot assume a redirect, because it does not know to which URL";
  throw new InvalidArgumentError(`"${text}" is not an HTTP status from 200 to 299 or from 400 to 599; ${why}`);
}
