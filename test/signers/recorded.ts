import { readFileSync } from "node:fs";
import type { OracleScheme } from "./oracle-stores.ts";

/** `madeBy` is the SDK's package and version. `urls` has, for each form of the URL and each object key, the URL that the SDK made. */
export type Recorded = {
  readonly madeBy: string;
  readonly urls: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

export const recordedPath = (scheme: OracleScheme | "s3-v4a"): URL =>
  new URL(`recorded/${scheme}.json`, import.meta.url);

export const readRecorded = (scheme: OracleScheme | "s3-v4a"): Recorded =>
  JSON.parse(readFileSync(recordedPath(scheme), "utf8")) as Recorded;

/** The parameters are sorted, because each vendor has its own order. */
export function partsOf(url: string) {
  const { origin, pathname, search } = new URL(url);
  return { origin, pathname, parameters: search.slice(1).split("&").toSorted() };
}
