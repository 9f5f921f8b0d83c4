import { existsSync } from "node:fs";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The slowest drills, then the slowest tests with real servers, and then the slowest files of `npm test`, each list with its slowest first. The first
 * drills mostly wait, so they leave the processor to the files that run next to them.
 */
const slowest = [
  "test/drills/move-phases.test.ts",
  "test/drills/move.test.ts",
  "test/drills/stale-pulls.test.ts",
  "test/drills/late-writes.test.ts",
  "test/drills/store-health.test.ts",
  "test/drills/lost-writes.test.ts",
  "test/drills/move-one-registry.test.ts",
  "test/drills/move-untagged.test.ts",
  "test/drills/pod-outage.test.ts",
  "test/drills/grace.test.ts",
  "test/drills/slow-kv.test.ts",
  "test/drills/breaker.test.ts",
  "test/drills/any-outage.test.ts",
  "test/drills/any-revocation.test.ts",
  "test/drills/podctl-lost-conditions.test.ts",
  "test/drills/podctl-set.test.ts",
  "test/drills/any-sequence.test.ts",
  "test/drills/podctl-docs.test.ts",
  "test/drills/podctl-apply.test.ts",
  "test/drills/token-endpoint-scope-orders.test.ts",
  "test/drills/slow-and-broken-connections.test.ts",
  "test/drills/local-kv-api.test.ts",
  "test/drills/podctl-rollback.test.ts",
  "test/drills/podctl-parting.test.ts",
  "test/drills/announced-phases.test.ts",
  "test/drills/catalog-pages.test.ts",
  "test/drills/moves-docs.test.ts",
  "test/drills/move-steps.test.ts",
  "test/drills/token-memory.test.ts",
  "test/drills/move-hostile.test.ts",
  "test/drills/blocks.test.ts",
  "test/drills/grace-ends.test.ts",
  "test/drills/stalled-bodies.test.ts",
  "test/e2e/move.test.ts",
  "test/e2e/many-tags.test.ts",
  "test/e2e/one-registry.test.ts",
  "test/e2e/hang-in-push.test.ts",
  "test/worker/token-endpoint-pods.test.ts",
  "test/worker/kept-manifests.test.ts",
  "test/worker/one-registry.test.ts",
  "test/podctl/replay.test.ts",
  "test/gateway/mounts.test.ts",
  "test/worker/catalog.test.ts",
  "test/worker/mounts-across.test.ts",
  "test/worker/moves.test.ts",
  "test/net/fetch.test.ts",
  "test/podctl/apply.test.ts",
  "test/podctl/doctor-gateway.test.ts",
  "test/token-endpoint/strangers.test.ts",
  "test/worker/group-settings.test.ts",
  "test/worker/proof-attacks.test.ts",
  "test/lib/address-ranges.test.ts",
  "test/worker/proofs.test.ts",
  "test/worker/any-pod-answer.test.ts",
  "test/worker/any-request.test.ts",
  "test/scripts/install.test.ts",
  "test/worker/hostile-bearer-tokens.test.ts",
  "test/podctl/explain-command.test.ts",
  "test/worker/any-stranger.test.ts",
  "test/conformance/missing.test.ts",
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
