import * as v from "valibot";
import { parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Scheme, schemes } from "./index.ts";
import type { SecretSchema, StoreSecret } from "./signer.ts";

/** What was sealed for a store of this scheme, parsed, its keys imported. The error says where it is wrong and what is wanted, never the value. */
export async function parseSecret(scheme: Scheme, text: string): Promise<Result<StoreSecret, string>> {
  const schema: SecretSchema<StoreSecret> | null = scheme === "pod" ? null : schemes[scheme].secret;
  if (schema === null) return err(`is of no use: scheme "${scheme}" has no secret`);
  const parsed = await v.safeParseAsync(schema, parseJson(text) ?? null);
  return parsed.success ? ok(parsed.output) : err(whatIsWrong(parsed.issues[0]));
}

/** A message of our own, or what valibot calls expected. Of a union's forms, the one that is nearly given. */
function whatIsWrong(issue: v.BaseIssue<unknown>): string {
  const given = issue.issues?.find(({ input }) => input !== undefined) ?? issue;
  const at = v.getDotPath(given);
  return `is wrong${at === null ? "" : ` at "${at}"`}: want ${given.expected ?? given.message}`;
}
