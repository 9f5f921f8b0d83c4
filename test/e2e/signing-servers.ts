/** Starts servers that verify signed URLs: versitygw, Azurite and nginx. Each has a folder that is removed at the end. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { childEnv, startChild } from "../../src/local/child-process.ts";
import { startVersitygw } from "../../src/local/pods/versitygw.ts";
import { freePort, isListening, loopback } from "../../src/local/ports.ts";
import { startWatchdog, type Watchdog } from "../../src/local/teardown.ts";
import { toolPath } from "./tools.ts";

type SigningServer<Details> = Details & { readonly origin: string; stop(): Promise<void> };

async function inFolder<Details>(
  start: (dir: string, watchdog: Watchdog) => Promise<Details & { readonly port: number; stop(): Promise<void> }>,
): Promise<SigningServer<Details>> {
  const dir = await mkdtemp(`${tmpdir()}/registry-edge-signing-`);
  const watchdog = startWatchdog();
  const clear = async () => {
    watchdog.dismiss();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const server = await start(dir, watchdog);
    const stop = async () => {
      await server.stop();
      await clear();
    };
    return { ...server, origin: `http://${loopback}:${server.port}`, stop };
  } catch (error) {
    await clear();
    throw error;
  }
}

export const startS3 = (region: string) =>
  inFolder(async (dir, watchdog) => {
    const secret = {
      accessKeyId: `AK${randomBytes(9).toString("hex").toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString("base64url"),
    };
    const pod = { id: "pod-a", dir, bucket: "pod-a", region, ...secret, watchdog };
    const server = await startVersitygw(toolPath("versitygw"), pod);
    return { ...server, secret, bucket: pod.bucket };
  });

/** Azurite derives a user delegation key from this instead of asking Entra (its `USERDELEGATIONKEY_SIGNING_SEED`). */
const azuriteSeed = "azurite-user-delegation-signing-seed-v1";

export const startAzurite = () =>
  inFolder(async (dir, watchdog) => {
    const account = "poda";
    const accountKey = randomBytes(64).toString("base64");
    const port = await freePort();
    const server = await startChild({
      name: "azurite",
      command: process.execPath,
      args: [
        ...[toolPath("azurite-blob"), "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", dir],
        ...["--blobHost", loopback, "--blobPort", String(port)],
      ],
      env: { ...childEnv(), AZURITE_ACCOUNTS: `${account}:${accountKey}` },
      watchdog,
      readyPort: async () => ((await isListening(port)) ? port : null),
    });
    return { ...server, account, accountKey, userDelegationKey: delegationKey() };
  });

function delegationKey() {
  const fields = {
    signedObjectId: "11111111-2222-3333-4444-555555555555",
    signedTenantId: "66666666-7777-8888-9999-000000000000",
    signedStartsOn: sasTime(-1),
    signedExpiresOn: sasTime(24),
    signedService: "b",
    signedVersion: "2020-12-06",
  };
  const value = createHmac("sha256", azuriteSeed).update(Object.values(fields).join("\n")).digest("base64");
  return { ...fields, value };
}

const sasTime = (hours: number): string =>
  new Date(Date.now() + hours * 3_600_000).toISOString().replace(/\.\d{3}/, "");

/** The content of each file is its own path. `scripts` are njs modules by their names. */
export const startNginx = (locations: string, files: readonly string[], scripts: Readonly<Record<string, string>>) =>
  inFolder(async (dir, watchdog) => {
    const port = await freePort();
    await mkdir(`${dir}/www`);
    for (const file of files) {
      await mkdir(dirname(`${dir}/www/${file}`), { recursive: true });
      await writeFile(`${dir}/www/${file}`, file);
    }
    for (const [name, script] of Object.entries(scripts)) await writeFile(`${dir}/${name}.js`, script);
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${dir}/${name};`,
    );
    const imports = Object.keys(scripts).map((name) => `js_import ${dir}/${name}.js;`);
    const config = `
      load_module ${toolPath("ngx_http_js_module.so")};
      daemon off; master_process off; pid ${dir}/pid; error_log stderr;
      events {}
      http {
        access_log off; ${paths.join(" ")} ${imports.join(" ")}
        server { listen ${loopback}:${port}; root ${dir}/www; ${locations} }
      }`;
    await writeFile(`${dir}/nginx.conf`, config);
    const server = await startChild({
      name: "nginx",
      command: toolPath("nginx"),
      args: ["-e", "stderr", "-p", dir, "-c", `${dir}/nginx.conf`],
      env: childEnv(),
      watchdog,
      readyPort: async () => ((await isListening(port)) ? port : null),
    });
    return { ...server, root: `${dir}/www` };
  });
