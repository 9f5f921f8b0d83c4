/** Replaces the names of clouds by their CIDRs in the conditions of a topology, so that KV and the Worker know only CIDRs. Pure. */
import * as v from "valibot";
import { cidrsOf, rangesOf } from "../lib/address-ranges.ts";
import { isObject } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { CloudFile, CloudFiles } from "./cloud-files.ts";
import { cloudNames } from "./cloud-formats.ts";
import { type Mistake, mistakeOf, type Path, quote } from "./mistake.ts";

const regionName = v.pipe(v.string(), v.nonEmpty());

/** The members that a condition may have in a topology, but not in KV. */
export const cloudEntries = {
  /** The condition is for clients in this cloud. podctl replaces this member by `cidrs`, from the file that `clouds` names. */
  cloud: v.optional(v.picklist(cloudNames)),
  /** One region or several, as the cloud's file calls them. The condition is then only for clients in these regions. */
  region: v.optional(v.union([regionName, v.pipe(v.array(regionName), v.minLength(1))])),
};
const cloudCondition = v.object(cloudEntries);

type Members = Record<string, unknown>;

/** Replaces `cloud` and `region` by `cidrs` in `input` itself. Returns a mistake for each cloud or region that cannot be replaced. */
export function fillClouds(input: unknown, files: CloudFiles): readonly Mistake[] {
  const mistakes: Mistake[] = [];
  for (const [path, when] of conditionsIn(input)) {
    if (!("cloud" in when || "region" in when)) continue;
    const cidrs = cidrsFor(when, files);
    if (cidrs.ok) {
      delete when["cloud"];
      delete when["region"];
      when["cidrs"] = cidrs.value;
    } else mistakes.push(...cidrs.error.map((mistake) => ({ ...mistake, path: [...path, ...mistake.path] })));
  }
  return mistakes;
}

/** Yields each condition with its path. A condition that is not a mapping is left out, because the schema reports it. */
function* conditionsIn(input: unknown): Generator<readonly [Path, Members]> {
  for (const [prefix, assignment] of Object.entries(membersOf(membersOf(input)["assignments"]))) {
    const clients = membersOf(membersOf(assignment)["clients"]);
    for (const list of ["allow", "deny"]) {
      const conditions = clients[list];
      for (const [index, when] of (Array.isArray(conditions) ? conditions : []).entries()) {
        if (isMapping(when)) yield [["assignments", prefix, "clients", list, index], when];
      }
    }
  }
  for (const [id, pod] of Object.entries(membersOf(membersOf(input)["pods"]))) {
    const { stores } = membersOf(membersOf(pod)["blobs"]);
    for (const [index, store] of (Array.isArray(stores) ? stores : []).entries()) {
      const { when } = membersOf(store);
      if (isMapping(when)) yield [["pods", id, "blobs", "stores", index, "when"], when];
    }
  }
}

const isMapping = (value: unknown): value is Members => isObject(value);
const membersOf = (value: unknown): Members => (isMapping(value) ? value : {});

const wrong = (member: string, text: string): Result<never, readonly Mistake[]> =>
  err([{ path: [member], at: "value", text }]);

function cidrsFor(when: Members, files: CloudFiles): Result<readonly string[], readonly Mistake[]> {
  const parsed = v.safeParse(cloudCondition, when);
  if (!parsed.success) return err(parsed.issues.map(mistakeOf));
  const { cloud, region } = parsed.output;
  if (cloud === undefined) return wrong("region", "is a region without a cloud; add `cloud`");
  if (when["cidrs"] !== undefined)
    return wrong("cidrs", "is next to `cloud`, which replaces it; want only one of them");
  const file = files.get(cloud);
  if (file === undefined) return wrong("cloud", `${quote(cloud, [])} has no file; want its path as clouds.${cloud}`);
  const regions = region === undefined ? [...file.regions.keys()] : [region].flat();
  const unknown = regions.find((name) => !file.regions.has(name));
  if (unknown !== undefined) return wrong("region", unknownRegion(unknown, file));
  return ok(cidrsOf(rangesOf(regions.flatMap((name) => file.regions.get(name) ?? []))));
}

function unknownRegion(name: string, { path, regions }: CloudFile): string {
  const known = [...regions.keys()].filter((region) => region !== "").sort();
  const similar = known.filter((region) => region.slice(0, 2) === name.slice(0, 2));
  const some = (similar.length > 0 ? similar : known).slice(0, 10).join(", ");
  return `${quote(name, [])} is not a region of ${quote(path, [])}; want one of ${some}`;
}
