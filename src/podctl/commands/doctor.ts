import { Command, InvalidArgumentError } from "commander";
import { nameIn, podPrefix } from "../../directory/keys.ts";
import { advice, type Check } from "../doctor/check.ts";
import { diagnose } from "../doctor/diagnose.ts";
import { formatChecks } from "../doctor/report.ts";
import { CliFailure } from "../failure.ts";
import { colors, print, printJson } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { openDirectory } from "../target/traced-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly write?: boolean; readonly edge?: URL };

export function doctorCommand(): Command {
  return withTarget(new Command("doctor"))
    .description(
      "Checks each Pod against its record: registry, token service, keys, storage, clock. Ends with 1 if anything is wrong.",
    )
    .argument("[pods...]", "the Pods to look at, instead of all")
    .option("--write", "also what only a write shows, in the Pod's probe repository; what is written is removed again")
    .option("--edge <url>", "where the edge is, if no route of wrangler.toml says so", parseOrigin)
    .option("--json", "the checks as JSON")
    .addHelpText(
      "after",
      `
Signed URLs come from the edge, which must have the secret PROBE_TOKEN; podctl shows it the same token, in PODCTL_PROBE_TOKEN.
PODCTL_USER and PODCTL_PASSWORD are a user who may pull each Pod's probe repository, and with --write push and delete there.
Where the directory says \`credentials: own\`, only the default Pod and Pods named here are shown them. On the local stack the
user is demo and the token is known.

  podctl doctor                    all Pods of the local stack
  podctl doctor pod-b --write      one Pod, with the checks that write
  podctl doctor --env production   all Pods of the account's directory`,
    )
    .action(async (pods: readonly string[], { json, write = false, edge, ...options }: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const { origin, ...access } = await target.openEdge(edge);
      const named = pods.length > 0;
      const checks = await diagnose({
        directory: openDirectory(target, kv).directory,
        pods: named ? pods : await listPods(kv),
        named,
        ...access,
        edge: origin,
        edgeHosts: [...new Set([...target.edgeHosts, new URL(origin).hostname])],
        write,
      });
      if (json) printJson(checks.map(withAdvice));
      else print(formatChecks(checks, colors));
      if (checks.some(({ status }) => status === "finding")) process.exitCode = 1;
    });
}

const withAdvice = (check: Check): object =>
  check.status === "finding" ? { ...check, todo: advice[check.finding] } : check;

function parseOrigin(text: string): URL {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return new URL(text);
  throw new InvalidArgumentError("Want a URL, as in https://registry.example.com.");
}

async function listPods(kv: KvStore): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const page of kv.list(podPrefix)) ids.push(...page.map(({ key }) => nameIn(key)));
  if (ids.length === 0) throw new CliFailure("the directory has no Pod; `podctl apply` writes them");
  return ids;
}
