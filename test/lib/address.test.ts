import { BlockList, isIPv4, isIPv6 } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseCidr, parseIp } from "../../src/lib/address.ts";
import { rangesHold, rangesOf } from "../../src/lib/address-ranges.ts";

const v4 = fc.ipV4();
const v6 = fc.ipV6();

test("parseIp takes exactly the addresses that Node takes", () => {
  const nearly = fc.stringMatching(/^[0-9a-f:.]{1,24}$/);
  fc.assert(
    fc.property(fc.oneof(v4, v6, nearly), (text) => {
      expect(parseIp(text) !== null).toBe(isIPv4(text) || isIPv6(text));
    }),
    { numRuns: 3000 },
  );
});

test("a CIDR block holds the addresses that Node's BlockList holds", () => {
  const family = fc.constantFrom("ipv4" as const, "ipv6" as const);
  const near = fc.integer({ min: 0, max: 128 });
  fc.assert(
    fc.property(family, v4, v6, fc.nat(128), near, (type, four, six, length, agree) => {
      const bits = type === "ipv4" ? 32 : 128;
      const address = type === "ipv4" ? four : six;
      // `other` differs from the block's address in one bit. It is inside the block only if that bit comes after the prefix.
      const other = flipBit(address, agree % bits);
      const list = new BlockList();
      list.addSubnet(address, length % (bits + 1), type);
      const text = `${address}/${length % (bits + 1)}`;
      const [cidr, ip] = [parseCidr(text), parseIp(other)];
      if (cidr === null || ip === null) expect.fail(`${address} or ${other} is refused`);
      // In Node's list, ::/0 also contains IPv4 addresses, but our ranges keep the two families apart.
      if (ip.family === cidr.family) expect(rangesHold(rangesOf([text]), ip)).toBe(list.check(other, type));
    }),
    { numRuns: 2000 },
  );
});

function flipBit(address: string, bit: number): string {
  const ip = parseIp(address);
  if (ip === null) return address;
  const isV4 = address.includes(".") && !address.includes(":");
  const bits = ip.bits ^ (1n << BigInt((isV4 ? 31 : 127) - bit));
  if (isV4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 255n).join(".");
  return [...Array(8).keys()].map((index) => ((bits >> BigInt(112 - 16 * index)) & 0xffffn).toString(16)).join(":");
}

test.each([
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::ffff:c000:201", "192.0.2.1"],
  ["2001:db8::1", "2001:0db8:0:0:0:0:0:1"],
  // `::192.0.2.1` is not an IPv4-mapped address (RFC 4291 §2.5.5.1), so it stays an IPv6 address.
  ["::192.0.2.1", "::c000:201"],
  ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
])("%s and %s parse to one address", (one, other) => {
  expect(parseIp(one)).toEqual(parseIp(other));
});

test.each([
  "10.0.0.0/33",
  "10.0.0.0/",
  "10.0.0.0/08",
  "10.0.0/8",
  "::/129",
  "1.2.3.4::",
  "fe80::1%eth0",
  "a/8",
  "",
  "1::2::3",
])('parseCidr refuses "%s"', (text) => {
  expect(parseCidr(text)).toBeNull();
});

test.each(["010.0.0.1", "0x0a.0.0.1", "10.1", "167772161", "::ffff:010.0.0.1", "::ffff:0xa.0.0.1", "::ffff:10.1"])(
  'parseIp refuses "%s", an old form of an IPv4 address that programs read differently',
  (text) => {
    expect(parseIp(text)).toBeNull();
  },
);
