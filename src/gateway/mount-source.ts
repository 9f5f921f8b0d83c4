import type { IncomingMessage } from "node:http";
import { allowsPlainHttp, type PlainHttp, parseIp } from "../lib/address.ts";
import { rangesHold, rangesOf } from "../lib/address-ranges.ts";
import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { send } from "./send.ts";

/**
 * The URL in an edge's order must not lead to a link-local address: clouds give each machine its credentials at such an address (169.254.169.254),
 * and no storage has one.
 */
const linkLocal = rangesOf(["169.254.0.0/16", "fe80::/10"]);

/**
 * A store that sends no headers for this long is given up. If a firewall keeps the gateway from a store, the client waits this long for each layer
 * before it may upload the layer.
 */
const headersMs = 5_000;

type SourceOptions = { readonly maxBytes: number; readonly signal: AbortSignal };

/** A blob that is being read from another Pod's store. */
export type MountSource = {
  /**
   * The blob's bytes. If the store closes the connection too early, the bytes end without an error, and `failure` returns the reason. So the gateway
   * can end its request to the registry properly and then try to cancel the upload.
   */
  readonly pieces: () => AsyncIterable<Uint8Array>;
  readonly failure: () => string | null;
  readonly copiedBytes: () => number;
  readonly close: () => void;
};

/**
 * Opens the blob's URL from a mount order, and follows no redirect. The error is for the log, and contains no part of the URL, because the URL is as
 * good as a password.
 */
export async function openSource(
  url: SourceUrl,
  { maxBytes, signal }: SourceOptions,
): Promise<Result<MountSource, string>> {
  const closing = new AbortController();
  const close = () => closing.abort();
  const ending = AbortSignal.any([signal, closing.signal]);
  const late = setTimeout(close, headersMs);
  // Without this header, the store might compress its answer, and the compressed bytes do not have the blob's digest.
  const answer = await send(url, { method: "GET", headers: { "Accept-Encoding": "identity" }, signal: ending });
  clearTimeout(late);
  if (answer === null) return err("the source gave no answer");
  const why = wrongAnswer(answer, maxBytes);
  if (why === null) return ok(sourceOf(answer, close));
  close();
  return err(`the source ${why}`);
}

/** A URL that the gateway may fetch. Only {@link parseSourceUrl} makes one. */
export type SourceUrl = Brand<string, "SourceUrl">;

/** Parses the URL from which an order lets the gateway fetch a blob. The error completes "the order's URL …", and contains no part of the URL. */
export function parseSourceUrl(text: string, plainHttp: PlainHttp): Result<SourceUrl, string> {
  const wrong = wrongUrl(text, plainHttp);
  return wrong === null ? ok(text as SourceUrl) : err(wrong);
}

function wrongUrl(text: string, plainHttp: PlainHttp): string | null {
  if (!URL.canParse(text)) return "does not parse";
  const { protocol, hostname, username } = new URL(text);
  const isAllowed = protocol === "https:" || (protocol === "http:" && allowsPlainHttp(plainHttp, hostname));
  if (!isAllowed) return "is not https";
  const ip = parseIp(hostname.replace(/^\[|\]$/g, ""));
  if (ip !== null && rangesHold(linkLocal, ip)) return "is a link-local address";
  return username === "" ? null : "has a user's name";
}

/**
 * Says what is wrong with the headers of the source's answer, or returns null. The gateway checks them before it begins an upload. If the client's
 * token may not delete, the gateway cannot cancel an upload, and a hostile store could fill the registry's disk with incomplete uploads.
 */
function wrongAnswer({ statusCode: status, headers }: IncomingMessage, maxBytes: number): string | null {
  if (status !== 200) return `answered ${status}`;
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity") return "encodes the blob";
  const length = headers["content-length"] ?? "";
  if (!/^\d+$/.test(length) || headers["transfer-encoding"] !== undefined) return "does not say how long the blob is";
  return Number(length) > maxBytes ? `has more than ${maxBytes} bytes` : null;
}

/**
 * The blob's length needs no check here: Node's parser takes no byte beyond `Content-Length`, and reports an error if the connection ends before all
 * of these bytes have come.
 */
function sourceOf(answer: IncomingMessage, close: () => void): MountSource {
  let [copiedBytes, failure]: [number, string | null] = [0, null];
  async function* pieces() {
    try {
      for await (const piece of answer as AsyncIterable<Buffer>) {
        copiedBytes += piece.byteLength;
        yield piece;
      }
    } catch {
      failure = `broke off after ${copiedBytes} bytes`;
    }
  }
  return {
    pieces,
    failure: () => (failure === null ? null : `the source ${failure}`),
    copiedBytes: () => copiedBytes,
    close,
  };
}
