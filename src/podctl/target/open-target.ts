import type { Command } from "commander";
import { openAccount } from "./account.ts";
import { openStack } from "./stack.ts";
import type { Target } from "./target.ts";

export type TargetOptions = { readonly env?: string };

/** Adds `--env` to a command that works on a target. */
export const withTarget = (command: Command): Command =>
  command.option(
    "--env <name>",
    "work on this environment of wrangler.toml instead of the local stack; `production` is its top level",
  );

export const openTarget = ({ env }: TargetOptions): Promise<Target> =>
  env === undefined ? openStack() : openAccount(env);
