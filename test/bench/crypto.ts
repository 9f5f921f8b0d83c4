import { exportJWK, generateKeyPair } from "jose";
import * as v from "valibot";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { PublicKey } from "../../src/directory/records.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { type SigningStore, storeSchema } from "../../src/signers/index.ts";
import { samples } from "../signers/samples.ts";
import type { SigningScheme } from "../signers/sign.ts";
import { signFor } from "../support/hostile-tokens.ts";
import type { Part } from "./crypto-worker.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { measureRounds, median, medianRatio, type Rounds, type Subject } from "./rounds.ts";
import { startBenchWorker, withTeardown } from "./stage.ts";

/** If the forms of a scheme differ in cost, each form has a row. `sample` is the index of the form in `samples[scheme]`. */
const signers: Readonly<Record<string, readonly [scheme: SigningScheme, sample: number]>> = {
  s3: ["s3", 0],
  "s3-v4a": ["s3-v4a", 0],
  "gcs (RSA)": ["gcs", 0],
  "gcs (HMAC)": ["gcs", 1],
  azure: ["azure", 0],
  "cloudfront (RSA)": ["cloudfront", 0],
  "cloudfront (P-256)": ["cloudfront", 6],
  "google-cdn": ["google-cdn", 0],
  "media-cdn": ["media-cdn", 0],
  cloudflare: ["cloudflare", 0],
  akamai: ["akamai", 0],
  bunny: ["bunny", 0],
  "nginx (MD5)": ["nginx", 0],
  "nginx (HMAC)": ["nginx", 1],
  public: ["public", 0],
};

export const benchCrypto = (rounds: Rounds): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const worker = await startBenchWorker(teardown, dir, { file: "crypto-worker.ts" });
    const subject = (part: Part): Subject => ({ pid: worker.pid, run: (count) => runPart(worker.url, part, count) });
    const signing = Object.entries(signers).map(([name, sample]) => [name, subject(signPart(...sample))] as const);
    const signed = await measureRounds(Object.fromEntries(signing), rounds);
    const verifying = Object.entries(await verifyParts()).map(([name, part]) => [name, subject(part)] as const);
    const verified = await measureRounds(Object.fromEntries(verifying), rounds);
    const s3 = signed["s3"] ?? [];
    return [
      ...Object.entries(signed).map(([name, us]) => portable(`signer ${name} ÷ s3`, medianRatio(us, s3))),
      ...Object.entries(signed).map(([name, us]) => amount(`signer ${name}, µs of CPU`, median(us))),
      ...Object.entries(verified).map(([name, us]) => amount(`token check, ${name}, µs of CPU`, median(us))),
    ];
  });

function signPart(scheme: SigningScheme, index: number): Part {
  const { config, secret } = samples[scheme][index] ?? { config: {} };
  const sealed = secret === undefined ? {} : { credentials: "sealed" };
  const store = v.parse(storeSchema, { scheme, ...config, ...sealed }) as SigningStore;
  return { part: "sign", store, secret: secret ?? null };
}

/** RS256 is the default of GitLab and distribution. */
async function verifyParts(): Promise<Readonly<Record<string, Part>>> {
  const rsa = await generateSigningKey();
  const p256 = await generateKeyPair("ES256");
  const ecKey = { ...(await exportJWK(p256.publicKey)), alg: "ES256", kid: "p256" };
  const keys = [rsa.publicJwk, ecKey] as PublicKey[];
  const pod = { id: "pod-a" as PodId, issuer: "pod-a-issuer", audience: "pod-a-registry", keys };
  const ofRsa = await signFor({ ofA: rsa, ofB: rsa });
  const ofP256 = await signFor({ ofA: rsa, ofB: rsa }, {}, { alg: "ES256", kid: "p256" }, p256.privateKey);
  return {
    "a new token (RS256)": { part: "verify", memory: "cold", jwt: ofRsa, pod },
    "a new token (ES256)": { part: "verify", memory: "cold", jwt: ofP256, pod },
    "a known token": { part: "verify", memory: "warm", jwt: ofRsa, pod },
  };
}

async function runPart(url: string, part: Part, count: number): Promise<void> {
  const answer = await fetch(url, { method: "POST", body: JSON.stringify({ ...part, count }) });
  if (!answer.ok) throw new Error(`the crypto Worker answered ${answer.status}: ${await answer.text()}`);
  await answer.body?.cancel();
}
