import type { UploadGrant } from "../pods/upload-grant.ts";

/** Clients send one request of an upload at a time. Some more may still hang here after their client has given them up. */
const mostOfOneUpload = 4;

/**
 * How many requests of one upload may be open at once. A push location is as good as a password for its upload, and it may be stolen. Without this limit,
 * its holder could open any number of connections to the registry, each of which may wait for a minute.
 */
export class UploadBounds {
  readonly #running = new Map<string, number>();

  /** Counts a request as running. Returns a function that ends it, or null if too many requests of this upload are open. */
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
