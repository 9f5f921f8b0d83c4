import type { UploadGrant } from "../pods/upload-grant.ts";

/** Clients send one request of an upload at a time. But a request that its client has given up may still be open, so a few more are allowed. */
const mostOfOneUpload = 4;

/**
 * Limits how many requests of one upload are open at once. Otherwise, a thief of a push location could open any number of connections to the
 * registry, each of which may wait for a minute.
 */
export class UploadBounds {
  readonly #running = new Map<string, number>();

  /** Counts a request as open. Returns a function that counts it as ended, or null if too many requests of this upload are open. */
  begin({ repository, upload }: Pick<UploadGrant, "repository" | "upload">): (() => void) | null {
    const name = `${repository} ${upload}`;
    const running = this.#running.get(name) ?? 0;
    if (running >= mostOfOneUpload) return null;
    this.#running.set(name, running + 1);
    return () => {
      const left = (this.#running.get(name) ?? 1) - 1;
      if (left > 0) this.#running.set(name, left);
      else this.#running.delete(name);
    };
  }
}
