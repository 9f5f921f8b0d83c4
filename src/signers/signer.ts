import * as v from "valibot";
import { isoTime } from "../lib/iso-time.ts";
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
  /** Query parameters that say for which repository the URL is made. Empty if the store's `attribution` is not true. */
  readonly attribution: readonly Parameter[];
  readonly dayKeys: DayKeys;
};

/** A store's secret, opened, and parsed by the schema of its scheme. */
export type StoreSecret = {
  /** When a session token or a delegation key expires. A signed URL expires no later. */
  readonly expiresAt?: Date | undefined;
};

export type SecretSchema<Secret> = v.GenericSchema<unknown, Secret> | v.GenericSchemaAsync<unknown, Secret>;

/** One URL-signing scheme. It is pure: the same request gives the same URL, except for ECDSA's random part. */
export type Signer<Config, Secret> = {
  readonly config: v.GenericSchema<unknown, Config>;
  readonly secret: SecretSchema<Secret> | null;
  /** The bucket or base URL for which a store's secret is sealed. The secret opens only together with this text. */
  target(config: Config): string;
  origin(config: Config): string;
  /**
   * The text that is signed. For Signature Version 4, this is the canonical request. Null if the URL has no signature, or if the signature is a plain
   * hash of a text with the secret in it (nginx with MD5). Akamai's text has a part of the secret, the salt. So show a text only for a made-up
   * secret.
   */
  textToSign(request: SignRequest<Config, Secret>): string | null;
  sign(request: SignRequest<Config, Secret>): Promise<string>;
};

type Definition<Config, Secret, Text extends string | null> = Omit<Signer<Config, Secret>, "textToSign" | "sign"> & {
  textToSign(request: SignRequest<Config, Secret>): Text;
  /** `text` is what `textToSign` returns for this request. So podctl, which shows that result, shows exactly what is signed. */
  sign(request: SignRequest<Config, Secret>, text: Text): Promise<string>;
};

/** Makes a signer from its definition. The exact type of `config` is kept, because the type `Store` is derived from it. */
export const defineSigner = <Schema extends v.GenericSchema, Secret extends StoreSecret, Text extends string | null>(
  definition: { readonly config: Schema } & Definition<v.InferOutput<Schema>, Secret, Text>,
): { readonly config: Schema } & Signer<v.InferOutput<Schema>, Secret> => ({
  ...definition,
  sign: async (request) => definition.sign(request, definition.textToSign(request)),
});

export const time = v.pipe(
  isoTime,
  v.transform((text) => new Date(text)),
);

/** Every sealed secret may have this member. */
export const secretEntries = { expiresAt: v.optional(time) };
