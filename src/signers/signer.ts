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
  /**
   * What the URL's signature is over, as the scheme's own documents write it: for Signature Version 4 the canonical request. Null where no
   * key signs. A part of the secret may be in it (Akamai's salt), so it is only to be shown if the secret is a stand-in.
   */
  textToSign(request: SignRequest<Config, Secret>): string | null;
  /** The signed URL. */
  sign(request: SignRequest<Config, Secret>): Promise<string>;
};

type Definition<Config, Secret, Text extends string | null> = Omit<Signer<Config, Secret>, "textToSign" | "sign"> & {
  textToSign(request: SignRequest<Config, Secret>): Text;
  /** `text` is what `textToSign` gives for this request, so that what is shown is what is signed. */
  sign(request: SignRequest<Config, Secret>, text: Text): Promise<string>;
};

/** A signer with its own types: the table makes the union of all stores from them. */
export const defineSigner = <Schema extends v.GenericSchema, Secret extends StoreSecret, Text extends string | null>(
  definition: { readonly config: Schema } & Definition<v.InferOutput<Schema>, Secret, Text>,
): { readonly config: Schema } & Signer<v.InferOutput<Schema>, Secret> => ({
  ...definition,
  sign: (request) => definition.sign(request, definition.textToSign(request)),
});

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
