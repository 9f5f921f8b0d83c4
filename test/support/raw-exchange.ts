import { rawClient } from "./raw-sockets.ts";

/** An answer as it came over the wire, one character per byte. Its header lines are in order; none is joined or decoded. */
export type RawAnswer = {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
};

export type RawRequest = {
  /** The whole request with its body, one character per byte. */
  readonly text: string;
  /** True if the request is incomplete. Then the client closes its side of the connection after the text. */
  readonly breaksOff: boolean;
  /** An answer to HEAD has the length of a body but no body. */
  readonly isHead: boolean;
};

/** The edge takes less time than this for every request, even if it repeats its call to a Pod. */
const hangsMs = 25_000;

/**
 * Sends one request on a new connection, without the changes that an HTTP client would make. Gives null if the server closes without a whole answer.
 * Rejects if the server neither answers nor closes.
 */
export async function exchangeRaw(origin: string, request: RawRequest): Promise<RawAnswer | null> {
  const { text, breaksOff, isHead } = request;
  const client = await rawClient(origin);
  const { socket } = client;
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer | null>();
  const timer = setTimeout(() => {
    reject(
      new Error(`neither an answer nor an end within ${hangsMs} ms; came so far: ${JSON.stringify(client.received())}`),
    );
  }, hangsMs);
  const settle = () => {
    const answer = parseAnswer(client.received(), isHead, client.closed());
    if (answer !== null || client.closed()) resolve(answer);
  };
  socket.on("data", settle).on("close", settle);
  client.send(text);
  if (breaksOff) socket.end();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Returns the first answer whose status is not 1xx. Null while that answer is incomplete. */
function parseAnswer(text: string, isHead: boolean, closed: boolean): RawAnswer | null {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return null;
  const [statusLine = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const status = Number(statusLine.split(" ")[1]);
  const rest = text.slice(headEnd + 4);
  if (status < 200) return parseAnswer(rest, isHead, closed);
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  const bodiless = isHead || status === 204 || status === 304;
  const body = bodiless ? "" : parseBody(new Map(headers), rest, closed);
  return body === null ? null : { status, headers, body };
}

/** RFC 9112 §6.3 says where the body ends. */
function parseBody(headers: ReadonlyMap<string, string>, rest: string, closed: boolean): string | null {
  if (headers.has("transfer-encoding")) return parseChunks(rest);
  const length = headers.get("content-length");
  if (length === undefined) return closed ? rest : null;
  return rest.length >= Number(length) ? rest.slice(0, Number(length)) : null;
}

function parseChunks(text: string): string | null {
  const size = /^([0-9a-f]+)[^\r]*\r\n/i.exec(text);
  if (size === null) return null;
  const length = Number.parseInt(size[1] ?? "", 16);
  const begin = size[0].length;
  if (text.length < begin + length + 2) return null;
  if (length === 0) return "";
  const others = parseChunks(text.slice(begin + length + 2));
  return others === null ? null : text.slice(begin, begin + length) + others;
}
