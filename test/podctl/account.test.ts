import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { readWorkerConfig } from "../../src/local/wrangler-config.ts";
import { generateSecrets } from "../../src/podctl/keys/worker-secrets.ts";
import { openAccount } from "../../src/podctl/target/account.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-account-"));
const path = join(dir, "wrangler.toml");
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(dir, { recursive: true }));

const [idOne, idTwo] = ["1".repeat(32), "2".repeat(32)];
const zeros = "0".repeat(32);
const kv = (id: string): string => `kv_namespaces = [{ binding = "DIRECTORY", id = "${id}" }]\n`;
const toml = (topLevel: string, production: string | null): string =>
  `name = "edge"\ncompatibility_date = "2026-10-23"\n${topLevel}` +
  (production === null ? "" : `[env.production]\n${production}`);

async function openWith(config: string, env = "production") {
  writeFileSync(path, config);
  vi.stubEnv("PODCTL_WRANGLER_CONFIG", path);
  return openAccount(env);
}

describe("the account that --env names", () => {
  test("is refused if the top level of wrangler.toml names another namespace than the section", async () => {
    await expect(openWith(toml(kv(idTwo), kv(idOne)))).rejects.toThrow(
      `wrangler.toml names two namespaces as DIRECTORY: "${idOne}" in [env.production] and "${idTwo}" at its top level, ` +
        "which `wrangler deploy` without --env would use. Move the second one into a section of its own",
    );
    await expect(openWith(toml(kv(idTwo), ""))).rejects.toThrow('"none" in [env.production]');
  });

  test.each([
    ["the local stack's", kv(zeros)],
    ["the same", kv(idOne)],
    ["no", ""],
  ])("is opened if the top level names %s namespace", async (_which, topLevel) => {
    expect(await openWith(toml(topLevel, kv(idOne)))).toMatchObject({ name: "production" });
  });

  test("is refused if wrangler.toml has no section of that name, as wrangler refuses it", async () => {
    await expect(openWith(toml(kv(idOne), null))).rejects.toThrow(
      `--env "production" needs a section [env.production] in "${path}"; it has none`,
    );
    await expect(openWith(toml("", kv(idOne)), "staging")).rejects.toThrow("it has production");
  });

  test("has the Worker's variables of its section", async () => {
    const vars =
      'vars = { SERVICE = "fleet", AUTH = "none", PLAIN_HTTP = "allow", REALM = "https://gitlab.test/jwt/auth" }';
    const target = await openWith(toml("", `${vars}\n${kv(idOne)}`));
    const realm = "https://gitlab.test/jwt/auth";
    expect(target).toMatchObject({ service: "fleet", auth: "none", plainHttp: "everywhere", realm });
    expect(await openWith(toml("", `vars = { REALM = "" }\n${kv(idOne)}`))).toMatchObject({ realm: null });
  });

  test("has the edge at its first route, and no registry at a route for only /jwt/auth", async () => {
    const routes = [
      '{ pattern = "gitlab.example.com/jwt/auth*", zone_name = "example.com" }',
      '{ pattern = "registry.example.com", custom_domain = true }',
      '{ pattern = "old.example.com/*", zone_name = "example.com" }',
    ];
    const target = await openWith(toml("", `routes = [${routes.join(", ")}]\n${kv(idOne)}`));
    expect(target.edgeHosts).toEqual(["registry.example.com", "old.example.com"]);
    expect(await target.openEdge()).toMatchObject({ origin: "https://registry.example.com" });
  });

  test.each([
    ['route = { pattern = "registry.example.com/*", zone_name = "example.com" }'],
    ['route = "registry.example.com"'],
    ['routes = [{ pattern = "registry.example.com/v2*", zone_name = "example.com" }]'],
    ['routes = [{ pattern = "registry.example.com/v2/acme/*", zone_name = "example.com" }]'],
    ['routes = ["https://registry.example.com/*"]'],
    ['routes = [{ pattern = "*registry.example.com/*", zone_name = "example.com" }]'],
    ['routes = [{ pattern = "Registry.Example.com", custom_domain = true }]'],
  ])("has the edge's host name of %s", async (routes) => {
    for (const config of [toml("", `${routes}\n${kv(idOne)}`), toml(`${routes}\n`, kv(idOne))]) {
      expect((await openWith(config)).edgeHosts).toEqual(["registry.example.com"]);
    }
  });

  test.each([
    ['routes = ["*.example.com/*"]'],
    ['routes = ["*/*"]'],
    ['routes = ["registry.example.com/jwt/auth*"]'],
    ['routes = ["registry.example.com/v1/*"]'],
  ])("has no host name of the edge if its only route does not say one: %s", async (routes) => {
    expect((await openWith(toml("", `${routes}\n${kv(idOne)}`))).edgeHosts).toEqual([]);
  });

  test("is opened with the API token in PODCTL_API_TOKEN or CLOUDFLARE_API_TOKEN, and an error names a missing variable", async () => {
    const target = await openWith(toml("", kv(idOne)));
    vi.stubEnv("CLOUDFLARE_ACCOUNT_ID", "");
    expect(() => target.openKv()).toThrow("set CLOUDFLARE_ACCOUNT_ID, or account_id in wrangler.toml");
    vi.stubEnv("CLOUDFLARE_ACCOUNT_ID", "a".repeat(32));
    for (const name of ["PODCTL_API_TOKEN", "CLOUDFLARE_API_TOKEN"]) vi.stubEnv(name, "");
    expect(() => target.openKv()).toThrow(
      "PODCTL_API_TOKEN, with the permission Workers KV Storage: Edit, or Read for",
    );
    for (const name of ["PODCTL_API_TOKEN", "CLOUDFLARE_API_TOKEN"]) {
      vi.stubEnv(name, "token");
      expect(target.openKv()).toHaveProperty("read");
      vi.stubEnv(name, "");
    }
  });

  test.each([
    ["PODCTL_API_TOKEN", "a\nb"],
    ["CLOUDFLARE_API_TOKEN", "a b"],
    ["CLOUDFLARE_BASE_URL", "foo"],
    ["CLOUDFLARE_BASE_URL", "https://me:hunter2@api.example.com"],
    ["PODCTL_PROBE_TOKEN", "a\nb"],
  ])(
    "is refused before any request if %s cannot be sent, and the error does not show the value %j",
    async (name, value) => {
      const target = await openWith(toml("", kv(idOne)));
      vi.stubEnv("CLOUDFLARE_ACCOUNT_ID", "a".repeat(32));
      vi.stubEnv("PODCTL_API_TOKEN", name === "CLOUDFLARE_API_TOKEN" ? "" : "token");
      vi.stubEnv(name, value);
      const opened = Promise.all([
        target.openEdge(new URL("https://edge.example.com")),
        (async () => target.openKv())(),
      ]);
      const error: Error = await opened.then(
        () => new Error("opened"),
        (reason) => reason,
      );
      expect(error.message).toMatch(new RegExp(`^${name} is not `));
      expect(error.message).not.toContain(value);
    },
  );

  test("has a token without the line break at its end", async () => {
    const target = await openWith(toml("", kv(idOne)));
    vi.stubEnv("PODCTL_PROBE_TOKEN", "token\n");
    expect(await target.openEdge(new URL("https://edge.example.com"))).toMatchObject({ probeToken: "token" });
  });

  test.each([
    ["PODCTL_USER", "PODCTL_PASSWORD"],
    ["PODCTL_PASSWORD", "PODCTL_USER"],
  ])("is refused if %s is set without %s", async (set, unset) => {
    const target = await openWith(toml("", kv(idOne)));
    vi.stubEnv(set, "hunter2");
    vi.stubEnv(unset, "");
    await expect(target.openEdge(new URL("https://edge.example.com"))).rejects.toThrow(
      `${set} is set and ${unset} is not: set both or neither`,
    );
  });

  test("is refused if its namespace still has the placeholder id of zeros that wrangler.toml comes with", async () => {
    vi.stubEnv("PODCTL_API_TOKEN", "token");
    vi.stubEnv("CLOUDFLARE_ACCOUNT_ID", "a".repeat(32));
    const target = await openWith(toml("", kv(zeros)));
    expect(() => target.openKv()).toThrow("`npx wrangler kv namespace create DIRECTORY` prints one");
  });
});

/** wrangler's own type for its configuration needs packages that are not installed with wrangler. */
type WranglerConfig = {
  readonly compatibility_date?: string;
  readonly compatibility_flags: readonly string[];
  readonly vars: Readonly<Record<string, string>>;
  readonly kv_namespaces: readonly { readonly binding: string; readonly id: string }[];
  readonly account_id?: string;
  readonly routes?: readonly { readonly pattern: string }[];
};

describe("wrangler.toml of this repository", () => {
  test.each(["", "production", "staging"])("section %j is read as wrangler reads it", async (env) => {
    const { unstable_readConfig } = await import("wrangler");
    const expected: WranglerConfig = unstable_readConfig({ config: "wrangler.toml", env }, { hideWarnings: true });
    const read = await readWorkerConfig("wrangler.toml", env || undefined);
    expect(read).toMatchObject({
      compatibilityDate: expected.compatibility_date,
      compatibilityFlags: expected.compatibility_flags,
      vars: expected.vars,
      kvNamespaces: new Map(expected.kv_namespaces.map(({ binding, id }) => [binding, id])),
      accountId: expected.account_id ?? null,
      hosts: (expected.routes ?? []).map(({ pattern }) => pattern),
    });
  });

  test.each(["production", "staging"])("[env.%s] requires the secrets that `keys generate` prints", async (env) => {
    const { unstable_readConfig } = await import("wrangler");
    const { secrets } = unstable_readConfig({ config: "wrangler.toml", env }, { hideWarnings: true });
    expect(secrets?.required).toEqual(Object.keys(await generateSecrets()));
  });

  test("each fleet has the log and the limit of the top level", async () => {
    const { unstable_readConfig } = await import("wrangler");
    for (const env of ["production", "staging"]) {
      const config = unstable_readConfig({ config: "wrangler.toml", env }, { hideWarnings: true });
      expect(config.observability).toMatchObject({ enabled: true, redact_query_string: true });
      expect([config.limits, config.workers_dev, config.preview_urls]).toEqual([{ cpu_ms: 30_000 }, false, false]);
      expect((await readWorkerConfig("wrangler.toml", env)).kvNamespaces.has("DIRECTORY")).toBe(true);
    }
  });
});
