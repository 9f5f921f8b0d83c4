import { defineConfig } from "vitest/config";
import { SlowFirst } from "./test/support/slow-first.ts";
import { SummaryReporter } from "./test/support/summary-reporter.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/e2e/**", "node_modules/**"],
    // More than CI's two cores, because many tests wait for real deadlines and cache times.
    maxWorkers: 6,
    // A fresh copy of all modules for each file would cost half as much CPU time on top.
    isolate: false,
    sequence: { sequencer: SlowFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: [process.env["CI"] ? "minimal" : "default", new SummaryReporter()],
  },
});
