/** When a URL begins to count, and when it ends. */
export type UrlWindow = { readonly issuedAt: Date; readonly expiresAt: Date };

/** All URLs signed within one window are equal, so parallel ranges and retries share one. */
const windowMs = 600_000;
/** A slow client's queue of layers must end before its URL does: the life left at hand-out is never less. */
const minLifeMs = 600_000;

/**
 * The issue time rounded down to its window, and an end that leaves every URL of the window its minimum. Never past `credentialEndsAt`;
 * null when that is too near for the minimum.
 */
export function signingWindow(now: Date, credentialEndsAt: Date | null): UrlWindow | null {
  const issuedAtMs = Math.floor(now.getTime() / windowMs) * windowMs;
  // Whole seconds: no scheme counts smaller ones.
  const endsAtMs = Math.floor((credentialEndsAt?.getTime() ?? Number.POSITIVE_INFINITY) / 1000) * 1000;
  const expiresAtMs = Math.min(issuedAtMs + windowMs + minLifeMs, endsAtMs);
  if (expiresAtMs - now.getTime() < minLifeMs) return null;
  return { issuedAt: new Date(issuedAtMs), expiresAt: new Date(expiresAtMs) };
}

export const epochSeconds = (time: Date): number => Math.floor(time.getTime() / 1000);
export const lifeSeconds = ({ issuedAt, expiresAt }: UrlWindow): number =>
  epochSeconds(expiresAt) - epochSeconds(issuedAt);
