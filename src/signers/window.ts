export type UrlWindow = { readonly issuedAt: Date; readonly expiresAt: Date };

/**
 * Within one window, a client that asks for a blob again, for parallel ranges or in a retry, gets the same URL. A scheme with ECDSA signs with random
 * values, so its URL is the same only as long as an isolate remembers it.
 */
const windowMs = 600_000;
/**
 * A URL is valid for at least this long after it is handed out, like the URLs that distribution signs. Clients need this time: a client on a slow
 * line begins its last layers late, Dragonfly keeps a redirect for 10 minutes, and Ollama keeps one redirect for a whole model.
 */
const minLifeMs = 1_200_000;

/**
 * Returns the window of a URL that is signed now. The window ends no later than the credential. Null if the credential ends within `minLifeMs`,
 * because every URL must be valid for that time.
 */
export function signingWindow(now: Date, credentialEndsAt: Date | null): UrlWindow | null {
  const issuedAtMs = Math.floor(now.getTime() / windowMs) * windowMs;
  // The end is rounded down, because the schemes count whole seconds.
  const endsAtMs = Math.floor((credentialEndsAt?.getTime() ?? Number.POSITIVE_INFINITY) / 1000) * 1000;
  const expiresAtMs = Math.min(issuedAtMs + windowMs + minLifeMs, endsAtMs);
  if (expiresAtMs - now.getTime() < minLifeMs) return null;
  return { issuedAt: new Date(issuedAtMs), expiresAt: new Date(expiresAtMs) };
}

/** Whether a URL that was signed for this window may still be handed out. */
export const isCurrentWindow = ({ issuedAt, expiresAt }: UrlWindow, now: Date): boolean =>
  issuedAt <= now && expiresAt.getTime() - now.getTime() > minLifeMs;

export const epochSeconds = (time: Date): number => Math.floor(time.getTime() / 1000);
export const lifeSeconds = ({ issuedAt, expiresAt }: UrlWindow): number =>
  epochSeconds(expiresAt) - epochSeconds(issuedAt);
