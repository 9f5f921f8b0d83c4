import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root } from "../../src/local/paths.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { welcome } from "../../src/local/welcome.ts";
import { createClient } from "../support/client.ts";
import { run, succeed } from "./command.ts";
import { type Docker, dockerIn } from "./docker.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { describeWith, needs, toolPath } from "./tools.ts";

/** The shell blocks of one section of the README, with this edge's host in place of the README's. */
async function blocksOf(heading: string, edge: string): Promise<readonly string[]> {
  const readme = await readFile(`${root}README.md`, "utf8");
  const section = readme.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  return blocks.map((block) => block.replaceAll("127.0.0.1:8787", new URL(edge).host));
}

/** The lines that `npm start` prints for pasting. */
const welcomeLines = ({ stack }: Stage): readonly string[] =>
  welcome(stack, "toy")
    .split("\n")
    .filter((line) => line.startsWith("  "))
    .map((line) => line.trim());

describeWith(["bash", "curl", "sed", "tee", "sha256sum"], "README, requests by curl", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage("toy");
  });
  afterAll(() => stage?.close());

  it("they get a token for several scopes, tags, a manifest, and a blob with and without its redirect", async () => {
    const { stack, dir } = stage;
    const script = (await blocksOf("What a client does, by curl", stack.edge)).join("");
    expect(script.match(/curl/g)?.length).toBe(5);
    const printed = await succeed(run(toolPath("bash"), ["-euc", `cd ${dir}\n${script}`]), "the README's script");
    const [tags = "", rest = ""] = printed.split(/(?<=\})\n?(?=\{)/, 2);
    expect(JSON.parse(tags)).toEqual({ name: "acme/private", tags: ["1"] });
    const [, redirect, digest] = /(307 http:\S+)\n([0-9a-f]{64}) {2}layer\.tar\.gz\n$/.exec(rest) ?? [];
    expect(redirect).toMatch(new RegExp(`^307 ${stack.pods["pod-a"].storage.url}/.*${digest}/data\\?X-Amz-`));
    const manifest = JSON.parse(await readFile(`${dir}/manifest.json`, "utf8")) as { layers: { digest: string }[] };
    expect(manifest.layers.map((layer) => layer.digest)).toEqual([`sha256:${digest}`]);
    expect(stack.seen("pod-a", "storage").map(({ status, authorization }) => [status, authorization])).toEqual([
      [200, "none"],
    ]);
    expect(stack.seen("pod-b", "registry")).toEqual([]);
  });
});

describeWith([...needs.dockerd, "skopeo", "bash"], "README and npm start, lines for docker and skopeo", () => {
  let stage: Stage;
  let docker: Docker;
  beforeAll(async () => {
    stage = await openStage("toy");
    docker = await dockerIn(stage.dir);
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
  });

  it("they push an image and pull it again", async () => {
    const blocks = await blocksOf("Two commands", stage.stack.edge);
    const pasted = blocks.filter((block) => /^(docker|skopeo) /.test(block));
    expect(pasted.length).toBe(2);
    const lines = pasted.join("").trim().split("\n");
    expect(welcomeLines(stage)).toEqual(expect.arrayContaining(lines));
    await paste(lines.join("\n"));
    await expectPushed("globex/mine", ["1", "2"]);
  });

  /** The shell ends at the first line that fails. */
  async function paste(script: string): Promise<void> {
    const folders = [dirname(toolPath("docker")), dirname(toolPath("skopeo")), process.env["PATH"]];
    const env = { ...docker.env, PATH: folders.join(":"), XDG_RUNTIME_DIR: stage.dir };
    await succeed(run(toolPath("bash"), ["-euc", `cd ${stage.dir}\n${script}`], env), script);
    await expectPodsApart(stage.stack);
  }

  async function expectPushed(name: string, tags: readonly string[]): Promise<void> {
    const client = createClient(stage.stack.edge);
    const token = await client.token([`repository:${name}:pull`]);
    expect(await (await client.get(`/v2/${name}/tags/list`, token)).json()).toEqual({ name, tags });
  }
});

describeWith(
  ["npx", "bash"],
  "README and npm start, lines that assign a prefix by wrangler and ask podctl about it",
  () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage("toy");
    });
    afterAll(() => stage?.close());

    it("the prefix goes to its new Pod within a minute, without a restart", { timeout: 90_000 }, async () => {
      const { stack } = stage;
      const client = createClient(stack.edge);
      const podAsked = async () => {
        stack.clearSeen();
        const token = await client.token(["repository:initech/app:pull"]);
        await client.get("/v2/initech/app/manifests/1", token);
        return (["pod-a", "pod-b"] as const).filter((pod) => stack.seen(pod, "registry").length > 0);
      };
      expect(await podAsked()).toEqual(["pod-a"]);
      const block = (await blocksOf("Two commands", stack.edge)).find((each) => each.startsWith("npx wrangler")) ?? "";
      const [assign = "", ...ask] = block.trim().split("\n");
      expect(welcomeLines(stage)).toEqual(expect.arrayContaining([assign, ...ask]));
      const file = `${stage.dir}/stack.json`;
      await writeStackFile(stack, file);
      const inCheckout = (line: string) =>
        succeed(run(toolPath("bash"), ["-euc", `cd ${root}\n${line}`], { PODCTL_STACK: file, NO_COLOR: "1" }), line);
      await inCheckout(assign.replace(".local/state", stack.stateDir));
      await expect.poll(podAsked, { timeout: 60_000, interval: 1_000 }).toEqual(["pod-b"]);
      expect(await inCheckout(ask.join("\n"))).toMatch(/^by +initech$[\s\S]*^Nothing is wrong: /m);
    });
  },
);
