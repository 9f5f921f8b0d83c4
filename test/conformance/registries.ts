import type { PodKind } from "../../src/local/pods/start-pods.ts";

export type Registry = {
  readonly id: PodKind;
  readonly title: string;
  /** How many rows pass without an edge, as measured. If fewer pass, the stack is broken and the comparison proves nothing. */
  readonly leastPassed: number;
};

/** For the toy Pod, `leastPassed` is not measured. If the toy Pod fails a row that distribution v3 passes, the run reports that as a fault. */
export const registries: readonly Registry[] = [
  { id: "registry", title: "docker-registry 2.8", leastPassed: 715 },
  { id: "distribution-v3", title: "distribution 3.1", leastPassed: 758 },
  { id: "toy", title: "toy Pod", leastPassed: 1 },
];

type Chosen = {
  readonly registries: readonly Registry[];
  /**
   * If true, each Pod has a gateway, and uploads through the edge go on at the gateway. The edge does not know the suite's User-Agent, and sends
   * unknown clients only to gateways with `operator: fleet`. So each gateway has this setting.
   */
  readonly gateways: boolean;
};

/** Returns a usage text if the arguments are wrong. */
export function chooseRegistries(args: readonly string[]): Chosen | string {
  const usage = `usage: npm run conformance -- [--gateways] [--only ${registries.map(({ id }) => id).join("|")}]`;
  const [flag, id, ...rest] = args.filter((arg) => arg !== "--gateways").flatMap((arg) => arg.split("=", 2));
  const gateways = args.includes("--gateways");
  if (flag === undefined) return { registries, gateways };
  if (flag !== "--only" || rest.length > 0) return usage;
  const chosen = registries.filter((registry) => registry.id === id);
  return chosen.length === 0 ? usage : { registries: chosen, gateways };
}
