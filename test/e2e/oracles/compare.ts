/** Compares our URLs with those that a vendor's SDK makes for the same object keys. Also records the SDK's URLs of a few keys for `npm test`. */
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { objectKeys } from "../../signers/object-keys.ts";
import type { OracleScheme, OracleStore } from "../../signers/oracle-stores.ts";
import { partsOf, type Recorded, recordedPath } from "../../signers/recorded.ts";
import { sign } from "../../signers/sign.ts";
import { type OraclePackage, versionOf } from "./sdk.ts";

export type Oracle<Store> = {
  readonly scheme: OracleScheme;
  readonly packageName: OraclePackage;
  /** The SDK's URL for the key in the store. */
  readonly urlOf: (store: Store, key: string) => string | Promise<string>;
  /** False if the SDK escapes a character of the key wrongly. */
  readonly signs: (store: Store, key: string) => boolean;
};

/** Short keys with the characters whose escapes differ between vendors. */
const recordedKeys = [
  "a/b",
  "two  spaces/b",
  "a+b/100%",
  "ümläut/日本語",
  "til~de/b",
  "(parens)!*/b",
  "question?mark/#b",
];

export async function expectSameUrls<Store extends OracleStore>(oracle: Oracle<Store>, store: Store): Promise<void> {
  const keys = objectKeys.filter((key) => oracle.signs(store, key));
  expect(keys.length).toBeGreaterThanOrEqual(20);
  for (const key of keys) {
    const theirs = await oracle.urlOf(store, key);
    expect(partsOf(await sign(oracle.scheme, { ...store, key })), key).toEqual(partsOf(theirs));
  }
}

/** Expects that the SDK makes the URLs that are recorded. After an update of the SDK, `npm run e2e -- test/e2e/oracles -u` records them again. */
export async function expectRecorded<Store extends OracleStore>(
  { scheme, packageName, urlOf, signs }: Oracle<Store>,
  stores: Readonly<Record<string, Store>>,
): Promise<void> {
  const urls: Record<string, Record<string, string>> = {};
  for (const [form, store] of Object.entries(stores)) {
    const keys = recordedKeys.filter((key) => signs(store, key));
    const entries = keys.map(async (key) => [key, await urlOf(store, key)] as const);
    urls[form] = Object.fromEntries(await Promise.all(entries));
  }
  const recorded: Recorded = { madeBy: `${packageName} ${versionOf(packageName)}`, urls };
  const text = `${JSON.stringify(recorded, null, 2)}\n`;
  await expect(text).toMatchFileSnapshot(fileURLToPath(recordedPath(scheme)));
}
