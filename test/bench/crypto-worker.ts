/** Does one part of the edge's work many times over in workerd, so that the part's CPU time can be measured from outside. */
import { createVerifiedTokens, noneRejected, verifyToken } from "../../src/auth/verify.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { createIsolate } from "../../src/isolate.ts";
import { parseSecret, type SigningStore, signerOf } from "../../src/signers/index.ts";
import { signingWindow } from "../../src/signers/window.ts";

/** Signs the URLs of many objects in one store. In a deployment, the directory holds `secret` sealed. */
export type SignPart = { readonly part: "sign"; readonly store: SigningStore; readonly secret: object | null };
/** `cold`: the isolate knows the key, but has never seen the token. `warm`: it has verified the token before. */
export type VerifyPart = {
  readonly part: "verify";
  readonly memory: "cold" | "warm";
  readonly jwt: string;
  readonly pod: Pick<Pod, "id" | "issuer" | "audience" | "keys">;
};
export type Part = SignPart | VerifyPart;

export default {
  async fetch(request: Request): Promise<Response> {
    const { count, ...part } = (await request.json()) as Part & { readonly count: number };
    await (part.part === "sign" ? signMany(part, count) : verifyMany(part, count));
    return new Response("done");
  },
};

async function signMany({ store, secret }: SignPart, count: number): Promise<void> {
  const opened = secret === null ? null : await parseSecret(store.scheme, JSON.stringify(secret));
  const window = signingWindow(new Date(), null);
  if (window === null || opened?.ok === false) throw new Error("nothing can be signed for this store");
  const shared = { method: "GET", config: store, secret: opened?.value ?? {}, window, attribution: [] } as const;
  const dayKeys = new WeakMap();
  for (let index = 0; index < count; index += 1) {
    await signerOf(store).sign({ ...shared, dayKeys, key: `docker/registry/v2/blobs/sha256/00/${index}/data` });
  }
}

async function verifyMany({ memory, jwt, pod }: VerifyPart, count: number): Promise<void> {
  const { tokens } = createIsolate();
  for (let index = 0; index < count; index += 1) {
    const known = memory === "warm" ? tokens : { ...tokens, verified: createVerifiedTokens() };
    const verdict = await verifyToken(jwt, pod as Pod, { tokens: known, rejected: noneRejected(), now: new Date() });
    if (verdict.kind !== "verified") throw new Error(`the token is ${verdict.kind}`);
  }
}
