import { type Command, InvalidArgumentError, Option } from "commander";
import { isLoopback } from "../../lib/address.ts";
import { openAccount } from "./account.ts";
import { openStack } from "./stack.ts";
import type { Target } from "./target.ts";

export type TargetOptions = { readonly env?: string };

export const withTarget = (command: Command): Command =>
  command.option(
    "--env <name>",
    "work on the deployment in [env.<name>] of wrangler.toml instead of on the local stack of `npm start` (default: the value of $CLOUDFLARE_ENV)",
  );

export const edgeOption = (): Option =>
  new Option(
    "--edge <url>",
    "the edge's URL; with --env, you can leave it out if a route in wrangler.toml contains the edge's hostname",
  ).argParser(parseOrigin);

/** podctl sends logins and tokens to the edge. Over http, anyone on the way could read them. */
function parseOrigin(text: string): URL {
  const url = URL.parse(text);
  if (url?.protocol === "https:") return url;
  if (url?.protocol === "http:" && isLoopback(url.hostname)) return url;
  throw new InvalidArgumentError(
    "Give a URL such as https://registry.example.com, or an http URL of this machine: podctl sends logins to it.",
  );
}

export function openTarget({ env = process.env["CLOUDFLARE_ENV"] || undefined }: TargetOptions): Promise<Target> {
  return env === undefined ? openStack() : openAccount(env);
}
