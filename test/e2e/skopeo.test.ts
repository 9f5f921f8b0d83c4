import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { blobFile, digestOf, makeImage, makeMultiArchImage, megabyte } from "./images.ts";
import { type Skopeo, skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { blobRedirects, expectPodsApart } from "./taps.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.skopeo, "skopeo with docker-registry Pods", () => scenario("registry"));
describeWith([...needs.distributionPods, "skopeo"], "skopeo with distribution v3 Pods", () =>
  scenario("distribution-v3"),
);

function scenario(pods: PodKind): void {
  let stage: Stage;
  let skopeo: Skopeo;
  const remote = (image: string) => `docker://${stage.host}/${image}`;
  const local = (layout: string) => `oci:${stage.dir}/${layout}:image`;

  beforeAll(async () => {
    stage = await openStage(pods);
    skopeo = skopeoIn(stage.dir);
  });
  afterEach(async () => {
    await expectPodsApart(stage.stack);
    stage.stack.clearSeen();
  });
  afterAll(() => stage?.close());

  it("its login fails with a wrong password and succeeds with the right one", async () => {
    const wrong = await skopeo.attempt("login", "--username", "demo", "--password", "wrong", stage.host);
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("invalid username/password");
    expect(await skopeo("login", "--username", "demo", "--password", "demo", stage.host)).toContain("Login Succeeded");
  });

  it("it pushes and pulls layers of 20 MB and 200 MB", async () => {
    const made = await makeImage(`${stage.dir}/big`, [20 * megabyte, 200 * megabyte]);
    await skopeo("copy", "--preserve-digests", local("big"), remote("acme/app:big"));
    await skopeo("copy", "--preserve-digests", remote("acme/app:big"), local("big-back"));
    expect(await onlyManifest("big-back")).toMatchObject({ digest: made.digest, size: made.size });
    // The image has two layers and a config.
    await stage.stack.edgeSettled();
    expect(blobRedirects(stage.stack, "pod-a")).toBe(3);
  });

  it("it pushes an image index with all its platforms and pulls it again", async () => {
    const made = await makeMultiArchImage(`${stage.dir}/multi`, megabyte);
    await skopeo("copy", "--all", "--preserve-digests", local("multi"), remote("acme/app:multi"));
    const raw = await skopeo("inspect", "--raw", remote("acme/app:multi"));
    expect(digestOf(raw)).toBe(made.digest);
    await skopeo("copy", "--all", "--preserve-digests", remote("acme/app:multi"), local("multi-back"));
    expect(await onlyManifest("multi-back")).toMatchObject({ digest: made.digest });
    expect(blobRedirects(stage.stack, "pod-a")).toBe(4);
  });

  it("it pulls by digest", async () => {
    const { digest } = await onlyManifest("multi");
    const index = JSON.parse(await readFile(blobFile(`${stage.dir}/multi`, digest), "utf8")) as {
      manifests: { digest: string }[];
    };
    const [amd64] = index.manifests;
    await skopeo("copy", "--preserve-digests", remote(`acme/app@${digest}`), local("one"));
    expect((await onlyManifest("one")).digest).toBe(amd64?.digest);
  });

  it("it inspects an image and lists its tags", async () => {
    const inspected = JSON.parse(await skopeo("inspect", remote("acme/app:big"))) as { Layers: string[]; Os: string };
    expect(inspected).toMatchObject({ Os: "linux" });
    expect(inspected.Layers).toHaveLength(2);
    expect(JSON.parse(await skopeo("list-tags", remote("acme/app")))).toMatchObject({ Tags: ["big", "multi"] });
  });

  it("it pulls a public image without a login, but not a private one", async () => {
    await skopeo("copy", "--src-no-creds", remote("globex/hello:1"), local("public"));
    const refused = await skopeo.attempt("copy", "--src-no-creds", remote("globex/private:1"), local("refused"));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("403 (Forbidden)");
  });

  it("it pushes to both Pods with one login", async () => {
    const made = await makeImage(`${stage.dir}/both`, [megabyte]);
    for (const name of ["acme/both", "globex/both"]) {
      await skopeo("copy", "--preserve-digests", local("both"), remote(`${name}:1`));
      expect(await skopeo("inspect", "--format", "{{.Digest}}", remote(`${name}:1`))).toBe(`${made.digest}\n`);
    }
  });

  it("it copies an image from one Pod to the other", async () => {
    await skopeo("copy", "--preserve-digests", remote("acme/both:1"), remote("globex/copied:1"));
    await skopeo("copy", remote("globex/copied:1"), local("copied"));
  });

  it("it deletes by digest", async () => {
    const { digest } = await onlyManifest("both");
    await skopeo("delete", remote(`acme/both@${digest}`));
    const gone = await skopeo.attempt("inspect", remote("acme/both:1"));
    expect(gone.code).not.toBe(0);
    expect(gone.stderr).toContain("manifest unknown");
    await skopeo("inspect", remote("globex/both:1"));
  });

  async function onlyManifest(layout: string) {
    const index = JSON.parse(await readFile(`${stage.dir}/${layout}/index.json`, "utf8")) as {
      manifests: [{ digest: string; size: number }];
    };
    return index.manifests[0];
  }
}
