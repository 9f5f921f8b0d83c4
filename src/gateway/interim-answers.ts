import type { ClientRequest } from "node:http";

/** An honest server sends at most a few interim answers (1xx) before its real answer. */
const mostInterimAnswers = 10;

/**
 * Ends a request whose server sends many interim answers. Each of them costs CPU time, and Node has no limit for them, so a hostile server could keep
 * this program busy.
 */
export function limitInterimAnswers(request: ClientRequest): void {
  let answers = 0;
  request.on("information", () => {
    answers += 1;
    if (answers > mostInterimAnswers) request.destroy(new Error("the server sends interim answers without end"));
  });
}
