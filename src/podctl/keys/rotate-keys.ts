import { randomBytes } from "node:crypto";
import * as v from "valibot";
import { generateSealingKeys } from "../../directory/seal.ts";
import { err, ok, type Result } from "../../lib/result.ts";

const edgeKeyBytes = 32;

export const newEdgeKey = (): string => randomBytes(edgeKeyBytes).toString("base64url");
/** What /-/probe asks of an operator. */
export const newProbeToken = (): string => randomBytes(32).toString("base64url");

const list = <T>(item: v.GenericSchema<unknown, T>) =>
  v.pipe(v.string(), v.parseJson(), v.array(item), v.minLength(1), v.maxLength(2));
const secrets = v.looseObject({
  SEALING_KEYS: v.optional(list(v.looseObject({ kty: v.literal("EC"), d: v.string() }))),
  EDGE_KEYS: v.optional(list(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/)))),
});

type Rotated = {
  /** The next values, in the form of `keys generate`. */
  readonly secrets: Readonly<Record<string, unknown>>;
  /** Secrets whose list was full: their oldest key is gone, with whatever was still sealed for it. */
  readonly dropped: readonly string[];
};

/** The next secrets: of each list that the current ones hold, a new key first and the one in use second. */
export async function rotateKeys(text: string): Promise<Result<Rotated, string>> {
  const current = v.safeParse(v.pipe(v.string(), v.parseJson(), secrets), text);
  if (!current.success) {
    const at = v.getDotPath(current.issues[0]) ?? "";
    return err(
      `${at === "" ? "input" : at} is not what \`keys generate\` prints: want JSON with one or two keys in each list`,
    );
  }
  const { SEALING_KEYS: sealing, EDGE_KEYS: edge } = current.output;
  if (sealing === undefined && edge === undefined) return err("input has neither SEALING_KEYS nor EDGE_KEYS");
  // What is not rotated stays: this output replaces the input in whoever's secret store.
  const next: Record<string, unknown> = { ...current.output };
  if (sealing !== undefined) {
    const { publicJwk, privateJwk } = await generateSealingKeys();
    next["SEALING_KEYS"] = JSON.stringify([privateJwk, sealing[0]]);
    next["sealingPublicKey"] = publicJwk;
  }
  if (edge !== undefined) next["EDGE_KEYS"] = JSON.stringify([newEdgeKey(), edge[0]]);
  const full = Object.entries({ SEALING_KEYS: sealing, EDGE_KEYS: edge }).filter(([, keys]) => keys?.length === 2);
  return ok({ secrets: next, dropped: full.map(([name]) => name) });
}
