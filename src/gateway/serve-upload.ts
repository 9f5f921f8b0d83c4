import type { IncomingMessage } from "node:http";
import { bodyBroke, errorResponse, noAnswer, unavailable, wrongAnswer } from "../oci/errors.ts";
import { type Admitted, admit } from "./admit.ts";
import { answerFrom } from "./answer.ts";
import type { GatewayConfig } from "./config.ts";
import type { GatewayRecord } from "./log.ts";
import { type RelayFailure, type RelayLimits, relay } from "./relay.ts";
import type { UploadBounds } from "./upload-bounds.ts";

/** An answer to a client, and what the log says about it. */
export type Served = { readonly response: Response } & Pick<
  GatewayRecord,
  "outcome" | "pod" | "repository" | "cause" | "digest" | "copiedBytes"
>;

type UploadRequest = {
  readonly url: URL;
  readonly incoming: IncomingMessage;
  readonly now: Date;
  readonly onBytes: (bytes: number) => void;
};

const tooMany = unavailable("too many requests of this upload are open; try again");

/** Serves one request of an upload: opens the grant, sends the request to the registry, and leads the client back to the edge. */
export async function serveUpload(
  { url, incoming, now, onBytes }: UploadRequest,
  config: GatewayConfig & { readonly limits: RelayLimits; readonly uploads: UploadBounds },
): Promise<Served> {
  const admitted = await admit({ method: incoming.method ?? "", url, config, now });
  if (!admitted.ok) {
    const { error, cause } = admitted.error;
    return { response: errorResponse(error), outcome: "refused", cause };
  }
  const { pod, repository } = admitted.value.grant;
  const about = { pod, repository };
  const end = config.uploads.begin(admitted.value.grant);
  if (end === null) return { response: errorResponse(tooMany), outcome: "refused", cause: tooMany.message, ...about };
  const answer = await relay(incoming, {
    url: new URL(config.registry + admitted.value.target),
    headers: registryHeaders(incoming, admitted.value),
    limits: config.limits,
    onBytes,
  }).finally(end);
  if (!answer.ok) return { ...failed(answer.error), ...about };
  const requestBytes = Number(incoming.headers["content-length"] ?? Number.NaN);
  const announced = Number.isSafeInteger(requestBytes) ? requestBytes : null;
  const response = answerFrom(answer.value, { admitted: admitted.value, config, requestBytes: announced });
  if (response.ok) return { response: response.value, outcome: "forwarded", ...about };
  return { response: errorResponse(wrongAnswer), outcome: "failed", cause: response.error, ...about };
}

/** The headers that pass from a client to the registry. `Authorization` is not among them, because the grant has the token for this registry. */
const passed = ["content-range", "user-agent", "accept"];

function registryHeaders(
  { method, headers, socket }: IncomingMessage,
  { grant }: Admitted,
): Readonly<Record<string, string>> {
  const { host, protocol } = new URL(grant.edge);
  const kept = passed.flatMap((name) => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value] as const] : [];
  });
  return {
    ...Object.fromEntries(kept),
    "Accept-Encoding": "identity",
    // We replace the client's content type. If it were a form's, a registry would also read parameters from the body, and prefer them to those of the
    // query, which the gateway has checked (distribution, `FormValue`).
    ...(method === "PATCH" || method === "PUT" ? { "Content-Type": "application/octet-stream" } : {}),
    "X-Forwarded-Host": host,
    "X-Forwarded-Proto": protocol.slice(0, -1),
    ...(socket.remoteAddress === undefined ? {} : { "X-Forwarded-For": socket.remoteAddress }),
    ...(grant.token === null ? {} : { Authorization: `Bearer ${grant.token}` }),
  };
}

function failed({ reason, text }: RelayFailure): Served {
  if (reason === "client-left") {
    return { response: new Response(null, { status: 499 }), outcome: "client-left", cause: text };
  }
  if (reason === "client-silent") return { response: errorResponse(bodyBroke), outcome: "client-left", cause: text };
  return { response: errorResponse(noAnswer), outcome: "unavailable", cause: text };
}
