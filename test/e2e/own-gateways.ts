/** A stage whose Pod A has gateways that the test starts and kills itself. Clients reach them at one port, where the test may put a balancer. */
import { randomBytes } from "node:crypto";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { bundleGateway, startGatewayProcess } from "../../src/local/pods/gateway.ts";
import { loopback } from "../../src/local/ports.ts";
import { Teardown } from "../../src/local/teardown.ts";
import { openStage, type Stage } from "./stage.ts";

type Replica = Awaited<ReturnType<typeof startGatewayProcess>>;

export type StageWithGateways = Stage & {
  /** Starts a gateway on this port, or on any free one. */
  startReplica(port?: number): Promise<Replica>;
  /** The file that the gateways run, by which their processes can be found. */
  readonly program: string;
};

type Options = Parameters<typeof openStage>[1] & {
  /** The port in the Pod's gateway URL. A gateway listens there, or a balancer in front of several gateways. */
  readonly port: number;
  /** Whether the gateways go to the registry's own port, so that no tap sees or slows their requests. */
  readonly past?: "taps";
};

export async function openStageWithGateways(
  pods: Parameters<typeof openStage>[0],
  { port, past, topology = (text) => text, ...options }: Options,
): Promise<StageWithGateways> {
  const [key, url] = [randomBytes(32).toString("base64"), `http://${loopback}:${port}`];
  const sealingKeys = await generateSealingKeys();
  const sealed = await seal(
    key,
    { pod: "pod-a", field: "gateway.key", scheme: "gateway", target: url },
    sealingKeys.publicJwk,
  );
  // With `operator: pod`, the edge would not send skopeo, podman and buildah to the gateway (see `chooseGateway`).
  const gateway = JSON.stringify({ url, key: sealed, operator: "fleet" });
  const edited = (text: string) => topology(text).replace("$" + "{POD_A_GATEWAY}", gateway);
  const stage = await openStage(pods, { ...options, sealingKeys, topology: edited });
  const teardown = new Teardown();
  const program = `${stage.dir}/own-gateway.mjs`;
  await bundleGateway(program);
  const { registry } = stage.stack.pods["pod-a"];
  const env = {
    ...{ POD: "pod-a", GATEWAY_KEY: key, EDGE: stage.stack.edge },
    REGISTRY: past === "taps" ? registry.direct : registry.url,
  };
  const { watchdog } = teardown;
  return {
    ...stage,
    program,
    startReplica: async (replicaPort = 0) =>
      teardown.add(await startGatewayProcess({ name: "a gateway", program, env, port: replicaPort, watchdog })),
    close: async () => {
      await teardown.run();
      await stage.close();
    },
  };
}
