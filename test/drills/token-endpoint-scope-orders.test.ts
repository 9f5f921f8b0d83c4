import { decodeJwt } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { parseScopes } from "../../src/oci/scope.ts";
import { createClient } from "../support/client.ts";
import { answerFormsToo, asTokenServices, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const tokenServices = { "pod-a": await startOddPod(), "pod-b": await startOddPod() };
const stack = useStack({ topology: asTokenServices(tokenServices["pod-a"], tokenServices["pod-b"]) });
const pods = ["pod-a", "pod-b"] as const;
beforeAll(() => {
  for (const pod of pods) answerFormsToo(tokenServices[pod], stack.current.pods[pod].token.direct);
});

type Granted = { readonly status: number; readonly access: readonly string[]; readonly token: string | null };
const podOf = (scope: string): LocalPodId => (scope.startsWith("repository:acme/") ? "pod-a" : "pod-b");
const isWrite = (scope: string): boolean => /:[^:]*(push|delete|\*)[^:]*$/.test(scope);
const accessOf = (jwt: string): readonly string[] =>
  (decodeJwt(jwt)["access"] as { type: string; name: string; actions: string[] }[])
    .map(({ type, name, actions }) => `${type}:${name}:${actions.toSorted().join(",")}`)
    .toSorted();

/** Yields every ordered choice of one to four of the scopes. */
function* permutations(scopes: readonly string[]): Generator<readonly string[]> {
  for (const scope of scopes) {
    yield [scope];
    for (const rest of permutations(scopes.filter((other) => other !== scope))) yield [scope, ...rest];
  }
}

type Encoding = "repeated" | "joined" | "repeated form" | "joined form";
const encodings: readonly Encoding[] = ["repeated", "joined", "repeated form", "joined form"];

async function askEdge(scopes: readonly string[], user: string | null, encoding: Encoding): Promise<Granted> {
  const values = encoding.startsWith("joined") ? [scopes.join(" ")] : scopes;
  const parameters = new URLSearchParams([["service", "registry-edge"], ...values.map((value) => ["scope", value])]);
  const realm = `${stack.current.edge}/jwt/auth`;
  if (!encoding.endsWith("form")) {
    const headers: HeadersInit = user === null ? {} : { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
    return granted(await fetch(`${realm}?${parameters.toString()}`, { headers }));
  }
  const password = user === null ? {} : { grant_type: "password", username: user, password: user };
  const form = new URLSearchParams([...Object.entries(password), ...parameters]);
  return granted(await fetch(realm, { method: "POST", body: form }));
}

const known = new Map<string, Promise<Granted>>();

function askPod(pod: LocalPodId, scopes: readonly string[], user: string | null): Promise<Granted> {
  const query = new URLSearchParams([["service", `${pod}-registry`], ...scopes.map((scope) => ["scope", scope])]);
  const url = `${stack.current.pods[pod].token.direct}/jwt/auth?${query.toString()}`;
  const headers: HeadersInit = user === null ? {} : { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
  const answer = known.get(`${user} ${url}`) ?? fetch(url, { headers }).then(granted);
  known.set(`${user} ${url}`, answer);
  return answer;
}

async function granted(answer: Response): Promise<Granted> {
  if (answer.status !== 200) return { status: answer.status, access: [], token: null };
  const { token } = (await answer.json()) as { token: string };
  const jwts = token.replace(/^pods\.v1\./, "").split("~");
  return { status: 200, access: jwts.flatMap((jwt) => accessOf(jwt.replace(/^pod-[ab]\//, ""))).toSorted(), token };
}

/**
 * A Pod's refusal is the answer if one of its scopes asks for more than a pull. Otherwise, the token just lacks this Pod's part. If every Pod
 * refuses, the client gets the first refusal.
 */
async function expectedOf(scopes: readonly string[], user: string | null): Promise<Omit<Granted, "token">> {
  const asked = await Promise.all(
    [...new Set(scopes.map(podOf))].map(async (pod) => {
      const own = scopes.filter((scope) => podOf(scope) === pod);
      return { ...(await askPod(pod, own, user)), decides: own.some(isWrite) };
    }),
  );
  const refused = asked.filter(({ status }) => status !== 200);
  const decisive = refused.find(({ decides }) => decides) ?? (refused.length === asked.length ? refused[0] : undefined);
  if (decisive !== undefined) return { status: decisive.status, access: [] };
  return { status: 200, access: asked.flatMap(({ access }) => access).toSorted() };
}

/** For each scope's repository, the statuses of a pull, of a list of tags, of the start of a push, and of a delete. */
async function opened(
  originOf: (scope: string) => string,
  scopes: readonly string[],
  tokenOf: (scope: string) => Promise<string | null>,
) {
  const absent = `sha256:${"0".repeat(64)}`;
  const statuses = scopes.map(async (scope) => {
    const [, name = ""] = /^repository:(.*):/.exec(scope) ?? [];
    const client = createClient(originOf(scope));
    const token = await tokenOf(scope);
    const answers = await Promise.all([
      client.get(`/v2/${name}/manifests/1`, token),
      client.get(`/v2/${name}/tags/list`, token),
      client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" }),
      client.get(`/v2/${name}/manifests/${absent}`, token, { method: "DELETE" }),
    ]);
    return answers.map(({ status }) => status);
  });
  return Promise.all(statuses);
}

describe.each([
  [
    "demo",
    [
      "repository:acme/private:pull",
      "repository:globex/new:push,pull",
      "repository:globex/private:pull",
      "repository:acme/new:pull,push",
    ],
  ],
  [
    "reader",
    [
      "repository:acme/private:pull,push",
      "repository:globex/hello:*",
      "repository:acme/hello:delete",
      "repository:globex/private:pull",
    ],
  ],
  [
    null,
    [
      "repository:acme/hello:pull",
      "repository:globex/private:pull",
      "repository:globex/public/x:pull,push",
      "repository:acme/private:push",
    ],
  ],
] as const)("scopes of two Pods, asked by %s", (user, scopes) => {
  const sequences = [...permutations(scopes)];

  test("every order and encoding gets what each Pod grants for its own scopes", async () => {
    expect(sequences).toHaveLength(64);
    for (const sequence of sequences) {
      const expected = await expectedOf(sequence, user);
      const answers = await Promise.all(encodings.map((encoding) => askEdge(sequence, user, encoding)));
      for (const [index, { status, access }] of answers.entries()) {
        expect({ status, access }, `${encodings[index]}: ${sequence.join(" ")}`).toEqual(expected);
      }
    }
    // Without any grant, the comparison above would prove nothing. So the first scope must be granted.
    expect(parseScopes((await expectedOf([scopes[0]], user)).access)).not.toEqual([]);
  });

  test("the bundle gives access to exactly what the Pods' own tokens allow", async () => {
    const direct = (scope: string) => stack.current.pods[podOf(scope)].registry.direct;
    const sets = sequences.filter((sequence) => sequence.join() === sequence.toSorted().join());
    expect(sets).toHaveLength(15);
    for (const set of sets) {
      const { token } = await askEdge(set, user, "joined");
      if (token === null) continue;
      const ofPod = async (scope: string) => {
        const own = set.filter((other) => podOf(other) === podOf(scope));
        return own.length === 0 ? null : (await askPod(podOf(scope), own, user)).token;
      };
      expect(
        await opened(
          () => stack.current.edge,
          scopes,
          async () => token,
        ),
        set.join(" "),
      ).toEqual(await opened(direct, scopes, ofPod));
    }
  });
});
