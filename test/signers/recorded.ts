import { readFileSync } from "node:fs";
import type { OracleScheme } from "./oracle-stores.ts";

/** `madeBy` is the SDK's package and version, `urls` has the URL for each object key, by the form of the URL. */
export type Recorded = {
  readonly madeBy: string;
  readonly urls: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

export const recordedPath = (scheme: OracleScheme | "s3-v4a"): URL =>
  new URL(`recorded/${scheme}.json`, import.meta.url);

export const readRecorded = (scheme: OracleScheme | "s3-v4a"): Recorded =>
  JSON.parse(readFileSync(recordedPath(scheme), "utf8")) as Recorded;

/** Vendors order the parameters of a query differently; each parameter is compared as it is written. */
export function partsOf(url: string) {
  const { origin, pathname, search } = new URL(url);
  return { origin, pathname, parameters: search.slice(1).split("&").toSorted() };
}
