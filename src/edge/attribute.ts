import type { Digest } from "../oci/digest.ts";
import { digestOf, type Endpoint, hasRepository } from "../oci/endpoint.ts";
import { accessList, requiredAccess } from "../oci/scope.ts";
import type { OwnChallenge } from "./challenge.ts";
import { type Answer, type Reply, refuse } from "./refuse.ts";

/** An answer, and what the log says about the request. `digest` is from the request's URL; null if the URL has none. */
export type AttributedAnswer = Answer & {
  readonly endpoint: string;
  readonly repository?: string | undefined;
  readonly digest?: Digest | null;
};

export function attribute(
  reply: Reply,
  endpoint: Endpoint,
  asked: Omit<OwnChallenge, "access"> & { readonly pod: string | undefined },
): AttributedAnswer {
  const answer = reply.ok
    ? reply.value
    : { ...refuse(reply.error, { ...asked, access: accessList(requiredAccess(endpoint)) }), pod: reply.error.pod };
  return about(endpoint, { ...answer, pod: answer.pod ?? asked.pod });
}

export const about = (endpoint: Endpoint, answer: Answer): AttributedAnswer => ({
  ...answer,
  endpoint: endpoint.kind,
  repository: hasRepository(endpoint) ? endpoint.name : undefined,
  digest: digestOf(endpoint),
});
