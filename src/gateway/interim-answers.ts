import type { ClientRequest } from "node:http";

/** A server has at most a few things to say before its answer. Each interim answer costs CPU time, and Node has no limit for them. */
const mostInterimAnswers = 10;

/**
 * Ends a request whose server sends many interim answers (1xx) and no other. Otherwise a hostile server could keep this program busy, because each of
 * them counts as a sign of life.
 */
export function limitInterimAnswers(request: ClientRequest): void {
  let answers = 0;
  request.on("information", () => {
    answers += 1;
    if (answers > mostInterimAnswers) request.destroy(new Error("the server sends interim answers without end"));
  });
}
