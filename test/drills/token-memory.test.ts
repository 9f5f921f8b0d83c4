import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { noneRejected, verifyToken } from "../../src/auth/verify.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { createIsolate } from "../../src/isolate.ts";

const now = new Date("2026-11-24T12:00:00Z");
const seconds = Math.floor(now.getTime() / 1000);
const kid = "A".repeat(43);
/** This algorithm makes thousands of tokens in the time that RSA takes for a few hundred. */
const alg = "ES256";
const keys = await generateKeyPair(alg);
const jwk = { ...(await exportJWK(keys.publicKey)), kid, alg };
const access = { type: "repository", name: "acme/app", actions: ["pull"] };

const podOf = () => ({ id: "pod-a", issuer: "issuer", audience: "audience", keys: [jwk] }) as unknown as Pod;
const sign = (claims: object) =>
  new SignJWT({ iss: "issuer", aud: "audience", exp: seconds + 300, nbf: seconds, access: [access], ...claims })
    .setProtectedHeader({ alg, kid })
    .sign(keys.privateKey);
const kindOf = async (jwt: string, pod: Pod, tokens: ReturnType<typeof createIsolate>["tokens"]) =>
  (await verifyToken(jwt, pod, { tokens, rejected: noneRejected(), now })).kind;

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

describe("remembered token", () => {
  test("it is forgotten when 2,000 others have come after it, and no sooner", async () => {
    const pod = podOf();
    const { tokens } = createIsolate();
    /** While the Pod has no keys, only a remembered token can be verified. */
    const kindWithoutKeys = async (jwt: string) => {
      const held = (pod.keys as unknown[]).splice(0);
      const kind = await kindOf(jwt, pod, tokens);
      (pod.keys as unknown[]).push(...held);
      return kind;
    };
    const tokenOf = (index: number) => sign({ jti: `bounded ${index}` });
    const first = await tokenOf(0);
    expect(await kindOf(first, pod, tokens)).toBe("verified");
    for (let index = 1; index < 2_000; index += 1) await kindOf(await tokenOf(index), pod, tokens);
    expect(await kindWithoutKeys(first)).toBe("verified");
    const last = await tokenOf(2_000);
    expect(await kindOf(last, pod, tokens)).toBe("verified");
    expect([await kindWithoutKeys(first), await kindWithoutKeys(last)]).toEqual(["unknown-key", "verified"]);
  });

  test.each([
    ["1,900 equal entries", () => Array(1_900).fill({})],
    [
      "400 different entries",
      (token: number) => Array.from({ length: 400 }, (_, index) => ({ name: `${token}${index}` })),
    ],
    [
      "200 long names",
      (token: number) => Array.from({ length: 200 }, (_, index) => ({ ...access, name: `a/${token}/${index}` })),
    ],
  ])("2,000 of them with %s of access take less than 24 MB", async (_, entriesOf) => {
    const pod = podOf();
    const { tokens } = createIsolate();
    const before = heapBytes();
    for (let index = 0; index < 2_000; index += 1) {
      expect(await kindOf(await sign({ access: entriesOf(index) }), pod, tokens)).toBe("verified");
    }
    expect((heapBytes() - before) / 1e6).toBeLessThan(24);
    expect(tokens.verified.size).toBeGreaterThan(50);
  });
});
