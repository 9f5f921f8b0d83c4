/** A real S3 server for one Pod: versitygw over a folder, with keys of its own. */
import { mkdir } from "node:fs/promises";
import { childEnv } from "../child-env.ts";
import { accepts, freePort, startChild } from "../child-process.ts";
import { loopback } from "../http-server.ts";
import type { PodContext, Server } from "./pod.ts";

const attempts = 3;

export async function startVersitygw(binary: string, pod: PodContext): Promise<Server> {
  const buckets = `${pod.dir}/buckets`;
  // Beside the buckets, for disks without extended attributes.
  const sidecar = `${pod.dir}/bucket-metadata`;
  await mkdir(`${buckets}/${pod.bucket}`, { recursive: true });
  await mkdir(sidecar, { recursive: true });
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      return await startChild({
        name: `${pod.id}'s storage (versitygw)`,
        command: binary,
        args: [
          ...["--port", `${loopback}:${port}`, "--region", pod.region, "--quiet", "--keep-alive"],
          ...["posix", "--sidecar", sidecar, buckets],
        ],
        env: { ...childEnv(), ROOT_ACCESS_KEY: pod.accessKeyId, ROOT_SECRET_KEY: pod.secretAccessKey },
        watchdog: pod.watchdog,
        readyPort: async () => ((await accepts(port)) ? port : null),
      });
    } catch (error) {
      // The port may have been taken between the look and the start.
      if (attempt === attempts) throw error;
    }
  }
}
