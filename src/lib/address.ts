/**
 * Whether a text is a name or an address, with or without a port. `URL` also takes quotes, commas and more (URL standard, "forbidden host
 * code point").
 */
export const isHost = (text: string): boolean => /^[\w.:[\]-]+$/.test(text) && URL.canParse(`https://${text}`);

/** Where a deployment allows HTTP without TLS, between the edge and its Pods and storage. */
export type PlainHttp = "everywhere" | "loopback" | "nowhere";

export const allowsPlainHttp = (plainHttp: PlainHttp, hostname: string): boolean =>
  plainHttp === "everywhere" || (plainHttp === "loopback" && isLoopback(hostname));

const isLoopback = (hostname: string): boolean => /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);

/** An address as a number of 128 bits. IPv4 is kept in its mapped form (RFC 4291 §2.5.5.2), so that both spellings are one address. */
type Ip = { readonly family: 4 | 6; readonly bits: bigint };
/** A block of addresses (RFC 4632): those that are equal to `bits` above the last `hostBits`. */
export type Cidr = Ip & { readonly hostBits: bigint };

const mapped = 0xffffn << 32n;
const isMapped = (bits: bigint): boolean => bits >> 32n === 0xffffn;

/** Null if the text is not an address. A zone (`%eth0`) is refused, because it has a meaning only on its own machine. */
export function parseIp(text: string): Ip | null {
  const bits = text.includes(":") ? parseIpv6(text) : parseIpv4(text);
  if (bits === null) return null;
  return { family: isMapped(bits) ? 4 : 6, bits };
}

/** An address without a length is a block of one. Null if the text is not a block. */
export function parseCidr(text: string): Cidr | null {
  const [address = "", length, ...rest] = text.split("/");
  const ip = parseIp(address);
  if (ip === null || rest.length > 0) return null;
  const written = address.includes(":") ? 128 : 32;
  if (length !== undefined && (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > written)) return null;
  const hostBits = BigInt(length === undefined ? 0 : written - Number(length));
  // A block that is larger than the mapped range, such as ::/0, is of IPv6.
  const family = hostBits > 32n ? 6 : ip.family;
  return { family, bits: (ip.bits >> hostBits) << hostBits, hostBits };
}

export const cidrHolds = (cidr: Cidr, ip: Ip): boolean =>
  cidr.family === ip.family && ip.bits >> cidr.hostBits === cidr.bits >> cidr.hostBits;

function parseIpv4(text: string): bigint | null {
  const octets = text.split(".");
  if (octets.length !== 4 || !octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255)) {
    return null;
  }
  return mapped | octets.reduce((bits, octet) => (bits << 8n) | BigInt(octet), 0n);
}

/** The three forms of RFC 4291 §2.2. */
function parseIpv6(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, index) => groupsOf(half, index === halves.length - 1));
  if (head === undefined || head === null || tail === null) return null;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...(tail ?? [])];
  return groups.reduce((bits, group) => (bits << 16n) | group, 0n);
}

/** Only at the end may the last group be a dotted IPv4 address, which counts as two groups. */
function groupsOf(text: string, atEnd: boolean): readonly bigint[] | null {
  if (text === "") return [];
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    const embedded = atEnd && index === parts.length - 1 ? parseIpv4(part) : null;
    if (embedded !== null) groups.push((embedded >> 16n) & 0xffffn, embedded & 0xffffn);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(BigInt(`0x${part}`));
    else return null;
  }
  return groups;
}
