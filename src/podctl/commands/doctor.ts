import { Command } from "commander";
import { checkDeployment } from "../doctor/check-deployment.ts";
import { checkDepth } from "../doctor/check-depth.ts";
import { advice, type Check } from "../doctor/findings.ts";
import { formatChecks } from "../doctor/report.ts";
import { colors, print, printJson } from "../output.ts";
import { listPods } from "../target/list-pods.ts";
import { edgeOption, openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { loginAt } from "../target/operator.ts";
import { openDirectory } from "../target/traced-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly write?: boolean; readonly edge?: URL };

export function doctorCommand(): Command {
  return withTarget(new Command("doctor"))
    .description(
      "Compares each Pod with its record: registry, token service, keys, storage and clock. Exits with 1 if anything is wrong.",
    )
    .argument("[pods...]", "the Pods to check, instead of all Pods")
    .option("--write", "also make the checks that write to the Pod's probe repository and then remove what they wrote")
    .addOption(edgeOption())
    .option("--json", "print the checks as JSON")
    .addHelpText(
      "after",
      `
To check the storage, podctl asks the edge for signed URLs. The edge gives them only to those who know its secret PROBE_TOKEN, so set
PODCTL_PROBE_TOKEN to the same value.
PODCTL_USER and PODCTL_PASSWORD are the login of a user with the right to pull from each Pod's probe repository and, for --write, to push
and delete there. If the directory says \`credentials: own\`, podctl sends this login only to the default Pod. For another Pod, such as
"pod-b", set PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B. Without them, podctl checks that Pod without a login. On the local stack you do
not need to set any of these variables.

  podctl doctor                    all Pods of the local stack
  podctl doctor pod-b --write      one Pod, with the checks that write
  podctl doctor --env production   all Pods of the account's directory`,
    )
    .action(async (pods: readonly string[], { json, write = false, edge, ...options }: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const { origin, probeToken, user } = await target.openEdge(edge);
      const named = pods.length > 0;
      const { directory } = openDirectory(target, kv);
      // If the operator names Pods, we skip `checkDepth`, because it lists the assignments of all Pods, perhaps a million.
      const unfound = named ? [] : await checkDepth(directory, kv);
      const checked = await checkDeployment({
        directory,
        pods: named ? pods : await listPods(kv),
        userAt: (pod, settings) => loginAt(pod, user, settings),
        probeToken,
        edge: origin,
        edgeHosts: [...new Set([...target.edgeHosts, new URL(origin).hostname])],
        write,
      });
      const checks = [...unfound, ...checked];
      if (json) printJson(checks.map(withAdvice));
      else print(formatChecks(checks, colors));
      if (checks.some(({ status }) => status === "finding")) process.exitCode = 1;
    });
}

const withAdvice = (check: Check): object =>
  check.status === "finding" ? { ...check, todo: advice[check.finding] } : check;
