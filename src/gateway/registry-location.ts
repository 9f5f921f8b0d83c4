import { type Asked, readLocation, type Target } from "../pods/targets.ts";

type Registries = Omit<Asked, "pod"> & {
  /** The origins that the registry may write into its `Location`: the one under which this program reaches it, and the one that the edge knows. */
  readonly registries: readonly string[];
};

/** Returns where a registry's `Location` leads. Null unless it leads to an upload or to a blob of the repository that was asked for. */
export const readRegistryLocation = (
  text: string,
  status: number,
  { registries, ...asked }: Registries,
): Target | null =>
  registries
    .map((registry) => readLocation(text, status, { ...asked, pod: { registry } }))
    .find((target) => target !== null) ?? null;
