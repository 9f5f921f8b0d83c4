import { existsSync } from "node:fs";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The files that take longest. Most files of test/worker wait for deadlines, and files of test/podctl start many processes, so the list alternates
 * between them.
 */
const slowest = [
  "test/worker/stale-pulls.test.ts",
  "test/podctl/move.test.ts",
  "test/worker/store-health.test.ts",
  "test/podctl/docs.test.ts",
  "test/worker/grace.test.ts",
  "test/podctl/set.test.ts",
  "test/worker/breaker.test.ts",
  "test/worker/mounts-across.test.ts",
  "test/worker/any-revocation.test.ts",
  "test/podctl/moves-docs.test.ts",
  "test/worker/any-outage.test.ts",
  "test/podctl/depth.test.ts",
  "test/worker/blocks.test.ts",
  "test/worker/group-settings.test.ts",
  "test/worker/pod-outage.test.ts",
  "test/worker/catalog.test.ts",
  "test/worker/slow-and-broken-connections.test.ts",
  "test/directory/slow-kv.test.ts",
  "test/worker/token-endpoint-pods.test.ts",
  "test/net/fetch.test.ts",
];

/**
 * Starts the slowest files first, so that no worker begins a long file when the others are done. In a clean clone, vitest itself knows no durations
 * and orders files by size.
 */
export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    for (const path of slowest)
      if (!existsSync(path)) throw new Error(`"${path}" in test/support/slow-first.ts is gone`);
    const place = ({ moduleId }: TestSpecification) => {
      const found = slowest.findIndex((path) => moduleId.endsWith(`/${path}`));
      return found === -1 ? slowest.length : found;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}
