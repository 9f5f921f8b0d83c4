import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { Command } from "commander";
import { importJWK, type JWK } from "jose";
import { seal } from "../../directory/seal.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { err } from "../../lib/result.ts";
import { parseGatewayKeys } from "../../pods/gateway-keys.ts";
import { parseTrustSecret } from "../../pods/trust.ts";
import { parseSecret, type Scheme, schemes } from "../../signers/index.ts";
import { signingWindow } from "../../signers/window.ts";
import { CliFailure, cannotRead } from "../failure.ts";
import { sealedPlace } from "../keys/sealed-place.ts";
import { print } from "../output.ts";

export function sealCommand(): Command {
  return new Command("seal")
    .description(
      "Reads a secret from standard input, seals it (encrypts it so that only the Worker can read it), and prints the sealed value for the topology file.",
    )
    .argument(
      "<topology-file>",
      "the topology file; the Pod must already be in it, with the store, registry or gateway to which the secret belongs",
    )
    .argument("<pod>", "the Pod's id in that file")
    .argument(
      "<field>",
      "the field of the Pod that gets the sealed value, such as blobs.stores.0.credentials, trust.value or gateway.key",
    )
    .option(
      "--key <file>",
      "the public key that `podctl keys public` prints (default: sealing.jwk next to the topology file)",
    )
    .addHelpText(
      "after",
      `
  podctl seal topology.yaml pod-a blobs.stores.0.credentials < pod-a-credentials.json

podctl reads the secret from standard input. The secret of a store is a JSON object, and docs/stores.md lists its members for each kind of
store. Two secrets are not JSON but plain texts: a gateway's key, and the secret of \`trust\`. The edge sends the secret of \`trust\` as a
header, so this secret must be one line of at most 4,096 ASCII characters.

The Worker accepts the sealed value only in this field of this Pod, and only while the bucket, registry or gateway stays the same.`,
    )
    .action(async (file: string, pod: string, field: string, { key }: { readonly key?: string }) => {
      const place = sealedPlace(await readFile(file, "utf8").catch(cannotRead(file, "a topology file")), {
        pod,
        field,
      });
      if (!place.ok) throw new CliFailure(`"${file}" ${place.error}`);
      const secret = (await readSecret()).trim();
      if (secret === "") throw new CliFailure("standard input is empty; want the secret to seal");
      await checkSecret(place.value.scheme, secret);
      const publicKey = await readPublicKey(key ?? join(dirname(file), "sealing.jwk"));
      print(await seal(secret, place.value, publicKey));
    });
}

async function readSecret(): Promise<string> {
  const bytes = await buffer(process.stdin);
  if (!isUtf8(bytes)) throw new CliFailure("the secret on standard input is not UTF-8; want text");
  return bytes.toString("utf8");
}

/** Refuses a secret that the Worker cannot use. Otherwise the mistake would only show when a client pulls an image. */
async function checkSecret(scheme: string, secret: string): Promise<void> {
  const parse = scheme === "gateway" ? parseGatewayKeys : parseTrustSecret;
  const parsed = scheme in schemes ? await parseLasting(scheme as Scheme, secret) : parse(secret);
  if (!parsed.ok) throw new CliFailure(`the secret on standard input ${parsed.error}`);
}

/** Parses a store's secret, and refuses one that expires so soon that the edge would make no URL with it. */
async function parseLasting(scheme: Scheme, text: string): ReturnType<typeof parseSecret> {
  const parsed = await parseSecret(scheme, text);
  const endsAt = parsed.ok ? (parsed.value.expiresAt ?? null) : null;
  if (endsAt === null || signingWindow(new Date(), endsAt) !== null) return parsed;
  return err(`expires at ${endsAt.toISOString()}; want one that is valid for more than 20 minutes from now`);
}

async function readPublicKey(path: string): Promise<JWK> {
  const text = await readFile(path, "utf8").catch(
    cannotRead(path, "the public key, which `podctl keys public` prints"),
  );
  const jwk = parseJsonObject(text) as JWK | null;
  if (jwk?.kty !== "EC" || jwk.crv !== "P-256" || !jwk.kid || !(await canImport(jwk))) {
    throw new CliFailure(
      `key "${path}" is not a JWK of an EC key on P-256 with a "kid"; \`podctl keys public\` prints one`,
    );
  }
  if (jwk.d !== undefined) throw new CliFailure(`key "${path}" is private; want the public one, without "d"`);
  return jwk;
}

const canImport = (jwk: JWK): Promise<boolean> =>
  importJWK(jwk, "ECDH-ES").then(
    () => true,
    () => false,
  );
