import pMap from "p-map";
import * as v from "valibot";
import type { Directory } from "../../directory/directory.ts";
import { parsePodId } from "../../directory/pod-id.ts";
import { parseJson } from "../../lib/json.ts";
import { headerOf, sealedOf } from "../../topology/check-pod.ts";
import { bearer, call } from "../http-call.ts";
import { counted } from "../output.ts";
import { type Check, Checks } from "./findings.ts";
import type { Deployment } from "./pod-under-test.ts";

const newest = v.object({ sealingKey: v.nullable(v.string()) });
const podsAtOnce = 4;

/** Finds sealed values that are not sealed for the Worker's newest key. An older key opens them only until the operator removes this key. */
export async function checkSeals(
  directory: Directory,
  pods: readonly string[],
  { edge, probeToken }: Pick<Deployment, "edge" | "probeToken">,
): Promise<readonly Check[]> {
  const checks = new Checks("edge");
  const answer = probeToken === null ? null : await call(`${edge}/-/probe`, { headers: bearer(probeToken) });
  const key = v.safeParse(newest, answer?.ok === true ? parseJson(answer.value.text) : null);
  // `checkEdge` reports an edge that does not answer.
  if (!key.success) return [];
  const { sealingKey } = key.output;
  if (sealingKey === null) {
    checks.skip(
      "sealed values",
      'the first key in the Worker\'s SEALING_KEYS has no "kid"; `podctl keys rotate` makes a key that has one',
    );
    return checks.list;
  }
  const values = (await pMap(pods, (pod) => sealedValues(directory, pod), { concurrency: podsAtOnce })).flat();
  const older = values.filter(({ sealed }) => headerOf(sealed)?.["kid"] !== sealingKey);
  for (const { pod, field } of older) {
    const text = `Pod "${pod}", field "${field}", is not sealed for the Worker's newest key`;
    checks.found("sealed values", "sealed-before", text);
  }
  if (older.length === 0) checks.ok("sealed values", `${counted(values.length, "value")}, for the newest key`);
  return checks.list;
}

async function sealedValues(directory: Directory, text: string) {
  const id = parsePodId(text);
  const pod = id.ok ? await directory.pod(id.value) : id;
  const sealed = pod.ok && pod.value !== null ? sealedOf(pod.value) : [];
  return sealed.map((each) => ({ ...each, pod: text }));
}
