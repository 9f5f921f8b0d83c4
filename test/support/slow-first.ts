import { existsSync } from "node:fs";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The slowest files, the slowest first. The first of them mostly wait for deadlines, moves and cache times. So they leave the processor to the files
 * that run next to them.
 */
const slowest = [
  "test/podctl/move-phases.test.ts",
  "test/podctl/move.test.ts",
  "test/worker/stale-pulls.test.ts",
  "test/podctl/move-one-registry.test.ts",
  "test/worker/store-health.test.ts",
  "test/worker/late-writes.test.ts",
  "test/worker/lost-writes.test.ts",
  "test/worker/grace.test.ts",
  "test/worker/breaker.test.ts",
  "test/worker/any-outage.test.ts",
  "test/directory/slow-kv.test.ts",
  "test/podctl/docs.test.ts",
  "test/worker/any-revocation.test.ts",
  "test/worker/pod-outage.test.ts",
  "test/auth/verify.test.ts",
  "test/podctl/moves-docs.test.ts",
  "test/worker/any-sequence.test.ts",
  "test/worker/slow-and-broken-connections.test.ts",
  "test/podctl/replay.test.ts",
  "test/worker/grace-ends.test.ts",
  "test/worker/token-endpoint-pods.test.ts",
  "test/podctl/move-gateway.test.ts",
  "test/worker/blocks.test.ts",
  "test/worker/stalled-bodies.test.ts",
  "test/podctl/move-refused.test.ts",
  "test/net/fetch.test.ts",
  "test/podctl/set.test.ts",
  "test/worker/kept-manifests.test.ts",
  "test/worker/catalog.test.ts",
  "test/gateway/mounts.test.ts",
  "test/worker/token-endpoint-scope-orders.test.ts",
  "test/token-endpoint/strangers.test.ts",
  "test/podctl/depth.test.ts",
  "test/worker/moves.test.ts",
  "test/podctl/apply.test.ts",
  "test/worker/limiters.test.ts",
  "test/worker/mounts-across.test.ts",
  "test/podctl/apply-process.test.ts",
  "test/worker/clients-that-leave.test.ts",
  "test/worker/one-registry.test.ts",
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
