import * as v from "valibot";
import type { Parameter } from "./encode.ts";
import type { DayKeys } from "./sigv4.ts";
import type { UrlWindow } from "./window.ts";

export type SignRequest<Config, Secret> = {
  readonly method: "GET" | "HEAD";
  /** The whole key of the object, with the store's prefix. It is unescaped, because each scheme escapes it in its own way. */
  readonly key: string;
  readonly config: Config;
  readonly secret: Secret;
  readonly window: UrlWindow;
  /** Query parameters that say for whom the URL was made. Empty if the store does not want them. */
  readonly attribution: readonly Parameter[];
  /** The signing keys that Signature Version 4 remembers between requests. */
  readonly dayKeys: DayKeys;
};

/** A store's sealed secret after it is parsed and its keys are imported. */
export type StoreSecret = {
  /** The end of a session token or delegated key. No URL outlives it. */
  readonly expiresAt?: Date | undefined;
};

export type SecretSchema<Secret> = v.GenericSchema<unknown, Secret> | v.GenericSchemaAsync<unknown, Secret>;

/** One URL-signing scheme. It is pure: the same request gives the same URL, except for ECDSA's random part. */
export type Signer<Config, Secret> = {
  readonly config: v.GenericSchema<unknown, Config>;
  /** Null if stores of this scheme have no secret. */
  readonly secret: SecretSchema<Secret> | null;
  /** The bucket or base URL to which a sealed secret is bound. */
  target(config: Config): string;
  /** The scheme, host and port that clients connect to. */
  origin(config: Config): string;
  /**
   * The text that is signed, as the scheme's own documents write it. For Signature Version 4 this is the canonical request. Null if no text is signed
   * with a key. The text may contain a part of the secret (Akamai's salt). So it may be shown only if the request has a made-up secret.
   */
  textToSign(request: SignRequest<Config, Secret>): string | null;
  sign(request: SignRequest<Config, Secret>): Promise<string>;
};

type Definition<Config, Secret, Text extends string | null> = Omit<Signer<Config, Secret>, "textToSign" | "sign"> & {
  textToSign(request: SignRequest<Config, Secret>): Text;
  /** `text` is the result of `textToSign` for this request, so podctl shows exactly the text that is signed. */
  sign(request: SignRequest<Config, Secret>, text: Text): Promise<string>;
};

/** Makes a signer and keeps its exact types, because the table of schemes derives the type of all stores from them. */
export const defineSigner = <Schema extends v.GenericSchema, Secret extends StoreSecret, Text extends string | null>(
  definition: { readonly config: Schema } & Definition<v.InferOutput<Schema>, Secret, Text>,
): { readonly config: Schema } & Signer<v.InferOutput<Schema>, Secret> => ({
  ...definition,
  sign: (request) => definition.sign(request, definition.textToSign(request)),
});

/** The member that every sealed secret may have: the time when the secret ends. */
export const secretEntries = {
  expiresAt: v.optional(
    v.pipe(
      v.string(),
      v.isoTimestamp(),
      v.check((text) => !Number.isNaN(Date.parse(text)), "a time"),
      v.transform((text) => new Date(text)),
    ),
  ),
};
