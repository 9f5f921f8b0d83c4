import { benchBlocks } from "./blocks.ts";
import { benchBundle, benchStartUp } from "./bundle.ts";
import { benchCrypto } from "./crypto.ts";
import type { Finding } from "./finding.ts";
import { benchHotPath } from "./hot-path.ts";
import { benchKvReads } from "./kv-reads.ts";
import { benchMemory } from "./memory.ts";
import { benchPodctl } from "./podctl.ts";
import { benchPrice } from "./price.ts";
import { benchPullTimes } from "./pull-times.ts";
import { benchResolve } from "./resolve.ts";
import { benchStoreChoice } from "./store-choice.ts";
import { benchStrangers } from "./stranger-cost.ts";

export type Part = {
  readonly name: string;
  /** `soFar` has the findings of the parts that ran before. */
  readonly full: (soFar: readonly Finding[]) => Promise<readonly Finding[]>;
  /** Measures some figures of `full` in a few seconds, for CI to compare with the stored results. Null if CI compares none. */
  readonly short: (() => Promise<readonly Finding[]>) | null;
};

/** The full and the short form have the same warm-up, because a Worker gets faster with each thousand requests. */
const warmUp = 3_000;

export const parts: readonly Part[] = [
  {
    name: "hot-path",
    full: () => benchHotPath({ warmUp, rounds: 15, count: 1_000 }),
    short: () => benchHotPath({ warmUp, rounds: 9, count: 300 }),
  },
  {
    name: "kv-reads",
    full: () => benchKvReads({ pulls: 30 }),
    short: () => benchKvReads({ pulls: 10 }),
  },
  {
    name: "store-choice",
    full: () => benchStoreChoice({ warmUp, rounds: 15, count: 1_000 }),
    short: null,
  },
  {
    name: "blocks",
    full: () => benchBlocks({ warmUp, rounds: 15, count: 1_000 }),
    short: null,
  },
  {
    name: "pull-times",
    full: () => benchPullTimes({ delaysMs: [0, 20, 40], rounds: 11 }),
    short: () => benchPullTimes({ delaysMs: [40], rounds: 5 }),
  },
  {
    name: "resolve",
    full: () => benchResolve({ sizes: [1e2, 1e3, 1e4, 1e5, 1e6], rounds: 300 }),
    short: null,
  },
  {
    name: "crypto",
    full: () => benchCrypto({ warmUp: 1_000, rounds: 7, count: 1_000 }),
    short: null,
  },
  { name: "bundle", full: () => benchBundle(), short: () => benchBundle() },
  { name: "start-up", full: () => benchStartUp({ runs: 7 }), short: null },
  { name: "memory", full: () => benchMemory(), short: null },
  { name: "price", full: benchPrice, short: null },
  {
    name: "stranger-cost",
    full: () => benchStrangers({ fleets: [8, 50, 500], rounds: 5, count: 20 }),
    short: null,
  },
  { name: "podctl", full: () => benchPodctl(), short: null },
];
