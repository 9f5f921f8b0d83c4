import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { MountOrder } from "../pods/mount-order.ts";

/** At most this many blobs are copied at a time, because each copy takes a few hundred kilobytes of memory. */
const mostCopies = 50;
/** At most this many copies go into one repository at a time. Clients need fewer: dockerd pushes five layers at a time, and skopeo and podman six. */
const mostOfOneRepository = 8;
/**
 * After this many failed copies into one repository within `failuresMs`, no blob is copied into it. Copies are allowed again when the first of these
 * failures is older than `failuresMs`.
 */
const mostFailures = 3;
const failuresMs = 10 * 60_000;
/** The failures of this many repositories are remembered. They take a few megabytes. */
const mostRemembered = 10_000;

/** A gateway copies to one Pod only, so repository and digest identify a copy. */
type Copy = Pick<MountOrder, "repository" | "digest">;

/**
 * Limits what the copies into one repository may cost the registry. A copy that fails can leave a half upload at the registry, and the owner of a
 * hostile store can make copies fail at will.
 */
export class CopyBounds {
  /** The digests that are being copied, by repository. */
  readonly #running = new Map<string, Set<string>>();
  /** The times at which copies into a repository failed, in milliseconds, the oldest first. */
  readonly #failures = new BoundedMap<string, readonly number[]>(mostRemembered);

  /** Counts a copy as running. The error is for the log, and says which bound forbids the copy. */
  begin({ repository, digest }: Copy, nowMs: number): Result<null, string> {
    const own = this.#running.get(repository) ?? new Set();
    const all = [...this.#running.values()].reduce((sum, { size }) => sum + size, 0);
    if (own.has(digest)) return err("this blob is being copied already");
    if (own.size >= mostOfOneRepository) {
      return err(`${mostOfOneRepository} blobs are being copied into this repository already`);
    }
    if (all >= mostCopies) return err(`${mostCopies} blobs are being copied already`);
    if (this.#recentFailures(repository, nowMs).length >= mostFailures) {
      return err(`${mostFailures} copies into this repository have failed within ${failuresMs / 60_000} minutes`);
    }
    this.#running.set(repository, own.add(digest));
    return ok(null);
  }

  /** Ends a copy for which `begin` has returned no error. */
  end({ repository, digest }: Copy): void {
    const own = this.#running.get(repository);
    own?.delete(digest);
    if (own?.size === 0) this.#running.delete(repository);
  }

  /** Counts a failed copy. Call it only if the copy has begun an upload, because other copies leave nothing at the registry. */
  countFailure({ repository }: Copy, nowMs: number): void {
    const failures = [...this.#recentFailures(repository, nowMs), nowMs];
    this.#failures.set(repository, failures.slice(-mostFailures));
  }

  #recentFailures(repository: string, nowMs: number): readonly number[] {
    return (this.#failures.get(repository) ?? []).filter((atMs) => nowMs - atMs < failuresMs);
  }
}
