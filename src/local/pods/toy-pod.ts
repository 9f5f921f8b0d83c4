/** The kind of Pod that `npm start` uses: its registry and its storage are servers in this process. */
import { mkdir } from "node:fs/promises";
import { serve } from "../http-server.ts";
import { createToyRegistry } from "../toy/registry.ts";
import { createToyStorage } from "../toy/storage.ts";
import type { PodParts } from "./pod.ts";

export const toyParts = (lenientManifests: boolean): PodParts => ({
  async startStorage(pod) {
    const dir = `${pod.dir}/storage`;
    await mkdir(dir, { recursive: true });
    return serve(createToyStorage({ ...pod, dir }));
  },
  async startRegistry(pod, urls) {
    const stagingDir = `${pod.dir}/uploads`;
    await mkdir(stagingDir, { recursive: true });
    const { bucket, region, accessKeyId, secretAccessKey } = pod;
    const registry = createToyRegistry({
      realm: urls.realm,
      service: pod.audience,
      issuer: pod.issuer,
      publicJwks: pod.trusted.map(({ publicJwk }) => publicJwk),
      storage: { endpoint: urls.storage, bucket, region, accessKeyId, secretAccessKey },
      stagingDir,
      lenientManifests,
    });
    return serve(registry);
  },
});
