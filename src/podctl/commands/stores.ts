import { Command } from "commander";
import { readHealth } from "../../blobs/store-health.ts";
import type { Pod } from "../../directory/directory.ts";
import { podKey } from "../../directory/keys.ts";
import { parsePodId } from "../../directory/pod-id.ts";
import { describeStores, formatStores } from "../explain/describe-stores.ts";
import { CliFailure, orFail } from "../failure.ts";
import { colors, print, printJson } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { listPods } from "../target/list-pods.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import type { Target } from "../target/target.ts";
import { openDirectory } from "../target/traced-directory.ts";
import { orDamaged } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean };

export function storesCommand(): Command {
  return withTarget(new Command("stores"))
    .description(
      "Shows the stores of each Pod (its object storages and CDNs), and whether the edge uses them. Exits with 1 if a store is out of use.",
    )
    .argument("[pods...]", "the Pods to show, instead of all Pods")
    .option("--json", "the stores as JSON")
    .addHelpText(
      "after",
      `
Once a minute, the edge checks the stores of each Pod that has more than one. If these Pods together have more than 14 stores, the Pods take
turns. The edge asks a store for one byte of a small blob, the probe, which the Pod's record names. Each store has a state:
  in          The store has given three good answers in a row, and the edge uses it.
  out         The store was 'in', and then failed three times in a row. Clients go to another store until it is 'in' again.
  new         The store has never been 'in'. Clients still go to it: perhaps they can reach it, although the edge cannot.
  unchecked   The edge does not check the store, for the reason that is shown.
If a store in the state 'in' fails, or a store in the state 'out' or 'new' gives a good answer, the edge asks it again after a few seconds. So a
state can change within one minute.

From a Pod's list of stores, the edge takes the first one that is not out and whose conditions (such as countries) fit the client.
\`podctl doctor\` checks the stores from your machine.`,
    )
    .action(async (pods: readonly string[], { json, ...options }: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const named = pods.length > 0 ? [...new Set(pods)] : await listPods(kv);
      const found = await readPods(target, kv, named);
      const health = orDamaged(await readHealth(openDirectory(target, kv).directory));
      const stores = found.flatMap((pod) => describeStores(pod, health));
      if (json) printJson(stores);
      else print(stores.length === 0 ? "no store: the edge streams all blobs" : formatStores(stores, colors));
      if (stores.some(({ state }) => state === "out")) process.exitCode = 1;
    });
}

/** Reads all Pods by one `kv.read`, which gets up to 100 keys with each call to KV. A call for each Pod would take long. */
async function readPods(target: Target, kv: KvStore, ids: readonly string[]): Promise<readonly Pod[]> {
  const parsed = ids.map((id) => orFail(parsePodId(id)));
  const texts = await kv.read(parsed.map(podKey));
  const { directory } = openDirectory(target, { read: async () => texts });
  const pods: Pod[] = [];
  for (const id of parsed) {
    const pod = orDamaged(await directory.pod(id));
    if (pod === null) throw new CliFailure(`Pod "${id}" has no record`);
    pods.push(pod);
  }
  return pods;
}
