/** What one deployment allows. */
export type Rules = {
  /** Whether the fleet asks for tokens: the Worker's AUTH. */
  readonly auth: "token" | "none";
  /** Where Pods and storage may be without TLS. */
  readonly plainHttp: "everywhere" | "loopback" | "nowhere";
  /** Host names of the edge, without ports. */
  readonly edgeHosts: readonly string[];
  /** Whether a secret is one that was sealed for the very place where it stands. */
  readonly seals: "checked" | "unchecked";
};

/** The Worker remembers as many parsed Pods. */
export const maxPods = 500;
/** It ends in an OCI error's message. */
export const maxTextCharacters = 500;
