import { Command } from "commander";
import { readHealth } from "../../blobs/store-health.ts";
import type { Directory, Pod } from "../../directory/directory.ts";
import { podKey } from "../../directory/keys.ts";
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { note, print, printJson } from "../output.ts";
import { describeStores, formatStores } from "../stores/describe-stores.ts";
import type { KvStore } from "../target/kv-store.ts";
import { listPods } from "../target/list-pods.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import type { Target } from "../target/target.ts";
import { openDirectory } from "../target/traced-directory.ts";
import { damageText, orDamaged } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean };

export function storesCommand(): Command {
  return withTarget(new Command("stores"))
    .description(
      "Shows the stores of each Pod (its object storages and CDNs), and whether the edge uses them. Exits with 1 if a store is out of use, or if a Pod's record cannot be read.",
    )
    .argument("[pods...]", "the Pods to show, instead of all Pods")
    .option("--json", "the stores as JSON")
    .addHelpText(
      "after",
      `
The edge checks the stores of each Pod that has several stores. Each minute, it checks at most 14 stores. If there are more, it checks some
of the Pods in one minute and others in the next. The edge asks a store for one byte of a small blob, the probe, which the Pod's record
names. Each store has a state:
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
      const stores = found.flatMap((pod) => (pod.ok ? describeStores(pod.value, health) : []));
      const unread = found.flatMap((pod) => (pod.ok ? [] : pod.error));
      if (json) printJson(stores);
      else if (stores.length > 0) print(formatStores(stores));
      else if (unread.length === 0) print("no store: the edge streams all blobs");
      for (const why of unread) note(`podctl: ${why}`);
      if (unread.length > 0 || stores.some(({ state }) => state === "out")) process.exitCode = 1;
    });
}

/** Reads all Pods by one `kv.read`, which gets up to 100 keys with each call to KV. A call for each Pod would take long. */
async function readPods(target: Target, kv: KvStore, ids: readonly string[]): Promise<readonly Result<Pod, string>[]> {
  const parsed = ids.map(parsePodId);
  const texts = await kv.read(parsed.flatMap((id) => (id.ok ? podKey(id.value) : [])));
  const { directory } = openDirectory(target, { read: async () => texts });
  return Promise.all(parsed.map(async (id) => (id.ok ? readPod(directory, id.value) : id)));
}

async function readPod(directory: Directory, id: PodId): Promise<Result<Pod, string>> {
  const pod = await directory.pod(id);
  if (!pod.ok) return err(damageText(pod.error));
  return pod.value === null ? err(`Pod "${id}" has no record`) : ok(pod.value);
}
