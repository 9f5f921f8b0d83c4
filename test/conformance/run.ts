/** `npm run conformance` runs the OCI suite directly against a Pod and through the edge, and compares the rows. */
import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { root } from "../../src/local/paths.ts";
import { findBinaries } from "../../src/local/pods/find-binaries.ts";
import { type Stack, startStack } from "../../src/local/stack.ts";
import { StartFailure } from "../../src/local/start-failure.ts";
import { faults, type Outcome, table } from "./outcome.ts";
import { chooseRegistries, type Registry } from "./registries.ts";
import { runSuite } from "./suite.ts";

const outputDir = `${root}.local/conformance`;
const getToolsMs = 1_200_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const chosen = chooseRegistries(args);
  if (typeof chosen === "string") {
    console.error(chosen);
    return 2;
  }
  // If a tool is still missing after this, each registry that needs it counts as a failure. The failure's text names the tool.
  spawnSync(process.execPath, [`${root}scripts/tools.mjs`], { stdio: "inherit", timeout: getToolsMs });
  const outcomes: Outcome[] = [];
  const failures: string[] = [];
  for (const registry of chosen.registries) {
    try {
      outcomes.push(await goThrough(registry, chosen.gateways));
    } catch (error) {
      failures.push(`${registry.title}: ${explain(error)}`);
    }
  }
  console.log(table(outcomes));
  failures.push(...faults(outcomes));
  for (const failure of failures) console.log(failure);
  console.log(
    `${failures.length === 0 ? "Same rows both ways" : `Faults: ${failures.length}`}; reports: .local/conformance`,
  );
  return failures.length === 0 ? 0 : 1;
}

async function goThrough(registry: Registry, gateways: boolean): Promise<Outcome> {
  const [binary] = findBinaries(["conformance"]);
  const stateDir = `${outputDir}/${registry.id}/state`;
  const stack = await startStack({
    pods: registry.id,
    edgePort: 0,
    stateDir,
    ...(gateways ? { gateways: "fleet" } : {}),
  });
  try {
    const run = (way: "straight" | "edge", url: string) =>
      runSuite({ binary, registry: url, prefix: `acme/${way}`, outputDir: `${outputDir}/${registry.id}/${way}` });
    const straight = await run("straight", stack.pods["pod-a"].registry.url);
    const edge = await run("edge", stack.edge);
    if (gateways && stack.seen("pod-a", "gateway").length === 0) throw new Error("no upload went by the gateway");
    return { registry, straight, edge, blobRedirects: await countBlobRedirects(stack) };
  } finally {
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

async function countBlobRedirects(stack: Stack): Promise<number> {
  await stack.edgeSettled();
  return stack
    .edgeSeen()
    .filter(({ method, status, outcome }) => method === "GET" && status === 307 && outcome === "redirected").length;
}

function explain(error: unknown): string {
  if (error instanceof StartFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
