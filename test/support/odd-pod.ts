import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach } from "vitest";

type OddRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  /** Each header line as it came, because `headers` joins some lines and hides others. */
  readonly headerLines: readonly (readonly [name: string, value: string])[];
  readonly body: string;
};
type Answer = (response: http.ServerResponse, request: OddRequest) => void | Promise<void>;

type OddPod = {
  readonly url: string;
  readonly seen: readonly OddRequest[];
  answer(answer: Answer): void;
};

/** Answers 200, as a registry does if it has the blob that the path names. */
export const answerBlob = (response: http.ServerResponse, path: string): void =>
  void response.writeHead(200, { "Docker-Content-Digest": /sha256:[0-9a-f]{64}/.exec(path)?.[0] ?? "" }).end();

/**
 * Starts a registry that answers what a test tells it, even if no correct registry would answer so. Await this at the top of a test file, because it
 * sets hooks for the whole file.
 */
export async function startOddPod(): Promise<OddPod> {
  const seen: OddRequest[] = [];
  let current: Answer = (response) => void response.writeHead(404).end();
  const serve = async (request: http.IncomingMessage, response: http.ServerResponse) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      // The edge has broken off its request.
      return;
    }
    const { method = "", url: path = "", headers, headersDistinct } = request;
    const headerLines = Object.entries(headersDistinct).flatMap(([name, values = []]) =>
      values.map((value) => [name, value] as const),
    );
    const received = { method, path, headers, headerLines, body: Buffer.concat(chunks).toString() };
    seen.push(received);
    await current(response, received);
  };
  const server = http.createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  afterEach(() => {
    seen.length = 0;
  });
  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    answer: (answer) => {
      current = answer;
    },
  };
}

/** The topology with this server in place of Pod B's registry or token service. */
export const asPodB =
  (pod: OddPod, service: "REGISTRY" | "TOKEN" = "REGISTRY") =>
  (topology: string): string =>
    topology.replace(`\${POD_B_${service}}`, service === "TOKEN" ? `${pod.url}/jwt/auth` : pod.url);

export const asTokenServices =
  (ofA: OddPod, ofB: OddPod) =>
  (topology: string): string =>
    asPodB(ofB, "TOKEN")(topology).replace(`\${POD_A_TOKEN}`, `${ofA.url}/jwt/auth`);

/** Makes the odd Pod pass each token request on to `tokenService`. The toy token service knows no OAuth2 forms, so a form is turned into a GET. */
export function answerFormsToo(pod: OddPod, tokenService: string): void {
  pod.answer(async (response, { method, path, headers, body }) => {
    const form = new URLSearchParams(method === "POST" ? body : path.split("?")[1]);
    const identity = form.get("refresh_token") ?? `${form.get("username") ?? ""}:${form.get("password") ?? ""}`;
    const basic =
      method === "POST" && identity !== ":"
        ? `Basic ${Buffer.from(identity).toString("base64")}`
        : headers.authorization;
    const answer = await fetch(`${tokenService}/jwt/auth?${form.toString()}`, {
      headers: basic === undefined ? {} : { Authorization: basic },
    });
    const text = await answer.text();
    // By distribution's token specification, the answer to a form sent by POST has the member `access_token` instead of `token`.
    response.writeHead(answer.status).end(method === "POST" ? text.replace('{"token":', '{"access_token":') : text);
  });
}
