import * as v from "valibot";
import { parseSecret, type Scheme, signerOf, storeSchema } from "../../src/signers/index.ts";
import type { StoreSecret } from "../../src/signers/signer.ts";
import type { DayKeys } from "../../src/signers/sigv4.ts";
import type { UrlWindow } from "../../src/signers/window.ts";

export type SigningScheme = Exclude<Scheme, "pod">;

export const window: UrlWindow = {
  issuedAt: new Date("2066-11-23T10:00:00Z"),
  expiresAt: new Date("2066-11-23T10:20:00Z"),
};
export const expiresSeconds = window.expiresAt.getTime() / 1000;

export type Case = {
  /** The store without its scheme. */
  readonly config: object;
  /** The secret before it is sealed. */
  readonly secret?: object;
  readonly key?: string;
  readonly method?: "GET" | "HEAD";
  readonly window?: UrlWindow;
  readonly attribution?: readonly (readonly [string, string])[];
  readonly dayKeys?: DayKeys;
};

export async function openedSecret(scheme: SigningScheme, secret: object | undefined): Promise<StoreSecret> {
  if (secret === undefined) return {};
  const parsed = await parseSecret(scheme, JSON.stringify(secret));
  if (!parsed.ok) throw new Error(`the secret ${parsed.error}`);
  return parsed.value;
}

export async function sign(scheme: SigningScheme, given: Case): Promise<string> {
  const { signer, request } = await signingOf(scheme, given);
  return signer.sign(request);
}

export async function textToSign(scheme: SigningScheme, given: Case): Promise<string | null> {
  const { signer, request } = await signingOf(scheme, given);
  return signer.textToSign(request);
}

async function signingOf(scheme: SigningScheme, { config, secret, ...given }: Case) {
  const store = v.parse(storeSchema, { scheme, ...config, ...(secret === undefined ? {} : { credentials: "sealed" }) });
  if (store.scheme === "pod") throw new Error("nothing is signed for a Pod that redirects by itself");
  const request = {
    method: "GET" as const,
    key: "a/b",
    window,
    attribution: [],
    dayKeys: new WeakMap(),
    ...given,
    config: store,
    secret: await openedSecret(scheme, secret),
  };
  return { signer: signerOf(store), request };
}
