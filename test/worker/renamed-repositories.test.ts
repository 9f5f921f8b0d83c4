import { beforeAll, describe, expect, test } from "vitest";
import { parseChallenge } from "../../src/oci/challenge.ts";
import { formatScope } from "../../src/oci/scope.ts";
import { createClient, layersOf, sha256 } from "../support/client.ts";
import { putManifest } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { keepManifest } from "../support/pull.ts";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const aliases = "aliases: { acme/old: acme/private, hooli/app: globex/private, acme/leaked/old: acme/hello }";

describe("renamed repository", () => {
  const stack = useStack({
    topology: (text) => `${withoutDefault(text)}\n${aliases}\nblocks: { acme/leaked: "Withdrawn." }\n`,
  });
  const client = () => createClient(stack.current.edge);
  const seenPaths = () =>
    (["pod-a", "pod-b"] as const).flatMap((pod) =>
      (["registry", "token", "storage"] as const).flatMap((service) =>
        stack.current.seen(pod, service).map(({ method, path }) => `${pod} ${method} ${decodeURIComponent(path)}`),
      ),
    );

  test.each([
    ["acme/old", "acme/private", "pod-a"],
    ["hooli/app", "globex/private", "pod-b"],
  ] as const)(
    "%s is pulled from %s at %s, which sees only the new name, and storage sees no token",
    async (old, name, pod) => {
      stack.current.clearSeen();
      const token = await client().token([`repository:${old}:pull`]);
      const byTag = await client().get(`/v2/${old}/manifests/1`, token);
      const manifest = await byTag.text();
      const digest = byTag.headers.get("Docker-Content-Digest") ?? "";
      expect([byTag.status, await sha256(new Uint8Array(Buffer.from(manifest)))]).toEqual([200, digest]);
      const byDigest = await client().get(`/v2/${old}/manifests/${digest}`, token);
      const head = await client().get(`/v2/${old}/manifests/1`, token, { method: "HEAD" });
      expect([byDigest.status, await byDigest.text(), head.status]).toEqual([200, manifest, 200]);
      const { layers } = JSON.parse(manifest) as { layers: { digest: string; size: number }[] };
      const redirect = await client().get(`/v2/${old}/blobs/${layers[0]?.digest ?? ""}`, token);
      expect(redirect.status).toBe(307);
      const blob = new Uint8Array(await (await fetch(redirect.headers.get("Location") ?? "")).arrayBuffer());
      expect(await sha256(blob)).toBe(layers[0]?.digest);
      const referrers = await client().get(`/v2/${old}/referrers/${digest}`, token);
      const tags = await client().get(`/v2/${old}/tags/list`, token);
      expect([referrers.status, tags.status, await tags.json()]).toEqual([200, 200, { name, tags: ["1"] }]);
      const seen = seenPaths();
      expect(seen.filter((path) => path.includes(old))).toEqual([]);
      expect(seen.filter((path) => !path.startsWith(pod))).toEqual([]);
      expect(seen).toContain(`${pod} GET /v2/${name}/manifests/1`);
      expect(seen.join()).toContain(`scope=repository:${name}:pull`);
      expect(stack.current.seen(pod, "storage").map(({ authorization }) => authorization)).not.toContain("bearer");
    },
  );

  test("one token serves both names, and a token for only the new name serves the old one", async () => {
    for (const scopes of [
      ["repository:acme/old:pull", "repository:acme/private:pull"],
      ["repository:acme/private:pull"],
    ]) {
      const token = await client().token(scopes);
      for (const name of ["acme/old", "acme/private"]) {
        expect((await client().get(`/v2/${name}/manifests/1`, token)).status, name).toBe(200);
      }
    }
  });

  test("each write under the old name gets 403 DENIED with the new name, and reaches no Pod", async () => {
    const token = await client().token(["repository:acme/old:pull,push,delete"]);
    const [layer] = await layersOf(stack.current, "acme/private");
    stack.current.clearSeen();
    const writes: [string, string][] = [
      ["POST", "/v2/acme/old/blobs/uploads/"],
      ["POST", `/v2/acme/old/blobs/uploads/?mount=${layer?.digest}&from=acme/private`],
      ["PUT", "/v2/acme/old/manifests/2"],
      ["DELETE", "/v2/acme/old/manifests/1"],
      ["DELETE", `/v2/acme/old/blobs/${layer?.digest}`],
    ];
    for (const [method, path] of writes) {
      const answer = await client().get(path, token, { method });
      expect([answer.status, await answer.json()], `${method} ${path}`).toEqual([
        403,
        { errors: [{ code: "DENIED", message: '"acme/old" is now "acme/private"; push to that name' }] },
      ]);
    }
    expect(seenPaths()).toEqual([]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "refused", cause: "renamed" });
  });

  test("a challenge asks for the old name, and what the token lacks is not told from a free name", async () => {
    const challenge = async (name: string, token: string | null) => {
      const answer = await client().get(`/v2/${name}/manifests/1`, token);
      const text = [answer.status, answer.headers.get("WWW-Authenticate"), await answer.text()].join("\n");
      expect(text).toContain(`scope="repository:${name}:pull"`);
      return text.replaceAll(name, "NAME");
    };
    const other = await client().token(["repository:acme/hello:pull"]);
    for (const token of [null, other]) {
      expect(await challenge("acme/old", token)).toBe(await challenge("hooli/free", token));
    }
    const anonymous = async (name: string) => {
      const url = `${stack.current.edge}/jwt/auth?service=registry-edge&scope=repository:${name}:pull`;
      const answer = await fetch(url);
      return [answer.status, await answer.text()];
    };
    expect(await anonymous("acme/old")).toEqual(await anonymous("hooli/free"));
  });

  test("a mount from the old name is one from the new name", async () => {
    const [layer] = await layersOf(stack.current, "acme/private");
    const token = await client().token(["repository:acme/copy:pull,push", "repository:acme/old:pull"]);
    stack.current.clearSeen();
    const mount = `/v2/acme/copy/blobs/uploads/?mount=${layer?.digest}&from=acme/old`;
    const mounted = await client().get(mount, token, { method: "POST" });
    expect([mounted.status, mounted.headers.get("Location")]).toEqual([201, `/v2/acme/copy/blobs/${layer?.digest}`]);
    expect(seenPaths().join()).toContain("from=acme/private");
    expect(seenPaths().join()).not.toContain("acme/old");
  });

  test("a mount from the old name with a token for only the target gets a challenge whose token makes the mount", async () => {
    const [layer] = await layersOf(stack.current, "acme/private");
    const mount = `/v2/acme/follows/blobs/uploads/?mount=${layer?.digest}&from=acme/old`;
    const lacking = await client().token(["repository:acme/follows:pull,push"]);
    stack.current.clearSeen();
    const refused = await client().get(mount, lacking, { method: "POST" });
    const challenge = parseChallenge(refused.headers.get("WWW-Authenticate"));
    const scopes = challenge?.access.map(formatScope) ?? [];
    expect([refused.status, challenge?.error, scopes]).toEqual([
      401,
      "insufficient_scope",
      ["repository:acme/follows:pull,push", "repository:acme/old:pull"],
    ]);
    const mounted = await client().get(mount, await client().token(scopes), { method: "POST" });
    expect([mounted.status, mounted.headers.get("Location")]).toEqual([201, `/v2/acme/follows/blobs/${layer?.digest}`]);
    const posts = seenPaths().filter((path) => path.includes("POST"));
    const sent = `pod-a POST /v2/acme/follows/blobs/uploads/?mount=${layer?.digest}&from=acme/private`;
    expect(posts).toEqual([sent, sent]);
    expect(stack.current.seen("pod-a", "storage").map(({ authorization }) => authorization)).not.toContain("bearer");
  });

  test("a block of the old name or of the new name holds", async () => {
    const token = await client().token(["repository:acme/leaked/old:pull", "repository:acme/old:pull"]);
    expect((await client().get("/v2/acme/leaked/old/manifests/1", token)).status).toBe(403);
    expect((await client().get("/v2/acme/old/manifests/1", token)).status).toBe(200);
    await stack.current.putKv("blocks", '{"v":1,"revision":2,"blocks":{"acme/private":"Leaked."}}');
    await stack.current.restartEdge();
    const blocked = await client().get("/v2/acme/old/manifests/1", token);
    expect([blocked.status, await blocked.json()]).toEqual([403, { errors: [{ code: "DENIED", message: "Leaked." }] }]);
    await stack.current.deleteKv("blocks");
    await stack.current.restartEdge();
  });

  test("a link to the next page of tags has the old name, and leads to that page", async () => {
    const token = await client().token(["repository:acme/old:pull"]);
    const manifest = await (await client().get("/v2/acme/old/manifests/1", token)).text();
    expect((await putManifest(stack.current, "acme/private", "2", manifest)).status).toBe(201);
    const first = await client().get("/v2/acme/old/tags/list?n=1", token);
    const link = /<([^>]*)>; *rel="?next"?/.exec(first.headers.get("Link") ?? "")?.[1] ?? "";
    expect(link).toMatch(/^\/v2\/acme\/old\/tags\/list\?/);
    expect(await (await client().get(link, token)).json()).toEqual({ name: "acme/private", tags: ["2"] });
  });

  test("while the Pod fails, what was pulled under the new name is pulled under the old one", async () => {
    const token = await client().token(["repository:acme/old:pull"]);
    const digest = (await client().get("/v2/acme/private/manifests/1", token)).headers.get("Docker-Content-Digest");
    await keepManifest(stack.current, "acme/private", digest ?? "");
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    const held = await client().get("/v2/acme/old/manifests/1", token);
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    expect([held.status, held.headers.get("Docker-Content-Digest"), held.headers.has("Warning")]).toEqual([
      200,
      digest,
      true,
    ]);
  });
});

describe("answer about a renamed repository", async () => {
  const pod = await startOddPod();
  const stack = useStack({
    seedImages: false,
    topology: (text) => `${asPodB(pod)(text)}\naliases: { globex/old: globex/team/new }\n`,
  });
  const digest = `sha256:${"d".repeat(64)}`;
  let token: string;
  beforeAll(async () => {
    token = await createClient(stack.current.edge).token(["repository:globex/old:pull,push"]);
  });

  test.each([
    ["manifests/1", 307, "/v2/globex/team/new/manifests/2", "/v2/globex/old/manifests/2"],
    ["manifests/1", 307, "/v2/globex/team/new/manifests/2?a=b%2Fc", "/v2/globex/old/manifests/2?a=b%2Fc"],
    [`referrers/${digest}`, 301, `/v2/globex/team/new/referrers/${digest}`, `/v2/globex/old/referrers/${digest}`],
    ["manifests/1", 307, "/v2/globex/old/manifests/2", null],
    ["manifests/1", 307, "/v2/globex/team/newer/manifests/2", null],
  ])("to %s, %d with Location %s leads to %s", async (path, status, location, expected) => {
    pod.answer((response) => void response.writeHead(status, { Location: location }).end());
    const answer = await createClient(stack.current.edge).get(`/v2/globex/old/${path}`, token);
    expect([answer.status, answer.headers.get("Location")]).toEqual([expected === null ? 502 : status, expected]);
    expect(pod.seen.map((seen) => seen.path)).toEqual([`/v2/globex/team/new/${path}`]);
  });

  test("a Link leads to the old name, and a Pod's challenge becomes one for the old name", async () => {
    const link = '</v2/globex/team/new/tags/list?n=1&last=1>; rel="next"';
    pod.answer(
      (response) => void response.writeHead(200, { Link: link }).end('{"name":"globex/team/new","tags":["1"]}'),
    );
    const listed = await createClient(stack.current.edge).get("/v2/globex/old/tags/list?n=1", token);
    expect(listed.headers.get("Link")).toBe('</v2/globex/old/tags/list?n=1&last=1>; rel="next"');
    const challenge =
      'Bearer realm="http://x",service="s",scope="repository:globex/team/new:pull",error="invalid_token"';
    pod.answer((response) => void response.writeHead(401, { "WWW-Authenticate": challenge }).end());
    const refused = await createClient(stack.current.edge).get("/v2/globex/old/tags/list", token);
    expect([refused.status, refused.headers.get("WWW-Authenticate")]).toEqual([
      401,
      expect.stringContaining('scope="repository:globex/old:pull",error="invalid_token"'),
    ]);
  });
});
