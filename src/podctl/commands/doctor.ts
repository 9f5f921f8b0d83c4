import { Command } from "commander";
import { checkAssignments } from "../doctor/check-assignments.ts";
import { checkDeployment } from "../doctor/check-deployment.ts";
import { checkSeals } from "../doctor/check-seals.ts";
import { advice, type Check } from "../doctor/findings.ts";
import { formatChecks } from "../doctor/report.ts";
import { print, printJson } from "../output.ts";
import { listPods } from "../target/list-pods.ts";
import { edgeOption, openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { loginAt } from "../target/operator.ts";
import { openDirectory } from "../target/traced-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly write?: boolean; readonly edge?: URL };

export function doctorCommand(): Command {
  return withTarget(new Command("doctor"))
    .description(
      "Checks whether each Pod is as its record in KV says: registry, token service, keys, storage and clock. Exits with 1 if anything is wrong.",
    )
    .argument("[pods...]", "the Pods to check, instead of all Pods")
    .option("--write", "also make checks that write to each Pod's probe repository, and remove what they have written")
    .addOption(edgeOption())
    .option("--json", "the checks as JSON")
    .addHelpText(
      "after",
      `
  podctl doctor                    checks all Pods of the local stack
  podctl doctor pod-b --write      checks one Pod, also by writing
  podctl doctor --env production   checks all Pods of the deployment production

podctl checks the storage with a small blob, the probe. The Pod's record names this blob and its repository. The edge signs a URL of
this blob for podctl, but only if podctl sends the Worker's secret PROBE_TOKEN. Set the variable PODCTL_PROBE_TOKEN to this secret.

PODCTL_USER and PODCTL_PASSWORD are the login of a user who may pull from each Pod's probe repository and, for --write, may push and delete
there. If each Pod has users of its own (\`credentials: own\` in the topology), podctl sends this login only to the default Pod. For any
other Pod, such as pod-b, set PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B. Without them, podctl checks that Pod without a login. On the
local stack you need none of these variables.`,
    )
    .action(async (names: readonly string[], { json, write = false, edge, ...options }: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const { origin, probeToken, user } = await target.openEdge(edge);
      const named = names.length > 0;
      const { directory } = openDirectory(target, kv);
      const pods = named ? [...new Set(names)] : await listPods(kv);
      // If the operator names Pods, we skip `checkAssignments`, because it reads the assignments of all Pods, perhaps a million.
      const assignments = named ? [] : await checkAssignments(directory, kv, pods);
      const checked = await checkDeployment({
        directory,
        pods,
        userAt: (pod, settings) => loginAt(pod, user, settings),
        probeToken,
        edge: origin,
        edgeHosts: target.edgeHosts,
        write,
      });
      const seals = await checkSeals(directory, pods, { edge: origin, probeToken });
      const checks = [...assignments, ...seals, ...checked];
      if (json) printJson(checks.map(withAdvice));
      else print(formatChecks(checks));
      if (checks.some(({ status }) => status === "finding")) process.exitCode = 1;
    });
}

const withAdvice = (check: Check): object =>
  check.status === "finding" ? { ...check, todo: advice[check.finding] } : check;
