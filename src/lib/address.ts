/**
 * The characters of a host: a name or an address, and a port. `URL` would also accept quotes, commas and more (URL standard, "forbidden host code
 * point").
 */
export const hostCharacters = /^[\w.:[\]-]+$/;

/** Whether a text is a name or an address, with or without a port. */
export const isHost = (text: string): boolean => hostCharacters.test(text) && URL.canParse(`https://${text}`);

/** Whether a text is exactly an origin: scheme, host and port, without a path. */
export const isOrigin = (text: string): boolean => URL.canParse(text) && new URL(text).origin === text;

/** On which hosts a deployment allows HTTP without TLS, for Pods and storage. */
export type PlainHttp = "everywhere" | "loopback" | "nowhere";

export const allowsPlainHttp = (plainHttp: PlainHttp, hostname: string): boolean =>
  plainHttp === "everywhere" || (plainHttp === "loopback" && isLoopback(hostname));

export const isLoopback = (hostname: string): boolean => /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);

/**
 * An address as a number of 128 bits. An IPv4 address has the number of its IPv6 form, `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2), so that both forms are
 * the same address.
 */
export type Ip = { readonly family: 4 | 6; readonly bits: bigint };
/** A block of addresses (RFC 4632). Its addresses differ from `bits` only in the last `hostBits` bits. */
export type Cidr = Ip & { readonly hostBits: bigint };

const mapped = 0xffffn << 32n;

/** An address with a zone (`%eth0`) is refused, because a zone means something only on its own machine. */
export function parseIp(text: string): Ip | null {
  const bits = text.includes(":") ? parseIpv6(text) : parseIpv4(text);
  return bits === null ? null : { family: bits >> 32n === 0xffffn ? 4 : 6, bits };
}

export function formatIp({ family, bits }: Ip): string {
  if (family === 4) return partsOf(bits, 8n).slice(-4).join(".");
  const groups = partsOf(bits, 16n).map((group) => group.toString(16));
  return new URL(`https://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** Parses `<address>/<length>`, or a single address, which is a block of one. Null if the text is not a block. */
export function parseCidr(text: string): Cidr | null {
  const [address = "", length, ...rest] = text.split("/");
  const ip = parseIp(address);
  if (ip === null || rest.length > 0) return null;
  const written = address.includes(":") ? 128 : 32;
  if (length !== undefined && (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > written)) return null;
  const hostBits = BigInt(length === undefined ? 0 : written - Number(length));
  // A block such as `::ffff:1.2.3.4/90` is written with an IPv4 address, but is larger than all of IPv4. So it is an IPv6 block.
  const family = hostBits > 32n ? 6 : ip.family;
  return { family, bits: (ip.bits >> hostBits) << hostBits, hostBits };
}

/**
 * Matches four decimal numbers from 0 to 255. The octal, hexadecimal and shortened forms of inet_aton do not match, because programs read them
 * differently.
 */
const fourDecimals = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?=\d)|$)){4}$/;

const parseIpv4 = (text: string): bigint | null =>
  fourDecimals.test(text) ? BigInt(text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0)) | mapped : null;

/**
 * Reads an address by means of `URL`. `URL` takes exactly the forms of RFC 4291 §2.2, and writes each as hexadecimal groups with at most one `::`
 * (URL standard, "IPv6 parser" and "IPv6 serializer").
 */
function parseIpv6(text: string): bigint | null {
  const url = `https://[${text}]`;
  if (!/^[\da-f:.]+$/i.test(text) || !URL.canParse(url)) return null;
  const [before = "", after = ""] = new URL(url).hostname.slice(1, -1).split("::");
  const [first, last] = [groupsOf(before), groupsOf(after)];
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => 0);
  return [...first, ...zeros, ...last].reduce((bits, group) => (bits << 16n) | BigInt(group), 0n);
}

const groupsOf = (text: string): readonly number[] =>
  text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));

const partsOf = (bits: bigint, partBits: bigint): number[] =>
  Array.from({ length: Number(128n / partBits) }, (_, index) =>
    Number(BigInt.asUintN(Number(partBits), bits >> (128n - partBits * BigInt(index + 1)))),
  );
