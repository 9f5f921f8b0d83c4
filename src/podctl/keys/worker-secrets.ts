/** Makes the Worker's secrets as one JSON object of strings, which is the form that `wrangler secret bulk` reads. */
import { randomBytes } from "node:crypto";
import { calculateJwkThumbprint, type JWK } from "jose";
import * as v from "valibot";
import { generateSealingKeys } from "../../directory/seal.ts";
import { err, ok, type Result } from "../../lib/result.ts";

type Secrets = Readonly<Record<string, string>>;

const randomKey = (): string => randomBytes(32).toString("base64url");

/** Returns new secrets, with the names that `secrets.required` of wrangler.toml lists. */
export async function generateSecrets(): Promise<Secrets> {
  const { privateJwk } = await generateSealingKeys();
  return {
    SEALING_KEYS: JSON.stringify([privateJwk]),
    EDGE_KEYS: JSON.stringify([randomKey()]),
    PROBE_TOKEN: randomKey(),
  };
}

const list = <T>(item: v.GenericSchema<unknown, T>) =>
  v.pipe(v.string(), v.parseJson(), v.array(item), v.minLength(1), v.maxLength(2));
const sealingKey = v.looseObject({
  kty: v.literal("EC"),
  crv: v.string(),
  x: v.string(),
  y: v.string(),
  d: v.string(),
  kid: v.optional(v.string()),
});
const schema = v.objectWithRest(
  {
    SEALING_KEYS: v.optional(list(sealingKey)),
    EDGE_KEYS: v.optional(list(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/)))),
  },
  v.string(),
);

/** The error names the wrong member, but quotes no value, because the values are secrets. */
function parseSecrets(text: string): Result<v.InferOutput<typeof schema>, string> {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (parsed.success) return ok(parsed.output);
  const at = v.getDotPath(parsed.issues[0]);
  const what = at === null ? "standard input" : `"${at}" on standard input`;
  return err(`${what} is not what \`podctl keys generate\` prints: want JSON with one or two keys in each list`);
}

/** Returns the public half of the first sealing key, for `podctl seal`. If another tool made it without a `kid`, the `kid` is its thumbprint. */
export async function publicSealingKey(text: string): Promise<Result<JWK, string>> {
  const secrets = parseSecrets(text);
  if (!secrets.ok) return secrets;
  const [inUse] = secrets.value.SEALING_KEYS ?? [];
  if (inUse === undefined) return err("standard input has no SEALING_KEYS; want what `podctl keys generate` prints");
  const { kty, crv, x, y } = inUse;
  return ok({ kty, crv, x, y, kid: inUse.kid ?? (await calculateJwkThumbprint({ kty, crv, x, y })) });
}

type Rotated = {
  readonly secrets: Secrets;
  /** The names of the secrets that had two keys. Each has lost the older one, and what is still sealed for that key can no longer be opened. */
  readonly dropped: readonly string[];
};

/** Gives each list of keys a new first key. The former first key becomes the second, and a former second key is dropped. */
export async function rotateSecrets(text: string): Promise<Result<Rotated, string>> {
  const current = parseSecrets(text);
  if (!current.ok) return current;
  const { SEALING_KEYS: sealing, EDGE_KEYS: edge, ...others } = current.value;
  if (sealing === undefined && edge === undefined) {
    return err("standard input has neither SEALING_KEYS nor EDGE_KEYS; want what `podctl keys generate` prints");
  }
  // The other secrets, such as PROBE_TOKEN, stay in the output, because the output replaces the input in the operator's secret store.
  const next: Record<string, string> = { ...others };
  if (sealing !== undefined) {
    const { privateJwk } = await generateSealingKeys();
    next["SEALING_KEYS"] = JSON.stringify([privateJwk, sealing[0]]);
  }
  if (edge !== undefined) next["EDGE_KEYS"] = JSON.stringify([randomKey(), edge[0]]);
  const full = Object.entries({ SEALING_KEYS: sealing, EDGE_KEYS: edge }).filter(([, keys]) => keys?.length === 2);
  return ok({ secrets: next, dropped: full.map(([name]) => name) });
}
