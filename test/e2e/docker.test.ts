import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { createClient } from "../support/client.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { megabyte } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { blobRedirects, expectPodsApart } from "./taps.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.docker, "dockerd with docker-registry Pods", () => {
  let stage: Stage;
  let docker: Docker;
  const remote = (image: string) => `${stage.host}/${image}`;

  beforeAll(async () => {
    stage = await openStage("registry");
    docker = await dockerIn(stage.dir);
  });
  afterEach(async () => {
    await expectPodsApart(stage.stack);
    stage.stack.clearSeen();
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
  });

  it("it pulls a public image without a login, but not a private one", async () => {
    expect(await docker("pull", remote("globex/hello:1"))).toContain("Downloaded newer image");
    await stage.stack.edgeSettled();
    // The image has a config and a layer.
    expect(blobRedirects(stage.stack, "pod-b")).toBe(2);
    const refused = await docker.attempt("pull", remote("globex/private:1"));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("access forbidden");
  });

  it("its login fails with a wrong password and succeeds with the right one", async () => {
    const login = (password: string) => docker.attempt("login", "-u", "demo", "-p", password, stage.host);
    const wrong = await login("wrong");
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("unauthorized");
    expect((await login("demo")).stdout).toContain("Login Succeeded");
  });

  it("it pushes and pulls layers of 20 MB and 200 MB", async () => {
    const image = remote("acme/app:big");
    const id = await build(image, [20 * megabyte, 200 * megabyte]);
    await docker("push", image);
    await docker("image", "rm", image);
    stage.stack.clearSeen();
    await docker("pull", image);
    expect(await idOf(image)).toBe(id);
    await stage.stack.edgeSettled();
    expect(blobRedirects(stage.stack, "pod-a")).toBe(3);
  });

  it("it pulls by digest", async () => {
    const image = remote("acme/app:big");
    const [id, digest] = [await idOf(image), await digestOf(image)];
    const byDigest = remote(`acme/app@${digest}`);
    await docker("image", "rm", image);
    await docker("pull", byDigest);
    expect(await idOf(byDigest)).toBe(id);
  });

  it("it pushes to both Pods with one login", async () => {
    const id = await build(remote("acme/both:1"), [megabyte]);
    await docker("tag", remote("acme/both:1"), remote("globex/both:1"));
    for (const name of ["acme/both:1", "globex/both:1"]) await docker("push", remote(name));
    await docker("image", "rm", remote("acme/both:1"), remote("globex/both:1"));
    for (const name of ["acme/both:1", "globex/both:1"]) {
      await docker("pull", remote(name));
      expect(await idOf(remote(name))).toBe(id);
      await docker("image", "rm", remote(name));
    }
  });

  it("it pushes a multi-arch index and pulls the image for this machine", async () => {
    const index = remote("acme/multi:1");
    const images = ["amd64", "arm64"].map((architecture) => remote(`acme/multi:${architecture}`));
    const ids = [await build(images[0] ?? "", [megabyte]), await build(images[1] ?? "", [megabyte])];
    for (const image of images) await docker("push", image);
    await docker("manifest", "create", "--insecure", index, ...images);
    await docker("manifest", "annotate", "--arch", "arm64", index, images[1] ?? "");
    const pushed = (await docker("manifest", "push", "--insecure", index)).trim();
    await docker("image", "rm", ...images);
    await docker("pull", index);
    expect(await idOf(index)).toBe(ids[0]);
    expect(await digestOf(index)).toBe(pushed);
    await docker("pull", "--platform", "linux/arm64", index);
    expect(await idOf(index)).toBe(ids[1]);
  });

  it("it finds no image that was deleted by digest", async () => {
    // docker has no command that deletes an image of a registry.
    const client = createClient(stage.stack.edge);
    const token = await client.token(["repository:acme/both:pull,delete"]);
    const accept = { Accept: "application/vnd.docker.distribution.manifest.v2+json" };
    const head = await client.get("/v2/acme/both/manifests/1", token, { method: "HEAD", headers: accept });
    const digest = head.headers.get("Docker-Content-Digest") ?? "";
    const deleted = await client.get(`/v2/acme/both/manifests/${digest}`, token, { method: "DELETE" });
    expect(deleted.status).toBe(202);
    for (const image of ["acme/both:1", `acme/both@${digest}`]) {
      const gone = await docker.attempt("pull", remote(image));
      expect(gone.code).not.toBe(0);
      expect(gone.stderr).toContain("manifest unknown");
    }
    await docker("pull", remote("globex/both:1"));
  });

  async function build(image: string, layerSizes: readonly number[]): Promise<string> {
    await buildImage(docker, image, { dir: stage.dir, layerSizes });
    return idOf(image);
  }

  const idOf = async (image: string): Promise<string> =>
    (await docker("image", "inspect", "--format", "{{.Id}}", image)).trim();
  const digestOf = async (image: string): Promise<string> =>
    (await docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image)).trim().split("@")[1] ?? "";
});
