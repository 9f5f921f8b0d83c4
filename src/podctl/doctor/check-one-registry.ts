import { allPods, type Directory, othersOfRegistry, type Pod } from "../../directory/directory.ts";
import { formatPath } from "../../topology/mistake.ts";
import { disagreementsOf, keyMaterial } from "../../topology/one-registry.ts";
import type { Checks } from "./findings.ts";

/**
 * Compares a Pod in KV with the other Pods that have the same registry. `podctl validate` compares the Pods of a topology file, but an operator may
 * have put a record into KV by hand.
 */
export async function checkOneRegistry(pod: Pod, checks: Checks, directory: Directory): Promise<void> {
  const [listed, all] = [await directory.record(), await allPods(directory)];
  if (!listed.ok) return;
  if (!all.ok) return checks.found("one registry", "record-wrong", all.error.text);
  const others = all.value.filter(({ id, registry }) => id !== pod.id && registry === pod.registry);
  // If the directory record does not list the Pod, the record's `sharedRegistries` may lack the Pod too, so we compare nothing.
  if (listed.value.pods?.includes(pod.id) !== true || others.length === 0) return;
  const known = othersOfRegistry(listed.value, pod.id);
  const wrong = others.flatMap((other) => [
    ...[...disagreementsOf(pod, { id: other.id, pod: other })].map(({ path, text }) => `${formatPath(path)} ${text}`),
    ...sameKeys(pod, other),
    ...(known.includes(other.id)
      ? []
      : [`the directory record does not say that Pod "${other.id}" has the same registry; run \`podctl apply\``]),
  ]);
  for (const text of wrong) checks.found("one registry", "registry-shared", text);
  if (wrong.length === 0) checks.ok("one registry", `also that of ${others.map(({ id }) => id).join(", ")}`);
}

const sameKeys = (pod: Pod, other: Pod): readonly string[] =>
  pod.keys
    .filter((key) => other.keys.some((each) => each.kid === key.kid || keyMaterial(each) === keyMaterial(key)))
    .map(({ kid }) => `the key "${kid}" is also a key of Pod "${other.id}"`);
