import { defineConfig } from "vitest/config";
import { sideBySide } from "./support/side-by-side.ts";
import { SlowFirst } from "./support/slow-first.ts";
import { SummaryReporter } from "./support/summary-reporter.ts";

/** Runs the tests that take long: first the drills, then the tests with real registries, storage and clients. */
export default defineConfig({
  test: {
    sequence: { sequencer: SlowFirst },
    reporters: [process.env["CI"] ? "minimal" : "verbose", new SummaryReporter()],
    projects: [
      {
        test: {
          ...sideBySide,
          name: "drills",
          include: ["test/drills/**/*.test.ts"],
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["test/e2e/get-tools.ts"],
          // Files run one after the other, so that the servers of only one file run at a time.
          fileParallelism: false,
          sequence: { groupOrder: 2 },
          testTimeout: 240_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
