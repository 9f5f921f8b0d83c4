/** `npm run pod -- <id> <prefix>`: one more toy Pod beside the running stack, and its part of a topology on standard output. */
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { stringify } from "yaml";
import { parsePodId } from "../directory/pod-id.ts";
import { parsePrefix } from "../oci/repository-name.ts";
import { type Pod, startPod } from "./pods/pod.ts";
import { toyParts } from "./pods/toy.ts";
import { seedImages } from "./seed-images.ts";
import { readStackFile, stackFileInUse } from "./stack-file.ts";
import { StartFailure } from "./start-failure.ts";
import { sealingKeyFile } from "./state-dir.ts";
import { Teardown } from "./teardown.ts";
import { type PodValues, podValues } from "./topology-file.ts";
import { generateSigningKey } from "./toy/token-service.ts";
import { startWatchdog } from "./watchdog.ts";

const teardown = new Teardown();
const watchdog = startWatchdog();

async function end(): Promise<never> {
  await teardown.run();
  watchdog.dismiss();
  process.exit();
}

async function start(id: string, prefix: string): Promise<void> {
  const parsed = [parsePodId(id), parsePrefix(prefix)].find(({ ok }) => !ok);
  if (parsed !== undefined && !parsed.ok) throw new StartFailure(`${parsed.error}.`);
  const stack = await readStackFile(stackFileInUse());
  if (stack === null) throw new StartFailure("No local stack is running: start one by `npm start`.");
  if (id in stack.pods) throw new StartFailure(`The stack has a Pod "${id}" already: choose another id.`);
  const sealingKey = JSON.parse(await readFile(sealingKeyFile(stack.stateDir), "utf8")) as JWK;
  const options = { id, prefix, dir: `${stack.stateDir}/pods/${id}`, watchdog, key: await generateSigningKey() };
  const pod = await startPod(toyParts(false), options, teardown);
  await seedImages(pod);
  console.log(snippet(pod, await podValues(pod, sealingKey)));
  console.error(
    `${id} runs until Ctrl-C, with the images ${prefix}/hello:1 and ${prefix}/private:1. The lines above belong below \`pods:\`.`,
  );
}

/** As topology.example.yaml has its Pods. */
function snippet({ context }: Pod, values: PodValues): string {
  const topologyPod = {
    registry: values.REGISTRY,
    token: values.TOKEN,
    issuer: context.issuer,
    audience: context.audience,
    keys: [context.key.publicJwk],
    blobs: {
      hosts: [values.STORAGE_HOST, values.STORAGE_DIRECT_HOST],
      proof: "head",
      stores: [
        {
          scheme: "s3",
          endpoint: values.STORAGE,
          region: context.region,
          bucket: context.bucket,
          credentials: values.STORAGE_CREDENTIALS,
        },
      ],
    },
    probe: { repository: `${context.prefix}/hello`, digest: values.PROBE_DIGEST },
  };
  return stringify({ [context.id]: topologyPod }, { lineWidth: 0 })
    .trimEnd()
    .replaceAll(/^/gm, "  ");
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void end());

try {
  const [id, prefix] = process.argv.slice(2);
  if (id === undefined || prefix === undefined)
    throw new StartFailure("Want a Pod id and a prefix: `npm run pod -- pod-c initech`.");
  await start(id, prefix);
} catch (error) {
  console.error(error instanceof StartFailure ? error.message : error);
  process.exitCode = 1;
  await end();
}
