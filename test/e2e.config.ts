import { defineConfig } from "vitest/config";
import { SummaryReporter } from "./support/summary-reporter.ts";

/** Tests with real registries, storage and clients. Files run one after the other, because each starts servers of its own. */
export default defineConfig({
  test: {
    include: ["test/e2e/**/*.test.ts"],
    globalSetup: ["test/e2e/get-tools.ts"],
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 120_000,
    reporters: [process.env["CI"] ? "minimal" : "verbose", new SummaryReporter()],
  },
});
