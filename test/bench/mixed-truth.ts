/** The images of the mixed load, and which answers are right for each of them at a given moment. */
import pMap from "p-map";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { manifestText, pushImage } from "../support/image.ts";
import type { BenchStack } from "./stage.ts";

type Span = { readonly text: string | null; readonly fromMs: number; toMs: number };

/** A tag that is pushed again and again, by one push at a time. Its text is null while there is no tag. */
export class MovingTag {
  #spans: Span[] = [{ text: null, fromMs: 0, toMs: Number.POSITIVE_INFINITY }];
  #isPushed = false;

  /** Pushes this text by `work`, which returns true only if the push surely succeeded. Otherwise the tag may have the new text or the old one. */
  async push(text: string, work: () => Promise<boolean>): Promise<void> {
    if (this.#isPushed) return;
    this.#isPushed = true;
    const span: Span = { text, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    try {
      if (await work()) this.#end(span);
    } finally {
      this.#isPushed = false;
    }
  }

  /** Whether the tag's manifest may have had this text at some moment between these times. */
  wasIn(text: string | null, { askedMs, gotMs }: { readonly askedMs: number; readonly gotMs: number }): boolean {
    return this.#spans.some((span) => span.text === text && span.fromMs <= gotMs && span.toMs >= askedMs);
  }

  #end(newest: Span): void {
    const nowMs = performance.now();
    for (const span of this.#spans) if (span !== newest) span.toMs = Math.min(span.toMs, nowMs);
    // No request lasts longer than `mostMsOfRequest`, so we drop spans that ended longer ago.
    this.#spans = this.#spans.filter(({ toMs }) => toMs > nowMs - mostMsOfRequest);
  }
}
const mostMsOfRequest = 330_000;

export type Image = {
  readonly pod: LocalPodId;
  readonly repository: string;
  readonly digest: string;
  readonly text: string;
  readonly blob: string;
  /** A token that allows pulls and lives longer than the load. */
  readonly token: string;
  readonly moving: MovingTag;
  /** Manifests that can be pushed, because the blobs that they name are there. */
  readonly versions: readonly string[];
};

const prefixes: Readonly<Record<LocalPodId, string>> = { "pod-a": "acme", "pod-b": "globex" };

export function pushImages(stack: BenchStack, count: number): Promise<readonly Image[]> {
  return pMap(
    Array.from({ length: count }, (_, index) => index),
    async (index) => {
      const pod: LocalPodId = index % 2 === 0 ? "pod-a" : "pod-b";
      const repository = `${prefixes[pod]}/load/app-${index}`;
      const { digest, text, blobs } = await pushImage(stack, repository, 2);
      const [config = "", one = "", two = ""] = blobs;
      const { bundle: token } = await stack.longToken(pod, repository);
      const versions = [
        [config, one],
        [config, two],
        [config, two, one],
      ].map(manifestText);
      return { pod, repository, digest, text, blob: one, token, moving: new MovingTag(), versions };
    },
    { concurrency: 8 },
  );
}
