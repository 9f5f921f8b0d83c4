import { identify } from "../auth/grant.ts";
import { jsonResponse } from "../lib/json.ts";
import { ok } from "../lib/result.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import type { Context } from "./authorize.ts";
import type { Reply } from "./refuse.ts";

/**
 * Answers `GET /v2/` (end-1), with which clients ask whether their token is good. Null if the directory does not know the token's key, so that only a
 * Pod can judge the token.
 */
export async function serveBase({ token, services }: Context): Promise<Reply | null> {
  if (token === null) return pong();
  const identified = await identify(token, services);
  if (!identified.ok) return identified;
  return identified.value.grant.kind === "undecided" ? null : pong();
}

const pong = (): Reply => ok({ response: jsonResponse({}, { headers: apiVersionHeader }), outcome: "ping" });
