/** Why a Pod gave no answer: the connection failed, no headers came in time, or what came is no answer of HTTP's. */
export type PodFailure = { readonly reason: "unreachable" | "silent" | "bad-answer"; readonly text: string };

export type FetchRequest = {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: ReadableStream | string | null;
  /** Of a streamed body, where the client announced it. */
  readonly bodyBytes: number | null;
  /** From the end of the request's body to the answer's headers; a body that moves is never cut. */
  readonly deadlineMs: number;
};
