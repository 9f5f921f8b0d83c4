import type { Token } from "../../auth/bundle.ts";
import type { Client } from "../../blobs/choose-store.ts";
import type { Step } from "./step.ts";

export type Question = {
  readonly method: string;
  readonly url: URL;
  /** `none`: a fleet whose requests need no token. */
  readonly auth: "token" | "none";
  /** As the client sends it; never printed. */
  readonly token: string | null;
  readonly client: Client;
  readonly now: Date;
};

/** What a last step says: who answers, and what. */
export const answer = (result: string, lines: readonly string[] = []): Step => ({ step: "answer", result, lines });

/** About one endpoint, with the token that the client holds. */
export type Held<E> = Question & { readonly endpoint: E; readonly held: Token | null };
