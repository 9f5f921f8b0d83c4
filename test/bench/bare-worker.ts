/** The smallest Worker that could take the edge's place. The bench writes the constants `LINE`, `HEADERS` and `POD` in front of this code. */
declare const LINE: object;
declare const HEADERS: Record<string, string>;
/** The origin of the Pod that gets the requests. Null if this Worker redirects. */
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
