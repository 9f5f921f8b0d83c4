import { Command } from "commander";
import { routeKey } from "../../directory/keys.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { parsePrefix } from "../../oci/repository-name.ts";
import { changeSettings } from "../../topology/change-settings.ts";
import { CliFailure, orFail } from "../failure.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { makeSmallChange, type SmallChangeOptions } from "../write/small-change.ts";
import { inFileToo } from "./assign.ts";

type Options = TargetOptions & SmallChangeOptions;

export function setCommand(): Command {
  return withTarget(new Command("set"))
    .description(
      "Changes the settings of a group: which clients may use it, whether they may push, and whether downloads and uploads pass through the edge.",
    )
    .argument("<prefix>", "the group's prefix, exactly as it was assigned")
    .argument("<key=value...>", "a setting and its new value; `key=` removes the setting")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText(
      "after",
      `
Refuse pushes and deletions with a text for the client, and allow them again:
  podctl set acme state=read-only reason="Maintenance. Pushes work again on Monday."
  podctl set acme state=

Refuse all clients outside two countries, refuse the clients of some networks, and allow all clients again:
  podctl set acme clients.allow.countries=DE,CH clients.reason="Only from Germany and Switzerland."
  podctl set acme clients.deny='[{asns: [64500]}, {cidrs: [192.0.2.0/24]}]'
  podctl set acme clients=

Let downloads and uploads pass through the edge, for clients that cannot reach the storage or the gateway:
  podctl set acme delivery=stream uploads=edge

docs/directory-schema.md describes each setting.
${inFileToo.trimStart()}`,
    )
    .action(async (text: string, changes: readonly string[], options: Options) => {
      const prefix = orFail(parsePrefix(text));
      const key = routeKey(prefix);
      const after = (before: string | null) => {
        if (before !== null) return orFail(changeSettings(contentOf(before), changes));
        throw new CliFailure(`"${prefix}" is not assigned; run \`podctl assign ${prefix} <pod>\` first`);
      };
      await makeSmallChange(await openTarget(options), { key, after, already: `${key} says so already` }, options);
    });
}

/** Returns an assignment without `v` and `revision`, because each write sets these two anew. */
function contentOf(text: string): Readonly<Record<string, unknown>> {
  const { v: _, revision: __, ...content } = parseJsonObject(text) ?? {};
  return content;
}
