import http from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { afterAll } from "vitest";

/** What the proxy does with one request: it answers in place of the server, or changes the headers of the server's answer. Null changes nothing. */
type Twist = (
  request: http.IncomingMessage,
) =>
  | { readonly inPlace: number; readonly headers?: http.OutgoingHttpHeaders; readonly body?: string }
  | { readonly change: (headers: http.IncomingHttpHeaders) => http.OutgoingHttpHeaders }
  | null;

/** Starts a proxy in front of `target`, and returns the proxy's origin. */
export async function startProxy(target: string, twist: Twist): Promise<string> {
  const server = http.createServer((request, response) => {
    const twisted = twist(request);
    if (twisted !== null && "inPlace" in twisted) {
      request.resume().on("end", () => response.writeHead(twisted.inPlace, twisted.headers).end(twisted.body));
      return;
    }
    const { method, url = "/", headers } = request;
    const forwarded = http.request(new URL(url, target), { method, headers }, (answer) => {
      const changed = twisted === null ? {} : twisted.change(answer.headers);
      response.writeHead(answer.statusCode ?? 502, { ...answer.headers, ...changed });
      pipeline(answer, response).catch(() => response.destroy());
    });
    pipeline(request, forwarded).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An origin where nothing listens: test servers get free ports above 1023. `fetch` itself refuses some low ports, but not port 2. */
export const closedOrigin = "http://127.0.0.1:2";
