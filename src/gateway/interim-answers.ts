import type { ClientRequest } from "node:http";

/** A server sends at most a few interim answers (1xx) before its real answer. Each of them costs CPU time, and Node has no limit for them. */
const mostInterimAnswers = 10;

/**
 * Ends a request whose server sends many interim answers. Each interim answer counts as a sign of life, so a hostile server could keep this program
 * busy.
 */
export function limitInterimAnswers(request: ClientRequest): void {
  let answers = 0;
  request.on("information", () => {
    answers += 1;
    if (answers > mostInterimAnswers) request.destroy(new Error("the server sends interim answers without end"));
  });
}
