/** The two kinds of real Pods: Debian's docker-registry 2.8 and distribution v3. Both use versitygw as storage, by their S3 driver. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { exportPKCS8 } from "jose";
import { childEnv, startChild } from "../child-process.ts";
import { loopback } from "../ports.ts";
import { StartFailure } from "../start-failure.ts";
import type { Watchdog } from "../teardown.ts";
import type { SigningKey } from "../toy/token-service.ts";
import { findBinaries } from "./find-binaries.ts";
import type { PodContext, PodParts } from "./pod.ts";
import { startVersitygw } from "./versitygw.ts";

export function registryParts(): PodParts {
  const [registry, versitygw] = findBinaries(["docker-registry", "versitygw", "openssl"]);
  return realParts(registry, versitygw, async (pod) => {
    const rootcertbundle = `${pod.dir}/token.crt`;
    await writeFile(
      rootcertbundle,
      (await Promise.all(pod.trusted.map((key) => selfSignedCertificate(pod, key)))).join(""),
    );
    return { rootcertbundle };
  });
}

/**
 * The token service's tokens name their key by its libtrust id. Distribution v3 knows the keys of a JWK set by this id, and the keys of a
 * `rootcertbundle` only by the id of RFC 7638.
 */
export function distributionParts(): PodParts {
  const [registry, versitygw] = findBinaries(["registry", "versitygw"]);
  return realParts(registry, versitygw, async (pod) => {
    const jwks = `${pod.dir}/token-keys.json`;
    await writeFile(jwks, JSON.stringify({ keys: pod.trusted.map(({ publicJwk }) => publicJwk) }));
    return { jwks };
  });
}

function realParts(
  registry: string,
  versitygw: string,
  trust: (pod: PodContext) => Promise<Record<string, string>>,
): PodParts {
  return {
    startStorage: (pod) => startVersitygw(versitygw, pod),
    async startRegistry(pod, urls) {
      const token = { realm: urls.realm, service: pod.audience, issuer: pod.issuer, ...(await trust(pod)) };
      const config = `${pod.dir}/registry.json`;
      // The registry reads YAML, and all JSON is YAML.
      await writeFile(config, JSON.stringify(registryConfig(pod, token, urls.storage), null, 2));
      return startRegistry(config, { name: `${pod.id}'s registry`, program: registry, watchdog: pod.watchdog });
    },
  };
}

type RegistryProcess = { readonly name: string; readonly program: string; readonly watchdog: Watchdog };

export const startRegistry = (config: string, { name, program, watchdog }: RegistryProcess) =>
  startChild({
    name,
    command: program,
    args: ["serve", config],
    env: { ...childEnv(), OTEL_TRACES_EXPORTER: "none" },
    watchdog,
    readyPort: (output) => {
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
      return port === undefined ? null : Number(port);
    },
  });

function registryConfig(pod: PodContext, token: Record<string, string>, storage: string): object {
  return {
    version: 0.1,
    log: { level: "info", accesslog: { disabled: true } },
    http: { addr: `${loopback}:0`, secret: randomBytes(32).toString("hex"), relativeurls: false },
    auth: { token },
    storage: {
      s3: {
        accesskey: pod.accessKeyId,
        secretkey: pod.secretAccessKey,
        region: pod.region,
        regionendpoint: storage,
        forcepathstyle: true,
        bucket: pod.bucket,
        secure: false,
        v4auth: true,
        rootdirectory: "/",
        // docker-registry 2.8 waits a second before it sends each part of a blob to the storage, so the parts are large.
        chunksize: 50_000_000,
      },
      delete: { enabled: true },
      redirect: { disable: false },
      maintenance: { uploadpurging: { enabled: false } },
    },
  };
}

/** docker-registry wants a certificate, but uses only the public key in it. */
async function selfSignedCertificate(pod: PodContext, { privateKey, publicJwk }: SigningKey): Promise<string> {
  // openssl reads the key from a file, because under Node /dev/stdin is a socket, and openssl cannot open a socket.
  const key = `${pod.dir}/token-${publicJwk.kid?.slice(0, 4)}.key`;
  await writeFile(key, await exportPKCS8(privateKey), { mode: 0o600 });
  const args = ["req", "-x509", "-new", "-key", key, "-subj", `/CN=${pod.issuer}`, "-days", "3650"];
  const { status, stderr, stdout } = spawnSync("openssl", args, { encoding: "utf8", timeout: 10_000 });
  await rm(key);
  if (status !== 0) throw new StartFailure(`openssl made no certificate: ${stderr.trim().split("\n").at(-1)}`);
  return stdout;
}
