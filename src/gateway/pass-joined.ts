import type { ClientRequest, IncomingMessage } from "node:http";

/**
 * Pieces that arrive together are joined up to this size. Otherwise 1 MB in chunks of one byte would cost 3.4 s of CPU time, and the registry would
 * get a million chunks.
 */
const joinedBytes = 16 * 1024;

/**
 * Passes a request's body on at the pace of the slower side, and ends `outgoing` when the body has ended. Returns a function that stops the passing
 * and leaves `outgoing` open.
 */
export function passJoined(incoming: IncomingMessage, outgoing: ClientRequest): () => void {
  let pieces: Buffer[] = [];
  let bytes = 0;
  let atOnce: NodeJS.Immediate | undefined;
  const pass = () => {
    clearImmediate(atOnce);
    atOnce = undefined;
    if (bytes === 0) return;
    const [joined = Buffer.alloc(0)] = pieces.length === 1 ? pieces : [Buffer.concat(pieces)];
    pieces = [];
    bytes = 0;
    if (!outgoing.write(joined)) incoming.pause();
  };
  const take = (piece: Buffer) => {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= joinedBytes) pass();
    else atOnce ??= setImmediate(pass);
  };
  const end = () => {
    pass();
    outgoing.end();
  };
  const goOn = () => void incoming.resume();
  incoming.on("data", take).once("end", end);
  outgoing.on("drain", goOn);
  return () => {
    clearImmediate(atOnce);
    incoming.off("data", take).off("end", end).pause();
    outgoing.off("drain", goOn);
  };
}
