/** Runs a Pod's gateway as a process, behind a tap (a proxy that lists the requests). */
import { randomBytes } from "node:crypto";
import { build } from "esbuild";
import type { GatewayOperator } from "../../directory/records.ts";
import { childEnv, startChild } from "../child-process.ts";
import { root } from "../paths.ts";
import { loopback } from "../ports.ts";
import { startTap, type Tap } from "../taps/tap.ts";
import type { Teardown, Watchdog } from "../teardown.ts";
import type { LocalPod } from "./pod.ts";

export type LocalGateway = {
  readonly tap: Tap;
  /** The gateway's own URL. Requests to it do not pass `tap`. */
  readonly direct: string;
  /** The secret that the edge and this gateway share. */
  readonly key: string;
  readonly operator: GatewayOperator;
  /** Kills the gateway as a crash does, and starts it again on the same port. */
  readonly restart: () => Promise<void>;
};

/** Builds the same file as `npm run build:gateway`. */
export async function bundleGateway(outfile: string): Promise<void> {
  await build({
    entryPoints: [`${root}src/gateway/main.ts`],
    outfile,
    bundle: true,
    platform: "node",
    target: "node22",
    format: "esm",
    logLevel: "silent",
  });
}

export type GatewayOptions = {
  readonly program: string;
  readonly edges: readonly string[];
  readonly operator: GatewayOperator;
};

export async function startGateway(
  { context, services }: LocalPod,
  { program, edges, operator }: GatewayOptions,
  teardown: Teardown,
): Promise<LocalGateway> {
  const key = randomBytes(32).toString("base64");
  const env = { POD: context.id, REGISTRY: services.registry.url, EDGE: edges.join(","), GATEWAY_KEY: key };
  const start = (port: number) =>
    startGatewayProcess({ name: `${context.id}'s gateway`, program, env, port, watchdog: teardown.watchdog });
  let running = await start(0);
  const { port } = running;
  teardown.add({ stop: () => running.stop() });
  // crane refuses a push location on 127.0.0.1 if the edge has another host name. So the tap has the same host name as the edge, on another port.
  const tap = teardown.add(await startTap(port, loopback));
  const restart = async () => {
    await running.kill();
    running = await start(port);
  };
  return { tap, direct: `http://${loopback}:${port}`, key, operator, restart };
}

type GatewayProcess = {
  readonly name: string;
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** 0 means any free port. */
  readonly port: number;
  readonly watchdog: Watchdog;
};

export const startGatewayProcess = ({ name, program, env, port, watchdog }: GatewayProcess) =>
  startChild({
    name,
    command: process.execPath,
    args: [program],
    env: { ...childEnv(), ...env, LISTEN: `${loopback}:${port}` },
    watchdog,
    readyPort: (output) => {
      const taken = /"event":"listening".*?"port":(\d+)/.exec(output)?.[1];
      return taken === undefined ? null : Number(taken);
    },
  });
