import type { Command } from "commander";
import { openAccount } from "./account.ts";
import { openStack } from "./stack.ts";
import type { Target } from "./target.ts";

export type TargetOptions = { readonly env?: string };

/** `--env` as every command that has a target takes it. */
export const withTarget = (command: Command): Command =>
  command.option(
    "--env <name>",
    "the environment of wrangler.toml (`production`: its top level) instead of the local stack",
  );

export const openTarget = ({ env }: TargetOptions): Promise<Target> =>
  env === undefined ? openStack() : openAccount(env);
