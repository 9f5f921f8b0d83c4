/** A real S3 server for one Pod: versitygw over a folder, with keys of its own. */
import { mkdir } from "node:fs/promises";
import { childEnv, startChild } from "../child-process.ts";
import { freePort, isListening, loopback } from "../ports.ts";
import type { PodContext, PodServer } from "./pod.ts";

type StoragePod = Pick<PodContext, "id" | "dir" | "bucket" | "region" | "accessKeyId" | "secretAccessKey" | "watchdog">;

const attempts = 3;

export async function startVersitygw(binary: string, pod: StoragePod): Promise<PodServer> {
  const buckets = `${pod.dir}/buckets`;
  // versitygw keeps metadata in this folder, because not every disk has extended attributes for it.
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
        readyPort: async () => ((await isListening(port)) ? port : null),
      });
    } catch (error) {
      // Another process may have taken the port after we found it free, so we try another port.
      if (attempt === attempts) throw error;
    }
  }
}
