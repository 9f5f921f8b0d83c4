import { expect, test } from "vitest";
import { hex } from "../../src/lib/bytes.ts";
import { type DayKeys, scopedHmac } from "../../src/signers/sigv4.ts";

test("a signing key that is remembered for one secret and one day signs nothing for another", async () => {
  const secrets = ["AWS4one", "AWS4other"].map((start) => ({ start }));
  const scopes = ["20130524/us-east-1/s3/aws4_request", "20130525/us-east-1/s3/aws4_request"] as const;
  async function signatures(keysOf: () => DayKeys): Promise<readonly string[]> {
    const all: string[] = [];
    for (const scope of [...scopes, ...scopes]) {
      for (const secret of secrets) {
        const sign = scopedHmac({ start: secret.start, secret, dayKeys: keysOf() });
        all.push(hex(await sign("a text", scope)));
      }
    }
    return all;
  }
  const fresh = await signatures(() => new WeakMap());
  expect(new Set(fresh).size).toBe(4);
  const dayKeys: DayKeys = new WeakMap();
  expect(await signatures(() => dayKeys)).toEqual(fresh);
  expect(secrets.map((secret) => dayKeys.get(secret)?.scope)).toEqual([scopes[1], scopes[1]]);
});
