import { layersOf } from "../support/client.ts";
import { amount, type Finding } from "./finding.ts";
import { Load, type Target } from "./load.ts";
import { residentBytes } from "./process.ts";
import { startBenchStack, startBenchWorker, withTeardown } from "./stage.ts";

const requests = 100_000;
const megabyte = 1e6;
const repository = "acme/private";

export const benchMemory = (): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const stack = await startBenchStack(teardown, dir);
    const constants = { LINE: {}, HEADERS: { Location: "/" }, POD: null };
    const bare = await startBenchWorker(teardown, dir, { file: "bare-worker.ts", constants });
    const load = new Load();
    teardown.add({ stop: async () => load.close() });
    const { bundle } = await stack.longToken("pod-a", repository);
    const [layer] = await layersOf(stack, repository);
    const headers = { Authorization: `Bearer ${bundle}` };
    const redirect: Target = {
      url: `${stack.edge}/v2/${repository}/blobs/${layer?.digest ?? ""}`,
      headers,
      status: 307,
    };
    const refusal = (index: number): Target => {
      return { url: `${stack.edge}/v2/acme/unseen-${index}/manifests/1`, headers, status: 401 };
    };
    const before = await residentBytes(stack.workerdPid());
    // Every second request is for a new name, to see whether memory grows with what strangers ask.
    await load.send(requests, (index) => (index % 2 === 0 ? redirect : refusal(index)));
    await load.send(requests, () => ({ url: bare.url, headers, status: 307 }));
    const after = await residentBytes(stack.workerdPid());
    return [
      amount("memory of workerd before the first request, MB", before / megabyte),
      amount("memory of workerd after 100,000 requests, MB", after / megabyte),
      amount("memory of workerd after 100,000 requests to a bare 307, MB", (await residentBytes(bare.pid)) / megabyte),
    ];
  });
