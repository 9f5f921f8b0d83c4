/** A name or an address, with a port or without: `URL` itself takes quotes, commas and more for a host (URL standard, "forbidden host code point"). */
export const isHost = (text: string): boolean => /^[\w.:[\]-]+$/.test(text) && URL.canParse(`https://${text}`);

/** Where a deployment allows HTTP without TLS, between the edge and its Pods and storage. */
export type PlainHttp = "everywhere" | "loopback" | "nowhere";

export const allowsPlainHttp = (plainHttp: PlainHttp, hostname: string): boolean =>
  plainHttp === "everywhere" || (plainHttp === "loopback" && isLoopback(hostname));

const isLoopback = (hostname: string): boolean => /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
