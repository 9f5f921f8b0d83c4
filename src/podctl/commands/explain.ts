import { Command, InvalidArgumentError } from "commander";
import type { Client } from "../../blobs/choose-store.ts";
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
};

export function explainCommand(): Command {
  return withTarget(new Command("explain"))
    .description(
      "Says step by step what the edge makes of a request, by the Worker's own functions and the target's KV.",
    )
    .argument("<method>", "GET, HEAD, PUT, …")
    .argument("<url>", "the request's URL, or its path and query alone")
    .option("--token <token>", "the Bearer token that the client sends (or PODCTL_TOKEN); never printed")
    .option("--country <code>", "where the client is, for the choice of a store: DE")
    .option("--continent <code>", "the same: EU")
    .option("--asn <number>", "the same: 64500", parseAsn)
    .option("--colo <code>", "the same, Cloudflare's location: FRA")
    .option("--ip <address>", "the same: 198.51.100.7")
    .option("--json", "the steps as JSON")
    .addHelpText(
      "after",
      `
  podctl explain GET /v2/acme/app/blobs/sha256:… --country DE
  podctl explain POST '/v2/globex/app/blobs/uploads/?mount=sha256:…&from=acme/app'
  podctl explain GET '/jwt/auth?service=registry-edge&scope=repository:acme/app:pull'

Nothing is sent to a Pod, and no secret is needed: what is signed is shown with stand-ins for them.`,
    )
    .action(async (method: string, text: string, options: Options) => {
      const target = await openTarget(options);
      const traced = openDirectory(target, target.openKv());
      const token = parseBearer(options.token ?? process.env["PODCTL_TOKEN"] ?? null);
      const url = parseUrl(text, target.edgeHosts[0]);
      const steps = await explainRequest(
        { method: method.toUpperCase(), url, auth: target.auth, token, client: clientOf(options), now: new Date() },
        traced,
      );
      if (options.json) printJson(steps);
      else print(formatSteps(steps));
    });
}

const clientOf = ({ country, continent, asn, colo, ip }: Options): Client => ({
  country: country ?? null,
  continent: continent ?? null,
  asn: asn ?? null,
  colo: colo ?? null,
  ip: ip ?? null,
});

function parseUrl(text: string, host = "edge.invalid"): URL {
  const base = `https://${host}`;
  if (/^(\/|https?:\/\/)/.test(text) && URL.canParse(text, base)) return new URL(text, base);
  throw new InvalidArgumentError(`"${text}" is no URL; want one, or a path that begins with a slash`);
}

/** With the scheme before it, as it is copied from a header, it is the same token. */
function parseBearer(text: string | null): string | null {
  const token = text?.trim().replace(/^Bearer\s+/i, "") ?? null;
  if (token === "")
    throw new CliFailure("the token is empty; want the one that the client sends, or no --token at all");
  return token;
}

function parseAsn(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is no number of an autonomous system`);
}
