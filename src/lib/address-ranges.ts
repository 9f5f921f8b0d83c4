import { formatIp, type Ip, parseCidr } from "./address.ts";

/**
 * The bounds of address ranges, each larger than the one before. A bound with an even index is the first address of a range, and the next bound is
 * the first address after that range.
 */
type Bounds = readonly bigint[];

/** The bounds of IPv4 ranges and of IPv6 ranges. `::/0` contains no IPv4 address, although each IPv4 address has an IPv6 form. */
export type AddressRanges = { readonly 4: Bounds; readonly 6: Bounds };

/** Parses blocks of addresses, and ignores each text that is not a block. */
export function rangesOf(cidrs: readonly string[]): AddressRanges {
  const ranges = cidrs.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr === null ? [] : [{ ...cidr, end: cidr.bits + (1n << cidr.hostBits) }];
  });
  ranges.sort((one, other) => (one.bits < other.bits ? -1 : 1));
  const bounds: Record<Ip["family"], bigint[]> = { 4: [], 6: [] };
  for (const { family, bits, end } of ranges) addRange(bounds[family], bits, end);
  return bounds;
}

/** Returns the fewest CIDRs that contain exactly the addresses of the ranges. IPv4 comes first, and each family is in the order of its addresses. */
export const cidrsOf = (ranges: AddressRanges): readonly string[] =>
  ([4, 6] as const).flatMap((family) =>
    ranges[family].flatMap((first, index, bounds) =>
      index % 2 === 0 ? [...blocksOf(family, first, bounds[index + 1] ?? first)] : [],
    ),
  );

function* blocksOf(family: Ip["family"], first: bigint, end: bigint): Generator<string> {
  let bits = first;
  while (bits < end) {
    let hostBits = 0n;
    // A block must begin at a multiple of its size. So we double it only if it begins at a multiple of the doubled size, and if the doubled block
    // ends within the range.
    while (bits % (2n << hostBits) === 0n && bits + (2n << hostBits) <= end) hostBits += 1n;
    yield `${formatIp({ family, bits })}/${(family === 4 ? 32n : 128n) - hostBits}`;
    bits += 1n << hostBits;
  }
}

/** The caller must add ranges in the order of their first addresses. */
function addRange(bounds: bigint[], first: bigint, end: bigint): void {
  const lastEnd = bounds.at(-1);
  if (lastEnd === undefined || lastEnd < first) bounds.push(first, end);
  else if (lastEnd < end) bounds[bounds.length - 1] = end;
}

export const rangesHold = (ranges: AddressRanges, { family, bits }: Ip): boolean =>
  boundsUpTo(ranges[family], bits) % 2 === 1;

export const rangesCover = (outer: AddressRanges, inner: AddressRanges): boolean =>
  boundsCover(outer[4], inner[4]) && boundsCover(outer[6], inner[6]);

const boundsCover = (outer: Bounds, inner: Bounds): boolean =>
  inner.every((bound, index) => {
    // The ranges of `outer` do not touch each other. So each range of `inner` must be within a single range of `outer`.
    if (index % 2 === 1) return true;
    const next = boundsUpTo(outer, bound);
    return next % 2 === 1 && (inner[index + 1] ?? bound) <= (outer[next] ?? bound);
  });

/** Returns how many bounds are at or below the address. An odd number means that the address is in a range. */
function boundsUpTo(bounds: Bounds, address: bigint): number {
  let [low, high] = [0, bounds.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((bounds[middle] ?? 0n) <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}
