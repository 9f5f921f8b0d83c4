import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { type ClientInit, createClient, pushBlob } from "../support/client.ts";
import { run, succeed } from "./command.ts";
import { debianCtr } from "./ctr.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { makeImage, megabyte } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { allPods, describeWith, needs } from "./tools.ts";

describe.each(allPods)("%s Pods", (kind, tools) => {
  describeWith(tools, "mount within a Pod", () => sourceScenario(kind));
  describeWith(tools, "mount within a Pod,", () => formScenario(kind));
  describeWith(tools, "mount from the other Pod", () => scenario(kind));
});

/**
 * Jib cannot read the edge's token, so it asks for each mount, even for a mount that the token does not allow. A 401 would end Jib's push, so the
 * edge answers 202.
 */
function sourceScenario(kind: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(kind);
  });
  afterAll(() => stage?.close());

  it("from a repository that the token may not pull, Jib gets 202, where the Pod itself says 401", async () => {
    const { edge, pods } = stage.stack;
    const digest = await pushBlob(stage.stack, "acme/source", "a layer to mount");
    const query = `service=pod-a-registry&scope=repository:acme/target:pull,push`;
    const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
    const granted = await fetch(`${pods["pod-a"].token.url}/jwt/auth?${query}`, { headers });
    const { token: ofPod } = (await granted.json()) as { token: string };
    const path = `/v2/acme/target/blobs/uploads/?mount=${digest}&from=acme/source`;
    expect((await createClient(pods["pod-a"].registry.url).get(path, ofPod, { method: "POST" })).status).toBe(401);
    const client = createClient(edge);
    const token = await client.token(["repository:acme/target:pull,push"]);
    const answer = await client.get(path, token, {
      method: "POST",
      headers: { "User-Agent": "jib 3.4.6 jib-maven-plugin" },
    });
    expect([answer.status, answer.headers.get("Location")]).toEqual([202, expect.stringContaining("/blobs/uploads/")]);
    const both = await client.token(["repository:acme/target:pull,push", "repository:acme/source:pull"]);
    expect((await client.get(path, both, { method: "POST" })).status).toBe(201);
  });
}

/** Registries also read the parameters of a mount from a form in the body, where the edge does not look for them. */
function formScenario(kind: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(kind);
  });
  afterAll(() => stage?.close());

  it("that is asked for in a form begins an upload, so that a blocked repository stays closed", async () => {
    const { stack } = stage;
    const digest = await pushBlob(stack, "acme/leaked", "a layer that was leaked");
    await stack.putKv("blocks", JSON.stringify({ v: 1, revision: 2, blocks: { "acme/leaked": "removed" } }));
    await stack.restartEdge();
    const client = createClient(stack.edge);
    const token = await client.token(["repository:acme/taken:pull,push", "repository:acme/leaked:pull"]);
    const form = new URLSearchParams({ mount: digest, from: "acme/leaked" });
    const parts = new FormData();
    for (const [name, value] of form) parts.set(name, value);
    // These are the UTF-8 bytes of U+0085 and U+0130. Go's parser of media types reads the first character as a space, and the second as an
    // upper-case i.
    const typed = ["\u00c2\u0085application/x-www-form-urlencoded", "appl\u00c4\u00b0cation/x-www-form-urlencoded"];
    const inits: readonly ClientInit[] = [
      ...[form, parts].map((body) => ({ body })),
      ...typed.map((type) => ({ body: form.toString(), headers: { "Content-Type": type } })),
    ];
    for (const init of inits) {
      const answer = await client.get("/v2/acme/taken/blobs/uploads/", token, { method: "POST", ...init });
      expect([answer.status, answer.headers.get("Location")]).toEqual([202, expect.stringContaining("_pod=")]);
    }
    expect((await client.get(`/v2/acme/taken/blobs/${digest}`, token)).status).toBe(404);
  });
}

function scenario(kind: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(kind);
  });
  afterAll(() => stage?.close());

  /** Expects that each mount got 202, that the target image is whole, and that no token service was asked for the same thing twice. */
  async function expectMounted(target: string): Promise<void> {
    const { stack } = stage;
    await expectPodsApart(stack);
    const mounts = stack.edgeSeen().filter(({ method, path }) => method === "POST" && path.includes("from="));
    expect(mounts.length).toBeGreaterThan(0);
    expect(mounts.map(({ status, podRequests }) => [status, podRequests])).toEqual(mounts.map(() => [202, 1]));
    // containerd first sends a form to the token endpoint and gets 404, so we look only at requests that got 200.
    const asked = stack.edgeSeen().filter(({ endpoint, status }) => endpoint === "token" && status === 200);
    const scopes = asked.map(({ path }) => new URL(path, stack.edge).searchParams.getAll("scope").join(" "));
    expect(scopes.some((text) => text.includes("acme/") && text.includes("globex/"))).toBe(true);
    expect(scopes.toSorted()).toEqual([...new Set(scopes)].toSorted());
    for (const [pod, prefix] of [
      ["pod-a", "acme"],
      ["pod-b", "globex"],
    ] as const) {
      // A login names no repository, so the default Pod answers it.
      const own = scopes.filter((text) => text.includes(`:${prefix}/`) || (text === "" && pod === "pod-a"));
      expect(stack.seen(pod, "token").filter(({ status }) => status === 200).length, pod).toBe(own.length);
    }
    const client = createClient(stack.edge);
    const token = await client.token([`repository:${target}:pull`]);
    const accept = {
      Accept: "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
    };
    const manifest = await client.get(`/v2/${target}/manifests/1`, token, { headers: accept });
    const { layers } = (await manifest.json()) as { layers: { digest: string; size: number }[] };
    expect(layers).toHaveLength(1);
    const blob = await client.get(`/v2/${target}/blobs/${layers[0]?.digest}`, token, { redirect: "follow" });
    expect((await blob.arrayBuffer()).byteLength).toBe(layers[0]?.size);
    stack.clearSeen();
  }

  describeWith(["skopeo"], "by skopeo", () => {
    it("`skopeo copy` gets 202, and the copy is whole", async () => {
      const skopeo = skopeoIn(stage.dir);
      await makeImage(`${stage.dir}/one`, [megabyte]);
      await skopeo("login", "--username", "demo", "--password", "demo", stage.host);
      await skopeo("copy", `oci:${stage.dir}/one:image`, `docker://${stage.host}/acme/skopeo:1`);
      stage.stack.clearSeen();
      await skopeo("copy", `docker://${stage.host}/acme/skopeo:1`, `docker://${stage.host}/globex/skopeo:1`);
      await expectMounted("globex/skopeo");
    });
  });

  describeWith([...needs.dockerd, "ctr", "skopeo"], "by docker and ctr", () => {
    it("`docker push` and `ctr push` get 202, and the push is whole", async () => {
      const docker = await dockerIn(stage.dir);
      try {
        await pushTwice(docker, `${stage.host}/globex/docker:1`, `${stage.host}/acme/docker:1`);
        await expectMounted("acme/docker");
        await pullAndPush(docker.containerd, `${stage.host}/globex/ctr:1`, `${stage.host}/acme/ctr:1`);
        await expectMounted("acme/ctr");
      } finally {
        await docker.stop();
      }
    });
  });

  /** containerd remembers where it pulled a blob from, and asks to mount it from there. */
  async function pullAndPush(socket: string, source: string, target: string): Promise<void> {
    await makeImage(`${stage.dir}/ctr`, [megabyte]);
    const skopeo = skopeoIn(stage.dir);
    await skopeo("copy", "--dest-creds", "demo:demo", `oci:${stage.dir}/ctr:image`, `docker://${source}`);
    const login = ["--plain-http", "--user", "demo:demo"];
    const ctr = (command: string, ...args: readonly string[]) =>
      succeed(run(debianCtr, ["-a", socket, "images", command, ...login, ...args]), `ctr ${command}`);
    await ctr("pull", "--snapshotter", "native", source);
    stage.stack.clearSeen();
    await ctr("push", target, source);
  }

  async function pushTwice(docker: Docker, source: string, target: string): Promise<void> {
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
    await buildImage(docker, source, { dir: stage.dir, layerSizes: [megabyte] });
    await docker("push", source);
    await docker("tag", source, target);
    stage.stack.clearSeen();
    await docker("push", target);
  }
}
