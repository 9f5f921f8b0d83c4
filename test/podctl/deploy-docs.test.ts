import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { sealedPlace } from "../../src/podctl/keys/sealed-place.ts";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { production } from "../support/topologies.ts";

const page = readFileSync("docs/deploy.md", "utf8");
const logsPage = readFileSync("docs/logs.md", "utf8");
const blocksOf = (language: string, text: string): readonly string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, block = ""]) => block);

describe("the topology of docs/deploy.md", () => {
  const [text = "", ...others] = blocksOf("yaml", page);

  test("is complete: production accepts it as it is, with two Pods", () => {
    const parsed = parseTopology("topology.yaml", text, { ...production, placeholders: null });
    expect(parsed.ok ? [] : parsed.error.map(formatMistake)).toEqual([]);
    expect(parsed.ok && [...parsed.value.pods.keys()]).toEqual(["pod-a", "pod-b"]);
    expect(others).toEqual([]);
    expect(text).not.toMatch(/\$\{|…|<\w/);
    expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(30);
  });

  test("has a place for its credentials before they are sealed, as the page says", () => {
    const unsealed = text.replace(/,\s*credentials: \S+/, "");
    expect(unsealed).not.toContain("credentials");
    const place = { pod: "pod-a", field: "blobs.stores.0.credentials" };
    expect(sealedPlace(unsealed, place)).toMatchObject({ ok: true, value: { scheme: "s3", target: "pod-a-blobs" } });
  });
});

describe("the wrangler.toml of docs/deploy.md and docs/logs.md", async () => {
  const dir = mkdtempSync(join(tmpdir(), "registry-edge-toml-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  const { unstable_readConfig } = await import("wrangler");
  const path = join(dir, "wrangler.toml");
  const read = (block: string) => {
    writeFileSync(path, block);
    return unstable_readConfig({ config: path, env: block.startsWith("[env.") ? "production" : "" });
  };
  const configs = blocksOf("toml", page + logsPage).map(read);

  test("has routes and variables that wrangler reads", () => {
    expect(configs.map(({ routes = [] }) => routes.length)).toEqual([1, 2, 2, 0, 0, 0]);
    expect(configs[3]?.vars).toHaveProperty("REALM");
  });

  test("has two ways to keep every line, and neither pays for Workers Logs as well", () => {
    const [byOtlp, byLogpush] = configs.slice(4);
    const logs = { enabled: true, invocation_logs: false, head_sampling_rate: 1 };
    expect(byOtlp?.observability).toMatchObject({
      ...{ enabled: true, redact_query_string: true },
      logs: { ...logs, destinations: ["registry-logs"], persist: false },
    });
    expect([byLogpush?.logpush, byLogpush?.observability.enabled]).toEqual([true, false]);
  });

  test("begins with a log that costs little and loses no error", () => {
    const { observability, vars } = unstable_readConfig({ config: "wrangler.toml", env: "production" });
    expect(observability).toMatchObject({ enabled: true, redact_query_string: true });
    expect(observability.logs).toEqual({ enabled: true, invocation_logs: false, head_sampling_rate: 1 });
    expect(Number(vars["LOG_SAMPLE"])).toBe(0.05);
    expect(logsPage).toContain("begins with 0.05");
  });
});

/** Returns the variables that a source reads: by `process.env["NAME"]`, `const { NAME: name } = process.env`, `loginIn` or `tokenFromEnv`. */
function variablesIn(source: string): readonly string[] {
  const indexed = [...source.matchAll(/process\.env\["(\w+)"\]/g)].map(([, name = ""]) => name);
  const taken = [...source.matchAll(/\{([^}]*)\} = process\.env/g)].map(([, names = ""]) => names);
  const given = [...source.matchAll(/(?:loginIn|tokenFromEnv)\(([^)]*)\)/g)].map(([, names = ""]) => names);
  return [
    ...indexed,
    ...taken.flatMap((names) => names.match(/\w+(?=:)/g) ?? []),
    ...given.flatMap((names) => names.match(/(?<=")\w+(?=")/g) ?? []),
  ];
}

describe("the variables of docs/deploy.md", () => {
  test("are exactly those that podctl reads", () => {
    const read = globSync("src/{podctl,local}/**/*.ts").flatMap((path) => {
      const names = variablesIn(readFileSync(path, "utf8"));
      return path.startsWith("src/podctl") ? names : names.filter((name) => name.startsWith("PODCTL_"));
    });
    const section = page.split("\n## Variables that podctl reads\n")[1] ?? "";
    const named = [...section.matchAll(/`([A-Z_]{5,}|npm_lifecycle_event)`/g)].map(([, name = ""]) => name);
    const documented = named.filter((name) => name !== "PROBE_TOKEN");
    expect([...new Set(documented)].sort()).toEqual([...new Set(read)].sort());
    expect(documented.length).toBeGreaterThan(12);
  });
});
