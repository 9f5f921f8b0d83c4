import { defineConfig } from "vitest/config";
import { sideBySide } from "./support/side-by-side.ts";
import { SlowFirst } from "./support/slow-first.ts";
import { SummaryReporter } from "./support/summary-reporter.ts";

/** These tests measure times or memory, so no other file runs at the same time. */
const measuring = ["outages", "kv-faults", "large-layers", "memory"].map((name) => `test/e2e/${name}.test.ts`);

const withRealServers = { globalSetup: ["test/e2e/get-tools.ts"], testTimeout: 240_000, hookTimeout: 120_000 };

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
          ...withRealServers,
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: measuring,
          // The longest files mostly wait, so two run at a time. More files would slow each other down on a machine with two CPUs.
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...withRealServers,
          name: "e2e, measuring",
          include: measuring,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
