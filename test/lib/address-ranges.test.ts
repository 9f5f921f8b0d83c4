import fc from "fast-check";
import { expect, test } from "vitest";
import { type Cidr, type Ip, parseCidr, parseIp } from "../../src/lib/address.ts";
import { cidrsOf, rangesCover, rangesHold, rangesOf } from "../../src/lib/address-ranges.ts";

const holds = (cidr: Cidr, ip: Ip): boolean =>
  cidr.family === ip.family && cidr.bits >> cidr.hostBits === ip.bits >> cidr.hostBits;

/** Most blocks lie in a few small networks, so that they overlap, touch and repeat. */
const octet = fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255));
const v4 = fc.tuple(fc.constantFrom(10, 192), octet, octet, octet).map((octets) => octets.join("."));
const group = fc.oneof(fc.constantFrom("0", "1", "7fff", "8000", "ffff"), fc.nat(0xffff).map(hex));
const v6 = fc
  .tuple(fc.constantFrom("2001:db8", "0:0"), group, group, fc.constantFrom("ffff", "0"))
  .map(([network, one, two, three]) => `${network}:${one}:0:0:${three}:${two}:1`);
const block = fc.oneof(
  fc.tuple(v4, fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`),
  fc.tuple(v6, fc.integer({ min: 0, max: 128 })).map(([address, length]) => `${address}/${length}`),
);
const blocks = fc.array(block, { maxLength: 20 });

function hex(number: number): string {
  return number.toString(16);
}

/** Half of the addresses are anywhere. The other half are at an end of one of the blocks, or next to it. */
function addressesFor(cidrs: readonly Cidr[], seed: number, amount: number): readonly string[] {
  const random = randomBelow(seed);
  return Array.from({ length: amount }, (_, index) => {
    const cidr = cidrs[random(Math.max(cidrs.length, 1))];
    if (cidr === undefined || index % 2 === 0) {
      if (index % 4 === 0) return Array.from({ length: 4 }, () => random(256)).join(".");
      return Array.from({ length: 8 }, () => hex(random(0x10000))).join(":");
    }
    const end = cidr.bits + (1n << cidr.hostBits);
    return textOf([cidr.bits - 1n, cidr.bits, end - 1n, end][random(4)] ?? 0n);
  });
}

/** A linear congruential generator (Numerical Recipes), because a million values of fast-check take minutes. */
function randomBelow(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

function textOf(bits: bigint): string {
  const within = BigInt.asUintN(128, bits);
  return Array.from({ length: 8 }, (_, index) => hex(Number((within >> BigInt(112 - 16 * index)) & 0xffffn))).join(":");
}

test("the sorted search agrees with a linear one on a million random addresses of both families", () => {
  let [checked, held] = [0, 0];
  const families = { 4: 0, 6: 0 };
  fc.assert(
    fc.property(blocks, fc.nat(), (texts, seed) => {
      const cidrs = texts.map((text) => parseCidr(text)).filter((cidr) => cidr !== null);
      const ranges = rangesOf(texts);
      for (const text of addressesFor(cidrs, seed, 1_000)) {
        const ip = parseIp(text);
        if (ip === null) throw new Error(`${text} is refused`);
        const expected = cidrs.some((cidr) => holds(cidr, ip));
        if (rangesHold(ranges, ip) !== expected) throw new Error(`${text} is in the blocks: ${expected}`);
        checked += 1;
        families[ip.family] += 1;
        if (expected) held += 1;
      }
    }),
    { numRuns: 1_000 },
  );
  expect(checked).toBeGreaterThanOrEqual(1_000_000);
  expect(Math.min(families[4], families[6], held, checked - held)).toBeGreaterThan(100_000);
}, 120_000);

test("blocks that overlap or touch become one range, and text that is not a block is ignored", () => {
  const ranges = rangesOf(["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "::ffff:10.0.2.0/119", "nowhere", "::/64"]);
  expect(ranges[4]).toEqual([parseIp("10.0.0.0")?.bits, parseIp("10.0.4.0")?.bits]);
  expect(ranges[6]).toEqual([0n, 1n << 64n]);
});

test("ranges are written as the fewest CIDRs that have the same addresses", () => {
  fc.assert(
    fc.property(blocks, (texts) => {
      const ranges = rangesOf(texts);
      const cidrs = cidrsOf(ranges);
      expect(rangesOf(cidrs)).toEqual(ranges);
      // If two neighbours are the two halves of a larger block, `cidrsOf` must give the larger block instead.
      const halves = cidrs.map((text) => parseCidr(text)).filter((cidr) => cidr !== null);
      for (const [index, { bits, hostBits, family }] of halves.entries()) {
        const next = halves[index + 1];
        const isOne = next?.family === family && next.hostBits === hostBits && (bits ^ (1n << hostBits)) === next.bits;
        expect(isOne).toBe(false);
      }
    }),
    { numRuns: 500 },
  );
  expect(cidrsOf(rangesOf(["0.0.0.0/1", "128.0.0.0/1", "::/0", "192.0.2.1"]))).toEqual(["0.0.0.0/0", "::/0"]);
  expect(cidrsOf(rangesOf(["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/30"]))).toEqual([
    ...["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/30"],
  ]);
  expect(cidrsOf(rangesOf(["2001:0db8:0:0::/65", "2001:db8:0:0:8000::/65"]))).toEqual(["2001:db8::/64"]);
});

test("ranges cover others exactly if each address of those is in one of them", () => {
  const small = fc
    .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
    .map(([last, length]) => `10.0.0.${last}/${length}`);
  const lists = fc.array(small, { maxLength: 4 });
  let covered = 0;
  fc.assert(
    fc.property(lists, lists, (outer, inner) => {
      const [around, within] = [rangesOf(outer), rangesOf(inner)];
      const all = Array.from({ length: 256 }, (_, last) => parseIp(`10.0.0.${last}`)).filter((ip) => ip !== null);
      const expected = all.every((ip) => !rangesHold(within, ip) || rangesHold(around, ip));
      expect(rangesCover(around, within)).toBe(expected);
      if (expected && inner.length > 0) covered += 1;
    }),
    { numRuns: 500 },
  );
  expect(covered).toBeGreaterThan(20);
  expect(rangesCover(rangesOf(["::/0"]), rangesOf(["10.0.0.0/8"]))).toBe(false);
});
