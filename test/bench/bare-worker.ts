/**
 * The least that a Worker can do in the edge's place: it answers every request with one 307, or passes it to one Pod. It writes a line as the edge
 * does. The bench puts these constants before it.
 */
declare const LINE: object;
declare const HEADERS: Record<string, string>;
/** Null: this one redirects. */
declare const POD: string | null;

export default {
  async fetch(request: Request): Promise<Response> {
    const startedAt = new Date();
    const answer = POD === null ? redirect() : await pass(request, POD);
    const { method, url } = request;
    const path = url.slice(url.indexOf("/", "https://".length));
    const ms = Date.now() - startedAt.getTime();
    console.log(JSON.stringify({ ...LINE, at: startedAt.toISOString(), method, path, status: answer.status, ms }));
    return answer;
  },
};

const redirect = (): Response => new Response(null, { status: 307, headers: HEADERS });

function pass({ url, method, headers }: Request, pod: string): Promise<Response> {
  const path = url.slice(url.indexOf("/", "https://".length));
  return fetch(pod + path, { method, headers, redirect: "manual" });
}
