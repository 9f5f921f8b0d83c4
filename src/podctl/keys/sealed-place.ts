import * as v from "valibot";
import type { SealedFor } from "../../directory/seal.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { wrongAt } from "../../lib/wrong-at.ts";
import { type Scheme, schemes, signerOf, storeSchema } from "../../signers/index.ts";
import { fillPlaceholders } from "../../topology/placeholders.ts";
import { parseYaml } from "../../topology/yaml.ts";

/** A Pod's id and a member of its record, as in `pod-a` and `blobs.stores.0.credentials`. */
type Place = Pick<SealedFor, "pod" | "field">;
/** A sealed secret opens only for the scheme and the target for which it was sealed. */
type Bound = Pick<SealedFor, "scheme" | "target">;

/**
 * Finds what the secret in this Pod's field is sealed for. The topology need not be valid as a whole, because the sealed value is still missing in
 * it. The error is the end of a sentence that begins with the file's name.
 */
export function sealedPlace(topology: string, { pod, field }: Place): Result<SealedFor, string> {
  const filled = fillPlaceholders(topology, null);
  const yaml = filled.ok ? parseYaml(filled.value) : filled;
  if (!yaml.ok) return err(`cannot be read: line ${yaml.error[0]?.line}: ${yaml.error[0]?.text}`);
  const pods = members(members(yaml.value.value)["pods"]);
  const record = pods[pod];
  if (record === undefined)
    return err(`has no Pod "${pod}"; its Pods are ${Object.keys(pods).join(", ") || "missing"}`);
  // An operator may copy the field from a message of `podctl validate`, which writes an index in brackets.
  const dotted = field.replace(/\[(\d+)\]/g, ".$1");
  const [, index] = /^blobs\.stores\.(0|[1-9]\d*)\.credentials$/.exec(dotted) ?? [];
  const bound = index === undefined ? boundToMember(members(record), dotted) : boundToStore(members(record), index);
  return bound.ok ? ok({ pod, field: dotted, ...bound.value }) : err(`cannot take it: pods.${pod}.${bound.error}`);
}

function boundToStore(record: Members, index: string): Result<Bound, string> {
  const place = `blobs.stores[${index}]`;
  const stores = members(record["blobs"])["stores"];
  // We leave out the store's `when`, because the secret is not bound to it. `storeSchema` below is KV's, and refuses a `when` that names a cloud.
  const { when: _, ...store } = members(Array.isArray(stores) ? stores[Number(index)] : undefined);
  const scheme = store["scheme"];
  if (!isScheme(scheme)) return err(`${place} has no known scheme; want one of ${Object.keys(schemes).join(", ")}`);
  const hasSecret = scheme !== "pod" && schemes[scheme].secret !== null;
  const parsed = v.safeParse(storeSchema, hasSecret ? { ...store, credentials: "not sealed yet" } : store);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    return err(`${place} ${wrongAt(v.getDotPath(issue), issue)}`);
  }
  if (!hasSecret || parsed.output.scheme === "pod")
    return err(`${place} has scheme "${scheme}", which has no credentials`);
  return ok({ scheme, target: signerOf(parsed.output).target(parsed.output) });
}

const isScheme = (scheme: unknown): scheme is Scheme => typeof scheme === "string" && scheme in schemes;

const trustKinds: Readonly<Record<string, string>> = { "trust.value": "header", "trust.clientSecret": "access" };

function boundToMember(record: Members, field: string): Result<Bound, string> {
  const scheme = trustKinds[field];
  if (field === "gateway.key") return boundToGateway(record);
  if (scheme !== undefined) return boundToTrust(record, field, scheme);
  const others = ["gateway.key", ...Object.keys(trustKinds)].join(" or ");
  return err(`${field} is not sealed; want blobs.stores.<index>.credentials, ${others}`);
}

function boundToGateway({ gateway }: Members): Result<Bound, string> {
  const { url } = members(gateway);
  return typeof url === "string"
    ? ok({ scheme: "gateway", target: url })
    : err("gateway has no url, and the key is bound to it");
}

function boundToTrust({ trust, registry }: Members, field: string, scheme: string): Result<Bound, string> {
  if (members(trust)["kind"] !== scheme) return err(`trust is not of kind "${scheme}", the only one that has ${field}`);
  if (typeof registry !== "string") return err("registry is missing, and the secret is bound to it");
  return ok({ scheme, target: registry });
}

type Members = Readonly<Record<string, unknown>>;
const members = (value: unknown): Members => Object(value) as Members;
