import { defineConfig } from "vitest/config";
import { sideBySide } from "./test/support/side-by-side.ts";
import { SlowFirst } from "./test/support/slow-first.ts";
import { SummaryReporter } from "./test/support/summary-reporter.ts";

export default defineConfig({
  test: {
    ...sideBySide,
    include: ["test/**/*.test.ts"],
    exclude: ["test/drills/**", "test/e2e/**", "node_modules/**"],
    sequence: { sequencer: SlowFirst },
    reporters: [process.env["CI"] ? "minimal" : "default", new SummaryReporter()],
  },
});
