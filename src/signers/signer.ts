import type { GenericSchema } from "valibot";

export type SignRequest<Config, Secret> = {
  readonly method: "GET" | "HEAD";
  /** The object's key below the store's own prefix, already made of unreserved characters and slashes. */
  readonly key: string;
  readonly config: Config;
  readonly secret: Secret;
  readonly now: Date;
};

/** One URL-signing scheme. Signed URLs are the same within {@link windowSeconds}, so parallel ranges and retries share one. */
export type Signer<Config, Secret> = {
  readonly config: GenericSchema<unknown, Config>;
  readonly secret: GenericSchema<unknown, Secret>;
  /** What a sealed secret is bound to: the bucket or base URL that it opens. */
  readonly target: (config: Config) => string;
  readonly sign: (request: SignRequest<Config, Secret>) => Promise<string>;
};

/** All URLs signed within one window are equal. */
const windowSeconds = 600;
/** A slow client's queue of layers must end before its URL does: the life left at hand-out is never less. */
const minLifeSeconds = 600;

/** The issue time rounded down to its window, and a life that leaves every URL of the window its minimum. */
export function signingWindow(now: Date): { readonly issuedAt: Date; readonly lifeSeconds: number } {
  const issuedAtSeconds = Math.floor(now.getTime() / 1000 / windowSeconds) * windowSeconds;
  return { issuedAt: new Date(issuedAtSeconds * 1000), lifeSeconds: windowSeconds + minLifeSeconds };
}
