import { announcedBytes } from "./headers.ts";
import { leastPieceBytes, nextBuffer, type PieceReader, readPieces, startPace } from "./pieces.ts";
import { within } from "./within.ts";

/** How a body ended. It moved whole from the source to the sink, or one of these two broke off or stalled (stopped moving). */
export type BodyEnd = "whole" | "source broke" | "sink broke" | "source stalled" | "sink stalled";

type Sink = Pick<WritableStreamDefaultWriter<Uint8Array>, "write" | "close">;

type Limits = {
  /** A body is cut if no byte of it moves for this long. A body that moves is never cut, whatever its size. */
  readonly stallMs: number;
  /** Aborts when the side that takes the body is gone. */
  readonly signal?: AbortSignal;
};

/**
 * Moves a body, and watches that its bytes keep moving. workerd's own pipe reports nothing until it ends, so the bytes pass through JavaScript, in
 * few and large pieces. This costs 0.4–1.0 ms of CPU time per MB more than a pipe (workerd 2026-10-23, 200 and 300 MB up and down).
 *
 * We measured other ways, too. Pieces of up to 1 MB save 0.2 ms per MB, but need four times the memory. Waiting until each piece is full saves 0.1 ms
 * per MB, but then a slow body looks stalled and is cut. The default reader costs 10–12 ms per MB, a TransformStream 17–19 ms, and a second branch of
 * the body (`tee`) 6–7 ms.
 *
 * If the body is not whole, the rest of `source` is cancelled. `sink` is left open, because only its owner knows what closing it would mean.
 */
export const moveBody = (source: ReadableStream<Uint8Array>, sink: Sink, limits: Limits): Promise<BodyEnd> =>
  moveBegun(beginReading(source, leastPieceBytes), sink, limits);

type Begun = { readonly reader: PieceReader; readonly first: ReturnType<PieceReader["read"]> };

function beginReading(source: ReadableStream<Uint8Array>, bytes: number): Begun {
  const reader = readPieces(source);
  return { reader, first: reader.read(new Uint8Array(bytes)) };
}

async function moveBegun(begun: Begun, sink: Sink, limits: Limits): Promise<BodyEnd> {
  const watch = startWatch(limits);
  const end = await Promise.race([move(begun, sink, watch), watch.cut]);
  watch.end();
  if (end !== "whole") begun.reader.cancel(new Error(end)).catch(() => {});
  return end;
}

async function move({ reader, first }: Begun, sink: Sink, watch: Watch): Promise<BodyEnd> {
  const leastBytes = startPace();
  for (let piece = first; ; ) {
    const askedAtMs = watch.waitFor("source");
    const read = await piece.catch(() => null);
    if (read === null) return "source broke";
    // When the watch has cut the body, it cancels the read, and a cancelled read looks like the end of the body.
    if (watch.isOver()) return "source stalled";
    const startedAtMs = watch.waitFor("sink");
    const bytes = read.value?.byteLength ?? 0;
    if (read.value !== undefined && bytes > 0 && !(await succeeds(sink.write(read.value)))) return "sink broke";
    if (read.done) break;
    const buffer = nextBuffer(read.value, { sourceMs: startedAtMs - askedAtMs, sinkMs: Date.now() - startedAtMs });
    piece = reader.read(new Uint8Array(buffer), { min: leastBytes(bytes) });
  }
  watch.waitFor("sink");
  return (await succeeds(sink.close())) ? "whole" : "sink broke";
}

const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

/** `bytes` is the body's announced length, null for a chunked body. */
export const openPipe = (bytes: number | null): TransformStream<Uint8Array, Uint8Array> =>
  bytes === null ? new IdentityTransformStream() : new FixedLengthStream(bytes);

type Watch = ReturnType<typeof startWatch>;

/** Uses one timer for the whole body, because a timer for each piece would cost more than the piece. */
function startWatch({ stallMs, signal }: Limits) {
  const cut = Promise.withResolvers<BodyEnd>();
  let waitsFor: "source" | "sink" = "source";
  let movedAtMs = Date.now();
  let isOver = false;
  const look = () => {
    const leftMs = movedAtMs + stallMs - Date.now();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else over(`${waitsFor} stalled`);
  };
  const over = (end: BodyEnd) => {
    isOver = true;
    cut.resolve(end);
  };
  const leave = () => over("sink broke");
  let timer = setTimeout(look, stallMs);
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave);
  return {
    cut: cut.promise,
    isOver: () => isOver,
    waitFor: (side: typeof waitsFor) => {
      waitsFor = side;
      movedAtMs = Date.now();
      return movedAtMs;
    },
    end: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
    },
  };
}

type Rest = { readonly body: ReadableStream<Uint8Array>; readonly bytes: number };

/** Returns the rest of a body whose source broke off or stopped after `sentBytes`. Null if the edge has no copy of the body. */
export type FindRest = (sentBytes: number) => Promise<Rest | null>;

type WatchLimits = Limits & { readonly rest?: FindRest };

/** `ended` says how the body ends; null if the body is not watched. */
type WatchedAnswer = { readonly response: Response; readonly ended: Promise<BodyEnd> | null };

/**
 * A body of at most this size may come in one piece together with the answer's headers, as most manifests do. We wait a moment for this piece,
 * because a whole body in one piece takes 150 µs of CPU time less than a pipe.
 */
const mostBytesAtOnce = 64 * 1024;
const atOnceMs = 50;

/** Watches an answer's body on its way to the client. If the body is cut, the client's connection is closed, so that a part does not look whole. */
export async function watchAnswer(response: Response, limits: WatchLimits): Promise<WatchedAnswer> {
  const { body, headers } = response;
  // An encoded body is not watched, because JavaScript would see it decoded, and the client would get other bytes than the Pod sent.
  if (body === null || (headers.get("Content-Encoding") ?? "identity") !== "identity") return { response, ended: null };
  const bytes = announcedBytes(body, headers);
  const isSmall = bytes !== null && bytes > 0 && bytes <= mostBytesAtOnce;
  const begun = beginReading(body, isSmall ? bytes : leastPieceBytes);
  const piece = isSmall ? await within(begun.first, atOnceMs).catch(() => "late" as const) : "late";
  if (piece !== "late" && piece.value?.byteLength === bytes) {
    return { response: new Response(piece.value, response), ended: null };
  }
  const pipe = openPipe(bytes);
  const writer = pipe.writable.getWriter();
  const ended = moveAll(begun, writer, limits).then((end) => {
    // workerd treats an error with `retryable` as a lost connection, and any other error as an exception of the Worker.
    if (end !== "whole") writer.abort(Object.assign(new Error(end), { retryable: true })).catch(() => {});
    return end;
  });
  return { response: new Response(pipe.readable, response), ended };
}

export function countBytes(sink: Sink): Sink & { readonly sentBytes: () => number } {
  let bytes = 0;
  return {
    write: (piece) => {
      bytes += piece?.byteLength ?? 0;
      return sink.write(piece);
    },
    close: () => sink.close(),
    sentBytes: () => bytes,
  };
}

/** If the source breaks off or stalls, the rest is moved from the edge's copy of the body, if there is one. */
async function moveAll(begun: Begun, writer: Sink, { rest: findRest, ...limits }: WatchLimits): Promise<BodyEnd> {
  const counting = countBytes(writer);
  const end = await moveBegun(begun, counting, limits);
  const isCut = end === "source broke" || end === "source stalled";
  const rest = isCut ? ((await findRest?.(counting.sentBytes())) ?? null) : null;
  if (rest === null) return end;
  const wholeBytes = counting.sentBytes() + rest.bytes;
  // If the rest ends too early, the sink is not closed, because closing it tells the client that the body is whole.
  const close = async () => {
    if (counting.sentBytes() !== wholeBytes) throw new Error("the rest of the body ended too early");
    await writer.close();
  };
  const restEnd = await moveBody(rest.body, { write: (piece) => counting.write(piece), close }, limits);
  return restEnd === "whole" ? restEnd : end;
}
