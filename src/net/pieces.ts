/**
 * Large pieces cost memory, and small ones cost CPU time. A body's pieces grow while they are full and fast. After a slow piece, they are small
 * again: we see progress only when a whole piece has moved, so a large piece that is slow could look like a stalled body.
 */
export const leastPieceBytes = 16 * 1024;
export const mostPieceBytes = 256 * 1024;
const fastMs = 100;
const slowMs = 1_000;

/**
 * A sender may cut its body into chunks of one byte, and each chunk would cost as much CPU time as a large piece. So a body may have `sparePieces`
 * pieces, one more per `minBytesPerPiece` bytes, and one more per `msPerPiece` milliseconds. While it has had more, each read waits for
 * `minBytesPerPiece` bytes.
 */
const sparePieces = 64;
const minBytesPerPiece = 512;
const msPerPiece = 16;

/** Returns a function that counts a body's pieces, and says for how many bytes the next read must wait. */
export function startPace(): (bytesOfPiece: number) => number {
  const startedAtMs = Date.now();
  let [pieces, bytes] = [0, 0];
  return (bytesOfPiece) => {
    pieces += 1;
    bytes += bytesOfPiece;
    const most = sparePieces + bytes / minBytesPerPiece + (Date.now() - startedAtMs) / msPerPiece;
    return pieces > most ? minBytesPerPiece : 1;
  };
}

type Piece = ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;
/** workerd reads at least `min` bytes (Streams standard), but its types do not say so. */
export type PieceReader = Pick<ReadableStreamBYOBReader, "cancel"> & {
  /** If fewer than `min` bytes are left, the read gives these bytes together with the end, `done: true` (Streams standard). */
  read(view: Uint8Array<ArrayBuffer>, options?: { readonly min: number }): Promise<Piece>;
};

/** `body` is a byte stream, as the bodies of all requests and answers are. */
export const readPieces = (body: ReadableStream<Uint8Array>): PieceReader => body.getReader({ mode: "byob" });

type Took = { readonly sourceMs: number; readonly sinkMs: number };

export function nextBuffer({ buffer, byteLength }: Uint8Array<ArrayBuffer>, { sourceMs, sinkMs }: Took): ArrayBuffer {
  const isFull = byteLength === buffer.byteLength;
  const grown = isFull && sinkMs < fastMs ? Math.min(buffer.byteLength * 4, mostPieceBytes) : buffer.byteLength;
  const bytes = Math.max(sourceMs, sinkMs) > slowMs ? leastPieceBytes : grown;
  return bytes === buffer.byteLength ? buffer : new ArrayBuffer(bytes);
}
