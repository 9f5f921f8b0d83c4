import { type Asked, readLocation, type Target } from "../pods/targets.ts";

type Registries = Omit<Asked, "pod"> & {
  /** The origins that the registry may use for itself: the address that this program has for it, and its public one. */
  readonly registries: readonly string[];
};

/** Returns where a registry's `Location` leads. Null unless it leads to the upload that was asked for, or to the blob that the upload became. */
export const readRegistryLocation = (
  text: string,
  status: number,
  { registries, ...asked }: Registries,
): Target | null =>
  registries
    .map((registry) => readLocation(text, status, { ...asked, pod: { registry } }))
    .find((target) => target !== null) ?? null;
