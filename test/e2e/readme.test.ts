import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root } from "../../src/local/paths.ts";
import { run, succeed } from "./command.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, toolPath } from "./tools.ts";

/** The shell blocks of one section of the README, as one script against another edge. */
async function scriptOf(heading: string, edge: string): Promise<string> {
  const readme = await readFile(`${root}README.md`, "utf8");
  const section = readme.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  return blocks.join("").replaceAll("http://127.0.0.1:8787", edge);
}

describeWith(["bash", "curl", "sed", "tee", "sha256sum"], "the README's flows by curl", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage("toy");
  });
  afterAll(() => stage?.close());

  it("get a token for several scopes, tags, a manifest, and a blob with and without its redirect", async () => {
    const { stack, dir } = stage;
    const script = await scriptOf("What a client does, by curl", stack.edge);
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
