import type { PodKind } from "../../src/local/pods/start-pods.ts";

export type Registry = {
  readonly id: PodKind;
  readonly title: string;
  /** How many rows pass without an edge, as measured. If fewer pass, the stack is broken and the comparison proves nothing. */
  readonly leastPassed: number;
};

/** The toy Pod comes last, because it is compared with distribution v3. */
export const registries: readonly Registry[] = [
  { id: "registry", title: "docker-registry 2.8", leastPassed: 715 },
  { id: "distribution-v3", title: "distribution 3.1", leastPassed: 758 },
  { id: "toy", title: "toy Pod", leastPassed: 1 },
];

/** The registries that `--only <id>` leaves, or what is wrong with the arguments. */
export function selectRegistries(args: readonly string[]): readonly Registry[] | string {
  if (args.length === 0) return registries;
  const usage = `usage: npm run conformance -- [--only ${registries.map(({ id }) => id).join("|")}]`;
  const [flag, id, ...rest] = args.flatMap((arg) => arg.split("=", 2));
  if (flag !== "--only" || rest.length > 0) return usage;
  const chosen = registries.filter((registry) => registry.id === id);
  return chosen.length === 0 ? usage : chosen;
}
