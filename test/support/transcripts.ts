/** Runs the transcripts of a page of the docs, in their order, on a stack that has just started. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { podctlProgram } from "./podctl-program.ts";
import { useStack } from "./toy-stack.ts";

/** With `UPDATE_TRANSCRIPTS=1`, the test puts the present output of the commands into the page. */
const update = process.env["UPDATE_TRANSCRIPTS"] === "1";

type Command = { readonly command: string; readonly output: string };
const transcriptOf = (block: string): readonly Command[] =>
  block
    .replace(/^```console\n|```$/g, "")
    .split(/^\$ /m)
    .slice(1)
    .map((part) => ({ command: part.split("\n", 1)[0] ?? "", output: part.slice(part.indexOf("\n") + 1) }));

/** Replaces what differs between two stacks: fingerprints, key ids, times, ports, durations. */
const mask = (output: string): string =>
  output
    .replaceAll(/\b(\d+)-[0-9a-f]{12}\b/g, "$1-…")
    .replaceAll(/\b[A-Z2-7]{4}(:[A-Z2-7]{4}){11}\b/g, "<kid>")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replaceAll(/(127\.0\.0\.1|localhost):\d+/g, "$1:…")
    .replaceAll(/\b\d+ ms\b/g, "… ms")
    // On different machines, a move prints more or fewer lines about progress and waiting, so we remove them. Then we replace the time of day at the
    // start of each line.
    .replaceAll(/^(?:\d\d:\d\d:\d\d \S+: waiting \d+ s .*|\S+: repositories.*)\n/gm, "")
    .replaceAll(/^\d\d:\d\d:\d\d /gm, "<time> ");

const expected = /--expect [^\s;]+/;

export function testTranscripts(page: string): void {
  const blocks = readFileSync(page, "utf8").split(/(```\w+\n[\s\S]*?```)/);
  const stack = useStack();
  const dir = mkdtempSync(join(tmpdir(), "registry-edge-docs-"));
  let state = "";
  let revision = "";

  beforeAll(async () => {
    mkdirSync(join(dir, "bin"));
    writeFileSync(join(dir, "bin/podctl"), `#!/bin/sh\nexec "${process.execPath}" "${podctlProgram}" "$@"\n`);
    chmodSync(join(dir, "bin/podctl"), 0o755);
    await writeStackFile(stack.current, join(dir, "stack.json"));
  });

  const env = () => ({
    ...process.env,
    PATH: `${dir}/bin:${process.env["PATH"]}`,
    PODCTL_STACK: join(dir, "stack.json"),
    PODCTL_ACTOR: "you@example",
    CLOUDFLARE_ENV: "",
    NO_COLOR: "1",
  });

  /** Runs a command as a reader of the page does, with the revision that the last plan printed. The variable `edge` stays set for later commands. */
  async function run(command: string): Promise<string> {
    const typed = command
      .replaceAll("http://127.0.0.1:8787", stack.current.edge)
      .replace(expected, `--expect ${revision}`);
    if (/^edge=/.test(typed)) {
      state = `${typed};`;
      return "";
    }
    const shell = spawn("sh", ["-c", `{ ${state} ${typed}\n} 2>&1`], { cwd: dir, env: env() });
    const output = await text(shell.stdout);
    revision = /at revision (\d+-[0-9a-f]{12})/.exec(output)?.[1] ?? revision;
    return output;
  }

  describe(`${page} shows what these commands print:`, () => {
    const written: string[] = [];
    const pods: ChildProcess[] = [];
    afterAll(() => {
      for (const pod of pods) pod.kill();
      if (update) writeFileSync(page, written.join(""));
      rmSync(dir, { recursive: true });
    });

    for (const [index, block] of blocks.entries()) {
      if (block.startsWith("```sh\nnpm run --silent pod ")) {
        test("npm run pod starts a third Pod next to the stack", async () => {
          written[index] = block;
          const pod = spawn(process.execPath, ["src/local/add-pod.ts", "pod-c", "initech"], { env: env() });
          pods.push(pod);
          pod.stdout.pipe(createWriteStream(join(dir, "pod-c.yaml")));
          const said = text(pod.stderr);
          pod.on("exit", () => void said.then((why) => console.error(why)));
          while (!readFileSync(join(dir, "pod-c.yaml"), { encoding: "utf8", flag: "a+" }).includes("digest:"))
            await sleep(50);
        });
      } else if (block.startsWith("```console")) {
        const transcript = transcriptOf(block);
        test(transcript
          .map(({ command }) => command)
          .join("; ")
          .slice(0, 100), { timeout: 120_000 }, async () => {
          const outputs: string[] = [];
          const lines: string[] = [];
          for (const { command } of transcript) {
            const shown = command.replace(expected, `--expect ${revision}`);
            outputs.push(await run(command));
            lines.push(`$ ${shown}\n${outputs.at(-1)}`);
          }
          const same = outputs.every((output, at) => mask(output) === mask(transcript[at]?.output ?? ""));
          written[index] = same ? block : `\`\`\`console\n${lines.join("").replace(/\n*$/, "\n")}\`\`\``;
          if (!update) expect(outputs.map(mask)).toEqual(transcript.map(({ output }) => mask(output)));
        });
      } else written[index] = block;
    }
  });
}
