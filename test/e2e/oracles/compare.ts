/** Our URLs next to those of a vendor's SDK: for every object key, and for the few keys that are recorded for `npm test`. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { objectKeys } from "../../signers/object-keys.ts";
import type { OracleScheme, OracleStore } from "../../signers/oracle-stores.ts";
import { partsOf, type Recorded, recordedPath } from "../../signers/recorded.ts";
import { sign } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { type OraclePackage, versionOf } from "./sdk.ts";

type Oracle<Store> = {
  readonly scheme: OracleScheme;
  readonly packageName: OraclePackage;
  /** By the form of their URLs. */
  readonly stores: Readonly<Record<string, Store>>;
  /** The SDK's URL for the key in the store. */
  readonly urlOf: (store: Store, key: string) => string | Promise<string>;
  /** The keys that the SDK signs in a form that servers accept; absent if it does so for all. */
  readonly signs?: (store: Store, key: string) => boolean;
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

export function compareWith<Store extends OracleStore>(oracle: Oracle<Store>): void {
  const { scheme, packageName, stores, urlOf, signs = () => true } = oracle;

  describeWith([packageName], `the ${scheme} signer and ${packageName}`, () => {
    test.each(Object.entries(stores))("make the same URL of every object key: %s", async (_form, store) => {
      const keys = objectKeys.filter((key) => signs(store, key));
      expect(keys.length).toBeGreaterThanOrEqual(20);
      for (const key of keys) {
        const theirs = await urlOf(store, key);
        expect(partsOf(await sign(scheme, { ...store, key })), key).toEqual(partsOf(theirs));
      }
    });

    // `npm run e2e -- test/e2e/oracles -u` writes the file again after an update of the SDK.
    test("make the URLs that are recorded for `npm test`", async () => {
      const urls: Record<string, Record<string, string>> = {};
      for (const [form, store] of Object.entries(stores)) {
        const keys = recordedKeys.filter((key) => signs(store, key));
        const entries = keys.map(async (key) => [key, await urlOf(store, key)] as const);
        urls[form] = Object.fromEntries(await Promise.all(entries));
      }
      const recorded: Recorded = { madeBy: `${packageName} ${versionOf(packageName)}`, urls };
      const text = `${JSON.stringify(recorded, null, 2)}\n`;
      await expect(text).toMatchFileSnapshot(fileURLToPath(recordedPath(scheme)));
    });
  });
}
