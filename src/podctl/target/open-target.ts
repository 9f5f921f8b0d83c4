import { type Command, InvalidArgumentError, Option } from "commander";
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

function parseOrigin(text: string): URL {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return new URL(text);
  throw new InvalidArgumentError("Give a URL such as https://registry.example.com.");
}

export function openTarget({ env = process.env["CLOUDFLARE_ENV"] || undefined }: TargetOptions): Promise<Target> {
  return env === undefined ? openStack() : openAccount(env);
}
