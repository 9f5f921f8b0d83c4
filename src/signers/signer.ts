import * as v from "valibot";
import type { Parameter } from "./encode.ts";
import type { DayKeys } from "./sigv4.ts";
import type { UrlWindow } from "./window.ts";

export type SignRequest<Config, Secret> = {
  readonly method: "GET" | "HEAD";
  /** The object's whole key, the store's prefix included, as it is: each scheme has its own way to escape it. */
  readonly key: string;
  readonly config: Config;
  readonly secret: Secret;
  readonly window: UrlWindow;
  /** For whom the URL is, as query parameters. Empty, unless the store asks for them. */
  readonly attribution: readonly Parameter[];
  /** What Signature Version 4 remembers between requests. */
  readonly dayKeys: DayKeys;
};

/** What is sealed for a store, parsed, its keys imported. */
export type StoreSecret = {
  /** The end of a session token or delegated key: no URL outlives it. */
  readonly expiresAt?: Date | undefined;
};

export type SecretSchema<Secret> = v.GenericSchema<unknown, Secret> | v.GenericSchemaAsync<unknown, Secret>;

/** One URL-signing scheme: pure, so what it signs is the same for the same request (but for ECDSA's random part). */
export type Signer<Config, Secret> = {
  readonly config: v.GenericSchema<unknown, Config>;
  /** Null: nothing is sealed for such a store. */
  readonly secret: SecretSchema<Secret> | null;
  /** What a sealed secret is bound to: the bucket or base URL that it opens. */
  target(config: Config): string;
  /** Scheme, host and port that clients dial. */
  origin(config: Config): string;
  sign(request: SignRequest<Config, Secret>): Promise<string>;
};

/** Keeps a signer's own types for the table, which makes the union of all stores from them. */
export const defineSigner = <Schema extends v.GenericSchema, Secret extends StoreSecret>(
  signer: { readonly config: Schema } & Signer<v.InferOutput<Schema>, Secret>,
) => signer;

/** The schema of a sealed secret: JSON with these members, and the end of its life if it has one. */
export const secretEntries = {
  expiresAt: v.optional(
    v.pipe(
      v.string(),
      v.isoTimestamp(),
      v.transform((text) => new Date(text)),
      v.date(),
    ),
  ),
};
