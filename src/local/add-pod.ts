/** `npm run pod -- <id> <prefix>`: adds a toy Pod to the running stack, and prints its part of a topology. */
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { stringify } from "yaml";
import { parsePodId } from "../directory/pod-id.ts";
import { parsePrefix } from "../oci/repository-name.ts";
import { type PodValues, podValues } from "./example-topology.ts";
import { stackFileInUse } from "./paths.ts";
import { type LocalPod, startPod } from "./pods/pod.ts";
import { toyParts } from "./pods/toy-pod.ts";
import { seedImages } from "./seed-images.ts";
import { readStackFile, sealingKeyFile } from "./stack-files.ts";
import { printable, StartFailure } from "./start-failure.ts";
import { endOnSignals, Teardown } from "./teardown.ts";
import { generateSigningKey } from "./toy/token-service.ts";

async function addPod(id: string, prefix: string, teardown: Teardown): Promise<void> {
  const parsed = [parsePodId(id), parsePrefix(prefix)].find(({ ok }) => !ok);
  if (parsed !== undefined && !parsed.ok) throw new StartFailure(`${parsed.error}.`);
  const stack = await readStackFile(stackFileInUse());
  if (stack === null) throw new StartFailure("No local stack is running: start one by `npm start`.");
  if (id in stack.pods) throw new StartFailure(`The stack has a Pod "${id}" already: choose another id.`);
  const sealingKey = JSON.parse(await readFile(sealingKeyFile(stack.stateDir), "utf8")) as JWK;
  const options = { id, prefix, dir: `${stack.stateDir}/pods/${id}`, key: await generateSigningKey() };
  const pod = await startPod(toyParts(false), options, teardown);
  await seedImages(pod);
  console.log(topologyPart(pod, await podValues(pod, sealingKey)));
  console.error(
    `${id} runs until Ctrl-C and has the images ${prefix}/hello:1 and ${prefix}/private:1. Add the lines above below \`pods:\` in your topology.`,
  );
}

function topologyPart({ context }: LocalPod, values: PodValues): string {
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

const teardown = new Teardown();
const end = endOnSignals(async () => {
  await teardown.run();
  process.exit();
});

try {
  const [id, prefix] = process.argv.slice(2);
  if (id === undefined || prefix === undefined) {
    throw new StartFailure("A Pod id and a prefix are missing: write them as in `npm run pod -- pod-c initech`.");
  }
  await addPod(id, prefix, teardown);
} catch (error) {
  console.error(printable(error));
  process.exitCode = 1;
  await end();
}
