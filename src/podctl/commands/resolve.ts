import { Command } from "commander";
import { kindOf, nameIn } from "../../directory/keys.ts";
import type { AssignmentRecord } from "../../directory/records.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { parseRepositoryName } from "../../oci/repository-name.ts";
import { refuseHost } from "../../topology/check.ts";
import { describeMove, describePod, describeSettings, lookupLines } from "../explain/describe.ts";
import { formatSteps, optionalStep } from "../explain/step.ts";
import { orFail } from "../failure.ts";
import { print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { learnDepth, openDirectory } from "../target/traced-directory.ts";
import { orDamaged } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean };

export function resolveCommand(): Command {
  return withTarget(new Command("resolve"))
    .description("Shows which Pod owns a repository name, and by which assignment. Exits with 1 if no Pod owns it.")
    .argument("<name>", "a repository name, such as acme/app")
    .option("--json", "the answer as JSON")
    .action(async (text: string, { json, ...options }: Options) => {
      const target = await openTarget(options);
      const name = orFail(refuseHost(parseRepositoryName(text), target.edgeHosts));
      const { directory, lookups } = openDirectory(target, target.openKv());
      await learnDepth(directory);
      const resolution = orDamaged(await resolvePod(directory, { name }));
      const { pod, renamed, assignment, blocked } = resolution;
      const route = lookups.find((lookup) => kindOf(lookup.key) === "route" && lookup.text !== null);
      const by = route === undefined ? null : nameIn(route.key);
      if (pod === null) process.exitCode = 1;
      if (json)
        return printJson({
          name: text,
          pod: pod?.id ?? null,
          state: pod?.state ?? null,
          assignment: by,
          blocked,
          renamedTo: renamed?.to ?? null,
          group: assignment === null ? null : groupOf(assignment),
        });
      const whose = pod === null ? "none: there is no assignment and no default" : describePod(pod);
      print(
        formatSteps([
          { step: "name", result: text },
          { step: "look-ups", result: `${lookups.length} keys`, lines: lookupLines(lookups) },
          ...optionalStep("renamed", renamed && `to ${renamed.to}`),
          { step: "Pod", result: whose },
          { step: "by", result: by ?? (pod === null ? "–" : "default") },
          ...optionalStep("move", describeMove(resolution)),
          ...optionalStep("group", describeSettings(assignment)),
          ...optionalStep("blocked", blocked),
        ]),
      );
    });
}

function groupOf(assignment: AssignmentRecord): object {
  const { v: _, pod: __, revision: ___, ...settings } = assignment;
  return settings;
}
