import type { Command } from "commander";
import { openAccount } from "./account.ts";
import { openStack } from "./stack.ts";
import type { Target } from "./target.ts";

export type TargetOptions = { readonly env?: string };

/** `--env` as every command that has a target takes it. */
export const withTarget = (command: Command): Command =>
  command.option(
    "--env <name>",
    "the section [env.<name>] of wrangler.toml instead of the local stack (default: CLOUDFLARE_ENV, as for wrangler)",
  );

export function openTarget({ env = process.env["CLOUDFLARE_ENV"] || undefined }: TargetOptions): Promise<Target> {
  return env === undefined ? openStack() : openAccount(env);
}
