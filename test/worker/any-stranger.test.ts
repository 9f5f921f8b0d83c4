import { expect, test } from "vitest";
import { privateImage } from "../../src/local/images.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";
import { useGuardedStack } from "../support/guarded-stack.ts";
import { type HostileRequest, isWhole, rawRequest } from "../support/hostile-requests.ts";
import { hostileRequest } from "../support/hostile-twists.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { withoutDefault } from "../support/toy-stack.ts";

const { stack, jwts, materials: guarded } = await useGuardedStack(withoutDefault);
const runs = 400;

/** Each of `names` takes the place of this name. All have the same length, because limits and `Content-Length` depend on the length. */
const placeholder = "some/unnamed12";
const names = ["globex/private", "globex/absent7", "nobody/private"];

const digests = [privateImage("globex"), privateImage("acme")].map(({ layer }) => layer.digest);
const unknown = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
const materials = {
  password: guarded.password,
  // The first token is good for Pod A and grants nothing at Pod B. The other two have a key that the directory does not know.
  tokens: [jwts["pod-a"], unknown].map((jwt) => `pods.v1.pod-a/${jwt}`).concat(`pods.v1.pod-b/${unknown}`),
  repositories: [placeholder],
  blobs: digests.map((digest) => [placeholder, digest] as const),
};

test("whatever a stranger sends, an existing name, an absent name and a name without a Pod get the same answer", {
  timeout: fuzzTimeoutMs(runs),
}, async () => {
  // A request that breaks off sometimes gets an answer and sometimes none, so the test sends only whole requests.
  const whole = hostileRequest(materials).filter(isWhole);
  let named = 0;
  await fuzz(runs, whole, async (request) => {
    if (JSON.stringify(request).includes(placeholder.slice(-9))) named += 1;
    const answers: string[] = [];
    for (const name of names) answers.push(await ask(request, name));
    expect(new Set(answers).size, answers.join("\n")).toBe(1);
  });
  expect(named).toBeGreaterThan(runs / 4);
});

async function ask(request: HostileRequest, name: string): Promise<string> {
  const { text, ...rest } = rawRequest(request);
  const answer = await exchangeRaw(stack.current.edge, {
    ...rest,
    text: text.replaceAll(placeholder, name).replaceAll(encoded(placeholder), encoded(name)),
  });
  const visible = { ...answer, headers: answer?.headers.filter(([header]) => header !== "date") };
  // The components of the name are replaced one by one, because dot segments in the path may have removed one of them.
  return JSON.stringify(visible)
    .replaceAll(/globex|nobody/g, "<prefix>")
    .replaceAll(/private|absent7/g, "<last>");
}

const encoded = (name: string): string => encodeURIComponent(name);
