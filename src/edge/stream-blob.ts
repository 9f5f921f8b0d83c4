import { err, ok } from "../lib/result.ts";
import { pickHeaders } from "../net/headers.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { registryDeadlineMs } from "../pods/deadlines.ts";
import { notAPage } from "../pods/rewrite.ts";
import type { Context } from "./authorize.ts";
import type { BlobEndpoint } from "./blob-url.ts";
import type { Reply } from "./refuse.ts";

/** Only these headers of the client go to a storage. A storage must not see the others, above all the token. */
const sent = ["Range", "If-Range"];
const passed = ["Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified"];
/**
 * With these answers, the storage sends the whole blob or a part of it, or says that there is no such part. Any other answer is an error of the
 * storage, in a form that no registry client knows.
 */
const passedStatuses = [200, 206, 416];

/** Says what is wrong with a storage's answer. The platform decodes an encoded body, which may then not fit the answer's length or the digest. */
function wrongAnswer({ status, headers }: Response): string | null {
  if (!passedStatuses.includes(status)) return `answered ${status}`;
  return (headers.get("Content-Encoding") ?? "identity").toLowerCase() === "identity" ? null : "encodes the blob";
}

/**
 * A storage may answer a request for several ranges in one body (RFC 9110 §15.3.7.2). The body's type then names the boundary by which podman finds
 * the ranges.
 */
function typeOf({ status, headers }: Response): string {
  const type = headers.get("Content-Type") ?? "";
  return status === 206 && /^multipart\/byteranges *;/i.test(type) ? type : "application/octet-stream";
}

/** Streams a blob from the URL to which its Pod redirects. A group has `delivery: stream` if its users cannot reach the storage. */
export async function streamBlob(endpoint: BlobEndpoint, target: URL, { request, services }: Context): Promise<Reply> {
  const answer = await services.callStorage({
    url: target.href,
    method: endpoint.method,
    headers: new Headers({ "Accept-Encoding": "identity", ...pickHeaders(request.headers, sent) }),
    body: null,
    bodyBytes: 0,
    deadlineMs: registryDeadlineMs(endpoint),
  });
  if (!answer.ok) return answer;
  const { status, headers, body } = answer.value;
  const wrong = wrongAnswer(answer.value);
  if (wrong !== null) {
    await body?.cancel();
    return err({ reason: "bad-answer", text: `storage "${target.host}" ${wrong}` });
  }
  const own = {
    "Content-Type": typeOf(answer.value),
    "Docker-Content-Digest": endpoint.digest,
    "Cache-Control": "no-store",
  };
  const answered = { ...apiVersionHeader, ...own, ...notAPage, ...pickHeaders(headers, passed) };
  return ok({ response: new Response(body, { status, headers: answered }), outcome: "streamed" });
}
