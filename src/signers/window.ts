export type UrlWindow = { readonly issuedAt: Date; readonly expiresAt: Date };

/** All URLs signed within one window are equal, so parallel ranges and retries share one. */
const windowMs = 600_000;
/**
 * The life that a URL has left when it is handed out, which is the whole life of a registry's own. A slow client queues its layers, Dragonfly keeps a
 * redirect for 10 minutes, and Ollama keeps one for a whole model.
 */
const minLifeMs = 1_200_000;

/**
 * The time of issue is rounded down to its window, and the end leaves every URL of the window the minimal life, but is never after
 * `credentialEndsAt`. Null if that is too near for the minimal life.
 */
export function signingWindow(now: Date, credentialEndsAt: Date | null): UrlWindow | null {
  const issuedAtMs = Math.floor(now.getTime() / windowMs) * windowMs;
  // Schemes count whole seconds.
  const endsAtMs = Math.floor((credentialEndsAt?.getTime() ?? Number.POSITIVE_INFINITY) / 1000) * 1000;
  const expiresAtMs = Math.min(issuedAtMs + windowMs + minLifeMs, endsAtMs);
  if (expiresAtMs - now.getTime() < minLifeMs) return null;
  return { issuedAt: new Date(issuedAtMs), expiresAt: new Date(expiresAtMs) };
}

/** Whether a URL of this window is what `signingWindow` would still give. */
export const isCurrentWindow = ({ issuedAt, expiresAt }: UrlWindow, now: Date): boolean =>
  issuedAt <= now && expiresAt.getTime() - now.getTime() > minLifeMs;

export const epochSeconds = (time: Date): number => Math.floor(time.getTime() / 1000);
export const lifeSeconds = ({ issuedAt, expiresAt }: UrlWindow): number =>
  epochSeconds(expiresAt) - epochSeconds(issuedAt);
