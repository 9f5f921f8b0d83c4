import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type Ended, run, succeed } from "./command.ts";
import { debianCtr } from "./ctr.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { makeImage, megabyte } from "./images.ts";
import { type Skopeo, skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs, toolPath } from "./tools.ts";

const renamed = '"acme/old" is now "acme/team/new"; push to that name';

describeWith([...needs.docker, "skopeo", "ctr", "crane"], "renamed repository with docker-registry Pods", () => {
  let stage: Stage;
  let docker: Docker;
  let skopeo: Skopeo;
  const login = ["--plain-http", "--user", "demo:demo"];
  const remote = (image: string) => `${stage.host}/${image}`;
  const ctr = (command: string, ...args: readonly string[]): Promise<Ended> =>
    run(debianCtr, ["-a", docker.containerd, "images", command, ...login, ...args]);

  beforeAll(async () => {
    stage = await openStage("registry", { topology: (text) => `${text}\naliases: { acme/old: acme/team/new }\n` });
    docker = await dockerIn(stage.dir);
    skopeo = skopeoIn(stage.dir);
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
    await makeImage(`${stage.dir}/image`, [megabyte, megabyte]);
    const made = `oci:${stage.dir}/image:image`;
    await skopeo("copy", "--dest-creds", "demo:demo", made, `docker://${remote("acme/team/new:1")}`);
    stage.stack.clearSeen();
  });
  afterEach(async () => {
    await stage.stack.edgeSettled();
    const seen = (["registry", "token", "storage"] as const).flatMap((service) => stage.stack.seen("pod-a", service));
    const withOldName = seen.map(({ path }) => decodeURIComponent(path)).filter((path) => path.includes("acme/old"));
    expect(withOldName, "requests that showed the old name to the Pod").toEqual([]);
    const toStorage = stage.stack.seen("pod-a", "storage").map(({ authorization }) => authorization);
    expect(new Set(toStorage).has("bearer")).toBe(false);
    stage.stack.clearSeen();
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
  });

  it("docker pulls it under both names, and both are one image", async () => {
    const ids: string[] = [];
    for (const image of [remote("acme/old:1"), remote("acme/team/new:1")]) {
      await docker("pull", image);
      ids.push((await docker("image", "inspect", "--format", "{{.Id}}", image)).trim());
    }
    expect(new Set(ids).size).toBe(1);
    await docker("image", "rm", remote("acme/old:1"), remote("acme/team/new:1"));
  });

  it("skopeo pulls, inspects and lists it under both names", async () => {
    const digests: string[] = [];
    for (const name of ["acme/old", "acme/team/new"]) {
      const image = `docker://${remote(name)}`;
      await skopeo(
        "copy",
        "--src-creds",
        "demo:demo",
        `${image}:1`,
        `oci:${stage.dir}/${name.replaceAll("/", "-")}:image`,
      );
      digests.push(await skopeo("inspect", "--creds", "demo:demo", "--format", "{{.Digest}}", `${image}:1`));
      expect(JSON.parse(await skopeo("list-tags", "--creds", "demo:demo", image))).toMatchObject({ Tags: ["1"] });
    }
    expect(new Set(digests).size).toBe(1);
  });

  it("containerd pulls it under both names", async () => {
    for (const name of ["acme/old:1", "acme/team/new:1"]) {
      const pulled = await ctr("pull", "--snapshotter", "native", remote(name));
      expect([pulled.code, pulled.stderr]).toEqual([0, expect.any(String)]);
    }
  });

  it("docker's push to the old name is refused with the new name in its output, and changes nothing", async () => {
    await buildImage(docker, remote("acme/old:2"), { dir: stage.dir, layerSizes: [megabyte] });
    const pushed = await docker.attempt("push", remote("acme/old:2"));
    expect(pushed.code).not.toBe(0);
    expect(pushed.stderr).toContain(`denied: ${renamed}`);
    expect(await tags()).toEqual(["1"]);
  });

  it("skopeo's push to the old name is refused with the new name in its output", async () => {
    const copied = await skopeo.attempt(
      ...["copy", "--dest-creds", "demo:demo", `oci:${stage.dir}/image:image`, `docker://${remote("acme/old:3")}`],
    );
    expect([copied.code === 0, copied.stderr]).toEqual([false, expect.stringContaining("acme/team/new")]);
    expect(await tags()).toEqual(["1"]);
  });

  it("docker's push to the new name succeeds, and the old name has it", async () => {
    await docker("tag", remote("acme/old:2"), remote("acme/team/new:2"));
    await docker("push", remote("acme/team/new:2"));
    expect(await tags()).toEqual(["1", "2"]);
    await docker("image", "rm", remote("acme/old:2"), remote("acme/team/new:2"));
    await docker("pull", remote("acme/old:2"));
  });

  it("crane copies from the old name to another Pod, and reads all its tags through pages", async () => {
    const env = { DOCKER_CONFIG: `${stage.dir}/docker/config` };
    const crane = (...args: readonly string[]) =>
      succeed(run(toolPath("crane"), ["--insecure", ...args], env), `crane ${args.join(" ")}`);
    await crane("copy", remote("acme/old:1"), remote("globex/copy:1"));
    expect(await crane("digest", remote("globex/copy:1"))).toBe(await crane("digest", remote("acme/team/new:1")));
    expect((await crane("ls", remote("acme/old"))).trim().split("\n")).toEqual(["1", "2"]);
  });

  async function tags(): Promise<readonly string[]> {
    const listed = await skopeo("list-tags", "--creds", "demo:demo", `docker://${remote("acme/team/new")}`);
    return (JSON.parse(listed) as { Tags: string[] }).Tags;
  }
});
