import { Command } from "commander";
import { podKey, routeKey } from "../../directory/keys.ts";
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import { assignmentRecord, parseRecord } from "../../directory/records.ts";
import { type Prefix, parsePrefix } from "../../oci/repository-name.ts";
import { refuseHost } from "../../topology/check.ts";
import { CliFailure, orFail } from "../failure.ts";
import { readOne } from "../target/kv-store.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import type { Target } from "../target/target.ts";
import { makeSmallChange, type SmallChangeOptions } from "../write/small-change.ts";

type Options = TargetOptions & SmallChangeOptions;

export function assignCommand(): Command {
  return withTarget(new Command("assign"))
    .description(
      "Assigns a prefix to a Pod at once, without a topology file. The Pod then owns all repositories below the prefix.",
    )
    .argument("<prefix>", "the beginning of repository names, in whole components, such as acme or acme/team")
    .argument("<pod>", "the id of a Pod that is in KV already")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText("after", afterAssign)
    .action(async (prefixText: string, podText: string, options: Options) => {
      const target = await openTarget(options);
      const prefix = orFail(refuseHost(parsePrefix(prefixText), target.edgeHosts));
      const pod = orFail(parsePodId(podText));
      await refuseUnknownPod(target, pod);
      const key = routeKey(prefix);
      const after = (before: string | null) => ({ ...settingsIn(prefix, before), pod });
      await makeSmallChange(target, { key, after, already: `${key} says so already` }, options);
    });
}

export function unassignCommand(): Command {
  return withTarget(new Command("unassign"))
    .description(
      "Removes the assignment of a prefix. Its repositories then belong to the Pod of the next shorter prefix, or else to the default Pod.",
    )
    .argument("<prefix>", "the prefix, exactly as it was assigned")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText("after", inFileToo)
    .action(async (text: string, options: Options) => {
      const key = routeKey(orFail(parsePrefix(text)));
      const wanted = { key, after: () => null, already: `there is no ${key}` };
      await makeSmallChange(await openTarget(options), wanted, options);
    });
}

/**
 * A prefix keeps its settings when it gets another Pod. Throws if the assignment does not parse: a newer podctl may have written it, and its settings
 * would be lost.
 */
function settingsIn(prefix: Prefix, text: string | null): object {
  if (text === null) return { state: "active" };
  const record = parseRecord(routeKey(prefix), text, assignmentRecord);
  if (!record.ok) {
    throw new CliFailure(
      `${record.error}, and its settings would be lost; \`podctl apply\` writes it as the topology file says, or \`podctl unassign ${prefix}\` removes it`,
    );
  }
  const { v: _, revision: __, ...settings } = record.value;
  return settings;
}

const afterAssign = `
No image is copied: to move a group together with its images, use \`podctl move\`. If the prefix was assigned before, it keeps its
settings (see \`podctl set\`).
Make this change in the topology file, too. Otherwise the next \`podctl apply\` undoes it.`;

export const inFileToo = `
Make this change in the topology file, too. Otherwise the next \`podctl apply\` undoes it.`;

async function refuseUnknownPod(target: Target, pod: PodId): Promise<void> {
  if ((await readOne(target.openKv(), podKey(pod))) !== null) return;
  throw new CliFailure(`Pod "${pod}" is not in KV; add it to the topology file and apply that first`);
}
