import type { Command } from "commander";
import { openAccount } from "./account.ts";
import { openStack } from "./stack.ts";
import type { Target } from "./target.ts";

export type TargetOptions = { readonly env?: string };

/** Adds `--env` to a command that works on a target. */
export const withTarget = (command: Command): Command =>
  command.option(
    "--env <name>",
    "use the KV namespace of [env.<name>] in wrangler.toml instead of the local stack (default: the value of $CLOUDFLARE_ENV)",
  );

export function openTarget({ env = process.env["CLOUDFLARE_ENV"] || undefined }: TargetOptions): Promise<Target> {
  return env === undefined ? openStack() : openAccount(env);
}
