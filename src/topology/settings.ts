/** Checks the settings of a group, which the schema of an assignment has parsed. Pure. */
import type { ClientRules } from "../directory/group-settings.ts";
import type { AssignmentRecord } from "../directory/records.ts";
import { rangesCover, rangesOf } from "../lib/address-ranges.ts";
import type { When } from "../signers/store.ts";
import { conditionMistakes, covers, isOpen } from "./conditions.ts";
import type { Mistake, Path } from "./mistake.ts";

/** Texts that an operator writes have a limit, because clients get them in the message of an OCI error. */
export const maxTextCharacters = 500;

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** What an assignment says about its group besides the Pod. */
export type GroupSettings = Without<AssignmentRecord, "v" | "pod" | "revision">;

export const needlessReason = "is only for `state: read-only`; remove it, or set that state";

/** Each mistake's path is relative to the assignment. */
export function* settingsMistakes({
  reason,
  state,
  clients,
}: GroupSettings & { readonly reason?: string | undefined }) {
  const mistake = (path: Path, text: string): Mistake => ({ path, at: "value", text });
  if (reason !== undefined && state !== "read-only") {
    yield mistake(["reason"], needlessReason);
  }
  const texts: readonly (readonly [Path, string | undefined])[] = [
    [["reason"], reason],
    [["clients", "reason"], clients?.reason],
  ];
  for (const [path, text = ""] of texts) {
    if (text.length > maxTextCharacters) {
      yield mistake(path, `has ${text.length} characters; want at most ${maxTextCharacters}`);
    }
  }
  if (clients !== undefined && clients.allow === undefined && clients.deny === undefined) {
    yield mistake(
      ["clients"],
      "has neither `allow` nor `deny`, so all clients may use the group; add one, or remove it",
    );
  }
  for (const list of ["allow", "deny"] as const) {
    for (const [index, when] of (clients?.[list] ?? []).entries()) {
      for (const text of conditionMistakes(when)) yield mistake(["clients", list, index], text);
    }
  }
}

/** Returns why these rules let no client use the group. Null if they let some clients use it. */
export function whyLockedOut(clients: ClientRules | undefined): string | null {
  if (clients === undefined) return null;
  const { allow = [{}], deny = [] } = clients;
  if (allow.length === 0) return "clients.allow is empty";
  if (allow.every(isPrivate)) return "clients.allow has only private addresses, and the edge sees public ones";
  const denied = joined(deny);
  if (denied.some(fitsAll)) return "clients.deny has every client";
  return allow.every((when) => denied.some((other) => covers(other, when)))
    ? "clients.deny has every client of clients.allow"
    : null;
}

/** Whether these rules certainly let every client use the group. False for entries that only together fit every client (`0.0.0.0/0` and `::/0`). */
export const letsAllIn = ({ allow = [{}], deny = [] }: ClientRules = {}): boolean =>
  allow.some(isOpen) && deny.length === 0;

const everyAddress = rangesOf(["0.0.0.0/0", "::/0"]);
/** The addresses of RFC 1918 and RFC 4193, of a single link (link-local) and of the machine itself (loopback). */
const privateAddresses = rangesOf([
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"],
  ...["fc00::/7", "fe80::/10", "::1/128"],
]);
const continents = 7;

const isPrivate = ({ cidrs }: When): boolean => cidrs !== undefined && rangesCover(privateAddresses, rangesOf(cidrs));

function fitsAll(when: When): boolean {
  const [member, ...others] = membersOf(when);
  if (isOpen(when)) return true;
  if (others.length > 0) return false;
  if (member === "cidrs") return rangesCover(rangesOf(when.cidrs ?? []), everyAddress);
  return member === "continents" && new Set(when.continents).size === continents;
}

const membersOf = (when: When): readonly string[] =>
  Object.entries(when).flatMap(([member, entries]) => (entries === undefined ? [] : [member]));

/**
 * Joins all conditions that have only `cidrs` into one condition, and likewise those that have only `continents`, only `countries` or only `asns`. If
 * each of two conditions has half of all addresses, only the joined condition shows that every address is covered.
 */
function joined(list: readonly When[]): readonly When[] {
  const single = Map.groupBy(list, (when) => membersOf(when).join());
  return [...single].flatMap(([members, some]): readonly When[] => {
    if (members === "cidrs") return [{ cidrs: some.flatMap(({ cidrs }) => cidrs ?? []) }];
    if (members === "continents") return [{ continents: some.flatMap((when) => when.continents ?? []) }];
    if (members === "countries") return [{ countries: some.flatMap(({ countries }) => countries ?? []) }];
    if (members === "asns") return [{ asns: some.flatMap(({ asns }) => asns ?? []) }];
    return some;
  });
}
