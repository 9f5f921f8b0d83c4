import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { Command } from "commander";
import type { JWK } from "jose";
import { type SealedFor, seal } from "../../directory/seal.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { parseSecret, type Scheme, schemes } from "../../signers/index.ts";
import { print } from "../output.ts";

type Options = SealedFor & { readonly key: string };

export function sealCommand(): Command {
  return new Command("seal")
    .description("Seals a secret, read from standard input, for one place of one Pod's record; prints the JWE.")
    .requiredOption("--pod <id>", "the Pod whose record it goes into")
    .requiredOption("--field <path>", "the member of that record, as in blobs.stores.0.credentials or trust.value")
    .requiredOption("--scheme <scheme>", "the store's scheme (s3, gcs, …), or the kind of trust (header, access)")
    .requiredOption(
      "--target <target>",
      "what the secret opens: a bucket or a baseUrl, as docs/directory-schema.md lists; for trust the registry URL",
    )
    .requiredOption("--key <file>", "the deployment's public key as a JWK, from `podctl keys generate`")
    .addHelpText(
      "after",
      `
  echo '{"accessKeyId":"…","secretAccessKey":"…"}' |
    podctl seal --pod pod-a --field blobs.stores.0.credentials --scheme s3 --target my-bucket --key sealing.jwk

The JWE opens nowhere else: a copy in another record, field or bucket is refused.`,
    )
    .action(async ({ key, pod, field, scheme, target }: Options) => {
      const secret = (await text(process.stdin)).trim();
      if (secret === "") throw new Error("standard input is empty; want the secret to seal");
      if (scheme in schemes) await checkSecret(scheme as Scheme, secret);
      const publicKey = await readPublicKey(key);
      print(await seal(secret, { pod, field, scheme, target }, publicKey));
    });
}

/** What the Worker could not use is better refused here, where nobody waits for an image. */
async function checkSecret(scheme: Scheme, secret: string): Promise<void> {
  const parsed = await parseSecret(scheme, secret);
  if (!parsed.ok) throw new Error(`the secret on standard input ${parsed.error}`);
}

async function readPublicKey(path: string): Promise<JWK> {
  const jwk = parseJsonObject(await readFile(path, "utf8")) as JWK | null;
  if (jwk?.kty !== "EC" || jwk.crv !== "P-256") throw new Error(`key "${path}" is no JWK of an EC key on P-256`);
  if (jwk.d !== undefined) throw new Error(`key "${path}" is private; want the public one, without "d"`);
  return jwk;
}
