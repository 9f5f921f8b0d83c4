import type { Stack } from "../../src/local/stack.ts";
import { pushImage } from "../support/image.ts";
import { type Finding, portable } from "./finding.ts";
import { blobsOfImage, blobUrl, type Image, pull, pullManifest, requestsOfPull, requestToken } from "./pull.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

/** KV is billed by keys, so the price is computed from the finding of this name. */
export const keysPerRequest = "KV keys per request, the same pulls";

/** All images are of one group, and no two share a blob. */
export const benchKvReads = ({ pulls }: { readonly pulls: number }): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const stack = await startBenchStack(teardown, dir);
    const images = await pushImages(stack, pulls + 3);
    const [first, known, unseen, ...others] = images;
    if (first === undefined || known === undefined || unseen === undefined) throw new Error("want more images");
    // The isolate has learned these images from the pushes, so we start a new isolate.
    await stack.restartEdge();
    await pull(first);
    const readsDuring = (act: () => Promise<void>) => countReads(stack, act);

    const token = await requestToken(known);
    const digests = await pullManifest(known, token);
    const ofDigests = await readsDuring(() => redirectEach(known, token, digests));
    const unseenToken = await requestToken(unseen);
    const ofUnseen = await readsDuring(async () =>
      redirectEach(unseen, unseenToken, await pullManifest(unseen, unseenToken)),
    );
    stack.clearSeen();
    const ofMix = await readsDuring(async () => {
      for (const image of others) await pull(image);
    });
    return [
      portable("KV reads of 10 new digests of a known group", ofDigests, 0),
      portable("KV reads of a pull of a new repository of a known group, after its token", ofUnseen, 0),
      portable(
        "KV reads per request, pulls of new images with a fresh token each",
        ofMix / pulls / requestsOfPull,
        0.1,
      ),
      portable(keysPerRequest, keysSeen(stack) / pulls / requestsOfPull),
    ];
  });

export async function pushImages(stack: Stack, count: number): Promise<readonly Image[]> {
  const images: Image[] = [];
  for (let index = 0; index < count; index += 1) {
    const repository = `acme/bench-${index}`;
    // With its config, the image has `blobsOfImage` blobs.
    await pushImage(stack, repository, blobsOfImage - 1);
    images.push({ origin: stack.edge, repository });
  }
  return images;
}

async function redirectEach(image: Image, token: string, digests: readonly string[]): Promise<void> {
  for (const digest of digests) await blobUrl(image, { digest, token });
}

const keysSeen = (stack: Stack): number => stack.edgeSeen().reduce((sum, { kvKeys }) => sum + kvKeys, 0);

async function countReads({ control }: Stack, act: () => Promise<void>): Promise<number> {
  const before = await readsSoFar(control);
  await act();
  return (await readsSoFar(control)) - before;
}

async function readsSoFar(control: string): Promise<number> {
  return ((await (await fetch(`${control}/kv`)).json()) as { reads: number }).reads;
}
