/** Imitates the CDN in front of the Worker: if a request's body is over the limit, the client gets a 413 in HTML and no answer of the Worker. */
import type http from "node:http";
import { closeNow, createHttpServer, listen } from "./http-server.ts";
import { connectionsTo, passThrough } from "./taps/pass-through.ts";

/** After a 413 we read the request's body for this long. If the connection ended at once, a client that is still sending could miss the answer. */
const lingerMs = 500;

/** Cloudflare's page for a 413. */
const page = Buffer.from(
  [
    "<html>",
    "<head><title>413 Request Entity Too Large</title></head>",
    "<body>",
    "<center><h1>413 Request Entity Too Large</h1></center>",
    "<hr><center>cloudflare</center>",
    "</body>",
    "</html>",
    "",
  ].join("\r\n"),
);

type Limited = { readonly port: number; readonly targetPort: number; readonly limitBytes: number };

/** A body that is too large is refused at once if `Content-Length` says so, otherwise as soon as it exceeds the limit. */
export async function startBodyLimit({ port, targetPort, limitBytes }: Limited) {
  const connectionOf = connectionsTo(targetPort);
  const onRequest: http.RequestListener = (request, response) => {
    if (Number(request.headers["content-length"] ?? 0) > limitBytes) {
      refuse(request, response);
      return;
    }
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      const isOver = bytes <= limitBytes && bytes + chunk.length > limitBytes;
      bytes += chunk.length;
      if (isOver && !response.headersSent) refuse(request, response);
    });
    passThrough({ request, response, connection: connectionOf(request.socket), record: null }, "whole");
  };
  const server = createHttpServer(onRequest).on("checkContinue", onRequest);
  return { port: await listen(server, port), stop: () => closeNow(server) };
}

function refuse(request: http.IncomingMessage, response: http.ServerResponse): void {
  request.unpipe().resume();
  // There is no `Connection: close`, because Node would then end the connection before `lingerMs` is over.
  const headers = { "Content-Type": "text/html", "Content-Length": page.length, Server: "cloudflare" };
  response.writeHead(413, "Request Entity Too Large", headers);
  response.end(page);
  const { socket } = request;
  setTimeout(() => socket.destroySoon(), lingerMs).unref();
}

const units: Readonly<Record<string, number>> = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9 };

/** Returns the bytes of a size such as `100MB`, or null if the text is not a size. */
export function parseSize(text: string): number | null {
  const [, digits = "", unit = ""] = /^(\d{1,12})([KMG]?B?)$/i.exec(text) ?? [];
  const factor = units[unit.toUpperCase()];
  return digits === "" || factor === undefined || Number(digits) === 0 ? null : Number(digits) * factor;
}
