import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { parseChallenge } from "../../src/oci/challenge.ts";
import { createClient } from "../support/client.ts";
import { type Forge, type HostileToken, hostileTokens, signFor } from "../support/hostile-tokens.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const hostile = await hostileTokens(forge);
const straight = hostile.filter((token): token is HostileToken & { readonly jwt: string } => token.jwt !== null);

/**
 * If distribution 3 cannot read a token's signature or claims, it refuses the token by a challenge without `error`. distribution 3 accepts a list of
 * audiences of any length.
 */
const looser = { alsoWithoutError: true, allowed: ["eleven audiences"] };
const same = { alsoWithoutError: false, allowed: [] as readonly string[] };

describe.each([
  ["docker-registry 2.8", "registry", needs.registryPods, same],
  ["distribution v3", "distribution-v3", needs.distributionPods, looser],
] as const satisfies readonly (readonly [string, PodKind, readonly string[], object])[])(
  "%s",
  (_, kind, tools, words) => {
    describeWith(tools, "and the edge in front of it", () => {
      let stage: Stage;
      const paths = ["/v2/acme/private/manifests/1", "/v2/acme/private/tags/list"];
      const heard = async (origin: string, path: string, token: string) => {
        const answer = await createClient(origin).get(path, token);
        const challenge = parseChallenge(answer.headers.get("WWW-Authenticate"));
        await answer.body?.cancel();
        return [answer.status, challenge?.error ?? null] as const;
      };

      beforeAll(async () => {
        stage = await openStage(kind, { signingKeys: { "pod-a": forge.ofA, "pod-b": forge.ofB } });
      });
      afterAll(() => stage?.close());

      it("both take a good token", async () => {
        const good = await signFor(forge);
        for (const path of paths) {
          expect(await heard(stage.stack.pods["pod-a"].registry.direct, path, good)).toEqual([200, null]);
          expect(await heard(stage.stack.edge, path, `pods.v1.pod-a/${good}`)).toEqual([200, null]);
          expect(await heard(stage.stack.edge, path, good)).toEqual([200, null]);
        }
      });

      it("both refuse each hostile token in the same way", async () => {
        expect(straight.length).toBeGreaterThanOrEqual(60);
        for (const { what, jwt, sent, error } of straight) {
          for (const path of paths) {
            expect(await heard(stage.stack.edge, path, sent), what).toEqual([401, error]);
            const [status, named] = await heard(stage.stack.pods["pod-a"].registry.direct, path, jwt);
            expect(status, what).toBe(words.allowed.includes(what) ? 200 : 401);
            if (named !== null || !words.alsoWithoutError) expect(named, what).toBe(error);
          }
        }
        expect(stage.stack.seen("pod-a", "storage")).toEqual([]);
      });

      it("the edge gives nothing for a forged bundle", async () => {
        for (const { what, sent, error } of hostile.filter(({ jwt }) => jwt === null)) {
          for (const path of paths) expect(await heard(stage.stack.edge, path, sent), what).toEqual([401, error]);
        }
      });
    });
  },
);
