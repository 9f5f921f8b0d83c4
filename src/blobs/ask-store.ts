import { type FetchPorts, fetchWithin } from "../net/fetch.ts";
import { within } from "../net/within.ts";
import type { CheckAnswer } from "./judge-stores.ts";

type Ports = Pick<FetchPorts, "waitUntil" | "stallMs"> & {
  /** The longest time from the request to the first byte of the blob. */
  readonly deadlineMs: number;
};

/** Asks a storage for one byte of the blob. The request has no Authorization, is not repeated, and follows no redirect. */
export async function askForByte(url: string, { deadlineMs, waitUntil, stallMs }: Ports): Promise<CheckAnswer> {
  const startedAtMs = Date.now();
  const headers = new Headers({ Range: "bytes=0-0", "Accept-Encoding": "identity" });
  const answer = await fetchWithin(
    { url, method: "GET", headers, body: null, bodyBytes: null, deadlineMs },
    { fetcher: globalThis, waitUntil, stallMs },
  );
  const late = `no answer within ${deadlineMs} ms`;
  if (!answer.ok) return answer.error.reason === "silent" ? late : "the connection failed";
  const { status, body } = answer.value;
  // A storage that ignores `Range` sends the whole blob. We read only its first piece.
  const reader = body?.getReader();
  const end = () => void reader?.cancel().catch(() => {});
  if (status !== 200 && status !== 206) {
    end();
    return `answered ${status}`;
  }
  const leftMs = Math.max(deadlineMs - (Date.now() - startedAtMs), 1);
  const bytes = await within(firstBytes(reader), leftMs);
  end();
  if (bytes === "late") return late;
  return bytes > 0 ? null : "the answer had no byte of the blob";
}

const firstBytes = async (reader: ReadableStreamDefaultReader<Uint8Array> | undefined): Promise<number> => {
  try {
    return (await reader?.read())?.value?.byteLength ?? 0;
  } catch {
    return 0;
  }
};
