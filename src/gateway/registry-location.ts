import { type Asked, readLocation, type Target } from "../pods/targets.ts";

type Registries = Omit<Asked, "pod"> & {
  /** The origins that the registry may use for itself: the address that this program has for it, and its public one. */
  readonly registries: readonly string[];
};

/** Returns where a registry's `Location` leads. Null unless this is the upload that was asked for, or the blob that it became. */
export const readRegistryLocation = (
  text: string,
  status: number,
  { registries, ...asked }: Registries,
): Target | null =>
  registries
    .map((registry) => readLocation(text, status, { ...asked, pod: { registry } }))
    .find((target) => target !== null) ?? null;
