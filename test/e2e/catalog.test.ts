import { afterAll, beforeAll, expect, it } from "vitest";
import type { LocalPodId, PodKind } from "../../src/local/pods/start-pods.ts";
import { type Client, createClient, sha256 } from "../support/client.ts";
import { craneIn } from "./crane.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

describeWith([...needs.registryPods, "crane"], "catalog of docker-registry Pods", () => scenario("registry"));
describeWith([...needs.distributionPods, "crane"], "catalog of distribution v3 Pods", () =>
  scenario("distribution-v3"),
);

/** Names that sort differently by character, by component and by storage key. */
const suffixes = ["a", "a-b", "a/b", "a.b", "a_b", "a0", "ab", "a/b-c", "a/b/c", "b"];

function scenario(kind: PodKind): void {
  let stage: Stage;
  let token = "";
  const podIds = ["pod-a", "pod-b"] as const satisfies readonly LocalPodId[];
  beforeAll(async () => {
    stage = await openStage(kind);
    const client = createClient(stage.stack.edge);
    for (const prefix of ["acme", "globex"]) {
      for (const suffix of suffixes) await pushImage(client, `${prefix}/g/${suffix}`);
    }
    token = await client.token(["registry:catalog:*"]);
  });
  afterAll(() => stage?.close());

  async function catalogOf(pod: LocalPodId): Promise<readonly string[]> {
    const jwt =
      token
        .replace("pods.v1.", "")
        .split("~")
        .find((part) => part.startsWith(`${pod}/`)) ?? "";
    const answer = await createClient(stage.stack.pods[pod].registry.direct).get(
      "/v2/_catalog?n=1000",
      jwt.slice(pod.length + 1),
    );
    return ((await answer.json()) as { repositories: string[] }).repositories;
  }

  it("it is one Pod's, then the other's, as their prefixes sort, in pages of every size", async () => {
    const own = await Promise.all(podIds.map(catalogOf));
    // The stack has seeded two images on each Pod.
    expect(own.map((names) => names.length)).toEqual([suffixes.length + 2, suffixes.length + 2]);
    const all = own.flat();
    const client = createClient(stage.stack.edge);
    for (const n of [...Array.from({ length: all.length + 1 }, (_, index) => index + 1), 100, 1000]) {
      const found: string[] = [];
      for (let path: string | undefined = `/v2/_catalog?n=${n}`; path !== undefined; ) {
        const answer: Response = await client.get(path, token);
        const { repositories } = (await answer.json()) as { repositories: string[] };
        expect(repositories.length).toBeLessThanOrEqual(n);
        found.push(...repositories);
        path = /^<(\/v2\/[^>]+)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
      }
      expect(found, `n=${n}`).toEqual(all);
    }
  });

  it("crane lists all of it", async () => {
    const crane = craneIn(stage.dir);
    await crane("auth", "login", "-u", "demo", "-p", "demo", stage.host);
    const listed = (await crane("catalog", stage.host)).trim().split("\n");
    expect(listed.toSorted()).toEqual((await Promise.all(podIds.map(catalogOf))).flat().toSorted());
  });

  it.each(["0", "-1", "x", "1001"])("n=%s gets the registries' own answer", async (n) => {
    const jwt = /pod-a\/([^~]+)/.exec(token)?.[1] ?? "";
    const direct = await createClient(stage.stack.pods["pod-a"].registry.direct).get(`/v2/_catalog?n=${n}`, jwt);
    const answer = await createClient(stage.stack.edge).get(`/v2/_catalog?n=${n}`, token);
    expect(answer.status).toBe(direct.status);
    if (direct.status === 400) return expect(await answer.text()).toBe(await direct.text());
    // docker-registry 2.8 ignores a malformed `n`, and lists all names.
    const whole = (await Promise.all(podIds.map(catalogOf))).flat();
    const { repositories } = (await answer.json()) as { repositories: string[] };
    expect(repositories).toEqual(n === "0" ? [] : whole);
  });
}

async function pushImage(client: Client, name: string): Promise<void> {
  const token = await client.token([`repository:${name}:pull,push`]);
  const config = new TextEncoder().encode("{}");
  const digest = await sha256(config);
  const started = await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" });
  const location = `${started.headers.get("Location")}&digest=${digest}`;
  expect((await client.get(location, token, { method: "PUT", body: config })).status).toBe(201);
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const descriptor = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: config.length };
  const body = JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [] });
  const headers = { "Content-Type": mediaType };
  expect((await client.get(`/v2/${name}/manifests/1`, token, { method: "PUT", body, headers })).status).toBe(201);
}
