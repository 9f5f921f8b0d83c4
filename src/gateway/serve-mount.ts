import type { IncomingMessage } from "node:http";
import { err, ok, type Result } from "../lib/result.ts";
import { apiVersionHeader, errorResponse } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { MAX_ORDER_CHARACTERS, type MountOrder, type mountLimits, openOrder } from "../pods/mount-order.ts";
import type { GatewayConfig } from "./config.ts";
import type { CopyBounds } from "./copy-bounds.ts";
import { openSource, parseSourceUrl } from "./mount-source.ts";
import { isThere, RegistryUpload } from "./registry-upload.ts";
import type { Served } from "./serve-upload.ts";

const orderMs = 10_000;
/** When the time for a copy is over, we first stop reading from the source. The registry then still has this long to answer. */
const lastAnswerMs = 1_000;

export type MountLimits = Readonly<Record<keyof typeof mountLimits, number>>;

type MountContext = {
  readonly config: GatewayConfig;
  readonly limits: MountLimits;
  readonly bounds: CopyBounds;
};

type OrderedMount = { readonly incoming: IncomingMessage; readonly now: Date; readonly repository: RepositoryName };

/**
 * Carries out an order of the edge: copies a blob from another Pod's store into this Pod's registry. Only the answer 201 means that the blob was
 * mounted.
 */
export async function serveMount(
  { incoming, now, repository }: OrderedMount,
  { config, limits, bounds }: MountContext,
): Promise<Served> {
  const text = await readOrder(incoming);
  const order = text === null ? err("no order came") : await openOrder(text, { keys: config.keys, now });
  if (!order.ok) return badOrder(order.error);
  if (order.value.pod !== config.pod) return badOrder(`the mount-order is for Pod "${order.value.pod}"`);
  if (order.value.repository !== repository) return badOrder("the mount-order is for another repository");
  const { pod, digest } = order.value;
  const about = { pod, repository, digest };
  const left = leaving(incoming);
  const copied = await copyWithin(order.value, { config, limits, bounds, left: left.signal });
  left.end();
  if (left.signal.aborted) return { ...clientLeft(), ...about };
  if (!copied.ok) return { ...notMounted(copied.error), ...about };
  const headers = { ...apiVersionHeader, "Docker-Content-Digest": digest, "Cache-Control": "no-store" };
  return {
    response: new Response(null, { status: 201, headers }),
    outcome: "mounted",
    ...about,
    copiedBytes: copied.value,
  };
}

const badOrder = (cause: string): Served => ({
  response: errorResponse({
    code: "UNSUPPORTED",
    status: 404,
    message: `uploads begin at the edge and not here: ${cause}`,
  }),
  outcome: "refused",
  cause,
});

const notMounted = (cause: string): Served => ({
  // The edge would take a 5xx for an outage of this gateway.
  response: errorResponse({ code: "UNSUPPORTED", status: 409, message: cause }),
  outcome: "not-mounted",
  cause,
});

const clientLeft = (): Served => ({
  response: new Response(null, { status: 499 }),
  outcome: "client-left",
  cause: "the edge broke off its order",
});

/** Returns a signal that is aborted when the edge closes the connection, for example because the client has left. `end` removes the listener. */
function leaving({ socket }: IncomingMessage): { readonly signal: AbortSignal; readonly end: () => void } {
  const left = new AbortController();
  const onClose = () => left.abort();
  if (socket.destroyed) onClose();
  socket.once("close", onClose);
  return { signal: left.signal, end: () => void socket.off("close", onClose) };
}

/**
 * The edge sends an order in one piece, which networks may cut into a few. A stranger may send each byte as a chunk of its own, which costs CPU time.
 */
const mostPieces = 200;

/** Returns the request's body. Null if the body is too long, comes in more than `mostPieces` pieces, or does not end within `orderMs`. */
async function readOrder(incoming: IncomingMessage): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const timer = setTimeout(() => resolve(null), orderMs);
  let [text, pieces] = ["", 0];
  incoming
    .on("data", (piece: Buffer) => {
      text += piece.toString("latin1");
      pieces += 1;
      if (text.length > MAX_ORDER_CHARACTERS || pieces > mostPieces) resolve(null);
    })
    .once("end", () => resolve(text))
    .once("close", () => resolve(null));
  const whole = await promise;
  clearTimeout(timer);
  incoming.removeAllListeners("data").pause();
  return whole;
}

type Copying = MountContext & { readonly left: AbortSignal };

async function copyWithin(order: MountOrder, copying: Copying): Promise<Result<number, string>> {
  const { bounds } = copying;
  const begun = bounds.begin(order, Date.now());
  if (!begun.ok) return begun;
  try {
    return await copyBlob(order, copying);
  } finally {
    bounds.end(order);
  }
}

async function copyBlob(
  order: MountOrder,
  { config, limits: { maxBytes, copyMs: mostMs, cleanUpMs }, bounds, left }: Copying,
): Promise<Result<number, string>> {
  const copyMs = Math.max(1, Math.min(order.copyMs, mostMs));
  const late = AbortSignal.timeout(copyMs);
  const signal = AbortSignal.any([late, left]);
  // The edge waits a fixed time from the moment when it sends the order. So this timer starts now, and not when the source answers.
  const lastAnswer = AbortSignal.timeout(copyMs + lastAnswerMs);
  const url = parseSourceUrl(order.url, config.plainHttp);
  if (!url.ok) return err(`the order's URL ${url.error}`);
  if (await isThere({ order, config }, signal)) return ok(0);
  const source = await openSource(url.value, { maxBytes, signal });
  if (!source.ok) return source;
  const { pieces, failure, copiedBytes, close } = source.value;
  const upload = await RegistryUpload.begin(order, config, signal);
  if (!upload.ok) {
    close();
    return upload;
  }
  const sent = await upload.value.append(pieces(), lastAnswer);
  close();
  const why = failure();
  const done = why !== null ? err(why) : sent.ok ? await upload.value.finish(signal) : sent;
  if (done.ok) return ok(copiedBytes());
  bounds.countFailure(order, Date.now());
  await upload.value.cancel(AbortSignal.timeout(cleanUpMs));
  return err(late.aborted ? `the copy did not end within ${copyMs} ms` : done.error);
}
