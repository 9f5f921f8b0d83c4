import { describe, expect, test } from "vitest";
import { type OracleScheme, type OracleStore, oracleStores } from "./oracle-stores.ts";
import { partsOf, readRecorded } from "./recorded.ts";
import { sign } from "./sign.ts";

const schemes = Object.keys(oracleStores) as OracleScheme[];

describe.each(schemes)("the %s signer", (scheme) => {
  const { madeBy, urls } = readRecorded(scheme);
  const stores: Readonly<Record<string, OracleStore>> = oracleStores[scheme];

  test.each(Object.entries(stores))(`makes the same URLs as ${madeBy}, with %s`, async (form, store) => {
    const recorded = Object.entries(urls[form] ?? {});
    expect(recorded.length).toBeGreaterThanOrEqual(5);
    for (const [key, theirs] of recorded) {
      expect(partsOf(await sign(scheme, { ...store, key })), key).toEqual(partsOf(theirs));
    }
  });
});
